//! `lcl-shard`: ask a dataset, foretell a stream, serve it.

mod command;

use std::process::ExitCode;

use clap::Parser;
use lcl_schemas::settings::SettingsError;
use lcl_shard::StreamError;
use lcl_shard::flight::server::ServeError;
use lcl_shard::inspect::export::ExportError;
use lcl_shard::inspect::view::ViewError;

/// Asks questions of datasets that `lcl-ingest` made, and serves them to trainers.
#[derive(Parser)]
#[command(
    name = "lcl-shard",
    version,
    after_help = "\
Examples:
  lcl-shard stats dataset --html report.html
  lcl-shard diff yesterday today --list
  lcl-shard sql dataset \"SELECT outcome, count(*) FROM images GROUP BY outcome ORDER BY 2 DESC\"
  lcl-shard sql dataset \"SELECT id, n_tokens, n_images FROM documents ORDER BY n_tokens DESC LIMIT 5\" --format csv
  lcl-shard verify dataset --deep
  lcl-shard simulate dataset --ranks 4
  lcl-shard serve serve.toml --listen 127.0.0.1:7070
  lcl-shard export dataset --to webdataset --out tars

Exit status: 0 done, 1 an error, 2 a usage mistake; of diff 0 no difference, 1 a difference, 2 trouble."
)]
struct Cli {
    #[command(subcommand)]
    command: command::Command,
}

fn main() -> ExitCode {
    // Usage mistakes leave with 2, by clap.
    match Cli::parse().command.run(&mut std::io::stdout().lock()) {
        Ok(done) => done,
        // A reader that has seen enough, `head` say, is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<SettingsError>()
        || matches!(error.downcast_ref(), Some(ServeError::Config { .. }))
        || error.downcast_ref().is_some_and(ExportError::is_usage)
        || matches!(error.downcast_ref(), Some(ViewError::Exposed(_)))
        || matches!(
            error.downcast_ref(),
            Some(StreamError::Config(_) | StreamError::Filter(_) | StreamError::Ranks { .. })
        )
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

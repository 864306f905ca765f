//! `lcl-shard`: ask a dataset.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lcl_shard::inspect::{sql, stats};

/// Asks questions of a dataset that `lcl-ingest` made.
#[derive(Parser)]
#[command(
    name = "lcl-shard",
    version,
    after_help = "\
Examples:
  lcl-shard stats dataset
  lcl-shard sql dataset \"SELECT outcome, count(*) FROM images GROUP BY outcome ORDER BY 2 DESC\"
  lcl-shard sql dataset \"SELECT id, n_tokens, n_images FROM documents ORDER BY n_tokens DESC LIMIT 5\" --format csv"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer one SQL query over the tables `documents` and `images`
    #[command(long_about = "Answers one SQL query.\n\n\
        documents  a row per document: id, source, url, language, texts, images, image_bytes, tokens, spans, n_tokens, n_images\n\
        images     a row per image: id (its document's), source, page_url, place, url, alt, outcome, sha256, phash, format,\n           \
        width, height, original_width, original_height, original_bytes, similarity, sentence, bytes\n\n\
        Pixels are read only when image_bytes or bytes is asked for. `DESCRIBE images` shows the types.")]
    Sql {
        /// Folder of the dataset
        dataset: PathBuf,
        /// The query
        query: String,
        /// How the answer is written
        #[arg(long, value_enum, default_value_t)]
        format: sql::Format,
    },
    /// Count documents, images and tokens, and what became of every record and image
    Stats {
        /// Folder of the dataset
        dataset: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    // Usage mistakes leave with 2, by clap.
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough, `head` say, is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match cli.command {
        Command::Sql {
            dataset,
            query,
            format,
        } => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let context = sql::open(&dataset).await?;
                sql::answer(&context, &query, format, &mut out).await
            })?;
        }
        Command::Stats { dataset, json } => {
            let stats = stats::stats(&dataset)?;
            if json {
                serde_json::to_writer_pretty(&mut out, &stats)?;
                writeln!(out)?;
            } else {
                write!(out, "{stats}")?;
            }
        }
    }
    Ok(())
}

//! The command line: arguments to a configuration, a run to a table and an exit status.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use lcl_ingest::IngestError;
use lcl_ingest::config::{Config, SourceKind};
use lcl_ingest::report::Report;
use lcl_schemas::settings::resolve;

/// Interleaved documents and their images into a dataset of Parquet shards.
#[derive(Parser)]
#[command(name = "lcl-ingest", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  lcl-ingest mmc4 docs_shard_0_v2.jsonl.zip --images-dir images --out data/mmc4
  lcl-ingest mmc4 mmc4/ --out data/mmc4 --contact https://example.org/crawler
  lcl-ingest run ingest.toml --set rules.max_images=4

A run that was interrupted goes on where it was: give the same command again.
Exit status: 0 done, 1 an error or an input that could not be read, 2 a usage mistake.";

#[derive(Subcommand)]
enum Command {
    /// MMC4 documents: .jsonl, .jsonl.gz or .jsonl.zip files, or folders of them
    Mmc4(Box<Mmc4>),
    /// What a configuration file says; `_config.toml` in any dataset is one
    Run {
        /// TOML file
        config: PathBuf,
        /// Overrides one setting, e.g. fetch.retries=0
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Args)]
struct Mmc4 {
    /// Files, or folders of them
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The dataset's folder; made if missing, added to if there
    #[arg(long)]
    out: PathBuf,
    /// Where the images lie by image_name; without it they are fetched by raw_url
    #[arg(long, value_name = "DIR")]
    images_dir: Option<PathBuf>,
    /// Reach addresses that are not public ones: for a server of your own
    #[arg(long)]
    allow_private_addresses: bool,
    /// Short side to which larger images are reduced [default: 256]
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<u32>,
    /// A tokenizer.json instead of CLIP's
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Least similarity of an image to its sentence [default: 0.24]
    #[arg(long, value_name = "X")]
    similarity_threshold: Option<f64>,
    /// Where an operator can reach you: a URL or a mail address, sent with every request
    #[arg(long)]
    contact: Option<String>,
    /// The whole User-Agent, in place of lcl-ingest's
    #[arg(long)]
    user_agent: Option<String>,
    /// Overrides any setting, e.g. fetch.retries=0
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Mmc4 {
    fn config(self) -> anyhow::Result<Config> {
        let mut config: Config = resolve(None, &self.set)?;
        config.source = SourceKind::Mmc4;
        config.inputs = self.inputs;
        config.out = self.out;
        config.images_dir = self.images_dir.or(config.images_dir);
        config.image_size = self.image_size.unwrap_or(config.image_size);
        config.tokenizer = self.tokenizer.or(config.tokenizer);
        let threshold = &mut config.rules.similarity_threshold;
        *threshold = self.similarity_threshold.unwrap_or(*threshold);
        let fetch = &mut config.fetch;
        fetch.allow_private_addresses |= self.allow_private_addresses;
        fetch.contact = self.contact.or(fetch.contact.take());
        fetch.user_agent = self.user_agent.or(fetch.user_agent.take());
        Ok(config)
    }
}

fn main() -> ExitCode {
    let config = match Cli::parse().command {
        Command::Mmc4(arguments) => arguments.config(),
        Command::Run { config, set } => resolve(Some(&config), &set).map_err(anyhow::Error::from),
    };
    let config = match config {
        Ok(config) => config,
        Err(mistake) => return failed(&mistake.to_string(), 2),
    };
    match lcl_ingest::run(&config) {
        Ok(report) => {
            // A reader that has seen enough, `head` say, is no failure.
            let _ = write!(std::io::stdout(), "{report}");
            finished(&report)
        }
        Err(error) => failed(
            &error.to_string(),
            if IngestError::is_usage(&error) { 2 } else { 1 },
        ),
    }
}

fn finished(report: &Report) -> ExitCode {
    for fault in report.faults.iter().take(10) {
        eprintln!("not used: {fault}");
    }
    for (name, same) in &report.repeated_inputs {
        eprintln!("read once: {name} has the same contents as {same}");
    }
    for failed in &report.failed_inputs {
        eprintln!("error: {}: {}", failed.input, failed.detail);
    }
    match report.failed_inputs.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}

fn failed(what: &str, status: u8) -> ExitCode {
    eprintln!("error: {}", what.trim_end());
    ExitCode::from(status)
}

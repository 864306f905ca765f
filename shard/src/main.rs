//! `lcl-shard`: ask a dataset, foretell a stream, serve it.

use std::io::Write;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};
use lcl_schemas::settings::{SettingsError, resolve};
use lcl_shard::flight::server::{Listening, ServeConfig, ServeError};
use lcl_shard::inspect::{packing, simulate, sql, stats};
use lcl_shard::{StreamConfig, StreamError};

/// Asks questions of datasets that `lcl-ingest` made, and serves them to trainers.
#[derive(Parser)]
#[command(
    name = "lcl-shard",
    version,
    after_help = "\
Examples:
  lcl-shard stats dataset
  lcl-shard sql dataset \"SELECT outcome, count(*) FROM images GROUP BY outcome ORDER BY 2 DESC\"
  lcl-shard sql dataset \"SELECT id, n_tokens, n_images FROM documents ORDER BY n_tokens DESC LIMIT 5\" --format csv
  lcl-shard simulate dataset --ranks 4
  lcl-shard serve serve.toml --listen 127.0.0.1:7070

Exit status: 0 done, 1 an error, 2 a usage mistake."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const SIMULATE: &str = "\
  neighbours    documents that follow one another in the stream and come from one shard, beside what a perfect shuffle has
  spread        how evenly a shard's documents lie over the stream: 1 evenly, 0 all in one place
  bytes a batch what is read of the shards for one batch: ids of whole row groups, pixels of single documents
  re-read       documents, and the row groups they are in, that a resume reads again
  fill          places of a batch that hold an id";

const SERVE: &str = "\
A configuration:
  listen = \"0.0.0.0:7070\"
  metrics = \"127.0.0.1:7071\"       # Prometheus, at /metrics
  token_file = \"token\"             # clients send it as `authorization: Bearer …`
  [tls]
  certificate = \"cert.pem\"
  key = \"key.pem\"
  [streams.train]                    # grpc://HOST:7070/train
  dataset = \"dataset\"
  [streams.both]
  weigh = \"tokens\"
  [[streams.both.mix]]
  dataset = \"mmc4\"
  weight = 0.7
  filter = \"n_images >= 2\"
  [[streams.both.mix]]
  dataset = \"captions\"
  weight = 0.3

What a client may decide (rows, context, seed, …) it decides; datasets, weights, filters and threads are the server's own.";

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
    /// Say what a stream will be like, without decoding an image
    #[command(after_help = SIMULATE)]
    Simulate {
        /// Folder of a dataset, or a TOML file of stream settings
        config: PathBuf,
        /// Overrides one setting, e.g. block_row_groups=1
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Batches to look at; 0 for an epoch
        #[arg(long, default_value_t = 0)]
        steps: u64,
        /// Ranks that share the stream
        #[arg(long, default_value_t = 1)]
        ranks: usize,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Compare ways of packing documents into sequences
    Packing {
        /// Folder of a dataset; without it documents drawn like MMC4's: log-normal text, median 350, sigma 1.1, geometric images
        dataset: Option<PathBuf>,
        /// Ids in a sequence
        #[arg(long, default_value = "2048", value_parser = count(8..=1 << 20))]
        context: usize,
        /// Ids between an image's BOI and EOI
        #[arg(long, default_value = "256", value_parser = count(1..=1 << 20))]
        slots: usize,
        /// Documents to draw
        #[arg(long, default_value = "200000", value_parser = count(1..=100_000_000))]
        documents: usize,
    },
    /// Serve streams to trainers, over Arrow Flight
    #[command(after_help = SERVE)]
    Serve {
        /// TOML file: addresses, token, TLS, and the streams by name
        config: PathBuf,
        /// Address to listen at, in place of the file's
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// Overrides one setting, e.g. streams.train.seed=1
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
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

/// A number within bounds.
fn count(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

fn main() -> ExitCode {
    // Usage mistakes leave with 2, by clap.
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
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

fn run(cli: Cli) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match cli.command {
        Command::Sql {
            dataset,
            query,
            format,
        } => runtime()?
            .block_on(async {
                let context = sql::open(&dataset).await?;
                sql::answer(&context, &query, format, &mut out).await
            })
            .map_err(|error| sql::blame(&dataset, error))?,
        Command::Stats { dataset, json } => show(&stats::stats(&dataset)?, json, &mut out)?,
        Command::Simulate {
            config,
            set,
            steps,
            ranks,
            json,
        } => {
            let config = simulated(config, &set)?;
            show(&simulate::simulate(&config, ranks, steps)?, json, &mut out)?;
        }
        Command::Packing {
            dataset,
            context,
            slots,
            documents,
        } => {
            let lengths = match dataset {
                Some(dataset) => packing::of_dataset(&dataset, slots)?,
                None => packing::web_like(documents, slots),
            };
            write!(out, "{}", packing::compare(&lengths, context))?;
        }
        Command::Serve {
            config,
            listen,
            set,
        } => {
            let mut config: ServeConfig = resolve(Some(&config), &set)?;
            config.listen = listen.unwrap_or(config.listen);
            runtime()?.block_on(serve(config))?;
        }
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

fn show<T: serde::Serialize + std::fmt::Display>(
    found: &T,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, found)?;
        writeln!(out)?;
    } else {
        write!(out, "{found}")?;
    }
    Ok(())
}

/// A stream's configuration from a file, or for a dataset's folder.
fn simulated(named: PathBuf, set: &[String]) -> Result<StreamConfig, SettingsError> {
    if !named.is_dir() {
        return resolve(Some(&named), set);
    }
    let config: StreamConfig = resolve(None, set)?;
    Ok(StreamConfig {
        dataset: named,
        ..config
    })
}

/// Serves until the process is asked to end.
async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let (ask_to_stop, stop) = tokio::sync::mpsc::channel(1);
    // A second signal while streams end is not needed: the first has a deadline.
    ctrlc::set_handler(move || {
        let _ = ask_to_stop.try_send(());
    })?;
    let open = config.token_file.is_none() && !config.listen.ip().is_loopback();
    let names: Vec<_> = config.streams.keys().cloned().collect();
    let listening = Listening::bind(config).await?;
    if open {
        eprintln!(
            "warning: anybody who reaches this address can read the datasets; set token_file and tls"
        );
    }
    if let Some(address) = listening.address() {
        eprintln!("serving {} at grpc://{address}", names.join(", "));
    }
    if let Some(address) = listening.metrics_address() {
        eprintln!("metrics at http://{address}/metrics");
    }
    let mut stop = stop;
    listening
        .serve(async move {
            // The handler above lives as long as the process.
            let _ = stop.recv().await;
            eprintln!("stopping: streams end behind their current batch");
        })
        .await?;
    Ok(())
}

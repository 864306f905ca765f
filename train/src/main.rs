//! The command line: arguments to library calls, results to standard output.
#![expect(clippy::print_stdout, reason = "the one file that prints")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use lcl_schemas::settings;
use lcl_shard::Part;
use lcl_train::config::{Backend, Config, ConfigError};
use lcl_train::eval::retrieval::Recall;
use lcl_train::eval::{self, Comparison};
use lcl_train::export::{Extent, export};
use lcl_train::model::shape::Preset;
use lcl_train::run::RunError;
use lcl_train::{checkpoint, parity};
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::{Deserialize, de::IntoDeserializer};

/// Trains a vision encoder by Latent Compression Learning, and measures and exports it.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  lcl-train run run.toml --set optimizer.lr=3e-4
  lcl-train run --resume run                       after a crash: the same losses, bit for bit
  lcl-train eval run --retrieval dataset           on the documents that were held out
  lcl-train export run --out encoder.safetensors

Where a checkpoint is asked for, a run's folder stands for its latest one.
Exit status: 0 done, 1 an error, 2 a usage mistake.";

const CONFIGURATION: &str = "\
A configuration needs two settings; this one has those that are usually changed, with their defaults:

  out = \"run\"                  # made by the run: config.toml with every setting, metrics.jsonl, checkpoints
  steps = 1000
  seed = 0
  checkpoint_every = 500
  [data]
  dataset = \"dataset\"          # made by lcl-ingest
  rows = 8                     # sequences of a batch
  holdout = 0.05               # share of the documents that is kept for eval
  [model]
  preset = \"tiny\"             # tiny, lcl_vit_b_32_mmc4, lcl_vit_b_32_laion, lcl_vit_b_16_laion, lcl_vit_l_14
  [loss]
  contrastive = 0.1
  generation = 1.0
  [optimizer]
  lr = 3e-4
  warmup = 100";

#[derive(Subcommand)]
enum Command {
    /// Train: make a run, or go on with one.
    #[command(after_help = CONFIGURATION)]
    Run(RunArgs),
    /// Measure a checkpoint beside its untrained beginning.
    ///
    /// Recall at 1, 5 and 10 of the right text for an image and the right image for a text, of the trained and of the
    /// untrained model, and what chance would give.
    Eval(EvalArgs),
    /// Write a checkpoint's image encoder as safetensors.
    ///
    /// Tensors have the names of the published PyTorch code and need no transpose; the metadata entry `lcl` says how
    /// pixels are normalised.
    Export(ExportArgs),
    /// Losses and gradients with weights that any implementation can make, as JSON.
    ///
    /// Fills a named configuration with weights keyed by tensor name, reads the rows the published code's way and prints
    /// contrastive, generation, total, labels and grad_norms by tensor name.
    Parity(ParityArgs),
}

#[derive(Args)]
struct RunArgs {
    /// TOML; with --resume the checkpoint's own if left out.
    config: Option<PathBuf>,
    /// Overrides any setting, e.g. optimizer.lr=3e-4.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Go on from a checkpoint, or from the latest in a run's folder.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Where to compute [default: as configured]
    #[arg(long)]
    device: Option<Backend>,
}

#[derive(Args)]
struct EvalArgs {
    /// A checkpoint, or a run's folder for its latest.
    checkpoint: PathBuf,
    /// Which text belongs to which image, on this dataset.
    #[arg(long, value_name = "DATASET")]
    retrieval: PathBuf,
    /// Of which documents.
    #[arg(long, default_value = "held-out")]
    part: PartName,
    /// The first so many pairs of them only.
    #[arg(long, value_name = "PAIRS")]
    limit: Option<usize>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Where to compute.
    #[arg(long, default_value = "flex")]
    device: Backend,
}

#[derive(Clone, Copy, ValueEnum)]
enum PartName {
    /// Those that training never saw.
    HeldOut,
    /// Those that it saw.
    Train,
    /// All of them.
    All,
}

#[derive(Args)]
struct ExportArgs {
    /// A checkpoint, or a run's folder for its latest.
    checkpoint: PathBuf,
    /// The file to write; one that is there is replaced.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// The language model and the heads too.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
struct ParityArgs {
    /// A named configuration: parity_tiny, lcl_vit_b_32_mmc4, lcl_vit_b_32_laion, lcl_vit_b_16_laion, …
    #[arg(long, value_parser = preset, value_name = "NAME")]
    model: Preset,
    /// JSON: a list of lists of ids, slots included.
    #[arg(long, value_name = "FILE.json")]
    rows: PathBuf,
    /// Where to compute.
    #[arg(long, default_value = "flex")]
    device: Backend,
}

fn preset(name: &str) -> Result<Preset, NameError> {
    let name: StrDeserializer<'_, NameError> = name.into_deserializer();
    Preset::deserialize(name)
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Eval(args) => evaluate(&args),
        Command::Export(args) => write_export(&args),
        Command::Parity(args) => compare(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mistake = error.is::<settings::SettingsError>()
                || error.is::<ConfigError>()
                || matches!(
                    error.downcast_ref(),
                    Some(
                        RunError::Config(_)
                            | RunError::Occupied(_)
                            | RunError::Busy(_)
                            | RunError::Superseded { .. }
                    )
                );
            ExitCode::from(if mistake { 2 } else { 1 })
        }
    }
}

fn run(args: RunArgs) -> Result<()> {
    let saved = args.resume.as_deref().map(checkpoint::find).transpose()?;
    let saved = saved.map(|folder| folder.join(checkpoint::CONFIG_FILE));
    let file = match (&args.config, &saved) {
        (Some(config), _) => config,
        (None, Some(saved)) => saved,
        (None, None) => usage("give a configuration, or --resume with a checkpoint"),
    };
    let mut config: Config = settings::resolve(Some(file), &args.overrides)?;
    if let Some(saved) = &saved {
        config.check_goes_on(&settings::resolve(Some(saved), &[])?, &args.overrides)?;
    }
    config.backend = args.device.unwrap_or(config.backend);
    let report = lcl_train::run(&config, args.resume.as_deref())?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

/// Ends with exit code 2, as clap's own mistakes do.
fn usage(message: &str) -> ! {
    Cli::command()
        .error(ErrorKind::MissingRequiredArgument, message)
        .exit()
}

fn evaluate(args: &EvalArgs) -> Result<()> {
    let part = match args.part {
        PartName::HeldOut => Part::HeldOut,
        PartName::Train => Part::Train,
        PartName::All => Part::All,
    };
    let loaded = eval::load(&args.checkpoint, &args.device.device())?;
    let comparison = eval::compare(&loaded, &args.retrieval, part, args.limit)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print_table(&comparison);
    }
    Ok(())
}

fn print_table(Comparison { trained, untrained }: &Comparison) {
    println!(
        "{:23}    R@1     R@5    R@10",
        format!("{} pairs", trained.pairs)
    );
    print_row("image to text", "trained", &trained.image_to_text);
    print_row("", "untrained", &untrained.image_to_text);
    print_row("text to image", "trained", &trained.text_to_image);
    print_row("", "untrained", &untrained.text_to_image);
    print_row("", "chance", &trained.chance);
}

fn print_row(direction: &str, model: &str, recall: &Recall) {
    let [one, five, ten] = [recall.at_1, recall.at_5, recall.at_10].map(|share| 100.0 * share);
    println!("{direction:13} {model:9} {one:6.1}% {five:6.1}% {ten:6.1}%");
}

fn write_export(args: &ExportArgs) -> Result<()> {
    let loaded = eval::load(&args.checkpoint, &Backend::Flex.device())?;
    let extent = if args.all {
        Extent::Model
    } else {
        Extent::Encoder
    };
    export(&loaded.model, extent, &args.out)?;
    println!("{}", args.out.display());
    Ok(())
}

fn compare(args: &ParityArgs) -> Result<()> {
    let rows = read_rows(&args.rows)?;
    let parity = parity::parity(args.model, &rows, &args.device.device())?;
    println!("{}", serde_json::to_string(&parity)?);
    Ok(())
}

fn read_rows(path: &Path) -> Result<Vec<Vec<u32>>> {
    parity::read_rows(path).context("--rows")
}

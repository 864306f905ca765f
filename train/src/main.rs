//! The command line: arguments to library calls, results to standard output.
#![expect(clippy::print_stdout, reason = "the one file that prints")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use lcl_schemas::settings;
use lcl_shard::Part;
use lcl_train::bench::{Bench, BenchError, Benchmark};
use lcl_train::config::{Config, ConfigError};
use lcl_train::device::{self, DeviceError, DeviceName};
use lcl_train::eval::retrieval::Recall;
use lcl_train::eval::{self, Comparison};
use lcl_train::export::{Extent, export};
use lcl_train::model::shape::Preset;
use lcl_train::ops::Precision;
use lcl_train::run::RunError;
use lcl_train::{checkpoint, memory, parity};
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
  lcl-train devices                                what can be computed on here

Where a checkpoint is asked for, a run's folder stands for its latest one.
Exit status: 0 done, 1 an error, 2 a usage mistake.";

const CONFIGURATION: &str = "\
A configuration needs two settings; this one has those that are usually changed, with their defaults:

  out = \"run\"                  # made by the run: config.toml with every setting, metrics.jsonl, checkpoints
  steps = 1000
  seed = 0
  device = \"flex\"              # flex, libtorch-cpu, cuda:0: see lcl-train devices
  precision = \"float32\"        # or bfloat16, on LibTorch
  recompute = false            # keep less, compute more, on LibTorch
  accumulate = 1               # parts that a batch is computed in
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
  clip_norm = 1.0              # of all gradients together; left out: as they are
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
    /// Time a model's training steps on a device, with made-up batches.
    ///
    /// Prints the step's time, images and tokens a second, the operations that the model needs and what share that is of
    /// what a large matrix product reaches on the device, and the most memory that was held.
    Bench(BenchArgs),
    /// List the devices that this program and this machine can compute on, or why not.
    Devices,
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
    /// Where to compute: flex, libtorch-cpu, cuda:0, … [default: as configured]
    #[arg(long)]
    device: Option<DeviceName>,
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
    /// Where to compute: flex, libtorch-cpu, cuda:0, …
    #[arg(long, default_value = "flex")]
    device: DeviceName,
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
    /// Where to compute: flex, libtorch-cpu, cuda:0, …
    #[arg(long, default_value = "flex")]
    device: DeviceName,
}

#[derive(Args)]
struct BenchArgs {
    /// A named configuration: tiny, lcl_vit_b_32_mmc4, lcl_vit_b_32_laion, lcl_vit_b_16_laion, …
    #[arg(long, value_parser = preset, value_name = "NAME")]
    model: Preset,
    /// Rows of a step.
    #[arg(long, value_name = "B", default_value_t = 8)]
    batch: usize,
    /// Ids of a row [default: the model's]
    #[arg(long, value_name = "T")]
    context: Option<usize>,
    /// Fill rows with documents of up to three images, instead of one document with one image a row.
    #[arg(long)]
    packed: bool,
    /// Steps that are timed, behind three that are not.
    #[arg(long, value_name = "N", default_value_t = 20)]
    steps: usize,
    /// Where to compute: flex, libtorch-cpu, cuda:0, …
    #[arg(long, default_value = "flex")]
    device: DeviceName,
    /// In what to multiply; bfloat16 on LibTorch.
    #[arg(long, value_enum, default_value = "float32")]
    precision: Precision,
    /// Keep the blocks' inputs only; on LibTorch.
    #[arg(long)]
    recompute: bool,
    /// Parts that the rows are computed in.
    #[arg(long, value_name = "PARTS", default_value_t = 1)]
    accumulate: usize,
    /// Write the batch, to compute the same elsewhere.
    #[arg(long, value_name = "FILE.safetensors")]
    save: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

fn preset(name: &str) -> Result<Preset, NameError> {
    let name: StrDeserializer<'_, NameError> = name.into_deserializer();
    Preset::deserialize(name)
}

fn main() -> ExitCode {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Becomes an error, which says what to do.
        if memory::complaint(panic.payload()).is_none() {
            report(panic);
        }
    }));
    let command = Cli::parse().command;
    let outcome = memory::guarded(|| match command {
        Command::Run(args) => run(args),
        Command::Eval(args) => evaluate(&args),
        Command::Export(args) => write_export(&args),
        Command::Parity(args) => compare(&args),
        Command::Bench(args) => measure(args),
        Command::Devices => {
            list_devices();
            Ok(())
        }
    });
    match outcome.unwrap_or_else(|memory| Err(memory.into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mistake = error.is::<settings::SettingsError>()
                || error.is::<ConfigError>()
                || error.is::<DeviceError>()
                || matches!(
                    error.downcast_ref(),
                    Some(
                        BenchError::Device(_)
                            | BenchError::Context { .. }
                            | BenchError::Numbers
                            | BenchError::Unsupported(_)
                    )
                )
                || matches!(
                    error.downcast_ref(),
                    Some(
                        RunError::Config(_)
                            | RunError::Device(_)
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
    config.device = args.device.unwrap_or(config.device);
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
    let loaded = eval::load(&args.checkpoint, &args.device.open()?)?;
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
    let loaded = eval::load(&args.checkpoint, &DeviceName::Flex.open()?)?;
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
    let parity = parity::parity(args.model, &rows, &args.device.open()?)?;
    println!("{}", serde_json::to_string(&parity)?);
    Ok(())
}

fn measure(args: BenchArgs) -> Result<()> {
    let found = Bench {
        model: args.model,
        batch: args.batch,
        context: args.context,
        packed: args.packed,
        steps: args.steps,
        device: args.device,
        precision: args.precision,
        recompute: args.recompute,
        accumulate: args.accumulate,
        save: args.save,
    }
    .run()?;
    if args.json {
        println!("{}", serde_json::to_string(&found)?);
    } else {
        print_benchmark(&found);
    }
    Ok(())
}

fn print_benchmark(found: &Benchmark) {
    let (seconds, tera) = (found.seconds, 1e-12);
    println!(
        "{} rows of {} ids, {} images, {} ids in use",
        found.rows, found.context, found.images, found.tokens
    );
    println!(
        "step         {:.4} s, from {:.4} to {:.4}",
        seconds.median, seconds.fastest, seconds.slowest
    );
    println!(
        "throughput   {:.1} images/s, {:.0} tokens/s",
        found.images_per_second, found.tokens_per_second
    );
    println!(
        "work         {:.3} TFLOP a step, {:.1} % of the {:.2} TFLOP/s of a large matrix product",
        found.flops * tera,
        100.0 * found.share_of_peak,
        found.peak_flops_per_second * tera
    );
    println!(
        "peak memory  {:.2} GB",
        found.peak_memory_bytes as f64 * 1e-9
    );
    println!(
        "first loss   contrastive {:.6}, generation {:.6}, total {:.6}",
        found.contrastive, found.generation, found.total
    );
}

fn list_devices() {
    for (name, usable) in device::list() {
        match usable {
            Ok(what) => println!("ready    {name}: {what}"),
            Err(missing) => println!("missing  {missing}"),
        }
    }
}

fn read_rows(path: &Path) -> Result<Vec<Vec<u32>>> {
    parity::read_rows(path).context("--rows")
}

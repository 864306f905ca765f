//! The whole road in one command: a drawn corpus, a web server on loopback, ingest, a look at the dataset, LCL training,
//! retrieval on combinations never shown, an exported encoder.
//!
//! `cargo run --example quickstart` takes about three minutes on two cores once it is built and fails if the model did not
//! learn; `-- --short` goes the same way in seconds and does not judge.
#![expect(clippy::print_stdout, reason = "it talks to the person who started it")]

mod scenes;
mod web;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use lcl_ingest::config::{Config as IngestConfig, Fetch, ProgressMode};
use lcl_shard::inspect::{sql, stats};
use lcl_shard::{Part, StreamConfig};
use lcl_train::config::{Config as TrainConfig, ModelConfig};
use lcl_train::eval::Comparison;
use lcl_train::export::Extent;
use lcl_train::{checkpoint, eval, export};
use scenes::Corpus;
use web::{Reply, Web};

/// How much of everything.
struct Size {
    pages: usize,
    held_out: usize,
    steps: u64,
    /// What retrieval must reach, as multiples of chance and of the untrained model; `None` does not judge.
    at_least: Option<(f64, f64)>,
}

const FULL: Size = Size {
    pages: 800,
    held_out: 100,
    steps: 200,
    at_least: Some((5.0, 3.0)),
};
const SHORT: Size = Size {
    pages: 24,
    held_out: 8,
    steps: 3,
    at_least: None,
};

const OUTCOMES: &str =
    "SELECT outcome, count(*) AS images, round(avg(original_bytes)) AS mean_bytes
    FROM images GROUP BY outcome ORDER BY images DESC, outcome";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => FULL,
        ["--short"] => SHORT,
        _ => bail!("the only argument is --short"),
    };
    let folder = fresh_folder()?;
    let began = Instant::now();

    title("1  a corpus of coloured shapes, drawn for this run, on a web server of its own");
    let web = publish(&size, &folder)?;

    title("2  ingest: documents → images over HTTP → tokens → Parquet shards");
    let dataset = ingest(&folder, "pages")?;
    let held_out = ingest(&folder, "held_out")?;
    println!(
        "The server was asked {} time(s) for robots.txt and {} times for the image that it forbids.",
        web.asked("/robots.txt"),
        web.asked("/private/secret.jpg"),
    );
    drop(web);

    title("3  what the dataset holds");
    look(&dataset)?;

    title("4  training: a vision encoder from scratch, by Latent Compression Learning");
    let config = training(&size, &folder, &dataset);
    let report = lcl_train::run(&config, None)?;

    title("5  retrieval on held-out combinations, and the encoder to a file");
    let device = config.device.open()?;
    let loaded = eval::load(&report.checkpoint, &device)?;
    let comparison = eval::compare(&loaded, &held_out, Part::All, None)?;
    let encoder = folder.join("encoder.safetensors");
    export::export(&loaded.model, Extent::Encoder, &encoder)?;
    summarise(&comparison);
    files(&[
        ("dataset", &dataset),
        ("checkpoint", &checkpoint::find(&report.checkpoint)?),
        ("encoder", &encoder),
    ]);
    println!("\n{:.0} s in all", began.elapsed().as_secs_f64());
    size.at_least
        .map_or(Ok(()), |factors| judge(&comparison, factors))
}

/// `quickstart` beside the build's own files, emptied.
fn fresh_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program
        .ancestors()
        .nth(3)
        .context("the example is run from its target folder")?;
    let folder = target.join("quickstart");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Writes the documents and serves their images, with a few URLs that the web would also have.
fn publish(size: &Size, folder: &Path) -> anyhow::Result<Web> {
    let mut written = Ok(());
    let web = Web::serve(|address| {
        let origin = format!("http://{address}");
        let mut pages = scenes::pages(size.pages, &origin);
        pages.pages.push(scenes::troubled(&origin));
        let held_out = scenes::held_out(size.held_out, &origin);
        written = write_documents(folder, "pages", &pages)
            .and_then(|()| write_documents(folder, "held_out", &held_out))
            .and_then(|()| {
                Ok(std::fs::write(
                    folder.join("words.json"),
                    scenes::tokenizer_json(),
                )?)
            });
        let moved = pages.images[0].0.clone();
        let images = [pages.images, held_out.images].concat();
        let mut site: web::Site = images
            .into_iter()
            .map(|(path, jpeg)| (path, Reply::Body("image/jpeg", jpeg)))
            .collect();
        site.insert(
            "/robots.txt".into(),
            Reply::Body(
                "text/plain",
                b"User-agent: *\nDisallow: /private/\n".to_vec(),
            ),
        );
        site.insert("/moved.jpg".into(), Reply::Redirect(moved));
        site.insert(
            "/broken.jpg".into(),
            Reply::Body("image/jpeg", b"\xFF\xD8\xFF\xE0 and no more".to_vec()),
        );
        site
    })?;
    written?;
    Ok(web)
}

fn write_documents(folder: &Path, name: &str, corpus: &Corpus) -> anyhow::Result<()> {
    let lines: String = corpus
        .pages
        .iter()
        .map(|page| format!("{page}\n"))
        .collect();
    std::fs::write(folder.join(format!("{name}.jsonl")), lines)?;
    println!(
        "{name}.jsonl: {} documents, {} images",
        corpus.pages.len(),
        corpus.images.len()
    );
    Ok(())
}

/// As `lcl-ingest mmc4 NAME.jsonl --out NAME --tokenizer words.json --image-size 64 --allow-private-addresses`.
fn ingest(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let dataset = folder.join(name);
    let config = IngestConfig {
        inputs: vec![folder.join(format!("{name}.jsonl"))],
        out: dataset.clone(),
        tokenizer: Some(folder.join("words.json")),
        image_size: 64,
        progress: ProgressMode::Auto,
        fetch: Fetch {
            allow_private_addresses: true,
            contact: Some("nobody@localhost".into()),
            per_domain: 64,
            ..Fetch::default()
        },
        ..IngestConfig::default()
    };
    let report = lcl_ingest::run(&config)?;
    println!("{report}");
    Ok(dataset)
}

/// As `lcl-shard stats` and `lcl-shard sql`.
fn look(dataset: &Path) -> anyhow::Result<()> {
    println!("{}", stats::stats(dataset)?);
    println!("{OUTCOMES}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let context = sql::open(dataset).await?;
        sql::answer(
            &context,
            OUTCOMES,
            sql::Format::Table,
            &mut std::io::stdout(),
        )
        .await
    })?;
    Ok(())
}

/// As `lcl-train run CONFIG.toml`.
fn training(size: &Size, folder: &Path, dataset: &Path) -> TrainConfig {
    let mut config = TrainConfig {
        out: folder.join("run"),
        steps: size.steps,
        checkpoint_every: size.steps,
        data: StreamConfig {
            dataset: dataset.to_owned(),
            rows: 20,
            holdout: 0.0,
            ..StreamConfig::default()
        },
        model: ModelConfig {
            edge: Some(64),
            patch: Some(16),
            vision_width: Some(128),
            vision_layers: Some(4),
            vision_heads: Some(4),
            context: Some(128),
            text_width: Some(128),
            text_layers: Some(3),
            text_heads: Some(4),
            ..ModelConfig::default()
        },
        ..TrainConfig::default()
    };
    config.optimizer.lr = 1e-3;
    config.optimizer.warmup = size.steps.div_ceil(10);
    config.loss.contrastive = 1.0;
    config
}

fn title(text: &str) {
    println!("\n── {text}");
}

fn summarise(comparison: &Comparison) {
    let Comparison { trained, untrained } = comparison;
    let row = |name: &str, values: [f64; 3]| {
        let percent = values.map(|value| format!("{:>9.1} %", 100.0 * value));
        println!("{name:<14}{}", percent.concat());
    };
    println!("R@1 among {} unseen scenes", trained.pairs);
    println!(
        "{:<14}{:>11}{:>11}{:>11}",
        "", "trained", "untrained", "chance"
    );
    row(
        "image → text",
        [
            trained.image_to_text.at_1,
            untrained.image_to_text.at_1,
            trained.chance.at_1,
        ],
    );
    row(
        "text → image",
        [
            trained.text_to_image.at_1,
            untrained.text_to_image.at_1,
            trained.chance.at_1,
        ],
    );
}

fn files(files: &[(&str, &dyn AsRef<Path>)]) {
    println!();
    for (name, path) in files {
        println!("{name:<14}{}", path.as_ref().display());
    }
}

/// Fails unless both directions reach their multiples of chance and of the untrained model.
fn judge(comparison: &Comparison, (of_chance, of_untrained): (f64, f64)) -> anyhow::Result<()> {
    let Comparison { trained, untrained } = comparison;
    let check = |direction: &dyn Display, trained: f64, untrained: f64, chance: f64| {
        let least = (of_chance * chance).max(of_untrained * untrained);
        ensure!(
            trained >= least,
            "{direction}: R@1 {trained:.3} is below {least:.3}: the model did not learn"
        );
        Ok(())
    };
    check(
        &"image → text",
        trained.image_to_text.at_1,
        untrained.image_to_text.at_1,
        trained.chance.at_1,
    )?;
    check(
        &"text → image",
        trained.text_to_image.at_1,
        untrained.text_to_image.at_1,
        trained.chance.at_1,
    )
}

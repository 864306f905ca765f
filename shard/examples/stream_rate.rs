//! How fast a dataset streams: in process, over Flight, not decoded, beside a bare loop over its images.
//!
//! ```text
//! cargo build --release -p lcl-shard --no-default-features --features client,serve --example stream_rate
//! stream_rate DATASET [--threads 2] [--images 3000] [--encoded | --bare | --resume-after IMAGES | --remote grpc://…]
//! stream_rate DATASET --serve 127.0.0.1:0        until its standard input is closed; prints where
//! ```
#![expect(clippy::print_stdout, reason = "it prints its one result")]

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::array::AsArray;
use clap::Parser;
use lcl_shard::flight::server::{Listening, ServeConfig};
use lcl_shard::flight::{Access, Remote};
use lcl_shard::{Crop, Delivered, Part, PictureForm, Position, Squares, Stream, StreamConfig};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    /// Folder of the dataset
    dataset: PathBuf,
    #[arg(long, default_value_t = 224)]
    edge: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Images to take, after the batches that were made ahead
    #[arg(long, default_value_t = 3000)]
    images: usize,
    /// Sequences in a batch
    #[arg(long, default_value_t = 8)]
    rows: usize,
    /// Images as they are stored, not decoded
    #[arg(long)]
    encoded: bool,
    /// Decode, crop and resize the dataset's images and nothing else
    #[arg(long)]
    bare: bool,
    /// Take this many images first and measure how soon a resumed stream's first batch comes
    #[arg(long)]
    resume_after: Option<usize>,
    /// From a server that was started with --serve
    #[arg(long)]
    remote: Option<String>,
    /// Serve the dataset, as the stream `rate`
    #[arg(long)]
    serve: Option<SocketAddr>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let config = config(&arguments);
    if let Some(address) = arguments.serve {
        return serve(config, address);
    }
    let result = match (&arguments.remote, arguments.resume_after) {
        _ if arguments.bare => bare(&arguments)?,
        (Some(url), _) => {
            let began = Instant::now();
            let remote = Remote::open(&url.parse()?, &Access::default(), &config, None)?;
            taken(began, remote, arguments.images)?
        }
        (None, Some(after)) => resumed(&config, after)?,
        (None, None) => {
            let began = Instant::now();
            taken(began, Stream::open(config, None)?, arguments.images)?
        }
    };
    println!("{result}");
    Ok(())
}

fn config(arguments: &Arguments) -> StreamConfig {
    StreamConfig {
        dataset: arguments.dataset.clone(),
        part: Part::All,
        context: 2048,
        rows: arguments.rows,
        edge: arguments.edge,
        // A patch of 32 pixels, as in ViT-B/32.
        slots: (arguments.edge / 32).pow(2),
        threads: arguments.threads,
        crop: Crop::Center,
        pictures: match arguments.encoded {
            true => PictureForm::Encoded,
            false => PictureForm::Pixels,
        },
        ..StreamConfig::default()
    }
}

/// Batches that are not counted: more than any stream, server and client make ahead of the first.
const AHEAD: usize = 10;

/// Takes so many images after the first batches.
fn taken<E: std::error::Error + Send + Sync + 'static>(
    began: Instant,
    mut stream: impl Iterator<Item = Result<Delivered, E>>,
    most: usize,
) -> anyhow::Result<Value> {
    let mut all = match stream.next().transpose()? {
        Some(first) => first.batch.images(),
        None => 0,
    };
    let first = began.elapsed().as_secs_f64();
    for ahead in stream.by_ref().take(AHEAD - 1) {
        all += ahead?.batch.images();
    }
    let (mut images, mut rows, mut fill) = (0, 0, 0.0);
    let began = Instant::now();
    while images < most
        && let Some(delivered) = stream.next().transpose()?
    {
        images += delivered.batch.images();
        rows += delivered.batch.rows;
        fill += delivered.batch.fill() * delivered.batch.rows as f64;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "first_batch_s": first, "images": images, "all_images": all + images, "sequences": rows, "seconds": seconds,
        "images_per_s": images as f64 / seconds, "filled": fill / f64::from(rows.max(1) as u32), "peak_mb": peak_mb()?,
    }))
}

/// Resident, at most, so far.
fn peak_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or_else(|| anyhow::anyhow!("no VmHWM in /proc/self/status"))?
        .parse()?;
    Ok(kilobytes * 1.024e-3)
}

fn resumed(config: &StreamConfig, after: usize) -> anyhow::Result<Value> {
    let mut stream = Stream::open(config.clone(), None)?;
    let (mut images, mut position): (usize, Option<Position>) = (0, None);
    while images < after
        && let Some(delivered) = stream.next().transpose()?
    {
        images += delivered.batch.images();
        position = Some(delivered.position);
    }
    drop(stream);
    let began = Instant::now();
    Stream::open(config.clone(), position)?.next().transpose()?;
    Ok(json!({ "resumed_first_batch_s": began.elapsed().as_secs_f64() }))
}

fn serve(stream: StreamConfig, listen: SocketAddr) -> anyhow::Result<()> {
    let config = ServeConfig {
        listen,
        streams: [("rate".to_owned(), stream)].into(),
        ..ServeConfig::default()
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let listening = Listening::bind(config).await?;
        let address = listening.address().expect("bound");
        println!("grpc://{address}/rate");
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        listening.serve(async { drop(closed.await) }).await?;
        Ok(())
    })
}

/// The same decoder and resizer on as many threads, without a dataset around them.
fn bare(arguments: &Arguments) -> anyhow::Result<Value> {
    let encoded = encoded(&arguments.dataset, arguments.images)?;
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let mut squares = Squares::default();
                    let mut square = vec![0; arguments.edge * arguments.edge * 3];
                    while let at = next.fetch_add(1, Ordering::Relaxed)
                        && at < arguments.images
                    {
                        squares
                            .center(&encoded[at % encoded.len()], arguments.edge, &mut square)
                            .map_err(anyhow::Error::msg)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "images": arguments.images, "all_images": arguments.images, "seconds": seconds, "images_per_s": arguments.images as f64 / seconds,
    }))
}

fn encoded(dataset: &Path, most: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(dataset)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "parquet") || images.len() >= most {
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?;
        let mask = ProjectionMask::columns(reader.parquet_schema(), ["image_bytes"]);
        for batch in reader.with_projection(mask).with_batch_size(64).build()? {
            let batch = batch?;
            let lists = batch.column(0).as_list::<i32>();
            let bytes = lists.values().as_binary::<i64>().iter().flatten();
            images.extend(bytes.map(<[u8]>::to_vec));
        }
    }
    anyhow::ensure!(!images.is_empty(), "no images in {}", dataset.display());
    Ok(images)
}

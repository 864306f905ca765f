//! How fast a dataset streams, beside a bare loop over its images with the same decoder and resizer.
//!
//! `cargo run --release -p lcl-shard --no-default-features --example stream_rate -- DATASET [--edge 224] [--threads 1] [--images 3000] [--bare]`
#![expect(clippy::print_stdout, reason = "it prints its one result")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::array::AsArray;
use clap::Parser;
use fast_image_resize as fir;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use lcl_shard::{Crop, Part, Position, Stream, StreamConfig, Verify};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// Folder of the dataset
    dataset: PathBuf,
    #[arg(long, default_value_t = 224)]
    edge: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Images to take, after one batch that is not counted
    #[arg(long, default_value_t = 3000)]
    images: usize,
    /// Sequences in a batch
    #[arg(long, default_value_t = 8)]
    rows: usize,
    /// Decode, crop and resize the dataset's images and nothing else
    #[arg(long)]
    bare: bool,
    /// Take this many images first and measure how soon a resumed stream's first batch comes
    #[arg(long)]
    resume_after: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let result = match (arguments.bare, arguments.resume_after) {
        (true, _) => bare(&arguments)?,
        (false, Some(after)) => resumed(&arguments, after)?,
        (false, None) => streamed(&arguments)?,
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
        verify: Verify::Size,
        ..StreamConfig::default()
    }
}

fn streamed(arguments: &Arguments) -> anyhow::Result<serde_json::Value> {
    let began = Instant::now();
    let mut stream = Stream::open(config(arguments), None)?;
    stream.next().transpose()?;
    let first = began.elapsed().as_secs_f64();
    let (mut images, mut rows, mut fill) = (0, 0, 0.0);
    let began = Instant::now();
    while images < arguments.images
        && let Some(delivered) = stream.next().transpose()?
    {
        images += delivered.batch.images();
        rows += delivered.batch.rows;
        fill += delivered.batch.fill() * delivered.batch.rows as f64;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "first_batch_s": first, "images": images, "sequences": rows, "seconds": seconds,
        "images_per_s": images as f64 / seconds, "filled": fill / f64::from(rows.max(1) as u32),
    }))
}

fn resumed(arguments: &Arguments, after: usize) -> anyhow::Result<serde_json::Value> {
    let mut stream = Stream::open(config(arguments), None)?;
    let (mut images, mut position): (usize, Option<Position>) = (0, None);
    while images < after
        && let Some(delivered) = stream.next().transpose()?
    {
        images += delivered.batch.images();
        position = Some(delivered.position);
    }
    drop(stream);
    let began = Instant::now();
    Stream::open(config(arguments), position)?
        .next()
        .transpose()?;
    Ok(json!({ "resumed_first_batch_s": began.elapsed().as_secs_f64() }))
}

/// The same crates on as many threads, without a dataset around them.
fn bare(arguments: &Arguments) -> anyhow::Result<serde_json::Value> {
    let encoded = encoded(&arguments.dataset, arguments.images)?;
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let mut resizer = fir::Resizer::new();
                    let mut square = vec![0; arguments.edge * arguments.edge * 3];
                    while let Some(bytes) =
                        encoded.get(next.fetch_add(1, Ordering::Relaxed) % encoded.len())
                        && next.load(Ordering::Relaxed) <= arguments.images
                    {
                        decode(&mut resizer, bytes, arguments.edge as u32, &mut square)?;
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
        "images": arguments.images, "seconds": seconds, "images_per_s": arguments.images as f64 / seconds,
    }))
}

fn decode(
    resizer: &mut fir::Resizer,
    bytes: &[u8],
    edge: u32,
    square: &mut [u8],
) -> anyhow::Result<()> {
    let decoded = image::load_from_memory(bytes)?.into_rgb8();
    let (width, height) = decoded.dimensions();
    let side = width.min(height);
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, decoded.as_raw())?;
    let mut target = TypedImage::<U8x3>::from_buffer(edge, edge, square)?;
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom))
        .crop(
            f64::from((width - side) / 2),
            f64::from((height - side) / 2),
            f64::from(side),
            f64::from(side),
        );
    resizer.resize_typed(&source, &mut target, &options)?;
    Ok(())
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
    images.truncate(most);
    anyhow::ensure!(!images.is_empty(), "no images in {}", dataset.display());
    Ok(images)
}

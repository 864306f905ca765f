//! How fast a dataset streams: `cargo run --release -p lcl-shard --example stream_rate -- DATASET EDGE THREADS BATCHES`.
#![expect(clippy::print_stdout, reason = "it prints its one result")]

use std::time::Instant;

use lcl_shard::{Part, Stream, StreamConfig};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dataset, edge, threads, batches] = &arguments[..] else {
        anyhow::bail!("usage: stream_rate DATASET EDGE THREADS BATCHES");
    };
    let edge: usize = edge.parse()?;
    let config = StreamConfig {
        dataset: dataset.into(),
        part: Part::All,
        context: 2048,
        edge,
        // A patch of 32 pixels, as in ViT-B/32.
        slots: (edge / 32).pow(2),
        threads: threads.parse()?,
        ..StreamConfig::default()
    };
    let began = Instant::now();
    let mut stream = Stream::open(config, None)?;
    let first = stream.next().transpose()?.map(|_| began.elapsed());
    let (mut images, mut rows, mut fill) = (0, 0, 0.0);
    let began = Instant::now();
    for delivered in stream.take(batches.parse()?) {
        let batch = delivered?.batch;
        images += batch.images();
        rows += batch.rows;
        fill += batch.fill() * batch.rows as f64;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "first batch {:.0} ms; {images} images, {rows} sequences in {seconds:.2} s: {:.0} images/s; {:.1} % filled",
        first.unwrap_or_default().as_secs_f64() * 1e3,
        images as f64 / seconds,
        100.0 * fill / rows.max(1) as f64,
    );
    Ok(())
}

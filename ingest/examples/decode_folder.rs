//! What becomes of every file beneath a folder when it is taken for an image: a line each with its path, outcome, size as
//! fetched, stored size and milliseconds. For broken and hostile collections: nothing may panic, hang or fill memory.
//!
//! ```text
//! cargo run --release --example decode_folder -- FOLDER > outcomes.tsv
//! ```
#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use lcl_ingest::Config;
use lcl_ingest::image::Images;
use lcl_ingest::stages::Stages;

fn main() -> std::io::Result<()> {
    let root = std::env::args_os().nth(1).map(PathBuf::from);
    let root = root.unwrap_or_else(|| {
        eprintln!("usage: decode_folder FOLDER");
        std::process::exit(2)
    });
    let config = Config::default();
    let mut images = Images::new(&config);
    let mut files = Vec::new();
    list(&root, &mut files)?;
    files.sort();
    for path in files {
        let bytes = std::fs::read(&path)?;
        let begun = Instant::now();
        let line = match images.store(bytes, &Stages::default()) {
            Err(outcome) => format!("{outcome}\t\t"),
            Ok(image) => format!(
                "stored\t{}x{}\t{}x{}",
                image.original_width, image.original_height, image.width, image.height
            ),
        };
        let shown = path.strip_prefix(&root).unwrap_or(&path).display();
        println!("{shown}\t{line}\t{}", begun.elapsed().as_millis());
    }
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => list(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

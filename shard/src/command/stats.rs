//! `lcl-shard stats`.

use std::io::{IsTerminal, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use lcl_shard::inspect::stats::{self, Settings, Statistics, page, terminal};

use super::kept::{Existing, Kept};
use super::progress::Progress;
use super::show;

/// Say what a dataset holds: counts, outcomes, distributions, hosts, duplicates, how full sequences get
#[derive(Args)]
#[command(
    long_about = "Says what a dataset holds: documents, images and tokens, what became of every record and image, how lengths, sizes \
    and similarities are distributed, languages and hosts, duplicates by SHA-256 and near-duplicates by perceptual hash, and how full \
    sequences get.\n\n\
    Rows are read, pixels are not. Memory does not grow with the dataset: half a gigabyte at most."
)]
pub(crate) struct Stats {
    /// Folder of the dataset
    dataset: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// Also write a page with plots, which needs nothing else to be looked at
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Only what commits and manifest say: no row is read
    #[arg(long, conflicts_with = "html")]
    counts: bool,
    /// Ids in a sequence
    #[arg(long, default_value = "2048", value_parser = number(8..=1 << 20))]
    context: usize,
    /// Ids between an image's BOI and EOI
    #[arg(long, default_value = "256", value_parser = number(1..=1 << 20))]
    slots: usize,
    /// Bits of 64 in which the perceptual hashes of near-duplicates may differ
    #[arg(long, value_name = "BITS", default_value = "4", value_parser = clap::value_parser!(u32).range(0..=15))]
    near: u32,
}

impl Stats {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        if self.counts {
            return show(&stats::stats(&self.dataset)?, self.json, out);
        }
        let settings = Settings {
            context: self.context,
            slots: self.slots,
            near_bits: self.near,
        };
        let mut progress = Progress::start("reading");
        let found = stats::look(&self.dataset, settings, &mut |read, of| {
            progress.show(read, of)
        });
        drop(progress);
        let found = found?;
        if let Some(file) = &self.html {
            write_page(file, &self.dataset, &found)?;
        }
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &found)?;
            return Ok(writeln!(out)?);
        }
        Ok(terminal::write(&found, columns(), out)?)
    }
}

/// In the place of the page that was there before.
fn write_page(file: &Path, dataset: &Path, found: &Statistics) -> anyhow::Result<()> {
    let whole = std::path::absolute(dataset)?;
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    let page = page::page(&name.to_string_lossy(), found);
    let mut kept = Kept::create(file, Existing::IsReplaced)?;
    let written = kept.write_all(page.as_bytes());
    written.with_context(|| format!("cannot write {}", file.display()))?;
    kept.keep()
}

/// Columns of the terminal; 80 where the answer goes elsewhere.
fn columns() -> usize {
    if !std::io::stdout().is_terminal() {
        return 80;
    }
    let editor = rustyline::DefaultEditor::new();
    let dimensions = editor.ok().and_then(|mut editor| editor.dimensions());
    dimensions.map_or(80, |(columns, _)| usize::from(columns))
}

/// A number within bounds.
fn number(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

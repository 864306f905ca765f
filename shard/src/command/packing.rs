//! `lcl-shard packing`.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use lcl_shard::inspect::packing;

/// Compare ways of packing documents into sequences
#[derive(Args)]
pub(crate) struct Packing {
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
}

impl Packing {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let lengths = match self.dataset {
            Some(dataset) => packing::of_dataset(&dataset, self.slots)?,
            None => packing::web_like(self.documents, self.slots),
        };
        Ok(write!(out, "{}", packing::compare(&lengths, self.context))?)
    }
}

/// A number within bounds.
fn count(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

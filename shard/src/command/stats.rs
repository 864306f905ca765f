//! `lcl-shard stats`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lcl_shard::inspect::stats;

use super::show;

/// Count documents, images and tokens, and what became of every record and image
#[derive(Args)]
pub(crate) struct Stats {
    /// Folder of the dataset
    dataset: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        show(&stats::stats(&self.dataset)?, self.json, out)
    }
}

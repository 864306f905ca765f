//! `lcl-shard show`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use lcl_shard::inspect::view;

use super::kept::{Existing, Kept};

/// Write one document as a page that needs nothing else: its images stand in it
#[derive(Args)]
pub(crate) struct Show {
    /// Folder of the dataset
    dataset: PathBuf,
    /// Id of the document
    id: String,
    /// File to write, in place of standard output; one that is there already stays
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Show {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let page = view::show(&self.dataset, &self.id)?;
        match self.out {
            None => Ok(out.write_all(page.as_bytes())?),
            Some(file) => {
                let mut kept = Kept::create(&file, Existing::Stays)?;
                let written = kept.write_all(page.as_bytes());
                written.with_context(|| format!("cannot write {}", file.display()))?;
                kept.keep()
            }
        }
    }
}

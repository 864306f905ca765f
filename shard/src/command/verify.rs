//! `lcl-shard verify`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lcl_shard::inspect::check::{self, CheckError, Depth, Progress};

use super::show;

const VERIFY: &str = "\
What is checked: the header, the tokenizer, every commit and manifest, every shard's size and SHA-256, every row group,
every row and its layout, request logs; with --deep every image. Nothing is written without --repair.

A repair leaves out what cannot be read: a unit's other rows go, as they are, to a new shard and a commit of the next
generation; an image that cannot be decoded keeps its place, with the outcome `corrupt`. Where nothing but a checksum is
wrong, rows are kept whose ids are those of their texts and whose images decode. Damaged shards stay where they are, damaged
commits, manifests and logs as *.damaged. A later run of lcl-ingest on the same input makes units anew that lost documents.

Exit status: 0 sound (or made so), 1 faults, 2 a usage mistake.";

/// Check all of a dataset, and repair it
#[derive(Args)]
#[command(after_help = VERIFY)]
pub(crate) struct Verify {
    /// Folder of the dataset
    dataset: PathBuf,
    /// Decode every image, too
    #[arg(long)]
    deep: bool,
    /// Leave out what is beyond repair, and publish a new manifest
    #[arg(long)]
    repair: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        check::quiet();
        let depth = if self.deep {
            Depth::Pixels
        } else {
            Depth::Rows
        };
        let look = match self.repair {
            true => check::repair,
            false => check::check,
        };
        let report = match look(&self.dataset, depth, &Progress::shown()) {
            Err(error @ CheckError::NoDataset { .. }) => {
                eprintln!("error: {error}");
                return Ok(ExitCode::from(2));
            }
            looked => looked?,
        };
        show(&report, self.json, out)?;
        Ok(ExitCode::from(u8::from(!report.is_sound())))
    }
}

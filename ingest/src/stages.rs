//! Where time goes: seconds in each stage, summed over threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading and parsing records.
    Read,
    /// Waiting for images.
    Fetch,
    /// Bytes to pixels.
    Decode,
    /// Resizing, colours, turning.
    Resize,
    /// Pixels to JPEG.
    Encode,
    /// Exact and perceptual hashes.
    Hash,
    /// Text to ids.
    Tokenize,
    /// Rows to Parquet, hashed and on disk.
    Write,
}

const ALL: [Stage; 8] = [
    Stage::Read,
    Stage::Fetch,
    Stage::Decode,
    Stage::Resize,
    Stage::Encode,
    Stage::Hash,
    Stage::Tokenize,
    Stage::Write,
];

/// Counters that any thread adds to.
#[derive(Debug, Default)]
pub struct Stages([AtomicU64; ALL.len()]);

impl Stages {
    /// Does `work` on `stage`'s account.
    pub(crate) fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.add(stage, begun.elapsed());
        done
    }

    pub(crate) fn add(&self, stage: Stage, spent: Duration) {
        self.0[stage as usize].fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Seconds by stage.
    pub(crate) fn seconds(&self) -> BTreeMap<Stage, f64> {
        ALL.into_iter()
            .map(|stage| {
                (
                    stage,
                    self.0[stage as usize].load(Ordering::Relaxed) as f64 / 1e9,
                )
            })
            .collect()
    }
}

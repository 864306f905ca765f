//! What a run came to.

pub(crate) mod page;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lcl_schemas::dataset::Commit;
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use serde::Serialize;

use crate::fetch::log;
use crate::stages::{Stage, Stages};

/// What a run came to: of the units that it did, not of the whole dataset.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Units that got a commit from this run.
    pub units_done: u64,
    /// Units that had one already, or got one from another run meanwhile.
    pub units_skipped: u64,
    /// Pages of a crawl, in all its runs, by what became of asking for them.
    pub pages: BTreeMap<Outcome, u64>,
    /// Images that archives hold, and those in them that cannot be had.
    pub archived: BTreeMap<&'static str, u64>,
    /// Records by what became of them.
    pub documents: BTreeMap<DocumentOutcome, u64>,
    /// Images of well-formed records by what became of them.
    pub images: BTreeMap<Outcome, u64>,
    /// Stored images as they were fetched.
    pub fetched_bytes: u64,
    /// Shards.
    pub shard_bytes: u64,
    /// From beginning to end.
    pub seconds: f64,
    /// Stored images in a second.
    pub images_per_second: f64,
    /// Seconds in each stage, summed over threads; `fetch` is waiting, summed over images.
    pub stages: BTreeMap<Stage, f64>,
    /// Hash of the manifest of the whole dataset.
    pub manifest: String,
    /// Records that could not be used, the first of each unit.
    pub faults: Vec<String>,
    /// Inputs with the contents of another one, and that one: they were read once.
    pub repeated_inputs: Vec<(String, String)>,
    /// Inputs that could not be read, or not to their end: what was read of them before stays.
    pub failed_inputs: Vec<FailedInput>,
}

/// An input that could not be read to its end.
#[derive(Clone, Debug, Serialize)]
pub struct FailedInput {
    /// Its name.
    pub input: String,
    /// Where and why.
    pub detail: String,
}

impl Report {
    /// Adds up what was committed.
    pub(crate) fn of(commits: &[Commit], stages: &Stages, took: Duration) -> Self {
        let mut report = Self {
            units_done: commits.len() as u64,
            seconds: took.as_secs_f64(),
            stages: stages.seconds(),
            ..Self::default()
        };
        for commit in commits {
            for (outcome, count) in &commit.documents {
                *report.documents.entry(*outcome).or_default() += count;
            }
            for (outcome, count) in &commit.images {
                *report.images.entry(outcome.clone()).or_default() += count;
            }
            report.shard_bytes += commit.shards.iter().map(|shard| shard.bytes).sum::<u64>();
            report
                .faults
                .extend(commit.faults.iter().map(|fault| fault.detail.clone()));
        }
        let stored = report.images.get(&Outcome::Stored).copied().unwrap_or(0);
        report.images_per_second = stored as f64 / report.seconds.max(1e-9);
        report
    }
}

/// A small table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |kind: &str, name: &str, value: String| {
            writeln!(f, "{kind:<10} {name:<32} {value:>10}")
        };
        line("units", "done", self.units_done.to_string())?;
        line("units", "already there", self.units_skipped.to_string())?;
        for (outcome, count) in &self.pages {
            let name = format!("{outcome} ({})", log::class(outcome));
            line("pages", &name, count.to_string())?;
        }
        for (name, count) in &self.archived {
            line("archived", name, count.to_string())?;
        }
        for (outcome, count) in &self.documents {
            line("documents", outcome.name(), count.to_string())?;
        }
        for (outcome, count) in &self.images {
            let name = format!("{outcome} ({})", log::class(outcome));
            line("images", &name, count.to_string())?;
        }
        line(
            "MB",
            "fetched",
            format!("{:.1}", self.fetched_bytes as f64 / 1e6),
        )?;
        line(
            "MB",
            "shards",
            format!("{:.1}", self.shard_bytes as f64 / 1e6),
        )?;
        for (stage, seconds) in &self.stages {
            line(
                "seconds",
                &format!("{stage:?}").to_lowercase(),
                format!("{seconds:.2}"),
            )?;
        }
        line("seconds", "in all", format!("{:.2}", self.seconds))?;
        line(
            "images/s",
            "stored",
            format!("{:.0}", self.images_per_second),
        )?;
        for finding in words::findings(&self.images) {
            let percent = 100.0 * finding.share;
            writeln!(
                f,
                "\n{} images ({percent:.1} %): {}",
                finding.images, finding.what
            )?;
            writeln!(f, "  {}", finding.advice)?;
        }
        Ok(())
    }
}

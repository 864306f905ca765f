//! What a dataset holds and what became of everything that went into it, from its commits alone.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use lcl_schemas::dataset::{COMMITS_DIR, Commit, live};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use serde::Serialize;

use crate::config::Verify;
use crate::read::{ReadError, Reader};

/// A dataset in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Its tokenizer's name.
    pub tokenizer: String,
    /// Stored short side in pixels.
    pub image_size: u32,
    /// Live commits.
    pub units: u64,
    /// Files.
    pub shards: u64,
    /// Of those files.
    pub bytes: u64,
    /// Rows.
    pub documents: u64,
    /// Stored images.
    pub images: u64,
    /// Ids, without slots.
    pub tokens: u64,
    /// Records read, by what became of them.
    pub records_by_outcome: BTreeMap<DocumentOutcome, u64>,
    /// Images of all well-formed records, by what became of them.
    pub images_by_outcome: BTreeMap<Outcome, u64>,
    /// Images of records that were not written.
    pub images_not_written: u64,
    /// Records that could not be used: input, record and why, the first of each unit.
    pub faults: Vec<String>,
}

/// Counts a dataset.
///
/// # Errors
/// A dataset or commit that cannot be read.
pub fn stats(dataset: &Path) -> Result<Stats, ReadError> {
    let reader = Reader::open(dataset, "", Verify::Size)?;
    let commits = live(commits(dataset)?);
    let mut stats = Stats {
        tokenizer: reader.header().tokenizer.name.clone(),
        image_size: reader.header().image_size,
        units: commits.len() as u64,
        shards: commits
            .iter()
            .map(|commit| commit.shards.len() as u64)
            .sum(),
        bytes: commits
            .iter()
            .flat_map(|commit| &commit.shards)
            .map(|shard| shard.bytes)
            .sum(),
        documents: 0,
        images: 0,
        tokens: 0,
        records_by_outcome: BTreeMap::new(),
        images_by_outcome: BTreeMap::new(),
        images_not_written: 0,
        faults: Vec::new(),
    };
    for group in reader.groups() {
        stats.documents += u64::from(group.rows);
        stats.images += group.images;
        stats.tokens += group.tokens;
    }
    for commit in commits {
        for (outcome, count) in &commit.documents {
            *stats.records_by_outcome.entry(*outcome).or_default() += count;
        }
        for (outcome, count) in &commit.images {
            *stats.images_by_outcome.entry(outcome.clone()).or_default() += count;
        }
        stats.images_not_written += commit.images_not_written;
        stats.faults.extend(
            commit
                .faults
                .iter()
                .map(|fault| format!("{}: {}", commit.input_name, fault.detail)),
        );
    }
    Ok(stats)
}

fn commits(dataset: &Path) -> Result<Vec<Commit>, ReadError> {
    let folder = dataset.join(COMMITS_DIR);
    let unreadable = |path: PathBuf| move |source| ReadError::File { path, source };
    let mut commits = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable(folder.clone()))? {
        let path = entry.map_err(unreadable(folder.clone()))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let json = std::fs::read(&path).map_err(unreadable(path.clone()))?;
        let commit =
            serde_json::from_slice(&json).map_err(|error| unreadable(path)(error.into()))?;
        commits.push(commit);
    }
    Ok(commits)
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<22} {value:>12}");
        line("documents", &self.documents)?;
        line("images", &self.images)?;
        line("tokens", &self.tokens)?;
        line("bytes", &self.bytes)?;
        line("shards", &self.shards)?;
        line("units", &self.units)?;
        line("tokenizer", &self.tokenizer)?;
        line("image size", &self.image_size)?;
        let records: u64 = self.records_by_outcome.values().sum();
        writeln!(f, "\n{records} records read")?;
        for (outcome, count) in &self.records_by_outcome {
            writeln!(f, "  {:<20} {count:>12}", outcome.name())?;
        }
        let images: u64 = self.images_by_outcome.values().sum();
        writeln!(
            f,
            "\n{images} images in them, {} of records not written",
            self.images_not_written
        )?;
        for (outcome, count) in &self.images_by_outcome {
            writeln!(
                f,
                "  {:<20} {count:>12}  {:?}",
                outcome.to_string(),
                outcome.class()
            )?;
        }
        for fault in &self.faults {
            writeln!(f, "fault: {fault}")?;
        }
        Ok(())
    }
}

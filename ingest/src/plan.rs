//! What there is to do: the inputs, known by their content, and what a dataset already has of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lcl_schemas::dataset::Commit;
use sha2::{Digest, Sha256};

use crate::config::Config;

/// Read from each end of a file to tell it from others: 2 × 64 KiB.
const SAMPLE: u64 = 64 << 10;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// An input cannot be looked at.
    #[error("cannot read the input {path}: {source}", path = path.display())]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder without inputs.
    #[error("{path} holds no .jsonl, .jsonl.gz or .jsonl.zip file", path = path.display())]
    NoInput {
        /// The folder.
        path: PathBuf,
    },
    /// The dataset has part of an input, made under other rules.
    #[error(
        "the dataset has {input} made with rules {key} = {theirs}, this run has {ours}: use the same, or another --out"
    )]
    Rules {
        /// The input.
        input: String,
        /// The rule.
        key: String,
        /// As committed.
        theirs: String,
        /// As configured.
        ours: String,
    },
}

/// Which units of the inputs to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Those without a commit.
    All,
    /// The one whose first record is this.
    Only(u64),
}

/// One file.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// 16 hex digits of its size and both ends: the same wherever the file lies.
    pub(crate) fingerprint: String,
    /// Committed units by their first record.
    pub(crate) done: BTreeMap<u64, Done>,
}

/// A committed unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) records: u64,
    pub(crate) last: bool,
}

impl Input {
    /// The number of its units when all are committed, from the first record to the last.
    pub(crate) fn whole(&self) -> Option<u64> {
        let (mut at, mut units) = (0, 0);
        loop {
            let done = self.done.get(&at)?;
            units += 1;
            at += done.records;
            if done.last {
                return Some(units);
            }
        }
    }

    /// Records from `at` to the next committed unit: a unit never runs into one.
    pub(crate) fn room(&self, at: u64) -> u64 {
        let next = self.done.range(at + 1..).next();
        next.map_or(u64::MAX, |(&first, _)| first - at)
    }
}

/// The inputs in order, each content once.
pub(crate) fn look(config: &Config) -> Result<Vec<Input>, PlanError> {
    let mut inputs: Vec<Input> = Vec::new();
    for path in files(&config.inputs)? {
        let found = look_at(&path).map_err(|source| PlanError::Input {
            path: path.clone(),
            source,
        })?;
        let known = inputs
            .iter()
            .any(|input| input.fingerprint == found.fingerprint);
        if !known {
            inputs.push(found);
        }
    }
    Ok(inputs)
}

/// Notes what `live` commits have of the inputs, which must have been made by the same rules.
pub(crate) fn note_done(
    config: &Config,
    inputs: &mut [Input],
    live: &[Commit],
) -> Result<(), PlanError> {
    let rules = serde_json::to_value(&config.rules).expect("plain numbers");
    for input in inputs {
        for commit in live {
            if commit.unit.source == config.source.name() && commit.unit.input == input.fingerprint
            {
                same_rules(commit, &rules)?;
                let done = Done {
                    records: commit.records,
                    last: commit.last,
                };
                input.done.insert(commit.unit.first, done);
            }
        }
    }
    Ok(())
}

fn same_rules(commit: &Commit, ours: &serde_json::Value) -> Result<(), PlanError> {
    let empty = serde_json::Map::new();
    let theirs = commit.rules.as_object().unwrap_or(&empty);
    for (key, ours) in ours.as_object().into_iter().flatten() {
        let theirs = theirs.get(key).unwrap_or(&serde_json::Value::Null);
        if theirs != ours {
            return Err(PlanError::Rules {
                input: commit.input_name.clone(),
                key: key.clone(),
                theirs: theirs.to_string(),
                ours: ours.to_string(),
            });
        }
    }
    Ok(())
}

/// Folders are replaced by their inputs, sorted by name.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, PlanError> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |source| PlanError::Input {
            path: path.clone(),
            source,
        };
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let ours = [".jsonl", ".jsonl.gz", ".jsonl.zip"];
            if !name.starts_with('.') && ours.iter().any(|ending| name.ends_with(ending)) {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            return Err(PlanError::NoInput { path: path.clone() });
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn look_at(path: &Path) -> io::Result<Input> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut sample = Vec::new();
    file.by_ref().take(SAMPLE).read_to_end(&mut sample)?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(SAMPLE)))?;
    file.take(SAMPLE).read_to_end(&mut sample)?;
    let mut hash = Sha256::new();
    hash.update(bytes.to_le_bytes());
    hash.update(&sample);
    Ok(Input {
        path: path.to_owned(),
        name: path.display().to_string(),
        bytes,
        fingerprint: format!("{:x}", hash.finalize())[..16].to_owned(),
        done: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(done: &[(u64, u64, bool)]) -> Input {
        let done = done
            .iter()
            .map(|&(first, records, last)| (first, Done { records, last }));
        Input {
            path: PathBuf::new(),
            name: String::new(),
            bytes: 0,
            fingerprint: String::new(),
            done: done.collect(),
        }
    }

    #[test]
    fn an_input_is_whole_when_its_units_reach_from_first_to_last() {
        assert_eq!(input(&[(0, 2, false), (2, 1, true)]).whole(), Some(2));
        assert_eq!(input(&[(0, 0, true)]).whole(), Some(1));
        assert_eq!(input(&[(2, 1, true)]).whole(), None);
        assert_eq!(input(&[(0, 2, false)]).whole(), None);
    }

    #[test]
    fn a_unit_ends_where_a_committed_one_begins() {
        assert_eq!(input(&[(0, 2, false), (5, 1, true)]).room(2), 3);
        assert_eq!(input(&[]).room(0), u64::MAX);
    }
}

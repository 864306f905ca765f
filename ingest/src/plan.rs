//! What there is to do: the inputs, known by their first record, and what a dataset already has of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use lcl_schemas::dataset::Commit;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::dataset::Dataset;
use crate::report::FailedInput;
use crate::source::records::{self, Record, RecordsError};

/// Read from each end of a zip to tell it from others.
const SAMPLE: u64 = 128 << 10;
const ENDINGS: [&str; 3] = [".jsonl", ".jsonl.gz", ".jsonl.zip"];

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No input can be read.
    #[error("{first}{more}", more = match others { 0 => String::new(), others => format!(" (and {others} more inputs that cannot be read)") })]
    Nothing {
        /// What is wrong with the first.
        first: String,
        /// How many more.
        others: usize,
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
    /// 16 hex digits of its first record: the same wherever the file lies, and when it has grown.
    pub(crate) identity: String,
    /// 16 hex digits of all of it.
    pub(crate) content: String,
    /// Committed units by their first record.
    pub(crate) done: BTreeMap<u64, Done>,
    /// Generations of commits whose shards are gone, by their units' first record: those are done again.
    pub(crate) lost: BTreeMap<u64, u32>,
}

/// A committed unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) records: u64,
    pub(crate) last: bool,
    /// Of the records, where the input has changed since they were read: it has to be shown that these have not.
    pub(crate) to_verify: Option<String>,
}

impl Input {
    /// The number of its units when all are committed, from the first record to the last, and it is as it was.
    pub(crate) fn whole(&self) -> Option<u64> {
        let (mut at, mut units) = (0, 0);
        loop {
            let done = self.done.get(&at).filter(|done| done.to_verify.is_none())?;
            units += 1;
            at += done.records;
            if done.last {
                return Some(units);
            }
        }
    }

    /// Records from `at` to the next unit that has a commit, its shards lost or not: a unit never runs into one.
    pub(crate) fn room(&self, at: u64) -> u64 {
        let done = self.done.range(at + 1..).next().map(|(first, _)| first);
        let lost = self.lost.range(at + 1..).next().map(|(first, _)| first);
        done.into_iter()
            .chain(lost)
            .min()
            .map_or(u64::MAX, |first| first - at)
    }
}

/// What there is to read, in order, each content once.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<Input>,
    /// Named or found, and not to be read.
    pub(crate) failed: Vec<FailedInput>,
    /// Names of inputs with the contents of another, and that one's.
    pub(crate) repeated: Vec<(String, String)>,
    /// Place in `inputs` by identity.
    known: HashMap<String, usize>,
}

impl Plan {
    /// Looks at everything that `config` names; what cannot be read is noted, and the rest goes on.
    pub(crate) fn of(config: &Config) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        for path in &config.inputs {
            let limit = config.flow.max_record_bytes;
            match path.is_dir() {
                false => plan.add(path, limit),
                true => match inside(path) {
                    Ok(files) => files.iter().for_each(|file| plan.add(file, limit)),
                    Err(error) => plan.fail(path, &error),
                },
            }
        }
        let mut failed = plan.failed.iter();
        match failed.next().filter(|_| plan.inputs.is_empty()) {
            None => Ok(plan),
            Some(FailedInput { input, detail }) => Err(PlanError::Nothing {
                first: format!("{input}: {detail}"),
                others: failed.count(),
            }),
        }
    }

    fn add(&mut self, path: &Path, limit: usize) {
        let found = match look_at(path, limit) {
            Ok(found) => found,
            Err(error) => return self.fail(path, &error),
        };
        let known = self.known.get(&found.identity).map(|at| &self.inputs[*at]);
        match known {
            Some(known) if known.content == found.content => {
                self.repeated.push((found.name, known.name.clone()));
            }
            Some(known) => self.failed.push(FailedInput {
                detail: format!(
                    "it begins with the same record as {}: records would come twice",
                    known.name
                ),
                input: found.name,
            }),
            None => {
                self.known.insert(found.identity.clone(), self.inputs.len());
                self.inputs.push(found);
            }
        }
    }

    fn fail(&mut self, path: &Path, error: &dyn std::fmt::Display) {
        self.failed.push(FailedInput {
            input: path.display().to_string(),
            detail: error.to_string(),
        });
    }

    /// Notes what `live` commits have of the inputs, which must have been made by the same rules.
    pub(crate) fn note_done(
        &mut self,
        config: &Config,
        dataset: &Dataset,
        live: &[Commit],
    ) -> Result<(), PlanError> {
        let rules = serde_json::to_value(&config.rules).expect("plain numbers");
        for commit in live {
            let ours = commit.unit.source == config.source.name();
            let known = self.known.get(&commit.unit.input).filter(|_| ours);
            let Some(input) = known.map(|at| &mut self.inputs[*at]) else {
                continue;
            };
            same_rules(commit, &rules)?;
            let first = commit.unit.first;
            // Whatever is wrong with a shard, making it anew is the remedy.
            if dataset.check_shards(commit).is_err() {
                input.lost.insert(first, commit.generation);
                continue;
            }
            let changed = commit.input_sha256 != input.content;
            let done = Done {
                records: commit.records,
                last: commit.last,
                to_verify: changed.then(|| commit.records_sha256.clone()),
            };
            input.done.insert(first, done);
        }
        Ok(())
    }
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

/// A folder's inputs, sorted by name.
fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            files.push(file);
        }
    }
    if files.is_empty() {
        let what = format!("no {} file in this folder", ENDINGS.join(" or "));
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    files.sort();
    Ok(files)
}

/// Why an input cannot be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

fn look_at(path: &Path, limit: usize) -> Result<Input, LookError> {
    // Read twice, and a zip from its end: a pipe gives neither.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file").into());
    }
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let content = content(path, &mut file, bytes)?;
    let first = records::read(path, limit, &AtomicU64::new(0), |mut records| {
        records.next()
    })?;
    let identity = match first {
        Some(Record {
            bytes: Some(bytes), ..
        }) => short(Sha256::digest(bytes)),
        // Too long to be kept, or none: known by all of the file.
        _ => content.clone(),
    };
    Ok(Input {
        path: path.to_owned(),
        name: path.display().to_string(),
        bytes,
        identity,
        content,
        done: BTreeMap::new(),
        lost: BTreeMap::new(),
    })
}

/// By all of it, at the price of reading it once more; for a zip, whose end holds its member's size and checksum, by its size
/// and both ends.
fn content(path: &Path, file: &mut File, bytes: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    if path.extension().is_some_and(|ending| ending == "zip") {
        hash.update(bytes.to_le_bytes());
        io::copy(&mut file.by_ref().take(SAMPLE), &mut hash)?;
        file.seek(SeekFrom::Start(bytes.saturating_sub(SAMPLE)))?;
    }
    io::copy(file, &mut hash)?;
    Ok(short(hash.finalize()))
}

fn short(digest: impl std::fmt::LowerHex) -> String {
    format!("{digest:x}")[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(done: &[(u64, u64, bool)]) -> Input {
        let done = done.iter().map(|&(first, records, last)| {
            let to_verify = None;
            (
                first,
                Done {
                    records,
                    last,
                    to_verify,
                },
            )
        });
        Input {
            path: PathBuf::new(),
            name: String::new(),
            bytes: 0,
            identity: String::new(),
            content: String::new(),
            done: done.collect(),
            lost: BTreeMap::new(),
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
        let mut lost = input(&[(9, 1, true)]);
        lost.lost.insert(4, 0);
        assert_eq!((lost.room(0), lost.room(4)), (4, 5));
    }
}

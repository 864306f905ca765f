//! What there is to do: the inputs, known by their content, and what a dataset already has of them.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lcl_schemas::dataset::Commit;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::dataset::Dataset;
use crate::report::FailedInput;

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
    /// 16 hex digits of its content: the same wherever the file lies.
    pub(crate) fingerprint: String,
    /// Committed units by their first record.
    pub(crate) done: BTreeMap<u64, Done>,
    /// Generations of commits whose shards are gone, by their units' first record: those are done again.
    pub(crate) lost: BTreeMap<u64, u32>,
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

/// What there is to read, in order, each content once.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) inputs: Vec<Input>,
    /// Named or found, and not to be read.
    pub(crate) failed: Vec<FailedInput>,
    /// Names of inputs with the contents of another, and that one's.
    pub(crate) repeated: Vec<(String, String)>,
}

impl Plan {
    /// Looks at everything that `config` names; what cannot be read is noted, and the rest goes on.
    pub(crate) fn of(config: &Config) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        for path in &config.inputs {
            match path.is_dir() {
                false => plan.add(path),
                true => match inside(path) {
                    Ok(files) => files.iter().for_each(|file| plan.add(file)),
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

    fn add(&mut self, path: &Path) {
        let found = match look_at(path) {
            Ok(found) => found,
            Err(error) => return self.fail(path, &error),
        };
        let same = |input: &&Input| input.fingerprint == found.fingerprint;
        match self.inputs.iter().find(same) {
            Some(known) => self.repeated.push((found.name, known.name.clone())),
            None => self.inputs.push(found),
        }
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        self.failed.push(FailedInput {
            input: path.display().to_string(),
            detail: format!("cannot read it: {error}"),
        });
    }

    /// Notes what `live` commits have of the inputs, which must have been made by the same rules. An input that changed
    /// since it was ingested is not read: its records would come twice.
    pub(crate) fn note_done(
        &mut self,
        config: &Config,
        dataset: &Dataset,
        live: &[Commit],
    ) -> Result<(), PlanError> {
        let rules = serde_json::to_value(&config.rules).expect("plain numbers");
        let ours = |commit: &&Commit| commit.unit.source == config.source.name();
        for input in &mut self.inputs {
            let of_input = |commit: &&Commit| commit.unit.input == input.fingerprint;
            for commit in live.iter().filter(ours).filter(of_input) {
                same_rules(commit, &rules)?;
                let first = commit.unit.first;
                match dataset.check_shards(commit) {
                    Ok(()) => {
                        let (records, last) = (commit.records, commit.last);
                        input.done.insert(first, Done { records, last });
                    }
                    // Whatever is wrong with a shard, making it anew is the remedy.
                    Err(_) => {
                        input.lost.insert(first, commit.generation);
                    }
                }
            }
        }
        self.leave_changed(live);
        Ok(())
    }

    fn leave_changed(&mut self, live: &[Commit]) {
        let present: HashSet<_> = self
            .inputs
            .iter()
            .map(|input| input.fingerprint.clone())
            .collect();
        let gone: HashSet<&str> = live
            .iter()
            .filter(|commit| !present.contains(&commit.unit.input))
            .map(|commit| commit.input_name.as_str())
            .collect();
        let changed = |input: &mut Input| {
            let new = input.done.is_empty() && input.lost.is_empty();
            new && gone.contains(input.name.as_str())
        };
        let changed = self.inputs.extract_if(.., changed).map(|input| FailedInput {
            input: input.name,
            detail: "it has changed since it was ingested, and its records would come twice: give new records in a file \
                     of their own, or use another --out"
                .into(),
        });
        self.failed.extend(changed);
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

fn look_at(path: &Path) -> io::Result<Input> {
    // Read twice, and a zip from its end: a pipe gives neither.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Input {
        path: path.to_owned(),
        name: path.display().to_string(),
        bytes,
        fingerprint: fingerprint(path, &mut file, bytes)?,
        done: BTreeMap::new(),
        lost: BTreeMap::new(),
    })
}

/// By all of its content, at the price of reading it once more; for a zip, whose end holds its member's size and checksum,
/// by its size and both ends.
fn fingerprint(path: &Path, file: &mut File, bytes: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    if path.extension().is_some_and(|ending| ending == "zip") {
        hash.update(bytes.to_le_bytes());
        io::copy(&mut file.by_ref().take(SAMPLE), &mut hash)?;
        file.seek(SeekFrom::Start(bytes.saturating_sub(SAMPLE)))?;
    }
    io::copy(file, &mut hash)?;
    Ok(format!("{:x}", hash.finalize())[..16].to_owned())
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
    }
}

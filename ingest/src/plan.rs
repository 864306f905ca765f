//! What there is to do: the inputs, known by their first record, and what a dataset already has of them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lcl_schemas::dataset::Commit;
use lcl_schemas::outcome::DocumentOutcome;
use sha2::{Digest, Sha256};

use crate::config::{Config, SourceKind};
use crate::crawl;
use crate::dataset::Dataset;
use crate::report::FailedInput;
use crate::source::holdings::Holdings;
use crate::source::records::{Raw, Records, RecordsError, RecordsHash};
use crate::source::{self, folder};

/// Read from each end of a zip to tell it from others.
const SAMPLE: u64 = 128 << 10;
/// Records by which an archive is known.
const ARCHIVE_BEGINNING: u32 = 4;

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
    /// An archive cannot be looked through for images.
    #[error("looking for images: {0}")]
    Archive(String),
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
    /// What lies with its pages.
    pub(crate) holdings: Arc<Holdings>,
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
        let crawled = match config.source {
            SourceKind::Crawl => crawl::archives(config),
            _ => Vec::new(),
        };
        let inputs = match config.source {
            SourceKind::Crawl => &crawled,
            _ => &config.inputs,
        };
        for path in inputs {
            // A folder of pages is one input: its pages share their images.
            match path.is_dir() && config.source != SourceKind::Html {
                false => plan.add(config, path),
                true => match folder::files(path, config.source) {
                    Ok(files) => files
                        .iter()
                        .for_each(|file| plan.add(config, &path.join(file))),
                    Err(error) => plan.fail(path, &error),
                },
            }
        }
        plan.find_holdings(config)?;
        let mut failed = plan.failed.iter();
        match failed.next().filter(|_| plan.inputs.is_empty()) {
            None => Ok(plan),
            Some(FailedInput { input, detail }) => Err(PlanError::Nothing {
                first: format!("{input}: {detail}"),
                others: failed.count(),
            }),
        }
    }

    fn add(&mut self, config: &Config, path: &Path) {
        let found = match look_at(config, path) {
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

    /// Folders have their own, archives theirs together.
    fn find_holdings(&mut self, config: &Config) -> Result<(), PlanError> {
        match config.source {
            SourceKind::Mmc4 => {}
            SourceKind::Html => {
                for input in &mut self.inputs {
                    let folder = folder::beneath(&input.path);
                    input.holdings = Arc::new(Holdings::folder(config, folder));
                }
            }
            SourceKind::Warc | SourceKind::Crawl => {
                let paths = self.inputs.iter().map(|input| input.path.as_path().into());
                let holdings = Holdings::archives(config, &paths.collect::<Vec<_>>());
                let holdings = holdings.map_err(|error| PlanError::Archive(error.to_string()))?;
                let holdings = Arc::new(holdings);
                for input in &mut self.inputs {
                    input.holdings = holdings.clone();
                }
            }
        }
        Ok(())
    }

    /// What was found of images in archives, by name.
    pub(crate) fn archived(&self) -> BTreeMap<&'static str, u64> {
        let tally = self.inputs.first().and_then(|input| input.holdings.tally());
        let Some(tally) = tally else {
            return BTreeMap::new();
        };
        let counts = [
            ("images", tally.images),
            ("revisits", tally.revisits),
            ("revisits of what is elsewhere", tally.unresolved),
            ("not addressable", tally.unreachable),
            ("cut short", tally.damaged),
            ("too long", tally.too_long),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
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
        let rules = serde_json::to_value(config.resolved_rules()).expect("plain numbers");
        for commit in live {
            let ours = commit.unit.source == config.source.name();
            let known = self.known.get(&commit.unit.input).filter(|_| ours);
            let Some(input) = known.map(|at| &mut self.inputs[*at]) else {
                continue;
            };
            same_rules(commit, &rules)?;
            let first = commit.unit.first;
            if is_lost(dataset, commit) {
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

/// Whether a commit's unit is to be done again: whatever is wrong with a shard, making it anew is the remedy, and so it is
/// for what a repair had to leave out.
pub(crate) fn is_lost(dataset: &Dataset, commit: &Commit) -> bool {
    dataset.check_shards(commit).is_err()
        || commit.documents.contains_key(&DocumentOutcome::Damaged)
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

/// Why an input cannot be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

fn look_at(config: &Config, path: &Path) -> Result<Input, LookError> {
    let (bytes, content) = match config.source {
        SourceKind::Html => folder_content(path)?,
        SourceKind::Mmc4 | SourceKind::Warc | SourceKind::Crawl => file_content(path)?,
    };
    let unseen = AtomicU64::new(0);
    let identity = source::read(config, path, &unseen, |records| match config.source {
        SourceKind::Crawl => place_in_crawl(path, records),
        _ => beginning(records),
    })?;
    let identity = identity.unwrap_or_else(|| content.clone());
    Ok(Input {
        path: path.to_owned(),
        name: path.display().to_string(),
        bytes,
        identity,
        content,
        holdings: Arc::new(Holdings::nothing()),
        done: BTreeMap::new(),
        lost: BTreeMap::new(),
    })
}

/// 16 hex digits of the first record, unless it was too long to be kept, or is damaged. Archives begin with what says who
/// made them, and the request for a page before the page: there it takes more to tell one from another.
fn beginning(mut records: Records<'_>) -> Result<Option<String>, RecordsError> {
    let mut hash = RecordsHash::default();
    let mut seen = 0;
    while let Some(record) = records.next()? {
        if matches!(record.raw, Raw::TooLong | Raw::Lost(_)) {
            break;
        }
        hash.add(&record);
        seen += 1;
        if seen == ARCHIVE_BEGINNING || !matches!(record.raw, Raw::Capture(_)) {
            break;
        }
    }
    Ok((seen > 0).then(|| hash.hex()[..16].to_owned()))
}

/// A crawl's archives are known by their first page and their number: their bytes hold the time of the crawl.
fn place_in_crawl(path: &Path, mut records: Records<'_>) -> Result<Option<String>, RecordsError> {
    let mut hash = Sha256::new();
    hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
    while let Some(record) = records.next()? {
        if let Raw::Capture(capture) = record.raw
            && let Some(url) = &capture.target_uri
        {
            hash.update(url);
            break;
        }
    }
    Ok(Some(short(hash.finalize())))
}

/// All of a folder's pages, and what they are called.
fn folder_content(root: &Path) -> io::Result<(u64, String)> {
    let (mut bytes, mut hash) = (0, Sha256::new());
    let folder = folder::beneath(root);
    for page in folder::pages(root)? {
        hash.update(page.as_os_str().as_encoded_bytes());
        hash.update(b"\0");
        bytes += io::copy(&mut File::open(folder.join(page))?, &mut hash)?;
    }
    Ok((bytes, short(hash.finalize())))
}

/// By all of it, at the price of reading it once more; for a zip, whose end holds its member's size and checksum, by its size
/// and both ends.
fn file_content(path: &Path) -> io::Result<(u64, String)> {
    // Read twice, and a zip from its end: a pipe gives neither.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut hash = Sha256::new();
    if path.extension().is_some_and(|ending| ending == "zip") {
        hash.update(bytes.to_le_bytes());
        io::copy(&mut file.by_ref().take(SAMPLE), &mut hash)?;
        file.seek(SeekFrom::Start(bytes.saturating_sub(SAMPLE)))?;
    }
    io::copy(&mut file, &mut hash)?;
    Ok((bytes, short(hash.finalize())))
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
            holdings: Arc::new(Holdings::nothing()),
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

//! Commits: each by itself, and together.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use lcl_schemas::dataset::{COMMITS_DIR, Commit, FORMAT, live};
use lcl_schemas::write::durable::SCRATCH_PREFIX;
use serde::Deserialize;

use super::report::{Fault, Kind, Ledger};
use super::{CheckError, unreadable};

const RESTORE: &str = "restore it from a copy; --repair sets it aside, and the next run of lcl-ingest on its input makes its unit \
     anew";
const READABLE: &str = "see to it that it can be read: as long as it cannot --repair does nothing";
pub(super) const NEWER: &str = "use a newer lcl: this one repairs nothing here";
const RENAME: &str = "--repair gives it its name, or sets it aside where another has that";
const TWICE: &str =
    "delete one of the commits and run lcl-ingest on the input again; --repair cannot know which";

/// What `_commits` holds.
#[derive(Default)]
pub(super) struct Commits {
    /// Readable ones, under their own name.
    pub(super) named: Vec<Commit>,
    /// Readable ones by the name that they have, which is not theirs.
    pub(super) misnamed: Vec<(String, Commit)>,
    /// Names of those that cannot be used.
    pub(super) unusable: Vec<String>,
    /// Why nothing may be repaired: what those say that cannot be used, and may be sound, has to count.
    pub(super) barred: Vec<String>,
    /// Those that count.
    pub(super) live: Vec<Commit>,
    /// Shards of all commits by their contents.
    pub(super) known: HashMap<String, String>,
}

impl Commits {
    pub(super) fn all(&self) -> impl Iterator<Item = &Commit> {
        let misnamed = self.misnamed.iter().map(|(_, commit)| commit);
        self.named.iter().chain(misnamed)
    }
}

/// Reads all commits and notes their faults.
pub(super) fn read(root: &Path, ledger: &Ledger) -> Result<Commits, CheckError> {
    let folder = root.join(COMMITS_DIR);
    let mut commits = Commits::default();
    let mut names = Vec::new();
    match fs::read_dir(&folder) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(unreadable(&folder))?;
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(&folder)(error)),
    }
    names.sort();
    for name in names {
        if name.starts_with(SCRATCH_PREFIX) || !name.ends_with(".json") {
            continue;
        }
        let fault = |detail: String, what| Fault::new(Kind::Commit, path(&name), detail, what);
        match parse(&folder.join(&name)) {
            Err(Refusal::Damaged(detail)) => {
                ledger.fault(fault(detail, RESTORE));
                commits.unusable.push(name);
            }
            Err(Refusal::MayBeSound(detail, what_to_do)) => {
                let bar = format!("{}: {detail}: {what_to_do}", path(&name));
                commits.barred.push(bar);
                ledger.fault(fault(detail, what_to_do));
            }
            Ok(commit) if commit.file_name() != name => {
                let detail = format!("it is what {} should hold", commit.file_name());
                ledger.fault(fault(detail, RENAME));
                commits.misnamed.push((name, commit));
            }
            Ok(commit) => commits.named.push(commit),
        }
    }
    let shards = commits.all().flat_map(|commit| &commit.shards);
    commits.known = shards
        .map(|shard| (shard.sha256.clone(), shard.file.clone()))
        .collect();
    commits.live = live(commits.all().cloned());
    together(&commits.live, ledger);
    Ok(commits)
}

/// A commit's file, in the dataset's folder.
pub(super) fn path(name: &str) -> String {
    format!("{COMMITS_DIR}/{name}")
}

/// Why a commit cannot be used.
enum Refusal {
    /// It is none.
    Damaged(String),
    /// And what to do.
    MayBeSound(String, &'static str),
}

fn parse(path: &Path) -> Result<Commit, Refusal> {
    /// What every version's commit has.
    #[derive(Deserialize)]
    struct Probe {
        format: u64,
    }
    let json = fs::read(path).map_err(|error| {
        let detail = format!("it cannot be read: {error}");
        Refusal::MayBeSound(detail, READABLE)
    })?;
    match serde_json::from_slice(&json) {
        Ok(Probe { format }) if format > u64::from(FORMAT) => Err(Refusal::MayBeSound(
            format!("it has format {format}, this version reads up to {FORMAT}"),
            NEWER,
        )),
        _ => of_this_format(&json).map_err(Refusal::Damaged),
    }
}

fn of_this_format(json: &[u8]) -> Result<Commit, String> {
    let commit: Commit =
        serde_json::from_slice(json).map_err(|error| format!("it is no commit: {error}"))?;
    commit.check()?;
    let shards = commit.shards.iter();
    let strange = shards.map(|shard| &shard.file).find(|file| !is_plain(file));
    match strange {
        Some(file) => Err(format!("{file:?} is no name of a shard")),
        None => Ok(commit),
    }
}

/// A file in the dataset's folder and nowhere else.
fn is_plain(file: &str) -> bool {
    !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\', '\0'])
}

/// Whether records or shards come twice.
fn together(live: &[Commit], ledger: &Ledger) {
    let mut ends: BTreeMap<(&str, &str), (u64, &Commit)> = BTreeMap::new();
    let mut owners: HashMap<&str, &Commit> = HashMap::new();
    let twice = |commit: &Commit, detail| {
        ledger.fault(Fault::new(
            Kind::Commit,
            path(&commit.file_name()),
            detail,
            TWICE,
        ));
    };
    // In the order of their names, and so of the records of each input.
    for commit in live {
        let unit = &commit.unit;
        let end = unit.first + commit.records;
        let input = (unit.source.as_str(), unit.input.as_str());
        if let Some((before, other)) = ends.get(&input)
            && *before > unit.first
        {
            let (first, other) = (unit.first, other.file_name());
            twice(
                commit,
                format!(
                    "its records {first}–{} are in {other} too",
                    before.min(&end)
                ),
            );
        }
        ends.insert(input, (end, commit));
        for shard in &commit.shards {
            if let Some(other) = owners.insert(&shard.file, commit) {
                twice(
                    commit,
                    format!("{} is named by {} too", shard.file, other.file_name()),
                );
            }
        }
    }
}

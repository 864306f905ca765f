//! Manifests: what each is named after, and the newest against the live commits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use lcl_schemas::dataset::{
    Commit, LATEST_MANIFEST, MANIFESTS_DIR, ManifestRow, manifest_from_arrow,
};
use lcl_schemas::guard::guarded;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use super::commits::Commits;
use super::report::{Fault, Kind, Ledger};

const ANEW: &str =
    "finish a run of lcl-ingest on the dataset, or --repair: a new one is made of the commits";
const OLDER: &str = "restore it from a copy; --repair sets it aside: a stream that was begun with it cannot be resumed";

/// What `_manifests` holds.
#[derive(Default)]
pub(super) struct Manifests {
    /// Whether a new one is to be published.
    pub(super) stale: bool,
    /// Names of older ones that are damaged.
    pub(super) damaged: Vec<String>,
    /// Name of the newest, where it is there and damaged.
    pub(super) damaged_newest: Option<String>,
    /// Of the newest that can be read.
    pub(super) rows: Vec<ManifestRow>,
    /// Shards of all that can be read by their contents.
    pub(super) known: HashMap<String, String>,
}

impl Manifests {
    fn know(&mut self, rows: &[ManifestRow]) {
        let shards = rows
            .chunk_by(|a, b| a.shard == b.shard)
            .map(|rows| &rows[0]);
        let shards = shards.map(|row| (row.shard_sha256.clone(), row.shard.clone()));
        self.known.extend(shards);
    }
}

/// Looks at all manifests.
pub(super) fn check(root: &Path, commits: &Commits, ledger: &Ledger) -> Manifests {
    let folder = root.join(MANIFESTS_DIR);
    let mut found = Manifests::default();
    // Where the newest cannot be read, the one that was written last before it.
    let (mut newest_is_read, mut second) = (false, SystemTime::UNIX_EPOCH);
    let latest = latest(&folder, commits, ledger);
    match &latest {
        Latest::Nothing => {}
        Latest::Faulty => found.stale = true,
        Latest::Hash(hash) => match read(&folder, hash) {
            Ok(rows) => {
                found.know(&rows);
                found.stale = !newest(root, hash, &rows, commits, ledger);
                (found.rows, newest_is_read) = (rows, true);
            }
            Err(detail) => {
                let name = format!("{hash}.parquet");
                let file = format!("{MANIFESTS_DIR}/{name}");
                ledger.fault(Fault::new(Kind::Manifest, file, detail, ANEW));
                found.stale = true;
                found.damaged_newest = folder.join(&name).exists().then_some(name);
            }
        },
    }
    let newest = match &latest {
        Latest::Hash(hash) => format!("{hash}.parquet"),
        _ => String::new(),
    };
    let mut names: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".parquet") && !name.starts_with('.') && *name != newest)
        .collect();
    names.sort();
    for name in names {
        match read(&folder, name.trim_end_matches(".parquet")) {
            Ok(rows) => {
                found.know(&rows);
                let written = fs::metadata(folder.join(&name)).and_then(|of| of.modified());
                let written = written.unwrap_or(SystemTime::UNIX_EPOCH);
                if !newest_is_read && written >= second {
                    (found.rows, second) = (rows, written);
                }
            }
            Err(detail) => {
                let file = format!("{MANIFESTS_DIR}/{name}");
                ledger.fault(Fault::new(Kind::Manifest, file, detail, OLDER));
                found.damaged.push(name);
            }
        }
    }
    found
}

enum Latest {
    /// There is nothing that it could speak of.
    Nothing,
    Faulty,
    Hash(String),
}

fn latest(folder: &Path, commits: &Commits, ledger: &Ledger) -> Latest {
    let fault = |detail: String| {
        let file = format!("{MANIFESTS_DIR}/{LATEST_MANIFEST}");
        ledger.fault(Fault::new(Kind::Manifest, file, detail, ANEW));
        Latest::Faulty
    };
    match fs::read(folder.join(LATEST_MANIFEST)) {
        Ok(text) => {
            let hash = String::from_utf8_lossy(&text).trim().to_owned();
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            match is_hash {
                true => Latest::Hash(hash),
                false => fault("it is no SHA-256 in 64 hexadecimal digits".into()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && commits.live.is_empty() => {
            Latest::Nothing
        }
        Err(error) => fault(format!("it cannot be read: {error}")),
    }
}

/// The newest manifest against the live commits; whether it needs no successor.
fn newest(
    root: &Path,
    hash: &str,
    rows: &[ManifestRow],
    commits: &Commits,
    ledger: &Ledger,
) -> bool {
    let file = format!("{MANIFESTS_DIR}/{hash}.parquet");
    let fault = |detail: String| {
        ledger.fault(Fault::new(Kind::Manifest, file.clone(), detail, ANEW));
    };
    let live: Vec<_> = commits
        .live
        .iter()
        .flat_map(Commit::manifest_rows)
        .collect();
    if rows == live {
        return true;
    }
    let known: HashMap<_, _> = commits
        .all()
        .map(|commit| ((commit.unit.name(), commit.generation), commit))
        .collect();
    let mut named = BTreeSet::new();
    let mut sound = true;
    for rows in rows.chunk_by(|a, b| (&a.unit, a.generation) == (&b.unit, b.generation)) {
        let (unit, generation) = (&rows[0].unit, rows[0].generation);
        let wrong = match known.get(&(unit.clone(), generation)) {
            _ if !named.insert(unit.clone()) => Some("names it twice".into()),
            None => Some(format!(
                "names generation {generation} of it, of which there is no commit"
            )),
            Some(commit) if commit.manifest_rows().ne(rows.iter().cloned()) => {
                Some(format!("differs from {}", commit.file_name()))
            }
            Some(_) => lost_shard(root, rows),
        };
        if let Some(wrong) = wrong {
            fault(format!("unit {unit}: the manifest {wrong}"));
            sound = false;
        }
    }
    if sound {
        let named: HashSet<_> = rows
            .iter()
            .map(|row| (row.unit.as_str(), row.generation))
            .collect();
        let live = commits
            .live
            .iter()
            .filter(|commit| !commit.shards.is_empty());
        let behind = live
            .filter(|commit| !named.contains(&(commit.unit.name().as_str(), commit.generation)))
            .count();
        ledger.note(format!(
            "the newest manifest is behind the commits by {behind} units: {ANEW}"
        ));
    }
    false
}

/// A shard of a superseded commit that the manifest still names, and that is gone. Those of live ones are looked at anyway.
fn lost_shard(root: &Path, rows: &[ManifestRow]) -> Option<String> {
    rows.iter().find_map(|row| {
        let there = fs::metadata(root.join(&row.shard));
        match there.is_ok_and(|there| there.len() == row.shard_bytes) {
            true => None,
            false => Some(format!(
                "names {}, which is gone or has another size",
                row.shard
            )),
        }
    })
}

/// The manifest of that name, whose contents have to have that hash.
fn read(folder: &Path, hash: &str) -> Result<Vec<ManifestRow>, String> {
    let bytes = fs::read(folder.join(format!("{hash}.parquet")))
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if format!("{:x}", Sha256::digest(&bytes)) != hash {
        return Err("its contents do not have the hash that names it".into());
    }
    guarded(|| parse(bytes)).and_then(|rows| rows)
}

fn parse(bytes: Vec<u8>) -> Result<Vec<ManifestRow>, String> {
    let broken = |error: &dyn std::fmt::Display| format!("it is no manifest: {error}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| broken(&error))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| broken(&error))?;
        let read = manifest_from_arrow(&batch);
        rows.extend(read.map_err(|column| broken(&format!("column `{column}`")))?);
    }
    Ok(rows)
}

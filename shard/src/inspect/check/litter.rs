//! What no live commit names: no fault, and worth knowing.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use indicatif::HumanBytes;
use lcl_schemas::dataset::{COMMITS_DIR, Commit, FETCH_DIR, MANIFESTS_DIR};
use lcl_schemas::write::durable::SCRATCH_PREFIX;

use super::repair::ASIDE;
use super::report::Ledger;

/// Files of one kind.
#[derive(Default)]
struct Pile {
    files: u64,
    bytes: u64,
}

impl Pile {
    fn add(&mut self, entry: &fs::DirEntry) {
        self.files += 1;
        self.bytes += entry.metadata().map_or(0, |found| found.len());
    }

    fn note(&self, what: &str, ledger: &Ledger) {
        if self.files > 0 {
            let size = HumanBytes(self.bytes);
            ledger.note(format!("{} {what} ({size})", self.files));
        }
    }
}

/// Counts it.
pub(super) fn note(root: &Path, live: &[Commit], ledger: &Ledger) {
    let named = live.iter().flat_map(|commit| &commit.shards);
    let named: HashSet<&str> = named.map(|shard| shard.file.as_str()).collect();
    let [mut shards, mut scratch, mut aside] = [const { Pile { files: 0, bytes: 0 } }; 3];
    for folder in ["", COMMITS_DIR, MANIFESTS_DIR, FETCH_DIR] {
        for entry in fs::read_dir(root.join(folder))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_shard = name.starts_with("part-") && name.ends_with(".parquet");
            if name.starts_with(SCRATCH_PREFIX) {
                scratch.add(&entry);
            } else if name.contains(ASIDE) {
                aside.add(&entry);
            } else if folder.is_empty() && is_shard && !named.contains(&*name) {
                shards.add(&entry);
            }
        }
    }
    shards.note("shards that no live commit names", ledger);
    scratch.note(
        "scratch files of runs that are at work or were ended",
        ledger,
    );
    aside.note("files that a repair set aside", ledger);
}

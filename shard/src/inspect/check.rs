//! A dataset against everything that it says of itself; and what can be saved of one that is damaged.
//!
//! ```text
//!  header, tokenizer ─► commits ─┬─► live ─► shards: there, size, SHA-256, footer ─► row groups ─► rows ─► images (deep)
//!                                └─► manifests                                                       │
//!  request logs, litter                         faults, each with its place ◄────────────────────────┘ ─► repair
//! ```
//! All faults are found, not the first; whatever the bytes are, nothing panics. A check writes nothing.

mod commits;
mod images;
mod litter;
mod logs;
mod manifest;
mod progress;
mod repair;
mod report;
mod rows;
mod scan;
mod shard;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lcl_schemas::dataset::{COMMITS_DIR, HEADER_FILE, Header, TOKENIZER_FILE};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::tokenizer::Tokenizer;
use lcl_schemas::write::dataset::DatasetError;
use serde::Serialize;

use commits::Commits;
pub use lcl_schemas::guard::quiet;
use manifest::Manifests;
pub use progress::Progress;
pub use repair::repair;
use report::Ledger;
pub use report::{Checked, Fault, Kind, LISTED, Repaired, Report};
use scan::{FoundUnit, Scan};

/// How far a check looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// Every row, and that its images have bytes.
    #[default]
    Rows,
    /// Every image decoded, too.
    Pixels,
}

/// Why a dataset cannot be checked or repaired.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A folder that holds none.
    #[error("{path} is no dataset: it has no {HEADER_FILE} and no {COMMITS_DIR}", path = path.display())]
    NoDataset {
        /// The folder.
        path: PathBuf,
    },
    /// Not even looked at.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A repair cannot write, or may not: another run is at work.
    #[error(transparent)]
    Write(#[from] DatasetError),
}

/// Checks the dataset at `root`.
///
/// # Errors
/// [`CheckError::NoDataset`], [`CheckError::Read`]; faults are in the report.
pub fn check(root: &Path, depth: Depth, progress: &Progress) -> Result<Report, CheckError> {
    let begun = Instant::now();
    let mut report = Found::look(root, depth, progress)?.into_report(root, depth);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// A dataset as it was found.
struct Found {
    tokenizer: Option<Tokenizer>,
    commits: Commits,
    /// As the live commits.
    units: Vec<FoundUnit>,
    manifests: Manifests,
    logs: u64,
    /// Names of logs that cannot be read.
    damaged_logs: Vec<String>,
    ledger: Ledger,
}

impl Found {
    fn look(root: &Path, depth: Depth, progress: &Progress) -> Result<Self, CheckError> {
        if !root.join(HEADER_FILE).exists() && !root.join(COMMITS_DIR).is_dir() {
            return Err(CheckError::NoDataset {
                path: root.to_owned(),
            });
        }
        let ledger = Ledger::default();
        let header = header(root, &ledger);
        let tokenizer = header
            .as_ref()
            .and_then(|header| tokenizer(root, header, &ledger));
        let mut commits = commits::read(root, &ledger)?;
        let mut manifests = manifest::check(root, &commits, &ledger);
        // Those of commits that cannot be read, too.
        for (hash, file) in manifests.known.drain() {
            commits.known.entry(hash).or_insert(file);
        }
        let (logs, damaged_logs) = logs::check(root, &ledger);
        let scan = Scan {
            root,
            header: header.as_ref(),
            depth,
            known: &commits.known,
            ledger: &ledger,
            progress,
        };
        let units = scan.run(&commits.live);
        litter::note(root, &commits.live, &ledger);
        Ok(Self {
            tokenizer,
            commits,
            units,
            manifests,
            logs,
            damaged_logs,
            ledger,
        })
    }

    fn into_report(self, root: &Path, depth: Depth) -> Report {
        let shards = || self.commits.live.iter().flat_map(|commit| &commit.shards);
        let stored = |unit: &FoundUnit| unit.outcomes.get(&Outcome::Stored).copied();
        let checked = Checked {
            units: self.commits.live.len() as u64,
            commits: self.commits.all().count() as u64,
            shards: shards().count() as u64,
            bytes: shards().fold(0, |sum, shard| shard.bytes.saturating_add(sum)),
            documents: self.units.iter().map(|unit| unit.rows).sum(),
            images: self.units.iter().filter_map(stored).sum(),
            decoded: self.units.iter().map(|unit| unit.decoded).sum(),
            logs: self.logs,
        };
        self.ledger.into_report(root.to_owned(), depth, checked)
    }
}

fn header(root: &Path, ledger: &Ledger) -> Option<Header> {
    let header = std::fs::read(root.join(HEADER_FILE))
        .map_err(|error| format!("it cannot be read: {error}"))
        .and_then(|json| Header::from_json(&json).map_err(|error| error.to_string()));
    header
        .map_err(|detail| {
            let what_to_do = match repair::is_newer(root) {
                true => commits::NEWER,
                false => "restore it from a copy: without it no row can be read, and a repair cannot make it",
            };
            ledger.fault(Fault::new(Kind::Header, HEADER_FILE, detail, what_to_do));
        })
        .ok()
}

fn tokenizer(root: &Path, header: &Header, ledger: &Ledger) -> Option<Tokenizer> {
    let fault = |detail: String| {
        let what_to_do =
            "restore it from a copy: a repair cannot make it, and lcl-ingest cannot go on without";
        ledger.fault(Fault::new(
            Kind::Tokenizer,
            TOKENIZER_FILE,
            detail,
            what_to_do,
        ));
    };
    match Tokenizer::of_dataset(root, header) {
        Ok(tokenizer) if tokenizer.vocabulary() == header.vocabulary => Some(tokenizer),
        Ok(_) => {
            fault(format!(
                "its vocabulary is not the one that {HEADER_FILE} says"
            ));
            None
        }
        Err(error) => {
            fault(error.to_string());
            None
        }
    }
}

/// A file or folder that the system does not give.
fn unreadable(path: &Path) -> impl Fn(io::Error) -> CheckError + use<> {
    let path = path.to_owned();
    move |source| CheckError::Read {
        path: path.clone(),
        source,
    }
}

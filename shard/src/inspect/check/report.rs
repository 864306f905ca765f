//! What was found: every fault with its place, what was looked at, and what a repair did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::HumanBytes;
use serde::Serialize;

use super::Depth;
use crate::inspect::visible::Visible;

/// Faults that are listed; beyond these they are only counted.
pub const LISTED: usize = 1000;

/// What a fault is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the dataset says of itself.
    Header,
    /// What made its ids.
    Tokenizer,
    /// What became of a unit.
    Commit,
    /// What a stream reads first.
    Manifest,
    /// A file of documents, as a whole.
    Shard,
    /// Up to 256 of its documents.
    RowGroup,
    /// A document.
    Row,
    /// An image of a document.
    Image,
    /// What the network did.
    Log,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Tokenizer => "tokenizer",
            Self::Commit => "commit",
            Self::Manifest => "manifest",
            Self::Shard => "shard",
            Self::RowGroup => "row group",
            Self::Row => "row",
            Self::Image => "image",
            Self::Log => "request log",
        }
    }
}

/// One fault and its place, as exactly as it has one. Faults sort by their places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// The file, in the dataset's folder.
    pub file: String,
    /// Index in the file.
    pub row_group: Option<u32>,
    /// Index in the row group.
    pub row: Option<u32>,
    /// Index among the document's texts and images.
    pub place: Option<u32>,
    /// What it is in.
    pub kind: Kind,
    /// Of the document, as far as it could be read.
    pub id: Option<String>,
    /// What is wrong.
    pub detail: String,
    /// For who wants it right again.
    pub what_to_do: String,
}

impl Fault {
    pub(super) fn new(
        kind: Kind,
        file: impl Into<String>,
        detail: impl Into<String>,
        what_to_do: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            row_group: None,
            row: None,
            place: None,
            kind,
            id: None,
            detail: detail.into(),
            what_to_do: what_to_do.into(),
        }
    }

    pub(super) fn in_group(mut self, row_group: u32) -> Self {
        self.row_group = Some(row_group);
        self
    }

    pub(super) fn in_row(mut self, row: u32, id: &str) -> Self {
        self.row = Some(row);
        self.id = (!id.is_empty()).then(|| id.to_owned());
        self
    }

    pub(super) fn at(mut self, place: Option<u32>) -> Self {
        self.place = place;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Visible(&self.file))?;
        let places = [
            ("row group", self.row_group),
            ("row", self.row),
            ("place", self.place),
        ];
        for (name, number) in places {
            if let Some(number) = number {
                write!(f, ", {name} {number}")?;
            }
        }
        if let Some(id) = &self.id {
            write!(f, " ({})", Visible(id))?;
        }
        write!(f, ": {}", Visible(&self.detail))
    }
}

/// Faults and notes, from all threads; of the faults the first [`LISTED`] by place, all counted.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    faults: BTreeSet<Fault>,
    by_kind: BTreeMap<Kind, u64>,
    notes: Vec<String>,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fault(&self, fault: Fault) {
        let mut entries = self.entries();
        *entries.by_kind.entry(fault.kind).or_default() += 1;
        entries.faults.insert(fault);
        if entries.faults.len() > LISTED {
            entries.faults.pop_last();
        }
    }

    pub(super) fn note(&self, note: String) {
        self.entries().notes.push(note);
    }

    pub(super) fn count(&self) -> u64 {
        self.entries().by_kind.values().sum()
    }

    pub(super) fn into_report(self, dataset: PathBuf, depth: Depth, checked: Checked) -> Report {
        let entries = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Report {
            dataset,
            depth,
            checked,
            faults: entries.faults.into_iter().collect(),
            faults_by_kind: entries.by_kind,
            notes: entries.notes,
            repaired: None,
            seconds: 0.0,
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Units with a live commit.
    pub units: u64,
    /// Commits, live and superseded.
    pub commits: u64,
    /// Files of documents.
    pub shards: u64,
    /// Of those files, hashed.
    pub bytes: u64,
    /// Rows that could be read.
    pub documents: u64,
    /// Stored images of those rows.
    pub images: u64,
    /// Images that were decoded.
    pub decoded: u64,
    /// Request logs.
    pub logs: u64,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Faults before it.
    pub faults: u64,
    /// Units that got a commit of the next generation.
    pub units: u64,
    /// Documents left out because they could not be read or were no documents.
    pub documents_lost: u64,
    /// Documents left out because too few of their images were left.
    pub documents_with_too_few_images: u64,
    /// Images whose outcome is now `corrupt`.
    pub images_lost: u64,
    /// What was done, and what could not be.
    pub steps: Vec<String>,
}

/// A dataset as it was found; after a repair, as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its folder.
    pub dataset: PathBuf,
    /// How far images were looked at.
    pub depth: Depth,
    /// How much there was.
    pub checked: Checked,
    /// By place: the first [`LISTED`].
    pub faults: Vec<Fault>,
    /// All of them.
    pub faults_by_kind: BTreeMap<Kind, u64>,
    /// What is no fault and yet worth knowing.
    pub notes: Vec<String>,
    /// Set where something was repaired.
    pub repaired: Option<Repaired>,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// All faults, listed or not.
    pub fn total(&self) -> u64 {
        self.faults_by_kind.values().sum()
    }

    /// Whether there is none.
    pub fn is_sound(&self) -> bool {
        self.faults_by_kind.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(repaired) = &self.repaired {
            write!(f, "{repaired}")?;
        }
        let mut faults = self.faults.iter().peekable();
        while let Some(fault) = faults.next() {
            writeln!(f, "{fault}")?;
            // Said once for those that follow one another.
            if faults.peek().map(|next| &next.what_to_do) != Some(&fault.what_to_do) {
                writeln!(f, "  → {}", Visible(&fault.what_to_do))?;
            }
        }
        let unlisted = self.total() - self.faults.len() as u64;
        if unlisted > 0 {
            writeln!(f, "… and {unlisted} more")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {}", Visible(note))?;
        }
        let Checked {
            units,
            shards,
            bytes,
            documents,
            images,
            ..
        } = self.checked;
        let decoded = match self.depth {
            Depth::Rows => "",
            Depth::Pixels => ", decoded",
        };
        writeln!(
            f,
            "{documents} documents, {images} images{decoded}; {units} units, {shards} shards, {}, {:.1} s",
            HumanBytes(bytes),
            self.seconds
        )?;
        if self.is_sound() {
            return writeln!(f, "sound");
        }
        let kinds = self.faults_by_kind.iter();
        let kinds: Vec<_> = kinds
            .map(|(kind, count)| format!("{count} {}", kind.name()))
            .collect();
        writeln!(f, "{} faults: {}", self.total(), kinds.join(", "))
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "repair: {}", Visible(step))?;
        }
        writeln!(
            f,
            "there were {} faults; {} units superseded, {} documents lost, {} left out for want of images, {} images lost",
            self.faults,
            self.units,
            self.documents_lost,
            self.documents_with_too_few_images,
            self.images_lost
        )?;
        writeln!(f, "looked at again:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_list_faults_are_counted_and_the_first_by_place_are_listed() {
        let ledger = Ledger::default();
        for row in (0..2 * LISTED as u32).rev() {
            let fault = Fault::new(Kind::Row, "part.parquet", "torn", "mend it");
            ledger.fault(fault.in_group(0).in_row(row, "a\u{1b}[2J"));
        }
        let report = ledger.into_report(PathBuf::new(), Depth::Rows, Checked::default());
        assert_eq!((report.total(), report.faults.len()), (2000, LISTED));
        assert_eq!(report.faults.last().and_then(|fault| fault.row), Some(999));
        let text = report.to_string();
        assert!(text.contains("part.parquet, row group 0, row 0 (a\\u{1b}[2J): torn\n"));
        assert!(text.contains("… and 1000 more\n"), "{text}");
        assert_eq!(text.matches("mend it").count(), 1);
    }
}

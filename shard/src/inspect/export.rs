//! A dataset in the forms that others read: tar shards for WebDataset, MDS shards for MosaicML Streaming, Parquet as OBELICS
//! has it.
//!
//! ```text
//! OUT/
//!   docs-00000.tar …                   or shard.00000.mds … and index.json, or part-00000.parquet …
//!   _export.json                       what was exported from where, what was left out, every file's size and SHA-256
//!   _tokenizer.json                    where the dataset has one: ids are exported too
//! ```
//! Documents stand in the dataset's order, stored images keep their bytes, images that could not be had keep their place and
//! say why. The same dataset and settings give the same bytes. Memory holds one row group, whatever the dataset's size. The
//! folder appears when everything in it is written and every shard that was read is what the manifest says.

mod document;
mod folder;
mod mds;
mod obelics;
mod webdataset;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use lcl_schemas::dataset::{Header, TOKENIZER_FILE};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::Row;
use parquet::errors::ParquetError;
use serde::Serialize;

use crate::config::{Part, Verify};
use crate::filter::{Filter, FilterError};
use crate::inspect::Watch;
use crate::inspect::visible::Visible;
use crate::keyed::id_number;
use crate::read::{ReadError, Reader};
use crate::track::is_held_out;
pub use folder::FileEntry;
use folder::Folder;

/// What an export says of itself.
pub const RECORD_FILE: &str = "_export.json";

/// Why a dataset is not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The filter is not one.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// There is something where the export should go.
    #[error("{path} is there and not an empty folder: choose another --out", path = .0.display())]
    Occupied(PathBuf),
    /// Not a folder's name.
    #[error("{path} cannot be made: --out takes the name of a new folder", path = .0.display())]
    NoName(PathBuf),
    /// Two exports to one folder.
    #[error("another export to {path} is at work: let that end first, or choose another --out", path = .0.display())]
    Busy(PathBuf),
    /// A size that the form has no numbers for.
    #[error("--shard-size {0}: an MDS shard has less than 4 GiB")]
    ShardSize(u64),
    /// A share that is none.
    #[error("--holdout {0}: a share is 0 to 1")]
    Holdout(f64),
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Parquet refused.
    #[error("{path}: {source}", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: ParquetError,
    },
    /// A document that the form cannot hold.
    #[error(
        "document `{id}` takes {bytes} bytes, and an MDS shard has less than 4 GiB: leave it out by --filter"
    )]
    TooLarge {
        /// Of the document.
        id: String,
        /// As a sample.
        bytes: u64,
    },
}

impl ExportError {
    /// Whether other arguments would help.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Filter(_)
                | Self::Occupied(_)
                | Self::NoName(_)
                | Self::ShardSize(_)
                | Self::Holdout(_)
        )
    }
}

/// A form that others read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// Tar shards, a sample a document: JSON and pictures as files.
    Webdataset,
    /// MosaicML Streaming's shards, version 2, with their index.
    Mds,
    /// Parquet with OBELICS' columns, and pictures beside them.
    Obelics,
}

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct Export {
    /// The dataset's folder.
    pub dataset: PathBuf,
    /// As what.
    pub to: To,
    /// A folder that is not there yet, or empty.
    pub out: PathBuf,
    /// Bytes after which a file ends; a document is never divided. The form's own habit where `None`.
    pub shard_size: Option<u64>,
    /// SQL predicate over the columns of `documents`; empty for all.
    pub filter: String,
    /// Which documents.
    pub part: Part,
    /// Share that is held out of [`Part::Train`].
    pub holdout: f64,
}

/// What an export came to.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// As what.
    pub to: To,
    /// What is true of every document: with it the ids can be read.
    pub dataset: Header,
    /// Hash of the manifest that was read.
    pub manifest: String,
    /// As given.
    pub filter: String,
    /// As given.
    pub part: Part,
    /// As given.
    pub holdout: f64,
    /// Written.
    pub documents: u64,
    /// Not in the part, or not let pass by the filter; with `documents` all that the dataset has.
    pub documents_left_out: u64,
    /// Of the documents written, by what became of them.
    pub images_by_outcome: BTreeMap<Outcome, u64>,
    /// Ids of the documents written, without slots.
    pub tokens: u64,
    /// In order.
    pub files: Vec<FileEntry>,
}

/// Where documents go, in one of the forms.
trait Sink {
    fn put(&mut self, row: Row) -> Result<(), ExportError>;

    /// Closes what is open; all files, in order.
    fn finish(self: Box<Self>) -> Result<Vec<FileEntry>, ExportError>;
}

/// Exports a dataset; tells `progress` after every row group.
///
/// # Errors
/// See [`ExportError`]; nothing is left where the export should have gone.
pub fn export(export: &Export, watch: Watch<'_>) -> Result<Exported, ExportError> {
    let filter = match export.filter.as_str() {
        "" => None,
        sql => Some(Filter::parse(sql)?),
    };
    if !(0.0..=1.0).contains(&export.holdout) {
        return Err(ExportError::Holdout(export.holdout));
    }
    let reader = Reader::open(&export.dataset, "", Verify::Sha256)?;
    let folder = Folder::begin(&export.out)?;
    let mut exported = Exported {
        to: export.to,
        dataset: reader.header().clone(),
        manifest: reader.manifest().to_owned(),
        filter: export.filter.clone(),
        part: export.part,
        holdout: export.holdout,
        documents: 0,
        documents_left_out: 0,
        images_by_outcome: BTreeMap::new(),
        tokens: 0,
        files: Vec::new(),
    };
    let mut sink = export.sink(&folder)?;
    let total = reader.groups().iter().map(|g| u64::from(g.rows)).sum();
    for group in 0..reader.groups().len() as u32 {
        for row in export.chosen(&reader, group, filter.as_ref())? {
            match row {
                Some(row) => {
                    exported.count(&row);
                    sink.put(row)?;
                }
                None => exported.documents_left_out += 1,
            }
        }
        watch(exported.documents + exported.documents_left_out, total);
    }
    exported.files = sink.finish()?;
    reader.verified(true)?;
    copy_tokenizer(&export.dataset, &folder)?;
    let record = serde_json::to_vec_pretty(&exported).expect("plain JSON");
    folder.write(RECORD_FILE, &record)?;
    folder.publish()?;
    Ok(exported)
}

impl Export {
    fn sink<'a>(&self, folder: &'a Folder) -> Result<Box<dyn Sink + 'a>, ExportError> {
        Ok(match self.to {
            To::Webdataset => Box::new(webdataset::Tars::new(folder, self.shard_size)),
            To::Mds => Box::new(mds::Shards::new(folder, self.shard_size)?),
            To::Obelics => Box::new(obelics::Tables::new(folder, self.shard_size)),
        })
    }

    /// The rows of a row group, `None` for one that is left out. What is left out as a whole is not read.
    fn chosen(
        &self,
        reader: &Reader,
        group: u32,
        filter: Option<&Filter>,
    ) -> Result<Vec<Option<Row>>, ExportError> {
        let rows = reader.groups()[group as usize].rows as usize;
        let passes = match filter {
            Some(filter) => reader.passes(group, filter)?,
            None => vec![true; rows],
        };
        if !passes.contains(&true) {
            return Ok(vec![None; rows]);
        }
        let read = reader.with_pixels(group)?;
        let chosen = read.into_iter().zip(passes).map(|(row, passes)| {
            let held_out = || is_held_out(id_number(&row.document.id), self.holdout);
            let in_part = match self.part {
                Part::All => true,
                Part::Train => !held_out(),
                Part::HeldOut => held_out(),
            };
            (passes && in_part).then_some(row)
        });
        Ok(chosen.collect())
    }
}

impl Exported {
    fn count(&mut self, row: &Row) {
        self.documents += 1;
        self.tokens += row.layout.tokens().len() as u64;
        for image in row.document.images() {
            *self
                .images_by_outcome
                .entry(image.outcome.clone())
                .or_default() += 1;
        }
    }
}

/// The tokenizer travels with its ids.
fn copy_tokenizer(dataset: &Path, folder: &Folder) -> Result<(), ExportError> {
    let path = dataset.join(TOKENIZER_FILE);
    match std::fs::read(&path) {
        Ok(json) => folder.write(TOKENIZER_FILE, &json),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ExportError::Io { path, source }),
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: u64| writeln!(f, "{name:<22} {value:>12}");
        line("documents", self.documents)?;
        line("left out", self.documents_left_out)?;
        line("images", self.images_by_outcome.values().sum())?;
        line("tokens", self.tokens)?;
        line("files", self.files.len() as u64)?;
        line("bytes", self.files.iter().map(|file| file.bytes).sum())?;
        for (outcome, count) in &self.images_by_outcome {
            let outcome = Visible(&outcome.to_string()).to_string();
            writeln!(f, "  {outcome:<20} {count:>12}")?;
        }
        Ok(())
    }
}

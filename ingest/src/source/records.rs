//! What every input is read as: records, one read ahead, so that a unit knows whether it is the last.

use std::fmt;
use std::io;

use sha2::{Digest, Sha256};
use zip::result::ZipError;

use super::warc::cdx::CdxEntry;
use super::warc::{self, ArchiveError};

/// Why an input cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    /// The file cannot be opened.
    #[error("cannot open it: {0}")]
    Open(io::Error),
    /// A zip with other than one member.
    #[error("a zip must hold exactly one file, this one holds {count}: {names}")]
    Members { count: usize, names: String },
    /// Not a zip, or a damaged one.
    #[error("damaged zip: {0}")]
    Zip(ZipError),
    /// The stream breaks off or is damaged.
    #[error("{at}: {source}")]
    Read { at: At, source: io::Error },
    /// More blank bytes in a row than a record may have.
    #[error("{at}: nothing but blank lines for more than {limit} bytes")]
    Blank { at: At, limit: usize },
    /// An archive cannot be read on.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Records that were ingested are not what they were.
    #[error(
        "records {first} to {last} differ from what was ingested of it: give changed records in a file of their own, or use another --out"
    )]
    Changed { first: u64, last: u64 },
    /// Fewer records than the dataset's commits say that it has.
    #[error(
        "it ends within {claimed} records that a commit of the dataset claims: that commit is damaged, remove it"
    )]
    Short { claimed: u64 },
}

/// Where in its input a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Of a text, from 1.
    Line(u64),
    /// Its path in a folder.
    File(String),
    /// Of an archive.
    Byte(u64),
    /// Within a compressed member of an archive, which holds several.
    Within,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::File(path) => f.write_str(path),
            Self::Byte(offset) => write!(f, "byte {offset}"),
            Self::Within => f.write_str("within a member"),
        }
    }
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: At,
    pub(crate) raw: Raw,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    /// A line without its end, or a file.
    Bytes(Vec<u8>),
    /// Longer than allowed: passed over without being held.
    TooLong,
    /// A record of an archive.
    Capture(Box<warc::Record>),
    /// A line of an archive's index.
    Listed(Box<CdxEntry>),
    /// What an archive did not give, and why.
    NotFetched(String),
    /// A damaged part of an archive, and what is wrong with it.
    Lost(String),
}

impl Record {
    /// Bytes that it holds, or may come to hold: at most `limit`.
    pub(crate) fn len(&self, limit: usize) -> usize {
        match &self.raw {
            Raw::Bytes(bytes) => bytes.len(),
            Raw::TooLong | Raw::Lost(_) | Raw::NotFetched(_) => 0,
            // Compressed lengths say nothing of what comes of them.
            Raw::Listed(_) => limit,
            Raw::Capture(record) => record.block.as_ref().map_or(0, Vec::len),
        }
    }
}

/// Gives a record after the other; `None` at the end.
pub(crate) type ReadRecord<'a> = Box<dyn FnMut() -> Result<Option<Record>, RecordsError> + 'a>;

/// Records of an open input.
pub(crate) struct Records<'a> {
    read: ReadRecord<'a>,
    ahead: Option<Result<Record, RecordsError>>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(mut read: ReadRecord<'a>) -> Self {
        let ahead = read().transpose();
        Self { read, ahead }
    }

    /// Whether [`Records::next`] has another one, or an error.
    pub(crate) fn has_more(&self) -> bool {
        self.ahead.is_some()
    }

    /// The next record.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, RecordsError> {
        let next = self.ahead.take().transpose()?;
        if next.is_some() {
            self.ahead = (self.read)().transpose();
        }
        Ok(next)
    }

    /// Passes over `count` records, giving each to `see`.
    pub(crate) fn skip(
        &mut self,
        count: u64,
        mut see: impl FnMut(&Record),
    ) -> Result<(), RecordsError> {
        for _ in 0..count {
            let next = self.next()?;
            see(&next.ok_or(RecordsError::Short { claimed: count })?);
        }
        Ok(())
    }
}

/// The hash of consecutive records, whatever they are wrapped in.
#[derive(Clone, Default)]
pub(crate) struct RecordsHash(Sha256);

impl RecordsHash {
    pub(crate) fn add(&mut self, record: &Record) {
        match &record.raw {
            Raw::Bytes(bytes) => self.0.update(bytes),
            // It is not held, and known to be that.
            Raw::TooLong => self.0.update(b"\0"),
            Raw::Lost(what) | Raw::NotFetched(what) => self.0.update(what),
            Raw::Listed(entry) => {
                self.0.update(&entry.filename);
                self.0.update(entry.offset.to_le_bytes());
            }
            Raw::Capture(record) => {
                let parts = [&record.id, &record.target_uri, &record.date];
                for part in parts.into_iter().flatten() {
                    self.0.update(part);
                    self.0.update(b"\0");
                }
                self.0.update(record.block.as_deref().unwrap_or(b"\0"));
            }
        }
        self.0.update(b"\n");
    }

    pub(crate) fn hex(self) -> String {
        format!("{:x}", self.0.finalize())
    }
}

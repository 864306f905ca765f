//! Web archives: WARC 0.17 to 1.1 and ARC, plain, gzip or zstd, to records; damage is an outcome of its place, not the end.
//!
//! ```text
//! file ─ input ─ members (decoder) ─ window ─ records (head, arc) ─┬─ http   status, headers, body
//!        stored  gzip, zstd, plain   decoded   Found::{Record, Lost} └─ index  URL of an image → captures
//!                                                          cdx ─ where a record is, as others have indexed it
//! ```
//!
//! What the bytes are is looked at; endings are not. Records are found again after damage where a line `WARC/1.0` begins,
//! or a gzip member or zstd frame that begins with one. Only I/O errors end an archive.
//!
//! Held at a time: some hundred kB, a few times the longest record up to [`Limits::max_record_bytes`], and for zstd a
//! window of at most 128 MiB. Continuation records are given, not joined.

mod arc;
pub(crate) mod cdx;
mod date;
mod decoder;
mod fields;
mod head;
pub(crate) mod http;
mod image;
pub(crate) mod index;
mod input;
mod members;
mod records;
#[cfg(test)]
mod sample;
mod skippable;
mod window;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

pub(crate) use input::Counted;
pub(crate) use records::Archive;

/// What an archive may make its reader hold or decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of a block; longer ones are passed over without being held.
    pub(crate) max_record_bytes: usize,
    /// Of decoded bytes that one record may take of a compressed file.
    pub(crate) max_expanded_bytes: u64,
    /// Of decoded to stored bytes of a member of more than 1 MiB; deflate itself ends at 1,032.
    pub(crate) max_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_record_bytes: 64 << 20,
            max_expanded_bytes: 1 << 30,
            max_ratio: 1_000,
        }
    }
}

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot open it: {0}")]
    Open(io::Error),
    #[error("near byte {at}: {source}")]
    Read { at: u64, source: io::Error },
}

/// What is found in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Record(Box<Record>),
    Lost(Lost),
}

/// Bytes that give no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {fault}")]
pub(crate) struct Lost {
    /// In the file: of the bytes, or of the member that they are in.
    pub(crate) offset: u64,
    pub(crate) fault: Fault,
}

/// What is wrong with bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("its length is given as {claimed} bytes, the next record begins after {found}")]
    Length { claimed: u64, found: u64 },
    #[error("its length is not given, the next record begins after {found} bytes")]
    NoLength { found: u64 },
    #[error("cut off: {found} of {claimed} bytes")]
    Cut { claimed: u64, found: u64 },
    #[error("the head of a record has no end")]
    Head,
    #[error("{bytes} bytes that belong to no record")]
    Garbage { bytes: u64 },
    #[error("damaged compression: {detail}")]
    Member { detail: String },
    #[error("cut off within a compressed member")]
    MemberCut,
    #[error("{stored} compressed bytes expand to {decoded} and more")]
    Expands { decoded: u64, stored: u64 },
    #[error("too damaged to be read on")]
    GivenUp,
}

impl Fault {
    /// Whether a record with it may lack some of its block, or have some of it wrong.
    pub(crate) fn cuts(&self) -> bool {
        !matches!(
            self,
            Self::Garbage { .. } | Self::Length { .. } | Self::NoLength { .. }
        )
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Response,
    Resource,
    Revisit,
    Metadata,
    Request,
    Warcinfo,
    Conversion,
    Continuation,
    Other,
}

/// A record; what its head says is not to be trusted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where the file can be read again from; `None`: not the first of its gzip member.
    pub(crate) offset: Option<u64>,
    pub(crate) kind: Kind,
    pub(crate) id: Option<String>,
    /// Without `<>`, blanks encoded.
    pub(crate) target_uri: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) payload_type: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) payload_digest: Option<String>,
    /// Why the archiver kept a part only: `length`, `time`, `disconnect`, `unspecified`.
    pub(crate) truncated: Option<String>,
    pub(crate) refers_to: RefersTo,
    /// Of the block, as far as it is known.
    pub(crate) len: u64,
    /// `None`: longer than allowed.
    pub(crate) block: Option<Vec<u8>>,
    /// The block may then be more or less than was archived.
    pub(crate) fault: Option<Fault>,
}

/// The record that a revisit has its payload in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefersTo {
    pub(crate) id: Option<String>,
    pub(crate) target_uri: Option<String>,
    pub(crate) date: Option<String>,
}

/// Opens an archive; `progress` counts its bytes as they are read.
pub(crate) fn open<'a>(
    path: &Path,
    limits: Limits,
    progress: &'a AtomicU64,
) -> Result<Archive<Counted<'a, File>>, ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::Open)?;
    Archive::new(Counted::new(file, progress), 0, limits)
}

/// The record at an offset that [`Record::offset`] or a CDX gave; anything else that stands there is told.
pub(crate) fn read_at(
    path: &Path,
    offset: u64,
    limits: Limits,
) -> Result<Option<Found>, ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::Open)?;
    Archive::new(file, offset, limits)?.next()
}

/// The record that `bytes` begin with: what an HTTP range request gives for one line of a CDX.
///
/// A range of a `.warc.zst` with a dictionary is damaged without it.
pub(crate) fn parse(bytes: &[u8], limits: Limits) -> Result<Option<Found>, ArchiveError> {
    Archive::new(io::Cursor::new(bytes), 0, limits)?.next()
}

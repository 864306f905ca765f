//! One shard as a file: that it is there, its size, its hash, its footer.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lcl_schemas::dataset::ShardEntry;
use lcl_schemas::guard::guarded;
use lcl_schemas::row;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;
use sha2::{Digest, Sha256};

/// Read at a time.
const CHUNK: usize = 1 << 20;

/// A shard that a live commit names.
pub(super) struct Shard<'a> {
    pub(super) path: PathBuf,
    pub(super) entry: &'a ShardEntry,
    footer: OnceLock<Result<ArrowReaderMetadata, String>>,
}

/// What a shard's file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// What the commit says, to the bit.
    Proven,
    /// What has this hash.
    Other(String),
    /// Nothing that can be read.
    Missing(String),
}

impl<'a> Shard<'a> {
    pub(super) fn new(root: &Path, entry: &'a ShardEntry) -> Self {
        Self {
            path: root.join(&entry.file),
            entry,
            footer: OnceLock::new(),
        }
    }

    /// Hashes it.
    pub(super) fn contents(&self) -> Contents {
        match sha256(&self.path) {
            Err(error) => Contents::Missing(format!("it cannot be read: {error}")),
            Ok(hash) if hash == self.entry.sha256 => Contents::Proven,
            Ok(hash) => Contents::Other(hash),
        }
    }

    /// Whether it has another size than the commit says.
    pub(super) fn size_fault(&self) -> Option<String> {
        let found = fs::metadata(&self.path).ok()?.len();
        let expected = self.entry.bytes;
        (found != expected).then(|| format!("it has {found} bytes, its commit says {expected}"))
    }

    /// Its footer, read once, with the columns of this format.
    pub(super) fn footer(&self) -> Result<&ArrowReaderMetadata, &str> {
        let footer = self.footer.get_or_init(|| {
            let footer = guarded(|| load(&self.path)).and_then(|loaded| loaded)?;
            same_columns(&footer)?;
            Ok(footer)
        });
        footer.as_ref().map_err(String::as_str)
    }
}

fn load(path: &Path) -> Result<ArrowReaderMetadata, String> {
    // Streams find a document's pixels by it.
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
    let file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    ArrowReaderMetadata::load(&file, options)
        .map_err(|error| format!("its footer cannot be read: {error}"))
}

fn same_columns(footer: &ArrowReaderMetadata) -> Result<(), String> {
    let (found, expected) = (footer.schema().fields(), row::schema());
    let expected = expected.fields();
    for (found, expected) in found.iter().zip(expected.iter()) {
        let same = found.name() == expected.name()
            && found.data_type() == expected.data_type()
            && found.is_nullable() == expected.is_nullable();
        if !same {
            return Err(format!(
                "its column `{}` is not this format's `{}`",
                found.name(),
                expected.name()
            ));
        }
    }
    match found.len() == expected.len() {
        true => Ok(()),
        false => Err(format!(
            "it has {} columns, this format {}",
            found.len(),
            expected.len()
        )),
    }
}

/// The hash of a file.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            read => hash.update(&chunk[..read]),
        }
    }
}

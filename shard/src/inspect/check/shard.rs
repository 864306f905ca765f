//! One shard as a file: that it is there, its size, its hash, its footer.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::datatypes::{DataType, Field, Fields};
use lcl_schemas::dataset::ShardEntry;
use lcl_schemas::guard::guarded;
use lcl_schemas::row;
use lcl_schemas::write::shard_file::GROUP_ROWS;
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
    /// Nothing: there is no such file.
    Missing(String),
    /// What the system does not give now and may give later.
    Withheld(String),
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
            Err(error) => {
                let detail = format!("it cannot be read: {error}");
                match error.kind() {
                    io::ErrorKind::NotFound => Contents::Missing(detail),
                    _ => Contents::Withheld(detail),
                }
            }
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

    /// Documents in its largest row group, where these are more than a row group may have.
    pub(super) fn oversized(&self) -> Option<i64> {
        let groups = self.footer().ok()?.metadata().row_groups();
        let most = groups.iter().map(|group| group.num_rows()).max()?;
        (most > GROUP_ROWS as i64).then_some(most)
    }

    /// Its columns, and fields of `images`, that only a later version knows.
    pub(super) fn unknown(&self) -> Vec<String> {
        let footer = self.footer();
        footer.map_or_else(
            |_| Vec::new(),
            |footer| added(footer.schema().fields(), row::schema().fields(), ""),
        )
    }
}

fn load(path: &Path) -> Result<ArrowReaderMetadata, String> {
    // Streams find a document's pixels by it.
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
    let file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    ArrowReaderMetadata::load(&file, options)
        .map_err(|error| format!("its footer cannot be read: {error}"))
}

/// Whether all columns of this format are there, whatever else is and in whatever order.
fn same_columns(footer: &ArrowReaderMetadata) -> Result<(), String> {
    same_fields(footer.schema().fields(), row::schema().fields(), "")
}

fn same_fields(found: &Fields, expected: &Fields, within: &str) -> Result<(), String> {
    for field in expected {
        let name = format!("{within}{}", field.name());
        let mut named = found.iter().filter(|found| found.name() == field.name());
        let (Some(found), None) = (named.next(), named.next()) else {
            return Err(format!("it does not have one column `{name}`"));
        };
        if found.is_nullable() != field.is_nullable() {
            return Err(format!("its column `{name}` is not this format's"));
        }
        match (fields_of(found), fields_of(field)) {
            (Some(found), Some(expected)) => same_fields(found, expected, &format!("{name}."))?,
            _ if found.data_type() == field.data_type() => {}
            _ => return Err(format!("its column `{name}` is not this format's")),
        }
    }
    Ok(())
}

/// The fields of a list's structures.
fn fields_of(list: &Field) -> Option<&Fields> {
    let DataType::List(item) = list.data_type() else {
        return None;
    };
    match item.data_type() {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}

/// Names in `found` that `expected` does not have.
fn added(found: &Fields, expected: &Fields, within: &str) -> Vec<String> {
    let mut names = Vec::new();
    for field in found {
        let name = format!("{within}{}", field.name());
        match expected.find(field.name()) {
            None => names.push(name),
            Some((_, expected)) => {
                if let (Some(found), Some(expected)) = (fields_of(field), fields_of(expected)) {
                    names.extend(added(found, expected, &format!("{name}.")));
                }
            }
        }
    }
    names
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

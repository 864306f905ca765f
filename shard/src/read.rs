//! A dataset's files, as a stream reads them: one manifest, the ids of whole row groups, the pixels of single documents.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::UInt32Type;
use bytes::Bytes;
use lcl_schemas::dataset::{
    HEADER_FILE, Header, HeaderError, LATEST_MANIFEST, MANIFESTS_DIR, ManifestRow,
    manifest_from_arrow,
};
use lcl_schemas::vocabulary::TokenId;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use sha2::{Digest, Sha256};

use crate::config::Verify;
use crate::filter::{Filter, Unanswered};
use crate::keyed::id_number;
use crate::order::RowAt;
use crate::stored::{Buffers, PageFile, StoredImages};
use crate::verify::{Fault, Verifier};

#[cfg(feature = "query")]
mod whole;

/// Why a dataset cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file is missing or cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The header does not allow it.
    #[error("{path}: {source}", path = path.display())]
    Header {
        /// The dataset.
        path: PathBuf,
        /// Why.
        source: HeaderError,
    },
    /// Ingest has not finished a run.
    #[error("{path} has no manifest: finish `lcl-ingest` on it first", path = path.display())]
    NoManifest {
        /// The dataset.
        path: PathBuf,
    },
    /// A position speaks of what is not there.
    #[error(
        "the position does not fit this dataset: {0}; resume with the dataset and settings it was saved with"
    )]
    Position(String),
    /// Not the name of a manifest.
    #[error("`{0}` is no manifest: its name is a SHA-256 in 64 hexadecimal digits")]
    NoHash(String),
    /// The manifest is not what its name says.
    #[error("{path} is damaged ({detail}): run `lcl-ingest` on the dataset again to write a new one", path = path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A shard is not the file that the manifest means.
    #[error("{path}: {detail}; restore the shard, or ingest its unit again", path = path.display())]
    Swapped {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The dataset has another manifest by now, and a shard of this one is not there any more.
    #[error("{path} is not the file that it was: the dataset has changed since it was opened; restart what reads it", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A predicate that has no answer for some document.
    #[error("the predicate \"{predicate}\" fails: {detail}")]
    Predicate {
        /// As configured.
        predicate: String,
        /// What is wrong.
        detail: String,
    },
    /// A shard is not what the manifest says.
    #[error("{path}, row group {row_group}{row}: {detail}; restore the shard, or ingest its unit again", path = path.display(), row = row.map_or_else(String::new, |row| format!(", row {row}")))]
    Shard {
        /// The file.
        path: PathBuf,
        /// Index in the file.
        row_group: u32,
        /// Index in the row group, where one row is at fault.
        row: Option<u32>,
        /// What is wrong.
        detail: String,
    },
}

/// An open dataset. Reading is by position and from any thread.
pub(crate) struct Reader {
    folder: PathBuf,
    header: Header,
    manifest: String,
    groups: Vec<ManifestRow>,
    footers: Mutex<HashMap<String, ArrowReaderMetadata>>,
    /// Shards that were read before.
    met: Mutex<HashSet<String>>,
    bytes_read: AtomicU64,
    buffers: Arc<Buffers>,
    verifier: Option<Verifier>,
}

/// Shards whose footers are kept: a footer with its page index is about 0.1 MB.
const FOOTERS_KEPT: usize = 512;

/// A document without its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentTokens {
    pub(crate) id: String,
    pub(crate) tokens: Vec<TokenId>,
    /// Where each place's ids begin, and the end.
    starts: Vec<usize>,
    /// For each place: not an image, or an image and the place it was matched to.
    images: Vec<Option<Option<u32>>>,
}

impl DocumentTokens {
    pub(crate) fn places(&self) -> usize {
        self.images.len()
    }

    /// The id as a number, for draws about this document.
    pub(crate) fn number(&self) -> u64 {
        id_number(&self.id)
    }

    pub(crate) fn span(&self, place: usize) -> Range<usize> {
        self.starts[place]..self.starts[place + 1]
    }

    /// A stored image.
    pub(crate) fn is_image(&self, place: usize) -> bool {
        self.images[place].is_some()
    }

    pub(crate) fn stored_images(&self) -> usize {
        self.images.iter().flatten().count()
    }

    /// The text that a stored image was matched to, where it was to one.
    pub(crate) fn sentence_of(&self, place: usize) -> Option<usize> {
        let sentence = self.images[place].flatten()? as usize;
        (sentence < self.places() && !self.is_image(sentence)).then_some(sentence)
    }
}

impl Reader {
    /// Opens a dataset at a manifest; the newest where `manifest` is empty.
    pub(crate) fn open(folder: &Path, manifest: &str, verify: Verify) -> Result<Self, ReadError> {
        let header = read_header(folder)?;
        let manifest = if manifest.is_empty() {
            latest(folder)?
        } else {
            manifest.to_owned()
        };
        // It may come from a client, and becomes a path.
        if manifest.len() != 64 || !manifest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ReadError::NoHash(manifest));
        }
        let groups = read_manifest(folder, &manifest)?;
        Ok(Self {
            folder: folder.to_owned(),
            header,
            manifest,
            groups,
            footers: Mutex::default(),
            met: Mutex::default(),
            bytes_read: AtomicU64::new(0),
            buffers: Arc::default(),
            verifier: (verify == Verify::Sha256).then(Verifier::start),
        })
    }

    /// Opens and hashes every shard.
    ///
    /// # Errors
    /// The first that is not what the manifest says.
    #[cfg(feature = "query")]
    pub(crate) fn verify_all(&self) -> Result<(), ReadError> {
        for group in 0..self.groups.len() as u32 {
            self.shard(group, None)?;
        }
        self.verified(true)
    }

    /// So far, of columns of whole row groups.
    #[cfg(feature = "query")]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the shards read so far are what the manifest says; with `all`, once all of them are hashed.
    pub(crate) fn verified(&self, all: bool) -> Result<(), ReadError> {
        let fault = self.verifier.as_ref().and_then(|verifier| match all {
            true => verifier.wait(),
            false => verifier.fault(),
        });
        match fault {
            None => Ok(()),
            Some(Fault { path, detail }) => Err(ReadError::Swapped { path, detail }),
        }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The manifest's hash.
    pub(crate) fn manifest(&self) -> &str {
        &self.manifest
    }

    pub(crate) fn groups(&self) -> &[ManifestRow] {
        &self.groups
    }

    /// All documents of a row group, without pixels.
    pub(crate) fn group(&self, group: u32) -> Result<Vec<DocumentTokens>, ReadError> {
        let batches = self.read(
            group,
            &["id", "tokens", "spans", "images.list.item.sentence"],
        )?;
        let documents = batches
            .iter()
            .map(|batch| documents(batch, &self.header))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|(row, detail)| self.shard_error(group, Some(row), detail))?
            .concat();
        let expected = self.groups[group as usize].rows as usize;
        if documents.len() != expected {
            let detail = format!("{} rows instead of {expected}", documents.len());
            return Err(self.shard_error(group, None, detail));
        }
        Ok(documents)
    }

    /// Which documents of a row group a filter lets pass; read only where its statistics leave that open.
    pub(crate) fn passes(&self, group: u32, filter: &Filter) -> Result<Vec<bool>, ReadError> {
        let entry = &self.groups[group as usize];
        let (_, footer) = self.shard(group, None)?;
        if !filter.may_pass(&footer, entry.row_group as usize) {
            return Ok(vec![false; entry.rows as usize]);
        }
        let mut passes = Vec::with_capacity(entry.rows as usize);
        for batch in self.read(group, &filter.columns())? {
            let answer = filter.passes(&batch);
            passes.extend(answer.map_err(|error| match error {
                Unanswered::Rows(detail) => self.shard_error(group, None, detail),
                Unanswered::Predicate(detail) => ReadError::Predicate {
                    predicate: filter.sql().to_owned(),
                    detail,
                },
            })?);
        }
        Ok(passes)
    }

    /// The stored images of one document: no other document's pixels are read.
    pub(crate) fn images(&self, at: RowAt) -> Result<StoredImages, ReadError> {
        let (file, footer) = self.shard(at.group, Some(at.row))?;
        let file = PageFile {
            file,
            buffers: self.buffers.clone(),
        };
        let row_group = self.groups[at.group as usize].row_group as usize;
        caught(|| StoredImages::read(file, footer.metadata(), row_group, at.row as usize))
            .map_err(|error| self.shard_error(at.group, Some(at.row), error.to_string()))
    }

    /// The text at each place of a row group's documents; `None` where an image is.
    pub(crate) fn texts(&self, group: u32) -> Result<Vec<Vec<Option<String>>>, ReadError> {
        let damaged = || self.shard_error(group, None, "`texts` has another type".to_owned());
        let mut rows = Vec::new();
        for batch in self.read(group, &["texts"])? {
            let list = batch.column(0).as_list_opt::<i32>().ok_or_else(damaged)?;
            for row in list.iter() {
                let row = row.ok_or_else(damaged)?;
                let texts = row.as_string_opt::<i32>().ok_or_else(damaged)?;
                rows.push(texts.iter().map(|text| text.map(str::to_owned)).collect());
            }
        }
        Ok(rows)
    }

    /// An error that names a shard, row group and row.
    pub(crate) fn shard_error(&self, group: u32, row: Option<u32>, detail: String) -> ReadError {
        let entry = &self.groups[group as usize];
        ReadError::Shard {
            path: self.folder.join(&entry.shard),
            row_group: entry.row_group,
            row,
            detail,
        }
    }

    /// Columns of a row group.
    pub(crate) fn read(&self, group: u32, columns: &[&str]) -> Result<Vec<RecordBatch>, ReadError> {
        let rows = self.groups[group as usize].rows;
        self.read_rows(group, columns, 0..rows)
    }

    /// Columns of some of its rows.
    fn read_rows(
        &self,
        group: u32,
        columns: &[&str],
        rows: Range<u32>,
    ) -> Result<Vec<RecordBatch>, ReadError> {
        let failed =
            |error: &dyn std::fmt::Display| self.shard_error(group, None, error.to_string());
        let (file, footer) = self.shard(group, None)?;
        let entry = &self.groups[group as usize];
        let (row_group, whole) = (entry.row_group as usize, entry.rows as usize);
        let mask = ProjectionMask::columns(footer.parquet_schema(), columns.iter().copied());
        let chunks = footer.metadata().row_group(row_group).columns();
        let read = chunks
            .iter()
            .enumerate()
            .filter(|(leaf, _)| mask.leaf_included(*leaf));
        let bytes: i64 = read.map(|(_, chunk)| chunk.compressed_size()).sum();
        self.bytes_read
            .fetch_add(bytes.unsigned_abs(), Ordering::Relaxed);
        let batches = caught(|| {
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
                .with_row_groups(vec![row_group])
                .with_projection(mask);
            if rows.len() < whole {
                builder = builder
                    .with_offset(rows.start as usize)
                    .with_limit(rows.len());
            }
            Ok(builder.build()?.collect::<Result<_, _>>()?)
        });
        batches.map_err(|error| failed(&error))
    }

    /// A row group's shard, open, and its footer.
    fn shard(
        &self,
        group: u32,
        row: Option<u32>,
    ) -> Result<(File, ArrowReaderMetadata), ReadError> {
        let entry = &self.groups[group as usize];
        let path = self.folder.join(&entry.shard);
        let unreadable = |source| ReadError::File {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(unreadable);
        let file = file.and_then(|file| self.meet(entry, &path, &file).map(|()| file));
        let file = file.map_err(|error| match latest(&self.folder) {
            Ok(newest) if newest != self.manifest => ReadError::Changed { path: path.clone() },
            Ok(_) | Err(_) => error,
        })?;
        let footer = self.footer(&entry.shard, &file);
        let footer = footer.map_err(|error| self.shard_error(group, row, error.to_string()))?;
        let found = footer.metadata().row_groups().get(entry.row_group as usize);
        if found.is_none_or(|group| group.num_rows() != i64::from(entry.rows)) {
            let detail = format!("the manifest has {} rows there, the file not", entry.rows);
            return Err(self.shard_error(group, None, detail));
        }
        Ok((file, footer))
    }

    /// Checks a shard: its size always, what is in it when it is first read.
    fn meet(&self, entry: &ManifestRow, path: &Path, file: &File) -> Result<(), ReadError> {
        let unreadable = |source| ReadError::File {
            path: path.to_owned(),
            source,
        };
        let bytes = file.metadata().map_err(unreadable)?.len();
        if bytes != entry.shard_bytes {
            return Err(ReadError::Swapped {
                path: path.to_owned(),
                detail: format!(
                    "it has {bytes} bytes, the manifest says {}",
                    entry.shard_bytes
                ),
            });
        }
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.insert(entry.shard.clone())
            && let Some(verifier) = &self.verifier
        {
            verifier.check(path.to_owned(), entry.shard_sha256.clone());
        }
        Ok(())
    }

    fn footer(&self, shard: &str, file: &File) -> Result<ArrowReaderMetadata, ParquetError> {
        let kept = self
            .footers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(shard)
            .cloned();
        if let Some(footer) = kept {
            return Ok(footer);
        }
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
        let footer = caught(|| ArrowReaderMetadata::load(file, options))?;
        let mut footers = self.footers.lock().unwrap_or_else(PoisonError::into_inner);
        if footers.len() >= FOOTERS_KEPT {
            footers.clear();
        }
        footers.insert(shard.to_owned(), footer.clone());
        Ok(footer)
    }
}

/// A panic of the Parquet reader as an error: it had one at 74 of 25,000 shards with damaged bytes, read with
/// `verify = "size"`.
fn caught<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    // Nothing that it leaves half done is used again.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let detail = "damaged: the reader broke off, as it says above";
        Err(ParquetError::General(detail.into()))
    })
}

fn read_header(folder: &Path) -> Result<Header, ReadError> {
    let path = folder.join(HEADER_FILE);
    let json = std::fs::read(&path).map_err(|source| ReadError::File { path, source })?;
    Header::from_json(&json).map_err(|source| ReadError::Header {
        path: folder.to_owned(),
        source,
    })
}

fn latest(folder: &Path) -> Result<String, ReadError> {
    let path = folder.join(MANIFESTS_DIR).join(LATEST_MANIFEST);
    match std::fs::read_to_string(&path) {
        Ok(hash) => Ok(hash.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ReadError::NoManifest {
            path: folder.to_owned(),
        }),
        Err(source) => Err(ReadError::File { path, source }),
    }
}

fn read_manifest(folder: &Path, hash: &str) -> Result<Vec<ManifestRow>, ReadError> {
    let path = folder.join(MANIFESTS_DIR).join(format!("{hash}.parquet"));
    let bytes = std::fs::read(&path).map_err(|source| ReadError::File {
        path: path.clone(),
        source,
    })?;
    manifest_rows(&path, hash, bytes.into())
}

/// The rows of a manifest's file, which must have the hash that names it.
pub(crate) fn manifest_rows(
    path: &Path,
    hash: &str,
    bytes: Bytes,
) -> Result<Vec<ManifestRow>, ReadError> {
    let damaged = |detail: String| ReadError::Manifest {
        path: path.to_owned(),
        detail,
    };
    if format!("{:x}", Sha256::digest(&bytes)) != hash {
        return Err(damaged(
            "its contents do not have the hash that names it".into(),
        ));
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| damaged(error.to_string()))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        rows.extend(
            manifest_from_arrow(&batch).map_err(|column| damaged(format!("column `{column}`")))?,
        );
    }
    Ok(rows)
}

/// A projected batch's documents, or the first row at fault and why.
fn documents(batch: &RecordBatch, header: &Header) -> Result<Vec<DocumentTokens>, (u32, String)> {
    let missing = |name: &str| (0, format!("column `{name}` is missing or has another type"));
    let list = |name: &str| -> Result<&ListArray, _> {
        batch
            .column_by_name(name)
            .and_then(|column| column.as_list_opt::<i32>())
            .ok_or_else(|| missing(name))
    };
    let ids: &StringArray = batch
        .column_by_name("id")
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| missing("id"))?;
    let (tokens, spans, images) = (list("tokens")?, list("spans")?, list("images")?);
    (0..batch.num_rows())
        .map(|row| {
            let numbers = |list: &ListArray, name: &str| {
                let values = list.value(row);
                let values = values
                    .as_primitive_opt::<UInt32Type>()
                    .ok_or_else(|| missing(name))?;
                Ok::<_, (u32, String)>(values.values().to_vec())
            };
            let images = images.value(row);
            let sentences = images
                .as_struct_opt()
                .and_then(|images| images.column_by_name("sentence"))
                .and_then(|column| column.as_primitive_opt::<UInt32Type>())
                .ok_or_else(|| missing("images"))?;
            let layout = lcl_schemas::layout::Layout::try_new(
                &header.vocabulary,
                numbers(tokens, "tokens")?,
                numbers(spans, "spans")?,
            )
            .map_err(|error| (row as u32, error.to_string()))?;
            if layout.spans().len() != images.len() {
                let detail = format!("{} spans for {} places", layout.spans().len(), images.len());
                return Err((row as u32, detail));
            }
            let mut starts = vec![1];
            let mut kinds = Vec::with_capacity(images.len());
            for (place, ids) in layout.places().enumerate() {
                starts.push(starts[place] + ids.len());
                let is_image = ids == [header.vocabulary.boi, header.vocabulary.eoi];
                kinds.push(
                    is_image.then(|| sentences.is_valid(place).then(|| sentences.value(place))),
                );
            }
            let tokens = layout.tokens().to_vec();
            Ok(DocumentTokens {
                id: ids.value(row).to_owned(),
                tokens,
                starts,
                images: kinds,
            })
        })
        .collect()
}

/// Shared by all who read a dataset.
pub(crate) type SharedReader = Arc<Reader>;

/// The readers of one process, each dataset's at its manifest that was asked for last: streams share manifests, footers and
/// what was hashed.
#[derive(Default)]
pub(crate) struct Readers(Mutex<HashMap<(PathBuf, Verify), SharedReader>>);

impl Readers {
    /// As [`Reader::open`].
    pub(crate) fn open(
        &self,
        folder: &Path,
        manifest: &str,
        verify: Verify,
    ) -> Result<SharedReader, ReadError> {
        // First: without one it is no dataset.
        read_header(folder)?;
        let manifest = match manifest {
            "" => latest(folder)?,
            named => named.to_owned(),
        };
        let key = (folder.to_owned(), verify);
        let open = |readers: &HashMap<_, SharedReader>| {
            let reader = readers.get(&key)?;
            (reader.manifest == manifest).then(|| reader.clone())
        };
        if let Some(reader) = open(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(reader);
        }
        // Not under the lock: a large manifest takes a while.
        let reader = Arc::new(Reader::open(folder, &manifest, verify)?);
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = open(&readers) {
            return Ok(reader);
        }
        readers.insert(key, reader.clone());
        Ok(reader)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A document of places given as (ids, image and its sentence).
    pub(crate) fn document(id: &str, places: &[(usize, Option<Option<u32>>)]) -> DocumentTokens {
        let mut starts = vec![1];
        for (place, (length, _)) in places.iter().enumerate() {
            starts.push(starts[place] + length);
        }
        let tokens = (0..=starts[places.len()] as u32).collect();
        let images = places.iter().map(|(_, image)| *image).collect();
        DocumentTokens {
            id: id.to_owned(),
            tokens,
            starts,
            images,
        }
    }

    /// 50 million documents in row groups of 256: what a stream reads before its first row group.
    #[test]
    fn a_manifest_of_fifty_million_documents_is_opened_and_shuffled_in_seconds() {
        const GROUPS: u32 = 195_313;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let header = Header {
            format: lcl_schemas::dataset::FORMAT,
            tokenizer: lcl_schemas::dataset::TokenizerId {
                name: "clip".into(),
                sha256: "0".repeat(64),
                text_joiner: " ".into(),
            },
            vocabulary: lcl_schemas::vocabulary::Vocabulary::CLIP,
            image_size: 256,
        };
        std::fs::write(folder.path().join(HEADER_FILE), header.to_json()).expect("writable");
        let rows: Vec<_> = (0..GROUPS)
            .map(|group| ManifestRow {
                unit: format!("mmc4-0123456789abcdef-{:010}", group / 8 * 2000),
                generation: 0,
                shard: format!(
                    "part-mmc4-0123456789abcdef-{:010}-0-01234567.parquet",
                    group / 8
                ),
                shard_sha256: format!("{:064x}", group / 8),
                shard_bytes: 1 << 29,
                row_group: group % 8,
                rows: 256,
                bytes: 32 << 20,
                tokens: 100_000,
                images: 700,
            })
            .collect();
        let mut writer = parquet::arrow::ArrowWriter::try_new(
            Vec::new(),
            lcl_schemas::dataset::manifest_schema(),
            None,
        )
        .expect("a schema");
        writer
            .write(&lcl_schemas::dataset::manifest_to_arrow(&rows))
            .expect("memory");
        let bytes = writer.into_inner().expect("memory");
        let hash = format!("{:x}", Sha256::digest(&bytes));
        let manifests = folder.path().join(MANIFESTS_DIR);
        std::fs::create_dir(&manifests).expect("writable");
        std::fs::write(manifests.join(format!("{hash}.parquet")), bytes).expect("writable");

        let begun = std::time::Instant::now();
        let reader = Reader::open(folder.path(), &hash, Verify::Size).expect("readable");
        let rows = reader.groups().iter().map(|group| group.rows).collect();
        let order = crate::order::Order::new(rows, 1, 8, 8);
        let block = order.epoch(3).block(7, 1000).expect("far in");
        let last = block.row(2047).expect("2,048 rows");
        assert!(last.group < GROUPS && last.row < 256);
        // Far more than it takes: a test must not fail because others are busy.
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        eprintln!("opened in {:?}", begun.elapsed());
    }
}

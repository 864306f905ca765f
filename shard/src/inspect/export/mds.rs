//! MosaicML Streaming's shards, format `mds`, version 2, and their `index.json`.
//!
//! ```text
//! shard   u32 samples │ u32 offset of each sample, and the end │ settings as JSON │ samples       (little endian)
//! sample  u32 size of each column │ columns, in the order of their names
//! ```
//! Columns: `id`, `source` (str); `url`, `language`, `texts`, `images`, `spans` (json); `tokens` (ndarray:uint32); `pictures`
//! (bytes): a document's stored pictures one after another, of which an image's `at` and `size` say which bytes are its own.
//! Offsets are 32 bits wide, so a shard has less than 4 GiB.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};

use lcl_schemas::row::Row;
use serde_json::{Value, json};

use super::document::{self, ImageJson, images, pictures, texts};
use super::folder::{FileEntry, Folder};
use super::{ExportError, Sink};

/// What Streaming's own writer takes.
const SHARD_BYTES: u64 = 64 << 20;

/// In the order of their names, as Streaming's own writer has them.
const COLUMNS: [(&str, &str); 9] = [
    ("id", "str"),
    ("images", "json"),
    ("language", "json"),
    ("pictures", "bytes"),
    ("source", "str"),
    ("spans", "json"),
    ("texts", "json"),
    ("tokens", "ndarray:uint32"),
    ("url", "json"),
];

/// A folder of shards, on its way.
pub(super) struct Shards<'a> {
    folder: &'a Folder,
    limit: u64,
    /// As it stands in shards and in the index.
    settings: Value,
    open: Option<Spool>,
    files: Vec<FileEntry>,
}

/// The samples of the shard that is being filled: what stands before them depends on their number.
struct Spool {
    samples: BufWriter<File>,
    /// Where each sample begins among them, and the end.
    starts: Vec<u64>,
}

impl Spool {
    fn bytes(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }
}

impl<'a> Shards<'a> {
    pub(super) fn new(folder: &'a Folder, limit: Option<u64>) -> Result<Self, ExportError> {
        let limit = limit.unwrap_or(SHARD_BYTES);
        if limit > u64::from(u32::MAX) {
            return Err(ExportError::ShardSize(limit));
        }
        let settings = json!({
            "column_encodings": COLUMNS.map(|(_, encoding)| encoding),
            "column_names": COLUMNS.map(|(name, _)| name),
            "column_sizes": COLUMNS.map(|_| Value::Null),
            "compression": null,
            "format": "mds",
            "hashes": ["sha256"],
            "size_limit": limit,
            "version": 2,
        });
        Ok(Self {
            folder,
            limit,
            settings,
            open: None,
            files: Vec::new(),
        })
    }

    /// Bytes of a shard before its samples.
    fn head(&self, samples: usize) -> u64 {
        4 * (samples as u64 + 2) + document::json(&self.settings).len() as u64
    }

    fn spool(&mut self, id: &str, bytes: u64) -> Result<&mut Spool, ExportError> {
        if self.head(1) + bytes > u64::from(u32::MAX) {
            return Err(ExportError::TooLarge {
                id: id.to_owned(),
                bytes,
            });
        }
        let full =
            |spool: &Spool| self.head(spool.starts.len()) + spool.bytes() + bytes > self.limit;
        if self.open.as_ref().is_some_and(full) {
            self.close()?;
        }
        let open = match self.open.take() {
            Some(spool) => spool,
            None => Spool {
                samples: BufWriter::with_capacity(1 << 20, self.folder.spool()?),
                starts: vec![0],
            },
        };
        Ok(self.open.insert(open))
    }

    fn close(&mut self) -> Result<(), ExportError> {
        let Some(Spool { samples, starts }) = self.open.take() else {
            return Ok(());
        };
        let documents = starts.len() as u64 - 1;
        let head = self.head(starts.len() - 1);
        let mut file = self
            .folder
            .file(format!("shard.{:05}.mds", self.files.len()))?;
        file.put(&(documents as u32).to_le_bytes())?;
        for start in starts {
            // Below 4 GiB: neither the limit nor a single sample is more.
            file.put(&((head + start) as u32).to_le_bytes())?;
        }
        file.put(&document::json(&self.settings))?;
        let copied = samples
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|mut samples| {
                samples.seek(SeekFrom::Start(0))?;
                std::io::copy(&mut BufReader::with_capacity(1 << 20, samples), &mut file)
            });
        copied.map_err(|source| file.refused(source))?;
        self.files.push(file.finish(documents)?);
        Ok(())
    }

    fn index(&self) -> Value {
        let shards = self.files.iter().map(|file| {
            let mut shard = self.settings.clone();
            shard["samples"] = json!(file.documents);
            shard["raw_data"] = json!({
                "basename": file.file, "bytes": file.bytes, "hashes": {"sha256": file.sha256},
            });
            shard["zip_data"] = Value::Null;
            shard
        });
        json!({"version": 2, "shards": shards.collect::<Vec<_>>()})
    }
}

impl Sink for Shards<'_> {
    fn put(&mut self, row: Row) -> Result<(), ExportError> {
        let columns = columns(&row);
        let sizes = columns.iter().map(|column| column.len() as u64 + 4);
        let bytes: u64 = sizes.sum();
        let folder = self.folder;
        let spool = self.spool(&row.document.id, bytes)?;
        let head = columns
            .iter()
            .map(|column| (column.len() as u32).to_le_bytes());
        let written = spool
            .samples
            .write_all(&head.collect::<Vec<_>>().concat())
            .and_then(|()| {
                columns
                    .iter()
                    .try_for_each(|column| spool.samples.write_all(column))
            });
        written.map_err(|source| folder.refused(source))?;
        spool.starts.push(spool.bytes() + bytes);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<FileEntry>, ExportError> {
        self.close()?;
        let index = document::json(&self.index());
        self.folder.write("index.json", &index)?;
        Ok(self.files)
    }
}

/// A document's columns, in the order of [`COLUMNS`].
fn columns(row: &Row) -> [Vec<u8>; 9] {
    let document = &row.document;
    let all_pictures: Vec<&[u8]> = pictures(document)
        .map(|(_, stored)| stored.bytes.as_slice())
        .collect();
    let mut next = 0;
    let described = images(document, |_, image| {
        let size = image.stored.as_ref().map(|stored| stored.bytes.len());
        let at = size.map(|size| {
            next += size;
            next - size
        });
        let mut described = ImageJson::new(image);
        (described.at, described.size) = (at, size);
        described
    });
    [
        document.id.clone().into_bytes(),
        document::json(&described),
        document::json(&document.language),
        all_pictures.concat(),
        document.source.clone().into_bytes(),
        document::json(&row.layout.spans()),
        document::json(&texts(document)),
        array(row.layout.tokens()),
        document::json(&document.url),
    ]
}

/// A list of one dimension as `ndarray:uint32` has it: (dimensions × 4 + width of the length), length, numbers. Width 2 is four
/// bytes.
fn array(numbers: &[u32]) -> Vec<u8> {
    let mut bytes = vec![1 << 2 | 2];
    bytes.extend((numbers.len() as u32).to_le_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

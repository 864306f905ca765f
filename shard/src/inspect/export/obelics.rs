//! Parquet with OBELICS' columns, and what it has no column for beside them.
//!
//! | column | type | |
//! |---|---|---|
//! | `images` | list of string | URL of the image at a place, "" where none is known; null where a text is |
//! | `metadata` | string | JSON list: for an image an object (`src`, `alt_text`, `outcome`, …), for a text null |
//! | `general_metadata` | string | JSON object: `url`, `id`, `source`, `language` |
//! | `texts` | list of string | text at a place; null where an image is |
//! | `image_bytes` | list of large binary | the stored picture at a place; null where a text is, or an image that could not be had |
//! | `id`, `language` | string | |
//! | `tokens`, `spans` | list of uint32 | |

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, LargeBinaryBuilder, ListBuilder, RecordBatch, StringArray, StringBuilder,
    UInt32Builder,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use lcl_schemas::document::{Document, Image, Place};
use lcl_schemas::row::{IMAGE_BYTES, IMAGE_BYTES_PATH, Row};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::{Value, json};

use super::document::{ImageJson, images, pictures, texts};
use super::folder::{FileEntry, Folder, OutFile};
use super::{ExportError, Sink};

/// About what OBELICS' own files have.
const SHARD_BYTES: u64 = 512 << 20;
/// As in the dataset: readers take a row group at a time.
const GROUP_ROWS: usize = 256;
const GROUP_BYTES: usize = 32 << 20;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let string = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let list = |name, of, nullable| Field::new(name, DataType::List(item(of, nullable)), false);
    Arc::new(Schema::new(vec![
        list("images", DataType::Utf8, true),
        string("metadata", false),
        string("general_metadata", false),
        list("texts", DataType::Utf8, true),
        list(IMAGE_BYTES, DataType::LargeBinary, true),
        string("id", false),
        string("language", true),
        list("tokens", DataType::UInt32, false),
        list("spans", DataType::UInt32, false),
    ]))
});

fn item(of: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new("item", of, nullable))
}

/// A folder of Parquet files, on its way.
pub(super) struct Tables<'a> {
    folder: &'a Folder,
    limit: u64,
    open: Option<Table>,
    group: Vec<Row>,
    group_bytes: usize,
    files: Vec<FileEntry>,
}

struct Table {
    writer: ArrowWriter<OutFile>,
    documents: u64,
}

impl<'a> Tables<'a> {
    pub(super) fn new(folder: &'a Folder, limit: Option<u64>) -> Self {
        Self {
            folder,
            limit: limit.unwrap_or(SHARD_BYTES),
            open: None,
            group: Vec::new(),
            group_bytes: 0,
            files: Vec::new(),
        }
    }

    /// A row group is never larger than a file may be.
    fn group_limit(&self) -> usize {
        usize::try_from(self.limit).map_or(GROUP_BYTES, |limit| limit.min(GROUP_BYTES))
    }

    fn close_group(&mut self) -> Result<(), ExportError> {
        let rows = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let folder = self.folder;
        let refused = |source| folder.parquet_refused(source);
        let table = match &mut self.open {
            Some(table) => table,
            none => {
                let file = folder.file(format!("part-{:05}.parquet", self.files.len()))?;
                let writer = ArrowWriter::try_new(file, SCHEMA.clone(), Some(properties()));
                none.insert(Table {
                    writer: writer.map_err(refused)?,
                    documents: 0,
                })
            }
        };
        let written = table.writer.write(&to_arrow(&rows));
        written
            .and_then(|()| table.writer.flush())
            .map_err(refused)?;
        table.documents += rows.len() as u64;
        match table.writer.bytes_written() as u64 >= self.limit {
            true => self.close(),
            false => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), ExportError> {
        let Some(Table { writer, documents }) = self.open.take() else {
            return Ok(());
        };
        let refused = |source: ParquetError| self.folder.parquet_refused(source);
        let file = writer.into_inner().map_err(refused)?;
        self.files.push(file.finish(documents)?);
        Ok(())
    }
}

impl Sink for Tables<'_> {
    fn put(&mut self, row: Row) -> Result<(), ExportError> {
        let bytes = weight(&row);
        let full = self.group.len() == GROUP_ROWS
            || (!self.group.is_empty() && self.group_bytes + bytes > self.group_limit());
        if full {
            self.close_group()?;
        }
        self.group.push(row);
        self.group_bytes += bytes;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<FileEntry>, ExportError> {
        self.close_group()?;
        self.close()?;
        Ok(self.files)
    }
}

/// About what a row takes in a file.
fn weight(row: &Row) -> usize {
    let pictures = pictures(&row.document).map(|(_, stored)| stored.bytes.len());
    let texts = texts(&row.document).into_iter().flatten().map(str::len);
    4 * row.layout.tokens().len() + pictures.sum::<usize>() + texts.sum::<usize>()
}

fn properties() -> WriterProperties {
    // From the parts: from a string it would be a path of one part, which no column has.
    let pixels = || ColumnPath::new(IMAGE_BYTES_PATH.split('.').map(str::to_owned).collect());
    let level = ZstdLevel::try_new(3).expect("a level of zstd");
    // Without a version: a later release writes the same bytes for the same rows.
    WriterProperties::builder()
        .set_created_by("lcl-shard".into())
        .set_max_row_group_row_count(None)
        .set_compression(Compression::ZSTD(level))
        .set_column_compression(pixels(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(pixels(), false)
        .set_column_statistics_enabled(pixels(), EnabledStatistics::None)
        .build()
}

fn to_arrow(rows: &[Row]) -> RecordBatch {
    let documents = || rows.iter().map(|row| &row.document);
    let mut urls = ListBuilder::new(StringBuilder::new());
    let mut all_texts = ListBuilder::new(StringBuilder::new());
    let mut pixels = ListBuilder::new(LargeBinaryBuilder::new());
    for document in documents() {
        urls.append_value(images(document, |_, image| {
            image.url.as_deref().unwrap_or("")
        }));
        all_texts.append_value(texts(document));
        pixels.append_value(document.places.iter().map(|place| match place {
            Place::Text(_) => None,
            Place::Image(image) => Some(image.stored.as_ref()?.bytes.as_slice()),
        }));
    }
    let numbers = |of: fn(&Row) -> &[u32]| -> ArrayRef {
        let mut lists =
            ListBuilder::new(UInt32Builder::new()).with_field(item(DataType::UInt32, false));
        for row in rows {
            lists.append_value(of(row).iter().map(|&number| Some(number)));
        }
        Arc::new(lists.finish())
    };
    let string = |of: fn(&Document) -> Option<String>| -> ArrayRef {
        Arc::new(documents().map(of).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(urls.finish()),
        string(|document| Some(metadata(document))),
        string(|document| Some(general_metadata(document))),
        Arc::new(all_texts.finish()),
        Arc::new(pixels.finish()),
        string(|document| Some(document.id.clone())),
        string(|document| document.language.clone()),
        numbers(|row| row.layout.tokens()),
        numbers(|row| row.layout.spans()),
    ];
    RecordBatch::try_new(SCHEMA.clone(), columns).expect("columns were made for this schema")
}

/// OBELICS' names where it has one, ours for the rest.
fn metadata(document: &Document) -> String {
    let described = images(document, |_, image| described(document, image));
    json!(described).to_string()
}

fn described(document: &Document, image: &Image) -> Value {
    let mut known = serde_json::to_value(ImageJson::new(image)).expect("plain JSON");
    let object = known.as_object_mut().expect("a structure");
    for (ours, theirs) in [("url", "src"), ("alt", "alt_text")] {
        let value = object.remove(ours).unwrap_or_default();
        object.insert(theirs.into(), value);
    }
    object.insert("document_url".into(), json!(document.url));
    known
}

fn general_metadata(document: &Document) -> String {
    let Document {
        id,
        source,
        url,
        language,
        ..
    } = document;
    json!({"url": url, "id": id, "source": source, "language": language}).to_string()
}

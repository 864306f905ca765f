//! Rows to one Parquet file.
//!
//! Image bytes are plain and in pages of about one document, so that a reader can take one document's pixels through the
//! page index; everything else is zstd with statistics. A Bloom filter over `id` in each row group lets a reader of one
//! document leave the others' ids alone.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use super::dataset::{DatasetError, zstd};
use super::durable::Scratch;
use crate::dataset::{RowGroupEntry, ShardEntry};
use crate::row::{self, IMAGE_BYTES_PATH, Row};

/// Documents in a row group at most: what a filter or a stream reads at a time.
pub const GROUP_ROWS: usize = 256;

/// A shard being written.
pub struct ShardFile {
    writer: ArrowWriter<Hashed>,
    folder: PathBuf,
    groups: Vec<RowGroupEntry>,
}

impl ShardFile {
    /// An empty one in `folder`.
    ///
    /// # Errors
    /// [`DatasetError::Io`], [`DatasetError::Parquet`].
    pub fn new(folder: &Path) -> Result<Self, DatasetError> {
        let scratch = Scratch::new(folder).map_err(|source| DatasetError::Io {
            path: folder.to_owned(),
            source,
        })?;
        let hashed = Hashed {
            inner: BufWriter::with_capacity(1 << 20, scratch),
            hash: Sha256::new(),
            bytes: 0,
        };
        let writer = ArrowWriter::try_new(hashed, row::schema(), Some(properties()));
        Ok(Self {
            writer: writer.map_err(|source| refused(folder, source))?,
            folder: folder.to_owned(),
            groups: Vec::new(),
        })
    }

    /// Writes `rows` as one row group.
    ///
    /// # Errors
    /// [`DatasetError::Parquet`].
    pub fn write(&mut self, rows: &[Row]) -> Result<(), DatasetError> {
        let written = self
            .writer
            .write(&row::to_arrow(rows))
            .and_then(|()| self.writer.flush());
        written.map_err(|source| refused(&self.folder, source))?;
        let sum = |of: fn(&Row) -> usize| rows.iter().map(|row| of(row) as u64).sum();
        self.groups.push(RowGroupEntry {
            rows: rows.len() as u32,
            bytes: 0,
            tokens: sum(|row| row.layout.tokens().len()),
            images: sum(|row| row.document.stored_images()),
        });
        Ok(())
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Closes it and names it by its content: `part-<unit>-<index>-<8 hex digits>.parquet`.
    ///
    /// # Errors
    /// [`DatasetError::Io`], [`DatasetError::Parquet`].
    pub fn finish(mut self, unit: &str, index: usize) -> Result<ShardEntry, DatasetError> {
        for (entry, group) in self.groups.iter_mut().zip(self.writer.flushed_row_groups()) {
            entry.bytes = group.compressed_size() as u64;
        }
        let hashed = self
            .writer
            .into_inner()
            .map_err(|source| refused(&self.folder, source))?;
        let sha256 = format!("{:x}", hashed.hash.finalize());
        let file = format!("part-{unit}-{index}-{}.parquet", &sha256[..8]);
        let scratch = hashed
            .inner
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        let named = scratch.and_then(|scratch| scratch.replace(&file));
        named.map_err(|source| DatasetError::Io {
            path: self.folder.join(&file),
            source,
        })?;
        Ok(ShardEntry {
            file,
            sha256,
            bytes: hashed.bytes,
            row_groups: self.groups,
        })
    }
}

fn refused(folder: &Path, source: ParquetError) -> DatasetError {
    DatasetError::Parquet {
        path: folder.to_owned(),
        source,
    }
}

fn properties() -> WriterProperties {
    let id = || ColumnPath::from("id");
    // From the parts: from a string it would be a path of one part, which no column has.
    let pixels = || ColumnPath::new(IMAGE_BYTES_PATH.split('.').map(str::to_owned).collect());
    zstd()
        // We say where row groups end.
        .set_max_row_group_row_count(None)
        .set_column_compression(pixels(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(pixels(), false)
        .set_column_statistics_enabled(pixels(), EnabledStatistics::None)
        // 512 bytes for 256 rows: two for each, and one other row group in a hundred is looked into.
        .set_column_bloom_filter_enabled(id(), true)
        .set_column_bloom_filter_max_ndv(id(), GROUP_ROWS as u64)
        .set_column_bloom_filter_fpp(id(), 0.01)
        // Met by any document with an image: a page then ends with it.
        .set_column_data_page_size_limit(pixels(), 1)
        .build()
}

/// Bytes on their way to a scratch file, hashed.
struct Hashed {
    inner: BufWriter<Scratch>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use parquet::arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    };
    use parquet::basic::Encoding;
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::properties::ReaderProperties;
    use parquet::file::reader::FileReader;
    use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;
    use crate::document::{Document, Image, Place, StoredImage};
    use crate::layout::{Layout, PlaceTokens};
    use crate::outcome::Outcome;
    use crate::vocabulary::Vocabulary;

    fn document(index: u8) -> Row {
        let image = |bytes: usize| {
            Place::Image(Image {
                url: None,
                alt: None,
                outcome: Outcome::Stored,
                stored: Some(StoredImage {
                    sha256: "00".repeat(32),
                    phash: 1,
                    format: "jpeg".into(),
                    width: 1,
                    height: 1,
                    original_width: 1,
                    original_height: 1,
                    original_bytes: 1,
                    bytes: vec![index; bytes],
                }),
                similarity: None,
                sentence: None,
            })
        };
        let ids = [u32::from(index)];
        let tokens = [
            PlaceTokens::Image,
            PlaceTokens::Text(&ids),
            PlaceTokens::Image,
        ];
        Row {
            document: Document {
                id: index.to_string(),
                source: "mmc4".into(),
                url: None,
                language: None,
                places: vec![image(9_000), Place::Text("a".into()), image(300)],
            },
            layout: Layout::from_places(&Vocabulary::CLIP, tokens).expect("plain ids"),
        }
    }

    fn shard(folder: &Path) -> ShardEntry {
        let rows: Vec<_> = (0..40).map(document).collect();
        let mut file = ShardFile::new(folder).expect("writable");
        file.write(&rows[..25]).expect("writable");
        file.write(&rows[25..]).expect("writable");
        file.finish("mmc4-0-0", 0).expect("writable")
    }

    #[test]
    fn pixels_are_plain_and_in_pages_of_one_document() {
        let folder = tempfile::tempdir().expect("a folder");
        let entry = shard(folder.path());
        let file = File::open(folder.path().join(&entry.file)).expect("just written");
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let footer = ArrowReaderMetadata::load(&file, options).expect("a Parquet file");
        let footer = footer.metadata();
        let offsets = footer.offset_index().expect("an offset index");
        for (group, entry) in entry.row_groups.iter().enumerate() {
            for (index, column) in footer.row_group(group).columns().iter().enumerate() {
                let pixels = column.column_path().string() == IMAGE_BYTES_PATH;
                assert_eq!(column.compression() == Compression::UNCOMPRESSED, pixels);
                if pixels {
                    assert!(column.statistics().is_none());
                    assert!(column.dictionary_page_offset().is_none());
                    assert!(!column.encodings().any(|e| e == Encoding::RLE_DICTIONARY));
                    let starts: Vec<_> = offsets[group][index]
                        .page_locations()
                        .iter()
                        .map(|page| page.first_row_index)
                        .collect();
                    assert_eq!(starts, (0..i64::from(entry.rows)).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn ids_have_a_bloom_filter_and_nothing_else_has() {
        let folder = tempfile::tempdir().expect("a folder");
        let entry = shard(folder.path());
        let file = File::open(folder.path().join(&entry.file)).expect("just written");
        let options = ReadOptionsBuilder::new().with_reader_properties(
            ReaderProperties::builder()
                .set_read_bloom_filter(true)
                .build(),
        );
        let reader =
            SerializedFileReader::new_with_options(file, options.build()).expect("a Parquet file");
        for group in 0..entry.row_groups.len() {
            let group = reader.get_row_group(group).expect("it is there");
            for (index, column) in group.metadata().columns().iter().enumerate() {
                let is_id = column.column_path().string() == "id";
                assert_eq!(column.bloom_filter_offset().is_some(), is_id);
                if is_id {
                    let bytes = column.bloom_filter_length().expect("it is written");
                    assert!(bytes <= 2 * GROUP_ROWS as i32 + 32, "{bytes} bytes");
                    let filter = group.get_column_bloom_filter(index).expect("it was read");
                    let first = group.get_row_iter(None).expect("rows").next();
                    let first = first.expect("a row").expect("readable");
                    let id = first.get_string(0).expect("`id` comes first");
                    assert!(filter.check(&id.as_str()));
                    assert!(!filter.check(&"of another row group"));
                }
            }
        }
    }

    #[test]
    fn the_same_rows_make_the_same_bytes_and_read_back() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let [first, second] = folders.each_ref().map(|folder| shard(folder.path()));
        assert_eq!(first, second);
        let path = folders[0].path().join(&first.file);
        let bytes = std::fs::read(&path).expect("just written");
        assert_eq!(format!("{:x}", Sha256::digest(&bytes)), first.sha256);
        assert_eq!(bytes.len() as u64, first.bytes);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("there"));
        let mut rows = Vec::new();
        for batch in reader
            .expect("a Parquet file")
            .build()
            .expect("a Parquet file")
        {
            rows.extend(
                row::from_arrow(&batch.expect("readable"), &Vocabulary::CLIP).expect("rows"),
            );
        }
        assert_eq!(rows, (0..40).map(document).collect::<Vec<_>>());
    }

    #[test]
    fn a_shard_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = ShardFile::new(folder.path()).expect("writable");
        file.write(&[document(1)]).expect("writable");
        drop(file);
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("readable").count(),
            0
        );
    }
}

//! The encoded images of one document, cut out of its page: read once, into memory that was used before, copied never.
//!
//! Arrow's reader copies each value behind the last one, and every page comes in fresh memory, which the system has to clear:
//! without both, one thread delivers 8,500 encoded images of 475 kB a second instead of 4,900.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lcl_schemas::row::IMAGE_BYTES_PATH;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

/// By place; `None` where there is no stored image.
pub(crate) struct StoredImages(Vec<Option<Bytes>>);

impl StoredImages {
    /// Reads a row's page, and no other's pixels where pages end with rows.
    ///
    /// # Errors
    /// A file that is not what its footer says.
    pub(crate) fn read(
        file: PageFile,
        footer: &ParquetMetaData,
        row_group: usize,
        row: usize,
    ) -> Result<Self> {
        let group = footer.row_group(row_group);
        let columns = group.columns();
        let leaf = columns
            .iter()
            .position(|column| column.column_path().string() == IMAGE_BYTES_PATH)
            .ok_or_else(|| ParquetError::General(format!("no column {IMAGE_BYTES_PATH}")))?;
        let pages = footer
            .offset_index()
            .and_then(|index| index.get(row_group)?.get(leaf))
            .map(|index| index.page_locations().clone());
        let rows = usize::try_from(group.num_rows())?;
        let reader = SerializedPageReader::new(Arc::new(file), &columns[leaf], rows, pages)?;
        let mut column = ColumnReaderImpl::<ByteArrayType>::new(
            columns[leaf].column_descr_ptr(),
            Box::new(reader),
        );
        let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        column.skip_records(row)?;
        let (records, _, _) = column.read_records(
            1,
            Some(&mut definitions),
            Some(&mut repetitions),
            &mut values,
        )?;
        if records != 1 {
            return Err(ParquetError::General("no such row".into()));
        }
        let most = columns[leaf].column_descr().max_def_level();
        let mut values = values.into_iter();
        // A level below that of a missing item is an empty list.
        let places = definitions.into_iter().filter(|level| level + 1 >= most);
        let images = places.map(|level| {
            let value = if level == most { values.next() } else { None };
            value.map(|value| Bytes::from_owner(Value(value)))
        });
        Ok(Self(images.collect()))
    }

    /// Number of places.
    #[cfg(feature = "query")]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The encoded image at a place.
    pub(crate) fn get(&self, place: u32) -> Option<&Bytes> {
        self.0.get(place as usize)?.as_ref()
    }
}

struct Value(ByteArray);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.0.data()
    }
}

/// A shard whose pages are read into used buffers, one at a time.
pub(crate) struct PageFile {
    pub(crate) file: File,
    pub(crate) buffers: Arc<Buffers>,
}

impl Length for PageFile {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for PageFile {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // A footer may say anything.
        if start.saturating_add(length as u64) > self.len() {
            let detail = format!("a page of {length} bytes at {start} is beyond the file's end");
            return Err(ParquetError::EOF(detail));
        }
        let mut bytes = self.buffers.take(length);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes[..length])?;
        let page = Page {
            bytes,
            length,
            buffers: self.buffers.clone(),
        };
        Ok(Bytes::from_owner(page))
    }
}

/// Used buffers, of so many bytes at most.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Free>);

const KEPT_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Buffers {
    /// One of at least this length.
    fn take(&self, length: usize) -> Vec<u8> {
        let used = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let used = free.buffers.pop().unwrap_or_default();
            free.bytes -= used.len();
            used
        };
        if used.len() >= length {
            return used;
        }
        // Not grown: what is in it would be copied.
        drop(used);
        vec![0; length]
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.bytes + buffer.len() <= KEPT_BYTES {
            free.bytes += buffer.len();
            free.buffers.push(buffer);
        }
    }
}

/// A page in a buffer, which it gives back.
struct Page {
    bytes: Vec<u8>,
    length: usize,
    buffers: Arc<Buffers>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.bytes));
    }
}

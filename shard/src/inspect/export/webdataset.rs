//! Tar shards for WebDataset: for each document `<key>.json` and, for each stored picture, `<key>.<place>.jpg` (or what it is).
//!
//! A key is the document's number in the export, never something that the document says of itself: no id can leave the folder
//! or break a name apart at its dots. Times, owners and modes are the same in every tar.

use lcl_schemas::document::StoredImage;
use lcl_schemas::row::Row;
use tar::{Builder, EntryType, Header};

use super::document::{DocumentJson, ImageJson, json, pictures};
use super::folder::{FileEntry, Folder, OutFile};
use super::{ExportError, Sink};

/// What a tar ends at: WebDataset's own writer takes 3 GB, and says that anything from 100 MB on reads well.
const SHARD_BYTES: u64 = 512 << 20;
/// Tars are made of blocks of so many bytes.
const BLOCK: u64 = 512;

/// A folder of tars, on its way.
pub(super) struct Tars<'a> {
    folder: &'a Folder,
    limit: u64,
    open: Option<Tar>,
    /// Documents of all tars.
    documents: u64,
    files: Vec<FileEntry>,
}

struct Tar {
    builder: Builder<OutFile>,
    documents: u64,
}

impl<'a> Tars<'a> {
    pub(super) fn new(folder: &'a Folder, limit: Option<u64>) -> Self {
        Self {
            folder,
            limit: limit.unwrap_or(SHARD_BYTES),
            open: None,
            documents: 0,
            files: Vec::new(),
        }
    }

    fn close(&mut self) -> Result<(), ExportError> {
        let Some(Tar { builder, documents }) = self.open.take() else {
            return Ok(());
        };
        let file = builder
            .into_inner()
            .map_err(|source| self.folder.refused(source))?;
        self.files.push(file.finish(documents)?);
        Ok(())
    }

    /// The tar for a document of `bytes`.
    fn tar(&mut self, bytes: u64) -> Result<&mut Tar, ExportError> {
        let written = self.open.as_ref().map(|tar| tar.builder.get_ref().bytes());
        if written.is_some_and(|written| written + bytes > self.limit) {
            self.close()?;
        }
        let open = match self.open.take() {
            Some(tar) => tar,
            None => Tar {
                builder: Builder::new(
                    self.folder
                        .file(format!("docs-{:05}.tar", self.files.len()))?,
                ),
                documents: 0,
            },
        };
        Ok(self.open.insert(open))
    }
}

impl Sink for Tars<'_> {
    fn put(&mut self, row: Row) -> Result<(), ExportError> {
        let document = json(&DocumentJson::new(&row, |place, image| {
            let mut described = ImageJson::new(image);
            described.file = image.stored.as_ref().map(|stored| file(place, stored));
            described
        }));
        let key = format!("{:09}", self.documents);
        let sizes = pictures(&row.document).map(|(_, stored)| stored.bytes.len());
        let entry = |bytes: usize| BLOCK + (bytes as u64).next_multiple_of(BLOCK);
        // And two blocks that end it.
        let bytes = entry(document.len()) + sizes.map(entry).sum::<u64>() + 2 * BLOCK;
        let tar = self.tar(bytes)?;
        tar.put(&format!("{key}.json"), &document)?;
        for (place, stored) in pictures(&row.document) {
            tar.put(&format!("{key}.{}", file(place, stored)), &stored.bytes)?;
        }
        tar.documents += 1;
        self.documents += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<FileEntry>, ExportError> {
        self.close()?;
        Ok(self.files)
    }
}

impl Tar {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let written = self.builder.append_data(&mut header, name, bytes);
        written.map_err(|source| self.builder.get_ref().refused(source))
    }
}

/// A picture's name behind its document's key. Readers choose a decoder by its ending.
fn file(place: usize, stored: &StoredImage) -> String {
    let plain = |format: &str| {
        let short = (1..=8).contains(&format.len());
        short
            && format
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let ending = match stored.format.as_str() {
        "jpeg" => "jpg",
        format if plain(format) => format,
        _ => "bin",
    };
    format!("{place}.{ending}")
}

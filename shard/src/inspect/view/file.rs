//! One document as a file that needs nothing else: its images stand in it.

use std::path::{Path, PathBuf};

use maud::html;

use super::document::{Extent, Pictures, Sheet};
use super::frame;
use super::layout::{Cutting, Ids};
use super::shelf::Shelf;
use super::text::{beginning, plain, visible};
use crate::read::{ReadError, Readers};

/// Why there is no such page.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It does not hold the document.
    #[error("{dataset} has no document {id:?}: `lcl-shard sql {dataset} \"SELECT id FROM documents LIMIT 5\"` shows some that it has", dataset = dataset.display())]
    Unknown {
        /// The folder.
        dataset: PathBuf,
        /// As asked for.
        id: String,
    },
}

/// The HTML page of one document.
///
/// # Errors
/// See [`ShowError`].
pub fn show(dataset: &Path, id: &str) -> Result<String, ShowError> {
    let shelf = Shelf::open(dataset, &Readers::default())?;
    let located = shelf.locate([id], &[], None);
    let Some(&at) = located.places.get(id) else {
        return Err(ShowError::Unknown {
            dataset: dataset.to_owned(),
            id: id.to_owned(),
        });
    };
    let row = shelf.row(at)?;
    let stored = shelf.reader.images(at)?;
    let sheet = Sheet {
        at,
        row: &row,
        pictures: Pictures::Inside(Some(&stored)),
        words: &[],
        extent: Extent {
            places: usize::MAX,
            letters: usize::MAX,
            ..Extent::WHOLE
        },
    };
    let ids = Ids {
        row: &row,
        vocabulary: &shelf.reader.header().vocabulary,
        tokenizer: shelf.tokenizer(),
        cutting: Cutting::default(),
    };
    let body = html! {
        main.narrow {
            div.sheet { (sheet.whole()) (ids.details(None, false)) }
            footer.quiet { "From the dataset " bdi { (visible(&shelf.name)) } }
        }
    };
    let title = plain(beginning(&row.document.id, 80).0);
    Ok(frame::file(&title, &body).into_string())
}

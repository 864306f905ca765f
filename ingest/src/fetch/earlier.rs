//! The images of an earlier dataset: asked for only if they have changed, and taken from there if not.
//!
//! ```text
//! request logs ─► validators by URL ─┐
//! rows, without pixels ─► places ────┴─► known ─► If-None-Match ─► 304 ─► the row's image, as it was stored
//! ```
//! An image takes about 250 bytes of memory here, its bytes none: they are read where they lie.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lcl_schemas::dataset::{FETCH_DIR, Header};
use lcl_schemas::document::{Place, StoredImage};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::{self, Row};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use url::Url;

use super::client::Before;
use super::log::{self, Validators};
use crate::dataset::{self, DatasetError};
use crate::redo::{self, Columns, RedoError};

/// Why an earlier dataset is of no use.
#[derive(Debug, thiserror::Error)]
pub enum EarlierError {
    /// It cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Its rows cannot be read.
    #[error(transparent)]
    Rows(#[from] RedoError),
    /// A log cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ParquetError,
    },
    /// Its images have another size.
    #[error(
        "{path} has images of {theirs} pixels, this run asks for {ours}: give --image-size {theirs}, or another dataset",
        path = path.display()
    )]
    Size {
        /// The dataset.
        path: PathBuf,
        /// Stored there.
        theirs: u32,
        /// Asked for.
        ours: u32,
    },
}

/// An earlier dataset's images by URL.
pub(super) struct Earlier {
    root: PathBuf,
    header: Header,
    /// Their footers are read when first one of their images is.
    shards: Vec<(String, OnceLock<ArrowReaderMetadata>)>,
    images: HashMap<u64, Known>,
}

/// What a log says of an image that was had.
#[derive(Clone)]
struct Logged {
    validators: Validators,
    /// Where redirects had led, if to somewhere else.
    at: Option<Box<str>>,
}

/// An image that can be asked about.
struct Known {
    logged: Logged,
    sha256: String,
    at: At,
}

/// Where an image lies.
#[derive(Clone, Copy)]
struct At {
    shard: u32,
    row: u32,
    place: u32,
}

/// What the dataset at `root` says of itself, if its images are `image_size`.
pub(crate) fn check(root: &Path, image_size: u32) -> Result<Header, EarlierError> {
    let header = dataset::header(root)?;
    match header.image_size == image_size {
        true => Ok(header),
        false => Err(EarlierError::Size {
            path: root.to_owned(),
            theirs: header.image_size,
            ours: image_size,
        }),
    }
}

impl Earlier {
    /// Of the dataset at `root`, whose images have to be `image_size`.
    pub(super) fn open(root: &Path, image_size: u32) -> Result<Self, EarlierError> {
        let header = check(root, image_size)?;
        let mut earlier = Self {
            root: root.to_owned(),
            header,
            shards: Vec::new(),
            images: HashMap::new(),
        };
        let mut logged = logged(&root.join(FETCH_DIR))?;
        for commit in dataset::live_commits(root)? {
            for shard in commit.shards {
                earlier.add(shard.file, &mut logged)?;
            }
        }
        Ok(earlier)
    }

    /// Finds where in a shard the images lie that a log speaks of. A URL that gave several images is asked for anew: nobody
    /// knows which of them its server would call unchanged.
    fn add(&mut self, file: String, logged: &mut HashMap<u64, Logged>) -> Result<(), EarlierError> {
        let shard = self.shards.len() as u32;
        let rows = redo::read(
            &self.root.join(&file),
            &file,
            &self.header,
            Columns::NoPixels,
        )?;
        let mut row = 0;
        for rows in rows {
            for found in rows? {
                for (place, part) in found.document.places.iter().enumerate() {
                    let Some((url, sha256)) = stored(part) else {
                        continue;
                    };
                    if let Some(known) = self.images.get_mut(&hash(url)) {
                        if known.sha256 != sha256 {
                            known.logged.validators = Validators::default();
                        }
                    } else if let Some(logged) = logged.remove(&hash(url)) {
                        let place = place as u32;
                        let known = Known {
                            logged,
                            sha256: sha256.to_owned(),
                            at: At { shard, row, place },
                        };
                        self.images.insert(hash(url), known);
                    }
                }
                row += 1;
            }
        }
        self.shards.push((file, OnceLock::new()));
        Ok(())
    }

    /// By what to ask for `url`, if it was had.
    pub(super) fn before(&self, url: &str) -> Option<Before> {
        let known = &self.images.get(&hash(url))?.logged;
        let at = Url::parse(known.at.as_deref().unwrap_or(url)).ok()?;
        known.validators.can_be_sent().then(|| Before {
            validators: known.validators.clone(),
            at,
        })
    }

    /// The image of `url`, as it was stored; `None` where it can no longer be read.
    pub(super) fn image(&self, url: &str) -> Option<StoredImage> {
        let known = self.images.get(&hash(url))?;
        let mut document = self.row(known.at).ok()??.document;
        let place = known.at.place as usize;
        let same = stored(document.places.get(place)?) == Some((url, known.sha256.as_str()));
        match document.places.swap_remove(place) {
            Place::Image(image) if same => image.stored,
            _ => None,
        }
    }

    fn row(&self, at: At) -> Result<Option<Row>, RedoError> {
        let (name, footer) = &self.shards[at.shard as usize];
        let parquet = |source| RedoError::Parquet {
            file: name.clone(),
            source,
        };
        let external = |error: std::io::Error| parquet(ParquetError::External(error.into()));
        let file = File::open(self.root.join(name)).map_err(external)?;
        let footer = match footer.get() {
            Some(footer) => footer.clone(),
            None => {
                // With the index of pages: of a row group only those of this row are read.
                let options =
                    ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
                let read = ArrowReaderMetadata::load(&file, options).map_err(parquet)?;
                footer.get_or_init(|| read).clone()
            }
        };
        let this = RowSelection::from(vec![
            RowSelector::skip(at.row as usize),
            RowSelector::select(1),
        ]);
        let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
            .with_row_selection(this)
            .build()
            .map_err(parquet)?;
        for batch in rows {
            let batch = batch.map_err(|error| parquet(error.into()))?;
            let rows = row::from_arrow(&batch, &self.header.vocabulary);
            let rows = rows.map_err(|source| RedoError::Row {
                file: name.clone(),
                source,
            })?;
            if let Some(row) = rows.into_iter().next() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// A stored image's URL and hash.
fn stored(place: &Place) -> Option<(&str, &str)> {
    match place {
        Place::Image(image) => Some((image.url.as_deref()?, &image.stored.as_ref()?.sha256)),
        Place::Text(_) => None,
    }
}

/// What all logs say of images that were had.
fn logged(folder: &Path) -> Result<HashMap<u64, Logged>, EarlierError> {
    let mut logged: HashMap<u64, Logged> = HashMap::new();
    for path in dataset::files(folder, ".parquet")? {
        let of_log = |source| EarlierError::Log {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(|error| of_log(ParquetError::External(error.into())));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file?).map_err(of_log)?;
        for batch in reader.build().map_err(of_log)? {
            let batch = batch.map_err(|error| of_log(error.into()))?;
            for request in log::from_arrow(&batch) {
                if request.outcome == Outcome::Stored && request.validators.can_be_sent() {
                    let at = request.final_url.filter(|at| *at != request.url);
                    let found = Logged {
                        validators: request.validators,
                        at: at.map(String::into_boxed_str),
                    };
                    let known = logged
                        .entry(hash(&request.url))
                        .or_insert_with(|| found.clone());
                    // As above: several versions are none.
                    if known.validators != found.validators {
                        known.validators = Validators::default();
                    }
                }
            }
        }
    }
    Ok(logged)
}

/// Stands for a URL: what it leads to is checked.
fn hash(url: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    hasher.finish()
}

//! What is done to a row.

use lcl_schemas::dataset::{Commit, Header};
use lcl_schemas::document::{Document, Image, Place};
use lcl_schemas::outcome::{Class, DocumentOutcome, Outcome};
use lcl_schemas::row::Row;
use url::Url;

use super::list::List;
use super::{Columns, RedoError, read};
use crate::dataset::Dataset;
use crate::draft::{Draft, DraftImage, DraftPlace, ImageState, Locator, Match};
use crate::unit::What;

/// A change to a dataset.
#[derive(Debug)]
pub enum Edit {
    /// Ask again for images that could not be had.
    Retry(Retry),
    /// Take out what is listed: images, or whole documents.
    OptOut(List),
}

/// Which images are asked for again: those with an `http` or `https` URL and one of these.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// Classes of outcomes.
    pub classes: Vec<Class>,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
}

/// What became of a row.
pub(super) enum Edited {
    Row(Draft),
    /// It is no row any more.
    Gone(What),
}

impl Retry {
    fn wants(&self, outcome: &Outcome) -> bool {
        self.classes.contains(&outcome.class()) || self.outcomes.contains(outcome)
    }

    fn state(&self, image: &Image) -> Option<ImageState> {
        let web = |url: &&String| url.starts_with("http://") || url.starts_with("https://");
        let url = image.url.as_ref().filter(web)?;
        let again = image.stored.is_none() && self.wants(&image.outcome);
        again.then(|| ImageState::Wanted(Locator::Url(url.clone())))
    }
}

impl Edit {
    /// Whether the commit has a row that changes.
    pub(super) fn touches(
        &self,
        dataset: &Dataset,
        header: &Header,
        commit: &Commit,
    ) -> Result<bool, RedoError> {
        if let Self::Retry(retry) = self {
            // Cheap, and enough to pass over most: rows are read only where some image has such an outcome.
            if !commit.images.keys().any(|outcome| retry.wants(outcome)) {
                return Ok(false);
            }
        }
        for shard in &commit.shards {
            let path = dataset.path(&shard.file);
            for rows in read(&path, &shard.file, header, Columns::NoPixels)? {
                if rows?.iter().any(|row| self.changes(&row.document)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn changes(&self, document: &Document) -> bool {
        let mut images = document.images();
        match self {
            Self::Retry(retry) => images.any(|image| retry.state(image).is_some()),
            Self::OptOut(list) => {
                list.has_page(document.url.as_deref())
                    || images.any(|image| image.outcome != Outcome::OptedOut && has(list, image))
            }
        }
    }

    pub(super) fn apply(&self, row: Row) -> Edited {
        let document = row.document;
        if let Self::OptOut(list) = self
            && list.has_page(document.url.as_deref())
        {
            return Edited::Gone(What::LeftOut {
                outcome: DocumentOutcome::OptedOut,
                images: document.images().map(|_| Outcome::OptedOut).collect(),
            });
        }
        let places = document.places.into_iter().map(|place| match place {
            Place::Text(text) => DraftPlace::Text(text),
            Place::Image(image) => DraftPlace::Image(self.image(image)),
        });
        Edited::Row(Draft {
            id: document.id,
            url: document.url,
            language: document.language,
            places: places.collect(),
        })
    }

    fn image(&self, image: Image) -> DraftImage {
        let changed = match self {
            Self::Retry(retry) => retry.state(&image),
            Self::OptOut(list) => {
                has(list, &image).then(|| ImageState::left_out(Outcome::OptedOut))
            }
        };
        let as_it_was = |stored, outcome| match stored {
            Some(stored) => Ok(stored),
            None => Err(outcome),
        };
        let matched = image.sentence.map(|place| Match {
            place,
            similarity: image.similarity,
        });
        DraftImage {
            url: image.url,
            alt: image.alt,
            matched,
            state: changed.unwrap_or_else(|| {
                ImageState::Settled(Box::new(as_it_was(image.stored, image.outcome)))
            }),
        }
    }
}

fn has(list: &List, image: &Image) -> bool {
    let hash = image.stored.as_ref().map(|stored| stored.sha256.as_str());
    list.has_hash(hash) || list.has_url(image.url.as_deref().and_then(|url| Url::parse(url).ok()))
}

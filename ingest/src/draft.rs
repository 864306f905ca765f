//! A document whose images are still to be had: what a record of any source comes to.

use std::path::Path;
use std::sync::Arc;

use lcl_schemas::document::StoredImage;
use lcl_schemas::outcome::{DocumentOutcome, Outcome};

/// What an image that was settled came to.
pub(crate) type Answer = Result<StoredImage, Outcome>;

/// A document on its way.
#[derive(Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) url: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) places: Vec<DraftPlace>,
}

/// One of its places.
#[derive(Debug, PartialEq)]
pub(crate) enum DraftPlace {
    Text(String),
    Image(DraftImage),
}

/// An image of a document.
#[derive(Debug, PartialEq)]
pub(crate) struct DraftImage {
    /// Where it was on the web.
    pub(crate) url: Option<String>,
    /// The page's text alternative.
    pub(crate) alt: Option<String>,
    /// The text that its source matched it to.
    pub(crate) matched: Option<Match>,
    pub(crate) state: ImageState,
}

/// A text that an image was matched to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Match {
    /// The text's place.
    pub(crate) place: u32,
    /// As the source states it.
    pub(crate) similarity: Option<f32>,
}

/// Whether an image is still to be asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum ImageState {
    Wanted(Locator),
    Settled(Box<Answer>),
}

/// What an image is asked for by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Locator {
    /// A plain file name in the folder of images.
    Name(String),
    /// On the web.
    Url(String),
    /// A file beneath the folder that its page lies in.
    Beneath { root: Arc<Path>, path: String },
    /// A record of an archive, which has to be of `url` where that is given.
    Capture {
        archive: Arc<Path>,
        offset: u64,
        url: Option<String>,
    },
}

/// Why a record gives no document.
#[derive(Debug, PartialEq)]
pub(crate) struct Unusable {
    pub(crate) outcome: DocumentOutcome,
    pub(crate) detail: String,
}

impl ImageState {
    /// Not to be asked for, because of `outcome`.
    pub(crate) fn left_out(outcome: Outcome) -> Self {
        Self::Settled(Box::new(Err(outcome)))
    }
}

impl Draft {
    pub(crate) fn images(&self) -> impl Iterator<Item = &DraftImage> {
        self.places.iter().filter_map(|place| match place {
            DraftPlace::Image(image) => Some(image),
            DraftPlace::Text(_) => None,
        })
    }

    /// Images to ask for, in order.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &Locator> {
        self.images().filter_map(|image| match &image.state {
            ImageState::Wanted(locator) => Some(locator),
            ImageState::Settled(_) => None,
        })
    }

    /// Does not ask for the images that `leave` names, because of `outcome`.
    pub(crate) fn leave_out(&mut self, outcome: Outcome, leave: impl Fn(&DraftImage) -> bool) {
        for place in &mut self.places {
            if let DraftPlace::Image(image) = place
                && leave(image)
            {
                image.state = ImageState::left_out(outcome.clone());
            }
        }
    }

    /// Images that it has or may come to have.
    pub(crate) fn possible(&self) -> usize {
        let hopeless = |image: &&DraftImage| match &image.state {
            ImageState::Wanted(_) => true,
            ImageState::Settled(answer) => answer.is_ok(),
        };
        self.images().filter(hopeless).count()
    }

    /// What becomes of its images when it is not written.
    pub(crate) fn left_out(&self) -> Vec<Outcome> {
        let outcome = |image: &DraftImage| match &image.state {
            ImageState::Settled(answer) => answer.as_ref().as_ref().err().cloned(),
            ImageState::Wanted(_) => None,
        };
        self.images()
            .map(|image| outcome(image).unwrap_or(Outcome::DocumentLeftOut))
            .collect()
    }
}

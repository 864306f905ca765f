//! An interleaved document: texts and images in the order in which they are read.

use crate::outcome::Outcome;

/// One document, as ingested.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The source's id, else a hash of (source, input, position): the same on every run.
    pub id: String,
    /// What kind of input it came from, e.g. `mmc4`.
    pub source: String,
    /// The page it was.
    pub url: Option<String>,
    /// BCP 47 tag.
    pub language: Option<String>,
    /// What is read, in order. An image that could not be had keeps its place.
    pub places: Vec<Place>,
}

/// One place of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A sentence or paragraph, unchanged.
    Text(String),
    /// An image, stored or not.
    Image(Image),
}

/// An image, what is known of it, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Where it was said to be.
    pub url: Option<String>,
    /// The text alternative of the page.
    pub alt: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// What a decoded image is known by; set when the bytes were decoded.
    pub stored: Option<StoredImage>,
    /// Cosine similarity to its sentence, as the source states it.
    pub similarity: Option<f32>,
    /// The place it was matched to; `None` where it stands in the document's own order.
    pub sentence: Option<u32>,
}

/// A stored image and what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredImage {
    /// SHA-256 of the bytes as fetched, lower-case hex.
    pub sha256: String,
    /// 64-bit perceptual hash of the picture (DCT, median): near pictures differ in few bits.
    pub phash: u64,
    /// Format of `bytes`, e.g. `jpeg`.
    pub format: String,
    /// Of `bytes`, in pixels.
    pub width: u32,
    /// Of `bytes`, in pixels.
    pub height: u32,
    /// As fetched, upright, in pixels.
    pub original_width: u32,
    /// As fetched, upright, in pixels.
    pub original_height: u32,
    /// As fetched.
    pub original_bytes: u32,
    /// The encoded picture. Empty when a reader left the pixel column out.
    pub bytes: Vec<u8>,
}

impl Document {
    /// Number of images that are in the dataset.
    pub fn stored_images(&self) -> usize {
        self.images().filter(|image| image.stored.is_some()).count()
    }

    /// All images, stored or not, in order.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.places.iter().filter_map(|place| match place {
            Place::Image(image) => Some(image),
            Place::Text(_) => None,
        })
    }
}

//! A document as JSON: what the three forms have in common.
//!
//! `texts` and `images` are parallel lists with exactly one of the two set at each place, as in the dataset. `file`, `at` and
//! `size` say where a stored picture's bytes are, in the forms that need it.

use lcl_schemas::document::{Document, Image, Place, StoredImage};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::Row;
use serde::Serialize;

/// A document; pictures are elsewhere.
#[derive(Serialize)]
pub(super) struct DocumentJson<'a> {
    id: &'a str,
    source: &'a str,
    url: Option<&'a str>,
    language: Option<&'a str>,
    texts: Vec<Option<&'a str>>,
    images: Vec<Option<ImageJson<'a>>>,
    tokens: &'a [u32],
    spans: &'a [u32],
}

/// An image and what became of it.
#[derive(Serialize)]
pub(super) struct ImageJson<'a> {
    /// Name behind the document's key, of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// First byte in the document's pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<usize>,
    /// Bytes of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<usize>,
    url: Option<&'a str>,
    alt: Option<&'a str>,
    outcome: &'a Outcome,
    #[serde(flatten)]
    stored: Option<StoredJson<'a>>,
    similarity: Option<f32>,
    sentence: Option<u32>,
}

/// What is known of a stored image.
#[derive(Serialize)]
pub(super) struct StoredJson<'a> {
    sha256: &'a str,
    phash: u64,
    format: &'a str,
    width: u32,
    height: u32,
    original_width: u32,
    original_height: u32,
    original_bytes: u32,
}

impl<'a> DocumentJson<'a> {
    /// `image` makes an image's JSON of its place and what it is.
    pub(super) fn new(row: &'a Row, image: impl FnMut(usize, &'a Image) -> ImageJson<'a>) -> Self {
        let Document {
            id,
            source,
            url,
            language,
            ..
        } = &row.document;
        Self {
            id,
            source,
            url: url.as_deref(),
            language: language.as_deref(),
            texts: texts(&row.document),
            images: images(&row.document, image),
            tokens: row.layout.tokens(),
            spans: row.layout.spans(),
        }
    }
}

impl<'a> ImageJson<'a> {
    pub(super) fn new(image: &'a Image) -> Self {
        Self {
            file: None,
            at: None,
            size: None,
            url: image.url.as_deref(),
            alt: image.alt.as_deref(),
            outcome: &image.outcome,
            stored: image.stored.as_ref().map(StoredJson::new),
            similarity: image.similarity,
            sentence: image.sentence,
        }
    }
}

impl<'a> StoredJson<'a> {
    fn new(stored: &'a StoredImage) -> Self {
        Self {
            sha256: &stored.sha256,
            phash: stored.phash,
            format: &stored.format,
            width: stored.width,
            height: stored.height,
            original_width: stored.original_width,
            original_height: stored.original_height,
            original_bytes: stored.original_bytes,
        }
    }
}

/// The text at each place.
pub(super) fn texts(document: &Document) -> Vec<Option<&str>> {
    let places = document.places.iter();
    places
        .map(|place| match place {
            Place::Text(text) => Some(text.as_str()),
            Place::Image(_) => None,
        })
        .collect()
}

/// Something of the image at each place.
pub(super) fn images<'a, T>(
    document: &'a Document,
    mut of: impl FnMut(usize, &'a Image) -> T,
) -> Vec<Option<T>> {
    let places = document.places.iter().enumerate();
    places
        .map(|(at, place)| match place {
            Place::Text(_) => None,
            Place::Image(image) => Some(of(at, image)),
        })
        .collect()
}

/// Stored pictures and their places.
pub(super) fn pictures(document: &Document) -> impl Iterator<Item = (usize, &StoredImage)> {
    let places = document.places.iter().enumerate();
    places.filter_map(|(at, place)| match place {
        Place::Text(_) => None,
        Place::Image(image) => Some((at, image.stored.as_ref()?)),
    })
}

/// JSON of a value that is plain.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain JSON")
}

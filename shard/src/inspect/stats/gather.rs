//! A row group's columns to what is counted of them: no pixels, and of texts and tokens only how long they are.

use arrow::array::{Array, RecordBatch, StringArray, UInt32Array};

use super::copies::{Seen, Spot};
use super::histogram::{Cosines, Histogram};
use super::tally::{Shares, Tally, host};
use crate::inspect::groups::{Images, Lists, numbers, text_at, texts};

/// Columns that are read.
pub(super) const COLUMNS: [&str; 17] = [
    "source",
    "url",
    "language",
    "texts",
    "n_tokens",
    "n_images",
    "images.list.item.url",
    "images.list.item.alt",
    "images.list.item.sha256",
    "images.list.item.phash",
    "images.list.item.format",
    "images.list.item.width",
    "images.list.item.height",
    "images.list.item.original_width",
    "images.list.item.original_height",
    "images.list.item.original_bytes",
    "images.list.item.similarity",
];

/// What is counted; of one row group or of all.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) tokens: Histogram,
    pub(super) images: Histogram,
    pub(super) texts: Histogram,
    pub(super) document_chars: Histogram,
    pub(super) text_chars: Histogram,
    pub(super) alt_chars: Histogram,
    pub(super) short_side: Histogram,
    pub(super) original_short_side: Histogram,
    pub(super) original_bytes: Histogram,
    pub(super) similarity: Cosines,
    pub(super) sources: Tally,
    pub(super) languages: Tally,
    pub(super) formats: Tally,
    pub(super) page_hosts: Tally,
    pub(super) image_hosts: Tally,
}

/// Of one row group.
#[derive(Default)]
pub(super) struct OfGroup {
    pub(super) gathered: Gathered,
    /// Ids and stored images of each document.
    pub(super) lengths: Vec<(u32, u32)>,
    pub(super) stored: Vec<Seen>,
}

impl Gathered {
    pub(super) fn add_all(&mut self, more: &Gathered) {
        self.tokens.add_all(&more.tokens);
        self.images.add_all(&more.images);
        self.texts.add_all(&more.texts);
        self.document_chars.add_all(&more.document_chars);
        self.text_chars.add_all(&more.text_chars);
        self.alt_chars.add_all(&more.alt_chars);
        self.short_side.add_all(&more.short_side);
        self.original_short_side.add_all(&more.original_short_side);
        self.original_bytes.add_all(&more.original_bytes);
        self.similarity.add_all(&more.similarity);
        self.sources.add_all(&more.sources);
        self.languages.add_all(&more.languages);
        self.formats.add_all(&more.formats);
        self.page_hosts.add_all(&more.page_hosts);
        self.image_hosts.add_all(&more.image_hosts);
    }
}

/// Counts a row group.
///
/// # Errors
/// A column that is missing or of another type.
pub(super) fn gather(group: u32, batches: &[RecordBatch]) -> Result<OfGroup, String> {
    let mut of_group = OfGroup::default();
    let mut before = 0;
    for batch in batches {
        let documents = Documents::of(batch)?;
        let images = ImageColumns::of(batch)?;
        for row in 0..batch.num_rows() {
            documents.count(row, &mut of_group);
            for at in images.lists.row(row) {
                let place = at - images.lists.row(row).start;
                let spot = Spot {
                    group,
                    row: before + row as u32,
                    place: place as u32,
                };
                images.count(at, spot, &mut of_group)?;
            }
        }
        before += batch.num_rows() as u32;
    }
    Ok(of_group)
}

struct Documents<'a> {
    source: &'a StringArray,
    url: &'a StringArray,
    language: &'a StringArray,
    lists: Lists<'a>,
    texts: &'a StringArray,
    n_tokens: &'a UInt32Array,
    n_images: &'a UInt32Array,
}

impl<'a> Documents<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let lists = Lists::of(batch, "texts")?;
        Ok(Self {
            source: texts(batch, "source")?,
            url: texts(batch, "url")?,
            language: texts(batch, "language")?,
            texts: lists.texts()?,
            lists,
            n_tokens: numbers(batch, "n_tokens")?,
            n_images: numbers(batch, "n_images")?,
        })
    }

    fn count(&self, row: usize, into: &mut OfGroup) {
        let (tokens, images) = (self.n_tokens.value(row), self.n_images.value(row));
        into.lengths.push((tokens, images));
        let gathered = &mut into.gathered;
        gathered.tokens.add(u64::from(tokens));
        gathered.images.add(u64::from(images));
        let (mut texts, mut chars) = (0, 0);
        for at in self.lists.row(row) {
            let Some(text) = text_at(self.texts, at) else {
                continue;
            };
            let length = text.chars().count() as u64;
            gathered.text_chars.add(length);
            texts += 1;
            chars += length;
        }
        gathered.texts.add(texts);
        gathered.document_chars.add(chars);
        let one = Shares {
            count: 1,
            stored: u64::from(images),
        };
        gathered.sources.add(text_at(self.source, row), one);
        gathered.languages.add(text_at(self.language, row), one);
        let page_host = text_at(self.url, row).and_then(host);
        gathered.page_hosts.add(page_host.as_deref(), one);
    }
}

struct ImageColumns<'a> {
    lists: Lists<'a>,
    images: Images<'a>,
    url: &'a StringArray,
    alt: &'a StringArray,
    sha256: &'a StringArray,
    format: &'a StringArray,
    phash: &'a arrow::array::UInt64Array,
    stored_px: [&'a UInt32Array; 2],
    original_px: [&'a UInt32Array; 2],
    original_bytes: &'a UInt32Array,
    similarity: &'a arrow::array::Float32Array,
}

impl<'a> ImageColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let lists = Lists::of(batch, "images")?;
        let images = lists.images()?;
        Ok(Self {
            url: images.texts("url")?,
            alt: images.texts("alt")?,
            sha256: images.texts("sha256")?,
            format: images.texts("format")?,
            phash: images.hashes("phash")?,
            stored_px: [images.numbers("width")?, images.numbers("height")?],
            original_px: [
                images.numbers("original_width")?,
                images.numbers("original_height")?,
            ],
            original_bytes: images.numbers("original_bytes")?,
            similarity: images.fractions("similarity")?,
            lists,
            images,
        })
    }

    fn count(&self, at: usize, spot: Spot, into: &mut OfGroup) -> Result<(), String> {
        if !self.images.is_image(at) {
            return Ok(());
        }
        let gathered = &mut into.gathered;
        if self.similarity.is_valid(at) {
            gathered.similarity.add(self.similarity.value(at));
        }
        if let Some(alt) = text_at(self.alt, at) {
            gathered.alt_chars.add(alt.chars().count() as u64);
        }
        let sha256 = text_at(self.sha256, at);
        let one = Shares {
            count: 1,
            stored: u64::from(sha256.is_some()),
        };
        let image_host = text_at(self.url, at).and_then(host);
        gathered.image_hosts.add(image_host.as_deref(), one);
        let Some(sha256) = sha256 else { return Ok(()) };
        let short = |[width, height]: [&UInt32Array; 2]| width.value(at).min(height.value(at));
        gathered.short_side.add(u64::from(short(self.stored_px)));
        let original = u64::from(short(self.original_px));
        gathered.original_short_side.add(original);
        let bytes = u64::from(self.original_bytes.value(at));
        gathered.original_bytes.add(bytes);
        gathered.formats.add(text_at(self.format, at), one);
        let seen = Seen::once(sha256, self.phash.value(at), spot);
        into.stored.push(seen.ok_or_else(|| {
            let Spot { row, place, .. } = spot;
            format!("row {row}, place {place}: its sha256 is not 64 hexadecimal digits")
        })?);
        Ok(())
    }
}

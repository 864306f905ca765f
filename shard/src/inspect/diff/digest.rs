//! A dataset's rows to digests: 88 bytes a document, 40 an image, no pixels read.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, RecordBatch, StringArray, UInt32Array};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::vocabulary::Vocabulary;

use super::hash::Digest;
use crate::inspect::groups::{Images, Lists, in_order, text_at, texts};
use crate::read::{ReadError, Reader};

/// All but pixels and what follows from the rest.
const COLUMNS: [&str; 8] = [
    "id", "source", "url", "language", "texts", "images", "tokens", "spans",
];

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) group: u32,
    pub(super) row: u32,
}

/// A document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document {
    pub(super) id: [u64; 2],
    pub(super) source: u64,
    pub(super) url: u64,
    pub(super) language: u64,
    pub(super) texts: u64,
    pub(super) tokens: u64,
    /// Which places are texts and which image is where.
    pub(super) order: u64,
    pub(super) at: At,
    first_image: u64,
    images: u32,
}

/// An image of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Its URL and how many of its document before it have the same.
    pub(super) key: u64,
    /// What was fetched; 0 where nothing was.
    pub(super) pixels: u64,
    /// What is known of the pixels.
    pub(super) form: u64,
    /// What its page and source say of it.
    pub(super) about: u64,
    /// By [`Names`].
    pub(super) outcome: u32,
}

/// Outcomes by number.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Outcome, u32>,
    outcomes: Vec<Outcome>,
}

impl Names {
    /// There are about 250; a dataset that spells a new one for every image must not fill memory.
    const MOST: usize = 1 << 16;

    fn number(&mut self, outcome: &Outcome) -> u32 {
        if let Some(number) = self.numbers.get(outcome) {
            return *number;
        }
        if self.outcomes.len() >= Self::MOST {
            return 0;
        }
        let number = self.outcomes.len() as u32;
        self.numbers.insert(outcome.clone(), number);
        self.outcomes.push(outcome.clone());
        number
    }

    pub(super) fn outcome(&self, number: u32) -> &Outcome {
        &self.outcomes[number as usize]
    }
}

/// A dataset, or the part of one that a pass is about.
#[derive(Default)]
pub(super) struct Digests {
    /// By id, then in the order of the dataset.
    pub(super) documents: Vec<Document>,
    images: Vec<Image>,
}

impl Digests {
    /// The documents that pass p of n is about.
    pub(super) fn load(
        reader: &Reader,
        (pass, passes): (u64, u64),
        names: &mut Names,
        seen: &mut dyn FnMut(u64),
    ) -> Result<Self, ReadError> {
        let groups: Vec<u32> = (0..reader.groups().len() as u32).collect();
        let vocabulary = reader.header().vocabulary;
        let mut all = Self::default();
        let rows: u64 = reader
            .groups()
            .iter()
            .map(|group| u64::from(group.rows))
            .sum();
        all.documents.reserve_exact((rows / passes) as usize);
        let ours = |id: &[u64; 2]| id[0] % passes == pass;
        in_order(
            reader,
            &groups,
            &COLUMNS,
            |group, batches| OfGroup::digest(group, batches, &vocabulary, ours),
            |group, of_group: OfGroup| {
                all.add(of_group, names);
                seen(u64::from(reader.groups()[group as usize].rows));
            },
        )?;
        all.documents
            .sort_unstable_by_key(|document| (document.id, document.at));
        Ok(all)
    }

    fn add(&mut self, of_group: OfGroup, names: &mut Names) {
        let before = self.images.len() as u64;
        self.documents
            .extend(of_group.documents.into_iter().map(|document| Document {
                first_image: document.first_image + before,
                ..document
            }));
        self.images
            .extend(of_group.images.into_iter().map(|(image, outcome)| Image {
                outcome: names.number(&outcome),
                ..image
            }));
    }

    /// A document's, by key.
    pub(super) fn images(&self, document: &Document) -> &[Image] {
        let first = document.first_image as usize;
        &self.images[first..first + document.images as usize]
    }
}

/// Digests of one row group, outcomes not numbered yet.
#[derive(Default)]
struct OfGroup {
    documents: Vec<Document>,
    images: Vec<(Image, Outcome)>,
}

impl OfGroup {
    fn digest(
        group: u32,
        batches: &[RecordBatch],
        vocabulary: &Vocabulary,
        ours: impl Fn(&[u64; 2]) -> bool,
    ) -> Result<Self, String> {
        let (mut of_group, mut before) = (Self::default(), 0);
        for batch in batches {
            let columns = Columns::of(batch)?;
            for row in 0..batch.num_rows() {
                let id = Digest::of(|digest| digest.text(Some(columns.ids.value(row)))).wide();
                if ours(&id) {
                    let at = At {
                        group,
                        row: before + row as u32,
                    };
                    columns.row(row, (id, at), vocabulary, &mut of_group);
                }
            }
            before += batch.num_rows() as u32;
        }
        Ok(of_group)
    }
}

/// A batch's columns, typed.
struct Columns<'a> {
    ids: &'a StringArray,
    sources: &'a StringArray,
    urls: &'a StringArray,
    languages: &'a StringArray,
    text_lists: Lists<'a>,
    texts: &'a StringArray,
    token_lists: Lists<'a>,
    tokens: &'a UInt32Array,
    span_lists: Lists<'a>,
    spans: &'a UInt32Array,
    image_lists: Lists<'a>,
    images: Images<'a>,
    fields: Fields<'a>,
}

/// Of images.
struct Fields<'a> {
    urls: &'a StringArray,
    alts: &'a StringArray,
    outcomes: &'a StringArray,
    sha256s: &'a StringArray,
    formats: &'a StringArray,
    phashes: &'a arrow::array::UInt64Array,
    sizes: [&'a UInt32Array; 5],
    similarities: &'a arrow::array::Float32Array,
    sentences: &'a UInt32Array,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, String> {
        let [text_lists, token_lists, span_lists, image_lists] =
            ["texts", "tokens", "spans", "images"].map(|name| Lists::of(batch, name));
        let (text_lists, token_lists) = (text_lists?, token_lists?);
        let (span_lists, image_lists) = (span_lists?, image_lists?);
        let images = image_lists.images()?;
        Ok(Self {
            ids: texts(batch, "id")?,
            sources: texts(batch, "source")?,
            urls: texts(batch, "url")?,
            languages: texts(batch, "language")?,
            texts: text_lists.texts()?,
            tokens: token_lists.numbers()?,
            spans: span_lists.numbers()?,
            fields: Fields {
                urls: images.texts("url")?,
                alts: images.texts("alt")?,
                outcomes: images.texts("outcome")?,
                sha256s: images.texts("sha256")?,
                formats: images.texts("format")?,
                phashes: images.hashes("phash")?,
                sizes: [
                    images.numbers("width")?,
                    images.numbers("height")?,
                    images.numbers("original_width")?,
                    images.numbers("original_height")?,
                    images.numbers("original_bytes")?,
                ],
                similarities: images.fractions("similarity")?,
                sentences: images.numbers("sentence")?,
            },
            text_lists,
            token_lists,
            span_lists,
            image_lists,
            images,
        })
    }

    fn row(
        &self,
        row: usize,
        (id, at): ([u64; 2], At),
        vocabulary: &Vocabulary,
        into: &mut OfGroup,
    ) {
        let text =
            |column: &StringArray| Digest::of(|digest| digest.text(text_at(column, row))).narrow();
        let first = into.images.len();
        let order = self.row_images(self.image_lists.row(row), &mut into.images);
        into.images[first..].sort_unstable_by_key(|(image, _)| image.key);
        let texts = Digest::of(|digest| {
            let places = self.text_lists.row(row);
            places
                .filter_map(|at| text_at(self.texts, at))
                .for_each(|text| digest.text(Some(text)));
        });
        into.documents.push(Document {
            id,
            source: text(self.sources),
            url: text(self.urls),
            language: text(self.languages),
            texts: texts.narrow(),
            tokens: self.row_tokens(row, vocabulary),
            order,
            at,
            first_image: first as u64,
            images: (into.images.len() - first) as u32,
        });
    }

    /// Ids of texts, and how many each text has: special ids follow from the images.
    fn row_tokens(&self, row: usize, vocabulary: &Vocabulary) -> u64 {
        let tokens = &self.tokens.values()[self.token_lists.row(row)];
        let (spans, images) = (self.span_lists.row(row), self.image_lists.row(row));
        let digest = Digest::of(|digest| {
            for id in tokens.iter().filter(|id| !vocabulary.is_special(**id)) {
                digest.number(u64::from(*id));
            }
            let of_texts = spans
                .zip(images)
                .filter(|(_, at)| !self.images.is_image(*at));
            of_texts.for_each(|(span, _)| digest.number(u64::from(self.spans.value(span))));
        });
        digest.narrow()
    }

    /// A document's images; which place is which, digested.
    fn row_images(&self, places: Range<usize>, into: &mut Vec<(Image, Outcome)>) -> u64 {
        let mut met: HashMap<Option<&str>, u64> = HashMap::new();
        let order = Digest::of(|order| {
            for at in places {
                if !self.images.is_image(at) {
                    order.number(0);
                    continue;
                }
                let url = text_at(self.fields.urls, at);
                let before = met.entry(url).or_default();
                let key = Digest::of(|digest| {
                    digest.text(url);
                    digest.number(*before);
                });
                *before += 1;
                let key = key.narrow();
                order.number(key);
                into.push(self.fields.image(at, key));
            }
        });
        order.narrow()
    }
}

impl Fields<'_> {
    fn image(&self, at: usize, key: u64) -> (Image, Outcome) {
        let pixels = text_at(self.sha256s, at).map_or(0, |sha256| {
            Digest::of(|digest| digest.text(Some(sha256))).narrow()
        });
        let form = Digest::of(|digest| {
            digest.text(text_at(self.formats, at));
            let phash = self.phashes.is_valid(at).then(|| self.phashes.value(at));
            digest.number(phash.unwrap_or_default());
            for size in self.sizes.iter().filter(|size| size.is_valid(at)) {
                digest.number(u64::from(size.value(at)));
            }
        });
        let about = Digest::of(|digest| {
            digest.text(text_at(self.alts, at));
            let similarity = self
                .similarities
                .is_valid(at)
                .then(|| self.similarities.value(at));
            digest.number(similarity.map_or(u64::MAX, |value| u64::from(value.to_bits())));
            let sentence = self
                .sentences
                .is_valid(at)
                .then(|| self.sentences.value(at));
            digest.number(sentence.map_or(u64::MAX, u64::from));
        });
        let Ok(outcome) = self.outcomes.value(at).parse();
        let image = Image {
            key,
            pixels,
            form: form.narrow(),
            about: about.narrow(),
            outcome: 0,
        };
        (image, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_takes_88_bytes_and_an_image_40() {
        assert_eq!((size_of::<Document>(), size_of::<Image>()), (88, 40));
    }
}

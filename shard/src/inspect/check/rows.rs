//! The rows of one row group, one after the other: what each holds, and what is wrong with it.
//!
//! Everything but pixels is read as a whole, a row's pixels with the row: no more than one document's are in memory, and where
//! a page of pixels is damaged the others can still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use lcl_schemas::dataset::Header;
use lcl_schemas::document::{Image, Place};
use lcl_schemas::guard::guarded;
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::{self, IMAGE_BYTES, Row, RowError};
use lcl_schemas::tokenizer::Tokenizer;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::Depth;
use super::images;
use crate::stored::{Buffers, PageFile, StoredImages};

/// Rows read at a time: a row group has at most 256.
const ROWS: usize = 256;

/// How rows are looked at.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) header: &'a Header,
    pub(super) depth: Depth,
    pub(super) trust: Trust<'a>,
}

/// What is known of the bytes.
#[derive(Clone, Copy)]
pub(super) enum Trust<'a> {
    /// Nothing speaks against them.
    Whole,
    /// Some of them changed, nobody knows which: ids have to be those of the texts, images that were kept as they were fetched
    /// have to have their hash.
    Changed(Option<&'a Tokenizer>),
}

/// One row.
pub(super) struct FoundRow {
    /// Index in the row group.
    pub(super) number: u32,
    /// As far as it can be read.
    pub(super) id: String,
    /// Without pixels; `None` where it is no row.
    pub(super) row: Option<Row>,
    pub(super) pixels: Option<StoredImages>,
    /// What makes it no document: the place, where it has one, and what.
    pub(super) broken: Vec<(Option<u32>, String)>,
    /// Its counts are not those of what it holds.
    pub(super) miscounted: Option<String>,
    /// What is wrong with its images, by place.
    pub(super) images: BTreeMap<u32, String>,
    /// Places of those images that lack only what is said of their pixels, or some of it.
    pub(super) unset: BTreeSet<u32>,
    /// Images that were decoded.
    pub(super) decoded: u64,
}

/// Reads all rows of a row group.
///
/// # Errors
/// Why not all of them can be read; those before were visited.
pub(super) fn each(
    path: &Path,
    footer: &ArrowReaderMetadata,
    group: usize,
    look: &Look<'_>,
    visit: &mut dyn FnMut(FoundRow),
) -> Result<(), String> {
    let open = || File::open(path).map_err(|error| format!("it cannot be read: {error}"));
    let failed = |error: &dyn std::fmt::Display| format!("it cannot be read: {error}");
    let columns = footer.schema().fields().iter().enumerate();
    let columns = columns.filter(|(_, field)| field.name() != IMAGE_BYTES);
    let mask = ProjectionMask::roots(footer.parquet_schema(), columns.map(|(index, _)| index));
    let file = open()?;
    let mut batches = guarded(|| {
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(ROWS)
            .build()
    })?
    .map_err(|error| failed(&error))?;
    let pixels = PixelReader {
        file: open()?,
        buffers: Arc::default(),
        footer,
        group,
    };
    let mut number = 0;
    while let Some(batch) = guarded(|| batches.next())? {
        let batch = batch.map_err(|error| failed(&error))?;
        for at in 0..batch.num_rows() {
            visit(examine(&batch.slice(at, 1), number, &pixels, look));
            number += 1;
        }
    }
    let expected = footer.metadata().row_group(group).num_rows();
    match i64::from(number) == expected {
        true => Ok(()),
        false => Err(format!(
            "it ends after {number} rows, its footer says {expected}"
        )),
    }
}

/// Finds single documents' pixels.
struct PixelReader<'a> {
    file: File,
    buffers: Arc<Buffers>,
    footer: &'a ArrowReaderMetadata,
    group: usize,
}

impl PixelReader<'_> {
    fn read(&self, row: u32) -> Result<StoredImages, String> {
        let file = self.file.try_clone().map_err(|error| error.to_string())?;
        let file = PageFile {
            file,
            buffers: self.buffers.clone(),
        };
        let footer = self.footer.metadata();
        guarded(|| StoredImages::read(file, footer, self.group, row as usize))?
            .map_err(|error| error.to_string())
    }
}

/// Looks at the one row of `batch`.
fn examine(
    batch: &RecordBatch,
    number: u32,
    pixels: &PixelReader<'_>,
    look: &Look<'_>,
) -> FoundRow {
    let ids = batch.column_by_name("id");
    let id = ids
        .and_then(|ids| ids.as_string_opt::<i32>())
        .map_or("", |ids| ids.value(0));
    let mut found = FoundRow {
        number,
        id: id.to_owned(),
        row: None,
        pixels: None,
        broken: Vec::new(),
        miscounted: None,
        images: BTreeMap::new(),
        unset: BTreeSet::new(),
        decoded: 0,
    };
    let read = guarded(|| row::from_arrow(batch, &look.header.vocabulary));
    let row = match read.and_then(|rows| rows.map_err(|error| detail(&error))) {
        Ok(rows) => rows.into_iter().next(),
        Err(detail) => {
            found.broken.push((None, detail));
            None
        }
    };
    let Some(row) = row else {
        return found;
    };
    if id.is_empty() {
        found.broken.push((None, "it has no id".into()));
    }
    found.miscounted = miscounted(batch, &row);
    found.broken.extend(misplaced(&row, look.header));
    if let Trust::Changed(Some(tokenizer)) = look.trust {
        found.broken.extend(retold(&row, tokenizer));
    }
    let fields = batch.column_by_name("images");
    let fields = fields
        .and_then(|images| images.as_list_opt::<i32>())
        .map(|images| images.value(0));
    let fields = fields.as_ref().and_then(|fields| fields.as_struct_opt());
    for (place, image) in images_of(&row) {
        let unset = fields.and_then(|fields| images::unset_fault(fields, place, &image.outcome));
        let lacks = unset.is_some() && image.stored.is_some() && image.outcome == Outcome::Stored;
        let fault = match lacks {
            // First: what is not set reads as 0.
            true => unset,
            false => images::field_fault(image, row.document.places.len(), look.header).or(unset),
        };
        found.unset.extend(lacks.then_some(place));
        found.images.extend(fault.map(|fault| (place, fault)));
    }
    found.row = Some(row);
    found.look_at_pixels(pixels, look);
    found
}

impl FoundRow {
    fn look_at_pixels(&mut self, pixels: &PixelReader<'_>, look: &Look<'_>) {
        let Some(row) = &self.row else { return };
        let places = row.document.places.len();
        let read = pixels.read(self.number).and_then(|read| match read.len() {
            found if found == places => Ok(read),
            found => Err(format!("{found} places with pixels for {places} places")),
        });
        let read = match read {
            Ok(read) => read,
            Err(detail) if row.document.stored_images() > 0 => {
                for (place, image) in images_of(row) {
                    if image.stored.is_some() {
                        let fault = format!("its pixels cannot be read: {detail}");
                        self.images.entry(place).or_insert(fault);
                    }
                }
                return;
            }
            // What is written for a document without images is what was there: nothing.
            Err(detail) => {
                self.miscounted.get_or_insert(detail);
                return;
            }
        };
        for (place, part) in (0..).zip(&row.document.places) {
            let stored = match part {
                Place::Image(image) => image.stored.as_ref(),
                Place::Text(_) => None,
            };
            let fault = match (stored, read.get(place)) {
                (None, None) => None,
                (None, Some(_)) => {
                    let fault = format!("place {place} holds pixels and is no stored image");
                    self.miscounted.get_or_insert(fault);
                    None
                }
                (Some(_), None) => Some("it has no pixels".to_owned()),
                (Some(_), Some(bytes)) if bytes.is_empty() => Some("it has no pixels".to_owned()),
                (Some(stored), Some(bytes)) => {
                    self.decoded += u64::from(look.depth == Depth::Pixels);
                    look.pixel_fault(bytes, stored)
                }
            };
            if let Some(fault) = fault {
                self.images.entry(place).or_insert(fault);
            }
        }
        self.pixels = Some(read);
    }
}

impl Look<'_> {
    fn pixel_fault(
        &self,
        bytes: &[u8],
        stored: &lcl_schemas::document::StoredImage,
    ) -> Option<String> {
        if let Trust::Changed(_) = self.trust
            && !images::is_as_fetched(bytes, stored)
        {
            return Some("its bytes are not those that were fetched".into());
        }
        match self.depth {
            Depth::Rows => None,
            Depth::Pixels => images::decode(bytes, stored).err(),
        }
    }
}

/// A document's images and their places.
pub(super) fn images_of(row: &Row) -> impl Iterator<Item = (u32, &Image)> {
    (0..)
        .zip(&row.document.places)
        .filter_map(|(place, part)| match part {
            Place::Image(image) => Some((place, image)),
            Place::Text(_) => None,
        })
}

/// Without the row, which is named beside it.
fn detail(error: &RowError) -> String {
    match error {
        RowError::Broken { what, .. } => what.clone(),
        RowError::Layout { source, .. } => source.to_string(),
        RowError::Column(_) => error.to_string(),
    }
}

fn miscounted(batch: &RecordBatch, row: &Row) -> Option<String> {
    let counts = [
        ("n_tokens", row.layout.tokens().len()),
        ("n_images", row.document.stored_images()),
    ];
    counts.into_iter().find_map(|(name, expected)| {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<UInt32Type>()?;
        let found = column.is_valid(0).then(|| column.value(0));
        (found != u32::try_from(expected).ok())
            .then(|| format!("{name} is {found:?}, the row has {expected}"))
    })
}

/// Ids at places that cannot have them: a text's that are an image, an image's that are none, any of a missing image.
fn misplaced(row: &Row, header: &Header) -> Vec<(Option<u32>, String)> {
    let vocabulary = &header.vocabulary;
    let mut faults = Vec::new();
    let (spans, places) = (row.layout.spans().len(), row.document.places.len());
    if spans != places {
        faults.push((None, format!("{spans} spans for {places} places")));
    }
    for ((place, part), ids) in (0..).zip(&row.document.places).zip(row.layout.places()) {
        let is_image = ids == [vocabulary.boi, vocabulary.eoi];
        let wrong = match part {
            Place::Text(_) if is_image => "a text's ids are BOI EOI".to_owned(),
            Place::Image(image) if image.stored.is_some() && !is_image => {
                format!("a stored image's ids are {:?}", &ids[..ids.len().min(4)])
            }
            Place::Image(image) if image.stored.is_none() && !ids.is_empty() => {
                format!("an image that is not stored has {} ids", ids.len())
            }
            _ => continue,
        };
        faults.push((Some(place), wrong));
    }
    faults
}

/// Texts whose ids are not what the tokenizer makes of them.
fn retold(row: &Row, tokenizer: &Tokenizer) -> Vec<(Option<u32>, String)> {
    let mut faults = Vec::new();
    let mut first = true;
    for ((place, part), ids) in (0..).zip(&row.document.places).zip(row.layout.places()) {
        let Place::Text(text) = part else { continue };
        let first = std::mem::take(&mut first);
        let same = guarded(|| tokenizer.encode_place(text, first))
            .is_ok_and(|encoded| encoded.is_ok_and(|encoded| encoded == ids));
        if !same {
            faults.push((Some(place), "its ids are not those of its text".into()));
        }
    }
    faults
}

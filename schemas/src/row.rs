//! One Parquet row per document: [`Row`]s to Arrow and back.
//!
//! `texts` and `images` are parallel lists with exactly one of the two set at each place, the form OBELICS made common;
//! `image_bytes` is parallel to `images` and a column of its own, because readers prune columns, not leaves under a list:
//! a query about images then reads no pixels.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, LargeBinaryArray, LargeBinaryBuilder, ListArray,
    RecordBatch, StringArray, StringBuilder, StructArray, UInt32Array, UInt32Builder, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float32Type, Schema, SchemaRef, UInt32Type, UInt64Type,
};

use crate::document::{Document, Image, Place, StoredImage};
use crate::layout::{Layout, LayoutError};
use crate::vocabulary::Vocabulary;

/// A document and its ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Texts and images.
    pub document: Document,
    /// Ids; one span for each place.
    pub layout: Layout,
}

/// Why a record batch is not rows.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A column is missing or has another type.
    #[error("column `{0}` is missing or has another type than this format gives it")]
    Column(&'static str),
    /// A row contradicts itself.
    #[error("row {row} (`{id}`): {what}")]
    Broken {
        /// Index in the batch.
        row: usize,
        /// Its document's id.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// A row's ids are no layout.
    #[error("row {row} (`{id}`): {source}")]
    Layout {
        /// Index in the batch.
        row: usize,
        /// Its document's id.
        id: String,
        /// What is wrong.
        source: LayoutError,
    },
}

/// Name of the column that holds the encoded images.
pub const IMAGE_BYTES: &str = "image_bytes";

/// Path, as Parquet writes it, of the column that holds the encoded images.
pub const IMAGE_BYTES_PATH: &str = "image_bytes.list.item";

fn item(kind: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new("item", kind, nullable))
}

static IMAGE_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let optional = |name, kind| Field::new(name, kind, true);
    Fields::from(vec![
        optional("url", DataType::Utf8),
        optional("alt", DataType::Utf8),
        Field::new("outcome", DataType::Utf8, false),
        optional("sha256", DataType::Utf8),
        optional("phash", DataType::UInt64),
        optional("format", DataType::Utf8),
        optional("width", DataType::UInt32),
        optional("height", DataType::UInt32),
        optional("original_width", DataType::UInt32),
        optional("original_height", DataType::UInt32),
        optional("original_bytes", DataType::UInt32),
        optional("similarity", DataType::Float32),
        optional("sentence", DataType::UInt32),
    ])
});

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let list = |name, item| Field::new(name, DataType::List(item), false);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("url", DataType::Utf8, true),
        Field::new("language", DataType::Utf8, true),
        list("texts", item(DataType::Utf8, true)),
        list("images", item(DataType::Struct(IMAGE_FIELDS.clone()), true)),
        list("image_bytes", item(DataType::LargeBinary, true)),
        list("tokens", item(DataType::UInt32, false)),
        list("spans", item(DataType::UInt32, false)),
        Field::new("n_tokens", DataType::UInt32, false),
        Field::new("n_images", DataType::UInt32, false),
    ]))
});

/// The Arrow schema of a shard.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Rows to Arrow. A row whose image list is without pixels (see [`StoredImage::bytes`]) writes empty ones.
pub fn to_arrow(rows: &[Row]) -> RecordBatch {
    let places = OffsetBuffer::from_lengths(rows.iter().map(|row| row.document.places.len()));
    let all_places = || rows.iter().flat_map(|row| &row.document.places);
    let images: Vec<Option<&Image>> = all_places()
        .map(|place| match place {
            Place::Image(image) => Some(image),
            Place::Text(_) => None,
        })
        .collect();
    let texts: StringArray = all_places()
        .map(|place| match place {
            Place::Text(text) => Some(text.as_str()),
            Place::Image(_) => None,
        })
        .collect();
    let mut pixels = LargeBinaryBuilder::new();
    for image in &images {
        pixels.append_option(
            image
                .and_then(|image| image.stored.as_ref())
                .map(|stored| stored.bytes.as_slice()),
        );
    }
    let tokens =
        UInt32Array::from_iter_values(rows.iter().flat_map(|row| row.layout.tokens()).copied());
    let token_offsets =
        OffsetBuffer::from_lengths(rows.iter().map(|row| row.layout.tokens().len()));
    let spans =
        UInt32Array::from_iter_values(rows.iter().flat_map(|row| row.layout.spans()).copied());
    let span_offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.layout.spans().len()));

    let string = |of: fn(&Document) -> Option<&str>| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| of(&row.document))
                .collect::<StringArray>(),
        )
    };
    let count = |of: fn(&Row) -> usize| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(
            rows.iter().map(|row| of(row) as u32),
        ))
    };
    let list = |name, offsets: &OffsetBuffer<i32>, values: ArrayRef| -> ArrayRef {
        let DataType::List(item) = SCHEMA
            .field_with_name(name)
            .expect("a column of the schema")
            .data_type()
        else {
            unreachable!("`{name}` is a list in the schema")
        };
        Arc::new(ListArray::new(item.clone(), offsets.clone(), values, None))
    };
    let columns = vec![
        string(|document| Some(&document.id)),
        string(|document| Some(&document.source)),
        string(|document| document.url.as_deref()),
        string(|document| document.language.as_deref()),
        list("texts", &places, Arc::new(texts)),
        list("images", &places, Arc::new(image_structs(&images))),
        list("image_bytes", &places, Arc::new(pixels.finish())),
        list("tokens", &token_offsets, Arc::new(tokens)),
        list("spans", &span_offsets, Arc::new(spans)),
        count(|row| row.layout.tokens().len()),
        count(|row| row.document.stored_images()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns were made for this schema")
}

fn image_structs(images: &[Option<&Image>]) -> StructArray {
    fn text<'a>(images: &[Option<&'a Image>], of: fn(&'a Image) -> Option<&'a str>) -> ArrayRef {
        let mut builder = StringBuilder::new();
        for image in images {
            builder.append_option(image.and_then(of));
        }
        Arc::new(builder.finish())
    }
    fn stored<'a>(images: &[Option<&'a Image>], of: fn(&'a StoredImage) -> &'a str) -> ArrayRef {
        let mut builder = StringBuilder::new();
        for image in images {
            builder.append_option(image.and_then(|image| image.stored.as_ref()).map(of));
        }
        Arc::new(builder.finish())
    }
    let number = |of: fn(&StoredImage) -> u32| -> ArrayRef {
        let mut builder = UInt32Builder::new();
        for image in images {
            builder.append_option(image.and_then(|image| image.stored.as_ref()).map(of));
        }
        Arc::new(builder.finish())
    };
    // `outcome` is never null in an image; where there is no image the struct is null and the value unseen.
    let outcome = StringArray::from_iter_values(
        images
            .iter()
            .map(|image| image.map_or_else(String::new, |image| image.outcome.to_string())),
    );
    let phash: UInt64Array = images
        .iter()
        .map(|image| image.and_then(|image| Some(image.stored.as_ref()?.phash)))
        .collect();
    let similarity: Float32Array = images
        .iter()
        .map(|image| image.and_then(|image| image.similarity))
        .collect();
    let sentence: UInt32Array = images
        .iter()
        .map(|image| image.and_then(|image| image.sentence))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        text(images, |image| image.url.as_deref()),
        text(images, |image| image.alt.as_deref()),
        Arc::new(outcome),
        stored(images, |image| &image.sha256),
        Arc::new(phash),
        stored(images, |image| &image.format),
        number(|image| image.width),
        number(|image| image.height),
        number(|image| image.original_width),
        number(|image| image.original_height),
        number(|image| image.original_bytes),
        Arc::new(similarity),
        Arc::new(sentence),
    ];
    let present = NullBuffer::from_iter(images.iter().map(Option::is_some));
    StructArray::new(IMAGE_FIELDS.clone(), columns, Some(present))
}

/// Arrow to rows. The columns `image_bytes`, `n_tokens` and `n_images` may be absent: images are then without pixels.
///
/// # Errors
/// A missing column, or the first row that contradicts itself.
pub fn from_arrow(batch: &RecordBatch, vocabulary: &Vocabulary) -> Result<Vec<Row>, RowError> {
    let columns = Columns::of(batch)?;
    (0..batch.num_rows())
        .map(|row| columns.row(row, vocabulary))
        .collect()
}

/// A batch's columns, typed.
struct Columns<'a> {
    id: &'a StringArray,
    source: &'a StringArray,
    url: &'a StringArray,
    language: &'a StringArray,
    texts: &'a ListArray,
    images: &'a ListArray,
    image_bytes: Option<&'a ListArray>,
    tokens: &'a ListArray,
    spans: &'a ListArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, RowError> {
        let column = |name| batch.column_by_name(name).ok_or(RowError::Column(name));
        let string = |name| {
            column(name)?
                .as_string_opt::<i32>()
                .ok_or(RowError::Column(name))
        };
        let list = |name| {
            let expected = SCHEMA
                .field_with_name(name)
                .map_err(|_| RowError::Column(name))?
                .data_type();
            let list = column(name)?
                .as_list_opt::<i32>()
                .ok_or(RowError::Column(name))?;
            // Fields that a later version adds to images are passed over; those of this one are checked by name.
            let grown = matches!(
                (expected, list.value_type()),
                (DataType::List(item), DataType::Struct(_)) if item.data_type().is_nested()
            );
            match grown || list.data_type() == expected {
                true => Ok(list),
                false => Err(RowError::Column(name)),
            }
        };
        Ok(Self {
            id: string("id")?,
            source: string("source")?,
            url: string("url")?,
            language: string("language")?,
            texts: list("texts")?,
            images: list("images")?,
            image_bytes: batch
                .column_by_name("image_bytes")
                .map(|_| list("image_bytes"))
                .transpose()?,
            tokens: list("tokens")?,
            spans: list("spans")?,
        })
    }

    fn row(&self, row: usize, vocabulary: &Vocabulary) -> Result<Row, RowError> {
        let id = self.id.value(row).to_owned();
        let broken = |what: String| RowError::Broken {
            row,
            id: id.clone(),
            what,
        };
        let (texts, images) = (self.texts.value(row), self.images.value(row));
        let bytes = self.image_bytes.map(|column| column.value(row));
        let spans = self.spans.value(row);
        let lengths = [
            images.len(),
            spans.len(),
            bytes.as_ref().map_or(texts.len(), |bytes| bytes.len()),
        ];
        if lengths.iter().any(|&length| length != texts.len()) {
            return Err(broken(format!(
                "{} texts beside (images, spans, pixels) {lengths:?}",
                texts.len()
            )));
        }
        let fields = ImageColumns::of(images.as_struct())?;
        let texts = texts.as_string::<i32>();
        let bytes = bytes.as_ref().map(|bytes| bytes.as_binary::<i64>());
        let mut places = Vec::with_capacity(texts.len());
        for place in 0..texts.len() {
            places.push(match (texts.is_valid(place), images.is_valid(place)) {
                (true, false) => Place::Text(texts.value(place).to_owned()),
                (false, true) => Place::Image(fields.image(place, bytes)),
                _ => {
                    return Err(broken(format!(
                        "place {place} is not exactly one of text and image"
                    )));
                }
            });
        }
        let ids = |list: ArrayRef| list.as_primitive::<UInt32Type>().values().to_vec();
        let layout = Layout::try_new(vocabulary, ids(self.tokens.value(row)), ids(spans)).map_err(
            |source| RowError::Layout {
                row,
                id: id.clone(),
                source,
            },
        )?;
        let optional =
            |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_owned());
        let document = Document {
            source: self.source.value(row).to_owned(),
            url: optional(self.url),
            language: optional(self.language),
            places,
            id,
        };
        Ok(Row { document, layout })
    }
}

/// The fields of one row's images, typed.
struct ImageColumns<'a> {
    strings: [&'a StringArray; 5],
    numbers: [&'a UInt32Array; 6],
    phash: &'a UInt64Array,
    similarity: &'a Float32Array,
}

impl<'a> ImageColumns<'a> {
    fn of(images: &'a StructArray) -> Result<Self, RowError> {
        let string = |name| {
            images
                .column_by_name(name)
                .and_then(|c| c.as_string_opt::<i32>())
                .ok_or(RowError::Column(name))
        };
        let number = |name| {
            images
                .column_by_name(name)
                .and_then(|c| c.as_primitive_opt::<UInt32Type>())
                .ok_or(RowError::Column(name))
        };
        let phash = images
            .column_by_name("phash")
            .and_then(|c| c.as_primitive_opt::<UInt64Type>());
        let similarity = images
            .column_by_name("similarity")
            .and_then(|c| c.as_primitive_opt::<Float32Type>());
        Ok(Self {
            strings: [
                string("url")?,
                string("alt")?,
                string("outcome")?,
                string("sha256")?,
                string("format")?,
            ],
            numbers: [
                number("width")?,
                number("height")?,
                number("original_width")?,
                number("original_height")?,
                number("original_bytes")?,
                number("sentence")?,
            ],
            phash: phash.ok_or(RowError::Column("phash"))?,
            similarity: similarity.ok_or(RowError::Column("similarity"))?,
        })
    }

    fn image(&self, at: usize, bytes: Option<&LargeBinaryArray>) -> Image {
        let [url, alt, outcome, sha256, format] = self.strings;
        let [
            width,
            height,
            original_width,
            original_height,
            original_bytes,
            sentence,
        ] = self.numbers;
        let text = |column: &StringArray| column.is_valid(at).then(|| column.value(at).to_owned());
        let Ok(outcome) = outcome.value(at).parse();
        let stored = text(sha256).map(|sha256| StoredImage {
            sha256,
            phash: self.phash.value(at),
            format: format.value(at).to_owned(),
            width: width.value(at),
            height: height.value(at),
            original_width: original_width.value(at),
            original_height: original_height.value(at),
            original_bytes: original_bytes.value(at),
            bytes: bytes
                .map(|bytes| bytes.value(at).to_vec())
                .unwrap_or_default(),
        });
        Image {
            url: text(url),
            alt: text(alt),
            outcome,
            stored,
            similarity: self
                .similarity
                .is_valid(at)
                .then(|| self.similarity.value(at)),
            sentence: sentence.is_valid(at).then(|| sentence.value(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::PlaceTokens;
    use crate::outcome::Outcome;

    const V: Vocabulary = Vocabulary::CLIP;

    fn stored() -> impl Strategy<Value = StoredImage> {
        (
            any::<u64>(),
            1..9000u32,
            1..9000u32,
            prop::collection::vec(any::<u8>(), 1..40),
        )
            .prop_map(|(phash, width, height, bytes)| StoredImage {
                sha256: format!("{phash:064x}"),
                phash,
                format: "jpeg".into(),
                width,
                height,
                original_width: width * 2,
                original_height: height * 2,
                original_bytes: bytes.len() as u32,
                bytes,
            })
    }

    fn place() -> impl Strategy<Value = Place> {
        let optional = || prop::option::of(".{0,8}");
        let image = (
            optional(),
            optional(),
            prop::option::of(stored()),
            prop::option::of(0.0..1.0f32),
            prop::option::of(0..9u32),
        )
            .prop_map(|(url, alt, stored, similarity, sentence)| {
                let outcome = if stored.is_some() {
                    Outcome::Stored
                } else {
                    Outcome::Http(404)
                };
                Place::Image(Image {
                    url,
                    alt,
                    outcome,
                    stored,
                    similarity,
                    sentence,
                })
            });
        prop_oneof![".{0,12}".prop_map(Place::Text), image]
    }

    fn row() -> impl Strategy<Value = Row> {
        (
            ".{1,8}",
            prop::option::of(".{0,8}"),
            prop::collection::vec((place(), prop::collection::vec(0..V.bos, 0..6)), 0..8),
        )
            .prop_map(|(id, url, places)| {
                let layout = Layout::from_places(
                    &V,
                    places.iter().map(|(place, ids)| match place {
                        Place::Text(_) => PlaceTokens::Text(ids),
                        Place::Image(image) if image.stored.is_some() => PlaceTokens::Image,
                        Place::Image(_) => PlaceTokens::MissingImage,
                    }),
                );
                let places = places.into_iter().map(|(place, _)| place).collect();
                let document = Document {
                    id,
                    source: "mmc4".into(),
                    url,
                    language: None,
                    places,
                };
                Row {
                    document,
                    layout: layout.expect("ids below the special ones"),
                }
            })
    }

    proptest! {
        #[test]
        fn rows_read_back_from_arrow_as_they_were(rows in prop::collection::vec(row(), 0..6)) {
            let read = from_arrow(&to_arrow(&rows), &V).expect("just written");
            prop_assert_eq!(read, rows);
        }
    }

    fn with_column(batch: &RecordBatch, name: &str, field: Field, column: ArrayRef) -> RecordBatch {
        let mut columns = batch.columns().to_vec();
        let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
        match batch.schema().index_of(name) {
            Ok(at) => (columns[at], fields[at]) = (column, Arc::new(field)),
            Err(_) => {
                columns.push(column);
                fields.push(Arc::new(field));
            }
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("of one length")
    }

    #[test]
    fn columns_and_fields_that_a_later_version_adds_are_passed_over() {
        let row = Row {
            document: Document {
                id: "x".into(),
                source: "mmc4".into(),
                url: None,
                language: None,
                places: vec![Place::Image(Image {
                    url: None,
                    alt: None,
                    outcome: Outcome::Http(404),
                    stored: None,
                    similarity: None,
                    sentence: None,
                })],
            },
            layout: Layout::from_places(&V, [PlaceTokens::MissingImage]).expect("plain"),
        };
        let batch = to_arrow(std::slice::from_ref(&row));
        let one = Arc::new(UInt32Array::from(vec![1])) as ArrayRef;
        let licence = Field::new("licence", DataType::UInt32, true);
        let batch = with_column(&batch, "licence", licence.clone(), one.clone());
        let images = batch.column_by_name("images").expect("a column");
        let (_, offsets, images, _) = images.as_list::<i32>().clone().into_parts();
        let (fields, mut values, nulls) = images.as_struct().clone().into_parts();
        let mut fields: Vec<_> = fields.iter().cloned().collect();
        fields.push(Arc::new(licence));
        values.push(one);
        let images = StructArray::new(fields.into(), values, nulls);
        let images = ListArray::new(
            item(images.data_type().clone(), true),
            offsets,
            Arc::new(images),
            None,
        );
        let field = Field::new("images", images.data_type().clone(), false);
        let batch = with_column(&batch, "images", field, Arc::new(images));
        assert_eq!(from_arrow(&batch, &V).expect("rows"), [row]);
    }

    #[test]
    fn a_place_that_is_text_and_image_at_once_is_refused() {
        let text = |text: &str| Place::Text(text.into());
        let layout = Layout::from_places(&V, [PlaceTokens::Text(&[1])]).expect("plain");
        let document = Document {
            id: "x".into(),
            source: "mmc4".into(),
            url: None,
            language: None,
            places: vec![text("a")],
        };
        let batch = to_arrow(&[Row { document, layout }]);
        let mut columns = batch.columns().to_vec();
        let at = batch.schema().index_of("texts").expect("a column");
        let nothing = StringArray::from(vec![None::<&str>]);
        let offsets = OffsetBuffer::from_lengths([1]);
        columns[at] = Arc::new(ListArray::new(
            item(DataType::Utf8, true),
            offsets,
            Arc::new(nothing),
            None,
        ));
        let batch = RecordBatch::try_new(batch.schema(), columns).expect("same types");
        let error = from_arrow(&batch, &V)
            .expect_err("neither text nor image")
            .to_string();
        assert!(
            error.contains("row 0") && error.contains("place 0"),
            "{error}"
        );
    }
}

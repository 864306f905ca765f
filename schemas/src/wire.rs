//! A [`Batch`] as Arrow, one row a sequence: what goes over Flight, to us or to anybody who reads Arrow.
//!
//! | column | type | |
//! |---|---|---|
//! | `tokens`, `segments`, `positions` | FixedSizeList<UInt32, T> | |
//! | `images` | List<FixedSizeList<UInt8, S·S·3>> | each an `arrow.fixed_shape_tensor` of shape S, S, 3 |
//! | or | List<LargeBinary> | where they are not decoded |
//! | `first_slots` | List<UInt32> | index of each image's first slot in its own row |
//! | `has_context` | List<Boolean> | |
//!
//! The schema's metadata say `slots`. Pixels are not copied in either direction, encoded images
//! once, when they are sent.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, LargeBinaryArray, ListArray,
    RecordBatch, UInt8Array, UInt32Array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt8Type, UInt32Type};
use bytes::Bytes;

use crate::batch::{Batch, PictureForm, Pictures};

/// Metadata key of the schema: P.
const SLOTS: &str = "slots";
const EXTENSION_NAME: &str = "ARROW:extension:name";
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

/// Why a record batch is no [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of sequences: {0}")]
pub struct WireError(String);

/// What all batches of a stream share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// T.
    pub context: usize,
    /// S.
    pub edge: usize,
    /// P.
    pub slots: usize,
    /// How images come.
    pub form: PictureForm,
}

impl Batch {
    /// Its shape.
    pub fn shape(&self) -> BatchShape {
        BatchShape {
            context: self.context,
            edge: self.edge,
            slots: self.slots,
            form: self.pictures.form(),
        }
    }
}

impl BatchShape {
    /// The Arrow schema of its batches.
    pub fn schema(&self) -> SchemaRef {
        let row = DataType::FixedSizeList(item(DataType::UInt32), self.context as i32);
        let fields = vec![
            Field::new("tokens", row.clone(), false),
            Field::new("segments", row.clone(), false),
            Field::new("positions", row, false),
            Field::new("images", DataType::List(self.image()), false),
            Field::new("first_slots", DataType::List(item(DataType::UInt32)), false),
            Field::new(
                "has_context",
                DataType::List(item(DataType::Boolean)),
                false,
            ),
        ];
        let metadata = HashMap::from([(SLOTS.to_owned(), self.slots.to_string())]);
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    fn bytes(&self) -> usize {
        self.edge * self.edge * 3
    }

    fn image(&self) -> FieldRef {
        if self.form == PictureForm::Encoded {
            return item(DataType::LargeBinary);
        }
        let shape = format!(
            r#"{{"shape":[{0},{0},3],"dim_names":["height","width","channel"]}}"#,
            self.edge
        );
        let metadata = HashMap::from([
            (
                EXTENSION_NAME.to_owned(),
                "arrow.fixed_shape_tensor".to_owned(),
            ),
            (EXTENSION_METADATA.to_owned(), shape),
        ]);
        let storage = DataType::FixedSizeList(item(DataType::UInt8), self.bytes() as i32);
        Arc::new(Field::new("item", storage, false).with_metadata(metadata))
    }
}

fn item(kind: DataType) -> FieldRef {
    Arc::new(Field::new("item", kind, false))
}

/// A batch to Arrow.
pub fn to_arrow(batch: &Batch) -> RecordBatch {
    let shape = batch.shape();
    let ids = |values: &[u32]| -> ArrayRef {
        let values = Arc::new(UInt32Array::from(values.to_vec()));
        Arc::new(FixedSizeListArray::new(
            item(DataType::UInt32),
            shape.context as i32,
            values,
            None,
        ))
    };
    let row_of = |slot: &u32| *slot as usize / shape.context.max(1);
    let mut in_row = vec![0; batch.rows];
    for slot in &batch.first_slots {
        in_row[row_of(slot)] += 1;
    }
    let offsets = OffsetBuffer::<i32>::from_lengths(in_row);
    let list = |field: FieldRef, values: ArrayRef| -> ArrayRef {
        Arc::new(ListArray::new(field, offsets.clone(), values, None))
    };
    let images: ArrayRef = match &batch.pictures {
        Pictures::Pixels(pixels) => {
            let pixels = ScalarBuffer::from(Buffer::from(pixels.clone()));
            Arc::new(FixedSizeListArray::new(
                item(DataType::UInt8),
                shape.bytes() as i32,
                Arc::new(UInt8Array::new(pixels, None)),
                None,
            ))
        }
        Pictures::Encoded(encoded) => Arc::new(LargeBinaryArray::from_iter_values(encoded)),
    };
    let within = batch
        .first_slots
        .iter()
        .map(|slot| *slot % shape.context.max(1) as u32);
    let columns = vec![
        ids(&batch.tokens),
        ids(&batch.segments),
        ids(&batch.positions),
        list(shape.image(), images),
        list(
            item(DataType::UInt32),
            Arc::new(UInt32Array::from_iter_values(within)),
        ),
        list(
            item(DataType::Boolean),
            Arc::new(BooleanArray::from(batch.has_context.clone())),
        ),
    ];
    RecordBatch::try_new(shape.schema(), columns).expect("columns were made for this schema")
}

/// Arrow to a batch of this shape.
///
/// # Errors
/// Columns of other types, or lists that do not belong together.
pub fn from_arrow(record: &RecordBatch, shape: BatchShape) -> Result<Batch, WireError> {
    if record.schema().fields() != shape.schema().fields() {
        return Err(WireError(format!(
            "its columns are not those of {} ids a row and images of {2}×{2} pixels in {} slots, or images as {3:?}",
            shape.context, shape.slots, shape.edge, shape.form
        )));
    }
    let column = |at: usize| record.column(at);
    let ids = |at: usize| {
        let values = column(at).as_fixed_size_list().values();
        values.as_primitive::<UInt32Type>().values().to_vec()
    };
    let (images, slots, context) = (
        column(3).as_list::<i32>(),
        column(4).as_list::<i32>(),
        column(5).as_list::<i32>(),
    );
    if images.offsets() != slots.offsets() || images.offsets() != context.offsets() {
        return Err(WireError(
            "its lists of images have different lengths".into(),
        ));
    }
    let in_row = slots.values().as_primitive::<UInt32Type>().values();
    let mut first_slots = Vec::with_capacity(in_row.len());
    for (row, bounds) in slots.offsets().windows(2).enumerate() {
        for slot in &in_row[bounds[0] as usize..bounds[1] as usize] {
            if *slot as usize >= shape.context {
                return Err(WireError(format!(
                    "row {row} has an image at {slot}, beyond its ids"
                )));
            }
            first_slots.push(row as u32 * shape.context as u32 + slot);
        }
    }
    let pictures = match shape.form {
        PictureForm::Pixels => {
            let pixels = images.values().as_fixed_size_list().values();
            let pixels = pixels.as_primitive::<UInt8Type>().values().inner();
            Pictures::Pixels(shared(pixels.clone()))
        }
        PictureForm::Encoded => {
            let encoded = images.values().as_binary();
            Pictures::Encoded(
                (0..encoded.len())
                    .map(|at| encoded_at(encoded, at))
                    .collect(),
            )
        }
    };
    Ok(Batch {
        rows: record.num_rows(),
        context: shape.context,
        edge: shape.edge,
        slots: shape.slots,
        tokens: ids(0),
        segments: ids(1),
        positions: ids(2),
        pictures,
        first_slots,
        has_context: context.values().as_boolean().values().iter().collect(),
    })
}

/// One of many encoded images, without copying it.
fn encoded_at(images: &LargeBinaryArray, at: usize) -> Bytes {
    let bounds = &images.value_offsets()[at..at + 2];
    let (begin, end) = (bounds[0] as usize, bounds[1] as usize);
    shared(images.values().slice_with_length(begin, end - begin))
}

fn shared(buffer: Buffer) -> Bytes {
    Bytes::from_owner(Shared(buffer))
}

/// Keeps an Arrow buffer alive under [`Bytes`].
struct Shared(Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> impl Strategy<Value = Batch> {
        (1..5usize, 1..4usize, 0..4usize).prop_flat_map(|(rows, edge, most)| {
            let images = prop::collection::vec(0..=most, rows);
            let all = (Just(rows), Just(edge), images, any::<u32>(), any::<bool>());
            all.prop_map(|(rows, edge, images, seed, decoded)| {
                let context = 16;
                let number = |at: usize| seed.wrapping_mul(at as u32 + 1);
                let places = rows * context;
                let count: usize = images.iter().sum();
                let first_slots = images.iter().enumerate().flat_map(|(row, count)| {
                    (0..*count).map(move |image| (row * context + 2 + 3 * image) as u32)
                });
                Batch {
                    rows,
                    context,
                    edge,
                    slots: 1,
                    tokens: (0..places).map(number).collect(),
                    segments: (0..places).map(|at| number(at) % 3).collect(),
                    positions: (0..places).map(|at| number(at) % 16).collect(),
                    pictures: match decoded {
                        true => {
                            let levels = (0..count * edge * edge * 3).map(|at| number(at) as u8);
                            Pictures::Pixels(levels.collect())
                        }
                        false => {
                            let bytes =
                                |of: usize| (0..of * 7).map(|at| number(at) as u8).collect();
                            Pictures::Encoded((0..count).map(bytes).collect())
                        }
                    },
                    first_slots: first_slots.collect(),
                    has_context: (0..count).map(|at| number(at) % 2 == 0).collect(),
                }
            })
        })
    }

    proptest! {
        #[test]
        fn a_batch_reads_back_from_arrow_as_it_was(batch in batch()) {
            let record = to_arrow(&batch);
            prop_assert_eq!(from_arrow(&record, batch.shape()), Ok(batch));
        }
    }

    #[test]
    fn a_batch_of_another_shape_is_refused() {
        let shape = BatchShape {
            context: 8,
            edge: 2,
            slots: 1,
            form: PictureForm::Pixels,
        };
        let record = RecordBatch::new_empty(shape.schema());
        assert!(from_arrow(&record, BatchShape { edge: 3, ..shape }).is_err());
        let form = PictureForm::Encoded;
        assert!(from_arrow(&record, BatchShape { form, ..shape }).is_err());
        assert!(
            from_arrow(
                &record,
                BatchShape {
                    context: 9,
                    ..shape
                }
            )
            .is_err()
        );
    }
}

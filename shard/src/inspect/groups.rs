//! Row groups of a dataset, some columns of them: read over all cores, taken in their order.

use std::ops::Range;
use std::thread;

use arrow::array::{
    Array, AsArray, Float32Array, ListArray, RecordBatch, StringArray, StructArray, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{Float32Type, UInt32Type, UInt64Type};
use crossbeam::channel::{Receiver, bounded};

use crate::read::{ReadError, Reader};

/// Told after every row group: documents read so far, and of how many.
pub type Watch<'a> = &'a mut dyn FnMut(u64, u64);

/// Results of one worker that wait to be taken: with a row group in each worker's hands this bounds memory.
const AHEAD: usize = 2;

/// Makes something of each of `groups` on all cores and gives it to `take` in their order, so that what is made of them does
/// not depend on threads.
///
/// # Errors
/// The first row group that cannot be read, or that `make` refuses.
pub(crate) fn in_order<T: Send>(
    reader: &Reader,
    groups: &[u32],
    columns: &[&str],
    make: impl Fn(u32, &[RecordBatch]) -> Result<T, String> + Sync,
    mut take: impl FnMut(u32, T),
) -> Result<(), ReadError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.min(groups.len()).max(1);
    let make = &make;
    let made = move |group| {
        let batches = reader.read(group, columns)?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let expected = reader.groups()[group as usize].rows as usize;
        let made = match rows == expected {
            true => make(group, &batches),
            false => Err(format!("{rows} rows instead of {expected}")),
        };
        made.map_err(|detail| reader.shard_error(group, None, detail))
    };
    thread::scope(|scope| {
        let spawn = |worker| {
            let (give, taken) = bounded(AHEAD);
            scope.spawn(move || {
                for &group in groups.iter().skip(worker).step_by(workers) {
                    let made = made(group);
                    let failed = made.is_err();
                    // Nobody listens any more where another row group failed.
                    if give.send(made).is_err() || failed {
                        return;
                    }
                }
            });
            taken
        };
        let workers: Vec<Receiver<_>> = (0..workers).map(spawn).collect();
        for (&group, worker) in groups.iter().zip(workers.iter().cycle()) {
            // A worker that hung up has panicked, which leaving the scope passes on.
            let Ok(made) = worker.recv() else { break };
            take(group, made?);
        }
        Ok(())
    })
}

/// A column of texts.
pub(crate) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, String> {
    let column = batch.column_by_name(name);
    column
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| other_type(name))
}

/// A column of numbers.
pub(crate) fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a UInt32Array, String> {
    let column = batch.column_by_name(name);
    column
        .and_then(|column| column.as_primitive_opt::<UInt32Type>())
        .ok_or_else(|| other_type(name))
}

/// The value of a nullable column.
pub(crate) fn text_at(column: &StringArray, at: usize) -> Option<&str> {
    column.is_valid(at).then(|| column.value(at))
}

fn other_type(name: &str) -> String {
    format!("column `{name}` is missing or has another type")
}

/// A column of lists: all their items one after the other, and which are whose.
pub(crate) struct Lists<'a>(&'a ListArray);

impl<'a> Lists<'a> {
    pub(crate) fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, String> {
        let column = batch.column_by_name(name);
        let list = column.and_then(|column| column.as_list_opt::<i32>());
        list.map(Self).ok_or_else(|| other_type(name))
    }

    /// A row's items among all.
    pub(crate) fn row(&self, row: usize) -> Range<usize> {
        let offsets = self.0.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    pub(crate) fn texts(&self) -> Result<&'a StringArray, String> {
        let items = self.0.values().as_string_opt::<i32>();
        items.ok_or_else(|| "a list of texts has another type".to_owned())
    }

    pub(crate) fn numbers(&self) -> Result<&'a UInt32Array, String> {
        let items = self.0.values().as_primitive_opt::<UInt32Type>();
        items.ok_or_else(|| "a list of numbers has another type".to_owned())
    }

    pub(crate) fn images(&self) -> Result<Images<'a>, String> {
        let items = self.0.values().as_struct_opt();
        items.map(Images).ok_or_else(|| other_type("images"))
    }
}

/// What is known of all images of a batch, without pixels.
pub(crate) struct Images<'a>(&'a StructArray);

impl<'a> Images<'a> {
    /// Whether an image stands there, stored or not; else it is the place of a text.
    pub(crate) fn is_image(&self, at: usize) -> bool {
        self.0.is_valid(at)
    }

    pub(crate) fn texts(&self, field: &str) -> Result<&'a StringArray, String> {
        let column = self.0.column_by_name(field);
        column
            .and_then(|column| column.as_string_opt::<i32>())
            .ok_or_else(|| other_type(field))
    }

    pub(crate) fn numbers(&self, field: &str) -> Result<&'a UInt32Array, String> {
        let column = self.0.column_by_name(field);
        column
            .and_then(|column| column.as_primitive_opt::<UInt32Type>())
            .ok_or_else(|| other_type(field))
    }

    pub(crate) fn hashes(&self, field: &str) -> Result<&'a UInt64Array, String> {
        let column = self.0.column_by_name(field);
        column
            .and_then(|column| column.as_primitive_opt::<UInt64Type>())
            .ok_or_else(|| other_type(field))
    }

    pub(crate) fn fractions(&self, field: &str) -> Result<&'a Float32Array, String> {
        let column = self.0.column_by_name(field);
        column
            .and_then(|column| column.as_primitive_opt::<Float32Type>())
            .ok_or_else(|| other_type(field))
    }
}

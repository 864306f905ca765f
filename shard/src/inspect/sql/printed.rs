//! An answer as a table for people: what is binary as its size, long lists cut, nothing that a terminal would obey.

use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches;

use crate::inspect::visible::is_hidden;

/// Rows that a table shows: its columns are as wide as their widest value, so all of it is held.
const MAX_ROWS: usize = 10_000;
/// Characters of a list or structure that are shown: a document's ids are thousands.
const MAX_NESTED_CHARACTERS: usize = 120;

/// A table on its way.
pub(super) struct Printed {
    schema: SchemaRef,
    shown: Vec<RecordBatch>,
    rows: usize,
}

impl Printed {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            shown: Vec::new(),
            rows: 0,
        }
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let room = MAX_ROWS.saturating_sub(self.rows).min(batch.num_rows());
        self.rows += batch.num_rows();
        self.shown.push(printable(&batch.slice(0, room))?);
        Ok(())
    }

    /// Rows that are shown.
    pub(super) fn rows(&self) -> u64 {
        self.rows.min(MAX_ROWS) as u64
    }

    /// Whether more rows would not be shown.
    pub(super) fn is_full(&self) -> bool {
        self.rows > MAX_ROWS
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, ArrowError> {
        let full = self.is_full();
        // For the columns' names where there are no rows.
        self.shown
            .push(printable(&RecordBatch::new_empty(self.schema))?);
        let mut text = Vec::new();
        writeln!(text, "{}", pretty_format_batches(&self.shown)?)?;
        if full {
            writeln!(
                text,
                "(the first {MAX_ROWS} rows; --format json, csv, parquet or arrow writes all of them)"
            )?;
        }
        Ok(text)
    }
}

fn printable(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if batch.num_columns() == 0 {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns
        .map(|(field, column)| Ok((plain(field.name()), printable_column(column)?, true)))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_from_iter_with_nullable(columns)
}

fn printable_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts: StringArray = match column.data_type() {
        DataType::LargeBinary => column.as_binary::<i64>().iter().map(size).collect(),
        DataType::Binary => column.as_binary::<i32>().iter().map(size).collect(),
        DataType::List(item) if *item.data_type() == DataType::LargeBinary => list_sizes(column),
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().iter();
            texts.map(|text| text.map(plain)).collect()
        }
        DataType::LargeUtf8 => {
            let texts = column.as_string::<i64>().iter();
            texts.map(|text| text.map(plain)).collect()
        }
        DataType::Utf8View => {
            let texts = column.as_string_view().iter();
            texts.map(|text| text.map(plain)).collect()
        }
        kind if kind.is_nested() => cut(column)?,
        _ => return Ok(column.clone()),
    };
    Ok(Arc::new(texts))
}

/// Text of web pages, without what moves a terminal's cursor, changes its title or hides what is there.
fn plain(text: &str) -> String {
    text.replace(is_hidden, "\u{fffd}")
}

fn cut(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let cell = |row| {
        let text = plain(&formatter.value(row).try_to_string()?).replace(['\n', '\t'], " ");
        Ok(match text.char_indices().nth(MAX_NESTED_CHARACTERS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        })
    };
    let cells = (0..column.len()).map(|row| match column.is_null(row) {
        true => Ok(None),
        false => cell(row).map(Some),
    });
    cells.collect::<Result<_, ArrowError>>()
}

fn size(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| format!("{} bytes", bytes.len()))
}

fn list_sizes(column: &ArrayRef) -> StringArray {
    let rows = column.as_list::<i32>().iter().map(|row| {
        let row = row?;
        let sizes = row
            .as_binary::<i64>()
            .iter()
            .map(|bytes| size(bytes).unwrap_or_else(|| "null".to_owned()));
        Some(format!("[{}]", sizes.collect::<Vec<_>>().join(", ")))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::UInt32Array;
    use datafusion::arrow::array::builder::{ListBuilder, UInt32Builder};

    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>) -> String {
        let batch = RecordBatch::try_from_iter(columns).expect("equal lengths");
        let mut printed = Printed::new(batch.schema());
        printed.push(&batch).expect("printable");
        String::from_utf8(printed.finish().expect("printable")).expect("text")
    }

    #[test]
    fn a_text_cannot_command_the_terminal() {
        let hostile = StringArray::from(vec!["\u{1b}]0;owned\u{7} \u{202e}txt"]);
        let table = table(vec![("text", Arc::new(hostile))]);
        assert!(
            !table.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{table:?}"
        );
        assert!(table.contains("]0;owned"));
    }

    #[test]
    fn a_long_list_is_cut_and_rows_end_somewhere() {
        let mut lists = ListBuilder::new(UInt32Builder::new());
        lists.append_value((0..5000).map(Some));
        let text = table(vec![("ids", Arc::new(lists.finish()))]);
        assert!(text.contains("[0, 1, 2") && text.contains('…') && text.len() < 1000);
        let numbers = UInt32Array::from_iter_values(0..10_001);
        let text = table(vec![("n", Arc::new(numbers))]);
        assert!(text.contains("| 9999 |") && !text.contains("| 10000 |"));
        assert!(text.contains("the first 10000 rows"));
    }
}

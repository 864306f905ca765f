//! An answer, written in the form that was asked for, batch by batch: it may be larger than memory.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::{csv, ipc, json};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;

use super::SqlError;
use super::printed::Printed;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; binary values as their sizes, long lists cut, the first 10,000 rows.
    #[default]
    Table,
    /// One object a line; binary values in hex.
    Json,
    /// With a header; lists and structures in JSON, binary values in hex.
    Csv,
    /// A Parquet file (zstd).
    Parquet,
    /// An Arrow IPC file, also called Feather 2.
    Arrow,
}

impl Format {
    /// Whether it is nothing to look at.
    pub fn is_binary(self) -> bool {
        match self {
            Self::Parquet | Self::Arrow => true,
            Self::Table | Self::Json | Self::Csv => false,
        }
    }

    /// What a file of this name holds.
    pub fn of_file(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            "arrow" | "feather" | "ipc" => Some(Self::Arrow),
            "txt" => Some(Self::Table),
            _ => None,
        }
    }
}

/// Answers a query to `out`; the number of rows that were written comes back.
///
/// # Errors
/// See [`SqlError`].
pub async fn answer(
    context: &SessionContext,
    sql: &str,
    format: Format,
    out: &mut impl Write,
) -> Result<u64, SqlError> {
    write(super::query(context, sql).await?, format, out).await
}

/// Writes the rows of a query to `out`; their number comes back.
///
/// # Errors
/// See [`SqlError`].
pub(super) async fn write(
    frame: DataFrame,
    format: Format,
    out: &mut impl Write,
) -> Result<u64, SqlError> {
    let schema: SchemaRef = frame.schema().inner().clone();
    let mut batches = frame.execute_stream().await?;
    let mut writer = Writer::new(format, &schema)?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        out.write_all(&writer.write(&batch)?)?;
        if writer.is_full() {
            break;
        }
    }
    if let Writer::Table(printed) = &writer {
        rows = printed.rows();
    }
    out.write_all(&writer.finish()?)?;
    Ok(rows)
}

/// Row groups are written when they have come to this many bytes: rows with pixels are large.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Batches to bytes.
enum Writer {
    Table(Printed),
    Json,
    Csv { header: Option<SchemaRef> },
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Arrow(Box<ipc::writer::FileWriter<Vec<u8>>>),
}

impl Writer {
    fn new(format: Format, schema: &SchemaRef) -> Result<Self, SqlError> {
        Ok(match format {
            Format::Table => Self::Table(Printed::new(schema.clone())),
            Format::Json => Self::Json,
            Format::Csv => Self::Csv {
                header: Some(schema.clone()),
            },
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
                Self::Parquet(Box::new(writer?))
            }
            Format::Arrow => Self::Arrow(Box::new(ipc::writer::FileWriter::try_new(
                Vec::new(),
                schema,
            )?)),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, SqlError> {
        Ok(match self {
            Self::Table(printed) => {
                printed.push(batch)?;
                Vec::new()
            }
            Self::Json => json_text(batch)?,
            Self::Csv { header } => {
                let header = match header.take() {
                    Some(_) => Header::Written,
                    None => Header::LeftOut,
                };
                csv_text(batch, header)?
            }
            Self::Parquet(writer) => {
                writer.write(batch)?;
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush()?;
                }
                // What it has written is not looked at again.
                std::mem::take(writer.inner_mut())
            }
            Self::Arrow(writer) => {
                writer.write(batch)?;
                std::mem::take(writer.get_mut())
            }
        })
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Table(printed) if printed.is_full())
    }

    fn finish(self) -> Result<Vec<u8>, SqlError> {
        Ok(match self {
            Self::Table(printed) => printed.finish()?,
            Self::Csv {
                header: Some(schema),
            } => csv_text(&RecordBatch::new_empty(schema), Header::Written)?,
            Self::Json | Self::Csv { header: None } => Vec::new(),
            Self::Parquet(writer) => writer.into_inner()?,
            Self::Arrow(mut writer) => {
                writer.finish()?;
                std::mem::take(writer.get_mut())
            }
        })
    }
}

fn json_text(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// Whether the columns' names come first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Written,
    LeftOut,
}

fn csv_text(batch: &RecordBatch, header: Header) -> Result<Vec<u8>, ArrowError> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns
        .map(|(field, column)| {
            let text = match column.data_type().is_nested() {
                true => Arc::new(as_json(field, column)?) as ArrayRef,
                false => column.clone(),
            };
            Ok((field.name().clone(), text, true))
        })
        .collect::<Result<Vec<_>, ArrowError>>()?;
    let flat = RecordBatch::try_from_iter_with_nullable(columns)?;
    let mut text = Vec::new();
    csv::WriterBuilder::new()
        .with_header(header == Header::Written)
        .build(&mut text)
        .write(&flat)?;
    Ok(text)
}

/// Lists and structures as JSON: CSV has no form of its own for them.
fn as_json(field: &FieldRef, column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = json::writer::EncoderOptions::default();
    let mut encoder = json::writer::make_encoder(field, column, &options)?;
    Ok((0..column.len())
        .map(|row| {
            (!encoder.is_null(row)).then(|| {
                let mut text = Vec::new();
                encoder.encode(row, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        })
        .collect())
}

//! A dataset as SQL tables: `documents`, a row per document, and `images`, a row per image.
//!
//! Only shards that the manifest names are seen. A query reads the columns that it names; pixels are read only where
//! `image_bytes` (of `documents`) or `bytes` (of `images`) is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::{csv, json, util};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use lcl_schemas::row;
use url::Url;

use crate::config::Verify;
use crate::read::{ReadError, Reader};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The query is not one, or failed.
    #[error("{0}")]
    Query(#[from] DataFusionError),
    /// The answer cannot be written in this form.
    #[error("cannot write the answer: {0}")]
    Write(#[from] ArrowError),
    /// The answer cannot be written at all.
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
    /// A path that is no URL.
    #[error("{path} is not a path that can be read", path = .0.display())]
    Path(PathBuf),
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; binary values as their sizes.
    #[default]
    Table,
    /// One object a line; binary values in hex.
    Json,
    /// With a header; lists and structures in JSON, binary values in hex.
    Csv,
}

/// Rows that DataFusion hands on at a time: 8,192, its default, would be 0.8 GB of documents with pixels.
const BATCH_ROWS: usize = 512;

const IMAGES_VIEW: &str = "
    CREATE VIEW images AS
    SELECT id, source, page_url, place - 1 AS place,
        image['url'] AS url, image['alt'] AS alt, image['outcome'] AS outcome, image['sha256'] AS sha256,
        image['phash'] AS phash, image['format'] AS format, image['width'] AS width, image['height'] AS height,
        image['original_width'] AS original_width, image['original_height'] AS original_height,
        image['original_bytes'] AS original_bytes, image['similarity'] AS similarity, image['sentence'] AS sentence,
        bytes
    FROM (
        SELECT id, source, url AS page_url, place, images[place] AS image, image_bytes[place] AS bytes
        FROM (
            SELECT id, source, url, images, image_bytes,
                unnest(generate_series(1, CAST(cardinality(images) AS BIGINT))) AS place
            FROM documents
        )
    )
    WHERE image['outcome'] IS NOT NULL";

/// Opens a dataset's tables, at its newest manifest.
///
/// # Errors
/// [`SqlError::Read`] where there is no dataset.
pub async fn open(dataset: &Path) -> Result<SessionContext, SqlError> {
    let reader = Reader::open(dataset, "", Verify::Size)?;
    let mut shards: Vec<&str> = reader
        .groups()
        .iter()
        .map(|group| group.shard.as_str())
        .collect();
    shards.dedup();
    for shard in &shards {
        let path = dataset.join(shard);
        std::fs::metadata(&path).map_err(|source| ReadError::File { path, source })?;
    }
    let urls = shards
        .iter()
        .map(|shard| file_url(&dataset.join(shard)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(true);
    config.options_mut().execution.parquet.pushdown_filters = true;
    config
        .options_mut()
        .execution
        .parquet
        .schema_force_view_types = false;
    let context = SessionContext::new_with_config(config);
    if urls.is_empty() {
        context.register_batch("documents", RecordBatch::new_empty(row::schema()))?;
    } else {
        let options = ListingOptions::new(Arc::new(ParquetFormat::default()));
        let table = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options)
            .with_schema(row::schema());
        context.register_table("documents", Arc::new(ListingTable::try_new(table)?))?;
    }
    context.sql(IMAGES_VIEW).await?;
    Ok(context)
}

/// Plans one query.
///
/// # Errors
/// [`SqlError::Query`] with what the planner says.
pub async fn query(context: &SessionContext, sql: &str) -> Result<DataFrame, SqlError> {
    // Questions only: COPY, CREATE and DROP could write where the dataset lies.
    let questions = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    Ok(context.sql_with_options(sql, questions).await?)
}

/// An answer that broke off while shards were read, as the shard that is to blame where there is one: the reader of tables
/// does not say which file it was at. Hashes the dataset.
pub fn blame(dataset: &Path, error: SqlError) -> SqlError {
    let reading = match &error {
        SqlError::Query(error) => matches!(
            error.find_root(),
            DataFusionError::ParquetError(_)
                | DataFusionError::ArrowError(..)
                | DataFusionError::ObjectStore(_)
                | DataFusionError::External(_)
        ),
        _ => false,
    };
    let checked = || Reader::open(dataset, "", Verify::Sha256)?.verify_all();
    match reading.then(checked) {
        Some(Err(damaged)) => SqlError::Read(damaged),
        Some(Ok(())) | None => error,
    }
}

/// Answers a query to `out`.
///
/// # Errors
/// See [`SqlError`].
pub async fn answer(
    context: &SessionContext,
    sql: &str,
    format: Format,
    out: &mut impl std::io::Write,
) -> Result<(), SqlError> {
    let frame = query(context, sql).await?;
    let schema: SchemaRef = frame.schema().inner().clone();
    let empty = RecordBatch::new_empty(schema);
    if format == Format::Table {
        let shown = frame.collect().await?.into_iter().chain([empty]);
        let shown: Vec<_> = shown
            .map(|batch| printable(&batch))
            .collect::<Result<_, _>>()?;
        return Ok(writeln!(
            out,
            "{}",
            util::pretty::pretty_format_batches(&shown)?
        )?);
    }
    // Batch by batch: an answer may be larger than memory, and its reader may have seen enough.
    let mut batches = frame.execute_stream().await?;
    if format == Format::Csv {
        out.write_all(&csv_text(&empty, Header::Written)?)?;
    }
    while let Some(batch) = batches.next().await {
        let text = match format {
            Format::Csv => csv_text(&batch?, Header::LeftOut)?,
            _ => json_text(&batch?)?,
        };
        out.write_all(&text)?;
    }
    Ok(())
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

fn file_url(path: &Path) -> Result<ListingTableUrl, SqlError> {
    let absolute = std::path::absolute(path).map_err(|_| SqlError::Path(path.to_owned()))?;
    // A path would be read as a pattern: `a[1]` is a folder's name here.
    let url = Url::from_file_path(absolute).map_err(|()| SqlError::Path(path.to_owned()))?;
    Ok(ListingTableUrl::try_new(url, None)?)
}

/// Binary columns as their sizes: nobody reads pixels in hex.
fn printable(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let shown = match column.data_type() {
                DataType::LargeBinary => sizes(column),
                DataType::List(item) if *item.data_type() == DataType::LargeBinary => {
                    list_sizes(column)
                }
                _ => column.clone(),
            };
            (field.name().clone(), shown)
        });
    let columns: Vec<_> = columns.collect();
    if columns.is_empty() {
        return Ok(batch.clone());
    }
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
}

fn size(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| format!("{} bytes", bytes.len()))
}

fn sizes(column: &ArrayRef) -> ArrayRef {
    Arc::new(
        column
            .as_binary::<i64>()
            .iter()
            .map(size)
            .collect::<StringArray>(),
    )
}

fn list_sizes(column: &ArrayRef) -> ArrayRef {
    let rows = column.as_list::<i32>().iter().map(|row| {
        let row = row?;
        let sizes = row
            .as_binary::<i64>()
            .iter()
            .map(|bytes| size(bytes).unwrap_or_else(|| "null".to_owned()));
        Some(format!("[{}]", sizes.collect::<Vec<_>>().join(", ")))
    });
    Arc::new(rows.collect::<StringArray>())
}

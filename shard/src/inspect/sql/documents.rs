//! `documents`: the manifest's shards as one table, a row per document.
//!
//! The manifest says how many rows and bytes each shard has: planning asks nothing of the store, and `count(*)` is answered
//! without a look at any shard.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use lcl_schemas::dataset::ManifestRow;
use lcl_schemas::row;

use super::dataset::Source;

/// The shards of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    source: Source,
    shards: Arc<Vec<Shard>>,
    schema: SchemaRef,
}

#[derive(Clone, Debug)]
struct Shard {
    file: String,
    bytes: u64,
    rows: usize,
}

impl Documents {
    pub(super) fn new(source: Source, groups: &[ManifestRow]) -> Self {
        let shards = groups
            .chunk_by(|a, b| a.shard == b.shard)
            .map(|groups| Shard {
                file: groups[0].shard.clone(),
                bytes: groups[0].shard_bytes,
                rows: groups.iter().map(|group| group.rows as usize).sum(),
            })
            .collect();
        Self {
            source,
            shards: Arc::new(shards),
            schema: row::schema(),
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The same documents, whose images have only these fields: the others are then not read, though Parquet readers leave
    /// out columns and not parts of lists by themselves.
    pub(super) fn with_image_fields(&self, kept: impl Fn(&str) -> bool) -> Self {
        let narrowed = |field: &Arc<Field>| match (field.name().as_str(), field.data_type()) {
            ("images", DataType::List(item)) => {
                let DataType::Struct(fields) = item.data_type() else {
                    return field.clone();
                };
                let fields: Fields = fields
                    .iter()
                    .filter(|field| kept(field.name()))
                    .cloned()
                    .collect();
                let item = item
                    .as_ref()
                    .clone()
                    .with_data_type(DataType::Struct(fields));
                let list = DataType::List(Arc::new(item));
                Arc::new(field.as_ref().clone().with_data_type(list))
            }
            _ => field.clone(),
        };
        let fields: Fields = self.schema.fields().iter().map(narrowed).collect();
        Self {
            schema: Arc::new(Schema::new(fields)),
            ..self.clone()
        }
    }

    pub(super) async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&[usize]>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.shards.iter().map(|shard| {
            let mut file = PartitionedFile::new("", shard.bytes);
            file.object_meta.location = self.source.files.path(&shard.file);
            file.with_statistics(Arc::new(self.statistics(shard.rows)))
        });
        let rows = self.shards.iter().map(|shard| shard.rows).sum();
        parquet_scan(
            state,
            &self.source,
            (&self.schema).into(),
            files.collect(),
            Some(self.statistics(rows)),
            (projection, limit),
        )
        .await
    }

    /// So many rows, without nulls where there can be none.
    fn statistics(&self, rows: usize) -> Statistics {
        let column = |field: &Arc<Field>| ColumnStatistics {
            null_count: match field.is_nullable() {
                true => Precision::Absent,
                false => Precision::Exact(0),
            },
            ..ColumnStatistics::new_unknown()
        };
        Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Absent,
            column_statistics: self.schema.fields().iter().map(column).collect(),
        }
    }
}

/// A plan that reads Parquet files of a dataset.
pub(super) async fn parquet_scan(
    state: &dyn Session,
    source: &Source,
    schema: TableSchema,
    files: Vec<PartitionedFile>,
    statistics: Option<Statistics>,
    (projection, limit): (Option<&[usize]>, Option<usize>),
) -> Result<Arc<dyn ExecutionPlan>> {
    if files.is_empty() {
        let schema = schema.table_schema();
        let schema = match projection {
            Some(columns) => Arc::new(schema.project(columns)?),
            None => schema.clone(),
        };
        return Ok(Arc::new(EmptyExec::new(schema)));
    }
    let format = ParquetFormat::default().with_options(TableParquetOptions {
        global: state.config_options().execution.parquet.clone(),
        ..TableParquetOptions::default()
    });
    let groups = FileGroup::new(files).split_files(state.config().target_partitions());
    let mut scan = FileScanConfigBuilder::new(source.url.clone(), format.file_source(schema))
        .with_file_groups(groups)
        .with_projection_indices(projection.map(<[usize]>::to_vec))?
        .with_limit(limit);
    if let Some(statistics) = statistics {
        scan = scan.with_statistics(statistics);
    }
    format.create_physical_plan(state, scan.build()).await
}

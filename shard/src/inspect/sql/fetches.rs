//! `fetches`: a row per image asked for, from the request logs of all commits, superseded ones included: the log of a
//! `--retry` holds only what it asked for again. Logs that no commit stands for are litter and not seen.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::Session;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use lcl_schemas::dataset::{FETCH_DIR, fetch_schema};
use object_store::ObjectStore;

use super::commits::{list, newest, unit_of, unlisted};
use super::dataset::Source;
use super::documents::parquet_scan;

/// Request logs of a dataset.
#[derive(Debug)]
pub(super) struct Fetches {
    source: Source,
    schema: TableSchema,
}

impl Fetches {
    pub(super) fn new(source: Source) -> Self {
        let of_file = |name: &str, kind| Arc::new(Field::new(name, kind, false));
        let schema = TableSchema::builder(fetch_schema())
            .with_table_partition_cols(vec![
                of_file("unit", DataType::Utf8),
                of_file("generation", DataType::UInt32),
                of_file("live", DataType::Boolean),
            ])
            .build();
        Self { source, schema }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    pub(super) async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&[usize]>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let commits = list(&self.source, "fetches").await?;
        let live = newest(&commits);
        let known: HashSet<(&str, u32)> = commits
            .iter()
            .map(|commit| (commit.unit.as_str(), commit.generation))
            .collect();
        let folder = self.source.files.path(FETCH_DIR);
        let logs = self.source.files.list(Some(&folder));
        let logs: Vec<_> = logs
            .try_collect()
            .await
            .map_err(|error| unlisted(&self.source, "fetches", &error))?;
        let files = logs.into_iter().filter_map(|log| {
            let (unit, generation) = unit_of(log.location.filename()?, ".parquet")?;
            if !known.contains(&(unit.as_str(), generation)) {
                return None;
            }
            let live = live.get(unit.as_str()) == Some(&generation);
            let values = vec![
                ScalarValue::from(unit),
                ScalarValue::from(generation),
                ScalarValue::from(live),
            ];
            Some(PartitionedFile::new_from_meta(log).with_partition_values(values))
        });
        parquet_scan(
            state,
            &self.source,
            self.schema.clone(),
            files.collect(),
            None,
            (projection, limit),
        )
        .await
    }
}

//! `commits`: a row per commit, superseded ones included. Read when a query first names it.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder,
    StructBuilder, UInt32Array, UInt64Array, UInt64Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, stream};
use lcl_schemas::dataset::{COMMITS_DIR, Commit};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::OnceCell;

use super::SqlError;
use super::dataset::Source;
use super::given::Location;

/// Commits of a dataset.
#[derive(Debug)]
pub(super) struct Commits {
    source: Source,
    schema: SchemaRef,
    read: OnceCell<RecordBatch>,
}

/// Commits that are read at a time.
const AT_A_TIME: usize = 16;

impl Commits {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            schema: schema(),
            read: OnceCell::new(),
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(super) async fn scan(
        &self,
        projection: Option<&[usize]>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.read.get_or_try_init(|| self.read()).await?;
        let projection = projection.map(<[usize]>::to_vec);
        let rows = [vec![rows.clone()]];
        Ok(MemorySourceConfig::try_new_exec(
            &rows,
            self.schema.clone(),
            projection,
        )?)
    }

    async fn read(&self) -> Result<RecordBatch> {
        let named = list(&self.source, "commits").await?;
        let newest = newest(&named);
        let paths: Vec<Path> = named.iter().map(|named| named.path.clone()).collect();
        let read = stream::iter(paths).map(|path| commit(self.source.clone(), path));
        let commits: Vec<Commit> = read.buffered(AT_A_TIME).try_collect().await?;
        let live: Vec<bool> = commits
            .iter()
            .map(|commit| newest.get(commit.unit.name().as_str()) == Some(&commit.generation))
            .collect();
        Ok(RecordBatch::try_new(
            self.schema.clone(),
            columns(&commits, live),
        )?)
    }
}

async fn commit(source: Source, path: Path) -> Result<Commit> {
    let bytes = source.files.get(&path).await?.bytes().await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let file = path.filename().unwrap_or_default();
        DataFusionError::from(SqlError::Commit {
            file: format!("{}/{COMMITS_DIR}/{file}", source.location),
            detail: error.to_string(),
        })
    })
}

/// A commit, by the name of its file.
pub(super) struct Named {
    pub(super) unit: String,
    pub(super) generation: u32,
    path: Path,
}

/// The generation of each unit that counts.
pub(super) fn newest(commits: &[Named]) -> HashMap<&str, u32> {
    let mut newest = HashMap::new();
    for commit in commits {
        let known = newest.entry(commit.unit.as_str()).or_insert(0);
        *known = commit.generation.max(*known);
    }
    newest
}

/// All commits, by unit and generation. `table` is who asks.
pub(super) async fn list(source: &Source, table: &'static str) -> Result<Vec<Named>> {
    let folder = source.files.path(COMMITS_DIR);
    let listed = source.files.list(Some(&folder)).try_collect::<Vec<_>>();
    let listed = listed
        .await
        .map_err(|error| unlisted(source, table, &error))?;
    let mut named: Vec<Named> = listed
        .into_iter()
        .filter_map(|file| {
            let (unit, generation) = unit_of(file.location.filename()?, ".json")?;
            Some(Named {
                unit,
                generation,
                path: file.location,
            })
        })
        .collect();
    if named.is_empty() && matches!(source.location, Location::Url(_)) {
        // Every dataset has commits: some servers say so where they cannot list.
        return Err(unlisted(source, table, &"it lists no commits"));
    }
    named.sort_by(|a, b| (&a.unit, a.generation).cmp(&(&b.unit, b.generation)));
    Ok(named)
}

/// Unit and generation in the name of a file of a unit.
pub(super) fn unit_of(file: &str, ending: &str) -> Option<(String, u32)> {
    let (unit, generation) = file.strip_suffix(ending)?.rsplit_once('.')?;
    Some((unit.to_owned(), generation.parse().ok()?))
}

/// Units that wrote no shard are named by no file but their own: without a list the table would lack them silently.
pub(super) fn unlisted(
    source: &Source,
    table: &'static str,
    error: &dyn Display,
) -> DataFusionError {
    DataFusionError::from(SqlError::NoListing {
        table,
        location: source.location.to_string(),
        detail: error.to_string(),
    })
}

fn schema() -> SchemaRef {
    let field = |name, kind| Field::new(name, kind, false);
    let counts = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::UInt64, true),
    ]);
    let counts = Field::new("entries", DataType::Struct(counts), false);
    let counts = DataType::Map(Arc::new(counts), false);
    let fault = Field::new("item", DataType::Struct(fault_fields()), true);
    Arc::new(Schema::new(vec![
        field("unit", DataType::Utf8),
        field("generation", DataType::UInt32),
        field("live", DataType::Boolean),
        field("source", DataType::Utf8),
        field("input", DataType::Utf8),
        field("input_name", DataType::Utf8),
        field("first", DataType::UInt64),
        field("records", DataType::UInt64),
        field("last", DataType::Boolean),
        field("documents", DataType::UInt64),
        field("tokens", DataType::UInt64),
        field("images", DataType::UInt64),
        field("shards", DataType::UInt64),
        field("row_groups", DataType::UInt64),
        field("bytes", DataType::UInt64),
        field("record_outcomes", counts.clone()),
        field("image_outcomes", counts),
        field("images_not_written", DataType::UInt64),
        field("faults", DataType::List(Arc::new(fault))),
        field("rules", DataType::Utf8),
        field("input_sha256", DataType::Utf8),
        field("records_sha256", DataType::Utf8),
    ]))
}

fn fault_fields() -> Fields {
    Fields::from(vec![
        Field::new("record", DataType::UInt64, false),
        Field::new("outcome", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
    ])
}

fn columns(commits: &[Commit], live: Vec<bool>) -> Vec<ArrayRef> {
    let text = |of: &dyn Fn(&Commit) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(commits.iter().map(of)))
    };
    let number = |of: &dyn Fn(&Commit) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(commits.iter().map(of)))
    };
    let groups = |of: &'static dyn Fn(&lcl_schemas::dataset::RowGroupEntry) -> u64| {
        number(&move |commit| {
            let groups = commit.shards.iter().flat_map(|shard| &shard.row_groups);
            groups.map(of).fold(0, u64::saturating_add)
        })
    };
    let generations = commits.iter().map(|commit| commit.generation);
    let last: BooleanArray = commits.iter().map(|commit| Some(commit.last)).collect();
    vec![
        text(&|commit| commit.unit.name()),
        Arc::new(UInt32Array::from_iter_values(generations)),
        Arc::new(BooleanArray::from(live)),
        text(&|commit| commit.unit.source.clone()),
        text(&|commit| commit.unit.input.clone()),
        text(&|commit| commit.input_name.clone()),
        number(&|commit| commit.unit.first),
        number(&|commit| commit.records),
        Arc::new(last),
        groups(&|group| u64::from(group.rows)),
        groups(&|group| group.tokens),
        groups(&|group| group.images),
        number(&|commit| commit.shards.len() as u64),
        groups(&|_| 1),
        number(&|commit| {
            let bytes = commit.shards.iter().map(|shard| shard.bytes);
            bytes.fold(0, u64::saturating_add)
        }),
        counts(commits.iter().map(|commit| {
            let outcomes = commit.documents.iter();
            outcomes.map(|(outcome, count)| (outcome.name().to_owned(), *count))
        })),
        counts(commits.iter().map(|commit| {
            let outcomes = commit.images.iter();
            outcomes.map(|(outcome, count)| (outcome.to_string(), *count))
        })),
        number(&|commit| commit.images_not_written),
        faults(commits),
        text(&|commit| commit.rules.to_string()),
        text(&|commit| commit.input_sha256.clone()),
        text(&|commit| commit.records_sha256.clone()),
    ]
}

fn counts(rows: impl Iterator<Item = impl Iterator<Item = (String, u64)>>) -> ArrayRef {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), UInt64Builder::new());
    for row in rows {
        for (outcome, count) in row {
            maps.keys().append_value(outcome);
            maps.values().append_value(count);
        }
        maps.append(true).expect("as many keys as values");
    }
    Arc::new(maps.finish())
}

fn faults(commits: &[Commit]) -> ArrayRef {
    let mut lists = ListBuilder::new(StructBuilder::from_fields(fault_fields(), 0));
    for commit in commits {
        let faults = lists.values();
        for fault in &commit.faults {
            let texts = [fault.outcome.name(), &fault.detail];
            let record = faults.field_builder::<UInt64Builder>(0);
            record.expect("a number").append_value(fault.record);
            for (index, text) in texts.into_iter().enumerate() {
                let column = faults.field_builder::<StringBuilder>(1 + index);
                column.expect("a text").append_value(text);
            }
            faults.append(true);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

//! Datasets as SQL tables, on this machine or by URL, several at once.
//!
//! ```text
//! documents   a row per document                          count(*) from the manifest; else footers, then what is needed
//! images      a row per image of them                     the fields named, of the list; pixels only for `bytes`
//! row_groups  a row per row group: the manifest           in memory
//! commits     a row per commit, `live` or superseded      read when first asked for; needs a store that lists
//! fetches     a row per request, from all commits' logs   the same
//! ```
//! Only shards that the manifest names are seen. Nothing is written: DataFusion is given questions alone, and stores that
//! refuse writes.

mod answer;
mod commits;
mod dataset;
mod documents;
mod fetches;
mod functions;
mod given;
mod images;
mod printed;
mod store;
mod table;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::catalog::SchemaProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::parquet::errors::ParquetError;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use futures::FutureExt;

pub use answer::{Format, answer};
pub use functions::FUNCTIONS;
pub use given::{Given, GivenError, Location};
pub use store::{Meter, Read};

use crate::config::Verify;
use crate::read::{ReadError, Reader};
use dataset::Dataset;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A dataset that was given wrong.
    #[error(transparent)]
    Given(#[from] GivenError),
    /// The query is not one, or failed.
    #[error("{}", OneLine(.0))]
    Query(#[from] DataFusionError),
    /// More or fewer queries than one.
    #[error("one query was expected, not {0}")]
    Queries(usize),
    /// It asks for something else than an answer.
    #[error("datasets are only asked, not written to: {0}; to keep an answer, use --out FILE")]
    Refused(String),
    /// A table that is not there.
    #[error("there is no table `{name}`; there are {}", .known.join(", "))]
    NoTable {
        /// As in the query.
        name: String,
        /// What could be meant.
        known: Vec<String>,
    },
    /// A folder, server or object store that does not give what a dataset has.
    #[error("cannot read {location}: {detail}")]
    Store {
        /// Of the dataset.
        location: String,
        /// What was said.
        detail: String,
    },
    /// A server that cannot say which files it has.
    #[error(
        "`{table}` needs a list of the dataset's files, which {location} does not give ({detail}): copy the dataset here, or read it \
         from an object store or WebDAV; `documents`, `images` and `row_groups` need no list"
    )]
    NoListing {
        /// That was asked for.
        table: &'static str,
        /// Of the dataset.
        location: String,
        /// What was said.
        detail: String,
    },
    /// Not a commit.
    #[error("{file} is not a commit: {detail}")]
    Commit {
        /// Its file.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// The reader gave up on what it read.
    #[error("the query broke off, as said above: what it read is damaged")]
    BrokeOff,
    /// The answer cannot be written in this form.
    #[error("cannot write the answer: {0}")]
    Write(#[from] ArrowError),
    /// The answer cannot be written as Parquet.
    #[error("cannot write the answer: {0}")]
    Parquet(#[from] ParquetError),
    /// The answer cannot be written at all.
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}

/// What DataFusion says, in one line; what we told it, as we said it.
struct OneLine<'a>(&'a DataFusionError);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self.0.find_root() {
            DataFusionError::External(ours) => ours.to_string(),
            _ => self.0.strip_backtrace(),
        };
        let words: Vec<_> = said.split_whitespace().collect();
        f.write_str(&words.join(" "))
    }
}

/// Rows that DataFusion hands on at a time: 8,192, its default, would be 0.8 GB of documents with pixels.
const BATCH_ROWS: usize = 512;
/// What is read of a shard's end at once, in the hope that its footer is in it: 16 row groups have one of about 50 kB.
/// DataFusion's 512 kB are more than most queries read of a shard.
const FOOTER_BYTES: usize = 64 << 10;
/// The catalog and the schema in which names without one are looked up.
const CATALOG: &str = "datafusion";
const DEFAULT: &str = "public";

/// The tables of one or more datasets, open.
pub struct Tables {
    context: SessionContext,
    datasets: Vec<Dataset>,
    meter: Arc<Meter>,
}

impl Tables {
    /// Opens datasets at their newest manifests. The first one's tables need no name before them; the others must have one.
    ///
    /// # Errors
    /// [`SqlError::Read`] or [`SqlError::Store`] where there is no dataset, [`SqlError::Given`] for a name that is missing or
    /// there twice.
    pub async fn open(given: &[Given]) -> Result<Self, SqlError> {
        let meter = Arc::new(Meter::default());
        let mut datasets: Vec<Dataset> = Vec::new();
        for given in given {
            let name = match (&given.name, datasets.is_empty()) {
                (Some(name), _) => name,
                (None, true) => DEFAULT,
                (None, false) => return Err(GivenError::Unnamed(given.location.to_string()).into()),
            };
            if datasets.iter().any(|dataset| dataset.name == name) {
                return Err(GivenError::Name(name.to_owned()).into());
            }
            datasets.push(Dataset::open(&given.location, name, meter.clone()).await?);
        }
        let context = context()?;
        let catalog = context.catalog(CATALOG).expect("DataFusion makes it");
        for (index, dataset) in datasets.iter().enumerate() {
            let tables = dataset.tables(&context)?;
            catalog.register_schema(&dataset.name, tables.clone())?;
            if index == 0 {
                catalog.register_schema(DEFAULT, tables)?;
            }
        }
        functions::register(&context, &datasets);
        Ok(Self {
            context,
            datasets,
            meter,
        })
    }

    /// What queries are planned in.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// What was read since the datasets were opened, their opening included where they are remote.
    pub fn read(&self) -> Read {
        self.meter.read()
    }

    /// Answers one statement to `out`; the number of rows comes back.
    ///
    /// # Errors
    /// See [`SqlError`]; a damaged shard of a dataset on this machine is named, for which the dataset is hashed.
    pub async fn answer(
        &self,
        statement: Statement,
        format: Format,
        out: &mut impl std::io::Write,
    ) -> Result<u64, SqlError> {
        let answered = async {
            let frame = plan(&self.context, statement).await?;
            answer::write(frame, format, out).await
        };
        // The Parquet reader has panicked on damaged bytes.
        let answered = AssertUnwindSafe(answered).catch_unwind().await;
        let answered = answered.unwrap_or(Err(SqlError::BrokeOff));
        answered.map_err(|error| self.blame(error))
    }

    fn blame(&self, error: SqlError) -> SqlError {
        self.datasets
            .iter()
            .fold(error, |error, dataset| match &dataset.location {
                Location::Folder(folder) => blame(folder, error),
                Location::Url(_) => error,
            })
    }

    /// The tables by the names that queries use, each with its columns.
    pub async fn columns(&self) -> Vec<(String, Vec<String>)> {
        let mut tables = Vec::new();
        for name in known(&self.context) {
            let Ok(table) = self.context.table_provider(name.as_str()).await else {
                continue;
            };
            let schema = table.schema();
            let columns = schema.fields().iter().map(|field| field.name().clone());
            tables.push((name, columns.collect()));
        }
        tables
    }
}

/// What sorts and joins may hold, in bytes; what is more goes to temporary files, and what cannot is an error.
const MEMORY_BYTES: usize = 2 << 30;

fn context() -> Result<SessionContext, SqlError> {
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, DEFAULT);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.pushdown_filters = true;
    parquet.schema_force_view_types = false;
    parquet.metadata_size_hint = Some(FOOTER_BYTES);
    let memory = FairSpillPool::new(MEMORY_BYTES);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(memory));
    Ok(SessionContext::new_with_config_rt(
        config,
        runtime.build_arc()?,
    ))
}

/// Opens a dataset's tables, at its newest manifest.
///
/// # Errors
/// [`SqlError::Read`] where there is no dataset.
pub async fn open(dataset: &Path) -> Result<SessionContext, SqlError> {
    Ok(Tables::open(&[Given::folder(dataset)]).await?.context)
}

/// Text to statements, which are separated by `;`.
///
/// # Errors
/// [`SqlError::Query`] with the place of what is no SQL.
pub fn statements(sql: &str) -> Result<Vec<Statement>, SqlError> {
    Ok(DFParser::parse_sql(sql)?.into())
}

/// Plans one query.
///
/// # Errors
/// [`SqlError::Query`] with what the planner says, [`SqlError::NoTable`], [`SqlError::Refused`].
pub async fn query(context: &SessionContext, sql: &str) -> Result<DataFrame, SqlError> {
    let mut statements = statements(sql)?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => plan(context, statement).await,
        (last, others) => Err(SqlError::Queries(others + usize::from(last.is_some()))),
    }
}

async fn plan(context: &SessionContext, statement: Statement) -> Result<DataFrame, SqlError> {
    let state = context.state();
    let named = state.resolve_table_references(&statement)?;
    let planned = state.statement_to_plan(statement).await;
    let plan = planned.map_err(|error| {
        let missing = named.iter().find(|table| {
            let there = context.table_exist((*table).clone());
            !there.unwrap_or(false)
        });
        match missing {
            Some(table) => SqlError::NoTable {
                name: table.to_string(),
                known: known(context),
            },
            None => SqlError::Query(error),
        }
    })?;
    // Questions only: COPY, CREATE and DROP could write where the dataset lies.
    let questions = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    questions
        .verify_plan(&plan)
        .map_err(|error| SqlError::Refused(OneLine(&error).to_string()))?;
    Ok(context.execute_logical_plan(plan).await?)
}

/// All tables, as a query would name them.
fn known(context: &SessionContext) -> Vec<String> {
    let catalog = context.catalog(CATALOG).expect("DataFusion makes it");
    let tables = |schema: &str, tables: Arc<dyn SchemaProvider>| {
        let mut names = tables.table_names();
        names.sort();
        let named = names.into_iter().map(|table| match schema {
            DEFAULT => table,
            schema => format!("{schema}.{table}"),
        });
        named.collect::<Vec<_>>()
    };
    let mut schemas = catalog.schema_names();
    // Those without a name first.
    schemas.sort_by_key(|schema| (schema != DEFAULT, schema.clone()));
    let ours = schemas
        .iter()
        .filter_map(|schema| Some(tables(schema, catalog.schema(schema)?)));
    ours.flatten().collect()
}

/// An answer that broke off while shards were read, as the shard that is to blame where there is one: the reader of tables
/// does not say which file it was at. Hashes the dataset.
pub fn blame(dataset: &Path, error: SqlError) -> SqlError {
    let reading = match &error {
        SqlError::Query(error) => match error.find_root() {
            DataFusionError::External(cause) => !cause.is::<SqlError>(),
            cause => matches!(
                cause,
                DataFusionError::ParquetError(_)
                    | DataFusionError::ArrowError(..)
                    | DataFusionError::ObjectStore(_)
            ),
        },
        SqlError::BrokeOff => true,
        _ => false,
    };
    let checked = || Reader::open(dataset, "", Verify::Sha256)?.verify_all();
    match reading.then(checked) {
        Some(Err(damaged)) => SqlError::Read(damaged),
        Some(Ok(())) | None => error,
    }
}

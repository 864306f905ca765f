//! A finished dataset, changed instead of made again: images asked for once more, or taken out.
//!
//! ```text
//! live commits ─► those that change ─► rows ─► edit ─► the pipeline ─► a commit of the next generation
//! ```
//! A unit changes as a whole or not at all, and one that was changed is not changed again: after an interruption the same
//! command goes on.

mod edit;
mod list;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lcl_schemas::dataset::{Commit, Header};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::row::{self, Row, RowError};
use lcl_schemas::tokenizer::Tokenizer;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use serde::Serialize;

use crate::config::{Config, Rules};
use crate::dataset::Dataset;
use crate::draft::Draft;
use crate::fetch::log;
use crate::intake::{Closed, Intake};
use crate::source::holdings::Holdings;
use crate::unit::{Carried, End, UnitInfo, What};
use crate::{IngestError, Run};
use edit::Edited;
pub use edit::{Edit, Retry};
pub use list::{List, ListError};

/// Rows read at a time: a row group has at most 256.
const ROWS: usize = 256;

/// A row of the dataset cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum RedoError {
    /// Not the Parquet that was written.
    #[error("{file}: {source}")]
    Parquet {
        /// The shard.
        file: String,
        /// What is wrong.
        source: ParquetError,
    },
    /// Not the rows that were written.
    #[error("{file}: {source}")]
    Row {
        /// The shard.
        file: String,
        /// What is wrong.
        source: RowError,
    },
    /// A commit whose rules are none that we know.
    #[error("commit {commit}: its rules cannot be read: {detail}")]
    Rules {
        /// Its file.
        commit: String,
        /// What is wrong.
        detail: String,
    },
}

/// What changing a dataset came to: of the units that changed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Redone {
    /// Units that got a commit of the next generation.
    pub units: u64,
    /// Their images by outcome, before.
    pub before: BTreeMap<Outcome, u64>,
    /// Their images by outcome, after.
    pub after: BTreeMap<Outcome, u64>,
    /// Documents that are no longer there.
    pub documents_gone: u64,
    /// Shards that no commit names any more, deleted.
    pub files_deleted: u64,
    /// Hash of the manifest of the whole dataset.
    pub manifest: String,
}

/// Applies `edit` to the dataset at `config.out`.
///
/// # Errors
/// When it cannot be read or written; what was committed until then stays.
pub fn run(config: &Config, edit: &Edit) -> Result<Redone, IngestError> {
    if let Edit::Retry(_) = edit {
        config.validate_for_redo()?;
    }
    let (dataset, header) = Dataset::existing(&config.out)?;
    let tokenizer = Tokenizer::of_dataset(&config.out, &header)?;
    if let Edit::OptOut(list) = edit {
        // First: what is ingested from now on honours it too.
        list.remember(&dataset)?;
    }
    let mut redone = Redone::default();
    let mut changing = Vec::new();
    for commit in dataset.live_commits()? {
        dataset
            .check_shards(&commit)
            .map_err(crate::DatasetError::from)?;
        if edit.touches(&dataset, &header, &commit)? {
            changing.push(commit);
        }
    }
    for commits in
        changing.chunk_by(|a, b| (&a.rules, &a.unit.source) == (&b.rules, &b.unit.source))
    {
        let config = Config {
            rules: rules(&commits[0])?,
            image_size: header.image_size,
            ..config.clone()
        };
        let job = Job {
            dataset: &dataset,
            header: &header,
            edit,
            min_images: config.rules.min_images,
        };
        let run = Run::new(&config, &tokenizer, &dataset)?;
        let bytes = commits.iter().flat_map(|commit| &commit.shards);
        run.counts
            .total_bytes
            .store(bytes.map(|shard| shard.bytes).sum(), Ordering::Relaxed);
        let (fed, written) = run.pipeline().run(|mut intake| {
            commits
                .iter()
                .try_for_each(|commit| job.unit(commit, &mut intake, &run))
        })?;
        redone.add(commits, &written.commits);
        match fed {
            Ok(()) | Err(Stop::Closed) => {}
            Err(Stop::Error(error)) => return Err(error.into()),
        }
    }
    redone.manifest = dataset.write_manifest()?;
    if let Edit::OptOut(_) = edit {
        redone.files_deleted = delete_litter(&dataset)?;
    }
    Ok(redone)
}

fn rules(commit: &Commit) -> Result<Rules, RedoError> {
    serde_json::from_value(commit.rules.clone()).map_err(|error| RedoError::Rules {
        commit: commit.file_name(),
        detail: error.to_string(),
    })
}

/// Why feeding ended early.
enum Stop {
    Closed,
    Error(RedoError),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<RedoError> for Stop {
    fn from(error: RedoError) -> Self {
        Self::Error(error)
    }
}

/// What is done to each unit.
struct Job<'a> {
    dataset: &'a Dataset,
    header: &'a Header,
    edit: &'a Edit,
    min_images: usize,
}

impl Job<'_> {
    fn unit(&self, old: &Commit, intake: &mut Intake<'_>, run: &Run<'_>) -> Result<(), Stop> {
        let info = Arc::new(UnitInfo {
            unit: old.unit.clone(),
            input_name: old.input_name.clone(),
            input_sha256: old.input_sha256.clone(),
            generation: old.generation + 1,
            holdings: Arc::new(Holdings::nothing()),
            rules: old.rules.clone(),
        });
        let mut carried = Carried {
            documents: old.documents.clone(),
            images: old.images.clone(),
            faults: old.faults.clone(),
        };
        carried.documents.remove(&DocumentOutcome::Written);
        let mut at = old.unit.first;
        for shard in &old.shards {
            let path = self.dataset.path(&shard.file);
            for rows in read(&path, &shard.file, self.header, Columns::All)? {
                for row in rows? {
                    for image in row.document.images() {
                        take_one(&mut carried.images, &image.outcome);
                    }
                    let ticket = intake.ticket(&info, at, weight(&row))?;
                    at += 1;
                    match self.edit.apply(row) {
                        Edited::Row(draft) if draft.possible() >= self.min_images => {
                            intake.draft(draft, ticket);
                        }
                        Edited::Row(draft) => intake.settled(left_out(&draft), ticket),
                        Edited::Gone(what) => intake.settled(what, ticket),
                    }
                }
            }
            run.counts
                .read_bytes
                .fetch_add(shard.bytes, Ordering::Relaxed);
        }
        let end = End {
            records: old.records,
            sha256: old.records_sha256.clone(),
            last: old.last,
            carried,
        };
        intake.end(&info, end);
        Ok(())
    }
}

fn left_out(draft: &Draft) -> What {
    What::LeftOut {
        outcome: DocumentOutcome::TooFewImages,
        images: draft.left_out(),
    }
}

/// About what a row holds in memory.
fn weight(row: &Row) -> usize {
    let images = row.document.images();
    let bytes = images.filter_map(|image| image.stored.as_ref());
    8 * row.layout.tokens().len() + bytes.map(|stored| stored.bytes.len()).sum::<usize>()
}

fn take_one(counts: &mut BTreeMap<Outcome, u64>, outcome: &Outcome) {
    if let Some(count) = counts.get_mut(outcome) {
        *count -= 1;
        if *count == 0 {
            counts.remove(outcome);
        }
    }
}

/// Which columns of a shard are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    All,
    /// Everything but pixels.
    NoPixels,
}

/// The rows of a shard, at most [`ROWS`] at a time.
pub(crate) fn read<'a>(
    path: &Path,
    file: &'a str,
    header: &'a Header,
    columns: Columns,
) -> Result<impl Iterator<Item = Result<Vec<Row>, RedoError>> + use<'a>, RedoError> {
    let parquet = |source| RedoError::Parquet {
        file: file.to_owned(),
        source,
    };
    let opened = File::open(path).map_err(|error| parquet(ParquetError::External(error.into())))?;
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(parquet)?;
    if columns == Columns::NoPixels {
        let fields = builder.schema().fields().iter().enumerate();
        let roots = fields.filter(|(_, field)| field.name() != row::IMAGE_BYTES);
        let roots: Vec<_> = roots.map(|(index, _)| index).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let batches = builder.with_batch_size(ROWS).build().map_err(parquet)?;
    Ok(batches.map(move |batch| {
        let batch = batch.map_err(|error| parquet(ParquetError::from(error)))?;
        row::from_arrow(&batch, &header.vocabulary).map_err(|source| RedoError::Row {
            file: file.to_owned(),
            source,
        })
    }))
}

/// Deletes the shards that no live commit names, whoever left them: taken out means gone.
fn delete_litter(dataset: &Dataset) -> Result<u64, crate::DatasetError> {
    let live = dataset.live_commits()?;
    let named = live.iter().flat_map(|commit| &commit.shards);
    let named: HashSet<&str> = named.map(|shard| shard.file.as_str()).collect();
    let io = |path: PathBuf| move |source| crate::DatasetError::Io { path, source };
    let root = dataset.path("");
    let mut deleted = 0;
    for entry in fs::read_dir(&root).map_err(io(root.clone()))? {
        let path = entry.map_err(io(root.clone()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let shard = name.starts_with("part-") && name.ends_with(".parquet");
        if shard && !named.contains(&*name) {
            fs::remove_file(&path).map_err(io(path.clone()))?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

impl Redone {
    fn add(&mut self, old: &[Commit], new: &[Commit]) {
        let written = |commit: &Commit| commit.documents.get(&DocumentOutcome::Written).copied();
        let new_by_unit: BTreeMap<_, _> = new.iter().map(|commit| (&commit.unit, commit)).collect();
        for old in old {
            let Some(new) = new_by_unit.get(&old.unit) else {
                continue;
            };
            self.units += 1;
            let (was, is) = (written(old).unwrap_or(0), written(new).unwrap_or(0));
            self.documents_gone += was - is;
            for (sums, commit) in [(&mut self.before, old), (&mut self.after, *new)] {
                for (outcome, count) in &commit.images {
                    *sums.entry(outcome.clone()).or_default() += count;
                }
            }
        }
    }
}

/// A small table for people.
impl fmt::Display for Redone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10} {:<32} {:>10}", "units", "changed", self.units)?;
        let outcomes = self.before.keys().chain(self.after.keys());
        let outcomes: std::collections::BTreeSet<_> = outcomes.collect();
        for outcome in outcomes {
            let count = |counts: &BTreeMap<_, u64>| counts.get(outcome).copied().unwrap_or(0);
            let (before, after) = (count(&self.before), count(&self.after));
            let name = format!("{outcome} ({})", log::class(outcome));
            let change = after as i64 - before as i64;
            writeln!(f, "{:<10} {name:<32} {after:>10} {change:>+10}", "images")?;
        }
        let mut line = |kind: &str, name: &str, count| match count {
            0 => Ok(()),
            count => writeln!(f, "{kind:<10} {name:<32} {count:>10}"),
        };
        line("documents", "gone", self.documents_gone)?;
        line("files", "deleted", self.files_deleted)
    }
}

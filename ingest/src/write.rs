//! Items, back in order, to shards and commits.
//!
//! Rows stand in input order, in row groups of at most 256 rows and 32 MB, in shards of about 512 MB. A unit's commit is
//! the last thing written: what has none is litter.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use lcl_schemas::dataset::{Commit, FETCH_DIR, FORMAT, Fault};
use lcl_schemas::document::Place;
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::row::Row;
use lcl_schemas::write::shard_file::{GROUP_ROWS, ShardFile};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use crate::dataset::{Dataset, DatasetError, zstd};
use crate::fetch::log::{self, Request};
use crate::progress::Counts;
use crate::stages::{Stage, Stages};
use crate::unit::{Carried, End, Item, UnitInfo, What};

/// Most bytes in a row group that has more than one row.
const GROUP_BYTES: usize = 32 << 20;
/// A shard of at least this many bytes is closed.
const SHARD_BYTES: usize = 512 << 20;

/// Writes what comes to the dataset.
pub(crate) struct Writer<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) counts: &'a Counts,
    pub(crate) stages: &'a Stages,
}

impl Writer<'_> {
    /// Writes until nobody sends any more.
    pub(crate) fn run(&self, items: Receiver<Item>) -> Result<Written, DatasetError> {
        let mut written = Written::default();
        let mut unit: Option<UnitFiles<'_>> = None;
        // Bounded by the documents in flight: each holds its permit until it has been written.
        let mut early: BTreeMap<u64, Item> = BTreeMap::new();
        let mut next = 0;
        for item in items {
            early.insert(item.ticket.number, item);
            while let Some(item) = early.remove(&next) {
                next += 1;
                let unit = &mut unit;
                match self.stages.time(Stage::Write, || self.take(unit, item))? {
                    Taken::Inside => {}
                    Taken::Committed(commit) => written.commits.push(*commit),
                    Taken::Lost => written.units_lost += 1,
                }
            }
        }
        assert!(
            early.is_empty(),
            "an item was lost: number {next} never came"
        );
        Ok(written)
    }

    fn take<'a>(
        &'a self,
        unit: &mut Option<UnitFiles<'a>>,
        item: Item,
    ) -> Result<Taken, DatasetError> {
        let Item { ticket, what } = item;
        let files = unit.get_or_insert_with(|| UnitFiles::new(self, ticket.unit.clone()));
        debug_assert_eq!(files.info.unit, ticket.unit.unit, "units do not overlap");
        match what {
            What::Row { row, requests } => files.row(*row, requests)?,
            What::LeftOut { outcome, images } => files.left_out(outcome, &images),
            What::Fault { outcome, detail } => files.fault(Fault {
                record: ticket.record,
                outcome,
                detail,
            }),
            What::End(end) => {
                let files = unit.take().expect("inserted above");
                return files.commit(*end);
            }
        }
        Ok(Taken::Inside)
    }
}

/// What a run's writing came to.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) commits: Vec<Commit>,
    /// Units that another run committed first.
    pub(crate) units_lost: u64,
}

/// What an item did to its unit.
enum Taken {
    Inside,
    Committed(Box<Commit>),
    Lost,
}

/// The files of one unit, on their way.
struct UnitFiles<'a> {
    writer: &'a Writer<'a>,
    info: Arc<UnitInfo>,
    commit: Commit,
    shard: Option<ShardFile>,
    group: Vec<Row>,
    group_bytes: usize,
    requests: Vec<Request>,
}

impl<'a> UnitFiles<'a> {
    fn new(writer: &'a Writer<'a>, info: Arc<UnitInfo>) -> Self {
        let commit = Commit {
            format: FORMAT,
            unit: info.unit.clone(),
            input_name: info.input_name.clone(),
            input_sha256: info.input_sha256.clone(),
            records_sha256: String::new(),
            records: 0,
            last: false,
            generation: info.generation,
            rules: info.rules.clone(),
            shards: Vec::new(),
            documents: BTreeMap::new(),
            images: BTreeMap::new(),
            images_not_written: 0,
            faults: Vec::new(),
        };
        Self {
            writer,
            info,
            commit,
            shard: None,
            group: Vec::new(),
            group_bytes: 0,
            requests: Vec::new(),
        }
    }

    fn row(&mut self, row: Row, requests: Vec<Request>) -> Result<(), DatasetError> {
        self.document(DocumentOutcome::Written);
        for image in row.document.images() {
            self.image(&image.outcome);
            let fetched = image
                .stored
                .as_ref()
                .map_or(0, |stored| stored.original_bytes);
            self.writer.counts.add_bytes(u64::from(fetched));
        }
        for request in &requests {
            self.writer.counts.add_request(request);
        }
        self.requests.extend(requests);
        let bytes = weight(&row);
        if self.group.len() == GROUP_ROWS
            || (!self.group.is_empty() && self.group_bytes + bytes > GROUP_BYTES)
        {
            self.close_group()?;
        }
        self.group.push(row);
        self.group_bytes += bytes;
        Ok(())
    }

    fn left_out(&mut self, document: DocumentOutcome, images: &[Outcome]) {
        self.document(document);
        for outcome in images {
            self.image(outcome);
        }
        self.commit.images_not_written += images.len() as u64;
    }

    fn fault(&mut self, fault: Fault) {
        self.document(fault.outcome);
        if self.commit.faults.len() < Commit::MAX_FAULTS {
            self.commit.faults.push(fault);
        }
    }

    fn document(&mut self, outcome: DocumentOutcome) {
        *self.commit.documents.entry(outcome).or_default() += 1;
        self.writer.counts.add_document();
    }

    fn image(&mut self, outcome: &Outcome) {
        *self.commit.images.entry(outcome.clone()).or_default() += 1;
        self.writer.counts.add_image(outcome);
    }

    fn close_group(&mut self) -> Result<(), DatasetError> {
        let rows = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        let shard = match &mut self.shard {
            Some(shard) => shard,
            none => none.insert(ShardFile::new(&self.writer.dataset.path(""))?),
        };
        shard.write(&rows)?;
        if shard.bytes() >= SHARD_BYTES {
            self.close_shard()?;
        }
        Ok(())
    }

    fn close_shard(&mut self) -> Result<(), DatasetError> {
        if let Some(shard) = self.shard.take() {
            let entry = shard.finish(&self.info.unit.name(), self.commit.shards.len())?;
            self.commit.shards.push(entry);
        }
        Ok(())
    }

    /// Commits it, unless another run made this unit meanwhile: what that wrote is then the unit, ours is litter.
    fn commit(mut self, end: End) -> Result<Taken, DatasetError> {
        if !self.group.is_empty() {
            self.close_group()?;
        }
        self.close_shard()?;
        self.commit.records = end.records;
        self.commit.records_sha256 = end.sha256;
        self.commit.last = end.last;
        self.carry(end.carried);
        self.write_log()?;
        Ok(match self.writer.dataset.commit(&self.commit)? {
            true => Taken::Committed(Box::new(self.commit)),
            false => Taken::Lost,
        })
    }

    fn carry(&mut self, carried: Carried) {
        let commit = &mut self.commit;
        for (outcome, count) in carried.documents {
            *commit.documents.entry(outcome).or_default() += count;
        }
        for (outcome, count) in carried.images {
            *commit.images.entry(outcome).or_default() += count;
            commit.images_not_written += count;
        }
        commit.faults.extend(carried.faults);
    }

    fn write_log(&self) -> Result<(), DatasetError> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let name = format!(
            "{}.{}.parquet",
            self.info.unit.name(),
            self.commit.generation
        );
        let bytes = log_bytes(&self.requests).map_err(|source| DatasetError::Parquet {
            path: self.writer.dataset.path(FETCH_DIR).join(&name),
            source,
        })?;
        self.writer.dataset.replace(FETCH_DIR, &name, &bytes)
    }
}

fn log_bytes(requests: &[Request]) -> Result<Vec<u8>, ParquetError> {
    let batch = log::to_arrow(requests)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(zstd().build()))?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// About what a row takes in a file.
fn weight(row: &Row) -> usize {
    let place = |place: &Place| match place {
        Place::Text(text) => text.len(),
        Place::Image(image) => 200 + image.stored.as_ref().map_or(0, |stored| stored.bytes.len()),
    };
    4 * row.layout.tokens().len() + row.document.places.iter().map(place).sum::<usize>()
}

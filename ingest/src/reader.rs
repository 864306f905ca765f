//! Inputs to records, in order: the thread that reads, numbers what it reads and lets it into the pipeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lcl_schemas::dataset::Unit;

use crate::config::Config;
use crate::intake::Intake;
use crate::plan::{Done, Input, Selection};
use crate::progress::Counts;
use crate::report::FailedInput;
use crate::source;
use crate::source::records::{Records, RecordsError, RecordsHash};
use crate::stages::Stage;
use crate::unit::{Carried, End, UnitInfo};

/// Reads what is to be done and sends it on.
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a Config,
    pub(crate) counts: &'a Counts,
    pub(crate) intake: Intake<'a>,
}

/// What reading came to.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) units_skipped: u64,
    pub(crate) failed: Vec<FailedInput>,
}

/// Whether there is anybody left to read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flowing {
    On,
    Stopped,
}

impl Reader<'_> {
    /// Reads all inputs; one that cannot be read (on) is named, and the others go on.
    pub(crate) fn run(mut self, inputs: &[Input], selection: Selection) -> Reading {
        let mut reading = Reading::default();
        for input in inputs {
            if let (Some(units), Selection::All) = (input.whole(), selection) {
                reading.units_skipped += units;
                self.counts
                    .read_bytes
                    .fetch_add(input.bytes, Ordering::Relaxed);
                continue;
            }
            let (config, counts) = (self.config, self.counts);
            let read = source::read(config, &input.path, &counts.read_bytes, |records| {
                self.input(records, input, selection, &mut reading)
            });
            match read {
                Ok(Flowing::On) => {}
                Ok(Flowing::Stopped) => break,
                Err(error) => reading.failed.push(FailedInput {
                    input: input.name.clone(),
                    detail: error.to_string(),
                }),
            }
        }
        reading
    }

    fn input(
        &mut self,
        mut records: Records<'_>,
        input: &Input,
        selection: Selection,
        reading: &mut Reading,
    ) -> Result<Flowing, RecordsError> {
        let mut at = 0;
        if let Selection::Only(first) = selection {
            records.skip(first, |_| ())?;
            at = first;
            if first > 0 && !records.has_more() {
                return Ok(Flowing::On);
            }
        }
        loop {
            let done = input.done.get(&at).filter(|_| selection == Selection::All);
            if let Some(done) = done {
                pass_over(&mut records, at, done)?;
                if done.records == 0 {
                    return Ok(Flowing::On);
                }
                at += done.records;
                reading.units_skipped += 1;
            } else {
                let limit = self.config.unit_records.min(input.room(at));
                let info = Arc::new(self.info(input, at));
                match self.unit(&mut records, &info, limit)? {
                    Some(read) => at += read,
                    None => return Ok(Flowing::Stopped),
                }
            }
            if !records.has_more() || selection != Selection::All {
                return Ok(Flowing::On);
            }
        }
    }

    fn info(&self, input: &Input, first: u64) -> UnitInfo {
        UnitInfo {
            unit: Unit {
                source: self.config.source.name().into(),
                input: input.identity.clone(),
                first,
            },
            input_name: input.name.clone(),
            input_sha256: input.content.clone(),
            generation: input.lost.get(&first).map_or(0, |lost| lost + 1),
            holdings: input.holdings.clone(),
            rules: serde_json::to_value(self.config.resolved_rules()).expect("plain numbers"),
        }
    }

    /// Up to `limit` records; how many they were, or `None` when nobody takes them any more. Where the input breaks the
    /// unit ends: the records before the break are as good as any.
    fn unit(
        &mut self,
        records: &mut Records<'_>,
        info: &Arc<UnitInfo>,
        limit: u64,
    ) -> Result<Option<u64>, RecordsError> {
        let mut read = 0;
        let mut broken = None;
        let mut hash = RecordsHash::default();
        while read < limit {
            let begun = Instant::now();
            let record = records.next();
            self.intake
                .shared()
                .stages
                .add(Stage::Read, begun.elapsed());
            let record = match record {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) if read == 0 => return Err(error),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            };
            hash.add(&record);
            let at = info.unit.first + read;
            let Ok(ticket) =
                self.intake
                    .ticket(info, at, record.len(self.config.flow.max_record_bytes))
            else {
                return Ok(None);
            };
            self.intake.record(record, ticket);
            read += 1;
        }
        let end = End {
            records: read,
            sha256: hash.hex(),
            last: broken.is_none() && !records.has_more(),
            carried: Carried::default(),
        };
        self.intake.end(info, end);
        broken.map_or(Ok(Some(read)), Err)
    }
}

/// Passes over a committed unit's records: lines only, what was made of them is in the commit. In an input that has changed
/// since they have to be the same as then.
fn pass_over(records: &mut Records<'_>, first: u64, done: &Done) -> Result<(), RecordsError> {
    let changed = || RecordsError::Changed {
        first,
        last: first + done.records.saturating_sub(1),
    };
    let Some(expected) = &done.to_verify else {
        return records.skip(done.records, |_| ());
    };
    let mut hash = RecordsHash::default();
    match records.skip(done.records, |record| hash.add(record)) {
        Ok(()) if hash.hex() == *expected => Ok(()),
        Ok(()) | Err(RecordsError::Short { .. }) => Err(changed()),
        Err(error) => Err(error),
    }
}

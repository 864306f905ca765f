//! Inputs to drafts, in order: the thread that reads, numbers what it reads and lets it into the pipeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam::channel::Sender;
use lcl_schemas::dataset::Unit;
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use tokio::runtime::Handle;

use crate::config::Config;
use crate::filter::{self, Draft};
use crate::flow::{Shared, gather};
use crate::plan::{Done, Input, Selection};
use crate::progress::Counts;
use crate::report::FailedInput;
use crate::source::mmc4::{self, Unusable};
use crate::source::records::{self, Record, Records, RecordsError, RecordsHash};
use crate::stages::Stage;
use crate::unit::{Gate, Item, Ticket, UnitInfo, What};

/// Reads what is to be done and sends it on.
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a Config,
    pub(crate) gate: &'a Gate,
    pub(crate) counts: &'a Counts,
    pub(crate) runtime: Handle,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rows: Sender<Item>,
    pub(crate) next_number: u64,
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
            let limit = self.config.flow.max_record_bytes;
            let counts = self.counts;
            let read = records::read(&input.path, limit, &counts.read_bytes, |records| {
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
            self.shared.stages.add(Stage::Read, begun.elapsed());
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
            let bytes = record.bytes.as_ref().map_or(0, Vec::len);
            let Some(admission) = self.runtime.block_on(self.gate.admit(bytes)) else {
                return Ok(None);
            };
            let ticket = Ticket {
                _admission: Some(admission),
                ..self.ticket(info, info.unit.first + read)
            };
            self.record(record, ticket);
            read += 1;
        }
        let last = broken.is_none() && !records.has_more();
        self.send(
            info,
            info.unit.first + read,
            What::End {
                records: read,
                sha256: hash.hex(),
                last,
            },
        );
        broken.map_or(Ok(Some(read)), Err)
    }

    fn record(&mut self, record: Record, ticket: Ticket) {
        let begun = Instant::now();
        let drafted = self.draft(&record, &ticket);
        self.shared.stages.add(Stage::Read, begun.elapsed());
        let what = match drafted {
            Err(Unusable { outcome, detail }) => What::Fault {
                outcome,
                detail: format!("{} line {}: {detail}", ticket.unit.input_name, record.line),
            },
            Ok(draft) if draft.wanted() < self.config.rules.min_images => {
                let left_out = Outcome::DocumentLeftOut;
                let images = draft
                    .images()
                    .map(|image| image.dropped.clone().unwrap_or(left_out.clone()));
                What::LeftOut {
                    images: images.collect(),
                }
            }
            Ok(draft) => {
                self.runtime
                    .spawn(gather(self.shared.clone(), draft, ticket));
                return;
            }
        };
        // The writer hangs up only on its own error, which it reports.
        let _ = self.rows.send(Item { ticket, what });
    }

    fn draft(&self, record: &Record, ticket: &Ticket) -> Result<Draft, Unusable> {
        let line = record.bytes.as_deref().ok_or_else(|| Unusable {
            outcome: DocumentOutcome::TooLong,
            detail: format!("longer than {} bytes", self.config.flow.max_record_bytes),
        })?;
        let page = mmc4::parse(line, self.config.locate_by())?;
        let id = ticket.unit.document_id(ticket.record);
        Ok(filter::draft(page, id, &self.config.rules))
    }

    fn ticket(&mut self, unit: &Arc<UnitInfo>, record: u64) -> Ticket {
        let number = self.next_number;
        self.next_number += 1;
        Ticket {
            number,
            unit: unit.clone(),
            record,
            _admission: None,
        }
    }

    fn send(&mut self, info: &Arc<UnitInfo>, record: u64, what: What) {
        let ticket = self.ticket(info, record);
        // As above.
        let _ = self.rows.send(Item { ticket, what });
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

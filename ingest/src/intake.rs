//! The way into the pipeline: what is let in has leave to be in flight, and a number, by which the writer puts it back in
//! order.

use std::sync::Arc;

use crossbeam::channel::Sender;
use tokio::runtime::Handle;

use crate::draft::Draft;
use crate::flow::{Shared, gather};
use crate::source::captures::may_be_page;
use crate::source::records::{Raw, Record};
use crate::unit::{End, Gate, Item, Ticket, UnitInfo, What};

/// Lets documents in, one after the other.
pub(crate) struct Intake<'a> {
    gate: &'a Gate,
    runtime: Handle,
    shared: Arc<Shared>,
    rows: Sender<Item>,
    next_number: u64,
}

/// Nobody takes any more: the run is ending on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl<'a> Intake<'a> {
    pub(crate) fn new(
        gate: &'a Gate,
        runtime: Handle,
        shared: Arc<Shared>,
        rows: Sender<Item>,
    ) -> Self {
        Self {
            gate,
            runtime,
            shared,
            rows,
            next_number: 0,
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Waits until a document of `bytes` may be in flight.
    pub(crate) fn ticket(
        &mut self,
        unit: &Arc<UnitInfo>,
        record: u64,
        bytes: usize,
    ) -> Result<Ticket, Closed> {
        let admission = self.runtime.block_on(self.gate.admit(bytes));
        let admission = admission.ok_or(Closed)?;
        Ok(Ticket {
            _admission: Some(admission),
            ..self.number(unit, record)
        })
    }

    /// A record, to be read by whoever has time; one that is only listed is fetched first.
    pub(crate) fn record(&self, record: Record, ticket: Ticket) {
        let shared = self.shared.clone();
        match record.raw {
            Raw::Listed(entry) if may_be_page(&entry) => {
                self.runtime.spawn(async move {
                    let raw = shared.fetcher.listed(&entry).await;
                    let record = Record { raw, ..record };
                    shared.clone().draft(record, ticket);
                });
            }
            _ => shared.draft(record, ticket),
        }
    }

    /// A document that was read before.
    pub(crate) fn draft(&self, draft: Draft, ticket: Ticket) {
        self.runtime
            .spawn(gather(self.shared.clone(), draft, ticket));
    }

    /// A document that is not written after all.
    pub(crate) fn settled(&self, what: What, ticket: Ticket) {
        // The writer hangs up only on its own error, which it reports.
        let _ = self.rows.send(Item { ticket, what });
    }

    /// The unit's end.
    pub(crate) fn end(&mut self, unit: &Arc<UnitInfo>, end: End) {
        let ticket = self.number(unit, unit.unit.first + end.records);
        self.settled(What::End(Box::new(end)), ticket);
    }

    fn number(&mut self, unit: &Arc<UnitInfo>, record: u64) -> Ticket {
        let number = self.next_number;
        self.next_number += 1;
        Ticket {
            number,
            unit: unit.clone(),
            record,
            _admission: None,
        }
    }
}

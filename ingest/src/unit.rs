//! What passes between the threads: numbered, so that the writer can put it back in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use lcl_schemas::dataset::{Fault, Unit};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::row::Row;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Flow;
use crate::fetch::log::Request;
use crate::source::holdings::Holdings;

/// A unit, and what people call its input.
#[derive(Debug)]
pub(crate) struct UnitInfo {
    pub(crate) unit: Unit,
    pub(crate) input_name: String,
    pub(crate) input_sha256: String,
    /// Of its commit: 0, or one more than that of the commit that it supersedes.
    pub(crate) generation: u32,
    /// What lies with its input's pages.
    pub(crate) holdings: Arc<Holdings>,
    /// What decided, as its commit says it.
    pub(crate) rules: serde_json::Value,
}

impl UnitInfo {
    /// The id of its record `index`: the same on every run, whatever the file is called.
    pub(crate) fn document_id(&self, index: u64) -> String {
        let Unit { source, input, .. } = &self.unit;
        let digest = format!("{:x}", Sha256::digest(format!("{source}/{input}/{index}")));
        digest[..32].to_owned()
    }
}

/// One thing that became of a unit's records, on its way to the writer.
pub(crate) struct Item {
    pub(crate) ticket: Ticket,
    pub(crate) what: What,
}

/// An item's place in the order, and its leave to be in flight: given back when the writer is done with it.
pub(crate) struct Ticket {
    pub(crate) number: u64,
    pub(crate) unit: Arc<UnitInfo>,
    pub(crate) record: u64,
    pub(crate) _admission: Option<Admission>,
}

/// What it is.
pub(crate) enum What {
    /// A row to write.
    Row {
        row: Box<Row>,
        requests: Vec<Request>,
    },
    /// A document that is not written, and what becomes of its images.
    LeftOut {
        outcome: DocumentOutcome,
        images: Vec<Outcome>,
    },
    /// A record that could not be used.
    Fault {
        outcome: DocumentOutcome,
        detail: String,
    },
    /// The unit is whole.
    End(Box<End>),
}

/// What its commit says of a unit beside its rows.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) records: u64,
    pub(crate) sha256: String,
    pub(crate) last: bool,
    /// What the commit that it supersedes says of records that are no rows.
    pub(crate) carried: Carried,
}

/// Counts and faults of records that are not done again.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) documents: BTreeMap<DocumentOutcome, u64>,
    pub(crate) images: BTreeMap<Outcome, u64>,
    pub(crate) faults: Vec<Fault>,
}

/// A document's permits.
pub(crate) struct Admission {
    _document: OwnedSemaphorePermit,
    _kib: OwnedSemaphorePermit,
}

/// How many documents, and how many of their bytes, are between being read and being written.
pub(crate) struct Gate {
    documents: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    most_kib: u32,
}

impl Gate {
    pub(crate) fn new(flow: &Flow) -> Self {
        Self {
            documents: Arc::new(Semaphore::new(flow.documents)),
            kib: Arc::new(Semaphore::new(crate::fetch::kib(flow.record_bytes) as usize)),
            most_kib: crate::fetch::kib(flow.record_bytes),
        }
    }

    /// Waits for leave to read a record of `bytes` on; `None` once the gate is closed.
    pub(crate) async fn admit(&self, bytes: usize) -> Option<Admission> {
        let document = self.documents.clone().acquire_owned().await.ok()?;
        let kib = self
            .kib
            .clone()
            // One that is larger than all there is goes alone: waiting for more would be for ever.
            .acquire_many_owned(crate::fetch::kib(bytes as u64).min(self.most_kib))
            .await
            .ok()?;
        Some(Admission {
            _document: document,
            _kib: kib,
        })
    }

    /// Nobody is let in any more.
    pub(crate) fn close(&self) {
        self.documents.close();
        self.kib.close();
    }
}

//! What the network did: one row for each image asked for. The only place for what differs between runs.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt16Array,
    UInt64Array,
};
use arrow::error::ArrowError;
use lcl_schemas::dataset::fetch_schema;
use lcl_schemas::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// What a server calls the version of a file that it gave: another answer is asked for only if that has changed
/// (RFC 9110, 13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Validators {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_modified: Option<String>,
}

/// Longer ones cost more than they save, and servers refuse headers of 8 kB in all.
const MAX_VALIDATOR_BYTES: usize = 256;

impl Validators {
    /// What a server said, if it is short enough to be said back.
    pub(crate) fn of(etag: Option<&str>, last_modified: Option<&str>) -> Self {
        let short = |text: &str| (text.len() <= MAX_VALIDATOR_BYTES).then(|| text.to_owned());
        Self {
            etag: etag.and_then(short),
            last_modified: last_modified.and_then(short),
        }
    }

    /// Whether there is something to ask by.
    pub(crate) fn can_be_sent(&self) -> bool {
        let mut said = self.etag.iter().chain(&self.last_modified);
        !self.is_empty() && said.all(|text| text.len() <= MAX_VALIDATOR_BYTES)
    }

    /// Whether there is nothing to ask by.
    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// One image's requests, redirects and further tries included.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) final_url: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    pub(crate) detail: Option<String>,
    pub(crate) ms: u64,
    pub(crate) bytes: Option<u64>,
    pub(crate) validators: Validators,
    /// When it was first asked, in microseconds since 1970.
    pub(crate) time: i64,
}

impl Request {
    /// One that begins now.
    pub(super) fn begin(url: &str) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            url: url.to_owned(),
            final_url: None,
            outcome: Outcome::Stored,
            status: None,
            detail: None,
            ms: 0,
            bytes: None,
            validators: Validators::default(),
            time: time.map_or(0, |since| since.as_micros() as i64),
        }
    }
}

/// Requests to Arrow.
pub(crate) fn to_arrow(requests: &[Request]) -> Result<RecordBatch, ArrowError> {
    let text = |of: &dyn Fn(&Request) -> Option<String>| -> ArrayRef {
        Arc::new(requests.iter().map(of).collect::<StringArray>())
    };
    let count = |of: &dyn Fn(&Request) -> Option<u64>| -> ArrayRef {
        Arc::new(requests.iter().map(of).collect::<UInt64Array>())
    };
    let status: UInt16Array = requests.iter().map(|request| request.status).collect();
    let time = TimestampMicrosecondArray::from_iter_values(requests.iter().map(|r| r.time));
    let columns: Vec<ArrayRef> = vec![
        text(&|r| Some(r.url.clone())),
        text(&|r| r.final_url.clone()),
        text(&|r| Some(class(&r.outcome).to_owned())),
        text(&|r| Some(r.outcome.to_string())),
        Arc::new(status),
        text(&|r| r.detail.clone()),
        count(&|r| Some(r.ms)),
        count(&|r| r.bytes),
        text(&|r| r.validators.etag.clone()),
        text(&|r| r.validators.last_modified.clone()),
        Arc::new(time.with_timezone("UTC")),
    ];
    RecordBatch::try_new(fetch_schema(), columns)
}

/// What a log's rows say. Columns that it does not have, an older one's, say nothing.
pub(crate) fn from_arrow(batch: &RecordBatch) -> Vec<Request> {
    let text = |name| {
        let column = batch.column_by_name(name);
        let column = column.and_then(|column| column.as_string_opt::<i32>());
        move |row| {
            let there = column.filter(|column| column.is_valid(row));
            there.map(|column| column.value(row).to_owned())
        }
    };
    let (url, final_url, outcome) = (text("url"), text("final_url"), text("outcome"));
    let (etag, last_modified) = (text("etag"), text("last_modified"));
    let request = |row| {
        let Ok(outcome) = outcome(row)?.parse();
        Some(Request {
            final_url: final_url(row),
            outcome,
            validators: Validators {
                etag: etag(row),
                last_modified: last_modified(row),
            },
            ..Request::begin(&url(row)?)
        })
    };
    (0..batch.num_rows()).filter_map(request).collect()
}

/// The name of an outcome's class.
pub(crate) fn class(outcome: &Outcome) -> &'static str {
    outcome.class().name()
}

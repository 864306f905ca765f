//! What the network did: one row for each image asked for. The only place for what differs between runs.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt16Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use lcl_schemas::outcome::{Class, Outcome};

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
    pub(crate) etag: Option<String>,
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
            etag: None,
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
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns: [(&str, DataType, ArrayRef); 10] = [
        ("url", DataType::Utf8, text(&|r| Some(r.url.clone()))),
        ("final_url", DataType::Utf8, text(&|r| r.final_url.clone())),
        (
            "class",
            DataType::Utf8,
            text(&|r| Some(class(&r.outcome).to_owned())),
        ),
        (
            "outcome",
            DataType::Utf8,
            text(&|r| Some(r.outcome.to_string())),
        ),
        ("status", DataType::UInt16, Arc::new(status)),
        ("detail", DataType::Utf8, text(&|r| r.detail.clone())),
        ("ms", DataType::UInt64, count(&|r| Some(r.ms))),
        ("bytes", DataType::UInt64, count(&|r| r.bytes)),
        ("etag", DataType::Utf8, text(&|r| r.etag.clone())),
        ("time", utc, Arc::new(time.with_timezone("UTC"))),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns
        .into_iter()
        .map(|(name, kind, array)| (Field::new(name, kind, true), array))
        .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// The name of an outcome's class.
pub(crate) fn class(outcome: &Outcome) -> &'static str {
    class_name(outcome.class())
}

/// A class's name, as it stands in the log and in reports.
pub(crate) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Stored => "stored",
        Class::Fetch => "fetch",
        Class::Manners => "manners",
        Class::Safety => "safety",
        Class::Content => "content",
        Class::Rule => "rule",
        Class::Unknown => "unknown",
    }
}

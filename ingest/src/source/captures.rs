//! An archive to records, one for each of its own; what they hold, to pages.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use lcl_schemas::outcome::DocumentOutcome;
use url::Url;

use super::lines;
use super::records::{At, Raw, Record, Records, RecordsError};
use super::warc::cdx::{CdxEntry, CdxReader};
use super::warc::{self, Found, Kind, http};
use crate::draft::Unusable;

/// A page as it was captured.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) url: Url,
    pub(crate) date: Option<String>,
    pub(crate) content_type: Option<String>,
    /// Values of `X-Robots-Tag`.
    pub(crate) robots: Vec<String>,
    /// Value of `tdm-reservation`.
    pub(crate) tdm: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Opens `path` and gives its records to `with`.
pub(crate) fn read<T>(
    path: &Path,
    limits: warc::Limits,
    progress: &AtomicU64,
    with: impl FnOnce(Records<'_>) -> Result<T, RecordsError>,
) -> Result<T, RecordsError> {
    let mut archive = warc::open(path, limits, progress)?;
    with(Records::new(Box::new(move || {
        Ok(archive.next()?.map(|found| match found {
            Found::Record(record) => Record {
                // Of a record that stands within a member only the member's place is known.
                at: record.offset.map_or(At::Within, At::Byte),
                raw: Raw::Capture(record),
            },
            Found::Lost(lost) => Record {
                at: At::Byte(lost.offset),
                raw: Raw::Lost(lost.fault.to_string()),
            },
        }))
    })))
}

/// Opens an index of archives, and gives its lines to `with`.
pub(crate) fn read_index<T>(
    path: &Path,
    limit: usize,
    progress: &AtomicU64,
    with: impl FnOnce(Records<'_>) -> Result<T, RecordsError>,
) -> Result<T, RecordsError> {
    lines::read(path, limit, progress, |mut lines| {
        let mut index = CdxReader::default();
        with(Records::new(Box::new(move || {
            while let Some(record) = lines.next()? {
                let Raw::Bytes(line) = &record.raw else {
                    return Ok(Some(record));
                };
                let raw = match index.read(&String::from_utf8_lossy(line)) {
                    None => continue,
                    Some(Ok(entry)) => Raw::Listed(Box::new(entry)),
                    Some(Err(fault)) => Raw::Lost(fault.to_string()),
                };
                return Ok(Some(Record { raw, ..record }));
            }
            Ok(None)
        })))
    })
}

/// Whether an index says that a record may be a page; what it does not say it may be.
pub(crate) fn may_be_page(entry: &CdxEntry) -> bool {
    let named = [&entry.mime, &entry.mime_detected].into_iter().flatten();
    let mut named = named
        .filter(|kind| !kind.is_empty() && *kind != "-")
        .peekable();
    let fits = named.peek().is_none() || named.any(|kind| is_html(kind));
    fits && entry.status.is_none_or(|status| status == 200)
}

/// The page that a record holds.
pub(crate) fn page(record: warc::Record, max_bytes: usize) -> Result<Captured, Unusable> {
    let unusable = |outcome, detail: String| Unusable { outcome, detail };
    let none = |what: &str| unusable(DocumentOutcome::NotAPage, what.to_owned());
    if !matches!(record.kind, Kind::Response | Kind::Resource) {
        return Err(none("it is neither a response nor a resource"));
    }
    let too_long = || {
        let detail = format!("longer than {max_bytes} bytes");
        unusable(DocumentOutcome::TooLong, detail)
    };
    let target = record.target_uri.unwrap_or_default();
    let web = |url: &Url| matches!(url.scheme(), "http" | "https");
    let Some(url) = Url::parse(&target).ok().filter(web) else {
        return Err(none("its address is not one of the web"));
    };
    let block = record.block.ok_or_else(too_long)?;
    let charset = record.charset.as_deref();
    let described = |kind: Option<&str>| match (kind, charset) {
        (Some(kind), Some(charset)) if !kind.to_ascii_lowercase().contains("charset") => {
            Some(format!("{kind}; charset={charset}"))
        }
        (kind, _) => kind.map(str::to_owned),
    };
    if record.kind == Kind::Resource {
        let content_type = described(record.content_type.as_deref());
        return match is_page(content_type.as_deref(), &block) {
            true => Ok(Captured {
                url,
                date: record.date,
                content_type,
                robots: Vec::new(),
                tdm: None,
                body: block,
            }),
            false => Err(none("it is no HTML")),
        };
    }
    let (head, _) = http::split(&block)
        .map_err(|error| unusable(DocumentOutcome::Malformed, error.to_string()))?;
    // Before the body is decoded: most captures are no pages.
    let content_type = described(head.headers.get("content-type"));
    let named = content_type.as_deref().is_none_or(is_html);
    if head.status != 200 || !named {
        return Err(none("it is no HTML, or its status is not 200"));
    }
    let limits = http::BodyLimits {
        max_bytes,
        ..http::BodyLimits::default()
    };
    let response = http::response(&block, limits).map_err(|error| {
        let outcome = match error {
            http::HttpError::Status => DocumentOutcome::Malformed,
            http::HttpError::TooLong { .. } => DocumentOutcome::TooLong,
            http::HttpError::Expands { .. } => DocumentOutcome::TooComplex,
        };
        unusable(outcome, error.to_string())
    })?;
    if !is_page(content_type.as_deref(), &response.body) {
        return Err(none("it is no HTML"));
    }
    let robots = response.headers.all("x-robots-tag").map(str::to_owned);
    Ok(Captured {
        url,
        date: record.date,
        content_type,
        robots: robots.collect(),
        tdm: response.headers.get("tdm-reservation").map(str::to_owned),
        body: response.body,
    })
}

fn is_html(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|html| kind.eq_ignore_ascii_case(html))
}

/// By what it is called; where it is not called anything, by how it begins.
fn is_page(content_type: Option<&str>, body: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 4] = [b"<!doctype html", b"<html", b"<head", b"<body"];
    match content_type {
        Some(content_type) => is_html(content_type),
        None => {
            let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
            let text = text.trim_ascii_start();
            BEGINNINGS.iter().any(|beginning| {
                text.get(..beginning.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(beginning))
            })
        }
    }
}

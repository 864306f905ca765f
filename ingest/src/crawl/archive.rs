//! Pages as they came to WARC 1.1, a gzip member each: what any tool for web archives reads.

use std::io::Write as _;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::HeaderMap;
use sha2::{Digest, Sha256};
use url::Url;

/// Headers that are no longer true: the body is stored without codings and chunks.
const UNTRUE: [&str; 4] = [
    "connection",
    "content-encoding",
    "content-length",
    "transfer-encoding",
];

/// The record that an archive begins with.
pub(crate) fn head() -> Vec<u8> {
    let software = concat!(
        "software: lcl-ingest/",
        env!("CARGO_PKG_VERSION"),
        "\r\nformat: WARC File Format 1.1\r\n"
    );
    member(
        "warcinfo",
        None,
        "application/warc-fields",
        software.as_bytes(),
    )
}

/// A page.
pub(crate) fn response(url: &Url, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut block = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in headers {
        if !UNTRUE.contains(&name.as_str()) {
            block.extend(name.as_str().as_bytes());
            block.extend(b": ");
            block.extend(value.as_bytes());
            block.extend(b"\r\n");
        }
    }
    block.extend(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    block.extend(body);
    member(
        "response",
        Some(url),
        "application/http;msgtype=response",
        &block,
    )
}

fn member(kind: &str, url: Option<&Url>, content_type: &str, block: &[u8]) -> Vec<u8> {
    let date = date(SystemTime::now());
    let id = Sha256::new()
        .chain_update(date.as_bytes())
        .chain_update(url.map_or("", Url::as_str))
        .chain_update(block)
        .finalize();
    let id = format!("{id:x}");
    let (a, b, c, d, e) = (&id[..8], &id[8..12], &id[13..16], &id[17..20], &id[20..32]);
    let target = url.map_or_else(String::new, |url| format!("WARC-Target-URI: {url}\r\n"));
    let head = format!(
        "WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{a}-{b}-8{c}-8{d}-{e}>\r\nWARC-Date: {date}\r\n{target}\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        block.len()
    );
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let written = [head.as_bytes(), block, b"\r\n\r\n"]
        .iter()
        .try_for_each(|part| gzip.write_all(part));
    written
        .and_then(|()| gzip.finish())
        .expect("memory takes any bytes")
}

/// `2024-05-01T00:00:00Z`, by way of the form that HTTP has.
fn date(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // `Wed, 01 May 2024 00:00:00 GMT`
    let http = httpdate::fmt_http_date(time);
    let month = MONTHS.find(&http[8..11]).unwrap_or(0) / 3 + 1;
    format!(
        "{}-{month:02}-{}T{}Z",
        &http[12..16],
        &http[5..7],
        &http[17..25]
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::warc::{self, Found, Limits, http};

    #[test]
    fn what_is_written_is_read_back() {
        let url = Url::parse("http://a.example/b?c").expect("a URL");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/html".parse().expect("a value"));
        headers.insert("transfer-encoding", "chunked".parse().expect("a value"));
        let member = response(&url, &headers, b"<p>x");
        let found = warc::parse(&member, Limits::default()).expect("memory");
        let Some(Found::Record(record)) = found else {
            panic!("a record");
        };
        assert_eq!(
            (record.fault, record.target_uri.as_deref()),
            (None, Some(url.as_str()))
        );
        let block = record.block.expect("short");
        let read = http::response(&block, http::BodyLimits::default()).expect("HTTP");
        assert_eq!(
            (read.status, read.body, read.fault),
            (200, b"<p>x".to_vec(), None)
        );
    }

    #[test]
    fn dates_are_of_iso_8601() {
        let leap = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_210_096);
        assert_eq!(date(leap), "2024-02-29T12:34:56Z");
    }
}

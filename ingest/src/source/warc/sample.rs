//! Small archives for tests, and what is read of them.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::http::{BodyLimits, response};
use super::{Archive, Found, Limits};

/// A record with those fields and that block.
pub(super) fn warc(fields: &[(&str, &str)], block: &[u8]) -> Vec<u8> {
    let mut head = String::from("WARC/1.0\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", block, b"\r\n\r\n"].concat()
}

/// A response record.
pub(super) fn record(uri: &str, block: &[u8]) -> Vec<u8> {
    dated(uri, "2024-05-01T00:00:00Z", block)
}

pub(super) fn dated(uri: &str, date: &str, block: &[u8]) -> Vec<u8> {
    let length = block.len().to_string();
    let fields = [
        ("WARC-Type", "response"),
        ("WARC-Target-URI", uri),
        ("WARC-Date", date),
        ("Content-Length", &length),
    ];
    warc(&fields, block)
}

/// A response record with a page.
pub(super) fn page(uri: &str, text: &str) -> Vec<u8> {
    record(uri, format!("HTTP/1.1 200 OK\r\n\r\n{text}").as_bytes())
}

pub(super) fn arc(uri: &str, block: &[u8]) -> Vec<u8> {
    let length = block.len();
    let line = format!("{uri} 1.2.3.4 20140216050221 text/html {length}\n");
    [line.as_bytes(), block, b"\n"].concat()
}

pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// A frame with a check sum.
pub(super) fn zstd(plain: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::with_dictionary(Vec::new(), 3, dictionary).expect("a level");
    encoder.include_checksum(true).expect("a setting");
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

pub(super) fn read_all(file: &[u8], limits: Limits) -> Vec<Found> {
    let mut archive = Archive::new(Cursor::new(file), 0, limits).expect("memory");
    std::iter::from_fn(|| archive.next().expect("memory")).collect()
}

pub(super) fn found(file: &[u8]) -> Found {
    super::parse(file, Limits::default())
        .expect("memory")
        .expect("something")
}

/// Bodies of the responses.
pub(super) fn texts(all: &[Found]) -> Vec<String> {
    let texts = all.iter().filter_map(|found| match found {
        Found::Record(record) => {
            let response = response(record.block.as_deref()?, BodyLimits::default()).ok()?;
            Some(String::from_utf8_lossy(&response.body).into_owned())
        }
        Found::Lost(_) => None,
    });
    texts.collect()
}

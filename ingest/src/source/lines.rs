//! A file to its lines, in bounded memory: plain, gzip of any number of members, or a zip of exactly one file.
//!
//! Blank lines are no records but count as lines. A line beyond the limit is passed over without being held. Where the
//! file breaks, the records before the break are given first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use zip::ZipArchive;

use super::records::{At, Raw, Record, Records, RecordsError};

/// Bytes asked of the file at a time.
const BUFFER: usize = 256 << 10;
/// What some editors put before UTF-8; JSON does not have it (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The lines of an open input.
struct Lines<'a> {
    reader: &'a mut dyn BufRead,
    limit: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn records(reader: &'a mut dyn BufRead, limit: usize) -> Records<'a> {
        let mut lines = Self {
            reader,
            limit,
            line: 0,
        };
        Records::new(Box::new(move || lines.read()))
    }

    fn read(&mut self) -> Result<Option<Record>, RecordsError> {
        let mut blank = 0;
        loop {
            self.line += 1;
            let line = self.line;
            let at = At::Line(line);
            let failed = |source| RecordsError::Read {
                at: At::Line(line),
                source,
            };
            let mut bytes = Vec::new();
            // One more than allowed, and the line's end.
            let mut head = Read::take(&mut *self.reader, self.limit as u64 + 2);
            let read = head.read_until(b'\n', &mut bytes).map_err(failed)?;
            if read == 0 {
                return Ok(None);
            }
            if bytes.last() != Some(&b'\n') && bytes.len() > self.limit {
                self.reader.skip_until(b'\n').map_err(failed)?;
                return Ok(Some(Record {
                    at,
                    raw: Raw::TooLong,
                }));
            }
            if line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            blank += bytes.len();
            let text = bytes.trim_ascii_end().len();
            bytes.truncate(text);
            if !bytes.trim_ascii_start().is_empty() {
                let raw = match bytes.len() <= self.limit {
                    true => Raw::Bytes(bytes),
                    false => Raw::TooLong,
                };
                return Ok(Some(Record { at, raw }));
            }
            // A few kB of a zip can be gigabytes of these.
            if blank > self.limit {
                let limit = self.limit;
                return Err(RecordsError::Blank { at, limit });
            }
        }
    }
}

/// Opens `path` by its ending and gives its records to `with`; `progress` counts the file's bytes as they are read.
pub(crate) fn read<T>(
    path: &Path,
    limit: usize,
    progress: &AtomicU64,
    with: impl FnOnce(Records<'_>) -> Result<T, RecordsError>,
) -> Result<T, RecordsError> {
    let file = Counted {
        file: File::open(path).map_err(RecordsError::Open)?,
        progress,
    };
    let mut file = BufReader::with_capacity(BUFFER, file);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => {
            let mut lines = BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file));
            with(Lines::records(&mut lines, limit))
        }
        Some("zip") => {
            let mut archive = ZipArchive::new(file).map_err(RecordsError::Zip)?;
            if archive.len() != 1 {
                return Err(members(&archive));
            }
            let member = archive.by_index(0).map_err(RecordsError::Zip)?;
            let mut lines = BufReader::with_capacity(BUFFER, member);
            with(Lines::records(&mut lines, limit))
        }
        _ => with(Lines::records(&mut file, limit)),
    }
}

fn members<R: Read + Seek>(archive: &ZipArchive<R>) -> RecordsError {
    let names: Vec<_> = archive
        .file_names_raw()
        .take(4)
        .map(String::from_utf8_lossy)
        .collect();
    let more = if archive.len() > names.len() {
        ", …"
    } else {
        ""
    };
    RecordsError::Members {
        count: archive.len(),
        names: names.join(", ") + more,
    }
}

/// A file that tells how much of it was read.
struct Counted<'a> {
    file: File,
    progress: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::records::RecordsHash;

    fn records(text: &[u8], limit: usize) -> Vec<(u64, Option<String>)> {
        let mut reader = BufReader::with_capacity(3, text);
        let mut records = Lines::records(&mut reader, limit);
        let mut all = Vec::new();
        while let Some(record) = records.next().expect("memory can be read") {
            let At::Line(line) = record.at else {
                panic!("lines stand at lines");
            };
            let text = match record.raw {
                Raw::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                _ => None,
            };
            all.push((line, text));
        }
        assert!(!records.has_more());
        all
    }

    fn some(line: u64, text: &str) -> (u64, Option<String>) {
        (line, Some(text.into()))
    }

    #[test]
    fn blank_lines_are_no_records_but_count_as_lines() {
        let found = records(b"\na\r\n\n  \nb", 9);
        assert_eq!(found, [some(2, "a"), some(5, "b")]);
        assert!(records(b"\n\n", 9).is_empty());
        assert!(records(b"", 9).is_empty());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_record() {
        let found = records(b"\xEF\xBB\xBFa\n\xEF\xBB\xBFb", 9);
        assert_eq!(found, [some(1, "a"), some(2, "\u{FEFF}b")]);
    }

    #[test]
    fn passing_over_more_records_than_there_are_ends_with_an_error() {
        let mut reader = &b"a\nb\n"[..];
        let mut records = Lines::records(&mut reader, 9);
        let skipped = records.skip(u64::MAX, |_| ());
        assert!(matches!(skipped, Err(RecordsError::Short { .. })));
    }

    #[test]
    fn endless_blank_lines_end_with_an_error() {
        let mut reader = BufReader::new(std::io::repeat(b'\n'));
        let mut records = Lines::records(&mut reader, 9);
        assert!(matches!(records.next(), Err(RecordsError::Blank { .. })));
    }

    #[test]
    fn the_hash_of_records_knows_their_bounds_and_not_their_wrapping() {
        let hash = |text: &[u8], count| {
            let mut reader = text;
            let mut hash = RecordsHash::default();
            let skipped = Lines::records(&mut reader, 9).skip(count, |record| hash.add(record));
            skipped.expect("so many");
            hash.hex()
        };
        assert_eq!(hash(b"a\nb\n", 2), hash(b"\na\r\n\nb", 2));
        assert_ne!(hash(b"ab\n", 1), hash(b"a\nb\n", 2));
    }

    #[test]
    fn a_line_beyond_the_limit_is_passed_over_and_the_next_is_whole() {
        let found = records(b"1234\n12345\n123456789012\nabcd", 4);
        let long = |line| (line, None);
        assert_eq!(found, [some(1, "1234"), long(2), long(3), some(4, "abcd")]);
    }
}

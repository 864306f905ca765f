//! Bytes at which a record may begin to its head: that of a WARC record, or the line before an ARC one.

use memchr::{memchr_iter, memmem};

use super::arc;
use super::fields::Fields;

/// Of a head, in bytes; crawlers write some hundred.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// Bytes in which a beginning is told from other bytes: the longest ARC line that is recognised.
pub(super) const MAX_BEGINNING: usize = 4 << 10;
const MAGIC: &[u8] = b"WARC/";

/// What records of an archive look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Warc,
    Arc,
    /// Before the first record.
    Either,
}

/// The head of a record.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) dialect: Dialect,
    pub(super) fields: Fields,
    /// Of the block; `None`: missing, or not a number.
    pub(super) content_length: Option<u64>,
    /// Bytes of the head with the blank line after it.
    pub(super) len: usize,
}

impl Dialect {
    /// Whether `bytes` begin as a record does.
    pub(super) fn begins(self, bytes: &[u8]) -> bool {
        let warc = self != Self::Arc && is_warc(bytes);
        warc || (self != Self::Warc && arc::line(bytes).is_some())
    }
}

/// `WARC/1.0` and the end of its line.
fn is_warc(bytes: &[u8]) -> bool {
    let Some(version) = bytes.strip_prefix(MAGIC) else {
        return false;
    };
    let number = count(version, b"0123456789.");
    let blanks = count(&version[number..], b" ");
    number > 0 && matches!(version.get(number + blanks), Some(b'\r' | b'\n'))
}

/// Bytes of those in `of` that `bytes` begin with.
fn count(bytes: &[u8], of: &[u8]) -> usize {
    bytes.iter().take_while(|byte| of.contains(byte)).count()
}

/// Where in `bytes`, which a line begins with, the first line begins that begins a record.
pub(super) fn find(bytes: &[u8], dialect: Dialect) -> Option<usize> {
    match dialect.begins(bytes) {
        true => Some(0),
        false => find_after(bytes, dialect),
    }
}

/// The same from the second line on.
pub(super) fn find_after(bytes: &[u8], dialect: Dialect) -> Option<usize> {
    if dialect == Dialect::Warc {
        return memmem::find_iter(bytes, MAGIC)
            .find(|at| *at > 0 && bytes[at - 1] == b'\n' && is_warc(&bytes[*at..]));
    }
    memchr_iter(b'\n', bytes)
        .map(|end| end + 1)
        .find(|at| dialect.begins(&bytes[*at..]))
}

/// Reads a head that begins with `bytes`; `None`: it has no end within them.
pub(super) fn read(bytes: &[u8]) -> Option<Head> {
    match is_warc(bytes) {
        true => warc(&bytes[..bytes.len().min(MAX_HEAD)]),
        false => arc::line(bytes),
    }
}

fn warc(bytes: &[u8]) -> Option<Head> {
    let len = end(bytes)?;
    let fields = Fields::parse(lines(&bytes[..len]).skip(1));
    let content_length = fields
        .get("Content-Length")
        .and_then(|len| len.parse().ok());
    Some(Head {
        dialect: Dialect::Warc,
        fields,
        content_length,
        len,
    })
}

/// Where the blank line that ends a head ends; some writers end lines with two carriage returns.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', bytes).find_map(|at| {
        let returns = count(&bytes[at + 1..], b"\r");
        let end = at + 1 + returns;
        (bytes.get(end) == Some(&b'\n')).then_some(end + 1)
    })
}

/// Lines without their ends.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.map(<[u8]>::trim_ascii_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_alone_in_its_line_begins_a_record() {
        let begins = |bytes: &[u8]| Dialect::Warc.begins(bytes);
        assert!(begins(b"WARC/1.0\r\n"));
        assert!(begins(b"WARC/1.1\n"));
        assert!(begins(b"WARC/0.18 \r\n"));
        assert!(!begins(b"WARC/1.0 is a format\n"));
        assert!(!begins(b"WARC/\r\n"));
        assert!(!begins(b"WARC/1.0"));
    }

    #[test]
    fn a_record_begins_at_the_beginning_of_a_line_only() {
        assert_eq!(find(b"xWARC/1.0\n", Dialect::Warc), None);
        assert_eq!(find(b"x\nWARC/1.0\n", Dialect::Warc), Some(2));
        let arc = b"x\nhttp://a/ 1.2.3.4 20140216050221 text/html 5\n";
        assert_eq!(find(arc, Dialect::Arc), Some(2));
        assert_eq!(find(arc, Dialect::Warc), None);
    }

    #[test]
    fn bad_lines_of_a_head_are_passed_over_and_folded_ones_go_on() {
        let head =
            read(b"WARC/1.0\nA: b\n\tc\nnonsense\r\ncontent-length:7\r\n\r\n").expect("ends");
        assert_eq!(head.fields.get("a"), Some("b c"));
        assert_eq!(head.content_length, Some(7));
    }

    #[test]
    fn a_length_that_is_no_number_is_no_length() {
        for length in ["-1", "abc", "99999999999999999999", ""] {
            let text = format!("WARC/1.0\r\nContent-Length: {length}\r\n\r\n");
            let head = read(text.as_bytes()).expect("ends");
            assert_eq!(head.content_length, None, "{length}");
        }
    }

    #[test]
    fn a_head_without_an_end_is_none() {
        assert!(read(b"WARC/1.0\r\nA: b\r\n").is_none());
        let endless = [&b"WARC/1.0\r\n"[..], &[b'a'; MAX_HEAD], b"\r\n\r\n"].concat();
        assert!(read(&endless).is_none());
    }
}

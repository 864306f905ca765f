//! The line before an ARC record, version 1 or 2, to a head with the fields that a WARC record would have.
//!
//! `URL IP-address Archive-date Content-type [Result-code Checksum Location Offset Filename] Archive-length`, separated by
//! one blank each. URLs and content types with blanks exist.

use super::fields::Fields;
use super::head::{Dialect, Head, MAX_BEGINNING};

/// Begins the block that describes the file itself.
const FILEDESC: &str = "filedesc:";

/// Reads the line that `bytes` begin with; `None`: it is none.
pub(super) fn line(bytes: &[u8]) -> Option<Head> {
    let shown = &bytes[..bytes.len().min(MAX_BEGINNING)];
    // Most bytes that are no record end here.
    if !shown.first()?.is_ascii_alphabetic() {
        return None;
    }
    let end = memchr::memchr(b'\n', shown)?;
    let line = shown[..end].strip_suffix(b"\r").unwrap_or(&shown[..end]);
    let line = std::str::from_utf8(line).ok()?;
    let scheme = &line[..line.find(':')?];
    if !scheme
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return None;
    }
    let words: Vec<_> = line.split(' ').collect();
    let date = (2..words.len().checked_sub(2)?)
        .rev()
        .find(|at| is_date(words[*at]) && is_address(words[at - 1]))?;
    let after = &words[date + 1..];
    let (length, content_type) = match after {
        // Version 2.
        [content_type, _, _, _, _, _, length] => (length, (*content_type).into()),
        [content_type @ .., length] => (length, content_type.join(" ")),
        [] => return None,
    };
    let url = words[..date - 1].join(" ");
    let described = url.starts_with(FILEDESC);
    let kind = if described { "warcinfo" } else { "response" };
    let fields = Fields::from([
        ("WARC-Type", kind.into()),
        ("WARC-Target-URI", url),
        ("WARC-Date", iso(words[date])),
        ("Content-Type", content_type),
    ]);
    Some(Head {
        dialect: Dialect::Arc,
        fields,
        content_length: length.parse().ok(),
        len: end + 1,
    })
}

/// `20140216050221`, with fewer or more digits in some.
fn is_date(word: &str) -> bool {
    (8..=18).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_address(word: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_hexdigit() || b".:-".contains(&byte);
    !word.is_empty() && word.bytes().all(known)
}

/// As WARC-Date has it; what is missing is the beginning of its day.
fn iso(digits: &str) -> String {
    let part = |from: usize| digits.get(from..from + 2).unwrap_or("00");
    let [month, day, hour, minute, second] = [4, 6, 8, 10, 12].map(part);
    format!("{}-{month}-{day}T{hour}:{minute}:{second}Z", &digits[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_version_1_is_read_with_blanks_in_its_url() {
        let head =
            line(b"http://a/b c.html 1.2.3.4 20140216050221 text/html; charset=x 1591\nHTTP")
                .expect("line");
        assert_eq!(
            head.fields.get("WARC-Target-URI"),
            Some("http://a/b c.html")
        );
        assert_eq!(head.fields.get("WARC-Date"), Some("2014-02-16T05:02:21Z"));
        assert_eq!(
            head.fields.get("Content-Type"),
            Some("text/html; charset=x")
        );
        assert_eq!((head.content_length, head.len), (Some(1591), 67));
    }

    #[test]
    fn a_line_of_version_2_has_its_length_last() {
        let head = line(b"http://a/ 1.2.3.4 19961104142103 text/html 200 fac069 - 13 x.arc 120\n")
            .expect("line");
        assert_eq!(head.fields.get("Content-Type"), Some("text/html"));
        assert_eq!(head.content_length, Some(120));
    }

    #[test]
    fn text_with_a_colon_is_no_record() {
        assert!(line(b"Content-Length: 12\n").is_none());
        assert!(line(b"URL IP-address Archive-date Content-type Archive-length\n").is_none());
        assert!(line(b"http://a/ 1.2.3.4 20140216050221 text/html 5").is_none());
        assert!(line(b"").is_none());
    }
}

//! Bytes of a page to text: the encoding is taken from what ranks highest among those who state one.
//!
//! Order: byte order mark, HTTP header, the page's own `meta` (WHATWG HTML, "prescan a byte stream"), the bytes themselves.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use url::{Host, Url};

/// Browsers look for a declaration in as many bytes.
const PRESCAN_BYTES: usize = 1024;
/// Enough to tell encodings apart; chardetng reads about 100 MB/s.
const DETECT_BYTES: usize = 64 << 10;

/// Decodes a page; what is invalid becomes U+FFFD.
pub(super) fn decode(bytes: &[u8], content_type: Option<&str>, url: &Url) -> String {
    let encoding = content_type
        .and_then(|value| label_in(value.as_bytes()))
        .or_else(|| prescan(&bytes[..bytes.len().min(PRESCAN_BYTES)]))
        .unwrap_or_else(|| detect(bytes, url));
    // Gives way to a byte order mark.
    encoding.decode(bytes).0.into_owned()
}

fn detect(bytes: &[u8], url: &Url) -> &'static Encoding {
    // Text that is UTF-8 throughout is nothing else by chance, however late its first non-ASCII byte comes.
    if std::str::from_utf8(bytes).is_ok() {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    // A start without a single non-ASCII byte says nothing.
    let start = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(0);
    let sample = &bytes[start.saturating_sub(PRESCAN_BYTES)..];
    detector.feed(&sample[..sample.len().min(DETECT_BYTES)], true);
    let domain = match url.host() {
        Some(Host::Domain(domain)) => domain.rsplit('.').next(),
        _ => None,
    };
    // `url` has lower-cased and punycoded it.
    let top_level = domain
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
        .map(str::as_bytes);
    detector.guess(top_level, Utf8Detection::Allow)
}

/// The encoding that a `Content-Type` names ("extracting a character encoding from a meta element").
fn label_in(value: &[u8]) -> Option<&'static Encoding> {
    let mut rest = value;
    loop {
        let at = rest
            .windows(7)
            .position(|window| window.eq_ignore_ascii_case(b"charset"))?;
        rest = rest[at + 7..].trim_ascii_start();
        if let Some(label) = rest.strip_prefix(b"=") {
            return Encoding::for_label(unquoted(label.trim_ascii_start()));
        }
    }
}

fn unquoted(label: &[u8]) -> &[u8] {
    let end = |label: &[u8], ends: fn(u8) -> bool| {
        let found = label.iter().position(|&byte| ends(byte));
        found.unwrap_or(label.len())
    };
    match label.split_first() {
        Some((b'"', rest)) => &rest[..end(rest, |byte| byte == b'"')],
        Some((b'\'', rest)) => &rest[..end(rest, |byte| byte == b'\'')],
        _ => &label[..end(label, |byte| byte == b';' || byte.is_ascii_whitespace())],
    }
}

/// What the page declares of itself.
fn prescan(head: &[u8]) -> Option<&'static Encoding> {
    if let Some(found) = xml_declaration(head) {
        return Some(found);
    }
    let mut rest = head;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        rest = &rest[at..];
        if rest.starts_with(b"<!--") {
            // `<!-->` is a whole comment.
            let end = rest[2..].windows(3).position(|window| window == b"-->")?;
            rest = &rest[end + 5..];
        } else if rest.len() > 5 && rest[..5].eq_ignore_ascii_case(b"<meta") && is_name_end(rest[5])
        {
            rest = &rest[5..];
            if let Some(found) = meta(&mut rest) {
                return Some(found);
            }
        } else if let [b'<', b'!' | b'/' | b'?', ..] = rest {
            let end = rest.iter().position(|&byte| byte == b'>')?;
            rest = &rest[end..];
        } else if let [b'<', b'a'..=b'z' | b'A'..=b'Z', ..] = rest {
            let end = rest
                .iter()
                .position(|&byte| is_name_end(byte) || byte == b'>')?;
            rest = &rest[end..];
            while attribute(&mut rest).is_some() {}
        } else {
            rest = &rest[1..];
        }
    }
    None
}

fn is_name_end(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'/'
}

/// Pages written as XHTML may declare nothing else.
fn xml_declaration(head: &[u8]) -> Option<&'static Encoding> {
    let inside = head.strip_prefix(b"<?xml")?;
    let inside = &inside[..inside.iter().position(|&byte| byte == b'>')?];
    let at = inside.windows(8).position(|window| window == b"encoding")?;
    let label = inside[at + 8..].trim_ascii_start().strip_prefix(b"=")?;
    declared(Encoding::for_label(unquoted(label.trim_ascii_start()))?)
}

fn meta(rest: &mut &[u8]) -> Option<&'static Encoding> {
    let mut is_pragma = false;
    let mut found = None;
    let mut needs_pragma = false;
    while let Some((name, value)) = attribute(rest) {
        match name.as_slice() {
            b"http-equiv" => is_pragma |= value.eq_ignore_ascii_case(b"content-type"),
            b"charset" => (found, needs_pragma) = (Encoding::for_label(value), false),
            b"content" if found.is_none() => {
                (found, needs_pragma) = (label_in(value), true);
            }
            _ => {}
        }
    }
    declared(found.filter(|_| is_pragma || !needs_pragma)?)
}

/// A page whose declaration could be read as ASCII is not in UTF-16, whatever it says.
fn declared(encoding: &'static Encoding) -> Option<&'static Encoding> {
    Some(match encoding {
        found if found == UTF_16BE || found == UTF_16LE => UTF_8,
        found if found == X_USER_DEFINED => WINDOWS_1252,
        found => found,
    })
}

/// The next attribute of a tag, its name in lower case ("get an attribute").
fn attribute<'a>(rest: &mut &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let start = rest.iter().position(|&byte| !is_name_end(byte))?;
    *rest = &rest[start..];
    if rest[0] == b'>' {
        return None;
    }
    let end = 1 + rest[1..]
        .iter()
        .position(|&byte| byte == b'=' || byte == b'>' || is_name_end(byte))?;
    let name = rest[..end].to_ascii_lowercase();
    *rest = rest[end..].trim_ascii_start();
    let Some(after) = rest.strip_prefix(b"=") else {
        return Some((name, b""));
    };
    let after = after.trim_ascii_start();
    let (value, left) = match *after.first()? {
        quote @ (b'"' | b'\'') => {
            let end = after[1..].iter().position(|&byte| byte == quote)?;
            (&after[1..=end], &after[end + 2..])
        }
        _ => {
            let end = after
                .iter()
                .position(|&byte| byte == b'>' || byte.is_ascii_whitespace())?;
            after.split_at(end)
        }
    };
    *rest = left;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], content_type: Option<&str>) -> String {
        let url = Url::parse("http://example.org/").expect("a URL");
        decode(bytes, content_type, &url)
    }

    #[test]
    fn a_mark_outranks_the_header_and_the_header_outranks_the_page() {
        let marked = b"\xEF\xBB\xBF<meta charset=windows-1251>\xC3\xA9";
        assert!(decoded(marked, Some("text/html; charset=koi8-r")).ends_with('\u{e9}'));
        let page = b"<meta charset=utf-8>\xE9";
        assert!(decoded(page, Some("text/html; Charset = \"ISO-8859-1\"")).ends_with('\u{e9}'));
    }

    #[test]
    fn a_page_declares_itself_in_any_of_the_usual_ways() {
        for page in [
            &b"<!-- <meta charset=koi8-r> --><META CHARSET='windows-1251'>\xE9"[..],
            b"<html lang=\"a>b\"><meta content='text/html;charset=windows-1251' http-equiv=Content-Type>\xE9",
            b"<?xml version=\"1.0\" encoding=\"windows-1251\"?><html>\xE9",
            b"<meta name=x content='charset=koi8-r'><meta charset=windows-1251 />\xE9",
        ] {
            assert!(decoded(page, None).ends_with('\u{439}'), "{page:?}");
        }
    }

    #[test]
    fn an_ascii_declaration_of_utf16_means_utf8() {
        assert!(decoded(b"<meta charset=utf-16>\xC3\xA9", None).ends_with('\u{e9}'));
    }

    #[test]
    fn undeclared_bytes_are_told_apart() {
        assert_eq!(
            decoded("<p>\u{e9}t\u{e9}".as_bytes(), None),
            "<p>\u{e9}t\u{e9}"
        );
        let (russian, ..) = encoding_rs::WINDOWS_1251
            .encode("Широкая электрификация южных губерний даст мощный толчок подъёму хозяйства");
        assert!(decoded(&russian, None).starts_with("Широкая"));
    }

    #[test]
    fn a_declaration_that_breaks_off_is_none() {
        for page in [
            "<meta charset=",
            "<meta charset='x",
            "<",
            "<!--",
            "<meta",
            "<!-->",
            "<a b",
        ] {
            assert_eq!(decoded(page.as_bytes(), None), page);
        }
    }
}

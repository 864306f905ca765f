//! A path pattern to whether a path fits it (RFC 9309, 2.2.2 and 2.2.3): `*` is anything, a last `$` is the end.
//!
//! Both sides are brought to one spelling first, so that `%7E` is `~`, `ツ` is `%E3%83%84` and a `*` that stands in a URL
//! is `%2A`, which no operator can be taken for.

use memchr::memmem;
use url::{Position, Url};

/// A pattern as robots.txt and tdmrep.json write it, in the spelling of [`path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pattern(Box<str>);

impl Pattern {
    /// As written, in whatever encoding.
    pub(crate) fn new(written: &[u8]) -> Self {
        let last = written.len().saturating_sub(1);
        let operator = |at| match written[at] {
            b'*' => true,
            b'$' => at == last,
            _ => false,
        };
        Self(normal(written, operator).into())
    }

    /// Its length, by which the most specific of several is told (RFC 9309, 2.2.2).
    pub(crate) fn octets(&self) -> usize {
        self.0.len()
    }

    /// Whether it fits `path`, which is in the spelling of [`path`].
    ///
    /// What stands between two `*` is taken where it first occurs: if any choice fits, that one does. Every octet of
    /// either side is thus looked at a bounded number of times, whatever a stranger writes.
    pub(crate) fn fits(&self, path: &str) -> bool {
        let (pattern, to_the_end) = match self.0.strip_suffix('$') {
            Some(pattern) => (pattern, true),
            None => (&*self.0, false),
        };
        let mut parts = pattern.split('*');
        let beginning = parts.next().unwrap_or_default();
        let Some(mut rest) = path.strip_prefix(beginning) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return !to_the_end || rest.is_empty();
        };
        for part in parts {
            match memmem::find(rest.as_bytes(), part.as_bytes()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        match to_the_end {
            true => rest.ends_with(last),
            false => memmem::find(rest.as_bytes(), last.as_bytes()).is_some(),
        }
    }

    /// For a pattern that names a folder's index page (`…/index.html`): the folder itself and nothing in it.
    pub(super) fn folder_of_index(&self) -> Option<Self> {
        let slash = self.0.rfind('/')?;
        self.0[slash..]
            .starts_with("/index.htm")
            .then(|| Self(format!("{}$", &self.0[..=slash]).into()))
    }
}

/// What of a URL patterns are compared with: its path and query, in one spelling.
pub(crate) fn path(url: &Url) -> String {
    normal(
        url[Position::BeforePath..Position::AfterQuery].as_bytes(),
        |_| false,
    )
}

/// Unreserved octets bare, reserved ones as written, everything else as `%XX`. ASCII, therefore.
fn normal(octets: &[u8], operator: impl Fn(usize) -> bool) -> String {
    let mut text = String::with_capacity(octets.len());
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        let escaped = match octet {
            b'%' => escaped(&octets[at + 1..]),
            _ => None,
        };
        match escaped {
            Some(inner) if is_unreserved(inner) => text.push(char::from(inner)),
            Some(inner) => push_escaped(&mut text, inner),
            None if operator(at) || is_unreserved(octet) || is_reserved(octet) => {
                text.push(char::from(octet));
            }
            None => push_escaped(&mut text, octet),
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
    text
}

fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at| char::from(*digits.get(at)?).to_digit(16);
    let (high, low) = (digit(0)?, digit(1)?);
    u8::try_from(high << 4 | low).ok()
}

fn push_escaped(text: &mut String, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |of: u8| char::from(DIGITS[usize::from(of)]);
    text.extend(['%', digit(octet >> 4), digit(octet & 15)]);
}

/// RFC 3986, 2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

/// RFC 3986, 2.2, less the two that are operators here.
fn is_reserved(octet: u8) -> bool {
    b":/?#[]@!&'()+,;=".contains(&octet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, path_and_query: &str) -> bool {
        let url = format!("https://example.org{path_and_query}");
        let url = Url::parse(&url).expect("a URL");
        Pattern::new(pattern.as_bytes()).fits(&path(&url))
    }

    #[test]
    fn a_pattern_fits_from_the_beginning_and_stars_fit_anything() {
        assert!(fits("/fish", "/fish.html"));
        assert!(!fits("/fish", "/catfish"));
        assert!(fits("/*.php", "/a/b.php?c"));
        assert!(fits("/*.php$", "/a/b.php.php"));
        assert!(!fits("/*.php$", "/a/b.php?c"));
        assert!(fits("*a*b", "/xxaxxb"));
        assert!(!fits("/a*a$", "/a"));
    }

    #[test]
    fn both_sides_are_compared_in_one_spelling() {
        assert!(fits("/foo/bar/ツ", "/foo/bar/%e3%83%84"));
        assert!(fits("/foo/bar/%E3%83%84", "/foo/bar/ツ"));
        assert!(fits("/%7ejoe/", "/~joe/index.html"));
        assert!(fits("/a%2fb", "/a%2Fb"));
        assert!(
            !fits("/a%2fb", "/a/b"),
            "a reserved octet keeps its escape's meaning"
        );
        assert!(fits("/100%", "/100%"));
    }

    #[test]
    fn operators_can_be_meant_literally() {
        assert!(fits("/file-with-a-%2A.html", "/file-with-a-*.html"));
        assert!(!fits("/file-with-a-%2A.html", "/file-with-a-x.html"));
        assert!(fits("/foo-%24", "/foo-$"));
        assert!(fits("/a$b", "/a$b"));
    }

    #[test]
    fn a_hostile_pattern_comes_to_an_end() {
        let pattern = Pattern::new("*a".repeat(200_000).as_bytes());
        let path = format!("/{}b", "a".repeat(8_000));
        assert!(!pattern.fits(&path));
    }

    /// By trying every length for every star.
    fn fits_by_search(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => true,
            [b'$'] => path.is_empty(),
            [b'*', rest @ ..] => (0..=path.len()).any(|at| fits_by_search(rest, &path[at..])),
            [octet, rest @ ..] => path.first() == Some(octet) && fits_by_search(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_first_occurrence_finds_what_a_full_search_finds(
            pattern in "/[ab*]{0,8}\\$?", path in "/[ab]{0,10}",
        ) {
            let found = Pattern::new(pattern.as_bytes()).fits(&path);
            prop_assert_eq!(found, fits_by_search(pattern.as_bytes(), path.as_bytes()));
        }
    }
}

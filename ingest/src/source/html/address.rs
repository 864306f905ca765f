//! References of a page to absolute addresses (RFC 3986, WHATWG URL).

use url::Url;

/// Longer ones are refused by servers, and are as a rule scripts or data.
const MAX_ADDRESS_BYTES: usize = 4096;

/// Resolves a reference; `None` for what cannot be asked for over http or https.
pub(super) fn resolve(base: &Url, reference: &str) -> Option<Url> {
    let reference = reference.trim_ascii();
    if reference.is_empty() || reference.len() > MAX_ADDRESS_BYTES {
        return None;
    }
    let mut url = base.join(reference).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return None;
    }
    // Never sent: two addresses that differ in it are one.
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(reference: &str) -> Option<String> {
        let base = Url::parse("https://example.org/a/b.html?c#d").expect("a URL");
        resolve(&base, reference).map(String::from)
    }

    #[test]
    fn references_resolve_as_rfc_3986_says() {
        for (reference, expected) in [
            ("img/x.jpg", "https://example.org/a/img/x.jpg"),
            ("../x.jpg", "https://example.org/x.jpg"),
            ("/x.jpg", "https://example.org/x.jpg"),
            ("//cdn.example/x.jpg", "https://cdn.example/x.jpg"),
            ("?y", "https://example.org/a/b.html?y"),
            (" x y.jpg#z\n", "https://example.org/a/x%20y.jpg"),
            ("http://[::1]:80/x", "http://[::1]/x"),
        ] {
            assert_eq!(resolved(reference).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_cannot_be_asked_for_has_no_address() {
        for reference in [
            "",
            " ",
            "data:image/png;base64,AA",
            "javascript:void(0)",
            "http://",
            "ftp://a/b",
        ] {
            assert_eq!(resolved(reference), None, "{reference}");
        }
        assert_eq!(resolved(&"a".repeat(5000)), None);
    }
}

//! A page in HTML to a document: texts and images in reading order, without what surrounds the content.
//!
//! Bytes -> `charset` -> `parse` (`sink`, `tag_scan`) -> `tree` -> `readable` (`weigh`, `names`) -> `layout` (`images`,
//! `twins`, `srcset`, `table`); `meta` reads the tree beside it.
//!
//! The title is not made a text: a reader sees the heading, which is one of the places; titles add the site's name to it.
//! A caption stands where the page has it, which is behind its image in all but a few.

mod address;
mod attribute;
mod charset;
mod file;
mod flow;
mod images;
mod layout;
mod meta;
mod names;
mod parse;
mod readable;
mod sink;
mod srcset;
mod table;
mod tag_scan;
mod tree;
mod twins;
mod weigh;

use url::Url;

/// What a page may ask of the machine. All of them are refusals: half a page would pass for a whole one.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_bytes: usize,
    /// Elements and texts; attributes as many again.
    pub(crate) max_nodes: usize,
    /// Elements within each other. The parser's time grows with it.
    pub(crate) max_depth: usize,
    /// Of a single tag. The parser compares each with each.
    pub(crate) max_attributes: usize,
    /// Links given; further ones are passed over.
    pub(crate) max_links: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            max_nodes: 500_000,
            // As browsers have it.
            max_depth: 512,
            max_attributes: 512,
            max_links: 10_000,
        }
    }
}

/// Why a page gives no document.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HtmlError {
    #[error("the page has {bytes} bytes, more than {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("the page comes to more than {0} elements, texts or attributes")]
    Nodes(usize),
    #[error("the page's elements are nested more than {0} deep")]
    Depth(usize),
    #[error("a tag of the page has more than {0} attributes")]
    Attributes(usize),
}

/// A page that was read.
#[derive(Debug)]
pub(crate) struct HtmlPage {
    pub(crate) title: Option<String>,
    /// A BCP 47 tag.
    pub(crate) language: Option<String>,
    /// What its references are relative to.
    pub(crate) base: Url,
    pub(crate) canonical: Option<Url>,
    /// Directives to crawlers: whom they are addressed to (`None`: all), in lower case, and what they say.
    pub(crate) robots: Vec<(Option<String>, String)>,
    pub(crate) tdm: Option<TdmReservation>,
    pub(crate) places: Vec<HtmlPlace>,
    pub(crate) links: Vec<HtmlLink>,
}

/// What a page says of text and data mining (W3C TDM Reservation Protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TdmReservation {
    pub(crate) is_reserved: bool,
    pub(crate) policy: Option<Url>,
}

/// A part of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HtmlPlace {
    /// A paragraph, heading, item, caption or table.
    Text(String),
    Image(HtmlImage),
}

/// An image of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HtmlImage {
    /// Absolute; the start of what stands there if it is left out as [`LeftOut::InlineData`] or [`LeftOut::BadUrl`].
    pub(crate) url: String,
    pub(crate) alt: Option<String>,
    /// Where a click on it leads: a larger version, often.
    pub(crate) link: Option<String>,
    /// As shown, in pixels, where the page says so.
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) left_out: Option<LeftOut>,
}

/// Why an image is not to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Shown with a side of less than 48 px.
    Icon,
    /// Shown with a side of less than 3 px.
    Tracker,
    /// Stands where a script would load an image that the page does not name.
    Placeholder,
    /// Held by the page itself.
    InlineData,
    BadUrl,
    /// By its name of a format that is not decoded.
    Undecodable,
    /// Stands above.
    Repeated,
}

/// A link of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HtmlLink {
    pub(crate) url: Url,
    pub(crate) follow: Follow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    Yes,
    /// The page asks not to (`rel=nofollow`).
    No,
}

/// Reads a page that was found at `url`.
pub(crate) fn extract(
    bytes: &[u8],
    content_type: Option<&str>,
    url: &Url,
    limits: &Limits,
) -> Result<HtmlPage, HtmlError> {
    if bytes.len() > limits.max_bytes {
        return Err(HtmlError::TooLong {
            bytes: bytes.len(),
            limit: limits.max_bytes,
        });
    }
    let text = charset::decode(bytes, content_type, url);
    let tree = parse::parse(&text, limits)?;
    let base = meta::base(&tree, url);
    let statements = meta::statements(&tree, &base);
    let readable = readable::find(&tree);
    Ok(HtmlPage {
        title: meta::title(&tree),
        language: statements.language,
        canonical: statements.canonical,
        robots: statements.robots,
        tdm: statements.tdm,
        places: layout::places(&tree, &readable, &base),
        links: meta::links(&tree, &base, limits.max_links),
        base,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn tree(page: &str) -> tree::Tree {
        parse::parse(page, &Limits::default()).expect("harmless")
    }

    pub(super) fn page(page: &str) -> HtmlPage {
        let url = Url::parse("http://example.org/a/b.html").expect("a URL");
        extract(page.as_bytes(), None, &url, &Limits::default()).expect("harmless")
    }

    pub(super) fn images(source: &str) -> Vec<HtmlImage> {
        let images = page(source)
            .places
            .into_iter()
            .filter_map(|place| match place {
                HtmlPlace::Image(image) => Some(image),
                HtmlPlace::Text(_) => None,
            });
        images.collect()
    }

    /// Texts as they are, images as `[their file]`.
    pub(super) fn places(source: &str) -> Vec<String> {
        let places = page(source).places.into_iter().map(|place| match place {
            HtmlPlace::Text(text) => text,
            HtmlPlace::Image(image) => format!("[{}]", file::file_name(&image.url)),
        });
        places.collect()
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        for source in [
            "",
            " ",
            "<p",
            "<html>",
            "<frameset>",
            "<body></body></html><p>",
            "\u{0}",
        ] {
            assert!(page(source).places.is_empty(), "{source}");
        }
    }

    #[test]
    fn a_page_that_is_too_long_is_not_parsed() {
        let url = Url::parse("http://example.org/").expect("a URL");
        let limits = Limits {
            max_bytes: 4,
            ..Limits::default()
        };
        let error = extract(b"<p>ab", None, &url, &limits).expect_err("too long");
        assert_eq!(error, HtmlError::TooLong { bytes: 5, limit: 4 });
    }

    #[test]
    fn bytes_that_are_no_html_are_text() {
        let noise: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let url = Url::parse("http://example.org/").expect("a URL");
        assert!(
            extract(
                &noise,
                Some("text/html; charset=x"),
                &url,
                &Limits::default()
            )
            .is_ok()
        );
    }
}

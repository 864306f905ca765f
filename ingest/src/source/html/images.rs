//! An image element to the one address that it is asked for by, and to what the page says about it.

use html5ever::local_name;
use url::Url;

use super::attribute::Attr;
use super::srcset::{self, Candidate};
use super::tree::{Element, NodeId, Tree};
use super::{HtmlImage, LeftOut, address, file};

/// A side that is shown shorter than this belongs to an icon, an emoji, a rule or a spacer.
const MIN_SIDE_PX: u32 = 48;
/// A side this short cannot be seen: it counts visits.
const TRACKER_SIDE_PX: u32 = 3;
/// What the media queries of a `picture` are answered for: a desktop window, which is shown the widest pictures.
const WINDOW_WIDTH_PX: u32 = 1280;

/// Whether an element is an image of its own.
pub(super) fn is_image(element: &Element) -> bool {
    element.tag().is_some_and(|tag| {
        // The parser turns `image` into `img`.
        *tag == local_name!("img") || matches!(&**tag, "amp-img" | "amp-anim")
    })
}

/// Reads an image element; `twin` is the other element for the same picture, if there is one.
pub(super) fn read(tree: &Tree, id: NodeId, twin: Option<NodeId>, base: &Url) -> Option<HtmlImage> {
    let element = tree.element(id)?;
    let (width, height) = shown_size(element);
    let reference = reference(tree, id, width)
        .filter(|reference| !file::is_placeholder(reference))
        .or_else(|| twin.and_then(|twin| reference_of_twin(tree, twin, width)))
        .or_else(|| element.attribute(Attr::Src));
    let reference = reference
        .map(str::trim_ascii)
        .filter(|text| !text.is_empty())?;
    let url = address::resolve(base, reference);
    let is_data = file::starts_with_ignoring_case(reference, "data:");
    let left_out = match &url {
        _ if is_below(TRACKER_SIDE_PX, width, height) => Some(LeftOut::Tracker),
        None if is_data => Some(LeftOut::InlineData),
        None => Some(LeftOut::BadUrl),
        Some(_) if file::is_placeholder(reference) => Some(LeftOut::Placeholder),
        Some(_) if is_below(MIN_SIDE_PX, width, height) => Some(LeftOut::Icon),
        Some(_) if file::is_undecodable(reference) => Some(LeftOut::Undecodable),
        Some(_) => None,
    };
    let link = link_of(tree, id).and_then(|href| address::resolve(base, href));
    Some(HtmlImage {
        // An inline image is counted, not carried.
        url: url.map_or_else(|| start_of(reference).to_owned(), String::from),
        alt: alt(element).or_else(|| alt(tree.element(twin?)?)),
        link: link.map(String::from),
        width,
        height,
        left_out,
    })
}

fn reference_of_twin(tree: &Tree, twin: NodeId, width: Option<u32>) -> Option<&str> {
    reference(tree, twin, width).filter(|reference| !file::is_placeholder(reference))
}

fn alt(element: &Element) -> Option<String> {
    let words: Vec<_> = element.attribute(Attr::Alt)?.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The best reference of an image, by what is said of it or of the `picture` around it.
fn reference(tree: &Tree, id: NodeId, width: Option<u32>) -> Option<&str> {
    let element = tree.element(id)?;
    let own = reference_of(element, width);
    let parent = tree.parent(id).filter(|&parent| {
        tree.tag(parent)
            .is_some_and(|tag| *tag == local_name!("picture"))
    });
    let Some(picture) = parent else { return own };
    let sources = tree.children(picture).take_while(|&child| child != id);
    // As in a browser, the first that fits.
    let fitting = sources
        .filter_map(|child| tree.element(child))
        .filter(|source| fits(source))
        .filter_map(|source| reference_of(source, width))
        .find(|reference| !file::is_undecodable(reference) && !file::is_placeholder(reference));
    fitting.or(own)
}

/// The best reference of one element: what a script would load comes before what stands in for it.
fn reference_of(element: &Element, width: Option<u32>) -> Option<&str> {
    let from = |name| {
        let candidates: Vec<Candidate<'_>> = element
            .attributes_named(name)
            .flat_map(srcset::parse)
            .filter(|candidate| !file::is_placeholder(candidate.url))
            .collect();
        srcset::choose(&candidates, width)
    };
    let lazy = || {
        element
            .attributes_named(Attr::LazySrc)
            .find(|value| file::is_reference(value))
    };
    let plain = || element.attribute(Attr::Src);
    from(Attr::LazySrcset)
        .or_else(|| from(Attr::Srcset))
        .or_else(lazy)
        .or_else(plain)
}

/// Whether a `source` is shown on this window, in a format that can be decoded.
fn fits(source: &Element) -> bool {
    let decodable = source.attribute(Attr::Type).is_none_or(|kind| {
        let kind = kind.trim().to_ascii_lowercase();
        let format = kind.strip_prefix("image/").unwrap_or(&kind);
        let format = format.split(['+', ';']).next().unwrap_or_default();
        !file::is_undecodable_format(format)
    });
    decodable && source.attribute(Attr::Media).is_none_or(is_for_window)
}

/// Answers width limits in px or em and `print`; of other conditions it is assumed that they hold.
fn is_for_window(media: &str) -> bool {
    let media = media.to_ascii_lowercase();
    let holds = |query: &str| {
        let limit = |name: &str| -> Option<f64> {
            let value = query
                .split_once(name)?
                .1
                .trim_start()
                .strip_prefix(':')?
                .trim_start();
            let end = value.find(|c: char| !(c.is_ascii_digit() || c == '.'));
            let (number, unit) = value.split_at(end.unwrap_or(value.len()));
            let px = if unit.starts_with("em") || unit.starts_with("rem") {
                16.0
            } else {
                1.0
            };
            number.parse::<f64>().ok().map(|number| number * px)
        };
        let window = f64::from(WINDOW_WIDTH_PX);
        !query.trim_start().starts_with("print")
            && limit("min-width").is_none_or(|least| window >= least)
            && limit("max-width").is_none_or(|most| window <= most)
    };
    media.split(',').any(holds)
}

/// Whether a page says of an image that it is shown as an icon or not at all.
pub(super) fn is_small(element: &Element) -> bool {
    let (width, height) = shown_size(element);
    is_below(MIN_SIDE_PX, width, height)
}

fn is_below(limit: u32, width: Option<u32>, height: Option<u32>) -> bool {
    [width, height]
        .into_iter()
        .flatten()
        .any(|side| side < limit)
}

/// The size in px at which the page shows an image, as far as it says so itself.
fn shown_size(element: &Element) -> (Option<u32>, Option<u32>) {
    let style = element.attribute(Attr::Style);
    let side = |name: Attr, property: &str| {
        style
            .and_then(|style| style_px(style, property))
            .or_else(|| element.attribute(name).and_then(px))
    };
    match (side(Attr::Width, "width"), side(Attr::Height, "height")) {
        // A side of nothing beside a real one was not filled in.
        (Some(0), height @ Some(MIN_SIDE_PX..)) => (None, height),
        (width @ Some(MIN_SIDE_PX..), Some(0)) => (width, None),
        size => size,
    }
}

/// A number of pixels; percentages and the like are none.
fn px(value: &str) -> Option<u32> {
    let value = value.trim_ascii();
    let end = value.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = value.split_at(end.unwrap_or(value.len()));
    let unit = unit.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let is_px = unit.is_empty() || unit.trim().eq_ignore_ascii_case("px");
    number.parse().ok().filter(|_| is_px)
}

fn style_px(style: &str, property: &str) -> Option<u32> {
    let declarations = style.split(';').filter_map(|part| part.split_once(':'));
    let mut named = declarations.filter(|(name, _)| name.trim().eq_ignore_ascii_case(property));
    let (_, value) = named.next()?;
    let value = value.trim();
    value
        .to_ascii_lowercase()
        .contains("px")
        .then(|| px(value))?
}

/// Where a click on an image leads.
fn link_of(tree: &Tree, id: NodeId) -> Option<&str> {
    let mut links = tree
        .ancestors(id)
        .take(6)
        .filter_map(|id| tree.element(id))
        .filter(|element| element.tag().is_some_and(|tag| *tag == local_name!("a")));
    links.find_map(|link| link.attribute(Attr::Href))
}

/// Enough of a reference that is no address to recognise it by.
fn start_of(reference: &str) -> &str {
    let mut end = reference.len().min(64);
    while !reference.is_char_boundary(end) {
        end -= 1;
    }
    &reference[..end]
}

#[cfg(test)]
mod tests {
    use super::super::tests::images;
    use super::*;

    /// File name and reason of the one image in a page.
    fn image(tag: &str) -> (String, Option<LeftOut>) {
        let mut images = images(&format!("<p>x</p>{tag}"));
        let image = images.pop().expect("an image");
        assert!(images.is_empty(), "{tag}");
        (file::file_name(&image.url).to_owned(), image.left_out)
    }

    fn wanted(name: &str) -> (String, Option<LeftOut>) {
        (name.to_owned(), None)
    }

    #[test]
    fn a_script_would_load_what_is_read() {
        for tag in [
            "<img src=a.jpg>",
            "<img src='data:image/gif;base64,R0' data-src=a.jpg>",
            "<img src=blank.gif data-original='/x/a.jpg'>",
            "<img src=tiny.jpg data-lazy-src=a.jpg>",
            "<img src=tiny.jpg data-srcset='b.jpg 100w, a.jpg 900w'>",
            "<img src=tiny.jpg srcset='a.jpg 2x'>",
            "<img srcset='data:image/gif;base64,R0 1w' data-src='{json}' src=a.jpg>",
            "<amp-img src=a.jpg></amp-img>",
            "<img src=a.jpg style='display:none'>",
        ] {
            assert_eq!(image(tag), wanted("a.jpg"), "{tag}");
        }
    }

    #[test]
    fn a_picture_gives_what_a_desktop_shows_and_can_be_decoded() {
        for sources in [
            "<source type=image/avif srcset=b.avif><source type=image/webp srcset=a.jpg>",
            "<source srcset=b.svg><source srcset='a.jpg 1x'>",
            "<source media='(max-width: 600px)' srcset=b.jpg><source srcset=a.jpg>",
            "<source media='(min-width: 100em)' srcset=b.jpg><source media='(min-width:600px)' srcset=a.jpg>",
            "<source media=print srcset=b.jpg><source data-srcset=a.jpg>",
        ] {
            let tag = format!("<picture>{sources}<img src=c.jpg></picture>");
            assert_eq!(image(&tag), wanted("a.jpg"), "{tag}");
        }
        let tag = "<picture><source type=image/avif srcset=b.avif><img src=a.jpg></picture>";
        assert_eq!(image(tag), wanted("a.jpg"));
    }

    #[test]
    fn images_that_are_not_asked_for_say_why() {
        for (tag, reason) in [
            ("<img src=a width=16 height=16>", LeftOut::Icon),
            ("<img src=a style='width: 30px'>", LeftOut::Icon),
            ("<img src=a width=1 height=1>", LeftOut::Tracker),
            ("<img src=a width=0 height=0>", LeftOut::Tracker),
            ("<img src=data:image/png;base64,AAAA>", LeftOut::InlineData),
            ("<img src=javascript:x>", LeftOut::BadUrl),
            ("<img src=http://>", LeftOut::BadUrl),
            ("<img src=/x/lazy_placeholder.gif>", LeftOut::Placeholder),
            ("<img src=a.SVG?x>", LeftOut::Undecodable),
        ] {
            assert_eq!(image(tag).1, Some(reason), "{tag}");
        }
    }

    #[test]
    fn sizes_that_say_little_leave_an_image_in() {
        for size in [
            "width=100%",
            "width=1.5em",
            "height=0 width=600",
            "width=auto",
            "style='max-width: 9px'",
        ] {
            assert_eq!(
                image(&format!("<img src=a.jpg {size}>")),
                wanted("a.jpg"),
                "{size}"
            );
        }
    }

    #[test]
    fn a_picture_is_asked_for_once() {
        let images = images("<img src=a.jpg><p>x</p><img src='../a/a.jpg#y'>");
        assert_eq!(images[1].left_out, Some(LeftOut::Repeated));
        assert_eq!(images[0].left_out, None);
    }

    #[test]
    fn the_words_and_the_link_of_an_image_stay_with_it() {
        let images = images("<a href=large.png><img src=a.jpg alt=' a\n b ' width=300></a>");
        assert_eq!(images[0].alt.as_deref(), Some("a b"));
        assert_eq!(
            images[0].link.as_deref(),
            Some("http://example.org/a/large.png")
        );
        assert_eq!(images[0].width, Some(300));
    }
}

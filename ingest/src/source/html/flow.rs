//! How an element takes part in the page: in a line of text, as a block, or not at all.

use html5ever::{local_name, ns};

use super::attribute::Attr;
use super::tree::Element;

/// An element's part in the flow of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Within a line.
    Inline,
    /// Ends the text before it and the text in it.
    Block,
    /// A line break.
    Break,
    /// Neither seen nor read.
    Hidden,
    /// Only images in it may stand for others.
    Noscript,
}

pub(super) fn of(element: &Element) -> Flow {
    if element.namespace == ns!(svg) {
        return Flow::Hidden;
    }
    if element.namespace == ns!(mathml) {
        return match &*element.name {
            // The formula's source, not shown.
            "annotation" | "annotation-xml" => Flow::Hidden,
            _ => Flow::Inline,
        };
    }
    match of_tag(element) {
        Flow::Hidden => Flow::Hidden,
        _ if is_hidden(element) => Flow::Hidden,
        flow => flow,
    }
}

fn of_tag(element: &Element) -> Flow {
    match element.name {
        // Not rendered.
        local_name!("head") | local_name!("title") | local_name!("meta") | local_name!("link")
        | local_name!("script") | local_name!("style") | local_name!("template")
        | local_name!("datalist") | local_name!("param") | local_name!("source")
        | local_name!("area") | local_name!("rp")
        // Controls: their words are the site's.
        | local_name!("button") | local_name!("select") | local_name!("input")
        | local_name!("textarea") | local_name!("progress") | local_name!("meter")
        | local_name!("menuitem")
        // Other documents, and what is shown in their stead.
        | local_name!("iframe") | local_name!("frameset") | local_name!("noframes")
        | local_name!("embed") | local_name!("object") | local_name!("applet")
        | local_name!("audio") | local_name!("video") | local_name!("canvas")
        | local_name!("noembed") => Flow::Hidden,
        local_name!("dialog") if element.attribute(Attr::Open).is_none() => Flow::Hidden,
        local_name!("noscript") => Flow::Noscript,
        local_name!("br") => Flow::Break,
        local_name!("html") | local_name!("body") | local_name!("address") | local_name!("article")
        | local_name!("aside") | local_name!("blockquote") | local_name!("caption")
        | local_name!("center") | local_name!("dd") | local_name!("details") | local_name!("dialog")
        | local_name!("dir") | local_name!("div") | local_name!("dl") | local_name!("dt")
        | local_name!("fieldset") | local_name!("figcaption") | local_name!("figure")
        | local_name!("footer") | local_name!("form") | local_name!("h1") | local_name!("h2")
        | local_name!("h3") | local_name!("h4") | local_name!("h5") | local_name!("h6")
        | local_name!("header") | local_name!("hgroup") | local_name!("hr") | local_name!("legend")
        | local_name!("li") | local_name!("listing") | local_name!("main") | local_name!("menu")
        | local_name!("nav") | local_name!("ol") | local_name!("optgroup") | local_name!("p")
        | local_name!("plaintext") | local_name!("pre") | local_name!("search")
        | local_name!("section") | local_name!("summary") | local_name!("table")
        | local_name!("tbody") | local_name!("td") | local_name!("tfoot") | local_name!("th")
        | local_name!("thead") | local_name!("tr") | local_name!("ul") | local_name!("xmp") => Flow::Block,
        _ => Flow::Inline,
    }
}

/// Whether the page itself says that it is not to be seen; stylesheets are not read.
pub(super) fn is_hidden(element: &Element) -> bool {
    // A lazily loaded image is often hidden until a script shows it.
    if super::images::is_image(element) {
        return false;
    }
    // "until-found" is text that a search in the page opens.
    let is_hidden = element
        .attribute(Attr::Hidden)
        .is_some_and(|value| !value.eq_ignore_ascii_case("until-found"));
    let is_decoration = element.attribute(Attr::AriaHidden) == Some("true")
        // Some pages hide all of themselves behind a dialog.
        && !matches!(element.name, local_name!("body") | local_name!("main") | local_name!("article"))
        // Screen readers are spared images that are wrapped in a second link to the same page.
        && !matches!(element.name, local_name!("a") | local_name!("figure") | local_name!("picture"))
        // As libraries for formulas do with what is seen of one.
        && element.attribute(Attr::Class).is_none_or(|class| !class.contains("katex"));
    is_hidden || is_decoration || element.attribute(Attr::Style).is_some_and(hides)
}

fn hides(style: &str) -> bool {
    style.split(';').any(|declaration| {
        let Some((name, value)) = declaration.split_once(':') else {
            return false;
        };
        let value = value.trim();
        let starts = |start: &str| {
            value
                .get(..start.len())
                .is_some_and(|v| v.eq_ignore_ascii_case(start))
        };
        match name.trim() {
            name if name.eq_ignore_ascii_case("display") => starts("none"),
            name if name.eq_ignore_ascii_case("visibility") => starts("hidden"),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::places;

    #[test]
    fn what_a_page_hides_is_not_read() {
        for hidden in [
            "<div hidden>x</div>",
            "<p style='color: red; DISPLAY : none !important'>x",
            "<p style=visibility:hidden>x",
            "<span aria-hidden=true>x</span>",
            "<template>x</template>",
            "<script>x</script>",
            "<style>x</style>",
            "<dialog>x</dialog>",
            "<svg><text>x</text><title>x</title></svg>",
            "<select><option>x</select>",
            "<button>x</button>",
            "<noscript>x</noscript>",
            "<video>x</video>",
            "<!-- x -->",
        ] {
            assert_eq!(places(&format!("<p>a</p>{hidden}")), ["a"], "{hidden}");
        }
    }

    #[test]
    fn what_only_sounds_hidden_is_read() {
        for shown in [
            "<p hidden=until-found>x",
            "<p style='display: block'>x",
            "<details>x</details>",
            "<p aria-hidden=false>x",
            "<math><mi>x</mi><annotation>\\x</annotation></math>",
        ] {
            assert_eq!(places(&format!("<div>{shown}</div>")), ["x"], "{shown}");
        }
    }
}

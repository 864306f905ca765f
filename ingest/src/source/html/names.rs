//! What an element is called: whether its tag, role, class or id says that it is no part of the content.
//!
//! Names are compared as whole words: `date` is not in "update", nor `ad` in "header".

use html5ever::{LocalName, local_name};

use super::attribute::Attr;
use super::tree::Element;

/// Parts of a page that are about the site, and what they are called. Each list stands for a kind of clutter.
const CLUTTER: [&[&str]; 7] = [
    // Ways to other pages.
    &[
        "nav",
        "navbar",
        "navigation",
        "menu",
        "submenu",
        "breadcrumb",
        "breadcrumbs",
        "pagination",
        "pager",
        "toolbar",
        "sitemap",
        "skiplink",
        "subnav",
        "topnav",
    ],
    // Other pages, shown to keep the reader on the site.
    &[
        "related",
        "recommended",
        "recommendations",
        "recirc",
        "recirculation",
        "trending",
        "outbrain",
        "taboola",
        "zergnet",
        "yarpp",
        "jp-relatedposts",
        "relatedposts",
        "mostread",
        "mostpopular",
        "teasers",
        "readnext",
        "upnext",
    ],
    // Paid for.
    &[
        "ad",
        "ads",
        "advert",
        "adverts",
        "advertisement",
        "advertising",
        "adsense",
        "adslot",
        "adunit",
        "dfp",
        "sponsor",
        "sponsors",
        "sponsored",
        "promo",
        "promos",
    ],
    // Written by others, below.
    &[
        "comment",
        "comments",
        "commentlist",
        "disqus",
        "livefyre",
        "respond",
        "replies",
    ],
    // Buttons.
    &[
        "share",
        "sharing",
        "sharebar",
        "sharedaddy",
        "sharetools",
        "social",
        "addthis",
        "addtoany",
        "shariff",
    ],
    // Demands.
    &[
        "cookie",
        "cookies",
        "consent",
        "gdpr",
        "popup",
        "modal",
        "newsletter",
        "subscribe",
        "signup",
        "login",
        "paywall",
    ],
    // The frame around every page of the site.
    &["footer", "sidebar", "masthead", "sidenav", "rail"],
];

/// Classes that say what a text is about, not what it is for: `category-social` is an article.
const SUBJECTS: [&str; 7] = [
    "category", "tag", "cat", "topic", "keyword", "author", "taxonomy",
];

/// WAI-ARIA roles of the frame around the content.
const ROLES: [&str; 11] = [
    "navigation",
    "complementary",
    "contentinfo",
    "banner",
    "dialog",
    "alertdialog",
    "menu",
    "menubar",
    "search",
    "toolbar",
    "tablist",
];

/// Whether an element is called something that content is not called.
pub(super) fn is_clutter(element: &Element) -> bool {
    let by_tag = matches!(
        element.name,
        local_name!("nav")
            | local_name!("aside")
            | local_name!("footer")
            | local_name!("menu")
            | local_name!("form")
            | local_name!("dialog")
    ) || &*element.name == "search";
    by_tag
        || element.attribute(Attr::Role).is_some_and(|role| {
            ROLES
                .iter()
                .any(|known| role.trim().eq_ignore_ascii_case(known))
        })
        || is_named_clutter(element)
}

fn is_named_clutter(element: &Element) -> bool {
    // Small parts of a line are called for their looks.
    let is_box = !matches!(
        element.name,
        local_name!("a")
            | local_name!("img")
            | local_name!("body")
            | local_name!("html")
            | local_name!("article")
            | local_name!("main")
            | local_name!("p")
            | local_name!("em")
            | local_name!("strong")
            | local_name!("figure")
            | local_name!("picture")
            | local_name!("code")
            | local_name!("pre")
            | local_name!("h1")
    );
    let names = [Attr::Class, Attr::Id];
    let mut names = names.into_iter().filter_map(|name| element.attribute(name));
    is_box && names.any(|names| names.split_ascii_whitespace().any(names_clutter))
}

fn names_clutter(name: &str) -> bool {
    let mut words = words(name).peekable();
    let is_subject = words.peek().is_some_and(|first| {
        SUBJECTS
            .iter()
            .any(|known| first.eq_ignore_ascii_case(known))
    });
    // "has-sidebar", "no-comments": said of something else.
    let is_state = words.peek().is_some_and(|first| {
        ["has", "no", "with", "without", "is", "js"]
            .iter()
            .any(|known| first.eq_ignore_ascii_case(known))
    });
    !is_subject
        && !is_state
        && words.any(|word| {
            CLUTTER
                .iter()
                .any(|kind| kind.iter().any(|known| word.eq_ignore_ascii_case(known)))
        })
}

/// The words of a name in any of the usual spellings: `site-footer`, `site_footer`, `siteFooter`.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_alphanumeric()).flat_map(|part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            let mut before_lower = false;
            let end = rest.char_indices().find(|(_, c)| {
                let is_start = before_lower && c.is_uppercase();
                before_lower = c.is_lowercase();
                is_start
            });
            let (word, left) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
            rest = left;
            (!word.is_empty()).then_some(word)
        })
    })
}

/// Whether an element is said to hold the content.
pub(super) fn is_content(element: &Element) -> bool {
    let by_role = |role: &str| matches!(role.trim(), "main" | "article");
    let by_property = |property: &str| {
        property
            .split_ascii_whitespace()
            .any(|name| name == "articleBody")
    };
    matches!(element.name, local_name!("article") | local_name!("main"))
        || element.attribute(Attr::Role).is_some_and(by_role)
        || element.attribute(Attr::ItemProp).is_some_and(by_property)
}

pub(super) fn is_heading(name: &LocalName) -> bool {
    matches!(
        *name,
        local_name!("h1")
            | local_name!("h2")
            | local_name!("h3")
            | local_name!("h4")
            | local_name!("h5")
            | local_name!("h6")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_whole_words() {
        for name in [
            "site-footer",
            "siteFooter",
            "comments_area",
            "AD",
            "post-share",
            "jp-related",
        ] {
            assert!(names_clutter(name), "{name}");
        }
        for name in [
            "update",
            "header",
            "download",
            "badge",
            "thread",
            "shareholder",
            "",
            "-",
        ] {
            assert!(!names_clutter(name), "{name}");
        }
    }

    #[test]
    fn a_subject_or_a_state_is_no_purpose() {
        for name in [
            "category-social",
            "tag-advertising",
            "has-sidebar",
            "no-comments",
            "js-share",
        ] {
            assert!(!names_clutter(name), "{name}");
        }
    }
}

//! What a page says about itself and its neighbours: title, language, addresses, permissions, links.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use html5ever::local_name;
use url::Url;

use super::address;
use super::attribute::Attr;
use super::tree::{Content, Element, Tree};
use super::{Follow, HtmlLink, TdmReservation};

/// The address that the page's references are relative to.
pub(super) fn base(tree: &Tree, url: &Url) -> Url {
    let mut bases = tree.elements(Tree::ROOT).filter_map(|(_, element)| {
        let is_base = element.tag().is_some_and(|tag| *tag == local_name!("base"));
        element.attribute(Attr::Href).filter(|_| is_base)
    });
    // Only the first counts, even where it is of no use.
    let found = bases.next().and_then(|href| address::resolve(url, href));
    found.unwrap_or_else(|| url.clone())
}

/// The head's title.
pub(super) fn title(tree: &Tree) -> Option<String> {
    let mut titles = tree.elements(Tree::ROOT).filter(|(_, element)| {
        element
            .tag()
            .is_some_and(|tag| *tag == local_name!("title"))
    });
    let (id, _) = titles.next()?;
    let text = tree
        .children(id)
        .find_map(|child| match tree.content(child) {
            Content::Text(text) => Some(text.split_whitespace().collect::<Vec<_>>().join(" ")),
            _ => None,
        });
    text.filter(|text| !text.is_empty())
}

/// What `meta`, `link` and `html` say.
#[derive(Debug, Default)]
pub(super) struct Statements {
    pub(super) language: Option<String>,
    pub(super) canonical: Option<Url>,
    pub(super) robots: Vec<(Option<String>, String)>,
    pub(super) tdm: Option<TdmReservation>,
}

pub(super) fn statements(tree: &Tree, base: &Url) -> Statements {
    let mut found = Statements::default();
    let mut language_of_header = None;
    let mut reservation = None;
    let mut policy = None;
    for (_, element) in tree.elements(Tree::ROOT) {
        let Some(tag) = element.tag() else { continue };
        match *tag {
            local_name!("html") => {
                found.language = element.attribute(Attr::Lang).and_then(language)
            }
            local_name!("link") if has_rel(element, "canonical") && found.canonical.is_none() => {
                let href = element.attribute(Attr::Href);
                found.canonical = href.and_then(|href| address::resolve(base, href));
            }
            local_name!("meta") => {
                let Some(content) = element.attribute(Attr::Content) else {
                    continue;
                };
                let content = content.trim();
                let pragma = element.attribute(Attr::HttpEquiv).unwrap_or_default();
                if pragma.eq_ignore_ascii_case("content-language") && language_of_header.is_none() {
                    language_of_header = language(content);
                }
                let name = element.attribute(Attr::Name).unwrap_or_default();
                match name.trim().to_ascii_lowercase() {
                    name if name == "tdm-reservation" => reservation = Some(content == "1"),
                    name if name == "tdm-policy" => policy = address::resolve(base, content),
                    name if name == "robots" => {
                        found.robots.push((None, content.to_owned()));
                    }
                    name if is_agent(&name) => found.robots.push((Some(name), content.to_owned())),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    found.language = found.language.or(language_of_header);
    found.tdm = reservation.map(|is_reserved| TdmReservation {
        is_reserved,
        policy,
    });
    found
}

/// Whether a `meta` may be addressed to a crawler: which names are those of crawlers only each of them knows.
fn is_agent(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(letter)
}

/// A BCP 47 tag, as far as its letters tell; lists have their first.
fn language(value: &str) -> Option<String> {
    let tag = value.split(',').next()?.trim().replace('_', "-");
    let mut parts = tag.split('-');
    let primary = parts.next()?;
    let is_primary =
        (2..=8).contains(&primary.len()) && primary.bytes().all(|byte| byte.is_ascii_alphabetic());
    let are_rest = parts.all(|part| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    (is_primary && are_rest).then_some(tag)
}

/// Addresses that the page links to, each once, in order.
pub(super) fn links(tree: &Tree, base: &Url, most: usize) -> Vec<HtmlLink> {
    let mut places: HashMap<Url, usize> = HashMap::new();
    let mut links: Vec<HtmlLink> = Vec::new();
    for (_, element) in tree.elements(Tree::ROOT) {
        let Some(url) = linked(element, base) else {
            continue;
        };
        let follow = match has_rel(element, "nofollow") {
            true => Follow::No,
            false => Follow::Yes,
        };
        match places.entry(url) {
            // One link that may be followed is enough.
            Entry::Occupied(place) if follow == Follow::Yes => {
                links[*place.get()].follow = Follow::Yes;
            }
            Entry::Vacant(place) if links.len() < most => {
                let url = place.key().clone();
                place.insert(links.len());
                links.push(HtmlLink { url, follow });
            }
            _ => {}
        }
    }
    links
}

fn linked(element: &Element, base: &Url) -> Option<Url> {
    let leads_on = match *element.tag()? {
        local_name!("a") | local_name!("area") => true,
        local_name!("link") => has_rel(element, "next"),
        _ => false,
    };
    let href = element.attribute(Attr::Href).filter(|_| leads_on)?;
    // To a place on this page.
    if href.starts_with('#') {
        return None;
    }
    address::resolve(base, href)
}

fn has_rel(element: &Element, token: &str) -> bool {
    let rel = element.attribute(Attr::Rel).unwrap_or_default();
    rel.split_ascii_whitespace()
        .any(|found| found.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::super::tests::page;
    use super::*;

    #[test]
    fn the_first_base_is_what_references_are_relative_to() {
        let page = page("<base target=x><base href=/b/><base href=/c/><img src=d.jpg>");
        assert_eq!(page.base.as_str(), "http://example.org/b/");
        let useless = super::super::tests::page("<base href=data:x><img src=d.jpg>");
        assert_eq!(useless.base.as_str(), "http://example.org/a/b.html");
    }

    #[test]
    fn a_language_is_a_tag() {
        let language = |source: &str| page(source).language;
        assert_eq!(language("<html lang=de_AT>").as_deref(), Some("de-AT"));
        let pragma = "<meta http-equiv=Content-Language content='fr, en'>";
        assert_eq!(language(pragma).as_deref(), Some("fr"));
        assert_eq!(
            language(&format!("<html lang=en>{pragma}")).as_deref(),
            Some("en")
        );
        for source in [
            "<html lang=''>",
            "<html lang='British English'>",
            "<html lang=x>",
        ] {
            assert_eq!(language(source), None, "{source}");
        }
    }

    #[test]
    fn directives_are_given_with_whom_they_are_for() {
        let page = page(
            "<meta name=Robots content='noindex, noai'><meta name=GoogleBot-Image content=noindex>
             <meta name=og:x content=x><meta name=CCBot content=nofollow><meta name=robots>",
        );
        let of =
            |agent: Option<&str>, content: &str| (agent.map(str::to_owned), content.to_owned());
        assert_eq!(
            page.robots,
            [
                of(None, "noindex, noai"),
                of(Some("googlebot-image"), "noindex"),
                of(Some("ccbot"), "nofollow"),
            ]
        );
    }

    #[test]
    fn a_reservation_of_mining_is_given_with_its_policy() {
        let page =
            page("<meta name=tdm-reservation content=1><meta name=tdm-policy content=/p.json>");
        let tdm = page.tdm.expect("a reservation");
        assert!(tdm.is_reserved);
        assert_eq!(
            tdm.policy.map(String::from).as_deref(),
            Some("http://example.org/p.json")
        );
        assert_eq!(
            super::super::tests::page("<meta name=tdm-policy content=/p>").tdm,
            None
        );
    }

    #[test]
    fn each_address_is_linked_once_and_followed_if_any_link_is() {
        let page = page(
            "<link rel=next href=2><a rel='x NoFollow' href='c#d'>x</a><a href=c>y</a><area href=//e/>
             <a rel=nofollow href=f>z</a><a href='#here'>h</a><a href=mailto:x@y>m</a>",
        );
        let links: Vec<_> = page
            .links
            .iter()
            .map(|link| (link.url.as_str(), link.follow))
            .collect();
        assert_eq!(
            links,
            [
                ("http://example.org/a/2", Follow::Yes),
                ("http://example.org/a/c", Follow::Yes),
                ("http://e/", Follow::Yes),
                ("http://example.org/a/f", Follow::No),
            ]
        );
    }

    #[test]
    fn titles_of_drawings_are_no_titles() {
        let page = page("<svg><title>icon</title></svg><title> A\n b </title>");
        assert_eq!(page.title.as_deref(), Some("A b"));
    }

    #[test]
    fn the_canonical_address_is_absolute() {
        let page = page("<link rel=canonical href='/x?y#z'><link rel=canonical href=/w>");
        assert_eq!(
            page.canonical.map(String::from).as_deref(),
            Some("http://example.org/x?y")
        );
    }
}

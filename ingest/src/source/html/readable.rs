//! Which part of a page a reader came for: the smallest element around the prose, the heading and pictures before it,
//! without what is clutter by its name or made of links.

use html5ever::local_name;

use super::flow::{self, Flow};
use super::names;
use super::tree::{Content, Element, NodeId, Step, Tree};
use super::weigh::{self, Weight, Weights};

/// A page with less prose is no article: it is shown whole, less its clutter.
const MIN_ARTICLE_CHARS: usize = 200;
/// What holds this share of all prose is the content, whatever it is called: layout classes sit on what is around it all.
const WHOLE_PERCENT: usize = 85;
/// Of what stands beside the content, this share of the prose is lost without a look: notices, legal lines.
const ASIDE_PERCENT: usize = 6;
/// Text that is linked to this share is a list of ways to somewhere else; running text stays below 20.
const MAX_LINKED_PERCENT: usize = 50;
/// The same, beside the content and in lists without prose, where there are fewer words around the links.
const MAX_LINKED_PERCENT_ASIDE: usize = 25;
/// A picture's link with more text than this is a teaser of another page; with less it shows the picture itself.
const MAX_LINKED_CHARS_BY_IMAGE: usize = 12;
/// A teaser has less text than this beneath its heading.
const MAX_TEASER_CHARS: usize = 300;
/// A box with more of the prose is the content, even if all its headings are linked: a blog's front page.
const MAX_TEASERS_PERCENT: usize = 33;
/// More text than this before the content is no caption.
const MAX_LEAD_CHARS: usize = 300;

/// A page's content.
#[derive(Debug)]
pub(super) struct Readable {
    /// What stands before the content and belongs to it, in order.
    pub(super) leads: Vec<NodeId>,
    pub(super) main: NodeId,
    left_out: Vec<bool>,
}

impl Readable {
    pub(super) fn is_left_out(&self, id: NodeId) -> bool {
        self.left_out[Tree::index(id)]
    }
}

/// Finds the content of a page.
pub(super) fn find(tree: &Tree) -> Readable {
    let body = body(tree);
    let all = weigh::weigh(tree, body, |_| false);
    let mut left_out = named_clutter(tree, body, &all);
    let weights = weigh::weigh(tree, body, |id| left_out[Tree::index(id)]);
    let main = match weights.of(body).prose >= MIN_ARTICLE_CHARS {
        true => smallest_around_prose(tree, body, &weights),
        false => body,
    };
    let leads = match main == body {
        true => Vec::new(),
        false => leads(tree, body, main, &weights),
    };
    for &top in leads.iter().chain([&main]) {
        leave_out_links(tree, top, &weights, &mut left_out);
    }
    Readable {
        leads,
        main,
        left_out,
    }
}

fn body(tree: &Tree) -> NodeId {
    tree.elements(Tree::ROOT)
        .find(|(_, element)| element.tag().is_some_and(|tag| *tag == local_name!("body")))
        .map_or(Tree::ROOT, |(id, _)| id)
}

/// Marks what is clutter by its name and does not hold nearly all prose of the page.
fn named_clutter(tree: &Tree, body: NodeId, all: &Weights) -> Vec<bool> {
    let mut left_out = vec![false; tree.len()];
    let whole = all.of(body).prose;
    let mut walk = tree.walk(body);
    while let Some(step) = walk.next() {
        let Step::Enter(id) = step else { continue };
        let Some(element) = tree.element(id) else {
            continue;
        };
        if flow::of(element) == Flow::Hidden {
            walk.pass_over(id);
        } else if names::is_clutter(element) && !is_share(all.of(id).prose, whole, WHOLE_PERCENT) {
            left_out[Tree::index(id)] = true;
            walk.pass_over(id);
        }
    }
    left_out
}

fn is_share(part: usize, whole: usize, percent: usize) -> bool {
    part > 0 && 100 * part >= percent * whole
}

/// Goes down to the part that holds the prose, for as long as what is left beside it does not read like content.
fn smallest_around_prose(tree: &Tree, body: NodeId, weights: &Weights) -> NodeId {
    let mut main = body;
    loop {
        let whole = weights.of(main);
        let blocks = tree.children(main).filter(|&child| is_block(tree, child));
        let Some(best) = blocks.max_by_key(|&child| weights.of(child).prose) else {
            return main;
        };
        let part = weights.of(best);
        let beside = whole.without(part);
        let is_named = tree.element(best).is_some_and(names::is_content);
        let is_alone = 100 * beside.prose < ASIDE_PERCENT * whole.prose
            || beside.linked_percent() > MAX_LINKED_PERCENT_ASIDE
            || is_named;
        if !(is_share(part.prose, whole.prose, 50) && is_alone && can_be_content(tree, best)) {
            return main;
        }
        main = best;
    }
}

fn is_block(tree: &Tree, id: NodeId) -> bool {
    tree.element(id)
        .is_some_and(|element| flow::of(element) != Flow::Hidden)
}

/// A single paragraph or item is no article.
fn can_be_content(tree: &Tree, id: NodeId) -> bool {
    tree.tag(id).is_some_and(|tag| {
        !matches!(
            *tag,
            local_name!("p")
                | local_name!("li")
                | local_name!("pre")
                | local_name!("dd")
                | local_name!("blockquote")
                | local_name!("figure")
                | local_name!("ul")
                | local_name!("ol")
                | local_name!("dl")
                | local_name!("span")
        )
    })
}

/// The heading and pictures that stand before the content, within what is marked as the article if anything is.
fn leads(tree: &Tree, body: NodeId, main: NodeId, weights: &Weights) -> Vec<NodeId> {
    let mut leads = Vec::new();
    let mut path = main;
    let mut is_headed = tree.elements(main).any(|(_, element)| is_title(element));
    let mut is_in_article = false;
    while path != body && !is_headed && !is_in_article {
        let before = std::iter::successors(tree.previous(path), |&id| tree.previous(id));
        for id in before {
            // Nearest first: nothing is fetched from above the heading.
            if !is_headed && is_lead(tree, id, weights.of(id), &mut is_headed) {
                leads.push(id);
            }
        }
        path = tree.parent(path).unwrap_or(body);
        is_in_article = tree.element(path).is_some_and(names::is_content);
    }
    // Pictures above content that has no heading are as likely the site's.
    if !is_headed && !is_in_article {
        return Vec::new();
    }
    leads.reverse();
    leads
}

fn is_lead(tree: &Tree, id: NodeId, weight: Weight, is_headed: &mut bool) -> bool {
    let holds_title = tree.elements(id).any(|(_, element)| is_title(element));
    *is_headed |= holds_title;
    let is_short = weight.text <= MAX_LEAD_CHARS
        && weight.linked <= MAX_LINKED_CHARS_BY_IMAGE * weight.images.max(2);
    // Above an article, a linked picture is the site's mark.
    let is_picture = weight.images > 0 && weight.links == 0;
    (holds_title || is_picture) && is_short
}

fn is_title(element: &Element) -> bool {
    element.tag().is_some_and(|tag| *tag == local_name!("h1"))
}

/// Marks boxes that are made of links to other pages.
fn leave_out_links(tree: &Tree, top: NodeId, weights: &Weights, left_out: &mut [bool]) {
    let whole = weights.of(top).prose;
    let mut walk = tree.walk(top);
    while let Some(step) = walk.next() {
        let Step::Enter(id) = step else { continue };
        let Content::Element(element) = tree.content(id) else {
            continue;
        };
        if left_out[Tree::index(id)] {
            walk.pass_over(id);
        } else if id != top && is_box(element) && is_made_of_links(weights.of(id), whole) {
            left_out[Tree::index(id)] = true;
            walk.pass_over(id);
        }
    }
}

/// What lists of links come in. Headings and paragraphs are part of the text even where all of it is linked.
fn is_box(element: &Element) -> bool {
    element.tag().is_some_and(|tag| {
        matches!(
            *tag,
            local_name!("div")
                | local_name!("section")
                | local_name!("ul")
                | local_name!("ol")
                | local_name!("dl")
                | local_name!("table")
                | local_name!("header")
                | local_name!("article")
                | local_name!("center")
                | local_name!("fieldset")
                | local_name!("details")
        )
    })
}

fn is_made_of_links(weight: Weight, prose_of_content: usize) -> bool {
    let most = match weight.prose {
        0 if weight.links > 2 => MAX_LINKED_PERCENT_ASIDE,
        _ => MAX_LINKED_PERCENT,
    };
    let shows_pictures = weight.linked <= MAX_LINKED_CHARS_BY_IMAGE * weight.images;
    let is_list = weight.linked_percent() > most
        && !shows_pictures
        && !is_share(weight.prose, prose_of_content, WHOLE_PERCENT);
    let are_teasers = weight.linked_headings >= 2
        && weight.linked_headings == weight.headings
        && weight.text <= MAX_TEASER_CHARS * weight.headings
        && !is_share(weight.prose, prose_of_content, MAX_TEASERS_PERCENT);
    is_list || are_teasers
}

#[cfg(test)]
mod tests {
    use super::super::tests::places;

    const PROSE: &str = "<p>The ferry leaves at noon, and whoever is late has to wait for another one until the evening.</p>
        <p>On the island there are, as the captain says, more goats than people, and more stones than goats.</p>
        <p>We went up to the chapel first, then down to the harbour, where somebody was mending a net.</p>
        <p>Nobody could say how old the lighthouse was, but everybody knew who had painted it last.</p>";

    /// What is kept around the prose.
    fn kept(before: &str, after: &str) -> Vec<String> {
        let page = format!("<body>{before}{PROSE}{after}</body>");
        let places = places(&page).into_iter();
        let is_prose = |place: &String| !PROSE.contains(place.as_str());
        places.filter(is_prose).collect()
    }

    #[test]
    fn frames_of_a_site_are_left_out() {
        for frame in [
            "<nav>Home About</nav>",
            "<footer>All rights reserved. <img src=f.png></footer>",
            "<aside>See also <img src=s.jpg></aside>",
            "<div role=navigation>Home</div>",
            "<div class='site-footer x'>Imprint</div>",
            "<div id=cookieConsent>We like cookies</div>",
            "<ul class=share-buttons><li>Share</ul>",
            "<section id=comments><p>First! <img src=avatar.jpg></section>",
            "<div class='ad'><img src=ad.jpg></div>",
            "<form>Your name</form>",
        ] {
            assert!(
                kept("", &format!("{frame}<p>x"))
                    .iter()
                    .all(|place| place == "x"),
                "{frame}"
            );
        }
    }

    #[test]
    fn names_that_are_like_those_of_frames_are_not() {
        for class in [
            "update",
            "header-image",
            "has-sidebar",
            "category-social",
            "threads",
            "download",
        ] {
            let kept = kept("", &format!("<div class={class}>x<img src=y.jpg></div>"));
            assert_eq!(kept, ["x", "[y.jpg]"], "{class}");
        }
    }

    #[test]
    fn a_name_around_nearly_all_prose_is_a_layout() {
        let page = format!("<body><div class='sidebar-layout social'>{PROSE}<img src=x.jpg></div>");
        assert!(places(&page).contains(&"[x.jpg]".to_owned()));
    }

    #[test]
    fn lists_of_links_are_left_out_and_links_in_prose_stay() {
        let links: String = (0..5)
            .map(|i| format!("<li><a href=/{i}>Another story {i}</a>"))
            .collect();
        assert!(kept("", &format!("<ul>{links}</ul>")).is_empty());
        let teasers: String = (0..3)
            .map(|i| format!("<div><a href=/{i}><img src={i}.jpg></a><h3><a href=/{i}>Story</a></h3>A few words on it.</div>"))
            .collect();
        assert!(kept("", &format!("<div>{teasers}</div>")).is_empty());
        let item = "<ul><li>Words, words and <a href=/x>a link</a> among more words, as notes have it.</ul>";
        assert_eq!(kept("", item).len(), 1);
    }

    #[test]
    fn pictures_in_links_are_content() {
        let gallery = "<div><a href=/1><img src=1.jpg></a><a href=2.jpg><img src=2s.jpg>enlarge this picture</a></div>";
        assert_eq!(
            kept("", gallery),
            ["[1.jpg]", "[2s.jpg]", "enlarge this picture"]
        );
    }

    #[test]
    fn a_heading_and_a_picture_before_the_text_belong_to_it() {
        let page = format!(
            "<body><div><a href=/><img src=logo.png></a></div><div><ul><li><a href=/1>Section one</a><li><a href=/2>Section two</a></ul>
             <h1>Island</h1><figure><img src=lead.jpg></figure><div><div>{PROSE}</div></div></div>
             <div><a href=/3>More of it, much more of it</a> for you to read</div>"
        );
        let places = places(&page);
        assert_eq!(places[..2], ["Island", "[lead.jpg]"]);
        assert_eq!(places.len(), 6);
    }

    #[test]
    fn several_sections_are_one_article() {
        let page = format!(
            "<body><main><section>{PROSE}</section><section>{PROSE}<img src=x.jpg></section></main>"
        );
        assert_eq!(places(&page).len(), 9);
    }

    #[test]
    fn a_page_of_pictures_is_shown_whole() {
        let page = "<body><nav>Home</nav><h1>Plates</h1><div><a href=/1><img src=1.jpg></a></div><div><img src=2.jpg>Plate 2</div>";
        assert_eq!(places(page), ["Plates", "[1.jpg]", "[2.jpg]", "Plate 2"]);
    }

    #[test]
    fn entries_of_a_table_are_content() {
        let table = "<div><table><tr><th>Island<th>Harbour<tr><td><a href=/1>Vis</a><td><a href=/2>Komiza</a></table></div>";
        assert_eq!(kept("", table), ["Island | Harbour\nVis | Komiza"]);
    }
}

//! How much text, linked text, prose and images an element holds.

use html5ever::local_name;

use super::attribute::Attr;
use super::flow::{self, Flow};
use super::tree::{Content, Element, NodeId, Step, Tree};
use super::{file, images, names, table};

/// Shorter runs of text are labels, bylines, dates.
const MIN_PROSE_CHARS: usize = 50;

/// What is in an element and below it, in characters that are not spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) text: usize,
    pub(super) linked: usize,
    pub(super) prose: usize,
    pub(super) links: usize,
    pub(super) images: usize,
    pub(super) headings: usize,
    /// Headings that lead to another page.
    pub(super) linked_headings: usize,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.text += other.text;
        self.linked += other.linked;
        self.prose += other.prose;
        self.links += other.links;
        self.images += other.images;
        self.headings += other.headings;
        self.linked_headings += other.linked_headings;
    }

    /// What is left without a part.
    pub(super) fn without(self, part: Self) -> Self {
        Self {
            text: self.text.saturating_sub(part.text),
            linked: self.linked.saturating_sub(part.linked),
            prose: self.prose.saturating_sub(part.prose),
            links: self.links.saturating_sub(part.links),
            images: self.images.saturating_sub(part.images),
            headings: self.headings.saturating_sub(part.headings),
            linked_headings: self.linked_headings.saturating_sub(part.linked_headings),
        }
    }

    /// The share of text that is linked, in percent.
    pub(super) fn linked_percent(self) -> usize {
        (100 * self.linked).checked_div(self.text).unwrap_or(0)
    }
}

/// Weights of all nodes, and which ones are left out.
#[derive(Debug)]
pub(super) struct Weights {
    weights: Vec<Weight>,
}

impl Weights {
    pub(super) fn of(&self, id: NodeId) -> Weight {
        self.weights[Tree::index(id)]
    }
}

/// A run of text between the ends of two blocks.
#[derive(Default)]
struct Run {
    text: usize,
    linked: usize,
    is_sentence: bool,
}

impl Run {
    fn read(&mut self, text: &str, link: Link) {
        let mut count = 0;
        for c in text.chars() {
            count += usize::from(!(c.is_ascii_whitespace() || !c.is_ascii() && c.is_whitespace()));
            self.is_sentence |= matches!(
                c,
                '.' | ',' | ';' | '!' | '?' | '。' | '、' | '，' | '！' | '？' | '؟' | '،' | '।'
            );
        }
        self.text += count;
        self.linked += match link {
            Link::None => 0,
            Link::Away => count,
            // A note, a table of contents: as in Readability, a third.
            Link::Here => count / 3,
        };
    }

    fn prose(&self) -> usize {
        let plain = self.text - self.linked;
        match self.is_sentence && plain >= MIN_PROSE_CHARS && plain >= self.linked {
            true => plain,
            false => 0,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    None,
    Away,
    Here,
}

/// Weighs all that is seen below `top`, but for what is left out.
pub(super) fn weigh(tree: &Tree, top: NodeId, is_left_out: impl Fn(NodeId) -> bool) -> Weights {
    let mut scale = Scale {
        tree,
        weights: vec![Weight::default(); tree.len()],
        run: Run::default(),
        link: Link::None,
        heading: None,
        table: None,
    };
    let mut walk = tree.walk(top);
    while let Some(step) = walk.next() {
        match step {
            Step::Enter(id) => match tree.content(id) {
                Content::Text(text) => scale.text(id, text),
                Content::Element(element) => {
                    let flow = flow::of(element);
                    if flow == Flow::Block {
                        let around = tree.parent(id).unwrap_or(id);
                        scale.end_run(around);
                    }
                    if matches!(flow, Flow::Hidden | Flow::Noscript) || is_left_out(id) {
                        walk.pass_over(id);
                    } else {
                        scale.enter(id, element);
                    }
                }
                Content::Root | Content::Nothing => {}
            },
            Step::Leave(id) => {
                scale.leave(id);
                if let Some(parent) = tree.parent(id).filter(|_| id != top) {
                    let weight = scale.of(id);
                    scale.weight(parent).add(weight);
                }
            }
        }
    }
    Weights {
        weights: scale.weights,
    }
}

/// The walk's state.
struct Scale<'a> {
    tree: &'a Tree,
    weights: Vec<Weight>,
    run: Run,
    link: Link,
    heading: Option<NodeId>,
    /// A table of data: it has no other in it.
    table: Option<NodeId>,
}

impl Scale<'_> {
    fn of(&self, id: NodeId) -> Weight {
        self.weights[Tree::index(id)]
    }

    fn weight(&mut self, id: NodeId) -> &mut Weight {
        &mut self.weights[Tree::index(id)]
    }

    fn text(&mut self, id: NodeId, text: &str) {
        let before = (self.run.text, self.run.linked);
        self.run.read(text, self.link);
        let (text, linked) = (self.run.text - before.0, self.run.linked - before.1);
        let weight = self.weight(id);
        (weight.text, weight.linked) = (text, linked);
    }

    fn enter(&mut self, id: NodeId, element: &Element) {
        if images::is_image(element) && !images::is_small(element) {
            self.weight(id).images = 1;
        }
        match element.tag() {
            Some(&local_name!("table")) if table::is_labelled(self.tree, id) => {
                self.table = Some(id);
                return;
            }
            Some(&local_name!("a")) => {
                self.link = match link_to(element.attribute(Attr::Href)) {
                    Link::Away if self.table.is_some() => Link::Here,
                    link => link,
                };
                self.weight(id).links = usize::from(self.link == Link::Away);
            }
            Some(tag) if names::is_heading(tag) => {
                self.weight(id).headings = 1;
                self.heading = Some(id);
            }
            _ => return,
        }
        // Whichever is in the other.
        if let Some(heading) = self.heading.filter(|_| self.link == Link::Away) {
            self.weight(heading).linked_headings = 1;
        }
    }

    fn leave(&mut self, id: NodeId) {
        let Some(element) = self.tree.element(id) else {
            return;
        };
        if flow::of(element) == Flow::Block {
            self.end_run(id);
        }
        match element.tag() {
            Some(&local_name!("a")) => self.link = Link::None,
            Some(&local_name!("table")) if self.table == Some(id) => self.table = None,
            _ => {}
        }
        if self.heading == Some(id) {
            self.heading = None;
        }
    }

    /// The run is text of a block, or of what a block stands in.
    fn end_run(&mut self, of: NodeId) {
        let prose = std::mem::take(&mut self.run).prose();
        self.weight(of).prose += prose;
    }
}

fn link_to(href: Option<&str>) -> Link {
    match href {
        None => Link::None,
        Some(href) if href.trim_ascii_start().starts_with('#') => Link::Here,
        // To see it larger.
        Some(href) if file::is_picture_address(href) => Link::None,
        Some(_) => Link::Away,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    fn weight(page: &str) -> Weight {
        let tree = tree(page);
        weigh(&tree, Tree::ROOT, |_| false).of(Tree::ROOT)
    }

    #[test]
    fn only_sentences_that_are_not_linked_are_prose() {
        let sentence =
            "It is a long sentence, as they stand in articles and nowhere else in a page.";
        let prose = |page: String| weight(&page).prose;
        assert!(prose(format!("<p>{sentence}")) > 50);
        assert!(prose(format!("<div>{sentence}<div>x</div></div>")) > 50);
        assert_eq!(prose(format!("<p><a href=/>{sentence}</a>")), 0);
        assert_eq!(prose("<p>Short.".to_owned()), 0);
        assert_eq!(prose("<p>word <p>word <p>word".repeat(20)), 0);
        assert_eq!(prose(format!("<p style='display: none'>{sentence}")), 0);
    }

    #[test]
    fn links_to_pictures_and_within_the_page_are_not_links_away() {
        assert_eq!(weight("<a href=/x.JPG>large</a>").links, 0);
        assert_eq!(weight("<a href='#n'>note 12</a>").linked, 2);
        let away = weight("<a href=/x>away</a> here");
        assert_eq!((away.links, away.linked, away.text), (1, 4, 8));
    }

    #[test]
    fn a_heading_leads_away_whichever_way_it_is_linked() {
        for page in ["<h3><a href=/x>a</a></h3>", "<a href=/x><h3>a</h3></a>"] {
            let weight = weight(page);
            assert_eq!((weight.headings, weight.linked_headings), (1, 1), "{page}");
        }
        assert_eq!(weight("<h3>a</h3><a href=/x>b</a>").linked_headings, 0);
    }

    #[test]
    fn entries_of_a_table_are_not_ways_out() {
        let table = "<table><tr><th>x<th>y<tr><td><a href=/1>abc</a><td><a href=/2>def</a></table>";
        assert_eq!(weight(table).linked, 2);
    }

    #[test]
    fn icons_are_no_images() {
        assert_eq!(
            weight("<img src=a width=20><img src=b><img src=c height=0 width=600>").images,
            2
        );
    }
}

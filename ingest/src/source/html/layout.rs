//! The content of a page to texts and images in the order of the page, spaced as a browser shows it.

use std::collections::HashSet;

use html5ever::local_name;
use url::Url;

use super::flow::{self, Flow};
use super::images;
use super::readable::Readable;
use super::table;
use super::tree::{Content, Element, NodeId, Step, Tree};
use super::twins::{self, Twin};
use super::{HtmlPlace, LeftOut};

/// Between the cells of a row. A tab would be collapsed by whatever reads the text next.
const CELL: &str = " | ";

/// Writes out what is readable.
pub(super) fn places(tree: &Tree, readable: &Readable, base: &Url) -> Vec<HtmlPlace> {
    let mut layout = Layout {
        tree,
        base,
        places: Vec::new(),
        text: Text::default(),
        seen: HashSet::new(),
        table: None,
        noscripts: 0,
    };
    for &top in readable.leads.iter().chain([&readable.main]) {
        layout.write(top, readable);
    }
    layout.places
}

struct Layout<'a> {
    tree: &'a Tree,
    base: &'a Url,
    places: Vec<HtmlPlace>,
    text: Text,
    seen: HashSet<String>,
    /// The table whose rows are lines, if within one.
    table: Option<NodeId>,
    noscripts: usize,
}

impl Layout<'_> {
    fn write(&mut self, top: NodeId, readable: &Readable) {
        let mut walk = self.tree.walk(top);
        while let Some(step) = walk.next() {
            match step {
                Step::Enter(id) => match self.tree.content(id) {
                    Content::Text(text) if self.noscripts == 0 => self.text.push(text),
                    Content::Element(element) => {
                        let flow = flow::of(element);
                        if flow == Flow::Block {
                            self.boundary();
                        }
                        if flow == Flow::Hidden || readable.is_left_out(id) {
                            walk.pass_over(id);
                        } else {
                            self.enter(id, element, flow);
                        }
                    }
                    _ => {}
                },
                Step::Leave(id) => {
                    if let Some(element) = self.tree.element(id)
                        && !readable.is_left_out(id)
                    {
                        self.leave(id, element, flow::of(element));
                    }
                }
            }
        }
        self.end_text();
    }

    fn enter(&mut self, id: NodeId, element: &Element, flow: Flow) {
        match flow {
            Flow::Break => self.text.gap(Gap::Line),
            Flow::Noscript => self.noscripts += 1,
            _ if images::is_image(element) => self.image(id),
            _ => {}
        }
        if is_preformatted(element) {
            self.text.preformatted += 1;
        }
        let is_table = element
            .tag()
            .is_some_and(|tag| *tag == local_name!("table"));
        if is_table && self.table.is_none() && table::is_of_data(self.tree, id) {
            self.table = Some(id);
        }
    }

    fn leave(&mut self, id: NodeId, element: &Element, flow: Flow) {
        if flow == Flow::Noscript {
            self.noscripts -= 1;
        }
        if self.table == Some(id) {
            self.table = None;
        }
        if is_preformatted(element) && flow != Flow::Hidden {
            self.text.preformatted -= 1;
        }
        match element.tag() {
            Some(&(local_name!("td") | local_name!("th"))) if self.table.is_some() => {
                let mut rest = std::iter::successors(self.tree.next(id), |&id| self.tree.next(id));
                if rest.any(|next| is_cell(self.tree, next)) {
                    self.text.end_cell();
                }
            }
            Some(&(local_name!("tr") | local_name!("caption"))) if self.table.is_some() => {
                self.text.end_row();
            }
            _ if flow == Flow::Block => self.boundary(),
            _ => {}
        }
    }

    /// A block begins or ends.
    fn boundary(&mut self) {
        match self.table {
            Some(_) => self.text.gap(Gap::Space),
            None => self.end_text(),
        }
    }

    fn end_text(&mut self) {
        self.places.extend(self.text.take().map(HtmlPlace::Text));
    }

    fn image(&mut self, id: NodeId) {
        let twin = match twins::find(self.tree, id) {
            Twin::ReadThere => return,
            Twin::Of(twin) => Some(twin),
            Twin::None => None,
        };
        let Some(mut image) = images::read(self.tree, id, twin, self.base) else {
            return;
        };
        if image.left_out.is_none() && !self.seen.insert(image.url.clone()) {
            image.left_out = Some(LeftOut::Repeated);
        }
        // Small ones stand within a line, which goes on behind them.
        let interrupts = image.left_out.is_none();
        if interrupts {
            self.end_text();
        }
        self.places.push(HtmlPlace::Image(image));
    }
}

fn is_preformatted(element: &Element) -> bool {
    element.tag().is_some_and(|tag| {
        matches!(
            *tag,
            local_name!("pre")
                | local_name!("listing")
                | local_name!("xmp")
                | local_name!("plaintext")
        )
    })
}

fn is_cell(tree: &Tree, id: NodeId) -> bool {
    tree.tag(id)
        .is_some_and(|tag| matches!(*tag, local_name!("td") | local_name!("th")))
}

/// What lies between two words, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
}

/// A text while it is written.
#[derive(Debug, Default)]
struct Text {
    written: String,
    gap: Gap,
    preformatted: usize,
    row: usize,
}

impl Text {
    fn gap(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn push(&mut self, text: &str) {
        // Hints of where a word may be parted are not seen.
        let mut text = text.chars().filter(|&c| c != '\u{ad}' && c != '\0');
        if self.preformatted > 0 {
            self.fill_gap();
            self.written.extend(text.by_ref().filter(|&c| c != '\r'));
            return;
        }
        for c in text {
            if c.is_whitespace() {
                self.gap(Gap::Space);
            } else {
                self.fill_gap();
                self.written.push(c);
            }
        }
    }

    fn fill_gap(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        let starts_line = self.written.is_empty() || self.written.ends_with(['\n', ' ']);
        match gap {
            Gap::Line if !self.written.is_empty() => self.written.push('\n'),
            Gap::Space if !starts_line => self.written.push(' '),
            _ => {}
        }
    }

    fn end_cell(&mut self) {
        if self.gap == Gap::Line {
            self.fill_gap();
        }
        self.gap = Gap::None;
        self.written.push_str(CELL);
    }

    fn end_row(&mut self) {
        let row = &self.written[self.row..];
        if !row.contains(|c: char| !c.is_whitespace() && c != '|') {
            self.written.truncate(self.row);
        }
        self.written.truncate(self.written.trim_end().len());
        if !self.written.is_empty() {
            self.written.push('\n');
        }
        self.row = self.written.len();
        self.gap = Gap::None;
    }

    fn take(&mut self) -> Option<String> {
        let written = std::mem::take(&mut self.written);
        (self.gap, self.row) = (Gap::None, 0);
        let written = written.trim_matches('\n').trim_end();
        (!written.trim().is_empty()).then(|| written.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::places;

    #[test]
    fn spaces_collapse_and_blocks_part_texts() {
        assert_eq!(
            places("<p> a\n <b> b</b>c <i></i> d<p>e&nbsp;f&shy;g"),
            ["a bc d", "e fg"]
        );
        assert_eq!(
            places("a<div>b<div>c</div>d</div>e"),
            ["a", "b", "c", "d", "e"]
        );
        assert_eq!(places("<ul><li>a<li>b<ul><li>c</ul></ul>"), ["a", "b", "c"]);
        assert_eq!(places("<p>a <br> b<br><br>c<br>"), ["a\nb\nc"]);
    }

    #[test]
    fn preformatted_text_keeps_its_lines() {
        assert_eq!(places("<pre>\n\n a\n  b\r\n</pre>c"), [" a\n  b", "c"]);
    }

    #[test]
    fn an_image_stands_where_it_stood() {
        let page =
            "<p>a<img src=1.jpg>b</p><figure><img src=2.jpg><figcaption>c</figcaption></figure>
                    <ul><li><img src=3.jpg>d</ul><table><tr><td><img src=4.jpg><td>e</table>
                    <picture><img src=5.jpg></picture>";
        let expected = [
            "a", "[1.jpg]", "b", "[2.jpg]", "c", "[3.jpg]", "d", "[4.jpg]", "e", "[5.jpg]",
        ];
        assert_eq!(places(page), expected);
    }

    #[test]
    fn an_icon_does_not_break_a_line() {
        assert_eq!(
            places("<p>a <img src=1.gif width=16> b"),
            ["[1.gif]", "a b"]
        );
    }

    #[test]
    fn rows_are_lines_and_cells_are_told_apart() {
        let page = "<table><caption>t</caption><tr><th>a<th>b<th>c<tr><td><p>d</p><p>e</p><td><td>f</table>g";
        assert_eq!(places(page), ["t\na | b | c\nd e |  | f", "g"]);
    }

    #[test]
    fn tables_that_place_things_are_read_cell_by_cell() {
        assert_eq!(
            places("<table><tr><td>a<td><table><tr><td>b</table></table>"),
            ["a", "b"]
        );
    }
}

//! Text of a page to its tree, within limits: the parser is fed in pieces, and stopped between two of them.
//!
//! html5ever looks through all open elements at many a tag, through all attributes at each attribute, and may make new
//! nodes for every formatting element that was left open: a page can ask for time and memory that grow with its square.

use std::cell::{Cell, RefCell};

use html5ever::buffer_queue::BufferQueue;
use html5ever::interface::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5ever::{Attribute, LocalName};

use super::attribute::Attr;
use super::sink::{Handle, Sink};
use super::tag_scan::TagScan;
use super::tree::Tree;
use super::{HtmlError, Limits};

/// Text is fed in pieces of at most this; a piece holds at most one tag.
const PIECE_BYTES: usize = 4096;

/// Parses a page, as a browser does that runs no scripts.
pub(super) fn parse(page: &str, limits: &Limits) -> Result<Tree, HtmlError> {
    let builder = TreeBuilder::new(
        Sink::default(),
        TreeBuilderOpts {
            scripting_enabled: false,
            drop_doctype: true,
            ..TreeBuilderOpts::default()
        },
    );
    let watched = Watched {
        inner: builder,
        tokens: Cell::new(0),
        attributes: Cell::new(0),
        names: RefCell::default(),
    };
    let tokenizer = Tokenizer::new(watched, TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut feed = Feed::default();
    let whole = StrTendril::from_slice(page);
    let mut start = 0;
    while start < page.len() {
        let length = piece(&page[start..]);
        let (from, count) = (offset(start), offset(length));
        queue.push_back(whole.subtendril(from, count));
        let tokens = tokenizer.sink.tokens.get();
        run(&tokenizer, &queue);
        let is_open = tokenizer.sink.tokens.get() == tokens;
        feed.fed(&page[start..start + length], is_open);
        check(&tokenizer.sink, &feed, limits)?;
        start += length;
    }
    run(&tokenizer, &queue);
    tokenizer.end();
    check(&tokenizer.sink, &feed, limits)?;
    Ok(tokenizer.sink.inner.sink.into_tree())
}

/// Scripts are not run: the tokenizer goes on where it gave one out.
fn run(tokenizer: &Tokenizer<Watched>, queue: &BufferQueue) {
    while let TokenizerResult::Script(_) | TokenizerResult::EncodingIndicator(_) =
        tokenizer.feed(queue)
    {}
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("pages are limited to less than 4 GiB")
}

/// How much to feed next: up to where the next tag or comment could begin.
fn piece(rest: &str) -> usize {
    let most = rest.ceil_char_boundary(PIECE_BYTES);
    let after = rest.as_bytes()[..most].iter().enumerate().skip(1);
    let mut opening = after.filter(|(_, byte)| **byte == b'<').map(|(at, _)| at);
    // A lone `<` is text: a page of nothing else is not fed byte by byte.
    let is_tag = |at: &usize| {
        let next = rest.as_bytes().get(at + 1);
        next.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?'))
    };
    opening.find(is_tag).unwrap_or(most)
}

fn check(sink: &Watched, feed: &Feed, limits: &Limits) -> Result<(), HtmlError> {
    let tree = &sink.inner.sink;
    if tree.len() > limits.max_nodes || sink.attributes.get() > limits.max_nodes {
        return Err(HtmlError::Nodes(limits.max_nodes));
    }
    if tree.depth() > limits.max_depth {
        return Err(HtmlError::Depth(limits.max_depth));
    }
    if feed.attributes() > limits.max_attributes {
        return Err(HtmlError::Attributes(limits.max_attributes));
    }
    Ok(())
}

/// What is known of a tag that the tokenizer has begun and not given out.
#[derive(Default)]
struct Feed {
    tag: Option<TagScan>,
}

impl Feed {
    /// Takes note of a piece; `is_open` where the tokenizer gave nothing out on reading it.
    fn fed(&mut self, piece: &str, is_open: bool) {
        if !is_open {
            self.tag = None;
            return;
        }
        let tag = match &mut self.tag {
            Some(tag) => tag,
            None => match TagScan::at_start_of(piece) {
                Some(tag) => self.tag.insert(tag),
                None => return,
            },
        };
        tag.read(piece.as_bytes());
    }

    fn attributes(&self) -> usize {
        self.tag.as_ref().map_or(0, TagScan::attributes)
    }
}

/// Stands before the tree builder: counts what passes and takes from tags what nobody reads.
struct Watched {
    inner: TreeBuilder<Handle, Sink>,
    tokens: Cell<u64>,
    attributes: Cell<usize>,
    names: RefCell<Names>,
}

/// What [`Attr::named`] said last of a name: most tags repeat the names of those before.
#[derive(Default)]
struct Names(Vec<(LocalName, bool)>);

impl Names {
    const MOST: usize = 32;

    fn is_read(&mut self, name: &LocalName) -> bool {
        if let Some((_, is_read)) = self.0.iter().find(|(known, _)| known == name) {
            return *is_read;
        }
        // The tree builder asks for the last four itself.
        let is_read = Attr::named(name).is_some()
            || matches!(&**name, "encoding" | "color" | "face" | "size");
        if self.0.len() < Self::MOST {
            self.0.push((name.clone(), is_read));
        }
        is_read
    }
}

impl TokenSink for Watched {
    type Handle = Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Handle> {
        let token = match token {
            Token::ParseError(_) => return TokenSinkResult::Continue,
            Token::TagToken(mut tag) => {
                self.thin_out(&mut tag);
                Token::TagToken(tag)
            }
            token => token,
        };
        self.tokens.set(self.tokens.get() + 1);
        self.inner.process_token(token, line)
    }

    fn end(&self) {
        self.inner.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.inner
            .adjusted_current_node_present_but_not_in_html_namespace()
    }
}

impl Watched {
    fn thin_out(&self, tag: &mut Tag) {
        match tag.kind {
            TagKind::EndTag => tag.attrs.clear(),
            TagKind::StartTag => {
                let mut names = self.names.borrow_mut();
                tag.attrs
                    .retain(|Attribute { name, .. }| names.is_read(&name.local));
            }
        }
        self.attributes.set(self.attributes.get() + tag.attrs.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn parsed(page: &str) -> Result<Tree, HtmlError> {
        parse(page, &Limits::default())
    }

    fn numbered(count: usize, write: impl Fn(usize) -> String) -> String {
        (0..count).map(write).collect()
    }

    #[test]
    fn nesting_is_stopped_at_its_limit() {
        for tag in [
            "<div>",
            "<font>",
            "<b><div>",
            "<table><td>",
            "<svg>",
            "<ul><li>",
            "<x>",
        ] {
            assert!(
                matches!(parsed(&tag.repeat(1_000_000)), Err(HtmlError::Depth(_))),
                "{tag}"
            );
        }
    }

    #[test]
    fn formatting_elements_cannot_multiply() {
        let page = numbered(200_000, |i| format!("<b id={i}>x</p><p>"));
        assert!(parsed(&page).is_err());
        let open = numbered(400, |i| format!("<b id={i}>"));
        let page = open + &"x</p><p>".repeat(500_000);
        assert!(matches!(parsed(&page), Err(HtmlError::Nodes(_))));
    }

    #[test]
    fn attributes_of_a_tag_are_counted_before_they_are_compared() {
        let many = numbered(500_000, |i| format!("a{i} "));
        for start in ["<p ", "<p/", "</p ", "<p x='>' y=z ", "<p =\" "] {
            assert!(
                matches!(
                    parsed(&format!("{start}{many}")),
                    Err(HtmlError::Attributes(_))
                ),
                "{start}"
            );
        }
        // Not attributes, however much they look like them.
        for start in [
            "<!-- ",
            "<script><p ",
            "<p title='",
            "<title><p ",
            "<p><x><!doctype ",
        ] {
            assert!(parsed(&format!("{start}{many}")).is_ok(), "{start}");
        }
    }

    #[test]
    fn hostile_pages_are_read_or_refused_in_time() {
        let open = "<i>".repeat(3) + &"<div>".repeat(450);
        let pages = [
            "<a>".repeat(100_000),
            "<table>".repeat(100_000),
            "<a><table>".repeat(100_000),
            "<".repeat(1_000_000),
            "\0".repeat(1_000_000),
            "&".repeat(1_000_000),
            "</p>".repeat(200_000),
            "<!-->".repeat(200_000),
            "<b><div></b>".repeat(300_000),
            "<form><input>".repeat(300_000),
            format!("<p class='{}'>", "x ".repeat(2_000_000)),
            open.clone() + &"<p></p>".repeat(500_000),
            open.clone() + &"</i><i>".repeat(500_000),
            open + &"</x>".repeat(200_000),
            numbered(500_000, |i| format!("<x{i}></x{i}>")),
            numbered(10_000, |i| {
                format!("<p {}>", numbered(100, |j| format!("a{i}.{j} ")))
            }),
            "<select>".to_owned() + &"<option><svg>".repeat(300_000),
            "<table>".to_owned() + &"<p>x".repeat(500_000),
        ];
        for page in pages {
            let start = Instant::now();
            let nodes = parsed(&page).map_or(0, |tree| tree.len());
            let took = start.elapsed();
            // Generous: a test runs unoptimised, beside others. Quadratic behaviour takes minutes.
            assert!(
                took < Duration::from_secs(30),
                "{took:?} {nodes} {}",
                &page[..40]
            );
        }
    }

    #[test]
    fn pieces_may_part_the_page_anywhere() {
        let page = format!(
            "<p>{}</p><p title='<b'>{}</p>",
            "é".repeat(5000),
            "<".repeat(9)
        );
        let tree = parsed(&page).expect("harmless");
        let text: String = tree
            .walk(Tree::ROOT)
            .filter_map(|step| match step {
                super::super::tree::Step::Enter(id) => match tree.content(id) {
                    super::super::tree::Content::Text(text) => Some(text.to_string()),
                    _ => None,
                },
                super::super::tree::Step::Leave(_) => None,
            })
            .collect();
        assert_eq!(text, "é".repeat(5000) + &"<".repeat(9));
    }
}

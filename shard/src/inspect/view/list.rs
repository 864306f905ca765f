//! Documents in the dataset's order, or those that a question takes; beside each, where there are two datasets, the one of
//! the same id.

use std::time::{Duration, Instant};

use lcl_schemas::row::Row;
use maud::{Markup, html};

use super::Desk;
use super::address::{Link, Place, Query};
use super::document::{Extent, Origin, Pictures, Sheet, broken};
use super::frame::{Tab, page};
use super::guard::Led;
use super::refusal::Refusal;
use super::search::{Cursor, Entry, Found, Reading, Unasked, Wanted, find};
use super::shelf::{Located, Looked, Shelf};
use super::text::{count, counted, visible};
use crate::order::RowAt;

/// Documents of a page.
const PAGE: usize = 20;
/// For one page to look for documents; then it offers to go on.
const TIME: Duration = Duration::from_millis(1500);

/// A page's question and where it stands.
struct Asked<'a> {
    desk: &'a Desk,
    shelf: &'a Shelf,
    origin: Origin,
    question: &'a str,
    reading: Reading,
    cursor: Cursor,
}

impl<'a> Asked<'a> {
    fn of(desk: &'a Desk, query: &'a Query) -> Result<Self, Refusal> {
        let (shelf, origin) = desk.shelf(query)?;
        let start = RowAt { group: 0, row: 0 };
        let cursor = match (query.place("at")?, query.place("before")?) {
            (Some(at), _) if at != start && !shelf.has(at) => {
                return Err(Refusal::Missing(format!(
                    "there is no document at {}",
                    Place(at)
                )));
            }
            (Some(at), _) => Cursor::From(at),
            (None, Some(before)) if before != shelf.end() && !shelf.has(before) => {
                return Err(Refusal::Missing(format!(
                    "there is no document at {}",
                    Place(before)
                )));
            }
            (None, Some(before)) => Cursor::Before(before),
            (None, None) => Cursor::From(start),
        };
        let reading = match query.text("as") {
            Some("words") => Reading::Words,
            _ => Reading::Either,
        };
        Ok(Self {
            desk,
            shelf,
            origin,
            question: query.text("q").unwrap_or_default(),
            reading,
            cursor,
        })
    }

    /// The same question elsewhere.
    fn link(&self) -> Link {
        let link = Link::to("/").maybe("d", self.origin.number());
        let link = link.maybe(
            "q",
            Some(self.question).filter(|question| !question.is_empty()),
        );
        link.maybe("as", (self.reading == Reading::Words).then_some("words"))
    }

    fn from(&self, at: RowAt) -> String {
        self.link().with("at", Place(at)).build()
    }

    fn before(&self, at: RowAt) -> String {
        self.link().with("before", Place(at)).build()
    }
}

/// The page of documents.
pub(super) fn list(desk: &Desk, query: &Query, led: Led) -> Result<Markup, Refusal> {
    let asked = Asked::of(desk, query)?;
    let content = match led {
        Led::Elsewhere if !asked.question.is_empty() => html! {
            p.note { "Another site led here with this question. It is answered when you ask it: press Search." }
        },
        Led::Elsewhere | Led::Here => answer(&asked),
    };
    let wide = desk.shelves.len() > 1;
    let body = html! {
        main.wide[wide].narrow[!wide] { (top(&asked)) (content) }
    };
    Ok(page(&title(&asked), Tab::Documents, &body))
}

/// To a question that a person has asked: others are not even read.
fn answer(asked: &Asked) -> Markup {
    match Wanted::parse(asked.question, asked.reading) {
        Err(Unasked::TooLong) => html! {
            p.error { "Ask for fewer words." }
        },
        Err(Unasked::NoPredicate(detail)) => html! {
            p.error { "This is no predicate: " (visible(&detail)) }
            p { a href=(asked.link().with("as", "words").build()) { "Look for these as words instead" } }
        },
        Ok(wanted) => documents(asked, &wanted),
    }
}

fn title(asked: &Asked) -> String {
    match asked.question {
        "" => asked.shelf.name.clone(),
        question => format!("{question} – {}", asked.shelf.name),
    }
}

/// What the dataset is, and where to ask.
fn top(asked: &Asked) -> Markup {
    let Asked { desk, shelf, .. } = asked;
    let groups = shelf.reader.groups();
    let images: u64 = groups.iter().map(|group| group.images).sum();
    let tokens: u64 = groups.iter().map(|group| group.tokens).sum();
    html! {
        header.dataset {
            h1 { bdi { (visible(&shelf.name)) } }
            p.quiet {
                (counted(shelf.documents(), "document", "documents")) ", "
                (counted(images, "stored image", "stored images")) ", "
                (counted(tokens, "token", "tokens"))
            }
            @if let Some((other, origin)) = desk.beside(asked.origin.dataset) {
                p.quiet {
                    "Beside it " bdi { (visible(&other.name)) } ". "
                    a href=(Link::to("/").maybe("d", origin.number()).build()) accesskey="x" { "The other one first" }
                }
            }
        }
        form.search action="/" method="get" role="search" {
            @if let Some(dataset) = asked.origin.number() { input type="hidden" name="d" value=(dataset); }
            label for="q" { "Search" }
            input #q type="search" name="q" value=(asked.question) accesskey="s" autocomplete="off" spellcheck="false"
                placeholder="words, or n_images >= 2 AND language = 'en'";
            button { "Search" }
        }
        details.help {
            summary { "How to search" }
            p { "Words are looked for in texts, in any case; all of them have to be there. Words between \"quotes\" have to stand together." }
            p { "Or an SQL predicate over the columns id, source, url, language, texts, images, tokens, spans, n_tokens, n_images:" }
            ul {
                @for example in ["n_images >= 2 AND language = 'en'", "url LIKE '%wiki%'", "cardinality(texts) > 20", "n_tokens BETWEEN 50 AND 60"] {
                    li { a href=(Link::to("/").maybe("d", asked.origin.number()).with("q", example).build()) { code { (example) } } }
                }
            }
            p { "Keys, with what your browser has before access keys (Alt, or Alt and Shift, or Control and Option): " kbd { "j" } " later, " kbd { "k" } " earlier, " kbd { "s" } " search, " kbd { "h" } " all documents, " kbd { "b" } " batches, " kbd { "r" } " at random, " kbd { "t" } " token layout. Tab goes from document to document." }
        }
    }
}

fn documents(asked: &Asked, wanted: &Wanted) -> Markup {
    let found = find(asked.shelf, wanted, asked.cursor, PAGE, TIME);
    let beside = beside(asked, &found.entries);
    // A key that two links have does nothing.
    let [above, below] =
        [[Some("k"), Some("j")], [None, None]].map(|keys| pager(asked, &found, keys));
    if let Some(failed) = &found.failed {
        return html! {
            p.error { (visible(failed)) }
            p.note { "Let it ask only where it has an answer: " code { "CASE WHEN n_images > 0 THEN n_tokens / n_images > 50 END" } "." }
        };
    }
    html! {
        p.summary role="status" { (summary(asked, wanted, &found)) }
        (above)
        @for entry in &found.entries {
            @match &beside {
                None => (card(asked, wanted, entry)),
                Some(beside) => div.pair { (card(asked, wanted, entry)) (beside.card(entry)) },
            }
        }
        @if found.out_of_time { (out_of_time(asked, &found)) }
        @if !found.entries.is_empty() { (below) }
    }
}

fn summary(asked: &Asked, wanted: &Wanted, found: &Found) -> Markup {
    let shelf = asked.shelf;
    let all = count(shelf.documents());
    let (first, last) = (found.entries.first(), found.entries.last());
    match (wanted, first, last) {
        (Wanted::All, Some(first), Some(last)) => html! {
            "Documents " (count(shelf.number(first.at()) + 1)) " to " (count(shelf.number(last.at()) + 1)) " of " (all)
        },
        (Wanted::All, ..) => html! { "No documents here." },
        (wanted, ..) => html! {
            @match wanted {
                Wanted::Words(words) => {
                    "Texts with " @for (index, word) in words.iter().enumerate() { @if index > 0 { ", " } q { (visible(word)) } }
                },
                _ => "Documents that the predicate takes",
            }
            ": "
            @if found.entries.is_empty() { "none" } @else { (count(found.entries.len() as u64)) " on this page" }
            " among " (count(found.seen)) " of " (all) " looked at, in "
            (format!("{:.2}", found.took.as_secs_f64())) " s."
        },
    }
}

fn out_of_time(asked: &Asked, found: &Found) -> Markup {
    let Some(next) = found.next else {
        return html! {};
    };
    let (says, link) = match asked.cursor {
        Cursor::From(_) => ("from", asked.from(next)),
        Cursor::Before(_) => ("before", asked.before(next)),
    };
    html! {
        p.note {
            "Time was up; the rest is not looked at yet. "
            a href=(link) { "Go on " (says) " document " (count(asked.shelf.number(next) + 1)) " →" }
        }
    }
}

fn pager(asked: &Asked, found: &Found, [before, after]: [Option<&str>; 2]) -> Markup {
    let start = RowAt { group: 0, row: 0 };
    let (earlier, later) = match asked.cursor {
        Cursor::From(at) => (Some(at).filter(|at| *at > start), found.next),
        Cursor::Before(at) => (found.next, Some(at).filter(|at| asked.shelf.has(*at))),
    };
    html! {
        nav.pager aria-label="Pages of documents" {
            @match earlier {
                Some(at) => a rel="prev" href=(asked.before(at)) accesskey=[before] { "← Earlier" },
                None => span.quiet { "The beginning" },
            }
            @match later {
                Some(at) => a rel="next" href=(asked.from(at)) accesskey=[after] { "Later →" },
                None => span.quiet { "The end" },
            }
        }
    }
}

fn card(asked: &Asked, wanted: &Wanted, entry: &Entry) -> Markup {
    match entry {
        Entry::Broken { at, error } => broken(*at, error),
        Entry::Document { at, row } => sheet(&asked.origin, *at, row, wanted.words()).card(),
    }
}

fn sheet<'a>(origin: &'a Origin, at: RowAt, row: &'a Row, words: &'a [String]) -> Sheet<'a> {
    Sheet {
        at,
        row,
        pictures: Pictures::Served(origin),
        words,
        extent: Extent::CARD,
    }
}

/// What the other dataset has of a page's documents.
struct Beside<'a> {
    shelf: &'a Shelf,
    origin: Origin,
    located: Located,
}

fn beside<'a>(asked: &Asked<'a>, entries: &[Entry]) -> Option<Beside<'a>> {
    let (shelf, origin) = asked.desk.beside(asked.origin.dataset)?;
    let ids = entries.iter().filter_map(|entry| match entry {
        Entry::Document { row, .. } => Some(row.document.id.as_str()),
        Entry::Broken { .. } => None,
    });
    let groups = asked.shelf.reader.groups();
    let mut units: Vec<&str> = entries
        .iter()
        .map(|entry| groups[entry.at().group as usize].unit.as_str())
        .collect();
    units.dedup();
    let located = shelf.locate(ids, &units, Some(Instant::now() + TIME));
    Some(Beside {
        shelf,
        origin,
        located,
    })
}

impl Beside<'_> {
    fn card(&self, entry: &Entry) -> Markup {
        let Entry::Document { row, .. } = entry else {
            return html! { div.absent {} };
        };
        let place = self.located.places.get(&row.document.id);
        match place.map(|at| (*at, self.shelf.row(*at))) {
            Some((at, Ok(row))) => sheet(&self.origin, at, &row, &[]).card(),
            Some((at, Err(error))) => broken(at, &error.to_string()),
            None => absent(self.located.looked),
        }
    }
}

/// In place of a document that the other dataset does not have.
pub(super) fn absent(looked: Looked) -> Markup {
    let says = match looked {
        Looked::Everywhere => "Not in this dataset.",
        Looked::WhereReadable => "Not in what can be read of this dataset.",
        Looked::UntilDeadline => "Not found here before time was up.",
    };
    html! { div.absent { p { (says) } } }
}

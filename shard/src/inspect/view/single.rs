//! One document by itself, with its token layout; beside it, where there are two datasets, the one of the same id.

use std::time::{Duration, Instant};

use lcl_schemas::row::Row;
use maud::{Markup, html};

use super::Desk;
use super::address::{Link, Place, Query};
use super::document::{Extent, Origin, Pictures, Sheet, broken};
use super::frame::{Tab, page};
use super::layout::{Cutting, Ids};
use super::list::absent;
use super::refusal::Refusal;
use super::shelf::{Looked, Shelf};
use super::text::{beginning, plain};
use crate::order::RowAt;

/// For looking for an id in the whole dataset.
const TIME: Duration = Duration::from_secs(8);

/// The page of one document.
pub(super) fn document(desk: &Desk, query: &Query) -> Result<Markup, Refusal> {
    let (shelf, origin) = desk.shelf(query)?;
    let (at, row) = named(shelf, query)?;
    let cutting = Cutting::of(query)?;
    // Whoever has asked for other numbers wants to see what they do.
    let asked = ["context", "slots", "seed", "epoch"]
        .iter()
        .any(|name| query.text(name).is_some());
    let from = query.number("from", 0, 0..=u32::MAX.into())? as usize;
    let shown = |shelf: &Shelf, origin: &Origin, at: RowAt, row: &Row| {
        let sheet = Sheet {
            at,
            row,
            pictures: Pictures::Served(origin),
            words: &[],
            extent: Extent {
                from,
                ..Extent::WHOLE
            },
        };
        let ids = Ids {
            row,
            vocabulary: &shelf.reader.header().vocabulary,
            tokenizer: shelf.tokenizer(),
            cutting,
        };
        html! {
            div.sheet { (sheet.whole()) (ids.details(Some((origin, at)), asked)) }
        }
    };
    let first = shown(shelf, &origin, at, &row);
    let beside = desk.beside(origin.dataset).map(|(other, other_origin)| {
        let unit = shelf.reader.groups()[at.group as usize].unit.as_str();
        let id = row.document.id.as_str();
        let located = other.locate([id], &[unit], Some(Instant::now() + TIME));
        let place = located.places.get(id);
        match place.map(|at| (*at, other.row(*at))) {
            Some((at, Ok(row))) => shown(other, &other_origin, at, &row),
            Some((at, Err(error))) => broken(at, &error.to_string()),
            None => absent(located.looked),
        }
    });
    let body = html! {
        main.wide[beside.is_some()].narrow[beside.is_none()] {
            (neighbours(shelf, &origin, at, [Some("k"), Some("j")]))
            @match beside {
                None => (first),
                Some(beside) => div.pair { (first) (beside) },
            }
            (neighbours(shelf, &origin, at, [None, None]))
        }
    };
    let title = format!(
        "{} – {}",
        plain(beginning(&row.document.id, 80).0),
        shelf.name
    );
    Ok(page(&title, Tab::Documents, &body))
}

/// The document that an address means: at its place, unless another stands there; then by its id.
fn named(shelf: &Shelf, query: &Query) -> Result<(RowAt, Row), Refusal> {
    let id = query.text("id");
    if let Some(at) = query.place("at")?.filter(|at| shelf.has(*at)) {
        let row = shelf.row(at)?;
        if id.is_none_or(|id| id == row.document.id) {
            return Ok((at, row));
        }
    }
    let Some(id) = id else {
        return Err(Refusal::Missing(
            "there is no document at that place".into(),
        ));
    };
    let located = shelf.locate([id], &[], Some(Instant::now() + TIME));
    if let Some(at) = located.places.get(id) {
        return Ok((*at, shelf.row(*at)?));
    }
    let name = &shelf.name;
    Err(Refusal::Missing(match located.looked {
        Looked::Everywhere => format!("{name} has no document {id}"),
        Looked::WhereReadable => format!("what can be read of {name} has no document {id}"),
        Looked::UntilDeadline => format!(
            "{id} was not found before time was up: search for its id, which can go on, or ask lcl-shard show"
        ),
    }))
}

fn neighbours(
    shelf: &Shelf,
    origin: &Origin,
    at: RowAt,
    [earlier, later]: [Option<&str>; 2],
) -> Markup {
    let number = shelf.number(at);
    let before = number.checked_sub(1).map(|number| shelf.at(number));
    let after = Some(shelf.at(number + 1)).filter(|at| shelf.has(*at));
    let link = |path, at| {
        let link = Link::to(path).maybe("d", origin.number());
        link.with("at", Place(at)).build()
    };
    html! {
        nav.pager aria-label="Documents" {
            @match before {
                Some(at) => a rel="prev" href=(link("/document", at)) accesskey=[earlier] { "← Before" },
                None => span.quiet { "The first" },
            }
            a href=(link("/", at)) { "In the list" }
            @match after {
                Some(at) => a rel="next" href=(link("/document", at)) accesskey=[later] { "After →" },
                None => span.quiet { "The last" },
            }
        }
    }
}

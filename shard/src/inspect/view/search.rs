//! A page of documents: those from a place on that hold what is looked for, until the page is full or time is up.
//!
//! Row group by row group, so that a page of a dataset of any size starts at its cursor: nothing before it is read, nothing
//! is counted. A row group that cannot be read stands in the page as an error.

use std::time::{Duration, Instant};

use lcl_schemas::row::Row;

use super::shelf::Shelf;
use crate::filter::Filter;
use crate::order::RowAt;
use crate::read::ReadError;

/// What is looked for.
pub(super) enum Wanted {
    /// Every document.
    All,
    /// Those that an SQL predicate takes.
    Predicate(Box<Filter>),
    /// Those whose texts hold each of these, in lower case.
    Words(Vec<String>),
}

/// How a question is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As SQL where it is, else as words.
    Either,
    /// As words.
    Words,
}

/// Words of one question: each is looked for in every text.
const MOST_WORDS: usize = 32;

/// A question that cannot be asked.
#[derive(Debug)]
pub(super) enum Unasked {
    /// It was meant as SQL and is none.
    NoPredicate(String),
    /// It has too many words.
    TooLong,
}

impl Wanted {
    pub(super) fn parse(question: &str, reading: Reading) -> Result<Self, Unasked> {
        let question = question.trim();
        if question.is_empty() {
            return Ok(Self::All);
        }
        if reading == Reading::Words {
            return words(question);
        }
        match Filter::parse(question) {
            // A predicate about nothing, `true` say, is a word.
            Ok(filter) if !filter.columns().is_empty() => Ok(Self::Predicate(Box::new(filter))),
            Err(error) if is_meant_as_sql(question) => Err(Unasked::NoPredicate(error.detail)),
            Ok(_) | Err(_) => words(question),
        }
    }

    pub(super) fn words(&self) -> &[String] {
        match self {
            Self::Words(words) => words,
            Self::All | Self::Predicate(_) => &[],
        }
    }

    /// Which rows of a row group it takes; `None` for all of them.
    fn matching(&self, shelf: &Shelf, group: u32) -> Result<Option<Vec<bool>>, ReadError> {
        match self {
            Self::All => Ok(None),
            Self::Predicate(filter) => shelf.reader.passes(group, filter).map(Some),
            Self::Words(words) => {
                let holds = |word: usize, text: &str| text.contains(&words[word]);
                let matching = shelf.reader.with_texts(group, words.len(), holds);
                matching.map(Some)
            }
        }
    }
}

/// Words, in lower case; those between quotes together.
fn words(question: &str) -> Result<Wanted, Unasked> {
    let lower = question.to_lowercase();
    let mut words = Vec::new();
    for (index, part) in lower.split('"').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.extend(Some(part.trim().to_owned()).filter(|part| !part.is_empty())),
        }
    }
    words.sort();
    words.dedup();
    match words.len() {
        // Between quotes there may be nothing.
        0 => Ok(Wanted::All),
        1..=MOST_WORDS => Ok(Wanted::Words(words)),
        _ => Err(Unasked::TooLong),
    }
}

/// Whether it names a column and compares: who writes that means no words.
fn is_meant_as_sql(question: &str) -> bool {
    let lower = question.to_lowercase();
    let mut parts = lower.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let schema = lcl_schemas::row::schema();
    let names_column = parts
        .clone()
        .any(|part| schema.field_with_name(part).is_ok());
    let compares = lower.contains(['=', '<', '>', '(', '~'])
        || parts.any(|part| matches!(part, "is" | "like" | "ilike" | "between" | "in" | "not"));
    names_column && compares
}

/// Which way a page goes from its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// From this document on.
    From(RowAt),
    /// Those before this document, the nearest of them.
    Before(RowAt),
}

/// One place of a page.
pub(super) enum Entry {
    Document { at: RowAt, row: Box<Row> },
    Broken { at: RowAt, error: String },
}

impl Entry {
    pub(super) fn at(&self) -> RowAt {
        match self {
            Self::Document { at, .. } | Self::Broken { at, .. } => *at,
        }
    }
}

/// A page.
pub(super) struct Found {
    /// In the dataset's order.
    pub(super) entries: Vec<Entry>,
    /// Where to go on, in the way that it went; `None` at the end.
    pub(super) next: Option<RowAt>,
    /// Whether time was up before the page was full.
    pub(super) out_of_time: bool,
    /// Documents looked at.
    pub(super) seen: u64,
    pub(super) took: Duration,
    /// Why the predicate has no answer for some document; nothing is looked for from there on.
    pub(super) failed: Option<String>,
}

/// Looks for at most `most` documents, for about `time`.
pub(super) fn find(
    shelf: &Shelf,
    wanted: &Wanted,
    cursor: Cursor,
    most: usize,
    time: Duration,
) -> Found {
    let begun = Instant::now();
    let mut found = Found {
        entries: Vec::new(),
        next: None,
        out_of_time: false,
        seen: 0,
        took: Duration::ZERO,
        failed: None,
    };
    let mut at = Some(cursor);
    let mut any = false;
    while let Some(cursor) = at {
        if found.entries.len() >= most || (any && begun.elapsed() > time) {
            found.out_of_time = found.entries.len() < most;
            found.next = Some(match cursor {
                Cursor::From(at) | Cursor::Before(at) => at,
            });
            break;
        }
        any = true;
        at = step(shelf, wanted, cursor, most, &mut found);
    }
    if matches!(cursor, Cursor::Before(_)) {
        found.entries.reverse();
    }
    found.took = begun.elapsed();
    found
}

/// Takes what one row group has; gives where to go on.
fn step(
    shelf: &Shelf,
    wanted: &Wanted,
    cursor: Cursor,
    most: usize,
    found: &mut Found,
) -> Option<Cursor> {
    let groups = shelf.reader.groups();
    let (group, rows) = match cursor {
        Cursor::From(at) => (at.group, at.row..groups.get(at.group as usize)?.rows),
        Cursor::Before(RowAt { group, row }) if row > 0 => (group, 0..row),
        Cursor::Before(at) => {
            let group = at.group.checked_sub(1)?;
            (group, 0..groups.get(group as usize)?.rows)
        }
    };
    let (after, before) = (
        Cursor::From(RowAt {
            group: group + 1,
            row: 0,
        }),
        Cursor::Before(RowAt { group, row: 0 }),
    );
    let beyond = match cursor {
        Cursor::From(_) => Some(after).filter(|_| (group as usize) + 1 < groups.len()),
        Cursor::Before(_) => Some(before).filter(|_| group > 0),
    };
    let broken = |found: &mut Found, error: ReadError| {
        found.seen += rows.len() as u64;
        let at = RowAt {
            group,
            row: rows.start,
        };
        found.entries.push(Entry::Broken {
            at,
            error: error.to_string(),
        });
        beyond
    };
    let matching = match wanted.matching(shelf, group) {
        Ok(matching) => matching,
        // It would fail the same way on every row group.
        Err(error @ ReadError::Predicate { .. }) => {
            found.failed = Some(error.to_string());
            return None;
        }
        Err(error) => return broken(found, error),
    };
    let takes = |row: &u32| {
        matching
            .as_ref()
            .is_none_or(|rows| rows.get(*row as usize).copied().unwrap_or(false))
    };
    let room = most - found.entries.len();
    let mut taken: Vec<u32> = match cursor {
        Cursor::From(_) => rows.clone().filter(takes).take(room).collect(),
        Cursor::Before(_) => rows.clone().rev().filter(takes).take(room).collect(),
    };
    let (Some(&first), Some(&last)) = (taken.iter().min(), taken.iter().max()) else {
        found.seen += rows.len() as u64;
        return beyond;
    };
    let read = match shelf.reader.rows(group, first..last + 1) {
        Ok(read) => read,
        Err(error) => return broken(found, error),
    };
    let mut read: Vec<_> = read.into_iter().map(Some).collect();
    let full = taken.len() == room;
    found.seen += u64::from(match cursor {
        Cursor::From(_) if full => last + 1 - rows.start,
        Cursor::Before(_) if full => rows.end - first,
        Cursor::From(_) | Cursor::Before(_) => rows.end - rows.start,
    });
    for row in taken.drain(..) {
        let at = RowAt { group, row };
        let one = read.get_mut((row - first) as usize).and_then(Option::take);
        found.entries.extend(one.map(|one| match one {
            Ok(row) => Entry::Document {
                at,
                row: Box::new(row),
            },
            Err(error) => Entry::Broken {
                at,
                error: error.to_string(),
            },
        }));
    }
    match (full, cursor) {
        (false, _) => beyond,
        (true, Cursor::From(_)) if last + 1 < rows.end => Some(Cursor::From(RowAt {
            group,
            row: last + 1,
        })),
        (true, Cursor::Before(_)) if first > 0 => Some(Cursor::Before(RowAt { group, row: first })),
        (true, _) => beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_are_told_from_words() {
        let wanted = |question: &str| Wanted::parse(question, Reading::Either);
        for sql in [
            "n_images >= 2 AND language = 'en'",
            "url IS NULL",
            "id LIKE 'a%'",
        ] {
            assert!(matches!(wanted(sql), Ok(Wanted::Predicate(_))), "{sql}");
        }
        for (question, expected) in [
            ("Red  dog", &["dog", "red"][..]),
            ("true", &["true"]),
            ("\"red dog\" CAT \"\"", &["cat", "red dog"]),
            ("1=1) UNION SELECT 1 FROM documents WHERE (1=1", &["("]),
        ] {
            let words = wanted(question).map(|wanted| wanted.words().to_vec());
            let words = words.expect("words");
            if expected != ["("] {
                assert_eq!(words, expected, "{question}");
            }
        }
        for (question, says) in [
            ("n_images >", "n_images >"),
            ("n_images = 1) UNION SELECT (1", "end of expression"),
            ("language = (SELECT 1)", ""),
            ("image_bytes IS NULL", "image_bytes"),
            ("id = 'x'; DROP TABLE documents", "end of expression"),
        ] {
            match wanted(question) {
                Err(Unasked::NoPredicate(detail)) => {
                    assert!(
                        says.is_empty() || !detail.is_empty(),
                        "{question}: {detail}"
                    );
                }
                _ => panic!("{question} was taken"),
            }
        }
    }

    #[test]
    fn words_it_is_when_words_are_asked_for() {
        let wanted = Wanted::parse("n_images >= 2", Reading::Words);
        assert!(matches!(wanted, Ok(Wanted::Words(_))));
        let many: String = (0..40).map(|n| format!("w{n} ")).collect();
        let many = Wanted::parse(&many, Reading::Words);
        assert!(matches!(many, Err(Unasked::TooLong)));
    }
}

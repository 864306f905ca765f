//! What follows a head to the block of the record, whatever its length is said to be, and on to the next record.

use std::io::{self, Read, Seek};

use super::super::Fault;
use super::super::head::{self, Dialect, MAX_BEGINNING};
use super::Archive;

/// Bytes looked at in one go while the next record is searched for.
const SEARCH: usize = 256 << 10;

/// A block that was read, with what is wrong with it.
pub(super) struct Block {
    pub(super) len: u64,
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) fault: Option<Fault>,
}

impl Block {
    fn passed(len: u64, fault: Option<Fault>) -> Self {
        Self {
            len,
            bytes: None,
            fault,
        }
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Reads a block of a length that may be wrong.
    pub(super) fn hold(&mut self, len: usize) -> io::Result<Block> {
        let dialect = self.dialect;
        let shown = self.window.show(len.saturating_add(MAX_BEGINNING))?;
        if shown.len() < len || !ends(&shown[len..], dialect) {
            return self.mend(Some(len as u64));
        }
        let bytes = shown[..len].to_vec();
        self.window.take(len);
        let fault = self.trail()?;
        Ok(Block {
            len: len as u64,
            bytes: Some(bytes),
            fault,
        })
    }

    /// Takes the blank lines after a block, and what else stands before the next record.
    fn trail(&mut self) -> io::Result<Option<Fault>> {
        loop {
            let shown = self.window.show(MAX_BEGINNING)?;
            match blank(shown) {
                0 if shown.is_empty() || self.dialect.begins(shown) => return Ok(None),
                0 => break,
                blank => self.window.take(blank),
            }
        }
        let bytes = self.search()?;
        Ok(Some(Fault::Garbage { bytes }))
    }

    /// Reads a block whose length is not given or wrong: up to the next record.
    pub(super) fn mend(&mut self, claimed: Option<u64>) -> io::Result<Block> {
        let limit = self.limits.max_record_bytes;
        let dialect = self.dialect;
        let shown = self.window.show(limit.saturating_add(MAX_BEGINNING))?;
        let next = head::find(shown, dialect);
        let rest = next.unwrap_or(shown.len());
        if rest > limit {
            return self.unbounded(claimed);
        }
        let followed = next.is_some() || self.window.is_followed_by_a_record();
        let cut = !followed && claimed.is_some_and(|claimed| claimed > rest as u64);
        let block = &self.window.show(rest)?[..rest];
        let found = match cut {
            true => rest,
            false => rest - separator(block, dialect),
        };
        let bytes = block[..found].to_vec();
        self.window.take(rest);
        let found = found as u64;
        let fault = match claimed {
            Some(claimed) if cut => Fault::Cut { claimed, found },
            Some(claimed) => Fault::Length { claimed, found },
            None => Fault::NoLength { found },
        };
        Ok(Block {
            len: found,
            bytes: Some(bytes),
            fault: Some(fault),
        })
    }

    /// A block that is too long, and of which no length is right.
    fn unbounded(&mut self, claimed: Option<u64>) -> io::Result<Block> {
        let found = self.search()?;
        let at_edge = self.window.show(1)?.is_empty();
        let fault = match claimed {
            Some(claimed) if claimed > found && at_edge => Fault::Cut { claimed, found },
            Some(claimed) => Fault::Length { claimed, found },
            None => Fault::NoLength { found },
        };
        Ok(Block::passed(found, Some(fault)))
    }

    /// Passes over a block that is too long to be held.
    pub(super) fn pass_over(&mut self, len: u64) -> io::Result<Block> {
        let end = self.window.offset().saturating_add(len);
        // A length can claim the rest of the file, so its end is looked at before it is gone to.
        match self.window.glance(end, MAX_BEGINNING)? {
            Some(after) if after.is_empty() || !ends(&after, self.dialect) => {
                return self.mend(Some(len));
            }
            Some(_) => self.window.seek(end)?,
            None => {
                let passed = self.window.pass(len)?;
                if passed < len {
                    let (claimed, found) = (len, passed);
                    return Ok(Block::passed(found, Some(Fault::Cut { claimed, found })));
                }
            }
        }
        let fault = self.trail()?;
        Ok(Block::passed(len, fault))
    }

    /// Goes to the next record, past the first byte, or to the edge; says how many bytes there were.
    pub(super) fn search(&mut self) -> io::Result<u64> {
        let mut passed = 0;
        loop {
            let dialect = self.dialect;
            let shown = self.window.show(SEARCH)?;
            let len = shown.len();
            let next = head::find_after(shown, dialect);
            // A beginning may be cut by the end of what is shown.
            let count = match next {
                Some(next) => next,
                None if len < SEARCH => len,
                None => len - MAX_BEGINNING,
            };
            self.window.take(count);
            passed += count as u64;
            if next.is_some() || len < SEARCH {
                return Ok(passed);
            }
        }
    }
}

/// Bytes of line ends that `bytes` begin with.
pub(super) fn blank(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count()
}

/// Line ends that a record is followed by.
fn line_ends(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Arc => 1,
        Dialect::Warc | Dialect::Either => 2,
    }
}

/// Whether `after` can follow a block: what must, less of it before the next record, or nothing.
fn ends(after: &[u8], dialect: Dialect) -> bool {
    let (blank, next) = after.split_at(blank(after));
    let lines = blank.iter().filter(|byte| **byte == b'\n').count();
    lines >= line_ends(dialect) || next.is_empty() || dialect.begins(next)
}

/// Bytes at the end of a block that belong to what follows a record.
fn separator(block: &[u8], dialect: Dialect) -> usize {
    let mut rest = block;
    for _ in 0..line_ends(dialect) {
        let Some(line) = rest.strip_suffix(b"\n") else {
            break;
        };
        rest = line.strip_suffix(b"\r").unwrap_or(line);
    }
    block.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{gzip, page, read_all, record, texts, warc};
    use super::super::super::{Found, Limits, Lost};
    use super::*;

    const SMALL: Limits = Limits {
        max_record_bytes: 100,
        max_expanded_bytes: 1 << 30,
        max_ratio: 1_000,
    };

    #[test]
    fn a_wrong_length_costs_no_other_record() {
        let next = page("http://b/", "two");
        for claimed in ["1", "4", "40", "99", "200", "9999", "-1", "x"] {
            let wrong = warc(
                &[("WARC-Type", "response"), ("Content-Length", claimed)],
                b"first",
            );
            for file in [
                [&wrong[..], &next].concat(),
                [gzip(&wrong), gzip(&next)].concat(),
            ] {
                let all = read_all(&file, SMALL);
                let Some(Found::Record(first)) = all.first() else {
                    panic!("a record: {all:?}");
                };
                assert!(first.fault.is_some(), "{claimed}");
                if first.block.is_some() {
                    assert_eq!(first.block.as_deref(), Some(&b"first"[..]), "{claimed}");
                }
                assert_eq!(texts(&all[1..]), ["two"], "{claimed}");
            }
        }
    }

    #[test]
    fn blank_lines_that_are_missing_or_too_many_are_no_fault() {
        let (a, b) = (page("http://a/", "one"), page("http://b/", "two"));
        let bare = a.strip_suffix(b"\r\n\r\n").expect("two line ends");
        for between in ["", "\n", "\n\n", "\r\n\r\n\r\n\r\n\r\n"] {
            let all = read_all(&[bare, between.as_bytes(), &b].concat(), Limits::default());
            assert_eq!(texts(&all), ["one", "two"]);
            assert!(
                all.iter()
                    .all(|found| matches!(found, Found::Record(record) if record.fault.is_none()))
            );
        }
    }

    #[test]
    fn garbage_between_records_is_told_with_the_record_before_it() {
        let file = [
            &b"junk\n"[..],
            &page("http://a/", "one"),
            b"more junk\n",
            &page("http://b/", "two"),
        ]
        .concat();
        let all = read_all(&file, Limits::default());
        let garbage = Fault::Garbage { bytes: 5 };
        assert_eq!(
            all[0],
            Found::Lost(Lost {
                offset: 0,
                fault: garbage
            })
        );
        assert_eq!(texts(&all[1..]), ["one", "two"]);
        assert!(
            matches!(&all[1], Found::Record(record) if record.fault == Some(Fault::Garbage { bytes: 10 }))
        );
    }

    #[test]
    fn a_record_beyond_the_limit_is_passed_over_and_the_next_is_whole() {
        let long = record("http://a/", &[b'x'; 5_000]);
        let next = record("http://b/", b"two");
        for file in [
            [&long[..], &next].concat(),
            gzip(&[&long[..], &next].concat()),
        ] {
            let all = read_all(&file, SMALL);
            let Found::Record(first) = &all[0] else {
                panic!("a record");
            };
            assert_eq!(
                (first.len, &first.block, &first.fault),
                (5_000, &None, &None)
            );
            assert!(
                matches!(&all[1], Found::Record(record) if record.block.as_deref() == Some(b"two"))
            );
        }
    }

    #[test]
    fn a_length_that_claims_the_rest_of_the_file_costs_no_other_record() {
        let claims = warc(
            &[
                ("WARC-Type", "response"),
                ("Content-Length", "18446744073709551615"),
            ],
            b"first",
        );
        let file = [&claims[..], &page("http://b/", "two")].concat();
        assert_eq!(texts(&read_all(&file, Limits::default())[1..]), ["two"]);
    }

    #[test]
    fn where_a_file_breaks_off_what_is_there_is_given_and_told() {
        let file = [page("http://a/", "one"), page("http://b/", "two")].concat();
        let cut = &file[..file.len() - 6];
        let all = read_all(cut, Limits::default());
        assert!(
            matches!(&all[1], Found::Record(record) if matches!(record.fault, Some(Fault::Cut { .. })))
        );
        let in_head = &file[..file.len() / 2 + 9];
        let all = read_all(in_head, Limits::default());
        assert!(matches!(
            &all[1],
            Found::Lost(Lost {
                fault: Fault::Head,
                ..
            })
        ));
    }
}

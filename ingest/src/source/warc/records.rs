//! Decoded bytes to records, and over what is none to the next one.

mod block;

use std::io::{self, Read, Seek};

use super::head::{self, Dialect, Head, MAX_BEGINNING, MAX_HEAD};
use super::window::Window;
use super::{ArchiveError, Fault, Found, Kind, Limits, Lost, Record, RefersTo};
use block::{Block, blank};

/// An archive that is being read.
pub(crate) struct Archive<R> {
    window: Window<R>,
    dialect: Dialect,
    limits: Limits,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads from the record at `offset` on.
    pub(crate) fn new(file: R, offset: u64, limits: Limits) -> Result<Self, ArchiveError> {
        let window = Window::open(file, offset, limits);
        Ok(Self {
            window: window.map_err(|source| ArchiveError::Read { at: offset, source })?,
            dialect: Dialect::Either,
            limits,
        })
    }

    /// The next record, or bytes that give none.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, ArchiveError> {
        let found = self.find();
        found.map_err(|source| ArchiveError::Read {
            at: self.window.offset(),
            source,
        })
    }

    fn find(&mut self) -> io::Result<Option<Found>> {
        loop {
            let shown = self.window.show(MAX_HEAD + MAX_BEGINNING)?;
            let blank = blank(shown);
            if blank > 0 {
                self.window.take(blank);
                continue;
            }
            if shown.is_empty() {
                return Ok(self.window.lost().map(Found::Lost));
            }
            if !self.dialect.begins(shown) {
                return self.garbage().map(Some);
            }
            let Some(head) = head::read(shown) else {
                return self.headless().map(Some);
            };
            return self.record(head).map(Some);
        }
    }

    /// Bytes that are no record.
    fn garbage(&mut self) -> io::Result<Found> {
        let offset = self.window.offset();
        let bytes = self.search()?;
        let fault = Fault::Garbage { bytes };
        Ok(Found::Lost(Lost { offset, fault }))
    }

    /// A first line of a record, and no end of its head.
    fn headless(&mut self) -> io::Result<Found> {
        let offset = self.window.offset();
        self.window.take(1);
        self.search()?;
        // It is the damage that cut it.
        let damage = self.window.lost_of_member();
        let fault = damage.map_or(Fault::Head, |lost| lost.fault);
        Ok(Found::Lost(Lost { offset, fault }))
    }

    fn record(&mut self, head: Head) -> io::Result<Found> {
        if self.dialect == Dialect::Either {
            self.dialect = head.dialect;
        }
        self.window.begin_record();
        let address = self.window.address();
        self.window.take(head.len);
        let limit = self.limits.max_record_bytes;
        let mut block = match head.content_length {
            Some(len) if len > limit as u64 => self.pass_over(len)?,
            Some(len) => self.hold(len as usize)?,
            None => self.mend(None)?,
        };
        self.window.show(1)?;
        // Whatever the lengths say: it is the damage that made them wrong.
        if let Some(lost) = self.window.lost_of_member() {
            block.fault = Some(lost.fault);
        }
        Ok(Found::Record(Box::new(record(&head, address, block))))
    }
}

fn record(head: &Head, offset: Option<u64>, block: Block) -> Record {
    let text = |name| head.fields.get(name).map(str::to_owned);
    let uri = |name| head.fields.get(name).map(uri);
    Record {
        offset,
        kind: Kind::from_name(head.fields.get("WARC-Type").unwrap_or_default()),
        id: uri("WARC-Record-ID"),
        target_uri: uri("WARC-Target-URI"),
        date: text("WARC-Date"),
        content_type: text("Content-Type"),
        payload_type: text("WARC-Identified-Payload-Type"),
        charset: text("WARC-Identified-Content-Charset"),
        payload_digest: text("WARC-Payload-Digest"),
        truncated: text("WARC-Truncated"),
        refers_to: RefersTo {
            id: uri("WARC-Refers-To"),
            target_uri: uri("WARC-Refers-To-Target-URI"),
            date: text("WARC-Refers-To-Date"),
        },
        len: block.len,
        block: block.bytes,
        fault: block.fault,
    }
}

/// As WARC 1.1 has it: wget and the grammar of WARC 1.0 put URIs into `<>`, some leave blanks in them.
fn uri(value: &str) -> String {
    let bare = value
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    bare.unwrap_or(value).replace(' ', "%20")
}

impl Kind {
    fn from_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "response" => Self::Response,
            "resource" => Self::Resource,
            "revisit" => Self::Revisit,
            "metadata" => Self::Metadata,
            "request" => Self::Request,
            "warcinfo" => Self::Warcinfo,
            "conversion" => Self::Conversion,
            "continuation" => Self::Continuation,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{arc, found, gzip, page, read_all, texts, warc, zstd};
    use super::super::{Limits, parse};
    use super::*;

    #[test]
    fn records_are_read_with_offsets_at_which_they_can_be_read_again() {
        let (a, b) = (page("http://a/", "one"), page("http://b/", "two"));
        let zipped = [gzip(&a), gzip(&b)].concat();
        let frames = [zstd(&a, &[]), zstd(&b, &[])].concat();
        for file in [[&a[..], &b].concat(), zipped, frames] {
            let all = read_all(&file, Limits::default());
            assert_eq!(texts(&all), ["one", "two"]);
            for found in &all {
                let Found::Record(record) = found else {
                    panic!("records only");
                };
                let offset = record.offset.expect("an offset");
                let again = parse(&file[offset as usize..], Limits::default());
                let Some(Found::Record(again)) = again.expect("memory") else {
                    panic!("the same record");
                };
                assert_eq!((again.block, again.offset), (record.block.clone(), Some(0)));
            }
        }
    }

    #[test]
    fn all_records_of_one_gzip_member_are_read_and_only_the_first_has_an_offset() {
        let all = [page("http://a/", "one"), page("http://b/", "two")].concat();
        let all = read_all(&gzip(&all), Limits::default());
        assert_eq!(texts(&all), ["one", "two"]);
        let offsets = all.iter().map(|found| match found {
            Found::Record(record) => record.offset,
            Found::Lost(_) => None,
        });
        assert_eq!(offsets.collect::<Vec<_>>(), [Some(0), None]);
    }

    #[test]
    fn members_may_be_cut_without_regard_to_records() {
        let all = [page("http://a/", "one"), page("http://b/", "two")].concat();
        for at in 1..all.len() {
            let file = [gzip(&all[..at]), gzip(&all[at..])].concat();
            assert_eq!(
                texts(&read_all(&file, Limits::default())),
                ["one", "two"],
                "{at}"
            );
        }
    }

    #[test]
    fn a_head_without_an_end_costs_no_other_record() {
        let endless = [&b"WARC/1.0\r\n"[..], &b"x: y\r\n".repeat(20_000)].concat();
        let file = [&endless[..], &page("http://b/", "two")].concat();
        let all = read_all(&file, Limits::default());
        assert!(matches!(
            &all[0],
            Found::Lost(Lost {
                fault: Fault::Head,
                ..
            })
        ));
        assert_eq!(texts(&all[1..]), ["two"]);
    }

    #[test]
    fn a_record_within_a_page_is_no_record() {
        let inner = String::from_utf8(page("http://forged/", "forged")).expect("text");
        let file = [page("http://a/", &inner), page("http://b/", "two")].concat();
        for file in [gzip(&file), file] {
            assert_eq!(read_all(&file, Limits::default()).len(), 2);
        }
    }

    #[test]
    fn uris_are_given_without_brackets_and_blanks() {
        let file = warc(
            &[
                ("WARC-Target-URI", "<http://a/b c>"),
                ("Content-Length", "0"),
            ],
            b"",
        );
        let Found::Record(record) = found(&file) else {
            panic!("a record");
        };
        assert_eq!(record.target_uri.as_deref(), Some("http://a/b%20c"));
        assert_eq!(record.kind, Kind::Other);
    }

    #[test]
    fn arc_records_are_read_as_responses() {
        let file = [
            arc("filedesc://x", b"1 0 x\n"),
            arc("http://a/", b"HTTP/1.0 200 OK\n\none"),
            arc("http://b/", b"two"),
        ];
        let all = read_all(&file.concat(), Limits::default());
        let kinds = all.iter().map(|found| match found {
            Found::Record(record) => (record.kind, record.len, record.fault.clone()),
            Found::Lost(lost) => panic!("{lost}"),
        });
        let expected = [
            (Kind::Warcinfo, 6, None),
            (Kind::Response, 20, None),
            (Kind::Response, 3, None),
        ];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}

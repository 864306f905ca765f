//! An archive as stored to the plain bytes of its members, one after the other, over what is damaged between them.

use std::io::{self, Read, Seek};

use super::decoder::{Coding, Decoder, GZIP, STEP, ZSTD};
use super::input::{BUFFER, Input};
use super::skippable::{dictionary, skippable};
use super::{Fault, Limits, Lost, head};

/// How far before the place where a damaged member failed the next one is looked for: a decoder can run into it before
/// it notices, zstd by a block of 128 kiB.
const BACK: u64 = 160 << 10;
/// Bytes of a possible member that are decoded to see whether it is one.
const TRIAL: usize = 4 << 10;
/// Trials in a file. By chance 60 places in a GB look like gzip; a file made of such would cost hours.
const MAX_TRIALS: u32 = 10_000;
/// Members lost without a good one between before a file is given up, for the same reason.
const MAX_LOST: u32 = 1_000;
/// Decoded bytes below which no ratio is too high.
const RATIO_FROM: u64 = 1 << 20;

/// What is next in an archive.
pub(super) enum Step {
    /// Plain bytes were appended.
    Bytes,
    /// A member begins at this offset.
    Member(u64),
    Lost(Lost),
    End,
}

/// A member that is being decoded.
struct Open {
    offset: u64,
    decoded: u64,
}

/// The members of an archive; a plain one has none.
pub(super) struct Members<R> {
    input: Input<R>,
    coding: Option<(Coding, Decoder)>,
    open: Option<Open>,
    limits: Limits,
    /// Plain bytes that may still come before a record is too long to be waited for.
    grant: u64,
    trials: u32,
    lost: u32,
}

impl<R: Read + Seek> Members<R> {
    /// Looks at what the bytes are, whatever the file is called.
    pub(super) fn open(file: R, at: u64, limits: Limits) -> io::Result<Self> {
        let mut input = Input::new(file, 0)?;
        let zstd = |start: &[u8]| start.starts_with(&ZSTD) || skippable(start);
        let start = input.peek(BUFFER)?;
        let coding = if start.starts_with(&GZIP) {
            Some(Coding::Gzip)
        } else if zstd(start) {
            Some(Coding::Zstd(dictionary(&mut input)?))
        } else if head::find(start, head::Dialect::Either).is_some() {
            None
        } else {
            // Damaged at its beginning.
            memchr::memmem::find(start, &GZIP).map(|_| Coding::Gzip)
        };
        let coding = match coding {
            Some(coding) => {
                let decoder = coding.decoder()?;
                Some((coding, decoder))
            }
            None => None,
        };
        input.seek(at)?;
        Ok(Self {
            input,
            coding,
            open: None,
            grant: limits.max_expanded_bytes,
            limits,
            trials: 0,
            lost: 0,
        })
    }

    /// Bytes of a file that is not compressed; `None`: it is.
    pub(super) fn plain(&mut self) -> Option<&mut Input<R>> {
        match self.coding {
            Some(_) => None,
            None => Some(&mut self.input),
        }
    }

    /// Goes to where a member begins.
    pub(super) fn seek(&mut self, to: u64) -> io::Result<()> {
        self.open = None;
        self.input.seek(to)
    }

    /// Says that a record begins.
    pub(super) fn begin_record(&mut self) {
        self.grant = self.limits.max_expanded_bytes;
    }

    /// Goes on, plain bytes being appended to `out`.
    pub(super) fn step(&mut self, out: &mut Vec<u8>) -> io::Result<Step> {
        if self.coding.is_none() {
            let bytes = self.input.peek(1)?;
            let count = bytes.len().min(STEP);
            out.extend_from_slice(&bytes[..count]);
            self.input.take(count);
            return Ok(match count {
                0 => Step::End,
                _ => Step::Bytes,
            });
        }
        match self.open.take() {
            Some(open) => self.decode(open, out),
            None => self.begin(),
        }
    }

    fn decode(&mut self, mut open: Open, out: &mut Vec<u8>) -> io::Result<Step> {
        let Some((_, decoder)) = &mut self.coding else {
            return Ok(Step::End);
        };
        let before = out.len();
        let input = self.input.peek(1)?;
        let at_end = input.is_empty();
        let fault = match decoder.run(input, out) {
            Ok(ran) => {
                self.input.take(ran.consumed);
                let decoded = (out.len() - before) as u64;
                open.decoded += decoded;
                self.grant = self.grant.saturating_sub(decoded);
                if ran.ended {
                    self.lost = 0;
                    return Ok(Step::Bytes);
                }
                let stored = self.input.position() - open.offset;
                let bomb = open.decoded > RATIO_FROM
                    && open.decoded / self.limits.max_ratio.max(1) > stored;
                if self.grant > 0 && !bomb {
                    self.open = Some(open);
                    return Ok(Step::Bytes);
                }
                Fault::Expands {
                    decoded: open.decoded,
                    stored,
                }
            }
            Err(_) if at_end => Fault::MemberCut,
            Err(detail) => Fault::Member { detail },
        };
        self.lose(open.offset, fault)
    }

    /// Gives the rest of the member at `offset` up, and goes to the next one.
    fn lose(&mut self, offset: u64, mut fault: Fault) -> io::Result<Step> {
        self.begin_record();
        self.lost += 1;
        // Also where the file ends in it: a length in it that is wrong can claim all that follows.
        let from = self.input.position().saturating_sub(BACK).max(offset + 1);
        self.input.seek(from)?;
        self.find()?;
        if self.given_up() {
            fault = Fault::GivenUp;
        }
        Ok(Step::Lost(Lost { offset, fault }))
    }

    fn given_up(&self) -> bool {
        self.trials >= MAX_TRIALS || self.lost >= MAX_LOST
    }

    /// Between members: begins the next one, over padding and what is none.
    fn begin(&mut self) -> io::Result<Step> {
        loop {
            let start = self.input.peek(8)?;
            let Some((coding, decoder)) = &mut self.coding else {
                return Ok(Step::End);
            };
            if start.starts_with(coding.magic()) {
                let offset = self.input.position();
                coding.restart(decoder)?;
                self.open = Some(Open { offset, decoded: 0 });
                return Ok(Step::Member(offset));
            }
            if matches!(coding, Coding::Zstd(_)) && skippable(start) && start.len() >= 8 {
                let len = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
                let next = self.input.position() + 8 + u64::from(len);
                self.input.seek(next)?;
                continue;
            }
            // Tapes and block devices pad with zeros.
            let padding = start.iter().take_while(|byte| **byte == 0).count();
            let (shown, all_padding) = (start.len(), padding == start.len());
            self.input.take(padding);
            if shown == 0 {
                return Ok(Step::End);
            }
            if !all_padding {
                break;
            }
        }
        let offset = self.input.position();
        self.find()?;
        let bytes = self.input.position() - offset;
        let fault = match self.given_up() {
            true => Fault::GivenUp,
            false => Fault::Garbage { bytes },
        };
        Ok(Step::Lost(Lost { offset, fault }))
    }

    /// Goes to the next member that can be decoded and begins with a record, or to the end.
    fn find(&mut self) -> io::Result<()> {
        loop {
            if self.given_up() {
                let end = self.input.len()?;
                return self.input.seek(end);
            }
            let Some((coding, _)) = &self.coding else {
                return Ok(());
            };
            let magic = coding.magic();
            let bytes = self.input.peek(TRIAL)?;
            if bytes.is_empty() {
                return Ok(());
            }
            let Some(found) = memchr::memmem::find(bytes, magic) else {
                // The magic may lie across the end of what is shown.
                let count = match bytes.len() < magic.len() {
                    true => bytes.len(),
                    false => bytes.len() + 1 - magic.len(),
                };
                self.input.take(count);
                continue;
            };
            self.input.take(found);
            self.trials += 1;
            let trial = self.input.peek(TRIAL)?;
            if begins_with_a_record(coding, &trial[..trial.len().min(TRIAL)]) {
                return Ok(());
            }
            self.input.take(1);
        }
    }
}

fn begins_with_a_record(coding: &Coding, member: &[u8]) -> bool {
    let Ok(mut decoder) = coding.decoder() else {
        return false;
    };
    let mut plain = Vec::new();
    // What is damaged further on may still give a record; a head in one piece is enough.
    let _ = decoder.run(member, &mut plain);
    head::Dialect::Either.begins(&plain)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{gzip, page, read_all, record, texts, zstd};
    use super::super::skippable::{DICTIONARY, SKIPPABLE};
    use super::super::{Found, parse};
    use super::*;

    fn lost(all: &[Found]) -> Vec<&Fault> {
        let faults = all.iter().filter_map(|found| match found {
            Found::Lost(lost) => Some(&lost.fault),
            Found::Record(record) => record.fault.as_ref(),
        });
        faults.collect()
    }

    /// A frame that decoders pass over.
    fn skipped(nibble: u8, content: &[u8]) -> Vec<u8> {
        let head = [
            SKIPPABLE[0] | nibble,
            SKIPPABLE[1],
            SKIPPABLE[2],
            SKIPPABLE[3],
        ];
        [&head[..], &(content.len() as u32).to_le_bytes(), content].concat()
    }

    #[test]
    fn a_damaged_member_costs_itself_only() {
        let pages = ["one", "two", "three"].map(|text| page("http://a/", text));
        for coded in [
            pages.clone().map(|page| gzip(&page)),
            pages.map(|page| zstd(&page, &[])),
        ] {
            for at in 0..coded[1].len() {
                let mut file = coded.concat();
                file[coded[0].len() + at] ^= 0x55;
                let all = read_all(&file, Limits::default());
                let read = texts(&all);
                assert_eq!(read.first().map(String::as_str), Some("one"), "{at}");
                assert_eq!(read.last().map(String::as_str), Some("three"), "{at}");
            }
        }
    }

    #[test]
    fn padding_is_nothing_and_garbage_between_members_is_told() {
        let (a, b) = (
            gzip(&page("http://a/", "one")),
            gzip(&page("http://b/", "two")),
        );
        let padded = [&a[..], &b, &[0; 2_000]].concat();
        assert!(lost(&read_all(&padded, Limits::default())).is_empty());
        let dirty = [&a[..], b"garbage", &b, b"tail"].concat();
        let all = read_all(&dirty, Limits::default());
        assert_eq!(texts(&all), ["one", "two"]);
        let garbage = |bytes| Fault::Garbage { bytes };
        assert_eq!(lost(&all), [&garbage(7), &garbage(4)]);
    }

    #[test]
    fn a_member_that_breaks_off_gives_its_beginning_and_says_so() {
        let text: String = (0..9_000_u32)
            .map(|at| char::from(b'a' + (at.wrapping_mul(at) >> 7) as u8 % 26))
            .collect();
        let file = gzip(&page("http://a/", &text));
        let all = read_all(&file[..file.len() / 2], Limits::default());
        assert_eq!(lost(&all), [&Fault::MemberCut]);
        assert!(
            matches!(&all[0], Found::Record(record) if record.block.as_ref().is_some_and(|block| block.len() > 1_000))
        );
    }

    #[test]
    fn a_bomb_is_given_up_and_the_next_member_is_read() {
        let bomb = record("http://a/", &vec![0; 30 << 20]);
        for (bomb, next) in [
            (gzip(&bomb), gzip(&page("http://b/", "two"))),
            (zstd(&bomb, &[]), zstd(&page("http://b/", "two"), &[])),
        ] {
            let limits = Limits {
                max_ratio: 200,
                ..Limits::default()
            };
            let all = read_all(&[bomb, next].concat(), limits);
            assert!(matches!(lost(&all)[..], [Fault::Expands { .. }]));
            assert_eq!(texts(&all).last().map(String::as_str), Some("two"));
        }
    }

    #[test]
    fn a_record_that_is_decoded_without_end_is_given_up_whatever_its_ratio() {
        let noise: Vec<u8> = (0..400_000_u32)
            .flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let file = [
            gzip(&record("http://a/", &noise)),
            gzip(&page("http://b/", "two")),
        ]
        .concat();
        let limits = Limits {
            max_record_bytes: 1_000,
            max_expanded_bytes: 1 << 20,
            ..Limits::default()
        };
        let all = read_all(&file, limits);
        assert!(matches!(lost(&all)[..], [Fault::Expands { .. }]));
        assert_eq!(texts(&all), ["two"]);
    }

    #[test]
    fn a_dictionary_is_taken_from_the_frame_that_a_file_begins_with() {
        let pages = ["one", "two", "three"].map(|text| page("http://a/", text));
        let dictionary = page("http://b/", "words of other pages");
        let frames = pages.map(|page| zstd(&page, &dictionary)).concat();
        let packed = zstd::bulk::compress(&dictionary, 3).expect("memory");
        for stored in [&dictionary, &packed] {
            let file = [
                skipped(DICTIONARY, stored),
                skipped(1, b"other"),
                frames.clone(),
            ]
            .concat();
            assert_eq!(texts(&read_all(&file, Limits::default())).len(), 3);
        }
        let without = parse(&frames, Limits::default()).expect("memory");
        assert!(matches!(without, Some(Found::Lost(_))), "{without:?}");
    }

    #[test]
    fn a_file_of_beginnings_without_members_is_given_up() {
        let file = [b"x", &GZIP.repeat(MAX_TRIALS as usize + 1)[..]].concat();
        let all = read_all(&file, Limits::default());
        assert_eq!(lost(&all).last(), Some(&&Fault::GivenUp));
    }
}

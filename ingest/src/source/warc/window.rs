//! What an archive holds, decoded, as far as it is looked at, with the bounds that no record crosses.
//!
//! ```text
//!            start                edge
//!   …taken…  | shown bytes       | decoded ahead       |  not decoded yet
//!            ^ member offset 812 ^ a member that begins with a record, lost bytes, or the end
//! ```
//!
//! A member that goes on with the record before it is no edge: some writers cut members without regard to records.

use std::collections::VecDeque;
use std::io::{self, Read, Seek};

use super::head::{Dialect, MAX_BEGINNING};
use super::members::{Members, Step};
use super::{Fault, Limits, Lost};

/// Taken bytes that are kept until they are worth being moved over.
const SLACK: usize = 1 << 20;

/// Bytes passed over at a time.
const PASS: usize = 64 << 10;

/// Something that stands before a byte.
struct Event {
    at: usize,
    what: What,
}

enum What {
    Member(u64),
    Lost(Lost),
    End,
}

/// The decoded bytes.
pub(super) struct Window<R> {
    members: Members<R>,
    bytes: Vec<u8>,
    start: usize,
    /// In the order in which they stand; none before `start`.
    events: VecDeque<Event>,
    /// Where the member begins that `start` lies in.
    member: u64,
}

impl<R: Read + Seek> Window<R> {
    pub(super) fn open(file: R, at: u64, limits: Limits) -> io::Result<Self> {
        Ok(Self {
            members: Members::open(file, at, limits)?,
            bytes: Vec::new(),
            start: 0,
            events: VecDeque::new(),
            member: at,
        })
    }

    /// The bytes up to the edge: at least `want`, or all of them. Empty: the edge is here.
    pub(super) fn show(&mut self, want: usize) -> io::Result<&[u8]> {
        loop {
            let (end, known) = self.edge();
            if known || end - self.start >= want {
                return Ok(&self.bytes[self.start..end]);
            }
            let what = match self.members.step(&mut self.bytes)? {
                Step::Bytes => continue,
                Step::Member(offset) => What::Member(offset),
                Step::Lost(lost) => What::Lost(lost),
                Step::End => What::End,
            };
            let at = self.bytes.len();
            self.events.push_back(Event { at, what });
        }
    }

    /// How far bytes can be shown, and whether that is the edge.
    fn edge(&mut self) -> (usize, bool) {
        let mut index = 0;
        while let Some(event) = self.events.get(index) {
            let at = event.at;
            let member = matches!(event.what, What::Member(_));
            if !member {
                return (at, true);
            }
            let next = self.events.get(index + 1).map(|next| next.at);
            let beginning = &self.bytes[at..next.unwrap_or(self.bytes.len())];
            if at == self.start {
                index += 1;
            } else if next.is_none() && beginning.len() < MAX_BEGINNING {
                return (at, false);
            } else if Dialect::Either.begins(beginning) {
                return (at, true);
            } else {
                self.events.remove(index);
            }
        }
        (self.bytes.len(), false)
    }

    /// Whether the edge, being shown, is a member that begins with a record, and not a loss or the end.
    pub(super) fn is_followed_by_a_record(&mut self) -> bool {
        let (end, known) = self.edge();
        let mut ahead = self.events.iter();
        let first = ahead.find(|event| event.at == end && event.at > self.start);
        known && first.is_some_and(|event| matches!(event.what, What::Member(_)))
    }

    /// Takes bytes that were shown.
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
        while let Some(event) = self.events.front()
            && event.at <= self.start
            && let What::Member(offset) = event.what
        {
            self.member = offset;
            if event.at == self.start {
                break;
            }
            self.events.pop_front();
        }
        if self.start > SLACK && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            for event in &mut self.events {
                event.at -= self.start;
            }
            self.start = 0;
        }
    }

    /// Takes `count` bytes, or those up to the edge, without holding them; says how many there were.
    pub(super) fn pass(&mut self, count: u64) -> io::Result<u64> {
        let mut passed = 0;
        loop {
            let shown = self.show(PASS)?.len();
            let at_edge = shown < PASS;
            // Short of the edge: once it is at `start`, a member is none.
            let free = if at_edge {
                shown
            } else {
                shown - MAX_BEGINNING
            };
            let taken = (free as u64).min(count - passed);
            self.take(taken as usize);
            passed += taken;
            if at_edge || passed == count {
                return Ok(passed);
            }
        }
    }

    /// What was lost here, once.
    pub(super) fn lost(&mut self) -> Option<Lost> {
        let here = |event: &Event| event.at == self.start && matches!(event.what, What::Lost(_));
        let index = self.events.iter().position(here)?;
        match self.events.remove(index)?.what {
            What::Lost(lost) => Some(lost),
            What::Member(_) | What::End => None,
        }
    }

    /// What was lost of the member that the last byte taken lay in, once.
    pub(super) fn lost_of_member(&mut self) -> Option<Lost> {
        match &self.events.front()?.what {
            What::Lost(lost) if !matches!(lost.fault, Fault::Garbage { .. }) => self.lost(),
            _ => None,
        }
    }

    /// Offset in the file from which the next byte can be reached, being the first of a member or not compressed.
    pub(super) fn address(&mut self) -> Option<u64> {
        if self.members.plain().is_some() {
            return Some(self.offset());
        }
        self.events.iter().rev().find_map(|event| match event.what {
            What::Member(offset) if event.at == self.start => Some(offset),
            _ => None,
        })
    }

    /// Offset in the file of the next byte, or of the member that it lies in.
    pub(super) fn offset(&mut self) -> u64 {
        let ahead = (self.bytes.len() - self.start) as u64;
        match self.members.plain() {
            Some(input) => input.position() - ahead,
            None => self.address().unwrap_or(self.member),
        }
    }

    /// At most `want` bytes that stand at an offset of a file that is not compressed, without going there; `None`: it is.
    pub(super) fn glance(&mut self, offset: u64, want: usize) -> io::Result<Option<Vec<u8>>> {
        let input = self.members.plain();
        input.map(|input| input.glance(offset, want)).transpose()
    }

    /// Goes to an offset at which a member begins, or to any of a file that is not compressed.
    pub(super) fn seek(&mut self, to: u64) -> io::Result<()> {
        self.bytes.clear();
        self.start = 0;
        self.events.clear();
        self.member = to;
        self.members.seek(to)
    }

    /// Says that a record begins at the next byte.
    pub(super) fn begin_record(&mut self) {
        self.members.begin_record();
    }
}

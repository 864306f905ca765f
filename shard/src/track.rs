//! One dataset in one lane: its documents in order, placed, cut and packed into sequences.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::config::{Part, Passes, StreamConfig};
use crate::cursor::{PassedOver, PieceAt, TrackPosition};
use crate::cut::{Limits, Piece, cut};
use crate::filter::Filter;
use crate::keyed::{Draws, Purpose, key};
use crate::order::{Block, Epoch, Order, RowAt};
use crate::pack::{Bin, Packer};
use crate::place::place;
use crate::read::{DocumentTokens, ReadError, SharedReader};

/// A piece on its way into a sequence.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) at: PieceAt,
    /// [`DocumentTokens::number`].
    pub(crate) document: u64,
    pub(crate) piece: Piece,
}

/// The pieces of one row of a batch.
pub(crate) type Pieces = Vec<Taken>;

/// What all lanes share of one dataset.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) reader: SharedReader,
    pub(crate) config: Arc<StreamConfig>,
    pub(crate) order: Order,
    pub(crate) filter: Option<Arc<Filter>>,
    /// Known once a lane has met an epoch without a document.
    pub(crate) census: Arc<OnceLock<Census>>,
    /// Nobody wants more: what is looked for need not be found.
    pub(crate) stopped: Arc<AtomicBool>,
}

/// One dataset's state in one lane.
pub(crate) struct Track {
    plan: Plan,
    lane: usize,
    epoch: u64,
    order: Epoch,
    block: u64,
    row: u64,
    given: bool,
    passed: PassedOver,
    loaded: Option<Loaded>,
    packer: Packer<Taken>,
    ready: VecDeque<Pieces>,
    finished: bool,
}

/// Whether a dataset has a document to take; of one that has none, why.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Census {
    Usable,
    Nothing(PassedOver),
}

/// Why a document is not taken.
enum Verdict {
    Taken,
    OtherPart,
    FewImages,
    Filtered,
}

struct Loaded {
    block: Block,
    groups: HashMap<u32, Group>,
}

/// A row group's documents, and which of them the filter lets pass; none where its statistics rule all out.
struct Group {
    documents: Vec<DocumentTokens>,
    passes: Option<Vec<bool>>,
}

impl Plan {
    fn limits(&self) -> Limits {
        Limits {
            context: self.config.context,
            slots: self.config.slots,
            max_images: self.config.sequence_images(),
        }
    }

    fn load(&self, group: u32) -> Result<Group, ReadError> {
        let Some(filter) = &self.filter else {
            return Ok(Group {
                documents: self.reader.group(group)?,
                passes: None,
            });
        };
        let passes = self.reader.passes(group, filter)?;
        let documents = match passes.iter().any(|passes| *passes) {
            true => self.reader.group(group)?,
            false => Vec::new(),
        };
        Ok(Group {
            documents,
            passes: Some(passes),
        })
    }

    fn verdict(&self, group: &Group, row: usize) -> Verdict {
        if group.passes.as_ref().is_some_and(|passes| !passes[row]) {
            return Verdict::Filtered;
        }
        let document = &group.documents[row];
        if !self.in_part(document) {
            Verdict::OtherPart
        } else if (document.stored_images() as u64) < u64::from(self.config.min_images) {
            Verdict::FewImages
        } else {
            Verdict::Taken
        }
    }

    /// Looks through the whole dataset for a document to take, once for all lanes.
    pub(crate) fn census(&self) -> Result<Census, ReadError> {
        if let Some(census) = self.census.get() {
            return Ok(*census);
        }
        let mut passed = PassedOver::default();
        for group in 0..self.reader.groups().len() as u32 {
            let loaded = self.load(group)?;
            for row in 0..self.reader.groups()[group as usize].rows as usize {
                match self.verdict(&loaded, row) {
                    Verdict::Taken => return Ok(*self.census.get_or_init(|| Census::Usable)),
                    Verdict::OtherPart => {}
                    Verdict::FewImages => passed.few_images += 1,
                    Verdict::Filtered => passed.filtered += 1,
                }
            }
        }
        Ok(*self.census.get_or_init(|| Census::Nothing(passed)))
    }

    fn pieces(
        &self,
        document: &DocumentTokens,
        at: RowAt,
        epoch: u64,
    ) -> impl Iterator<Item = Taken> + use<> {
        let items = place(document, self.config.seed, epoch);
        let pieces = cut(
            &items,
            &document.tokens,
            &self.reader.header().vocabulary,
            self.limits(),
        );
        let number = document.number();
        pieces
            .into_iter()
            .zip(0..)
            .map(move |(piece, index)| Taken {
                at: PieceAt(epoch, at.group, at.row, index),
                document: number,
                piece,
            })
    }

    /// Whether a document belongs to the configured part. By its id alone: the same in every version of a dataset.
    fn in_part(&self, document: &DocumentTokens) -> bool {
        let held_out = || is_held_out(document.number(), self.config.holdout);
        match self.config.part {
            Part::All => true,
            Part::Train => !held_out(),
            Part::HeldOut => held_out(),
        }
    }
}

/// Whether the document of this number is in the held-out share.
pub(crate) fn is_held_out(document: u64, share: f64) -> bool {
    Draws::new(key(Purpose::HoldOut, &[document])).unit() < share
}

impl Track {
    pub(crate) fn start(plan: &Plan, lane: usize) -> Self {
        let config = &plan.config;
        let packer = Packer::new(config.context, config.sequence_images(), config.bins);
        Self {
            order: plan.order.epoch(0),
            plan: plan.clone(),
            lane,
            epoch: 0,
            block: 0,
            row: 0,
            given: false,
            passed: PassedOver::default(),
            loaded: None,
            packer,
            ready: VecDeque::new(),
            finished: false,
        }
    }

    /// Goes on from a position: reads again only the documents in open bins and sequences not yet taken.
    pub(crate) fn resume(
        plan: &Plan,
        lane: usize,
        position: &TrackPosition,
    ) -> Result<Self, ReadError> {
        let too_full = || ReadError::Position(format!("lane {lane} has more open than fits"));
        let limits = plan.limits();
        // Before anything is read: a position comes back from a file or a client.
        let mut bins = position.open.iter().chain(&position.ready);
        if position.open.len() > plan.config.bins
            || position.ready.len() > MOST_READY
            || bins.any(|bin| bin.len() > plan.config.context)
        {
            return Err(too_full());
        }
        let pieces = read_pieces(plan, position)?;
        let sequence = |bin: &Vec<PieceAt>| -> Result<Pieces, ReadError> {
            let (mut length, mut images) = (0, 0);
            let mut taken = Pieces::new();
            for at in bin {
                let piece = &pieces[at];
                length += piece.piece.tokens.len();
                images += piece.piece.images.len();
                if length > limits.context || images > limits.max_images {
                    return Err(too_full());
                }
                taken.push(piece.clone());
            }
            Ok(taken)
        };
        let open = position.open.iter().map(sequence);
        let open = open.collect::<Result<Vec<_>, _>>()?;
        let ready = position.ready.iter().map(sequence);
        let mut track = Self::start(plan, lane);
        track.ready = ready.collect::<Result<_, _>>()?;
        let bins = open
            .into_iter()
            .map(|pieces| Bin::of(pieces.into_iter().map(with_size)))
            .collect();
        track.packer = track.packer.resume(bins, position.closed);
        track.epoch = position.epoch;
        track.order = plan.order.epoch(position.epoch);
        (track.block, track.row, track.given) = (position.block, position.row, position.given);
        track.finished = position.finished;
        track.passed = position.passed;
        Ok(track)
    }

    pub(crate) fn position(&self) -> TrackPosition {
        let places = |pieces: &[Taken]| pieces.iter().map(|taken| taken.at).collect();
        TrackPosition {
            epoch: self.epoch,
            block: self.block,
            row: self.row,
            given: self.given,
            closed: self.packer.closed(),
            finished: self.finished,
            passed: self.passed,
            open: self
                .packer
                .open()
                .iter()
                .map(|bin| places(&bin.pieces))
                .collect(),
            ready: self.ready.iter().map(|sequence| places(sequence)).collect(),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn passed(&self) -> PassedOver {
        self.passed
    }

    /// The next sequence; `None` where this dataset has ended, or has no document to take.
    ///
    /// An epoch may give a lane nothing, when its blocks hold no document to take: they are dealt anew in the next.
    pub(crate) fn next(&mut self) -> Result<Option<Pieces>, ReadError> {
        loop {
            if let Some(pieces) = self.ready.pop_front() {
                return Ok(Some(pieces));
            }
            if self.finished || self.plan.stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let (epoch, given) = (self.epoch, self.given);
            self.take_document()?;
            let empty = self.epoch != epoch && !given;
            if empty && matches!(self.plan.census()?, Census::Nothing(_)) {
                return Ok(None);
            }
        }
    }

    /// Takes one document, or steps over the end of a block or an epoch.
    fn take_document(&mut self) -> Result<(), ReadError> {
        let row = self.row;
        let Some(loaded) = self.load()? else {
            self.end_epoch();
            return Ok(());
        };
        let Some(at) = loaded.block.row(row) else {
            self.loaded = None;
            self.block += 1;
            self.row = 0;
            return Ok(());
        };
        self.row += 1;
        let loaded = self.loaded.as_ref().expect("loaded above");
        let group = &loaded.groups[&at.group];
        // Once each, not once an epoch.
        let first = u64::from(self.epoch == 0);
        match self.plan.verdict(group, at.row as usize) {
            Verdict::Taken => {}
            Verdict::OtherPart => return Ok(()),
            Verdict::FewImages => {
                self.passed.few_images += first;
                return Ok(());
            }
            Verdict::Filtered => {
                self.passed.filtered += first;
                return Ok(());
            }
        }
        self.given = true;
        let document = &group.documents[at.row as usize];
        for taken in self.plan.pieces(document, at, self.epoch) {
            let (taken, length, images) = with_size(taken);
            self.ready.extend(
                self.packer
                    .push(taken, length, images)
                    .map(|bin| bin.pieces),
            );
        }
        Ok(())
    }

    /// The current block with its documents; `None` at the end of the epoch.
    fn load(&mut self) -> Result<Option<&Loaded>, ReadError> {
        if self.loaded.is_none() {
            let Some(block) = self.order.block(self.lane, self.block) else {
                return Ok(None);
            };
            let mut groups = HashMap::new();
            for &group in block.groups() {
                groups.insert(group, self.plan.load(group)?);
            }
            self.loaded = Some(Loaded { block, groups });
        }
        Ok(self.loaded.as_ref())
    }

    fn end_epoch(&mut self) {
        if self.plan.config.passes != Passes::Endless {
            self.ready
                .extend(self.packer.flush().into_iter().map(|bin| bin.pieces));
            self.finished = true;
            return;
        }
        self.epoch += 1;
        self.order = self.plan.order.epoch(self.epoch);
        (self.block, self.row, self.given) = (0, 0, false);
    }
}

fn with_size(taken: Taken) -> (Taken, usize, usize) {
    let (length, images) = (taken.piece.tokens.len(), taken.piece.images.len());
    (taken, length, images)
}

/// Closed sequences that wait in one lane, at most: those of a document of eight million ids, at 2,048.
const MOST_READY: usize = 4096;

/// Reads again the pieces of which a position speaks, one row group after the other.
fn read_pieces(
    plan: &Plan,
    position: &TrackPosition,
) -> Result<HashMap<PieceAt, Taken>, ReadError> {
    let bins = position.open.iter().chain(&position.ready);
    let mut wanted: Vec<PieceAt> = bins.flatten().copied().collect();
    wanted.sort_unstable_by_key(|&PieceAt(epoch, group, row, piece)| (group, row, epoch, piece));
    wanted.dedup();
    let mut found = HashMap::with_capacity(wanted.len());
    for of_group in wanted.chunk_by(|a, b| a.1 == b.1) {
        let group = of_group[0].1;
        let rows = plan.reader.groups().get(group as usize);
        let rows = rows.map_or(0, |entry| entry.rows);
        if let Some(PieceAt(_, _, row, _)) = of_group.iter().find(|at| at.2 >= rows) {
            let detail = format!("row group {group}, row {row} is not in the manifest");
            return Err(ReadError::Position(detail));
        }
        let documents = plan.reader.group(group)?;
        for of_document in of_group.chunk_by(|a, b| (a.0, a.2) == (b.0, b.2)) {
            let PieceAt(epoch, _, row, _) = of_document[0];
            let document = &documents[row as usize];
            let pieces: Vec<_> = plan.pieces(document, RowAt { group, row }, epoch).collect();
            for at in of_document {
                let piece = pieces.get(at.3 as usize).ok_or_else(|| {
                    let detail = format!("document {} has no piece {}", document.id, at.3);
                    ReadError::Position(detail)
                })?;
                found.insert(*at, piece.clone());
            }
        }
    }
    Ok(found)
}

//! One lane: its documents in order, placed, cut and packed into sequences.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::config::{Part, Passes, StreamConfig};
use crate::cursor::{LanePosition, PieceAt};
use crate::cut::{Limits, Piece, cut};
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
pub(crate) type Sequence = Vec<Taken>;

/// What all lanes of a stream share.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) reader: SharedReader,
    pub(crate) config: StreamConfig,
    pub(crate) order: Order,
}

/// A lane's state.
pub(crate) struct Lane {
    plan: Plan,
    index: usize,
    epoch: u64,
    order: Epoch,
    block: u64,
    row: u64,
    given: bool,
    loaded: Option<Loaded>,
    packer: Packer<Taken>,
    ready: VecDeque<Sequence>,
    finished: bool,
}

struct Loaded {
    block: Block,
    documents: HashMap<u32, Vec<DocumentTokens>>,
}

impl Plan {
    fn limits(&self) -> Limits {
        Limits {
            context: self.config.context,
            slots: self.config.slots,
            max_images: self.max_images(),
        }
    }

    fn max_images(&self) -> usize {
        match self.config.max_images {
            0 => self.config.context,
            most => most,
        }
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

impl Lane {
    pub(crate) fn start(plan: &Plan, index: usize) -> Self {
        let packer = Packer::new(plan.config.context, plan.max_images(), plan.config.bins);
        Self {
            order: plan.order.epoch(0),
            plan: plan.clone(),
            index,
            epoch: 0,
            block: 0,
            row: 0,
            given: false,
            loaded: None,
            packer,
            ready: VecDeque::new(),
            finished: false,
        }
    }

    /// Goes on from a position: reads again only the documents in open bins and sequences not yet taken.
    pub(crate) fn resume(
        plan: &Plan,
        index: usize,
        position: &LanePosition,
    ) -> Result<Self, ReadError> {
        let mut lane = Self::start(plan, index);
        let mut documents = HashMap::new();
        let mut sequence = |pieces: &[PieceAt]| -> Result<Sequence, ReadError> {
            pieces
                .iter()
                .map(|&at| read_piece(plan, &mut documents, at))
                .collect()
        };
        let open = position
            .open
            .iter()
            .map(|bin| sequence(bin))
            .collect::<Result<Vec<_>, _>>()?;
        lane.ready = position
            .ready
            .iter()
            .map(|pieces| sequence(pieces))
            .collect::<Result<_, _>>()?;
        let bins = open
            .into_iter()
            .map(|pieces| Bin::of(pieces.into_iter().map(with_size)))
            .collect();
        lane.packer = lane.packer.resume(bins, position.closed);
        lane.epoch = position.epoch;
        lane.order = plan.order.epoch(position.epoch);
        (lane.block, lane.row, lane.given) = (position.block, position.row, position.given);
        lane.finished = position.finished;
        Ok(lane)
    }

    pub(crate) fn position(&self) -> LanePosition {
        let places = |pieces: &[Taken]| pieces.iter().map(|taken| taken.at).collect();
        LanePosition {
            epoch: self.epoch,
            block: self.block,
            row: self.row,
            given: self.given,
            closed: self.packer.closed(),
            finished: self.finished,
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

    /// The next sequence; `None` when the lane has no more, or has gone through an epoch that gave it nothing: row groups
    /// are dealt anew in every epoch. Adds to `passed_over` what it passes over.
    pub(crate) fn next(&mut self, passed_over: &mut u64) -> Result<Option<Sequence>, ReadError> {
        loop {
            if let Some(sequence) = self.ready.pop_front() {
                return Ok(Some(sequence));
            }
            if self.finished {
                return Ok(None);
            }
            let epoch = (self.epoch, self.given);
            self.take_document(passed_over)?;
            if self.epoch != epoch.0 && !epoch.1 {
                return Ok(None);
            }
        }
    }

    /// Takes one document, or steps over the end of a block or an epoch.
    fn take_document(&mut self, passed_over: &mut u64) -> Result<(), ReadError> {
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
        let document = &loaded.documents[&at.group][at.row as usize];
        if !self.plan.in_part(document) {
            return Ok(());
        }
        if (document.stored_images() as u64) < u64::from(self.plan.config.min_images) {
            // Once each, not once an epoch.
            *passed_over += u64::from(self.epoch == 0);
            return Ok(());
        }
        self.given = true;
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
            let Some(block) = self.order.block(self.index, self.block) else {
                return Ok(None);
            };
            let mut documents = HashMap::new();
            for &group in block.groups() {
                documents.insert(group, self.plan.reader.group(group)?);
            }
            self.loaded = Some(Loaded { block, documents });
        }
        Ok(self.loaded.as_ref())
    }

    fn end_epoch(&mut self) {
        if self.plan.config.passes == Passes::One {
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

/// Reads one piece again, keeping the row groups read for the next ones.
fn read_piece(
    plan: &Plan,
    documents: &mut HashMap<u32, Vec<DocumentTokens>>,
    at: PieceAt,
) -> Result<Taken, ReadError> {
    let PieceAt(epoch, group, row, piece) = at;
    if plan
        .reader
        .groups()
        .get(group as usize)
        .is_none_or(|entry| row >= entry.rows)
    {
        return Err(ReadError::Position(format!(
            "row group {group}, row {row} is not in the manifest"
        )));
    }
    let of_group = match documents.entry(group) {
        Entry::Occupied(read) => read.into_mut(),
        Entry::Vacant(unread) => unread.insert(plan.reader.group(group)?),
    };
    let document = &of_group[row as usize];
    let taken = plan
        .pieces(document, RowAt { group, row }, epoch)
        .nth(piece as usize);
    taken.ok_or_else(|| {
        ReadError::Position(format!("document {} has no piece {piece}", document.id))
    })
}

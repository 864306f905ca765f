//! One lane: the sequences of all datasets, each dataset in its turn.

use std::sync::Arc;

use crate::config::{Passes, StreamConfig};
use crate::cursor::{LanePosition, PassedOver};
use crate::mix::{Balance, Given, Weigh, Weights};
use crate::read::ReadError;
use crate::track::{Pieces, Plan, Track};

/// One row of a batch.
pub(crate) struct Sequence {
    /// Index of its dataset.
    pub(crate) source: usize,
    pub(crate) pieces: Pieces,
}

/// A lane's state.
pub(crate) struct Lane {
    config: Arc<StreamConfig>,
    /// At the first step.
    weights: Vec<f64>,
    balance: Balance,
    given: Vec<Given>,
    ended: Vec<bool>,
    tracks: Vec<Track>,
}

impl Lane {
    pub(crate) fn start(plans: &[Plan], lane: usize) -> Self {
        let config = plans[0].config.clone();
        let weights: Vec<f64> = config
            .sources()
            .iter()
            .map(|source| source.weight)
            .collect();
        let at_first = Weights::at(0, &weights, &config.schedule);
        let shares = Weights::of(at_first, &vec![false; plans.len()]);
        let shares = shares.expect("validated: one is positive");
        Self {
            balance: Balance::staggered(&shares, lane, typical(&config)),
            given: vec![Given::default(); plans.len()],
            ended: vec![false; plans.len()],
            tracks: plans.iter().map(|plan| Track::start(plan, lane)).collect(),
            weights,
            config,
        }
    }

    /// Goes on from a position.
    pub(crate) fn resume(
        plans: &[Plan],
        lane: usize,
        position: &LanePosition,
    ) -> Result<Self, ReadError> {
        let begun = Self::start(plans, lane);
        let lengths = [
            position.given.len(),
            position.ended.len(),
            position.balance.len(),
            position.tracks.len(),
        ];
        if lengths != [plans.len(); 4] {
            let detail = format!("lane {lane} is not of {} datasets", plans.len());
            return Err(ReadError::Position(detail));
        }
        let tracks = plans.iter().zip(&position.tracks);
        Ok(Self {
            balance: position.balance.clone(),
            given: position.given.clone(),
            ended: position.ended.clone(),
            tracks: tracks
                .map(|(plan, track)| Track::resume(plan, lane, track))
                .collect::<Result<_, _>>()?,
            ..begun
        })
    }

    pub(crate) fn position(&self) -> LanePosition {
        LanePosition {
            balance: self.balance.clone(),
            given: self.given.clone(),
            ended: self.ended.clone(),
            tracks: self.tracks.iter().map(Track::position).collect(),
        }
    }

    /// The lowest epoch that any of its datasets is in.
    pub(crate) fn epoch(&self) -> u64 {
        self.tracks.iter().map(Track::epoch).min().unwrap_or(0)
    }

    pub(crate) fn given(&self) -> &[Given] {
        &self.given
    }

    pub(crate) fn passed(&self) -> PassedOver {
        let mut passed = PassedOver::default();
        self.tracks
            .iter()
            .for_each(|track| passed.add(track.passed()));
        passed
    }

    /// The next sequence, for the batch of `step`; `None` at the lane's end, which a stream without end reaches only where a
    /// dataset has no document to take.
    pub(crate) fn next(&mut self, step: u64) -> Result<Option<Sequence>, ReadError> {
        loop {
            let stop = self.config.passes != Passes::One && self.ended.contains(&true);
            let asked = Weights::at(step, &self.weights, &self.config.schedule);
            let Some(weights) = Weights::of(asked, &self.ended).filter(|_| !stop) else {
                return Ok(None);
            };
            let source = self.balance.next(&weights, typical(&self.config));
            let Some(pieces) = self.tracks[source].next()? else {
                self.ended[source] = true;
                self.balance.forgive(source);
                continue;
            };
            let given = given(&pieces);
            let units = given.units(self.config.weigh);
            self.balance.deliver(&weights, source, units);
            self.given[source].add(&given);
            return Ok(Some(Sequence { source, pieces }));
        }
    }
}

/// About what a sequence holds of what is weighed; only its size against what is owed matters.
fn typical(config: &StreamConfig) -> u64 {
    match config.weigh {
        Weigh::Tokens => config.context as u64,
        Weigh::Images | Weigh::Documents | Weigh::Sequences => 1,
    }
}

fn given(pieces: &Pieces) -> Given {
    let sum = |of: fn(&crate::track::Taken) -> usize| pieces.iter().map(of).sum::<usize>() as u64;
    Given {
        sequences: 1,
        documents: sum(|taken| usize::from(taken.at.3 == 0)),
        tokens: sum(|taken| taken.piece.tokens.len()),
        images: sum(|taken| taken.piece.images.len()),
    }
}

//! One lane: where it stands in each of the datasets, and what it has taken of them.

use crate::cursor::{LanePosition, PassedOver};
use crate::mix::Given;
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
    given: Vec<Given>,
    ended: Vec<bool>,
    tracks: Vec<Track>,
}

impl Lane {
    pub(crate) fn start(plans: &[Plan], lane: usize) -> Self {
        Self {
            given: vec![Given::default(); plans.len()],
            ended: vec![false; plans.len()],
            tracks: plans.iter().map(|plan| Track::start(plan, lane)).collect(),
        }
    }

    /// Goes on from a position.
    pub(crate) fn resume(
        plans: &[Plan],
        lane: usize,
        position: &LanePosition,
    ) -> Result<Self, ReadError> {
        let lengths = [
            position.given.len(),
            position.ended.len(),
            position.tracks.len(),
        ];
        if lengths != [plans.len(); 3] {
            let detail = format!("lane {lane} is not of {} datasets", plans.len());
            return Err(ReadError::Position(detail));
        }
        let tracks = plans.iter().zip(&position.tracks);
        Ok(Self {
            given: position.given.clone(),
            ended: position.ended.clone(),
            tracks: tracks
                .map(|(plan, track)| Track::resume(plan, lane, track))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn position(&self) -> LanePosition {
        LanePosition {
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

    /// Which datasets have nothing more for it.
    pub(crate) fn ended(&self) -> &[bool] {
        &self.ended
    }

    pub(crate) fn passed(&self) -> PassedOver {
        let mut passed = PassedOver::default();
        self.tracks
            .iter()
            .for_each(|track| passed.add(track.passed()));
        passed
    }

    /// The next sequence of one dataset, and what it holds; `None` where that has ended here.
    pub(crate) fn next(&mut self, source: usize) -> Result<Option<(Sequence, Given)>, ReadError> {
        let Some(pieces) = self.tracks[source].next()? else {
            self.ended[source] = true;
            return Ok(None);
        };
        let given = given(&pieces);
        self.given[source].add(&given);
        Ok(Some((Sequence { source, pieces }, given)))
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

//! Where a stream stands: enough to go on exactly, and nothing that could be read again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::mix::{Balance, Given};

/// A position between two batches. It belongs to one manifest of each dataset and one stream configuration, and is refused
/// elsewhere. A rank's position speaks of its own lanes, of a mixture's of all; [`Position::merge`] makes one of all, from
/// which any allowed number of ranks goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Hashes of the manifests.
    pub(crate) manifests: Vec<String>,
    /// [`crate::StreamConfig::identity`].
    pub(crate) stream: String,
    /// Turns taken by all ranks: the next one is lane `turn mod L`'s.
    pub(crate) turn: u64,
    /// L.
    pub(crate) of_lanes: u32,
    /// What each dataset is owed.
    pub(crate) balance: Balance,
    pub(crate) lanes: BTreeMap<u32, LanePosition>,
}

/// Where one lane stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LanePosition {
    /// For each dataset.
    pub(crate) given: Vec<Given>,
    pub(crate) ended: Vec<bool>,
    pub(crate) tracks: Vec<TrackPosition>,
}

/// Where one dataset stands in one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrackPosition {
    pub(crate) epoch: u64,
    /// Block of the lane in this epoch.
    pub(crate) block: u64,
    /// Next row of the block's order.
    pub(crate) row: u64,
    /// Whether this epoch has given a document yet.
    pub(crate) given: bool,
    /// Sequences closed so far.
    pub(crate) closed: u64,
    pub(crate) finished: bool,
    pub(crate) passed: PassedOver,
    /// Pieces in open bins.
    pub(crate) open: Vec<Vec<PieceAt>>,
    /// Closed sequences that no batch has taken yet.
    pub(crate) ready: Vec<Vec<PieceAt>>,
}

/// Documents that a stream did not take, each counted once, not once an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// With too few images.
    pub few_images: u64,
    /// That the filter leaves out.
    pub filtered: u64,
}

impl PassedOver {
    pub(crate) fn add(&mut self, other: Self) {
        self.few_images += other.few_images;
        self.filtered += other.filtered;
    }
}

/// A piece of a document: epoch (which placed it), row group, row, index of the piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct PieceAt(
    pub(crate) u64,
    pub(crate) u32,
    pub(crate) u32,
    pub(crate) u32,
);

/// Positions that do not make one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the positions do not belong together: {0}")]
pub struct MergeError(&'static str);

impl Position {
    /// Whether its numbers can be a stream's: a position comes back from a file or a client, and counting on from them must
    /// not overflow. At a million a second these are eight years.
    pub(crate) fn has_sane_numbers(&self) -> bool {
        const MOST: u64 = 1 << 48;
        let track = |track: &TrackPosition| {
            let PassedOver {
                few_images,
                filtered,
            } = track.passed;
            [
                track.epoch,
                track.block,
                track.row,
                track.closed,
                few_images,
                filtered,
            ]
            .iter()
            .all(|number| *number < MOST)
        };
        let given = |given: &Given| {
            [given.sequences, given.documents, given.tokens, given.images]
                .iter()
                .all(|number| *number < MOST)
        };
        let lane =
            |lane: &LanePosition| lane.tracks.iter().all(track) && lane.given.iter().all(given);
        self.turn < MOST && self.balance.is_sane() && self.lanes.values().all(lane)
    }

    /// One position of all lanes, from those of all ranks after the same step.
    ///
    /// # Errors
    /// Positions of different streams or steps, lanes that they differ about, or that are missing.
    pub fn merge(positions: impl IntoIterator<Item = Self>) -> Result<Self, MergeError> {
        let mut positions = positions.into_iter();
        let mut merged = positions.next().ok_or(MergeError("there is none"))?;
        for position in positions {
            if position.manifests != merged.manifests
                || position.stream != merged.stream
                || position.of_lanes != merged.of_lanes
            {
                return Err(MergeError("they are of different streams"));
            }
            if position.turn != merged.turn || position.balance != merged.balance {
                return Err(MergeError("they were taken after different steps"));
            }
            for (lane, at) in position.lanes {
                if *merged.lanes.entry(lane).or_insert_with(|| at.clone()) != at {
                    return Err(MergeError("they differ about a lane"));
                }
            }
        }
        match merged.lanes.len() == merged.of_lanes as usize {
            true => Ok(merged),
            false => Err(MergeError("those of some ranks are missing")),
        }
    }
}

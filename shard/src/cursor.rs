//! Where a stream stands: enough to go on exactly, and nothing that could be read again.

use serde::{Deserialize, Serialize};

/// A position between two batches. It belongs to one manifest and one stream configuration and is refused elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Hash of the manifest.
    pub(crate) manifest: String,
    /// [`crate::StreamConfig::identity`].
    pub(crate) stream: String,
    /// Whose turn it is: lane `turn mod L`.
    pub(crate) turn: u64,
    /// Documents passed over so far, because they have too few images.
    pub(crate) passed_over: u64,
    pub(crate) lanes: Vec<LanePosition>,
}

/// Where one lane stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LanePosition {
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
    /// Pieces in open bins.
    pub(crate) open: Vec<Vec<PieceAt>>,
    /// Closed sequences that no batch has taken yet.
    pub(crate) ready: Vec<Vec<PieceAt>>,
}

/// A piece of a document: epoch (which placed it), row group, row, index of the piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct PieceAt(
    pub(crate) u64,
    pub(crate) u32,
    pub(crate) u32,
    pub(crate) u32,
);

//! What the sharder hands to the trainer: packed rows of ids, and the pixels that go with them.
//!
//! ```text
//! tokens    BOS a dog BOI ▢ ▢ ▢ ▢ EOI it barks EOS │ BOS … EOS │ ? ? ?
//! segments   1  1  1   1  1 1 1 1  1   1   1    1  │  2  …  2  │ 0 0 0     0 = padding
//! positions  0  1  2   3  4 5 6 7  8   9  10   11  │  0  …     │ 0 0 0     restart in every segment
//! ```

use crate::vocabulary::TokenId;

/// B rows of T ids with their N images. Shapes are row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// B.
    pub rows: usize,
    /// T, ids in a row.
    pub context: usize,
    /// S, pixels along one side of an image.
    pub edge: usize,
    /// P, slots that an image takes between BOI and EOI.
    pub slots: usize,
    /// `[B, T]`.
    pub tokens: Vec<TokenId>,
    /// `[B, T]`: whose each id is; attention, targets and the contrastive context never cross. 0 is padding.
    pub segments: Vec<u32>,
    /// `[B, T]`: from 0 in each segment.
    pub positions: Vec<u32>,
    /// `[N, S, S, 3]`, RGB. Normalising happens on the device.
    pub pixels: Vec<u8>,
    /// `[N]`: index into the flat `tokens` of each image's first slot, ascending. Its BOI stands one before.
    pub first_slots: Vec<u32>,
    /// `[N]`: whether a text id precedes the image in its own segment. Without one the image has no contrastive pair.
    pub has_context: Vec<bool>,
}

impl Batch {
    /// N.
    pub fn images(&self) -> usize {
        self.first_slots.len()
    }

    /// Share of the B × T places that hold a document's id.
    pub fn fill(&self) -> f64 {
        let used = self
            .segments
            .iter()
            .filter(|&&segment| segment != 0)
            .count();
        used as f64 / self.segments.len().max(1) as f64
    }
}

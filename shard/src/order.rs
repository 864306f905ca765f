//! In which order documents come: row groups are shuffled into blocks, rows within a block, blocks dealt to lanes.
//!
//! ```text
//! row groups   0 1 2 3 4 5 6 7 8 …      permuted by (seed, epoch)
//!              5 2 8│0 7 1│3 6 4        blocks of `block_row_groups`
//!              lane 0│lane 1│lane 0 …   block b belongs to lane b mod L
//!              rows of a block          permuted by (seed, epoch, block)
//! ```
//! A function of (manifest, seed, epoch) and nothing else. Memory: one number per row group; any position is found by
//! dividing. Price: documents of row groups in different blocks are not mixed within an epoch, only across epochs.

use std::ops::Range;
use std::sync::Arc;

use crate::keyed::{Permutation, Purpose, key};

/// A document: row group of the manifest, row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowAt {
    pub(crate) group: u32,
    pub(crate) row: u32,
}

/// The shape of a dataset, and how it is shuffled.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    rows: Arc<[u32]>,
    seed: u64,
    block_row_groups: usize,
    lanes: usize,
}

/// One epoch's row groups, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    order: Order,
    epoch: u64,
    groups: Arc<[u32]>,
}

/// The rows of one block, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    groups: Vec<u32>,
    /// First row of each group in the block, and the end.
    starts: Vec<u64>,
    permutation: Permutation,
}

/// L: at most one for each block of a dataset of so many row groups.
pub(crate) fn lanes(row_groups: usize, block_row_groups: usize, most: usize) -> usize {
    most.clamp(1, row_groups.div_ceil(block_row_groups).max(1))
}

impl Order {
    /// `rows` of each row group of the manifest.
    pub(crate) fn new(rows: Vec<u32>, seed: u64, block_row_groups: usize, lanes: usize) -> Self {
        // Where there are few row groups, smaller blocks: every lane has its share in every epoch, if there are enough.
        let most = (rows.len() / lanes).max(1);
        Self {
            rows: rows.into(),
            seed,
            block_row_groups: block_row_groups.min(most),
            lanes,
        }
    }

    pub(crate) fn epoch(&self, epoch: u64) -> Epoch {
        let permutation = Permutation::new(
            self.rows.len() as u64,
            key(Purpose::RowGroups, &[self.seed, epoch]),
        );
        let groups = (0..self.rows.len() as u64)
            .map(|index| permutation.at(index) as u32)
            .collect();
        Epoch {
            order: self.clone(),
            epoch,
            groups,
        }
    }
}

impl Epoch {
    /// The `index`-th block of a lane; `None` after its last.
    ///
    /// Lanes are dealt blocks from epoch to epoch without beginning anew: of a dataset with fewer blocks than lanes, each
    /// has its turn.
    pub(crate) fn block(&self, lane: usize, index: u64) -> Option<Block> {
        let lanes = self.order.lanes as u64;
        let blocks = self.groups.len().div_ceil(self.order.block_row_groups) as u64;
        let dealt = (self.epoch % lanes) * (blocks % lanes) % lanes;
        let block = (lane as u64 + lanes - dealt) % lanes + index * lanes;
        let first = usize::try_from(block)
            .ok()?
            .checked_mul(self.order.block_row_groups)?;
        let range: Range<usize> =
            first..(first + self.order.block_row_groups).min(self.groups.len());
        let groups = self
            .groups
            .get(range)
            .filter(|groups| !groups.is_empty())?
            .to_vec();
        let mut starts = vec![0];
        for &group in &groups {
            starts.push(starts[starts.len() - 1] + u64::from(self.order.rows[group as usize]));
        }
        let rows = starts[groups.len()];
        let permutation = Permutation::new(
            rows,
            key(Purpose::Rows, &[self.order.seed, self.epoch, block]),
        );
        Some(Block {
            groups,
            starts,
            permutation,
        })
    }
}

impl Block {
    /// Row groups that must be read for it.
    pub(crate) fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// The `index`-th document; `None` after the last.
    pub(crate) fn row(&self, index: u64) -> Option<RowAt> {
        if index >= self.starts[self.groups.len()] {
            return None;
        }
        let flat = self.permutation.at(index);
        let at = self.starts.partition_point(|&start| start <= flat) - 1;
        Some(RowAt {
            group: self.groups[at],
            row: (flat - self.starts[at]) as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn walk(order: &Order, epoch: u64) -> Vec<Vec<RowAt>> {
        let epoch = order.epoch(epoch);
        (0..order.lanes)
            .map(|lane| {
                let blocks = (0..).map_while(|index| epoch.block(lane, index));
                blocks
                    .flat_map(|block| (0..).map_while(move |index| block.row(index)))
                    .collect()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_document_comes_once_an_epoch(
            rows in prop::collection::vec(0..40u32, 0..30), seed: u64, block in 1..6usize, lanes in 1..9usize,
        ) {
            let order = Order::new(rows.clone(), seed, block, lanes);
            let walked: Vec<RowAt> = walk(&order, 3).concat();
            let distinct: BTreeSet<_> = walked.iter().copied().collect();
            prop_assert_eq!(distinct.len(), walked.len());
            prop_assert_eq!(walked.len() as u32, rows.iter().sum::<u32>());
        }
    }

    #[test]
    fn epochs_and_seeds_give_other_orders() {
        let order = Order::new(vec![256; 12], 1, 4, 2);
        assert_eq!(walk(&order, 0), walk(&order, 0));
        assert_ne!(walk(&order, 0), walk(&order, 1));
        assert_ne!(
            walk(&order, 0),
            walk(&Order::new(vec![256; 12], 2, 4, 2), 0)
        );
    }

    #[test]
    fn a_small_dataset_has_fewer_lanes_and_every_lane_has_blocks() {
        assert_eq!(
            [3, 17, 0, 900].map(|groups| lanes(groups, 8, 8)),
            [1, 3, 1, 8]
        );
        for groups in [3, 9, 17, 63, 64, 65, 900] {
            let of = lanes(groups, 8, 8);
            let order = Order::new(vec![100; groups], 0, 8, of);
            let walked = walk(&order, 0);
            assert!(
                walked.iter().all(|lane| !lane.is_empty()),
                "{groups}: {walked:?}"
            );
        }
    }
}

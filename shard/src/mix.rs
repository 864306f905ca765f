//! Whose turn it is: sequences of several datasets, dealt so that each keeps its share.
//!
//! Every delivered unit (token, image, document or sequence) owes each dataset its weight of it; the dataset that is owed
//! most comes next, whichever lane's turn it is. Integers only, so that a position holds the balance exactly.

use serde::{Deserialize, Serialize};

use crate::config::Change;

/// What weights count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weigh {
    /// Ids, slots included, padding not.
    #[default]
    Tokens,
    /// Images.
    Images,
    /// Documents, by their first pieces.
    Documents,
    /// Packed sequences.
    Sequences,
}

/// What a dataset has given to a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Packed sequences.
    pub sequences: u64,
    /// Documents, by their first pieces.
    pub documents: u64,
    /// Ids, slots included.
    pub tokens: u64,
    /// Images.
    pub images: u64,
}

impl Given {
    /// The number of what is weighed.
    pub fn units(&self, weigh: Weigh) -> u64 {
        match weigh {
            Weigh::Tokens => self.tokens,
            Weigh::Images => self.images,
            Weigh::Documents => self.documents,
            Weigh::Sequences => self.sequences,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sequences += other.sequences;
        self.documents += other.documents;
        self.tokens += other.tokens;
        self.images += other.images;
    }
}

/// A share of one.
const WHOLE: i64 = 1_000_000;

/// Shares in millionths that add up to one; 0 for a dataset that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weights(Vec<i64>);

impl Weights {
    /// Of those that have not ended; `None` where none of them has a weight.
    pub(crate) fn of(weights: &[f64], ended: &[bool]) -> Option<Self> {
        let open = || {
            weights
                .iter()
                .zip(ended)
                .map(|(w, ended)| if *ended { 0.0 } else { *w })
        };
        let sum: f64 = open().sum();
        if sum <= 0.0 {
            return None;
        }
        let mut shares: Vec<i64> = open()
            .map(|weight| (weight / sum * WHOLE as f64) as i64)
            .collect();
        // What rounding left goes to the largest.
        let missing = WHOLE - shares.iter().sum::<i64>();
        let largest = (0..shares.len()).rev().max_by_key(|&at| shares[at])?;
        shares[largest] += missing;
        Some(Self(shares))
    }

    /// In force at `step`: the newest change, else `first`.
    pub(crate) fn at<'a>(step: u64, first: &'a [f64], schedule: &'a [Change]) -> &'a [f64] {
        let changed = schedule
            .iter()
            .rev()
            .find(|change| change.from_step <= step);
        changed.map_or(first, |change| &change.weights)
    }
}

/// What each dataset is owed, in millionths of a unit; adds up to 0, but for what rounding leaves where one ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Balance(Vec<i64>);

impl Balance {
    pub(crate) fn of(datasets: usize) -> Self {
        Self(vec![0; datasets])
    }

    /// Of the datasets that `may` give, the one that will be owed most once `typical` more units are delivered.
    pub(crate) fn next(
        &self,
        weights: &Weights,
        typical: u64,
        may: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        (0..weights.0.len())
            .rev()
            .filter(|&source| weights.0[source] > 0 && may(source))
            .max_by_key(|&source| self.0[source] + weights.0[source] * typical as i64)
    }

    pub(crate) fn deliver(&mut self, weights: &Weights, source: usize, units: u64) {
        for (owed, weight) in self.0.iter_mut().zip(&weights.0) {
            *owed += weight * units as i64;
        }
        self.0[source] -= WHOLE * units as i64;
    }

    /// Whether no dataset is owed more than so many millionths.
    pub(crate) fn is_within(&self, most: u64) -> bool {
        self.0.iter().all(|owed| owed.unsigned_abs() < most)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What an ended dataset is still owed is forgiven: those that have not ended share from here on.
    pub(crate) fn forgive(&mut self, source: usize, ended: &[bool]) {
        let owed = std::mem::take(&mut self.0[source]);
        let others = ended.iter().filter(|ended| !**ended).count() as i64;
        for (balance, ended) in self.0.iter_mut().zip(ended) {
            if !ended {
                *balance += owed / others;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyed::Draws;

    fn open(weights: &[f64]) -> Weights {
        Weights::of(weights, &vec![false; weights.len()]).expect("positive")
    }

    proptest! {
        /// Sequences are nearly full: their sizes differ by a few percent.
        #[test]
        fn every_share_stays_within_a_sequence(
            weights in prop::collection::vec(1..100u32, 1..6), seed: u64,
        ) {
            const FULL: u64 = 2048;
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let shares = open(&weights);
            let mut draws = Draws::new(seed);
            let mut balance = Balance::of(weights.len());
            for _ in 0..2000 {
                let source = balance.next(&shares, FULL, |_| true).expect("all may");
                balance.deliver(&shares, source, FULL - draws.next() % 60);
                prop_assert_eq!(balance.0.iter().sum::<i64>(), 0);
                for owed in &balance.0 {
                    prop_assert!(owed.abs() <= FULL as i64 * WHOLE, "{owed}");
                }
            }
        }
    }

    #[test]
    fn what_an_ended_dataset_was_owed_goes_to_those_that_have_not_ended() {
        let mut balance = Balance(vec![600, -400, -200, 0]);
        balance.forgive(0, &[true, false, false, true]);
        assert_eq!(balance.0, [0, -100, 100, 0]);
    }

    #[test]
    fn shares_add_up_and_an_ended_dataset_has_none() {
        assert_eq!(open(&[1.0, 1.0, 1.0]).0, [333_334, 333_333, 333_333]);
        assert_eq!(
            Weights::of(&[1.0, 3.0], &[true, false]),
            Some(Weights(vec![0, WHOLE]))
        );
        assert_eq!(Weights::of(&[1.0], &[true]), None);
    }

    #[test]
    fn the_newest_change_is_in_force() {
        let change = |from_step, weight| Change {
            from_step,
            weights: vec![weight],
        };
        let schedule = [change(10, 2.0), change(20, 3.0)];
        let at = |step| Weights::at(step, &[1.0], &schedule)[0];
        assert_eq!(
            [0, 9, 10, 19, 20, 99].map(at),
            [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
        );
    }
}

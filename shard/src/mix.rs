//! Whose turn it is: sequences of several datasets, dealt so that each keeps its share.
//!
//! Every delivered unit (token, image, document or sequence) owes each dataset its weight of it; the one that would be owed
//! too much the soonest comes next, whichever lane's turn it is. Integers only, so that a position holds the balance exactly.

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

/// A share of one. What rounding leaves of a share is then one sequence after 10¹¹, and 2²⁰ ids, the longest sequence, are
/// 2⁵⁶ of it.
const WHOLE: i64 = 1 << 36;

/// Shares of [`WHOLE`] that add up to it; 0 for a dataset that has ended.
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
            .map(|weight| match weight > 0.0 {
                // However small, it is a share.
                true => ((weight / sum * WHOLE as f64) as i64).max(1),
                false => 0,
            })
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

/// What each dataset is owed, in parts of a unit, [`WHOLE`] to one; adds up to 0, but for what rounding leaves where one ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Balance(Vec<i64>);

impl Balance {
    pub(crate) fn of(datasets: usize) -> Self {
        Self(vec![0; datasets])
    }

    /// Which of the datasets that `may` give comes next, where a sequence is `typical` units.
    ///
    /// Of n, each may be owed, or have had too much, up to 1 − 1/(2n−2) of a sequence. Of those that may have one more, the
    /// one comes that would be owed too much the soonest: then no share is ever off by more (R. Tijdeman, The chairman
    /// assignment problem, 1980). To give to the one that is owed most keeps that only for two: of twelve, one was off by 1.3.
    pub(crate) fn next(
        &self,
        weights: &Weights,
        typical: u64,
        may: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let open = weights.0.iter().filter(|weight| **weight > 0).count() as i128;
        let sequence = i128::from(WHOLE) * i128::from(typical);
        let slack = sequence / (2 * open - 2).max(2);
        let candidates = (0..weights.0.len()).filter(|&at| weights.0[at] > 0 && may(at));
        let owed = |at: usize| i128::from(self.0[at]);
        let weight = |at: usize| i128::from(weights.0[at]);
        let allowed = |at: &usize| owed(*at) + weight(*at) * i128::from(typical) >= slack;
        // Units until it is owed too much, times the product of both weights.
        let sooner = |a: &usize, b: &usize| {
            let left = |at: usize| sequence - slack - owed(at);
            (left(*a) * weight(*b)).cmp(&(left(*b) * weight(*a)))
        };
        let next = candidates.clone().filter(allowed).min_by(sooner);
        // Where not all may give, or sequences differ: whoever has had least too much.
        next.or_else(|| candidates.min_by(sooner))
    }

    pub(crate) fn deliver(&mut self, weights: &Weights, source: usize, units: u64) {
        for (owed, weight) in self.0.iter_mut().zip(&weights.0) {
            *owed += weight * units as i64;
        }
        self.0[source] -= WHOLE * units as i64;
    }

    /// Whether no dataset is owed more than sixteen of the longest sequences: more cannot be, and sums would overflow.
    pub(crate) fn is_sane(&self) -> bool {
        self.0.iter().all(|owed| owed.unsigned_abs() < 1 << 60)
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
            weights in prop::collection::vec(1..1000u32, 1..13), seed: u64,
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
        let thirds = open(&[1.0, 1.0, 1.0]).0;
        assert_eq!(thirds.iter().sum::<i64>(), WHOLE);
        assert!(
            thirds.iter().all(|third| (third - WHOLE / 3).abs() <= 1),
            "{thirds:?}"
        );
        assert_eq!(
            Weights::of(&[1.0, 3.0], &[true, false]),
            Some(Weights(vec![0, WHOLE]))
        );
        assert_eq!(Weights::of(&[1.0], &[true]), None);
        assert!(open(&[1e-9, 1.0]).0[0] > 0, "a small share is one");
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

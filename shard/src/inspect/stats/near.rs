//! Pairs of 64-bit hashes that differ in few bits, without comparing each with each.
//!
//! The 64 bits are cut into k bands. If two hashes differ in at most N = k·r + a bits (a < k), one of the first a + 1 bands
//! differs in at most r bits or one of the others in at most r − 1: else they would differ in (a + 1)(r + 1) + (k − a − 1)r
//! = N + 1 at least (multi-index hashing, Norouzi et al., CVPR 2012). So each hash is compared with those alone that are in
//! the buckets near its own of each band: at N = 4 in 17 + 1 + 1 + 1 of 4 × 65,536. Memory: 16 bytes a hash and band at a time,
//! and 16 MB of bucket starts at most.

use std::thread;

/// Buckets looked into and hashes compared before the search is given up, which bounds its time: half a minute on two
/// idle cores.
const STEPS: u64 = 4 << 30;
/// Parts of the work, each with its share of the steps: what is found does not depend on threads.
const SLICES: usize = 64;

/// Pairs found, and who hangs together by them.
pub(crate) struct Neighbours {
    /// Pairs by how many bits they differ in.
    pub(crate) pairs: Vec<u64>,
    /// By index into the hashes.
    pub(crate) sets: Sets,
    /// Whether the search was not given up.
    pub(crate) complete: bool,
}

/// A part of the 64 bits, and in how many bits a bucket may differ from a hash's own.
#[derive(Clone, Copy, Debug)]
struct Band {
    shift: u32,
    bits: u32,
    radius: u32,
}

impl Band {
    fn of(self, hash: u64) -> usize {
        (hash >> self.shift) as usize & ((1 << self.bits) - 1)
    }

    /// Whether two hashes with this difference meet here.
    fn meet(self, difference: u64) -> bool {
        (self.of(difference) as u64).count_ones() <= self.radius
    }

    /// Differences between a hash's own bucket and those to look into.
    fn masks(self) -> Vec<usize> {
        let mut masks = vec![0];
        let mut last = 0..1;
        for _ in 0..self.radius {
            let start = masks.len();
            for at in last.clone() {
                let mask: usize = masks[at];
                // Only bits above the highest that is set, so that each mask comes once.
                let above = usize::BITS - mask.leading_zeros();
                masks.extend((above..self.bits).map(|bit| mask | 1 << bit));
            }
            last = start..masks.len();
        }
        masks
    }
}

/// Ways of cutting 64 bits that have buckets enough for a few, and for millions of hashes.
const CUTS: [&[u32]; 2] = [&[16, 16, 16, 16], &[22, 21, 21]];

/// The way of cutting that takes the least work.
fn bands(hashes: usize, most: u32) -> Vec<Band> {
    let work = |bands: &Vec<Band>| -> u64 {
        let of_band = |band: &Band| {
            // Buckets looked into, and hashes in them.
            let buckets = (0..=band.radius)
                .map(|bits| choose(band.bits, bits))
                .sum::<u64>();
            buckets * (1 + (hashes as u64 >> band.bits))
        };
        bands.iter().map(of_band).sum()
    };
    let cuts = CUTS.map(|widths| cut(widths, most));
    cuts.into_iter().min_by_key(work).unwrap_or_default()
}

/// In how many ways so many of n bits can be set.
fn choose(n: u32, bits: u32) -> u64 {
    (0..u64::from(bits)).fold(1, |ways, bit| ways * (u64::from(n) - bit) / (bit + 1))
}

fn cut(widths: &[u32], most: u32) -> Vec<Band> {
    let (radius, extra) = (most / widths.len() as u32, most % widths.len() as u32);
    let mut shift = 0;
    let band = |(at, &bits): (usize, &u32)| {
        let band = Band {
            shift,
            bits,
            radius,
        };
        shift += bits;
        match at as u32 <= extra {
            true => Some(band),
            // A band in which no hashes need to be near.
            false => radius.checked_sub(1).map(|radius| Band { radius, ..band }),
        }
    };
    widths.iter().enumerate().filter_map(band).collect()
}

/// Hashes by their bucket of one band.
struct Buckets {
    /// Where each begins, and the end.
    starts: Vec<u32>,
    hashes: Vec<u64>,
    indices: Vec<u32>,
}

impl Buckets {
    fn of(hashes: &[u64], band: Band) -> Self {
        let mut starts = vec![0u32; (1 << band.bits) + 1];
        for &hash in hashes {
            starts[band.of(hash) + 1] += 1;
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        let mut next = starts.clone();
        let (mut sorted, mut indices) = (vec![0; hashes.len()], vec![0; hashes.len()]);
        for (index, &hash) in hashes.iter().enumerate() {
            let at = &mut next[band.of(hash)];
            sorted[*at as usize] = hash;
            indices[*at as usize] = index as u32;
            *at += 1;
        }
        Self {
            starts,
            hashes: sorted,
            indices,
        }
    }

    fn bucket(&self, bucket: usize) -> impl Iterator<Item = (u64, u32)> {
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        let hashes = self.hashes[range.clone()].iter().copied();
        hashes.zip(self.indices[range].iter().copied())
    }
}

/// All pairs among `hashes`, which are all different, that differ in `most` bits or fewer.
///
/// `weights` says how many images each hash stands for: a pair of hashes is so many pairs of images.
pub(crate) fn neighbours(hashes: &[u64], weights: &[u32], most: u32) -> Neighbours {
    search(hashes, weights, most, &bands(hashes.len(), most))
}

fn search(hashes: &[u64], weights: &[u32], most: u32, bands: &[Band]) -> Neighbours {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut found = Neighbours::none(hashes.len(), most);
    for weight in weights.iter().map(|&weight| u64::from(weight)) {
        // Images of one hash.
        let pairs = weight * weight.saturating_sub(1) / 2;
        found.pairs[0] = found.pairs[0].saturating_add(pairs);
    }
    let budget = STEPS / (SLICES * bands.len().max(1)) as u64;
    for at in 0..bands.len() {
        let search = Search {
            hashes,
            weights,
            most,
            band: bands[at],
            earlier: &bands[..at],
            buckets: Buckets::of(hashes, bands[at]),
            masks: bands[at].masks(),
            budget,
        };
        let search = &search;
        let parts: Vec<_> = thread::scope(|scope| {
            let spawn = |worker| scope.spawn(move || search.slices(worker, workers));
            let workers: Vec<_> = (0..workers).map(spawn).collect();
            workers.into_iter().map(|worker| worker.join()).collect()
        });
        for part in parts {
            found.add(part.expect("a search does not panic"));
        }
    }
    found
}

/// The search in one band.
struct Search<'a> {
    hashes: &'a [u64],
    weights: &'a [u32],
    most: u32,
    band: Band,
    /// Bands that were searched before: what meets there was found there.
    earlier: &'a [Band],
    buckets: Buckets,
    masks: Vec<usize>,
    budget: u64,
}

impl Search<'_> {
    /// Every `workers`-th slice from `worker` on.
    fn slices(&self, worker: usize, workers: usize) -> Neighbours {
        let mut found = Neighbours::none(self.hashes.len(), self.most);
        let size = self.hashes.len().div_ceil(SLICES).max(1);
        let slices = self.hashes.chunks(size).enumerate();
        for (slice, hashes) in slices.skip(worker).step_by(workers) {
            self.slice(slice * size, hashes, &mut found);
        }
        found
    }

    fn slice(&self, first: usize, hashes: &[u64], found: &mut Neighbours) {
        let mut left = self.budget;
        for (index, &hash) in (first as u32..).zip(hashes) {
            let own = self.band.of(hash);
            for mask in &self.masks {
                let bucket = own ^ mask;
                let size = self.buckets.starts[bucket + 1] - self.buckets.starts[bucket];
                let Some(rest) = left.checked_sub(1 + u64::from(size)) else {
                    found.complete = false;
                    return;
                };
                left = rest;
                for (other, other_index) in self.buckets.bucket(bucket) {
                    let bits = (hash ^ other).count_ones();
                    if bits <= self.most && index < other_index {
                        self.pair(index, other_index, found);
                    }
                }
            }
        }
    }

    fn pair(&self, a: u32, b: u32, found: &mut Neighbours) {
        let difference = self.hashes[a as usize] ^ self.hashes[b as usize];
        if self.earlier.iter().any(|band| band.meet(difference)) {
            return;
        }
        let weight = |index: u32| u64::from(self.weights[index as usize]);
        let pairs = &mut found.pairs[difference.count_ones() as usize];
        *pairs = pairs.saturating_add(weight(a) * weight(b));
        found.sets.join(a, b);
    }
}

impl Neighbours {
    fn none(hashes: usize, most: u32) -> Self {
        Self {
            pairs: vec![0; most as usize + 1],
            sets: Sets((0..hashes as u32).collect()),
            complete: true,
        }
    }

    fn add(&mut self, mut more: Self) {
        for (pairs, more) in self.pairs.iter_mut().zip(&more.pairs) {
            *pairs = pairs.saturating_add(*more);
        }
        for index in 0..more.sets.0.len() as u32 {
            self.sets.join(index, more.sets.first(index));
        }
        self.complete &= more.complete;
    }
}

/// Who hangs together, directly or by others: of each its parent, in the end the first of its set.
pub(crate) struct Sets(Vec<u32>);

impl Sets {
    /// The first of its set.
    pub(crate) fn first(&mut self, mut index: u32) -> u32 {
        while self.0[index as usize] != index {
            let parent = self.0[index as usize];
            self.0[index as usize] = self.0[parent as usize];
            index = parent;
        }
        index
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first(a), self.first(b));
        // The first stays the first, whatever the order of joining.
        let (first, later) = (a.min(b), a.max(b));
        self.0[later as usize] = first;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Each with each.
    fn by_hand(hashes: &[u64], most: u32) -> (Vec<u64>, Vec<u32>) {
        let (mut pairs, mut sets) = (
            vec![0; most as usize + 1],
            Neighbours::none(hashes.len(), 0).sets,
        );
        for (a, one) in hashes.iter().enumerate() {
            for (b, other) in hashes.iter().enumerate().skip(a + 1) {
                let bits = (one ^ other).count_ones();
                if bits <= most {
                    pairs[bits as usize] += 1;
                    sets.join(a as u32, b as u32);
                }
            }
        }
        (pairs, firsts(sets))
    }

    fn firsts(mut sets: Sets) -> Vec<u32> {
        (0..sets.0.len() as u32)
            .map(|index| sets.first(index))
            .collect()
    }

    /// Families of hashes within some bits of one another.
    fn hashes() -> impl Strategy<Value = Vec<u64>> {
        let flips = prop::collection::vec(0..64u32, 0..18);
        let family =
            (any::<u64>(), prop::collection::vec(flips, 1..12)).prop_map(|(hash, members)| {
                let flipped =
                    |flips: Vec<u32>| flips.iter().fold(hash, |hash, bit| hash ^ 1 << bit);
                members.into_iter().map(flipped).collect::<Vec<_>>()
            });
        prop::collection::vec(family, 1..6).prop_map(|families| {
            let different: BTreeSet<_> = families.into_iter().flatten().collect();
            different.into_iter().collect()
        })
    }

    proptest! {
        #[test]
        fn near_duplicates_are_found_up_to_the_distance_and_no_further(hashes in hashes(), most in 0..16u32) {
            let found = neighbours(&hashes, &vec![1; hashes.len()], most);
            let (pairs, sets) = by_hand(&hashes, most);
            prop_assert_eq!(found.pairs, pairs);
            prop_assert_eq!(firsts(found.sets), sets);
            prop_assert!(found.complete);
        }
    }

    proptest! {
        // Each case fills 32 MB of buckets.
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn the_wide_bands_of_many_hashes_find_the_same(hashes in hashes(), most in 0..12u32) {
            let wide = cut(CUTS[1], most);
            let found = search(&hashes, &vec![1; hashes.len()], most, &wide);
            let (pairs, sets) = by_hand(&hashes, most);
            prop_assert_eq!((found.pairs, firsts(found.sets)), (pairs, sets));
        }
    }

    #[test]
    fn images_of_one_hash_are_pairs_of_distance_0() {
        let found = neighbours(&[0, 1, 0xFF], &[3, 2, 1], 1);
        assert_eq!(found.pairs, [3 + 1, 6]);
        assert_eq!(firsts(found.sets), [0, 0, 2]);
    }

    #[test]
    fn only_bands_that_can_hold_a_pair_are_searched() {
        let radii = |most| {
            bands(1, most)
                .iter()
                .map(|band| band.radius)
                .collect::<Vec<_>>()
        };
        assert_eq!(radii(0), [0]);
        assert_eq!(radii(2), [0, 0, 0]);
        assert_eq!(radii(4), [1, 0, 0, 0]);
        assert_eq!(radii(15), [3, 3, 3, 3]);
        assert_eq!(bands(1 << 20, 4).len(), 3, "many hashes want many buckets");
        assert_eq!(
            (choose(16, 0), choose(16, 2), choose(22, 3)),
            (1, 120, 1540)
        );
    }
}

//! Randomness without state: every draw is a function of a seed and of what it is about, so that it is the same on any
//! thread, after any resume, on any machine.

/// What a draw is for; keeps draws about the same thing independent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    RowGroups = 1,
    Rows = 2,
    Placement = 3,
    Crop = 4,
    HoldOut = 5,
    Flip = 6,
}

/// A source of draws: SplitMix64 started from its key.
#[derive(Clone, Debug)]
pub(crate) struct Draws(u64);

/// One key from a purpose and numbers.
pub(crate) fn key(purpose: Purpose, parts: &[u64]) -> u64 {
    parts.iter().fold(mix(purpose as u64), |key, &part| {
        mix(key ^ mix(part.wrapping_add(GOLDEN)))
    })
}

/// FNV-1a, 64 bits: a document's id as a number. Stable for ever, unlike the standard library's hashers.
pub(crate) fn id_number(id: &str) -> u64 {
    id.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Draws {
    pub(crate) fn new(key: u64) -> Self {
        Self(key)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// In [0, 1), 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In [low, high).
    pub(crate) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
}

/// A permutation of 0..n that needs no memory: a four-round Feistel network over the next even power of two, walked
/// until it lands inside (at most four steps on average).
#[derive(Clone, Debug)]
pub(crate) struct Permutation {
    n: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Permutation {
    pub(crate) fn new(n: u64, key: u64) -> Self {
        let bits = 64 - n.saturating_sub(1).leading_zeros();
        let mut draws = Draws::new(key);
        Self {
            n,
            half_bits: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| draws.next()),
        }
    }

    /// Where `index` goes. `index` must be below n.
    pub(crate) fn at(&self, index: u64) -> u64 {
        debug_assert!(index < self.n);
        let mut at = self.encrypt(index);
        while at >= self.n {
            at = self.encrypt(at);
        }
        at
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_permutation_reaches_every_index_once(n in 1..3000u64, key: u64) {
            let permutation = Permutation::new(n, key);
            let mut reached: Vec<_> = (0..n).map(|index| permutation.at(index)).collect();
            reached.sort_unstable();
            prop_assert_eq!(reached, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn neighbours_do_not_stay_neighbours() {
        let permutation = Permutation::new(10_000, 7);
        let near = (0..9_999)
            .filter(|&i| permutation.at(i).abs_diff(permutation.at(i + 1)) < 10)
            .count();
        // 18 in 10,000 are expected of a uniform permutation.
        assert!(near < 60, "{near}");
    }

    #[test]
    fn draws_about_different_things_differ() {
        assert_ne!(key(Purpose::Crop, &[1, 2]), key(Purpose::Crop, &[2, 1]));
        assert_ne!(key(Purpose::Crop, &[1]), key(Purpose::Placement, &[1]));
    }
}

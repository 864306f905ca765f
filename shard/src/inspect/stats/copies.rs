//! Images that stand in a dataset more than once, by SHA-256, in bounded memory.
//!
//! Of an image 40 bytes are kept. When there are more images than [`Copies::MOST`] only those are, whose hash ends in a 0 bit,
//! then in two, and so on: all copies of an image or none, so that shares stay right. At most 168 MB.

use crate::keyed::mix;

/// Where an image stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Spot {
    /// Of the manifest.
    pub(crate) group: u32,
    pub(crate) row: u32,
    pub(crate) place: u32,
}

/// An image and its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The first half of its SHA-256.
    hash: [u64; 2],
    pub(crate) phash: u64,
    /// Itself included; more than 4 billion are 4 billion.
    pub(crate) copies: u32,
    /// The first.
    pub(crate) spot: Spot,
}

impl Seen {
    /// Of an image whose SHA-256 is given in hexadecimal digits.
    pub(crate) fn once(sha256: &str, phash: u64, spot: Spot) -> Option<Self> {
        let half = |at: usize| u64::from_str_radix(sha256.get(at..at + 16)?, 16).ok();
        Some(Self {
            hash: [half(0)?, half(16)?],
            phash,
            copies: 1,
            spot,
        })
    }
}

/// The images met so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies {
    /// Sorted by hash and without copies up to `merged`.
    seen: Vec<Seen>,
    /// Only images whose mixed hash ends in so many 0 bits are looked at.
    zeros: u32,
}

impl Copies {
    /// Different images kept at most.
    pub(crate) const MOST: usize = 1 << 21;

    pub(crate) fn add(&mut self, image: Seen) {
        if !self.takes(&image) {
            return;
        }
        self.seen.push(image);
        if self.seen.len() >= 2 * Self::MOST {
            self.merge(Self::MOST);
        }
    }

    fn takes(&self, image: &Seen) -> bool {
        mix(image.hash[0] ^ mix(image.hash[1])).trailing_zeros() >= self.zeros
    }

    /// Puts copies together, and looks at fewer images until there are at most `most`.
    fn merge(&mut self, most: usize) {
        self.seen
            .sort_unstable_by_key(|image| (image.hash, image.spot));
        self.seen.dedup_by(|again, first| {
            let same = again.hash == first.hash;
            if same {
                first.copies = first.copies.saturating_add(again.copies);
            }
            same
        });
        // The number of different images only grows, so how many are looked at in the end does not depend on when this is done.
        while self.seen.len() > most && self.zeros < 64 {
            self.zeros += 1;
            let mut kept = std::mem::take(&mut self.seen);
            kept.retain(|image| self.takes(image));
            self.seen = kept;
        }
        // Only hashes that were made to agree come here.
        self.seen.truncate(most);
    }

    /// Every image once, by hash; of how many one was looked at.
    pub(crate) fn images(mut self) -> (Vec<Seen>, u64) {
        self.merge(Self::MOST);
        (self.seen, 1u64.checked_shl(self.zeros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn image(number: u64, row: u32) -> Seen {
        let spot = Spot {
            group: 0,
            row,
            place: 0,
        };
        let hash = format!("{:016x}{:016x}{:032x}", mix(number), mix(!number), 0);
        Seen::once(&hash, number, spot).expect("digits")
    }

    proptest! {
        #[test]
        fn copies_are_counted_as_by_hand_in_any_order(numbers in prop::collection::vec(0..12u64, 0..60)) {
            let mut by_hand: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
            let mut copies = Copies::default();
            for (row, &number) in numbers.iter().enumerate().rev() {
                copies.add(image(number, row as u32));
                let entry = by_hand.entry(number).or_default();
                *entry = (entry.0 + 1, row as u32);
            }
            let (images, one_in) = copies.images();
            prop_assert_eq!(one_in, 1);
            let found: BTreeMap<_, _> = images.iter().map(|image| (image.phash, (image.copies, image.spot.row))).collect();
            prop_assert_eq!(found, by_hand);
        }
    }

    #[test]
    fn of_too_many_all_copies_or_none_are_kept_whenever_they_are_merged() {
        for early in [false, true] {
            let mut copies = Copies::default();
            for number in 0..4000 {
                for copy in 0..3 {
                    copies.add(image(number, copy));
                }
                if early && number % 500 == 499 {
                    copies.merge(300);
                }
            }
            copies.merge(300);
            assert_eq!(copies.zeros, 4, "4,000 / 2⁴ is the first below 300");
            assert!((200..300).contains(&copies.seen.len()));
            let whole = |image: &Seen| image.copies == 3 && image.spot.row == 0;
            assert!(copies.seen.iter().all(whole));
        }
    }

    #[test]
    fn an_image_takes_40_bytes() {
        assert_eq!(size_of::<Seen>(), 40);
    }
}

//! Fields of a row to a number that stands for them.

use sha2::{Digest as _, Sha256};

/// A SHA-256 that tells (`ab`, `c`) from (`a`, `bc`) and nothing from an empty text.
pub(super) struct Digest(Sha256);

impl Digest {
    pub(super) fn of(write: impl FnOnce(&mut Self)) -> Self {
        let mut digest = Self(Sha256::new());
        write(&mut digest);
        digest
    }

    pub(super) fn text(&mut self, text: Option<&str>) {
        self.number(text.map_or(u64::MAX, |text| text.len() as u64));
        self.0.update(text.unwrap_or_default());
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    pub(super) fn wide(self) -> [u64; 2] {
        let hash: [u8; 32] = self.0.finalize().into();
        let half = |at| {
            hash[at..at + 8]
                .iter()
                .fold(0, |half, &byte| half << 8 | u64::from(byte))
        };
        [half(0), half(8)]
    }

    pub(super) fn narrow(self) -> u64 {
        self.wide()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_texts_apart_however_they_are_cut() {
        let digest = |texts: &[Option<&str>]| {
            Digest::of(|digest| texts.iter().for_each(|text| digest.text(*text))).wide()
        };
        assert_ne!(
            digest(&[Some("ab"), Some("c")]),
            digest(&[Some("a"), Some("bc")])
        );
        assert_ne!(digest(&[Some("")]), digest(&[None]));
        assert_ne!(digest(&[Some("")]), digest(&[Some(""), Some("")]));
    }
}

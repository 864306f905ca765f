//! What a picture is known by: exactly, and by its look.

use image::RgbImage;
use image_hasher::{HashAlg, Hasher, HasherConfig};
use sha2::{Digest, Sha256};

/// 64 bits by the mean of the lowest frequencies (pHash): near pictures differ in few.
pub(super) struct Perceptual(Hasher<[u8; 8]>);

impl Perceptual {
    pub(super) fn new() -> Self {
        let config = HasherConfig::with_bytes_type::<[u8; 8]>();
        Self(
            config
                .hash_size(8, 8)
                .hash_alg(HashAlg::Mean)
                .preproc_dct()
                .to_hasher(),
        )
    }

    pub(super) fn hash(&self, picture: &RgbImage) -> u64 {
        let hash = self.0.hash_image(picture);
        hash.as_bytes()
            .iter()
            .fold(0, |bits, &byte| bits << 8 | u64::from(byte))
    }
}

/// Lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

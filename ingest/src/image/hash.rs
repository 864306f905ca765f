//! What a picture is known by: exactly, and by its look.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use image_hasher::{HashAlg, Hasher, HasherConfig};
use sha2::{Digest, Sha256};

/// Pixels along a side of what is hashed. Handed whole pictures of 112 × 112, hashing was 60 % of all threads' time.
const EDGE: u32 = 32;

/// 64 bits by the median of the lowest frequencies (pHash): near pictures differ in few.
pub(super) struct Perceptual(Hasher<[u8; 8]>);

impl Perceptual {
    pub(super) fn new() -> Self {
        let config = HasherConfig::with_bytes_type::<[u8; 8]>();
        let config = config.hash_size(8, 8).hash_alg(HashAlg::Median);
        Self(config.preproc_dct().to_hasher())
    }

    pub(super) fn hash(&self, resizer: &mut Resizer, picture: &RgbImage) -> u64 {
        let (width, height) = picture.dimensions();
        let from = TypedImageRef::<U8x3>::from_buffer(width, height, picture.as_raw())
            .expect("an RGB image has three bytes a pixel");
        let mut small = RgbImage::new(EDGE, EDGE);
        let mut to = TypedImage::<U8x3>::from_buffer(EDGE, EDGE, &mut small)
            .expect("an RGB image has three bytes a pixel");
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Hamming));
        resizer
            .resize_typed(&from, &mut to, &options)
            .expect("neither is empty");
        let hash = self.0.hash_image(&small);
        let bytes = hash.as_bytes().iter();
        bytes.fold(0, |bits, &byte| (bits << 8) | u64::from(byte))
    }
}

/// Lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

//! Fetched bytes to a stored image, or to the reason why not.
//!
//! ```text
//! bytes → guess → limits → decode (large JPEGs at a fraction) → over white → resize → sRGB → upright → encode → hash
//! ```
//! A JPEG that is sRGB, upright, small enough and not bloated keeps its bytes, once they were decoded.

mod colour;
mod decode;
mod encode;
mod hash;
mod resize;

use lcl_schemas::document::StoredImage;
use lcl_schemas::outcome::Outcome;

use crate::config::{Config, Decode, Rules};
use crate::hostile;
use crate::stages::{Stage, Stages};
use decode::Picture;

/// A JPEG of more bytes than its pixels have carries something else along.
const BLOATED_BYTES_PER_PIXEL: u64 = 3;

/// Makes stored images; keeps its buffers from one to the next.
pub struct Images {
    limits: Decode,
    rules: Rules,
    image_size: u32,
    encoder: encode::Encoder,
    scaled: lcl_schemas::jpeg::Decoder,
    resizer: fast_image_resize::Resizer,
    hasher: hash::Perceptual,
}

impl Images {
    /// For the sizes, limits and rules of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            limits: config.decode.clone(),
            rules: config.resolved_rules(),
            image_size: config.image_size,
            encoder: encode::Encoder::new(config.jpeg_quality),
            scaled: lcl_schemas::jpeg::Decoder::default(),
            resizer: fast_image_resize::Resizer::new(),
            hasher: hash::Perceptual::new(),
        }
    }

    /// Decodes, reduces and encodes.
    ///
    /// # Errors
    /// The outcome, when there is nothing to store.
    pub fn store(&mut self, bytes: Vec<u8>, stages: &Stages) -> Result<StoredImage, Outcome> {
        // Decoders index and subtract on hostile numbers; a panic in one is a picture that does not decode. Nothing of
        // `self` outlives it: the resizer's buffers and the hasher's plans hold no picture between calls.
        hostile::guarded(|| self.try_store(bytes, stages)).unwrap_or_else(|| {
            self.resizer = fast_image_resize::Resizer::new();
            self.scaled = lcl_schemas::jpeg::Decoder::default();
            Err(Outcome::Corrupt)
        })
    }

    fn try_store(&mut self, bytes: Vec<u8>, stages: &Stages) -> Result<StoredImage, Outcome> {
        let picture = stages.time(Stage::Decode, || {
            decode::decode(&bytes, &self.limits, self.image_size, &mut self.scaled)
        })?;
        let (original_width, original_height) = picture.upright_size();
        check_size(original_width, original_height, &self.rules)?;
        let keeps = self.keeps_bytes(&bytes, &picture);
        let small = stages.time(Stage::Resize, || {
            let small = resize::shrink(&mut self.resizer, picture.pixels, self.image_size);
            let managed = colour::to_srgb(small?, picture.profile.as_ref());
            Ok::<_, Outcome>(resize::turn(managed, picture.orientation))
        })?;
        let phash = stages.time(Stage::Hash, || self.hasher.hash(&mut self.resizer, &small));
        let sha256 = stages.time(Stage::Hash, || hash::sha256(&bytes));
        let original_bytes = u32::try_from(bytes.len()).map_err(|_| Outcome::TooLarge)?;
        let (width, height) = small.dimensions();
        let bytes = match keeps {
            true => bytes,
            false => stages.time(Stage::Encode, || self.encoder.encode(&small))?,
        };
        Ok(StoredImage {
            sha256,
            phash,
            format: "jpeg".into(),
            width,
            height,
            original_width,
            original_height,
            original_bytes,
            bytes,
        })
    }

    fn keeps_bytes(&self, bytes: &[u8], picture: &Picture) -> bool {
        let (width, height) = picture.upright_size();
        let pixels = u64::from(width) * u64::from(height);
        picture.plain_jpeg
            && picture.profile.is_none()
            && picture.orientation == image::metadata::Orientation::NoTransforms
            && width.min(height) <= self.image_size
            && bytes.len() as u64 <= BLOATED_BYTES_PER_PIXEL * pixels
    }
}

/// Whether `rules` keep an image that was stored by others.
///
/// # Errors
/// The outcome, where they do not.
pub(crate) fn check(stored: &StoredImage, rules: &Rules) -> Result<(), Outcome> {
    check_size(stored.original_width, stored.original_height, rules)
}

fn check_size(width: u32, height: u32, rules: &Rules) -> Result<(), Outcome> {
    let (short, long) = (width.min(height), width.max(height));
    if short < rules.min_edge_px.unwrap_or(0) {
        return Err(Outcome::TooSmall);
    }
    let most = rules.max_aspect.filter(|&most| most > 0.0);
    if most.is_some_and(|most| f64::from(long) > most * f64::from(short)) {
        return Err(Outcome::Aspect);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn images() -> Images {
        Images::new(&Config::default())
    }

    fn store(bytes: &[u8]) -> Result<StoredImage, Outcome> {
        images().store(bytes.to_vec(), &Stages::default())
    }

    fn bytes_of(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).expect("memory");
        bytes.into_inner()
    }

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90])
        })
    }

    fn mean(stored: &StoredImage) -> [f64; 3] {
        let picture = image::load_from_memory(&stored.bytes)
            .expect("a JPEG")
            .to_rgb8();
        let mut sums = [0.0; 3];
        for pixel in picture.pixels() {
            for (sum, &value) in sums.iter_mut().zip(&pixel.0) {
                *sum += f64::from(value);
            }
        }
        sums.map(|sum| sum / f64::from(picture.width() * picture.height()))
    }

    #[test]
    fn the_short_side_becomes_the_stored_size_and_nothing_is_enlarged() {
        let large = store(&bytes_of(gradient(1000, 512), ImageFormat::Png)).expect("a picture");
        assert_eq!((large.width, large.height), (500, 256));
        assert_eq!((large.original_width, large.original_height), (1000, 512));
        let small = store(&bytes_of(gradient(100, 40), ImageFormat::Png)).expect("a picture");
        assert_eq!((small.width, small.height), (100, 40));
    }

    /// 1000×700 is decoded at three eighths, to 375×263 pixels of which the last line is half one.
    #[test]
    fn a_picture_decoded_at_a_fraction_comes_out_as_the_whole_would() {
        let picture = gradient(1000, 700);
        let whole = store(&bytes_of(picture.clone(), ImageFormat::Png)).expect("a picture");
        let fraction = store(&bytes_of(picture, ImageFormat::Jpeg)).expect("a picture");
        assert_eq!((whole.width, whole.height), (366, 256));
        assert_eq!((fraction.width, fraction.height), (366, 256));
        let pixels = |stored: &StoredImage| {
            let decoded = image::load_from_memory(&stored.bytes);
            decoded.expect("a JPEG").into_rgb8().into_raw()
        };
        let (whole, fraction) = (pixels(&whole), pixels(&fraction));
        let apart = whole.iter().zip(&fraction).map(|(a, b)| a.abs_diff(*b));
        assert!(apart.max() < Some(8), "levels of 255");
    }

    #[test]
    fn a_small_plain_jpeg_keeps_its_bytes_and_a_large_or_bloated_one_does_not() {
        let small = bytes_of(gradient(200, 150), ImageFormat::Jpeg);
        assert_eq!(store(&small).expect("a picture").bytes, small);
        let large = bytes_of(gradient(600, 500), ImageFormat::Jpeg);
        assert_ne!(store(&large).expect("a picture").bytes, large);
        let mut bloated = small.clone();
        bloated.resize(3 * 200 * 150 + 1, 0);
        let stored = store(&bloated).expect("a picture");
        assert!(stored.bytes.len() < bloated.len());
        assert_eq!(stored.original_bytes as usize, bloated.len());
    }

    #[test]
    fn every_listed_format_is_stored() {
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::WebP,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
        ] {
            let stored = store(&bytes_of(gradient(64, 48), format));
            assert_eq!(
                stored.map(|image| (image.width, image.height)),
                Ok((64, 48)),
                "{format:?}"
            );
        }
    }

    #[test]
    fn what_is_transparent_shows_white() {
        let clear = RgbaImage::from_pixel(32, 32, Rgba([0, 0, 0, 0]));
        let stored = store(&bytes_of(clear, ImageFormat::Png)).expect("a picture");
        assert!(mean(&stored).iter().all(|&value| value > 254.0));
    }

    #[test]
    fn sixteen_bits_are_scaled_not_cut() {
        let half = image::ImageBuffer::from_pixel(32, 32, image::Luma([32_768u16]));
        let stored =
            store(&bytes_of(DynamicImage::ImageLuma16(half), ImageFormat::Png)).expect("a picture");
        assert!(
            mean(&stored)
                .iter()
                .all(|value| (127.0..130.0).contains(value))
        );
    }

    /// A JPEG whose EXIF says "turn right by 90°".
    fn sideways(width: u32, height: u32) -> Vec<u8> {
        let mut tiff = b"II*\0\x08\0\0\0\x01\0".to_vec();
        tiff.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.add_exif_metadata(&tiff).expect("short");
        encoder
            .encode(
                &gradient(width, height),
                width as u16,
                height as u16,
                jpeg_encoder::ColorType::Rgb,
            )
            .expect("memory");
        bytes
    }

    #[test]
    fn a_sideways_photograph_is_turned_upright() {
        let stored = store(&sideways(120, 60)).expect("a picture");
        assert_eq!((stored.width, stored.height), (60, 120));
        assert_eq!((stored.original_width, stored.original_height), (60, 120));
        let upright = image::load_from_memory(&stored.bytes)
            .expect("a JPEG")
            .to_rgb8();
        // Red grew to the right; turned right it grows downwards.
        assert!(upright.get_pixel(30, 110)[0] > upright.get_pixel(30, 10)[0] + 100);
    }

    #[test]
    fn a_profile_that_swaps_primaries_is_undone_and_an_srgb_one_is_not_touched() {
        let mut swapped = moxcms::ColorProfile::new_srgb();
        std::mem::swap(&mut swapped.red_colorant, &mut swapped.blue_colorant);
        let plain = moxcms::ColorProfile::new_srgb();
        for (profile, red_becomes_blue) in [(swapped, true), (plain, false)] {
            let mut bytes = Vec::new();
            let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
            let icc = profile.encode().expect("a profile");
            encoder.add_icc_profile(&icc).expect("short");
            let red = RgbImage::from_pixel(64, 64, Rgb([230, 20, 20]));
            encoder
                .encode(&red, 64, 64, jpeg_encoder::ColorType::Rgb)
                .expect("memory");
            let stored = store(&bytes).expect("a picture");
            let [red, _, blue] = mean(&stored);
            assert_eq!(blue > red, red_becomes_blue, "{red} {blue}");
            assert_eq!(stored.bytes == bytes, !red_becomes_blue);
        }
    }

    #[test]
    fn what_is_no_picture_says_why() {
        let jpeg = bytes_of(gradient(300, 300), ImageFormat::Jpeg);
        let cases: [(&[u8], Outcome); 8] = [
            (b"", Outcome::Empty),
            (b"<html>no</html>", Outcome::NotAnImage),
            (
                b"  <?xml version='1.0'?><svg xmlns='x'/>",
                Outcome::Unsupported,
            ),
            (b"\0\0\0\x1cftypavif\0\0\0\0", Outcome::Unsupported),
            (b"\0\0\x01\0\x01\0\x10\x10", Outcome::Unsupported),
            (b"\x89PNG\r\n\x1a\nrubbish", Outcome::Corrupt),
            (&jpeg[..jpeg.len() / 2], Outcome::Corrupt),
            (&jpeg[..20], Outcome::Corrupt),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                store(bytes),
                Err(expected),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(12)])
            );
        }
    }

    #[test]
    fn a_header_that_claims_too_many_pixels_is_a_bomb_before_any_is_decoded() {
        let mut bmp = bytes_of(gradient(2, 2), ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&30_000i32.to_le_bytes());
        bmp[22..26].copy_from_slice(&30_000i32.to_le_bytes());
        assert_eq!(store(&bmp), Err(Outcome::Bomb));
    }

    #[test]
    fn rules_of_size_and_shape_go_by_the_original() {
        let mut images = images();
        images.rules.min_edge_px = Some(50);
        images.rules.max_aspect = Some(2.0);
        let mut store = |width, height| {
            let bytes = bytes_of(gradient(width, height), ImageFormat::Png);
            images
                .store(bytes, &Stages::default())
                .map(|image| image.width)
        };
        assert_eq!(store(49, 60), Err(Outcome::TooSmall));
        assert_eq!(store(101, 50), Err(Outcome::Aspect));
        assert_eq!(store(100, 50), Ok(100));
    }

    #[test]
    fn the_same_picture_at_another_size_has_nearly_the_same_perceptual_hash() {
        let hash = |bytes: &[u8]| store(bytes).expect("a picture").phash;
        // Patches of many frequencies: where a picture has none, their signs are noise.
        let scene = |width: u32, height: u32| {
            RgbImage::from_fn(width, height, |x, y| {
                let patch = (x * 7 / width) * 5 + y * 5 / height;
                Rgb([((patch + 1).wrapping_mul(0x9E37_79B1) >> 24) as u8; 3])
            })
        };
        let small = hash(&bytes_of(scene(200, 160), ImageFormat::Png));
        let large = hash(&bytes_of(scene(800, 640), ImageFormat::Jpeg));
        let differ = |other: u64| (small ^ other).count_ones();
        // Unrelated ones differ in 32 of 64, with a standard deviation of 4.
        assert!(differ(large) <= 8, "{}", differ(large));
        let other = hash(&bytes_of(gradient(200, 160), ImageFormat::Png));
        assert!(differ(other) >= 16, "{}", differ(other));
    }
}

//! An encoded image to a small one, whatever the bytes are.

use std::io::Cursor;
use std::panic::catch_unwind;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

/// What an image may take in memory: 64 megapixels of RGB and a little more.
const MAX_DECODED_BYTES: u64 = 256 << 20;
/// Longest side that is decoded.
const MAX_EDGE_PX: u32 = 1 << 15;
const JPEG_QUALITY: u8 = 85;

/// A JPEG, or a PNG where something shows through, no wider and no taller than `px`; never enlarged, and the same bytes where
/// they are such an image already. `None` for what does not decode within 256 MB.
pub(super) fn thumbnail(encoded: &[u8], px: u32) -> Option<Vec<u8>> {
    // Decoders have panicked on hostile bytes before; nothing that they leave half done is used again.
    catch_unwind(|| small(encoded, px)).ok()?
}

fn small(encoded: &[u8], px: u32) -> Option<Vec<u8>> {
    let mut reader = ImageReader::new(Cursor::new(encoded))
        .with_guessed_format()
        .ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits.max_image_width = Some(MAX_EDGE_PX);
    limits.max_image_height = Some(MAX_EDGE_PX);
    reader.limits(limits);
    let plain = matches!(reader.format()?, ImageFormat::Jpeg | ImageFormat::Png);
    let decoded = reader.decode().ok()?;
    let fits = decoded.width() <= px && decoded.height() <= px;
    if fits && plain {
        return Some(encoded.to_vec());
    }
    let small = match fits {
        true => decoded,
        false => decoded.thumbnail(px, px),
    };
    encode(small)
}

fn encode(image: DynamicImage) -> Option<Vec<u8>> {
    let mut encoded = Cursor::new(Vec::new());
    if image.color().has_alpha() {
        let image = DynamicImage::from(image.into_rgba8());
        image.write_to(&mut encoded, ImageFormat::Png).ok()?;
    } else {
        let encoder = JpegEncoder::new_with_quality(&mut encoded, JPEG_QUALITY);
        image.into_rgb8().write_with_encoder(encoder).ok()?;
    }
    Some(encoded.into_inner())
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, RgbaImage};

    use super::*;

    fn png(image: DynamicImage) -> Vec<u8> {
        let mut encoded = Cursor::new(Vec::new());
        image
            .write_to(&mut encoded, ImageFormat::Png)
            .expect("in memory");
        encoded.into_inner()
    }

    fn size(encoded: &[u8]) -> (u32, u32) {
        let image = image::load_from_memory(encoded).expect("an image");
        (image.width(), image.height())
    }

    #[test]
    fn it_is_no_larger_than_asked_for_and_keeps_its_shape() {
        let wide = png(RgbImage::from_pixel(400, 100, Rgb([200, 10, 10])).into());
        let small = thumbnail(&wide, 64).expect("an image");
        assert_eq!(size(&small), (64, 16));
        assert_eq!(image::guess_format(&small).ok(), Some(ImageFormat::Jpeg));
        assert_eq!(thumbnail(&wide, 400), Some(wide), "never enlarged");
        // So flat that a side would be 0.
        let line = png(RgbImage::new(2000, 1).into());
        assert_eq!(size(&thumbnail(&line, 10).expect("an image")), (10, 1));
    }

    #[test]
    fn what_shows_through_stays_so() {
        let small = thumbnail(&png(RgbaImage::new(50, 50).into()), 8).expect("an image");
        assert_eq!(image::guess_format(&small).ok(), Some(ImageFormat::Png));
        assert_eq!(size(&small), (8, 8));
    }

    #[test]
    fn what_does_not_decode_is_null() {
        let whole = png(RgbImage::new(100, 100).into());
        // A header that promises 60,000 pixels a side.
        let mut bomb = whole.clone();
        bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        for bytes in [&b"no image"[..], &[], &whole[..60], &bomb] {
            assert_eq!(thumbnail(bytes, 10), None);
        }
    }
}

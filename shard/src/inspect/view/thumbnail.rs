//! Stored images to small JPEGs, made when they are asked for and kept in bounded memory.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbImage};
use lcl_schemas::jpeg::{Decoder, Headers, Shrink};

use crate::order::RowAt;

/// Kept in memory: about 5,000 small ones.
const KEPT_BYTES: usize = 64 << 20;
/// Of an image, along one side and in all: what is stored is far smaller.
const MOST_EDGE: u32 = 1 << 14;
const MOST_PIXELS: u64 = 32 << 20;
/// Of a decoder, in bytes: 32 million pixels of RGBA and a half.
const MOST_MEMORY: u64 = 192 << 20;
const QUALITY: u8 = 82;

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Size {
    /// For cards.
    Small,
    /// For a document's own page.
    Large,
}

impl Size {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Self> {
        [Self::Small, Self::Large]
            .into_iter()
            .find(|size| size.name() == name)
    }

    /// Longer side in CSS pixels.
    fn edge(self) -> u32 {
        match self {
            Self::Small => 176,
            Self::Large => 560,
        }
    }

    /// As large as a picture is shown: never enlarged.
    pub(super) fn of(self, width: u32, height: u32) -> (u32, u32) {
        fit(width, height, self.edge())
    }

    /// Longer side of the thumbnail: screens have up to two pixels for one of CSS.
    fn pixels(self) -> u32 {
        match self {
            Self::Small => 2 * self.edge(),
            Self::Large => self.edge() * 3 / 2,
        }
    }
}

fn fit(width: u32, height: u32, edge: u32) -> (u32, u32) {
    let longer = width.max(height).max(1);
    if longer <= edge {
        return (width.max(1), height.max(1));
    }
    let scaled = |side: u32| (u64::from(side) * u64::from(edge) / u64::from(longer)) as u32;
    (scaled(width).max(1), scaled(height).max(1))
}

/// Decodes within limits and makes a small JPEG; what the decoder said where it cannot.
pub(super) fn make(encoded: &[u8], size: Size) -> Result<Bytes, String> {
    let edge = size.pixels();
    let picture = match smaller(encoded, edge) {
        Some(smaller) => smaller,
        None => decode(encoded)?,
    };
    let picture = match picture.width().max(picture.height()) > edge {
        true => picture.thumbnail(edge, edge),
        false => picture,
    };
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode_image(&on_white(picture))
        .map_err(|error| error.to_string())?;
    Ok(jpeg.into())
}

/// A large JPEG at a fraction of its size.
fn smaller(encoded: &[u8], edge: u32) -> Option<DynamicImage> {
    let headers = Headers::read(encoded)?;
    let longer = headers.width.max(headers.height);
    let shrink = Shrink::to(f64::from(longer), edge as usize)?;
    let mut decoder = Decoder::default();
    let small = decoder.decode(&headers, shrink)?;
    let pixels = RgbImage::from_raw(small.width, small.height, small.pixels.to_vec())?;
    Some(DynamicImage::ImageRgb8(pixels))
}

fn decode(encoded: &[u8]) -> Result<DynamicImage, String> {
    let format = image::guess_format(encoded).map_err(|_| "it is no image".to_owned())?;
    let of_ingest = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Gif,
        ImageFormat::WebP,
    ];
    if !of_ingest.contains(&format) {
        return Err(format!("{format:?} is not shown"));
    }
    let reader = || {
        let mut reader = ImageReader::with_format(Cursor::new(encoded), format);
        let mut limits = Limits::default();
        limits.max_image_width = Some(MOST_EDGE);
        limits.max_image_height = Some(MOST_EDGE);
        limits.max_alloc = Some(MOST_MEMORY);
        reader.limits(limits);
        reader
    };
    let (width, height) = reader()
        .into_dimensions()
        .map_err(|error| error.to_string())?;
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("{width}×{height} is more than is decoded here"));
    }
    reader().decode().map_err(|error| error.to_string())
}

/// JPEG has no transparency: what shines through is the paper.
fn on_white(picture: DynamicImage) -> DynamicImage {
    if !picture.color().has_alpha() {
        return DynamicImage::ImageRgb8(picture.into_rgb8());
    }
    let transparent = picture.into_rgba8();
    let mut opaque = RgbImage::new(transparent.width(), transparent.height());
    for (from, to) in transparent.pixels().zip(opaque.pixels_mut()) {
        let [colours @ .., alpha] = from.0;
        let over = |colour: u8| {
            let alpha = u32::from(alpha);
            ((u32::from(colour) * alpha + 255 * (255 - alpha)) / 255) as u8
        };
        to.0 = colours.map(over);
    }
    DynamicImage::ImageRgb8(opaque)
}

/// Which thumbnail: dataset, document, place, size.
pub(super) type Key = (usize, RowAt, u32, Size);

/// The thumbnails that were asked for last.
#[derive(Default)]
pub(super) struct Kept(Mutex<Shelved>);

#[derive(Default)]
struct Shelved {
    thumbnails: HashMap<Key, (Bytes, u64)>,
    /// By when they were asked for.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

impl Kept {
    pub(super) fn get(&self, key: &Key) -> Option<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, _) = kept.thumbnails.get(key)?;
        let bytes = bytes.clone();
        kept.touch(key);
        Some(bytes)
    }

    pub(super) fn put(&self, key: Key, bytes: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(&key);
        kept.bytes += bytes.len();
        kept.thumbnails.insert(key, (bytes, 0));
        kept.touch(&key);
        while kept.bytes > KEPT_BYTES
            && let Some((_, oldest)) = kept.by_use.pop_first()
        {
            kept.remove(&oldest);
        }
    }
}

impl Shelved {
    fn touch(&mut self, key: &Key) {
        self.uses += 1;
        let uses = self.uses;
        if let Some((_, used)) = self.thumbnails.get_mut(key) {
            self.by_use.remove(used);
            *used = uses;
            self.by_use.insert(uses, *key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some((bytes, used)) = self.thumbnails.remove(key) {
            self.by_use.remove(&used);
            self.bytes -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut png = Cursor::new(Vec::new());
        picture
            .write_to(&mut png, ImageFormat::Png)
            .expect("in memory");
        png.into_inner()
    }

    #[test]
    fn a_thumbnail_is_a_small_jpeg_on_white() {
        let clear = image::RgbaImage::from_pixel(1200, 300, image::Rgba([0, 0, 0, 0]));
        let made = make(&png(&clear.into()), Size::Small).expect("an image");
        let read = image::load_from_memory_with_format(&made, ImageFormat::Jpeg).expect("a JPEG");
        assert_eq!((read.width(), read.height()), (352, 88));
        assert!(read.into_rgb8().pixels().all(|pixel| pixel.0[0] > 250));
    }

    #[test]
    fn what_is_no_image_or_too_large_is_refused() {
        for (bytes, says) in [
            (b"<svg onload=alert(1)>".to_vec(), "no image"),
            (b"BM\0\0\0\0".to_vec(), "not shown"),
            (b"\xFF\xD8\xFF\xE0".to_vec(), ""),
        ] {
            let refused = make(&bytes, Size::Small).expect_err("no image");
            assert!(refused.contains(says), "{refused}");
        }
        // A header alone: 100,000 × 100,000 pixels.
        let mut bomb = png(&DynamicImage::new_rgb8(1, 1));
        bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 1, 0x86, 0xA0]);
        make(&bomb, Size::Small).expect_err("a bomb");
    }

    #[test]
    fn sides_shrink_together_and_never_vanish() {
        assert_eq!(fit(1000, 500, 100), (100, 50));
        assert_eq!(fit(50, 20, 100), (50, 20));
        assert_eq!(fit(100_000, 1, 100), (100, 1));
        assert_eq!(fit(0, 0, 100), (1, 1));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let kept = Kept::default();
        let key = |place| (1, RowAt { group: 0, row: 0 }, place, Size::Small);
        let large = Bytes::from(vec![0; KEPT_BYTES / 4]);
        for place in 0..4 {
            kept.put(key(place), large.clone());
        }
        assert!(kept.get(&key(0)).is_some());
        kept.put(key(4), large);
        assert!(kept.get(&key(0)).is_some());
        assert!(kept.get(&key(1)).is_none());
    }
}

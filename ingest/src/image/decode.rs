//! Bytes to pixels, under limits.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use lcl_schemas::jpeg::{Decoder, Headers, Shrink, facts};
use lcl_schemas::outcome::Outcome;
use moxcms::ColorProfile;

use super::colour;
use crate::config::Decode;

/// A decoded picture, and what is still to be done to it.
pub(super) struct Picture {
    pub(super) pixels: Pixels,
    pub(super) orientation: Orientation,
    /// Set where the pixels are not sRGB.
    pub(super) profile: Option<ColorProfile>,
    /// A JPEG of one or three components: any reader decodes it to the same colours.
    pub(super) plain_jpeg: bool,
}

/// All of a picture's pixels, or of a large JPEG's a fraction along each side.
pub(super) struct Pixels {
    pub(super) decoded: DynamicImage,
    /// As stored in the file.
    pub(super) size: (u32, u32),
    /// Of a side of `decoded` to the file's, but for the last pixel, which may stand for less.
    pub(super) ratio: f64,
}

impl Picture {
    /// Width and height once it is turned upright.
    pub(super) fn upright_size(&self) -> (u32, u32) {
        let (width, height) = self.pixels.size;
        match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (height, width),
            _ => (width, height),
        }
    }
}

/// Decodes the first frame; of a JPEG no more detail than a short side of `edge` pixels has.
pub(super) fn decode(
    bytes: &[u8],
    limits: &Decode,
    edge: u32,
    scaled: &mut Decoder,
) -> Result<Picture, Outcome> {
    let format = guess(bytes)?;
    let facts = match format {
        ImageFormat::Jpeg => Some(facts(bytes).ok_or(Outcome::Corrupt)?),
        _ => None,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allowed(limits));
    let mut decoder = reader.into_decoder().map_err(|error| outcome(&error))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(Outcome::Corrupt);
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels || decoder.total_bytes() > limits.max_alloc {
        return Err(Outcome::Bomb);
    }
    // Metadata that cannot be read is as good as none: the pixels can still be right.
    let profile = decoder.icc_profile().unwrap_or_default();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let smaller = match format {
        ImageFormat::Jpeg => shrunk(bytes, edge, scaled),
        _ => None,
    };
    let (decoded, ratio) = match smaller {
        Some(smaller) => smaller,
        None => {
            let whole = DynamicImage::from_decoder(decoder);
            (whole.map_err(|error| outcome(&error))?, 1.0)
        }
    };
    Ok(Picture {
        pixels: Pixels {
            decoded,
            size: (width, height),
            ratio,
        },
        profile: profile.and_then(|icc| colour::foreign(&icc)),
        plain_jpeg: facts.is_some_and(|facts| matches!(facts.components, 1 | 3)),
        orientation,
    })
}

/// A large JPEG at a fraction of its size, where it is baseline, as nearly all are.
fn shrunk(bytes: &[u8], edge: u32, scaled: &mut Decoder) -> Option<(DynamicImage, f64)> {
    let headers = Headers::read(bytes)?;
    let short = headers.width.min(headers.height);
    let shrink = Shrink::to(f64::from(short), edge as usize)?;
    let small = scaled.decode(&headers, shrink)?;
    let pixels = RgbImage::from_raw(small.width, small.height, small.pixels.to_vec())?;
    Some((DynamicImage::ImageRgb8(pixels), shrink.ratio()))
}

fn allowed(limits: &Decode) -> Limits {
    let mut allowed = Limits::default();
    allowed.max_alloc = Some(limits.max_alloc);
    allowed
}

/// The format by the first bytes; what a server calls it is often wrong.
fn guess(bytes: &[u8]) -> Result<ImageFormat, Outcome> {
    if bytes.is_empty() {
        return Err(Outcome::Empty);
    }
    match image::guess_format(bytes) {
        Ok(
            format @ (ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::Gif
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Tiff),
        ) => Ok(format),
        Ok(_) => Err(Outcome::Unsupported),
        Err(_) if is_other_image(bytes) => Err(Outcome::Unsupported),
        Err(_) => Err(Outcome::NotAnImage),
    }
}

/// Formats that the library above has no name for: ISO media (HEIF), JPEG XL, JPEG 2000, Photoshop, SVG.
fn is_other_image(bytes: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 5] = [
        b"\xFF\x0A",
        b"\0\0\0\x0CJXL ",
        b"\0\0\0\x0CjP  ",
        b"\xFF\x4F\xFF\x51",
        b"8BPS",
    ];
    let heif = bytes.get(4..8) == Some(b"ftyp");
    // An SVG may open with a declaration and comments: its tag comes early or it is a page.
    let head = &bytes[..bytes.len().min(1024)];
    let text = head
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(head)
        .trim_ascii_start();
    let tag = |name: &[u8]| {
        head.windows(name.len())
            .any(|window| window.eq_ignore_ascii_case(name))
    };
    let svg = text.starts_with(b"<") && tag(b"<svg") && !tag(b"<html");
    heif || svg
        || BEGINNINGS
            .iter()
            .any(|beginning| bytes.starts_with(beginning))
}

fn outcome(error: &ImageError) -> Outcome {
    match error {
        ImageError::Limits(_) => Outcome::Bomb,
        ImageError::Unsupported(_) => Outcome::Unsupported,
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::IoError(_) => Outcome::Corrupt,
    }
}

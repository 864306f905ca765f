//! One stored image: what is said of it, and its pixels.

use std::io::Cursor;

use arrow::array::{Array, StructArray};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use lcl_schemas::dataset::Header;
use lcl_schemas::document::{Image, StoredImage};
use lcl_schemas::guard::guarded;
use lcl_schemas::jpeg;
use lcl_schemas::outcome::Outcome;
use sha2::{Digest, Sha256};

/// Decoding one image takes no more memory. The longest that ingest stores, 65,535 pixels of JPEG beside a short side of 2,048,
/// has 0.4 GB.
const MAX_ALLOC: u64 = 512 << 20;

/// What contradicts itself in what a row says of an image.
pub(super) fn field_fault(image: &Image, places: usize, header: &Header) -> Option<String> {
    if let Some(sentence) = image.sentence.filter(|&at| at as usize >= places) {
        return Some(format!(
            "it is matched to place {sentence} of a document of {places}"
        ));
    }
    match (&image.stored, image.outcome == Outcome::Stored) {
        (None, false) => None,
        (None, true) => Some("its outcome is `stored`, and it has no hash".into()),
        (Some(_), false) => Some(format!(
            "its outcome is `{}`, and it has a hash",
            image.outcome
        )),
        (Some(stored), true) => stored_fault(stored, header),
    }
}

/// Fields that every stored image has, and no other.
const OF_STORED: [&str; 8] = [
    "sha256",
    "phash",
    "format",
    "width",
    "height",
    "original_width",
    "original_height",
    "original_bytes",
];

/// Whether those are set, at place `at` of a row's images, for an image with this outcome.
pub(super) fn unset_fault(images: &StructArray, at: u32, outcome: &Outcome) -> Option<String> {
    let stored = *outcome == Outcome::Stored;
    let mut fields = OF_STORED.into_iter();
    let name = fields.find(|name| {
        let field = images.column_by_name(name);
        field.is_some_and(|field| field.is_valid(at as usize) != stored)
    })?;
    Some(match stored {
        true => format!("it is stored, and its `{name}` is not set"),
        false => format!("its outcome is `{outcome}`, and its `{name}` is set"),
    })
}

fn stored_fault(stored: &StoredImage, header: &Header) -> Option<String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let StoredImage { width, height, .. } = *stored;
    if stored.sha256.len() != 64 || !stored.sha256.bytes().all(hex) {
        Some(format!("its hash is {:?}", stored.sha256))
    } else if stored.format.is_empty() {
        Some("its format is empty".into())
    } else if width == 0 || height == 0 {
        Some(format!("it is {width}×{height} pixels"))
    } else if width.min(height) > header.image_size {
        let most = header.image_size;
        Some(format!(
            "it is {width}×{height} pixels, and the dataset's images have a short side of {most} at most"
        ))
    } else if stored.original_width == 0 || stored.original_height == 0 {
        Some("its original size is 0".into())
    } else if stored.original_bytes == 0 {
        Some("its original had no bytes".into())
    } else {
        None
    }
}

/// Whether it decodes, as the format and size that are stored.
///
/// # Errors
/// What is wrong.
pub(super) fn decode(encoded: &[u8], stored: &StoredImage) -> Result<(), String> {
    guarded(|| try_decode(encoded, stored)).and_then(|decoded| decoded)
}

fn try_decode(encoded: &[u8], stored: &StoredImage) -> Result<(), String> {
    let format = image::guess_format(encoded)
        .map_err(|_| "its bytes begin like no image format".to_owned())?;
    let name = format!("{format:?}").to_lowercase();
    if name != stored.format {
        return Err(format!("it is {name}, stored as {}", stored.format));
    }
    // The decoder would fill the rest with grey.
    if format == ImageFormat::Jpeg && jpeg::facts(encoded).is_none() {
        return Err("the JPEG breaks off".into());
    }
    let failed = |error: image::ImageError| format!("it does not decode: {error}");
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    let mut reader = ImageReader::with_format(Cursor::new(encoded), format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if (width, height) != (stored.width, stored.height) {
        return Err(format!(
            "it is {width}×{height} pixels, stored as {}×{}",
            stored.width, stored.height
        ));
    }
    if decoder.total_bytes() > MAX_ALLOC {
        return Err(format!(
            "it takes {} bytes to decode, more than {MAX_ALLOC}",
            decoder.total_bytes()
        ));
    }
    DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok(())
}

/// Whether bytes that were kept as they were fetched still have the hash of those. Others cannot be told.
pub(super) fn is_as_fetched(encoded: &[u8], stored: &StoredImage) -> bool {
    let kept = encoded.len() as u64 == u64::from(stored.original_bytes)
        && (stored.width, stored.height) == (stored.original_width, stored.original_height);
    !kept || format!("{:x}", Sha256::digest(encoded)) == stored.sha256
}

//! Colours to sRGB.

use image::RgbImage;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Steps of 255 by which a profile may differ from sRGB and still be taken for it.
const SAME: u8 = 3;

/// The profile, unless it cannot be used here (not RGB, or damaged) or says sRGB.
pub(super) fn foreign(icc: &[u8]) -> Option<ColorProfile> {
    let profile = ColorProfile::new_from_slice(icc).ok()?;
    (profile.color_space == DataColorSpace::Rgb && !is_srgb(&profile)?).then_some(profile)
}

/// Compared by what it does, not by its name: hundreds of files all mean sRGB.
fn is_srgb(profile: &ColorProfile) -> Option<bool> {
    const LEVELS: [u8; 6] = [0, 32, 64, 128, 192, 255];
    let mut cube = Vec::new();
    for (r, g) in LEVELS.iter().flat_map(|r| LEVELS.map(|g| (*r, g))) {
        cube.extend(LEVELS.iter().flat_map(|&b| [r, g, b]));
    }
    let managed = apply(profile, &cube)?;
    Some(
        cube.iter()
            .zip(&managed)
            .all(|(before, after)| before.abs_diff(*after) <= SAME),
    )
}

/// Converts a picture; one that has no foreign profile is sRGB.
pub(super) fn to_srgb(picture: RgbImage, profile: Option<&ColorProfile>) -> RgbImage {
    let (width, height) = picture.dimensions();
    let managed = profile.and_then(|profile| apply(profile, picture.as_raw()));
    match managed.and_then(|pixels| RgbImage::from_raw(width, height, pixels)) {
        Some(managed) => managed,
        None => picture,
    }
}

fn apply(profile: &ColorProfile, pixels: &[u8]) -> Option<Vec<u8>> {
    let srgb = ColorProfile::new_srgb();
    let options = TransformOptions::default();
    let transform = profile
        .create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options)
        .ok()?;
    let mut managed = vec![0; pixels.len()];
    transform.transform(pixels, &mut managed).ok()?;
    Some(managed)
}

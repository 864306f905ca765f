//! A decoded picture to RGB at the stored size, and upright.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use lcl_schemas::outcome::Outcome;

/// The picture over white, its short side reduced to `size`, never enlarged.
pub(super) fn shrink(
    resizer: &mut Resizer,
    picture: DynamicImage,
    size: u32,
) -> Result<RgbImage, Outcome> {
    let full = over_white(picture);
    let (width, height) = full.dimensions();
    let short = width.min(height);
    if short <= size {
        return Ok(full);
    }
    let scaled = |side: u32| {
        let exact = (u64::from(side) * u64::from(size) + u64::from(short) / 2) / u64::from(short);
        exact as u32
    };
    let (to_width, to_height) = (scaled(width), scaled(height));
    let from = ImageRef::new(width, height, full.as_raw(), PixelType::U8x3)
        .expect("an RGB image has three bytes a pixel");
    let mut to = Image::new(to_width, to_height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    resizer
        .resize(&from, &mut to, Some(&options))
        .map_err(|_| Outcome::Corrupt)?;
    Ok(RgbImage::from_raw(to_width, to_height, to.into_vec()).expect("three bytes a pixel"))
}

/// Turns it as its metadata asks.
pub(super) fn turn(picture: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

fn over_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (from, to) in rgba.pixels().zip(rgb.pixels_mut()) {
        let [r, g, b, alpha] = from.0.map(u32::from);
        to.0 = [r, g, b].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    rgb
}

//! A decoded picture to RGB at the stored size, and upright.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use lcl_schemas::outcome::Outcome;

use super::decode::Pixels;

/// The picture over white, its short side reduced to `size`, never enlarged.
pub(super) fn shrink(
    resizer: &mut Resizer,
    pixels: Pixels,
    size: u32,
) -> Result<RgbImage, Outcome> {
    let decoded = over_white(pixels.decoded);
    let (width, height) = pixels.size;
    let short = width.min(height);
    if short <= size {
        return Ok(decoded);
    }
    let scaled = |side: u32| {
        let exact = (u64::from(side) * u64::from(size) + u64::from(short) / 2) / u64::from(short);
        exact as u32
    };
    let (to_width, to_height) = (scaled(width), scaled(height));
    let mut reduced = RgbImage::new(to_width, to_height);
    // By pixel type: the untyped call compiles the kernels of all sixteen into this crate.
    let from =
        TypedImageRef::<U8x3>::from_buffer(decoded.width(), decoded.height(), decoded.as_raw())
            .expect("an RGB image has three bytes a pixel");
    let mut to = TypedImage::<U8x3>::from_buffer(to_width, to_height, &mut reduced)
        .expect("an RGB image has three bytes a pixel");
    // A last pixel that stands for less than the others lies partly outside.
    let inside = |side: u32| f64::from(side) * pixels.ratio;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .crop(0.0, 0.0, inside(width), inside(height));
    resizer
        .resize_typed(&from, &mut to, &options)
        .map_err(|_| Outcome::Corrupt)?;
    Ok(reduced)
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

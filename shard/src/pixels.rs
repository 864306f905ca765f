//! Encoded images to the squares that a model takes: decode, crop, resize, mirror; RGB bytes out.

use fast_image_resize as fir;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use lcl_schemas::jpeg::{self, Shrink};

use crate::config::{Crop, StreamConfig};
use crate::keyed::{Draws, Purpose, key};

/// Which part of an image becomes the square, in pixels of the decoded image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// What an image's draws depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrawKey {
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) document: u64,
    pub(crate) place: u32,
}

/// Decodes images one after the other, keeping its buffers.
#[derive(Default)]
pub struct Squares {
    jpeg: jpeg::Decoder,
    resizer: fir::Resizer,
}

impl Squares {
    /// One image as `config` has it, into `[S, S, 3]`.
    ///
    /// # Errors
    /// What the decoder said.
    pub(crate) fn draw(
        &mut self,
        encoded: &[u8],
        config: &StreamConfig,
        about: DrawKey,
        square: &mut [u8],
    ) -> Result<(), String> {
        let window = |width, height| match config.crop {
            Crop::Center => center(width, height),
            Crop::Random => random(width, height, about),
        };
        self.square(encoded, config.edge, window, square)?;
        if config.flip && draws(Purpose::Flip, about).unit() < 0.5 {
            for line in square.chunks_exact_mut(3 * config.edge) {
                mirror(line);
            }
        }
        Ok(())
    }

    /// The middle of one image, into `[S, S, 3]`.
    ///
    /// # Errors
    /// What the decoder said.
    pub fn center(&mut self, encoded: &[u8], edge: usize, square: &mut [u8]) -> Result<(), String> {
        self.square(encoded, edge, center, square)
    }

    /// Bicubic and antialiased; from a large JPEG by way of as small a decoding as is not smaller than the square.
    fn square(
        &mut self,
        encoded: &[u8],
        edge: usize,
        window: impl Fn(u32, u32) -> Window,
        square: &mut [u8],
    ) -> Result<(), String> {
        let resizer = &mut self.resizer;
        if let Some(headers) = jpeg::Headers::read(encoded) {
            let window = window(headers.width, headers.height);
            if let Some(shrink) = Shrink::to(window.width.min(window.height), edge)
                && let Some(small) = self.jpeg.decode(&headers, shrink)
            {
                let size = (small.width, small.height);
                return resize(
                    resizer,
                    size,
                    small.pixels,
                    window.shrunk(shrink),
                    edge,
                    square,
                );
            }
        }
        let decoded = image::load_from_memory(encoded);
        let decoded = decoded.map_err(|error| error.to_string())?.into_rgb8();
        let (width, height) = decoded.dimensions();
        let window = window(width, height);
        resize(
            resizer,
            (width, height),
            decoded.as_raw(),
            window,
            edge,
            square,
        )
    }
}

fn resize(
    resizer: &mut fir::Resizer,
    (width, height): (u32, u32),
    pixels: &[u8],
    window: Window,
    edge: usize,
    square: &mut [u8],
) -> Result<(), String> {
    // By pixel type: the untyped call compiles the kernels of all sixteen into this crate.
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, pixels)
        .map_err(|error| error.to_string())?;
    let mut target = TypedImage::<U8x3>::from_buffer(edge as u32, edge as u32, square)
        .map_err(|error| error.to_string())?;
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom))
        .crop(window.left, window.top, window.width, window.height);
    resizer
        .resize_typed(&source, &mut target, &options)
        .map_err(|error| error.to_string())
}

impl Window {
    fn shrunk(self, shrink: Shrink) -> Self {
        let ratio = shrink.ratio();
        Self {
            left: self.left * ratio,
            top: self.top * ratio,
            width: self.width * ratio,
            height: self.height * ratio,
        }
    }
}

/// A line of RGB pixels, the other way round.
fn mirror(line: &mut [u8]) {
    let (pixels, _) = line.as_chunks_mut::<3>();
    pixels.reverse();
}

fn draws(purpose: Purpose, about: DrawKey) -> Draws {
    let DrawKey {
        seed,
        epoch,
        document,
        place,
    } = about;
    Draws::new(key(purpose, &[seed, epoch, document, u64::from(place)]))
}

/// The largest square in the middle.
fn center(width: u32, height: u32) -> Window {
    let side = width.min(height);
    Window {
        left: f64::from((width - side) / 2),
        top: f64::from((height - side) / 2),
        width: f64::from(side),
        height: f64::from(side),
    }
}

/// A random area of 0.9–1.0 with an aspect of 3:4–4:3 (log-uniform); after ten draws that do not fit, the middle.
fn random(width: u32, height: u32, about: DrawKey) -> Window {
    let mut draws = draws(Purpose::Crop, about);
    let (full_width, full_height) = (f64::from(width), f64::from(height));
    let aspects = (3.0_f64 / 4.0, 4.0_f64 / 3.0);
    for _ in 0..10 {
        let area = full_width * full_height * draws.within(0.9, 1.0);
        let aspect = draws.within(aspects.0.ln(), aspects.1.ln()).exp();
        let (w, h) = (
            (area * aspect).sqrt().round(),
            (area / aspect).sqrt().round(),
        );
        if (1.0..=full_width).contains(&w) && (1.0..=full_height).contains(&h) {
            let left = draws.within(0.0, full_width - w + 1.0).floor();
            let top = draws.within(0.0, full_height - h + 1.0).floor();
            return Window {
                left,
                top,
                width: w,
                height: h,
            };
        }
    }
    let aspect = (full_width / full_height).clamp(aspects.0, aspects.1);
    let w = full_width.min((full_height * aspect).round());
    let h = full_height.min((full_width / aspect).round());
    Window {
        left: ((full_width - w) / 2.0).round(),
        top: ((full_height - h) / 2.0).round(),
        width: w,
        height: h,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn about(place: u32) -> DrawKey {
        DrawKey {
            seed: 1,
            epoch: 2,
            document: 3,
            place,
        }
    }

    proptest! {
        #[test]
        fn a_window_lies_inside_its_image(width in 1..700u32, height in 1..700u32, place: u32) {
            for window in [random(width, height, about(place)), center(width, height)] {
                prop_assert!(window.left >= 0.0 && window.left + window.width <= f64::from(width), "{window:?}");
                prop_assert!(window.top >= 0.0 && window.top + window.height <= f64::from(height), "{window:?}");
                prop_assert!(window.width >= 1.0 && window.height >= 1.0, "{window:?}");
            }
        }
    }

    #[test]
    fn random_windows_of_a_square_keep_nine_tenths_of_the_area() {
        for place in 0..200 {
            let window = random(256, 256, about(place));
            let share = window.width * window.height / (256.0 * 256.0);
            assert!((0.88..=1.0).contains(&share), "{window:?}");
        }
    }

    #[test]
    fn a_plain_image_stays_plain_and_a_broken_one_says_so() {
        let mut png = std::io::Cursor::new(Vec::new());
        let plain = image::RgbImage::from_pixel(40, 30, image::Rgb([200, 100, 50]));
        plain
            .write_to(&mut png, image::ImageFormat::Png)
            .expect("in memory");
        let mut squares = Squares::default();
        let mut square = vec![0; 16 * 16 * 3];
        squares
            .center(png.get_ref(), 16, &mut square)
            .expect("valid");
        assert_eq!(square, [200, 100, 50].repeat(16 * 16));
        squares
            .center(b"not an image", 16, &mut square)
            .expect_err("not one");
    }

    #[test]
    fn half_of_the_images_are_mirrored_when_asked_for_and_none_otherwise() {
        let mut png = std::io::Cursor::new(Vec::new());
        let halves =
            image::RgbImage::from_fn(8, 8, |x, _| image::Rgb([if x < 4 { 250 } else { 5 }; 3]));
        halves
            .write_to(&mut png, image::ImageFormat::Png)
            .expect("in memory");
        let mirrored = |flip: bool| {
            let config = StreamConfig {
                edge: 8,
                crop: Crop::Center,
                flip,
                ..StreamConfig::default()
            };
            let mut squares = Squares::default();
            let mut square = vec![0; 8 * 8 * 3];
            let drawn = (0..200).map(|place| {
                squares
                    .draw(png.get_ref(), &config, about(place), &mut square)
                    .expect("valid");
                square[0] < 128 && square[8 * 3 - 1] > 128
            });
            drawn.filter(|mirrored| *mirrored).count()
        };
        assert_eq!(mirrored(false), 0);
        assert!((70..130).contains(&mirrored(true)));
    }
}

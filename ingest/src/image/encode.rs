//! Stored pixels to JPEG: by jpeg-encoder, or with the feature `turbojpeg` by libjpeg-turbo, in two fifths of the time.
//!
//! Colour is stored at half of both sides, as in nearly all photographs: at full detail it takes twice the time and half again
//! the bytes.

use image::RgbImage;
use lcl_schemas::outcome::Outcome;

/// The longest side that libjpeg knows, and with it most readers: a strip that stays longer has no stored form.
const MOST_PIXELS: u32 = 65_500;

/// Makes JPEGs of one quality.
pub(super) struct Encoder(Inner);

#[cfg(not(feature = "turbojpeg"))]
type Inner = u8;
#[cfg(feature = "turbojpeg")]
type Inner = turbojpeg::Compressor;

impl Encoder {
    /// # Errors
    /// The outcome, where a side is longer than a JPEG's can be.
    pub(super) fn encode(&mut self, picture: &RgbImage) -> Result<Vec<u8>, Outcome> {
        if picture.width().max(picture.height()) > MOST_PIXELS {
            return Err(Outcome::Unsupported);
        }
        Ok(self.encoded(picture))
    }
}

#[cfg(not(feature = "turbojpeg"))]
impl Encoder {
    /// `quality` is 1 to 100.
    pub(super) fn new(quality: u8) -> Self {
        Self(quality)
    }

    fn encoded(&mut self, picture: &RgbImage) -> Vec<u8> {
        let side = |pixels: u32| u16::try_from(pixels).expect("at most 65,500");
        let mut bytes = Vec::with_capacity(picture.len() / 4);
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, self.0);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
        encoder
            .encode(
                picture,
                side(picture.width()),
                side(picture.height()),
                jpeg_encoder::ColorType::Rgb,
            )
            .expect("memory takes any bytes, and both sides are in range and not 0");
        bytes
    }
}

#[cfg(feature = "turbojpeg")]
impl Encoder {
    /// `quality` is 1 to 100.
    pub(super) fn new(quality: u8) -> Self {
        let mut compressor = turbojpeg::Compressor::new().expect("memory for a compressor");
        compressor
            .set_quality(quality.into())
            .and_then(|()| compressor.set_subsamp(turbojpeg::Subsamp::Sub2x2))
            .expect("quality is 1 to 100");
        Self(compressor)
    }

    fn encoded(&mut self, picture: &RgbImage) -> Vec<u8> {
        let pixels = turbojpeg::Image {
            pixels: &picture.as_raw()[..],
            width: picture.width() as usize,
            pitch: 3 * picture.width() as usize,
            height: picture.height() as usize,
            format: turbojpeg::PixelFormat::RGB,
        };
        self.0
            .compress_to_vec(pixels)
            .expect("memory takes any bytes, and both sides are in range and not 0")
    }
}

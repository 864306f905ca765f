//! Large JPEGs to small pictures: decoded at a half, three eighths, a quarter or an eighth of their size.
//!
//! Cropping to 224 pixels needs nothing of a 1280×960 picture's fine detail. Here only the coefficients of the size
//! asked for are transformed, and the others are not even decoded: several of their codes are passed over at one look. A
//! 1280×960 picture of 340 kB takes 3.1 ms at a quarter and one of 1024×768 and 157 kB 2.1 ms at a half, against 4.1 and 2.65
//! ms by the scaled decoding of libjpeg-turbo; that of the crates jpeg-decoder and rusty_jpeg gains nothing over a whole
//! decode by zune-jpeg.
//!
//! Baseline files of one scan, grey or YCbCr, as nearly all are. Anything else, and anything that is not as it should be,
//! is `None`: the decoder of whole pictures then says what it is.

mod facts;
mod headers;
mod huffman;
mod inverse;

pub use facts::{Facts, facts};
use headers::Component;
pub use headers::Headers;
use huffman::{Bits, Spec, Table, ZIGZAG};
use inverse::{Block, Inverse, inverse};

/// How much smaller: pixels for every eight, along both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// To an eighth of both sides.
    Eighth = 1,
    /// To a quarter.
    Quarter = 2,
    /// To three eighths.
    ThreeEighths = 3,
    /// To a half.
    Half = 4,
}

impl Shrink {
    /// From the smallest on.
    pub const ALL: [Self; 4] = [Self::Eighth, Self::Quarter, Self::ThreeEighths, Self::Half];

    /// The most that leaves a window of so many pixels no smaller than `edge`.
    pub fn to(window: f64, edge: usize) -> Option<Self> {
        let fits = |shrink: &Self| window * shrink.ratio() >= edge as f64;
        Self::ALL.into_iter().find(fits)
    }

    /// Of a side of the small picture to the whole one's, but for the last pixel, which may stand for less.
    pub fn ratio(self) -> f64 {
        f64::from(self as u32) / 8.0
    }
}

/// Decodes one after the other, keeping its buffers, and its tables where files have the same.
#[derive(Default)]
pub struct Decoder {
    tables: [[Option<Table>; 4]; 2],
    /// The scan without stuffing, and where its segments end.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// A line of MCUs of each component, all of one size.
    planes: [Vec<u8>; 3],
    pixels: Vec<u8>,
}

/// `[height, width, 3]`, of a decoder's last picture.
pub struct Small<'a> {
    /// Of the small picture.
    pub width: u32,
    /// Of the small picture.
    pub height: u32,
    /// RGB, line by line.
    pub pixels: &'a [u8],
}

/// A component, ready to be decoded.
struct Channel<'a> {
    /// Blocks of an MCU, and pixels of a block.
    blocks: (usize, usize),
    pixels: (usize, usize),
    quantization: &'a [f32; 64],
    first: &'a Table,
    others: &'a Table,
    /// The last coefficient that matters, in zigzag order.
    last: usize,
    inverse: Inverse,
    before: i32,
}

impl Decoder {
    /// The whole picture, smaller.
    pub fn decode(&mut self, headers: &Headers, shrink: Shrink) -> Option<Small<'_>> {
        let (across, down) = headers.sampling();
        let (width, height) = (headers.width as usize, headers.height as usize);
        let mcus = (width.div_ceil(8 * across), height.div_ceil(8 * down));
        self.bytes.clear();
        self.ends.clear();
        unstuff(headers.scan, &mut self.bytes, &mut self.ends)?;
        let blocks: usize = headers.components.iter().map(|c| c.across * c.down).sum();
        // A block is two bits at least: what is asked of memory is bounded by what was given.
        if mcus.0 * mcus.1 * blocks > 4 * self.bytes.len() {
            return None;
        }
        let [first, others] = &mut self.tables;
        keep_tables(first, &headers.huffman[0], Table::of_first)?;
        keep_tables(others, &headers.huffman[1], Table::of_others)?;
        let edge = shrink as usize;
        let mut channels = channels(&self.tables, headers, edge)?;
        let shape = Shape {
            mcus,
            line: mcus.0 * across * edge,
            lines: down * edge,
            restart: headers.restart,
        };
        let width = (width * edge).div_ceil(8);
        let height = (height * edge).div_ceil(8);
        self.planes
            .iter_mut()
            .for_each(|plane| plane.resize(shape.line * shape.lines, 128));
        if channels.len() == 1 {
            self.planes[1..]
                .iter_mut()
                .for_each(|plane| plane.fill(128));
        }
        self.pixels.resize(3 * width * height, 0);
        let mut segments = Segments::new(&self.bytes, &self.ends);
        for lines in self.pixels.chunks_mut(3 * width * shape.lines) {
            shape.line_of_mcus(&mut channels, &mut segments, &mut self.planes)?;
            for (y, pixels) in lines.chunks_exact_mut(3 * width).enumerate() {
                let from = y * shape.line..y * shape.line + width;
                rgb(
                    self.planes.each_ref().map(|plane| &plane[from.clone()]),
                    pixels,
                );
            }
        }
        segments.end()?;
        Some(Small {
            width: width as u32,
            height: height as u32,
            pixels: &self.pixels,
        })
    }
}

/// A picture in MCUs, and a line of them in pixels.
struct Shape {
    mcus: (usize, usize),
    line: usize,
    lines: usize,
    restart: usize,
}

impl Shape {
    fn line_of_mcus(
        &self,
        channels: &mut [Channel],
        segments: &mut Segments,
        planes: &mut [Vec<u8>; 3],
    ) -> Option<()> {
        let blocks = channels
            .iter()
            .map(|channel| channel.blocks.0 * channel.blocks.1);
        // All of an MCU's are decoded before the first is transformed: that reads several coefficients at once, which waits
        // where they were written one by one just before.
        let mut coded = vec![Block::default(); blocks.sum()];
        for mcu in 0..self.mcus.0 {
            if self.restart > 0 && segments.mcus == self.restart {
                segments.next()?;
                channels.iter_mut().for_each(|channel| channel.before = 0);
            }
            segments.mcus += 1;
            let mut bits = segments.bits;
            let mut blocks = coded.iter_mut();
            for channel in channels.iter_mut() {
                for block in blocks.by_ref().take(channel.blocks.0 * channel.blocks.1) {
                    channel.block(&mut bits, block)?;
                }
            }
            segments.bits = bits;
            let mut blocks = coded.iter();
            for (channel, plane) in channels.iter().zip(planes.iter_mut()) {
                let (across, down) = (channel.pixels.0, channel.pixels.1);
                let left = mcu * channel.blocks.0 * across;
                for y in 0..channel.blocks.1 {
                    for (x, block) in blocks.by_ref().take(channel.blocks.0).enumerate() {
                        let corner = y * down * self.line + left + x * across;
                        let plane = &mut plane[corner..];
                        (channel.inverse)(block, channel.quantization, plane, self.line);
                    }
                }
            }
        }
        (!segments.bits.overdrawn()).then_some(())
    }
}

impl Channel<'_> {
    #[inline]
    fn block(&mut self, bits: &mut Bits, block: &mut Block) -> Option<()> {
        // A sum of differences that is beyond all pictures stays a number.
        self.before = self.before.wrapping_add(self.first.difference(bits)?);
        block.coefficients[..64].fill(0);
        block.coefficients[0] = self.before.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        block.last = self
            .others
            .coefficients(bits, self.last, &mut block.coefficients)?;
        Some(())
    }
}

fn channels<'a>(
    tables: &'a [[Option<Table>; 4]; 2],
    headers: &'a Headers,
    edge: usize,
) -> Option<Vec<Channel<'a>>> {
    let (most_across, most_down) = headers.sampling();
    let channel = |component: &Component| {
        // Colour of a coarser grid comes out at the size of the rest.
        let whole = most_across.is_multiple_of(component.across)
            && most_down.is_multiple_of(component.down);
        if !whole {
            return None;
        }
        let across = edge * most_across / component.across;
        let down = edge * most_down / component.down;
        let matters = |place: &u8| {
            let place = usize::from(*place);
            place % 8 < across && place / 8 < down
        };
        Some(Channel {
            blocks: (component.across, component.down),
            pixels: (across, down),
            quantization: headers.quantization.get(component.quantization)?.as_ref()?,
            first: tables[0].get(component.first)?.as_ref()?,
            others: tables[1].get(component.others)?.as_ref()?,
            last: ZIGZAG[..64].iter().rposition(matters)?,
            inverse: inverse(across, down)?,
            before: 0,
        })
    };
    headers.components.iter().map(channel).collect()
}

/// Builds those that are not what they were.
fn keep_tables(
    tables: &mut [Option<Table>; 4],
    specs: &[Option<Spec>; 4],
    build: fn(&Spec) -> Option<Table>,
) -> Option<()> {
    for (table, spec) in tables.iter_mut().zip(specs) {
        match (table.as_ref(), spec) {
            (Some(kept), Some(spec)) if kept.is_of(spec) => {}
            (_, Some(spec)) => *table = Some(build(spec)?),
            (_, None) => *table = None,
        }
    }
    Some(())
}

/// A scan's bytes as they were coded, up to its end; `ends` says where each segment between restarts ends.
fn unstuff(mut scan: &[u8], bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Option<()> {
    loop {
        let at = memchr::memchr(0xFF, scan)?;
        bytes.extend_from_slice(&scan[..at]);
        match scan.get(at + 1)? {
            0 => {
                bytes.push(0xFF);
                scan = &scan[at + 2..];
            }
            0xFF => scan = &scan[at + 1..],
            restart @ 0xD0..=0xD7 if usize::from(restart & 7) == ends.len() % 8 => {
                ends.push(bytes.len());
                scan = &scan[at + 2..];
            }
            0xD9 => {
                ends.push(bytes.len());
                return Some(());
            }
            _ => return None,
        }
    }
}

/// One after the other.
struct Segments<'a> {
    bytes: &'a [u8],
    begin: usize,
    ends: std::slice::Iter<'a, usize>,
    bits: Bits<'a>,
    /// Of this segment so far.
    mcus: usize,
}

impl<'a> Segments<'a> {
    fn new(bytes: &'a [u8], ends: &'a [usize]) -> Self {
        let mut segments = Self {
            bytes,
            begin: 0,
            ends: ends.iter(),
            bits: Bits::new(&[]),
            mcus: 0,
        };
        let _ = segments.next();
        segments
    }

    fn next(&mut self) -> Option<()> {
        if self.bits.overdrawn() {
            return None;
        }
        let end = *self.ends.next()?;
        self.bits = Bits::new(&self.bytes[self.begin..end]);
        (self.begin, self.mcus) = (end, 0);
        Some(())
    }

    /// Nothing may be left.
    fn end(mut self) -> Option<()> {
        (!self.bits.overdrawn() && self.ends.next().is_none()).then_some(())
    }
}

/// JFIF's colours, a line of them.
fn rgb([luma, blue, red]: [&[u8]; 3], pixels: &mut [u8]) {
    const HALF: i32 = 1 << 15;
    let (pixels, _) = pixels.as_chunks_mut::<3>();
    for (((pixel, y), cb), cr) in pixels.iter_mut().zip(luma).zip(blue).zip(red) {
        let (y, cb, cr) = (
            i32::from(*y) << 16,
            i32::from(*cb) - 128,
            i32::from(*cr) - 128,
        );
        // 1.402, 0.344136, 0.714136 and 1.772 times 2¹⁶.
        let level = |value: i32| ((y + value + HALF) >> 16).clamp(0, 255) as u8;
        *pixel = [
            level(91_881 * cr),
            level(-22_554 * cb - 46_802 * cr),
            level(116_130 * cb),
        ];
    }
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use proptest::prelude::*;

    use super::*;

    const SAMPLINGS: [SamplingFactor; 4] = [
        SamplingFactor::F_1_1,
        SamplingFactor::F_2_1,
        SamplingFactor::F_1_2,
        SamplingFactor::F_2_2,
    ];

    /// Smooth, in all colours.
    fn picture(width: usize, height: usize) -> Vec<u8> {
        let wave = |at: usize, period: f64| (127.0 + 100.0 * (at as f64 / period).sin()) as u8;
        (0..width * height)
            .flat_map(|at| {
                let (x, y) = (at % width, at / width);
                [wave(x + y, 19.0), wave(x + 40, 31.0), wave(y, 23.0)]
            })
            .collect()
    }

    fn encode(
        width: usize,
        height: usize,
        color: ColorType,
        set: impl Fn(&mut Encoder<&mut Vec<u8>>),
    ) -> Vec<u8> {
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, 92);
        set(&mut encoder);
        let mut pixels = picture(width, height);
        if color == ColorType::Luma {
            pixels = pixels.into_iter().step_by(3).collect();
        }
        encoder
            .encode(&pixels, width as u16, height as u16, color)
            .expect("in memory");
        jpeg
    }

    /// Pixels of a line of so many that pixel `at` of the small one stands for, and how much of each.
    fn parts(at: usize, n: usize, length: usize) -> Vec<(usize, f64)> {
        let (begin, end) = (at as f64 * 8.0 / n as f64, (at + 1) as f64 * 8.0 / n as f64);
        let part = |whole: usize| (end.min(whole as f64 + 1.0) - begin.max(whole as f64)).max(0.0);
        (0..length)
            .map(|whole| (whole, part(whole)))
            .filter(|(_, part)| *part > 0.0)
            .collect()
    }

    /// The whole picture by another decoder, averaged.
    fn averaged(jpeg: &[u8], shrink: Shrink) -> Vec<f64> {
        let whole = image::load_from_memory(jpeg).expect("valid").into_rgb8();
        let (width, height) = (whole.width() as usize, whole.height() as usize);
        let n = shrink as usize;
        let mut averages = Vec::new();
        for y in 0..(height * n).div_ceil(8) {
            let down = parts(y, n, height);
            for x in 0..(width * n).div_ceil(8) {
                let across = parts(x, n, width);
                let of = |parts: &[(usize, f64)]| parts.iter().map(|(_, part)| part).sum::<f64>();
                for channel in 0..3 {
                    let mut sum = 0.0;
                    for (y, height) in &down {
                        for (x, width) in &across {
                            let level = whole.get_pixel(*x as u32, *y as u32).0[channel];
                            sum += width * height * f64::from(level);
                        }
                    }
                    averages.push(sum / (of(&down) * of(&across)));
                }
            }
        }
        averages
    }

    fn check(jpeg: &[u8], what: &str) {
        let headers = Headers::read(jpeg).expect(what);
        let mut decoder = Decoder::default();
        for shrink in Shrink::ALL {
            let small = decoder.decode(&headers, shrink).expect(what);
            let expected = averaged(jpeg, shrink);
            assert_eq!(small.pixels.len(), expected.len(), "{what}, {shrink:?}");
            let apart = small
                .pixels
                .iter()
                .zip(&expected)
                .map(|(a, b)| (f64::from(*a) - b).abs());
            let mean = apart.sum::<f64>() / expected.len() as f64;
            // Colour of a coarser grid is interpolated there, and not here.
            assert!(mean < 2.0, "{what}, {shrink:?}: {mean}");
        }
    }

    #[test]
    fn a_small_picture_is_the_average_of_the_whole_one() {
        for sampling in SAMPLINGS {
            for (width, height) in [(160, 120), (97, 61)] {
                let plain = encode(width, height, ColorType::Rgb, |encoder| {
                    encoder.set_sampling_factor(sampling)
                });
                check(&plain, &format!("{sampling:?}"));
                let restarts = encode(width, height, ColorType::Rgb, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_restart_interval(3);
                });
                check(&restarts, &format!("{sampling:?} with restarts"));
            }
        }
        check(&encode(97, 61, ColorType::Luma, |_| {}), "grey");
    }

    #[test]
    fn one_colour_stays_what_it_is() {
        let mut jpeg = Vec::new();
        let encoder = Encoder::new(&mut jpeg, 100);
        encoder
            .encode(&[90; 3 * 64 * 48], 64, 48, ColorType::Rgb)
            .expect("in memory");
        let headers = Headers::read(&jpeg).expect("baseline");
        for shrink in Shrink::ALL {
            let mut decoder = Decoder::default();
            let small = decoder.decode(&headers, shrink).expect("valid");
            assert!(small.pixels.iter().all(|level| *level == 90), "{shrink:?}");
        }
    }

    /// The bits of a picture that is all detail reach every entry of the tables; were one lost, all that follows would be
    /// wrong. A block's mean is its first coefficient, at any size, where nothing is clipped.
    #[test]
    fn what_is_passed_over_is_passed_over_exactly() {
        let mut state = 7u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 58) as u8
        };
        for quality in [20, 50, 75, 95, 100] {
            let noise: Vec<u8> = (0..200 * 152).map(|_| 96 + draw()).collect();
            let mut jpeg = Vec::new();
            let mut encoder = Encoder::new(&mut jpeg, quality);
            encoder.set_optimized_huffman_tables(quality % 2 == 0);
            encoder
                .encode(&noise, 200, 152, ColorType::Luma)
                .expect("in memory");
            let headers = Headers::read(&jpeg).expect("baseline");
            for shrink in Shrink::ALL {
                let mut decoder = Decoder::default();
                let small = decoder.decode(&headers, shrink).expect("valid");
                let n = shrink as usize;
                for (block, mean) in averaged(&jpeg, Shrink::Eighth)
                    .iter()
                    .step_by(3)
                    .enumerate()
                {
                    let (left, top) = (block % 25 * n, block / 25 * n);
                    let lines = (top..top + n).flat_map(|y| (left..left + n).map(move |x| (x, y)));
                    let levels = lines.map(|(x, y)| f64::from(small.pixels[3 * (y * 25 * n + x)]));
                    let apart = (levels.sum::<f64>() / (n * n) as f64 - mean).abs();
                    assert!(apart < 1.2, "quality {quality}, {shrink:?}: {apart}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_baseline_is_left_to_others() {
        let progressive = encode(64, 48, ColorType::Rgb, |encoder| {
            encoder.set_progressive(true)
        });
        assert!(Headers::read(&progressive).is_none());
        assert!(Headers::read(b"\x89PNG\r\n\x1a\n").is_none());
        assert!(Headers::read(&[]).is_none());
    }

    #[test]
    fn a_picture_that_was_cut_off_is_left_to_others() {
        let whole = encode(160, 120, ColorType::Rgb, |_| {});
        let mut decoder = Decoder::default();
        for length in 0..whole.len() {
            let small = Headers::read(&whole[..length])
                .is_some_and(|headers| decoder.decode(&headers, Shrink::Half).is_some());
            assert!(!small, "{length} of {}", whole.len());
        }
    }

    #[test]
    fn sampling_of_nothing_and_sizes_beyond_memory_are_left_to_others() {
        let whole = encode(64, 48, ColorType::Rgb, |_| {});
        let frame = whole.windows(2).position(|bytes| bytes == [0xFF, 0xC0]);
        let frame = frame.expect("a frame");
        let mut sampling = whole.clone();
        (0..3).for_each(|component| sampling[frame + 11 + 3 * component] = 0);
        let mut size = whole.clone();
        size[frame + 5..frame + 9].fill(0xFF);
        for jpeg in [sampling, size] {
            assert!(Headers::read(&jpeg).is_none());
        }
        assert!(Headers::read(&whole).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// Whatever comes out has the size that the headers promise, and nothing panics.
        #[test]
        fn damaged_pictures_end_as_pictures_or_not_at_all(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), of in 0..8_usize,
        ) {
            let mut jpeg = encode(97, 61, ColorType::Rgb, |encoder| {
                encoder.set_sampling_factor(SAMPLINGS[of % 4]);
                encoder.set_restart_interval(if of < 4 { 0 } else { 2 });
            });
            for (at, value) in changes {
                let at = at.index(jpeg.len());
                jpeg[at] = value;
            }
            if let Some(headers) = Headers::read(&jpeg) {
                for shrink in Shrink::ALL {
                    if let Some(small) = Decoder::default().decode(&headers, shrink) {
                        let side = |side: u32| (side * shrink as u32).div_ceil(8);
                        let size = 3 * side(headers.width) * side(headers.height);
                        prop_assert_eq!(small.pixels.len(), size as usize);
                    }
                }
            }
        }
    }
}

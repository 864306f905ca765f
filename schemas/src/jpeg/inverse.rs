//! Coefficients of 8×8 pixels to fewer pixels, each the mean of the 8/n that it stands for, of the lowest n coefficients alone.
//!
//! The whole transform is x(j) = X(0)/√8 + ½ Σ X(k) cos((2j+1)kπ/16); means of it over j, and k < n. What is left out is finer
//! than the smaller pixels. In f32 and in a fixed order, rounded to even: the same on x86-64 and aarch64.

use wide::{f32x4, i16x8, i32x8, u8x16};

use super::huffman::ZIGZAG;

/// By pixels along an edge, n: `[k][i]` for k < n and i < n.
const BASES: [[[f32; 8]; 8]; 9] = bases();

/// As many lines and columns hold all coefficients up to a number of the zigzag: 1, 2, 4 or 8.
const REACH: [u8; 64] = reach();

/// A block's 64 coefficients, in natural order, and the zigzag's number of the last that matters. Beyond the 64 comes what is
/// none.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) coefficients: [i16; 128],
    pub(super) last: usize,
}

/// Writes a block's pixels, by its steps of quantization, where its corner is in lines of so many bytes.
pub(super) type Inverse = fn(&Block, &[f32; 64], &mut [u8], usize);

impl Default for Block {
    fn default() -> Self {
        Self {
            coefficients: [0; 128],
            last: 0,
        }
    }
}

const fn bases() -> [[[f32; 8]; 8]; 9] {
    let mut bases = [[[0.0; 8]; 8]; 9];
    let mut n = 1;
    while n <= 8 {
        let mut at = 0;
        while at < n * n {
            let (k, i) = (at / n, at % n);
            let (mut sum, mut j) = (0.0, 0);
            while j < 8 {
                sum += cosine((2 * j + 1) * k) * common(i * 8, n * j, n);
                j += 1;
            }
            let scale = if k == 0 {
                std::f64::consts::FRAC_1_SQRT_2 / 2.0
            } else {
                0.5
            };
            bases[n][k][i] = (scale * sum / 8.0) as f32;
            at += 1;
        }
        n += 1;
    }
    bases
}

/// What a small pixel from `small` on, 8 long, and a whole one from `whole` on, n long, have in common.
const fn common(small: usize, whole: usize, n: usize) -> f64 {
    let begin = if small > whole { small } else { whole };
    let end = if small + 8 < whole + n {
        small + 8
    } else {
        whole + n
    };
    end.saturating_sub(begin) as f64
}

/// cos(mπ/16)
const fn cosine(m: usize) -> f64 {
    const QUARTER: [f64; 9] = [
        1.0,
        0.980_785_280_403_230_4,
        0.923_879_532_511_286_7,
        0.831_469_612_302_545_2,
        std::f64::consts::FRAC_1_SQRT_2,
        0.555_570_233_019_602_2,
        0.382_683_432_365_089_8,
        0.195_090_322_016_128_27,
        0.0,
    ];
    match m % 32 {
        m @ 0..=8 => QUARTER[m],
        m @ 9..=16 => -QUARTER[16 - m],
        m @ 17..=24 => -QUARTER[m - 16],
        m => QUARTER[32 - m],
    }
}

const fn reach() -> [u8; 64] {
    let mut reach = [1; 64];
    let mut at = 1;
    while at < 64 {
        let (line, column) = (ZIGZAG[at] / 8, ZIGZAG[at] % 8);
        reach[at] = reach[at - 1];
        while line >= reach[at] || column >= reach[at] {
            reach[at] *= 2;
        }
        at += 1;
    }
    reach
}

/// For blocks of so many pixels across and down.
pub(super) fn inverse(across: usize, down: usize) -> Option<Inverse> {
    Some(match (across, down) {
        (1, 1) => block::<1, 1>,
        (1, 2) => block::<1, 2>,
        (2, 1) => block::<2, 1>,
        (2, 2) => block::<2, 2>,
        (2, 4) => block::<2, 4>,
        (3, 3) => block::<3, 3>,
        (3, 6) => block::<3, 6>,
        (4, 2) => block::<4, 2>,
        (4, 4) => block::<4, 4>,
        (4, 8) => block::<4, 8>,
        (6, 3) => block::<6, 3>,
        (6, 6) => block::<6, 6>,
        (8, 4) => block::<8, 4>,
        (8, 8) => block::<8, 8>,
        _ => return None,
    })
}

fn block<const ACROSS: usize, const DOWN: usize>(
    block: &Block,
    quantization: &[f32; 64],
    pixels: &mut [u8],
    line: usize,
) {
    let coefficients = &block.coefficients;
    // Loops of known length are none, and their sums stay in registers; colours of photographs have few coefficients.
    match REACH[block.last] {
        1 => sums::<ACROSS, DOWN, 1>(coefficients, quantization, pixels, line),
        2 => sums::<ACROSS, DOWN, 2>(coefficients, quantization, pixels, line),
        4 => sums::<ACROSS, DOWN, 4>(coefficients, quantization, pixels, line),
        _ => sums::<ACROSS, DOWN, 8>(coefficients, quantization, pixels, line),
    }
}

/// Of the first `REACH` lines and columns. A cosine of even k is the same from both ends of the block, one of odd k the
/// opposite: half of the products are enough.
#[inline(always)]
fn sums<const ACROSS: usize, const DOWN: usize, const REACH: usize>(
    coefficients: &[i16; 128],
    quantization: &[f32; 64],
    pixels: &mut [u8],
    line: usize,
) {
    let (across, down) = (&BASES[ACROSS], &BASES[DOWN]);
    let (lines, filled) = (REACH.min(DOWN), REACH.min(ACROSS));
    let mut columns = [[f32x4::ZERO; DOWN]; 2];
    for (half, columns) in columns.iter_mut().enumerate().take(filled.div_ceil(4)) {
        let mut values = [f32x4::ZERO; REACH];
        for (k, value) in values.iter_mut().enumerate().take(lines) {
            let at = 8 * k + 4 * half;
            let levels = four(coefficients, at).map(f32::from);
            *value = f32x4::new(levels) * f32x4::new(four(quantization, at));
        }
        for y in 0..DOWN.div_ceil(2) {
            let (mut even, mut odd) = (f32x4::ZERO, f32x4::ZERO);
            for (k, value) in values.iter().enumerate().take(lines) {
                let sum = if k % 2 == 0 { &mut even } else { &mut odd };
                *sum += f32x4::splat(down[k][y]) * *value;
            }
            columns[y] = even + odd;
            columns[DOWN - 1 - y] = even - odd;
        }
    }
    for y in 0..DOWN {
        let column = [columns[0][y], columns[1][y]].map(f32x4::to_array);
        let (mut even, mut odd) = (f32x4::splat(128.0), f32x4::ZERO);
        for (k, basis) in across.iter().enumerate().take(filled) {
            let sum = if k % 2 == 0 { &mut even } else { &mut odd };
            *sum += f32x4::splat(column[k / 4][k % 4]) * f32x4::new(four(basis, 0));
        }
        let to = &mut pixels[y * line..y * line + ACROSS];
        let levels = levels(even + odd, even - odd);
        if ACROSS <= 4 {
            to.copy_from_slice(&levels[..ACROSS]);
            continue;
        }
        for x in 0..ACROSS / 2 {
            to[x] = levels[x];
            to[ACROSS - 1 - x] = levels[4 + x];
        }
    }
}

fn four<T: Copy>(values: &[T], at: usize) -> [T; 4] {
    [values[at], values[at + 1], values[at + 2], values[at + 3]]
}

/// To the nearest levels: those of `low`, then those of `high`.
#[inline(always)]
fn levels(low: f32x4, high: f32x4) -> [u8; 16] {
    let (black, white) = (f32x4::ZERO, f32x4::splat(255.0));
    let [[a, b, c, d], [e, f, g, h]] = [low, high].map(|sums| {
        let within = sums.fast_max(black).fast_min(white);
        within.fast_round_int().to_array()
    });
    let words = i16x8::from_i32x8_saturate(i32x8::new([a, b, c, d, e, f, g, h]));
    u8x16::narrow_i16x8(words, words).to_array()
}

//! Coefficients of 8×8 pixels to fewer pixels, each the mean of the 8/n that it stands for, of the lowest n coefficients alone.
//!
//! The whole transform is x(j) = X(0)/√8 + ½ Σ X(k) cos((2j+1)kπ/16); means of it over j, and k < n. What is left out is finer
//! than the smaller pixels. In f32 and in a fixed order: the same on every machine.

/// By pixels along an edge, 1, 2, 4 or 8: `[k][i]`.
pub(super) struct Bases([[[f32; 8]; 8]; 4]);

/// Writes a block's pixels: its coefficients in natural order, and where its corner is in lines of so many bytes.
pub(super) type Inverse = fn(&Bases, &[f32; 64], &mut [u8], usize);

impl Default for Bases {
    fn default() -> Self {
        let mut bases = [[[0.0; 8]; 8]; 4];
        for (log, basis) in bases.iter_mut().enumerate() {
            let n = 1 << log;
            for (k, line) in basis.iter_mut().enumerate().take(n) {
                for (i, value) in line.iter_mut().enumerate().take(n) {
                    let cosine = |j: usize| {
                        let angle = ((2 * j + 1) * k) as f64 * std::f64::consts::PI / 16.0;
                        angle.cos()
                    };
                    let scale = if k == 0 { 8.0_f64.sqrt().recip() } else { 0.5 };
                    let pixels = i * (8 / n)..(i + 1) * (8 / n);
                    let mean = pixels.map(cosine).sum::<f64>() / (8 / n) as f64;
                    *value = (scale * mean) as f32;
                }
            }
        }
        Self(bases)
    }
}

/// For blocks of so many pixels across and down.
pub(super) fn inverse(across: usize, down: usize) -> Option<Inverse> {
    Some(match (across, down) {
        (1, 1) => block::<1, 1>,
        (1, 2) => block::<1, 2>,
        (2, 1) => block::<2, 1>,
        (2, 2) => block::<2, 2>,
        (2, 4) => block::<2, 4>,
        (4, 2) => block::<4, 2>,
        (4, 4) => block::<4, 4>,
        (4, 8) => block::<4, 8>,
        (8, 4) => block::<8, 4>,
        (8, 8) => block::<8, 8>,
        _ => return None,
    })
}

fn block<const ACROSS: usize, const DOWN: usize>(
    bases: &Bases,
    coefficients: &[f32; 64],
    pixels: &mut [u8],
    line: usize,
) {
    let across = &bases.0[ACROSS.trailing_zeros() as usize];
    let down = &bases.0[DOWN.trailing_zeros() as usize];
    let mut columns = [[0.0_f32; ACROSS]; DOWN];
    for k in 0..DOWN {
        let from: &[f32; ACROSS] = coefficients[8 * k..8 * k + ACROSS]
            .try_into()
            .expect("ACROSS");
        for (i, to) in columns.iter_mut().enumerate() {
            for (to, from) in to.iter_mut().zip(from) {
                *to += down[k][i] * from;
            }
        }
    }
    for (y, column) in columns.iter().enumerate() {
        let mut sums = [128.5_f32; ACROSS];
        for (k, value) in column.iter().enumerate() {
            for (sum, basis) in sums.iter_mut().zip(&across[k]) {
                *sum += basis * value;
            }
        }
        let to = &mut pixels[y * line..y * line + ACROSS];
        for (to, sum) in to.iter_mut().zip(sums) {
            // Saturating.
            *to = sum as u8;
        }
    }
}

//! Position embeddings of one patch grid to those of another: bicubic, antialiased, the class token's row kept.
//!
//! As PyTorch's `interpolate(mode="bicubic", antialias=True, align_corners=False)`, whose kernel (a = -0.5) is
//! that of image libraries and not that of its own `antialias=False` (a = -0.75).

/// Rows `[1 + from², width]` to `[1 + to², width]`; `from` and `to` count patches. None unless both are squares.
pub(crate) fn resize_grid(
    values: &[f32],
    width: usize,
    from: usize,
    to: usize,
) -> Option<Vec<f32>> {
    let (from_side, to_side) = (from.isqrt(), to.isqrt());
    if from_side * from_side != from || to_side * to_side != to || from == 0 {
        return None;
    }
    let (class, grid) = values.split_at(width);
    let taps = taps(from_side, to_side);
    // Across, then down.
    let across = resample(grid, &taps, (from_side, from_side), width);
    let down = resample(
        &turned(&across, from_side, to_side, width),
        &taps,
        (to_side, from_side),
        width,
    );
    let mut out = class.to_vec();
    out.extend(
        turned(&down, to_side, to_side, width)
            .iter()
            .map(|value| *value as f32),
    );
    Some(out)
}

/// First input and weights of each output.
type Taps = Vec<(usize, Vec<f64>)>;

fn taps(from: usize, to: usize) -> Taps {
    let scale = from as f64 / to as f64;
    // Two input cells to each side, more where the image shrinks.
    let support = 2.0 * scale.max(1.0);
    (0..to)
        .map(|output| {
            let centre = scale * (output as f64 + 0.5);
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weight = |input: usize| cubic((input as f64 + 0.5 - centre) / scale.max(1.0));
            let weights: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            (
                first,
                weights.into_iter().map(|weight| weight / sum).collect(),
            )
        })
        .collect()
}

/// Keys' cubic convolution kernel, a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// `[rows, columns, width]` to `[rows, taps, width]`.
fn resample(
    values: &[impl Copy + Into<f64>],
    taps: &Taps,
    (rows, columns): (usize, usize),
    width: usize,
) -> Vec<f64> {
    let mut out = Vec::with_capacity(rows * taps.len() * width);
    for row in 0..rows {
        for (first, weights) in taps {
            for channel in 0..width {
                let input =
                    |tap: usize| values[(row * columns + first + tap) * width + channel].into();
                out.push(
                    weights
                        .iter()
                        .enumerate()
                        .map(|(tap, weight)| weight * input(tap))
                        .sum(),
                );
            }
        }
    }
    out
}

/// `[rows, columns, width]` to `[columns, rows, width]`.
fn turned(values: &[f64], rows: usize, columns: usize, width: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        for row in 0..rows {
            let start = (row * columns + column) * width;
            out.extend_from_slice(&values[start..start + width]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arbitrary numbers, one channel, a class row before them.
    fn grid(side: usize) -> Vec<f32> {
        let cell = |i: usize| ((i * 7) % 11) as f32 / 3.0 - (i % 5) as f32 * 0.25;
        [9.0]
            .into_iter()
            .chain((0..side * side).map(cell))
            .collect()
    }

    /// Made with Pillow's `resize(BICUBIC)` on float images, the algorithm that PyTorch took over.
    #[test]
    fn a_grid_is_resized_as_image_libraries_do() {
        let up = [
            -0.253787, 1.406503, 1.684183, 0.405171, 1.61864, 1.522783, 1.111766, 0.643261,
            2.922935, 1.723159, 0.591246, 0.236806, 2.841418, 1.882012, 0.448943, -0.559381,
        ];
        let down = [
            1.183097, 1.287931, 1.291933, 1.006852, 1.192886, 0.950191, 1.707357, 0.893441,
            0.374694,
        ];
        for (from, to, expected) in [(3_usize, 4_usize, &up[..]), (5, 3, &down[..])] {
            let found = resize_grid(&grid(from), 1, from * from, to * to).expect("squares");
            assert_eq!(found[0], 9.0);
            for (found, expected) in found[1..].iter().zip(expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 2e-6,
                    "{found} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_square_is_refused() {
        assert_eq!(resize_grid(&grid(3), 1, 9, 12), None);
    }
}

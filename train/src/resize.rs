//! Position embeddings of one patch grid to those of another: bicubic, antialiased, the class token's row kept.
//!
//! As PyTorch's `interpolate(mode="bicubic", antialias=True, align_corners=False)`, whose kernel (a = -0.5) is
//! that of image libraries and not that of its own `antialias=False` (a = -0.75).

/// Rows `[1 + from², width]` to `[1 + to², width]`; `from` and `to` count patches. None unless both are squares.
pub fn resize_grid(values: &[f32], width: usize, from: usize, to: usize) -> Option<Vec<f32>> {
    let (from_side, to_side) = (from.isqrt(), to.isqrt());
    if from_side * from_side != from || to_side * to_side != to || from == 0 {
        return None;
    }
    let (class, grid) = values.split_at(width);
    let taps = taps(from_side, to_side);
    // Across, then down.
    let across = resample(grid, &taps, (from_side, from_side), width);
    let down = resample(&turned(&across, from_side, to_side, width), &taps, (to_side, from_side), width);
    let mut out = class.to_vec();
    out.extend(turned(&down, to_side, to_side, width).iter().map(|value| *value as f32));
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
            (first, weights.into_iter().map(|weight| weight / sum).collect())
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
                let input = |tap: usize| values[(row * columns + first + tap) * width + channel].into();
                out.push(weights.iter().enumerate().map(|(tap, weight)| weight * input(tap)).sum());
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

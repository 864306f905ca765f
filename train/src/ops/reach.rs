//! Which tokens a token looks at.

use burn::tensor::{Bool, Device, Int, Tensor};

use super::{composed, on_libtorch};

/// Which tokens a token looks at, and how the device is told.
#[derive(Clone, Debug)]
pub enum Reach {
    /// Every token of its row.
    All,
    /// Itself and what precedes it in its row.
    Causal,
    /// The same within its segment: `[B or 1, 1, T, T]` added to the scores, 0 where it looks and -inf elsewhere.
    Bias(Box<Tensor<4>>),
    /// The same as where the segments begin in the flat `[B·T]`: nothing is computed across them. CUDA only.
    #[cfg(feature = "tch")]
    Segments(super::transfer::Segments),
}

impl Reach {
    /// Causal within `segments` `[B, T]`, row by row. Padding is a segment of its own, so that no softmax is empty.
    pub fn within(segments: &[u32], rows: usize, context: usize, device: &Device) -> Self {
        // Padding at the end of a row is looked at by nobody but itself, and read by nobody at all.
        let alone = |row: &[u32]| {
            let end = row.iter().rposition(|segment| *segment != 0);
            let used = &row[..end.map_or(0, |end| end + 1)];
            used.windows(2).all(|pair| pair[0] == pair[1])
        };
        if on_libtorch(device) && segments.chunks_exact(context).all(alone) {
            return Self::Causal;
        }
        #[cfg(feature = "tch")]
        if let Some(segments) = super::transfer::Segments::of(segments, context, device) {
            return Self::Segments(segments);
        }
        Self::Bias(Box::new(bias(segments, rows, context, device)))
    }

    pub(crate) fn without_autodiff(&self) -> Self {
        match self {
            Self::Bias(bias) => Self::Bias(Box::new(Tensor::clone(bias).inner())),
            other => other.clone(),
        }
    }
}

fn bias(segments: &[u32], rows: usize, context: usize, device: &Device) -> Tensor<4> {
    let segments: Vec<i64> = segments.iter().map(|segment| i64::from(*segment)).collect();
    let segments = composed::indices(&segments, device);
    let from: Tensor<4, Int> = segments.clone().reshape([rows, 1, context, 1]);
    let to: Tensor<4, Int> = segments.reshape([rows, 1, 1, context]);
    let shape = [rows, 1, context, context];
    let foreign = from.expand(shape).not_equal(to.expand(shape));
    let later = later(context, device).expand(shape);
    Tensor::zeros(shape, device).mask_fill(foreign.bool_or(later), f32::NEG_INFINITY)
}

/// `[1, 1, T, T]`: true above the diagonal, where a key comes after its query.
pub(super) fn later(context: usize, device: &Device) -> Tensor<4, Bool> {
    // `tril_mask` is false on and below the diagonal.
    Tensor::<2, Bool>::tril_mask([context, context], 0, device).unsqueeze::<4>()
}

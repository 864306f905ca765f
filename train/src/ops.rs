//! What the towers are made of, each with one meaning and two ways to compute it.
//!
//! On LibTorch these are its own kernels, forward and backward, as operations of Burn's autodiff ([`libtorch`]); elsewhere
//! they are composed of Burn's ([`composed`]). Under autodiff Burn would compose them on LibTorch, too: attention then
//! keeps three tensors `[B, H, T, T]` a layer, and a layer norm takes nine kernels.
//!
//! B batch, T tokens, W width, H heads, d head width, V vocabulary.

mod composed;
#[cfg(feature = "tch")]
pub(crate) mod libtorch;
#[cfg(feature = "tch")]
mod native;
mod reach;
#[cfg(test)]
mod tests;
#[cfg(feature = "tch")]
pub(crate) mod transfer;

use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::model::layers::Block;

pub use reach::Reach;

/// Added to the variance, as in PyTorch.
pub(crate) const EPSILON: f64 = 1e-5;

/// In what the matrix products of the towers are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in float32.
    #[default]
    Float32,
    /// Matrix products and the encoder's residual stream in bfloat16; weights, optimiser, the language model's residual
    /// stream, norms, softmax and losses in float32, as the published code's autocast keeps them. LibTorch only.
    Bfloat16,
}

/// How a model is computed: what it computes is the same but for rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    pub precision: Precision,
    /// Blocks keep their input only and are computed again for their gradients. LibTorch only.
    pub recompute: bool,
}

/// Whether LibTorch computes there.
pub(crate) fn on_libtorch(device: &Device) -> bool {
    #[cfg(feature = "tch")]
    return transfer::place(device).is_some();
    #[cfg(not(feature = "tch"))]
    {
        let _ = device;
        false
    }
}

/// `x·Wᵀ + b` with `weight` `[out, in]`; in bfloat16 the result is, too.
pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    compute: Compute,
) -> Tensor<D> {
    #[cfg(feature = "tch")]
    if on_libtorch(&x.device()) {
        return libtorch::linear(x, weight, bias, compute.precision);
    }
    let _ = compute;
    composed::linear(x, weight, bias)
}

/// Over the last dimension, in float32; the result has the type of `x`.
pub(crate) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
) -> Tensor<D> {
    #[cfg(feature = "tch")]
    if on_libtorch(&x.device()) {
        return libtorch::layer_norm(x, weight, bias);
    }
    composed::layer_norm(x, weight, bias)
}

/// Softmax attention of `[B, H, Tq, d]` over `[B, H, Tk, d]` at scale d^-½, keeping no `[B, H, Tq, Tk]` on LibTorch.
///
/// Only [`Reach::All`] may have Tq and Tk that differ.
pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, reach: &Reach) -> Tensor<4> {
    #[cfg(feature = "tch")]
    if on_libtorch(&q.device()) {
        return libtorch::attention(q, k, v, reach);
    }
    composed::attention(q, k, v, reach)
}

/// A pre-norm transformer block over `[B, T, W]`; on LibTorch one operation with all its weights.
pub(crate) fn block(block: &Block, x: Tensor<3>, reach: &Reach, compute: Compute) -> Tensor<3> {
    #[cfg(feature = "tch")]
    if on_libtorch(&x.device()) {
        return libtorch::block(block, x, reach, compute);
    }
    let _ = compute;
    composed::block(block, x, reach)
}

/// Cross-entropy of `x·Wᵀ` summed over rows, without ever holding `[n, V]`. `x` `[n, W]`, `weight` `[V, W]`,
/// `targets` `[n]`.
///
/// The gradients of a cross-entropy are known with its value, so both are made chunk by chunk. Composed from
/// log-softmax the graph would keep several tensors of 4·n·V bytes (400 MB each at n = 2,048, V = 49,411).
pub(crate) fn cross_entropy(
    x: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    compute: Compute,
) -> Tensor<1> {
    #[cfg(feature = "tch")]
    if on_libtorch(&x.device()) {
        return libtorch::cross_entropy(x, weight, targets, compute.precision);
    }
    let _ = compute;
    composed::cross_entropy(x, weight, targets)
}

/// A list of indices on the device. On a GPU from pinned memory and without waiting for what it still has to do.
pub(crate) fn indices(values: &[i64], device: &Device) -> Tensor<1, Int> {
    #[cfg(feature = "tch")]
    if let Some(place) = transfer::place(device) {
        return transfer::indices(values, place, device);
    }
    composed::indices(values, device)
}

/// `[N, S, S, 3]` bytes to `[N, 3, S, S]`: value v of channel c becomes (v/255 - mean[c]) / deviation[c].
///
/// On LibTorch bytes go to the device and are computed with there.
pub(crate) fn pixels(
    bytes: &[u8],
    shape: [usize; 4],
    mean: [f32; 3],
    deviation: [f32; 3],
    device: &Device,
) -> Tensor<4> {
    #[cfg(feature = "tch")]
    if let Some(place) = transfer::place(device) {
        return transfer::pixels(bytes, shape, mean, deviation, place, device);
    }
    composed::pixels(bytes, shape, mean, deviation, device)
}

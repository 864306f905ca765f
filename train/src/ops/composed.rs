//! The operations out of Burn's own: what defines them, and what computes them without LibTorch.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData, module};

use super::reach::later;
use super::{EPSILON, Reach};
use crate::model::layers::{Block, merge_heads, split_heads};

/// Targets whose logits exist at one time: 256 × 49,411 floats are 51 MB.
pub(super) const TARGETS_AT_ONCE: usize = 256;

/// Burn's own operation wants the weight the other way round.
pub(super) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    module::linear(x, weight.transpose(), bias)
}

pub(super) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
) -> Tensor<D> {
    module::layer_norm(x, weight, Some(bias), EPSILON)
}

pub(super) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, reach: &Reach) -> Tensor<4> {
    let head_width = q.dims()[3];
    // On the queries, not on the scores: Tq·d numbers instead of Tq·Tk.
    let scores = q
        .mul_scalar((head_width as f64).powf(-0.5))
        .matmul(k.transpose());
    let scores = match reach {
        Reach::All => scores,
        Reach::Causal => {
            let [batch, heads, tokens, _] = scores.dims();
            let later = later(tokens, &scores.device());
            let later = later.expand([batch, heads, tokens, tokens]);
            scores.mask_fill(later, f32::NEG_INFINITY)
        }
        Reach::Bias(bias) => scores + Tensor::clone(bias),
        #[cfg(feature = "tch")]
        Reach::Segments(_) => unreachable!("made for LibTorch on CUDA only"),
    };
    softmax(scores, 3).matmul(v)
}

pub(super) fn block(block: &Block, x: Tensor<3>, reach: &Reach) -> Tensor<3> {
    let x = x.clone() + self_attention(block, norm(&block.ln_1, x), reach);
    let mlp = &block.mlp;
    let inside = norm(&block.ln_2, x.clone());
    let inside = gelu(linear(inside, mlp.c_fc.weight.val(), mlp.c_fc.bias()));
    x + linear(inside, mlp.c_proj.weight.val(), mlp.c_proj.bias())
}

fn norm(norm: &crate::model::layers::LayerNorm, x: Tensor<3>) -> Tensor<3> {
    layer_norm(x, norm.weight.val(), norm.bias.val())
}

fn self_attention(block: &Block, x: Tensor<3>, reach: &Reach) -> Tensor<3> {
    let (attn, width) = (&block.attn, x.dims()[2]);
    let (weight, offset) = (attn.in_proj_weight.val(), attn.in_proj_bias.val());
    // Slices of the weight, not of its product: the gradient of a slice is a tensor of zeros as
    // large as what was sliced, and there are more tokens than channels.
    let part = |index: usize| {
        let weight = weight.clone().narrow(0, index * width, width);
        let offset = offset.clone().narrow(0, index * width, width);
        split_heads(linear(x.clone(), weight, Some(offset)), attn.heads)
    };
    let mixed = merge_heads(attention(part(0), part(1), part(2), reach));
    linear(mixed, attn.out_proj.weight.val(), attn.out_proj.bias())
}

/// Value and gradients are made outside of the autodiff graph and enter it through an expression of value zero that has
/// these gradients.
pub(super) fn cross_entropy(x: Tensor<2>, weight: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let tracked = x.is_autodiff();
    let (inner_x, inner_weight, targets) = if tracked {
        (x.clone().inner(), weight.clone().inner(), targets.inner())
    } else {
        (x.clone(), weight.clone(), targets)
    };
    let count = targets.dims()[0];
    let mut value = Tensor::<1>::zeros([1], &inner_x.device());
    let mut x_gradients = Vec::new();
    let mut weight_gradient: Option<Tensor<2>> = None;
    for start in (0..count).step_by(TARGETS_AT_ONCE) {
        let length = TARGETS_AT_ONCE.min(count - start);
        let x = inner_x.clone().narrow(0, start, length);
        let targets = targets.clone().narrow(0, start, length);
        let targets = targets.unsqueeze_dim::<2>(1);
        let (loss, logit_gradient) = softmax_loss(x.clone(), &inner_weight, targets, tracked);
        value = value + loss;
        if let Some(gradient) = logit_gradient {
            let of_weight = gradient.clone().transpose().matmul(x);
            x_gradients.push(gradient.matmul(inner_weight.clone()));
            weight_gradient = Some(match weight_gradient {
                Some(sum) => sum + of_weight,
                None => of_weight,
            });
        }
    }
    let Some(weight_gradient) = weight_gradient else {
        return value;
    };
    let x_gradient = Tensor::from_inner(Tensor::cat(x_gradients, 0));
    let carrier = (x * x_gradient).sum() + (weight * Tensor::from_inner(weight_gradient)).sum();
    carrier.clone() - carrier.detach() + Tensor::from_inner(value)
}

/// Summed loss `[1]` of one chunk and, if wanted, its gradient `[n, V]` with respect to the logits.
fn softmax_loss(
    x: Tensor<2>,
    weight: &Tensor<2>,
    targets: Tensor<2, Int>,
    wants_gradient: bool,
) -> (Tensor<1>, Option<Tensor<2>>) {
    let logits = x.matmul(weight.clone().transpose());
    let most = logits.clone().max_dim(1);
    let shifted = logits - most;
    let hit = shifted.clone().gather(1, targets.clone());
    let exponentials = shifted.exp();
    let sum = exponentials.clone().sum_dim(1);
    let loss = (sum.clone().log() - hit.clone()).sum();
    let gradient = wants_gradient.then(|| {
        let minus_one = hit.ones_like().neg();
        (exponentials / sum).scatter(1, targets, minus_one, IndexingUpdateOp::Add)
    });
    (loss, gradient)
}

pub(super) fn indices(values: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

pub(super) fn pixels(
    bytes: &[u8],
    shape: [usize; 4],
    mean: [f32; 3],
    deviation: [f32; 3],
    device: &Device,
) -> Tensor<4> {
    let values: Vec<f32> = bytes
        .iter()
        .map(|value| f32::from(*value) / 255.0)
        .collect();
    let pixels = Tensor::<4>::from_data(TensorData::new(values, shape), device);
    let channel = |values: [f32; 3]| Tensor::<1>::from_floats(values, device).reshape([1, 1, 1, 3]);
    let pixels = (pixels - channel(mean)) / channel(deviation);
    pixels.permute([0, 3, 1, 2])
}

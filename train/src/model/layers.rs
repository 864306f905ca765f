//! What both towers are made of: linear maps, layer norms, pre-norm blocks.
//!
//! B batch, T tokens, W width, H heads.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Shape, Tensor};

use crate::ops::{self, Compute, Reach};

/// A parameter that has a shape and no value yet: `names::fill` gives it both its value and its id.
pub(crate) fn blank<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, _| Tensor::zeros(shape, device),
        device.clone(),
        true,
        Shape::from(shape),
    )
}

/// `y = x·Wᵀ + b`, `weight` `[out, in]`.
#[derive(Module, Debug)]
pub struct Linear {
    pub weight: Param<Tensor<2>>,
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    pub(crate) fn new(input: usize, output: usize, device: &Device) -> Self {
        Self {
            weight: blank([output, input], device),
            bias: Some(blank([output], device)),
        }
    }

    pub(crate) fn without_bias(input: usize, output: usize, device: &Device) -> Self {
        Self {
            weight: blank([output, input], device),
            bias: None,
        }
    }

    pub(crate) fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }

    pub fn forward<const D: usize>(&self, x: Tensor<D>, compute: Compute) -> Tensor<D> {
        ops::linear(x, self.weight.val(), self.bias(), compute)
    }
}

/// Layer norm over the last dimension.
#[derive(Module, Debug)]
pub struct LayerNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    pub(crate) fn new(width: usize, device: &Device) -> Self {
        Self {
            weight: blank([width], device),
            bias: blank([width], device),
        }
    }

    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::layer_norm(x, self.weight.val(), self.bias.val())
    }
}

/// `[B, T, H·d]` to `[B, H, T, d]`.
pub(crate) fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, tokens, width] = x.dims();
    x.reshape([batch, tokens, heads, width / heads])
        .swap_dims(1, 2)
}

/// `[B, H, T, d]` to `[B, T, H·d]`.
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, tokens, head_width] = x.dims();
    x.swap_dims(1, 2)
        .reshape([batch, tokens, heads * head_width])
}

/// Multi-head self-attention with one packed projection `[3W, W]`: queries, keys, values.
#[derive(Module, Debug)]
pub struct SelfAttention {
    pub in_proj_weight: Param<Tensor<2>>,
    pub in_proj_bias: Param<Tensor<1>>,
    pub out_proj: Linear,
    #[module(skip)]
    pub(crate) heads: usize,
}

impl SelfAttention {
    fn new(width: usize, heads: usize, device: &Device) -> Self {
        Self {
            in_proj_weight: blank([3 * width, width], device),
            in_proj_bias: blank([3 * width], device),
            out_proj: Linear::new(width, width, device),
            heads,
        }
    }
}

/// Two linear maps around an exact (erf) GELU, four times as wide inside.
#[derive(Module, Debug)]
pub struct Mlp {
    pub c_fc: Linear,
    pub c_proj: Linear,
}

impl Mlp {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            c_fc: Linear::new(width, 4 * width, device),
            c_proj: Linear::new(4 * width, width, device),
        }
    }
}

/// A pre-norm transformer block.
#[derive(Module, Debug)]
pub struct Block {
    pub ln_1: LayerNorm,
    pub attn: SelfAttention,
    pub ln_2: LayerNorm,
    pub mlp: Mlp,
}

impl Block {
    fn new(width: usize, heads: usize, device: &Device) -> Self {
        Self {
            ln_1: LayerNorm::new(width, device),
            attn: SelfAttention::new(width, heads, device),
            ln_2: LayerNorm::new(width, device),
            mlp: Mlp::new(width, device),
        }
    }
}

/// A stack of blocks without a norm at its end.
#[derive(Module, Debug)]
pub struct Transformer {
    pub resblocks: Vec<Block>,
}

impl Transformer {
    pub(crate) fn new(width: usize, layers: usize, heads: usize, device: &Device) -> Self {
        Self {
            resblocks: (0..layers)
                .map(|_| Block::new(width, heads, device))
                .collect(),
        }
    }

    /// `[B, T, W]` to the same.
    pub(crate) fn forward(&self, x: Tensor<3>, reach: &Reach, compute: Compute) -> Tensor<3> {
        self.resblocks
            .iter()
            .fold(x, |x, block| ops::block(block, x, reach, compute))
    }
}

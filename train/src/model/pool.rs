//! Patch tokens to two things: one pooled latent an image, and the visual tokens that the language model reads.
//!
//! Both share the value and output maps, so that compressing the latents and reading them cannot drift apart.
//! N images, P patches, D vision width, E embedding width.

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor};

use super::layers::{LayerNorm, Linear, blank, merge_heads, split_heads};
use super::shape::ModelShape;
use crate::ops::{self, Compute, Reach};

/// A linear map's weight `[out, in]` whose bias, if any, stands beside it.
#[derive(Module, Debug)]
pub struct Weight {
    pub weight: Param<Tensor<2>>,
}

/// Cross-attention without the attention: its four maps.
#[derive(Module, Debug)]
pub struct CrossAttention {
    pub q: Weight,
    pub k: Weight,
    pub v: Weight,
    pub q_bias: Param<Tensor<1>>,
    pub k_bias: Param<Tensor<1>>,
    pub v_bias: Param<Tensor<1>>,
    pub proj: Linear,
}

/// The norms before queries, keys and values, and the maps after them.
#[derive(Module, Debug)]
pub struct Pooler {
    pub norm1_q: LayerNorm,
    pub norm1_k: LayerNorm,
    pub norm1_v: LayerNorm,
    pub cross_attn: CrossAttention,
}

/// Attentive pooling with one learned query, and projection with the same weights.
#[derive(Module, Debug)]
pub struct PoolProject {
    /// `[1, 1, D]`.
    pub query_token: Param<Tensor<3>>,
    pub pooler: Pooler,
    #[module(skip)]
    heads: usize,
}

/// What an image becomes, in float32.
#[derive(Clone, Debug)]
pub struct Latents {
    /// `[N, E]`: the target of the contrastive loss. Not normalised.
    pub pooled: Tensor<2>,
    /// `[N, P, E]`: what stands in the language model's slots.
    pub tokens: Tensor<3>,
}

impl PoolProject {
    pub(crate) fn new(shape: &ModelShape, device: &Device) -> Self {
        let (input, output) = (shape.vision_width, shape.embed());
        let weight = || Weight {
            weight: blank([output, input], device),
        };
        let norm = || LayerNorm::new(input, device);
        Self {
            query_token: blank([1, 1, input], device),
            pooler: Pooler {
                norm1_q: norm(),
                norm1_k: norm(),
                norm1_v: norm(),
                cross_attn: CrossAttention {
                    q: weight(),
                    k: weight(),
                    v: weight(),
                    q_bias: blank([output], device),
                    k_bias: blank([output], device),
                    v_bias: blank([output], device),
                    proj: Linear::without_bias(output, output, device),
                },
            },
            heads: shape.pool_heads(),
        }
    }

    /// `[N, P, D]` to the pooled latents and the visual tokens.
    pub fn forward(&self, patches: Tensor<3>, compute: Compute) -> Latents {
        let images = patches.dims()[0];
        let Pooler {
            norm1_q,
            norm1_k,
            norm1_v,
            cross_attn: maps,
        } = &self.pooler;
        let apply = |x: Tensor<3>, map: &Weight, bias: &Param<Tensor<1>>| {
            ops::linear(x, map.weight.val(), Some(bias.val()), compute)
        };

        let query = apply(
            norm1_q.forward(self.query_token.val()),
            &maps.q,
            &maps.q_bias,
        );
        let output = query.dims()[2];
        let query = split_heads(query.expand([images, 1, output]), self.heads);
        let key = apply(norm1_k.forward(patches.clone()), &maps.k, &maps.k_bias);
        let value = apply(norm1_v.forward(patches), &maps.v, &maps.v_bias);

        let key = split_heads(key, self.heads);
        let heads = split_heads(value.clone(), self.heads);
        let mixed = merge_heads(ops::attention(query, key, heads, &Reach::All));
        let project = |x: Tensor<3>| maps.proj.forward(x, compute).cast(FloatDType::F32);
        Latents {
            pooled: project(mixed).reshape([images, output]),
            tokens: project(value),
        }
    }
}

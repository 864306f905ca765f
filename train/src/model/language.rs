//! Ids and visual tokens to hidden states: a causal transformer, trained from scratch and thrown away afterwards.
//!
//! B rows, T tokens, N images, P slots an image, E width, V vocabulary.

use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Int, Tensor};

use super::layers::{LayerNorm, Transformer, blank};
use super::shape::ModelShape;
use crate::ops::{self, Compute, Reach};

/// Which token stands where, as indices on the device; made by `data::Plan`.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// B and T.
    pub rows: usize,
    pub context: usize,
    /// Ids of the text tokens in order; slots are left out.
    pub text: Tensor<1, Int>,
    /// `[B·T]`: row of each place in (text embeddings ‖ visual tokens).
    pub order: Tensor<1, Int>,
    /// `[B·T]`.
    pub positions: Tensor<1, Int>,
    pub reach: Reach,
}

/// `[V, E]`.
#[derive(Module, Debug)]
pub struct Embedding {
    pub weight: Param<Tensor<2>>,
}

/// The language model's trunk, and the contrastive head on top of it.
#[derive(Module, Debug)]
pub struct Language {
    /// `[longest context, E]`.
    pub positional_embedding: Param<Tensor<2>>,
    /// `[E, E]`, applied from the right.
    pub text_projection: Param<Tensor<2>>,
    pub token_embedding: Embedding,
    pub transformer: Transformer,
    pub ln_final: LayerNorm,
}

impl Language {
    pub(crate) fn new(shape: &ModelShape, vocabulary: usize, device: &Device) -> Self {
        let width = shape.text_width;
        Self {
            positional_embedding: blank([shape.context, width], device),
            text_projection: blank([width, shape.embed()], device),
            token_embedding: Embedding {
                weight: blank([vocabulary, width], device),
            },
            transformer: Transformer::new(width, shape.text_layers, shape.text_heads, device),
            ln_final: LayerNorm::new(width, device),
        }
    }

    /// Hidden states `[B, T, E]`; the trunk ends without a norm. `visual` is `[N, P, E]`.
    ///
    /// The embedding of the slot's id is never read: its gradient is exactly zero.
    pub fn forward(
        &self,
        sequence: &Sequence,
        visual: Option<Tensor<3>>,
        compute: Compute,
    ) -> Tensor<3> {
        let width = self.positional_embedding.dims()[1];
        let text = self
            .token_embedding
            .weight
            .val()
            .select(0, sequence.text.clone());
        let tokens = match visual {
            Some(visual) => Tensor::cat(vec![text, visual.reshape([-1, width as i32])], 0),
            None => text,
        };
        let tokens = tokens.select(0, sequence.order.clone())
            + self
                .positional_embedding
                .val()
                .select(0, sequence.positions.clone());
        let tokens = tokens.reshape([sequence.rows, sequence.context, width]);
        self.transformer.forward(tokens, &sequence.reach, compute)
    }

    /// `[n, E]` hidden states to `[n, E]` text features, not normalised.
    pub fn project(&self, hidden: Tensor<2>, compute: Compute) -> Tensor<2> {
        let map = self.text_projection.val().transpose();
        ops::linear(self.ln_final.forward(hidden), map, None, compute).cast(FloatDType::F32)
    }
}

//! The whole model: encoder, pool, language model and the two heads.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

use super::language::{Language, Sequence};
use super::layers::{LayerNorm, Linear, blank};
use super::pool::{Latents, PoolProject};
use super::shape::ModelShape;
use super::vision::Vision;
use crate::ops::Compute;

/// Norms are divided by at least this.
const SMALLEST_NORM: f64 = 1e-12;

/// The generation head: a norm of its own and a map `[V, E]` that is not tied to the embedding.
#[derive(Module, Debug)]
pub struct GenerationHead {
    pub norm: LayerNorm,
    pub proj: Linear,
}

/// Latent Compression Learning (arXiv 2406.07543).
#[derive(Module, Debug)]
pub struct Lcl {
    /// Logarithm of the inverse temperature, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
    pub visual: Vision,
    pub text: Language,
    pub pool_project: PoolProject,
    pub lm_head: GenerationHead,
    #[module(skip)]
    pub shape: ModelShape,
    #[module(skip)]
    pub compute: Compute,
}

/// What is kept of it: pixels to latents.
#[derive(Module, Debug)]
pub struct Encoder {
    pub visual: Vision,
    pub pool_project: PoolProject,
    #[module(skip)]
    pub compute: Compute,
}

impl Lcl {
    /// Shapes only; `names::fill` gives the values. `vocabulary` is the number of ids.
    pub fn blank(shape: &ModelShape, vocabulary: usize, device: &Device) -> Self {
        let width = shape.text_width;
        Self {
            logit_scale: blank([1], device),
            visual: Vision::new(shape, device),
            text: Language::new(shape, vocabulary, device),
            pool_project: PoolProject::new(shape, device),
            lm_head: GenerationHead {
                norm: LayerNorm::new(width, device),
                proj: Linear::without_bias(width, vocabulary, device),
            },
            shape: *shape,
            compute: Compute::default(),
        }
    }

    /// The part that is kept.
    pub fn encoder(&self) -> Encoder {
        Encoder {
            visual: self.visual.clone(),
            pool_project: self.pool_project.clone(),
            compute: self.compute,
        }
    }

    /// `[N, 3, S, S]`, normalised, to latents.
    pub fn encode_images(&self, pixels: Tensor<4>) -> Latents {
        let patches = self.visual.forward(pixels, self.compute);
        self.pool_project.forward(patches, self.compute)
    }

    /// Hidden states `[B, T, E]`.
    pub fn read(&self, sequence: &Sequence, visual: Option<Tensor<3>>) -> Tensor<3> {
        self.text.forward(sequence, visual, self.compute)
    }

    /// Normalised text features `[n, E]` of the hidden states at `places`, indices into `[B·T]`.
    pub fn text_features(&self, hidden: &Tensor<3>, places: Tensor<1, Int>) -> Tensor<2> {
        let hidden = flat(hidden).select(0, places);
        normalise(self.text.project(hidden, self.compute))
    }
}

impl Encoder {
    pub fn blank(shape: &ModelShape, device: &Device) -> Self {
        Self {
            visual: Vision::new(shape, device),
            pool_project: PoolProject::new(shape, device),
            compute: Compute::default(),
        }
    }

    /// Normalised image features `[N, E]`.
    pub fn features(&self, pixels: Tensor<4>) -> Tensor<2> {
        let patches = self.visual.forward(pixels, self.compute);
        normalise(self.pool_project.forward(patches, self.compute).pooled)
    }
}

/// `[B, T, E]` to `[B·T, E]`.
pub(crate) fn flat(hidden: &Tensor<3>) -> Tensor<2> {
    let [rows, context, width] = hidden.dims();
    hidden.clone().reshape([rows * context, width])
}

/// Rows of length one.
pub fn normalise(x: Tensor<2>) -> Tensor<2> {
    let norm = x
        .clone()
        .square()
        .sum_dim(1)
        .sqrt()
        .clamp_min(SMALLEST_NORM);
    x / norm
}

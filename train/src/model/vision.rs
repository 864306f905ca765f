//! Pixels to patch tokens: a ViT that keeps its class token to itself.
//!
//! N images, S edge, p patch, G = S/p, P = G² patches, W width.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::layers::{LayerNorm, Transformer, blank};
use super::shape::ModelShape;
use crate::ops::{self, Compute, Reach};

/// The patch embedding's weight `[W, 3, p, p]`, a convolution whose stride is its size.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    pub weight: Param<Tensor<4>>,
}

/// The encoder that remains when training is over.
#[derive(Module, Debug)]
pub struct Vision {
    pub class_embedding: Param<Tensor<1>>,
    /// `[1 + P, W]`, the class token's first.
    pub positional_embedding: Param<Tensor<2>>,
    pub conv1: PatchEmbedding,
    pub ln_pre: LayerNorm,
    pub transformer: Transformer,
    pub ln_post: LayerNorm,
}

impl Vision {
    pub(crate) fn new(shape: &ModelShape, device: &Device) -> Self {
        let width = shape.vision_width;
        Self {
            class_embedding: blank([width], device),
            positional_embedding: blank([1 + shape.slots(), width], device),
            conv1: PatchEmbedding {
                weight: blank([width, 3, shape.patch, shape.patch], device),
            },
            ln_pre: LayerNorm::new(width, device),
            transformer: Transformer::new(width, shape.vision_layers, shape.vision_heads, device),
            ln_post: LayerNorm::new(width, device),
        }
    }

    /// `[N, 3, S, S]`, normalised, to `[N, P, W]`, in the type that `compute` multiplies in.
    ///
    /// The class token takes part in attention and is then dropped.
    pub fn forward(&self, pixels: Tensor<4>, compute: Compute) -> Tensor<3> {
        let patches = self.embed(pixels, compute);
        let stream = patches.dtype();
        let [images, count, width] = patches.dims();
        let class = self
            .class_embedding
            .val()
            .reshape([1, 1, width])
            .expand([images, 1, width]);
        let positions = self.positional_embedding.val().unsqueeze::<3>();
        let x = Tensor::cat(vec![class.cast(stream), patches], 1) + positions.cast(stream);
        let x = self.ln_pre.forward(x);
        let x = self.transformer.forward(x, &Reach::All, compute);
        // A norm looks at one token at a time, so the class token can go before it.
        self.ln_post.forward(x.narrow(1, 1, count))
    }

    /// The patch convolution as one matrix product: LibTorch's convolution gradients are generic in Burn.
    fn embed(&self, pixels: Tensor<4>, compute: Compute) -> Tensor<3> {
        let [width, channels, patch, _] = self.conv1.weight.dims();
        let [images, _, edge, _] = pixels.dims();
        let grid = edge / patch;
        let patches = pixels
            .reshape([images, channels, grid, patch, grid, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([images, grid * grid, channels * patch * patch]);
        let weight = self
            .conv1
            .weight
            .val()
            .reshape([width, channels * patch * patch]);
        ops::linear(patches, weight, None, compute)
    }
}

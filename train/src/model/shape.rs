//! The sizes of a model, and the named ones.

use serde::{Deserialize, Serialize};

/// A named model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Learns something in minutes on two CPU cores.
    #[default]
    Tiny,
    /// The case with published-code numbers to compare with.
    ParityTiny,
    #[serde(rename = "lcl_vit_b_32_mmc4")]
    B32Mmc4,
    #[serde(rename = "lcl_vit_b_32_laion")]
    B32Laion,
    #[serde(rename = "lcl_vit_b_16_laion")]
    B16Laion,
    #[serde(rename = "lcl_vit_l_14")]
    L14,
}

/// Everything that decides the shapes of the weights but the vocabulary, which comes with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelShape {
    /// Pixels along one side of an image.
    pub edge: usize,
    /// Pixels along one side of a patch.
    pub patch: usize,
    pub vision_width: usize,
    pub vision_layers: usize,
    pub vision_heads: usize,
    /// Most tokens in a row.
    pub context: usize,
    pub text_width: usize,
    pub text_layers: usize,
    pub text_heads: usize,
}

impl ModelShape {
    /// P, patches of an image and slots that it takes in a row.
    pub fn slots(&self) -> usize {
        (self.edge / self.patch).pow(2)
    }

    /// Visual tokens are read by the language model and pooled latents compared with its output: one width.
    pub fn embed(&self) -> usize {
        self.text_width
    }

    /// Heads of the pool, as wide as the language model's.
    pub fn pool_heads(&self) -> usize {
        self.text_heads
    }
}

impl Preset {
    /// Its sizes. Heads are 64 wide but for `parity_tiny`.
    pub fn shape(self) -> ModelShape {
        match self {
            Self::Tiny => sizes((64, 8), (192, 6, 3), (256, 192, 6, 3)),
            Self::ParityTiny => sizes((32, 8), (64, 2, 4), (64, 32, 2, 4)),
            Self::B32Mmc4 => sizes((224, 32), (768, 12, 12), (2048, 512, 12, 8)),
            Self::B32Laion => sizes((224, 32), (768, 12, 12), (128, 512, 12, 8)),
            Self::B16Laion => sizes((224, 16), (768, 12, 12), (280, 768, 12, 12)),
            Self::L14 => sizes((224, 14), (1024, 24, 16), (2048, 768, 12, 12)),
        }
    }
}

/// (edge, patch), vision (width, layers, heads), text (context, width, layers, heads).
fn sizes(
    (edge, patch): (usize, usize),
    (vision_width, vision_layers, vision_heads): (usize, usize, usize),
    (context, text_width, text_layers, text_heads): (usize, usize, usize, usize),
) -> ModelShape {
    ModelShape {
        edge,
        patch,
        vision_width,
        vision_layers,
        vision_heads,
        context,
        text_width,
        text_layers,
        text_heads,
    }
}

//! Values for new weights, made on the host: the same on every backend, and no generator state to save.
//!
//! Every number is a function of (seed, tensor name, index). `training` draws from the distributions that
//! the PyTorch release starts from; `fixed` gives arbitrary, distribution-free weights to compare two
//! implementations with.

use std::convert::Infallible;
use std::f64::consts::TAU;

use burn::tensor::Device;

use crate::model::{Lcl, ModelShape};
use crate::names;

/// ln(1/0.07): CLIP's initial temperature.
pub const INITIAL_LOGIT_SCALE: f64 = 2.659_260_036_932_778;

/// 64-bit FNV-1a.
pub fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Element `index` of the SplitMix64 sequence that starts at `seed`.
fn splitmix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `count` numbers in [-1, 1) on a grid of 2⁻²³, keyed by `name` alone.
pub fn fixed_units(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = fnv1a(name);
    (0..count as u64)
        .map(move |i| (splitmix(seed, i) >> 40) as f64 / (1u64 << 24) as f64 * 2.0 - 1.0)
}

/// Weights that need no random generator: any implementation can make the same.
pub fn fixed(name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    let (offset, scale) = match leaf {
        names::LOGIT_SCALE => return vec![INITIAL_LOGIT_SCALE as f32],
        "positional_embedding" | "class_embedding" => (0.0, 0.5),
        "query_token" => (0.0, 1.0),
        "weight" if name.ends_with("token_embedding.weight") => (0.0, 0.5),
        _ if shape.len() >= 2 => (0.0, 1.0 / fan_in.sqrt()),
        "weight" => (1.0, 0.1),
        _ => (0.0, 0.02),
    };
    fixed_units(name, count)
        .map(|u| (offset + scale * u) as f32)
        .collect()
}

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Law {
    Constant(f64),
    Normal {
        std: f64,
    },
    /// In [-bound, bound).
    Uniform {
        bound: f64,
    },
}

/// A model filled with `fixed` weights, on `device`.
pub fn fixed_model(shape: &ModelShape, vocabulary: usize, device: &Device) -> Lcl {
    let Ok(model) = names::fill(Lcl::blank(shape, vocabulary, device), |name, shape| {
        Ok::<_, Infallible>(fixed(name, shape))
    });
    model
}

/// A model as training starts from, on `device`.
pub fn training_model(shape: &ModelShape, vocabulary: usize, seed: u64, device: &Device) -> Lcl {
    let Ok(model) = names::fill(Lcl::blank(shape, vocabulary, device), |name, dims| {
        Ok::<_, Infallible>(draw(
            law(name, dims, shape),
            seed,
            name,
            dims.iter().product(),
        ))
    });
    model
}

/// `count` values of a law, keyed by (`seed`, `name`).
fn draw(law: Law, seed: u64, name: &str, count: usize) -> Vec<f32> {
    let key = splitmix(fnv1a(name), seed);
    // In (0, 1): the logarithm below must exist.
    let unit = |i: u64| ((splitmix(key, i) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let value = |i: u64| match law {
        Law::Constant(value) => value,
        Law::Uniform { bound } => bound * (2.0 * unit(i) - 1.0),
        // Box-Muller, one of its two values.
        Law::Normal { std } => {
            std * (-2.0 * unit(2 * i).ln()).sqrt() * (TAU * unit(2 * i + 1)).cos()
        }
    };
    (0..count as u64).map(|i| value(i) as f32).collect()
}

/// The release's distributions: its own for the language model, PyTorch's defaults for most of the rest.
fn law(name: &str, dims: &[usize], shape: &ModelShape) -> Law {
    if name == names::LOGIT_SCALE {
        return Law::Constant(INITIAL_LOGIT_SCALE);
    }
    let (tower, path) = name.split_once('.').unwrap_or(("", name));
    let text = tower == "text";
    let width = if text {
        shape.text_width
    } else {
        shape.vision_width
    } as f64;
    let tail = path.rsplitn(3, '.').collect::<Vec<_>>();
    let (leaf, owner) = (tail[0], tail.get(1).copied().unwrap_or(""));
    let normal = |std: f64| Law::Normal { std };
    // PyTorch's default for linear maps and convolutions.
    let fan_in = |inputs: f64| Law::Uniform {
        bound: inputs.powf(-0.5),
    };
    let residual = width.powf(-0.5) * (2.0 * shape.text_layers as f64).powf(-0.5);

    match (owner, leaf) {
        ("token_embedding", _) => normal(0.02),
        (_, "positional_embedding") if text => normal(0.01),
        (_, "positional_embedding" | "class_embedding") => normal(width.powf(-0.5)),
        (_, "text_projection") => normal(width.powf(-0.5)),
        (_, "query_token") => normal(1.0),
        (_, "in_proj_weight") if text => normal(width.powf(-0.5)),
        // Xavier-uniform over [3W, W].
        (_, "in_proj_weight") => Law::Uniform {
            bound: (6.0 / (4.0 * width)).sqrt(),
        },
        ("out_proj" | "c_proj", "weight") if text => normal(residual),
        ("c_fc", "weight") if text => normal((2.0 * width).powf(-0.5)),
        ("c_fc", "bias") => fan_in(width),
        ("c_proj", "bias") => fan_in(4.0 * width),
        (_, "weight") if dims.len() == 1 => Law::Constant(1.0),
        (_, "weight") => fan_in(dims[1..].iter().product::<usize>() as f64),
        _ => Law::Constant(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::Preset;

    #[test]
    fn fixed_weights_are_those_of_other_implementations() {
        assert_eq!(fnv1a("image"), 0x2ab6_1288_8528_489a);
        let image: Vec<f64> = fixed_units("image", 4).collect();
        let expected = [0.383_531_45, 0.896_756_29, 0.262_570_14, -0.900_388_24];
        for (unit, expected) in image.iter().zip(expected) {
            assert!((unit - expected).abs() < 1e-8, "{unit} is not {expected}");
        }
        let conv: Vec<f64> = fixed_units("visual.conv1.weight", 2).collect();
        assert!((conv[0] - 0.137_178_90).abs() < 1e-8 && (conv[1] - 0.190_448_28).abs() < 1e-8);
    }

    /// Standard deviations measured on the published model of this shape.
    #[test]
    fn training_starts_from_the_published_spreads() {
        let shape = Preset::B32Mmc4.shape();
        let cases: [(&str, &[usize], f64); 12] = [
            ("visual.class_embedding", &[768], 0.0359),
            ("visual.positional_embedding", &[50, 768], 0.0362),
            ("visual.conv1.weight", &[768, 3, 32, 32], 0.01042),
            (
                "visual.transformer.resblocks.0.attn.in_proj_weight",
                &[2304, 768],
                0.02553,
            ),
            ("text.token_embedding.weight", &[4941, 512], 0.0200),
            (
                "text.transformer.resblocks.3.attn.in_proj_weight",
                &[1536, 512],
                0.0442,
            ),
            (
                "text.transformer.resblocks.3.attn.out_proj.weight",
                &[512, 512],
                0.00902,
            ),
            (
                "text.transformer.resblocks.3.mlp.c_proj.weight",
                &[512, 2048],
                0.00902,
            ),
            (
                "text.transformer.resblocks.3.mlp.c_fc.weight",
                &[2048, 512],
                0.03125,
            ),
            ("text.text_projection", &[512, 512], 0.0441),
            ("pool_project.query_token", &[1, 1, 768], 1.0),
            ("lm_head.1.weight", &[4941, 512], 0.02551),
        ];
        for (name, dims, expected) in cases {
            let count = dims.iter().product::<usize>();
            let values = draw(law(name, dims, &shape), 0, name, count);
            let mean_square =
                values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / count as f64;
            // Five standard errors of a normal sample.
            let tolerance = 0.01 + 5.0 / (2.0 * count as f64).sqrt();
            let ratio = mean_square.sqrt() / expected;
            assert!(
                (ratio - 1.0).abs() < tolerance,
                "{name}: {} for {expected}",
                mean_square.sqrt()
            );
        }
    }

    #[test]
    fn biases_and_norms_start_as_published() {
        let shape = Preset::B32Mmc4.shape();
        let of = |name: &str, dims: &[usize]| law(name, dims, &shape);
        assert_eq!(of("visual.ln_pre.weight", &[768]), Law::Constant(1.0));
        assert_eq!(of("lm_head.0.bias", &[512]), Law::Constant(0.0));
        assert_eq!(
            of("pool_project.pooler.cross_attn.q_bias", &[512]),
            Law::Constant(0.0)
        );
        let c_fc = of("text.transformer.resblocks.0.mlp.c_fc.bias", &[2048]);
        assert_eq!(
            c_fc,
            Law::Uniform {
                bound: 512f64.powf(-0.5)
            }
        );
        let c_proj = of("visual.transformer.resblocks.0.mlp.c_proj.bias", &[768]);
        assert_eq!(
            c_proj,
            Law::Uniform {
                bound: 3072f64.powf(-0.5)
            }
        );
    }

    #[test]
    fn another_seed_gives_other_weights_and_the_same_seed_the_same() {
        let values = |seed| draw(Law::Normal { std: 1.0 }, seed, "x", 8);
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }
}

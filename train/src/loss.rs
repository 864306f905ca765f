//! Hidden states and latents to the two losses, each a sum and a count.
//!
//! Sums are divided by the counts of the whole step, which the tokens tell beforehand: the mean is right
//! however a step is divided, and a step without pairs loses nothing instead of becoming NaN.
//!
//! n pairs or targets, E width, V vocabulary.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::data::{Inputs, Places, Plan};
use crate::model::Lcl;
use crate::model::lcl::{flat, normalise};
use crate::ops::{self, indices};

/// `total = contrastive · L_con + generation · L_gen`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    pub contrastive: f64,
    pub generation: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            contrastive: 0.1,
            generation: 1.0,
        }
    }
}

/// A loss summed over `count` terms.
#[derive(Clone, Debug)]
pub struct Sum {
    /// `[1]`.
    pub value: Tensor<1>,
    pub count: usize,
}

impl Sum {
    /// Mean over a step of `count` terms; 0 without any.
    pub fn over(&self, count: usize) -> Tensor<1> {
        self.value.clone().div_scalar(count.max(1) as f64)
    }
}

/// How many terms the losses of one step have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pairs: usize,
    pub targets: usize,
}

impl Counts {
    pub fn of(plan: &Plan) -> Self {
        Self {
            pairs: plan.pairs(),
            targets: plan.targets.len(),
        }
    }

    /// Of a step in parts.
    pub fn of_all(parts: &[Inputs]) -> Self {
        parts.iter().fold(Self::default(), |sum, part| Self {
            pairs: sum.pairs + part.plan.pairs(),
            targets: sum.targets + part.plan.targets.len(),
        })
    }
}

/// The losses of a step, unweighted, and their weighted sum; each `[1]`.
#[derive(Clone, Debug)]
pub struct Losses {
    pub contrastive: Tensor<1>,
    pub generation: Tensor<1>,
    pub total: Tensor<1>,
}

/// Everything from inputs to losses; `counts` are those of the whole step.
pub fn losses(model: &Lcl, inputs: &Inputs, weights: &LossConfig, counts: Counts) -> Losses {
    let (pooled, hidden) = forward(model, inputs);
    let contrastive = match pooled {
        Some(pooled) if inputs.plan.pairs() > 0 => {
            let (images, texts) = features(model, pooled, &hidden, &inputs.places);
            contrastive(images, texts, model.logit_scale.val()).over(counts.pairs)
        }
        _ => Tensor::zeros([1], &hidden.device()),
    };
    let generation = generation(model, &hidden, inputs).over(counts.targets);
    weighted(contrastive, generation, weights)
}

/// Pooled latents `[N, E]`, if there are images, and hidden states `[B, T, E]`.
pub(crate) fn forward(model: &Lcl, inputs: &Inputs) -> (Option<Tensor<2>>, Tensor<3>) {
    let latents = inputs
        .pixels
        .clone()
        .map(|pixels| model.encode_images(pixels));
    let (pooled, visual) = latents
        .map(|latents| (latents.pooled, latents.tokens))
        .unzip();
    (pooled, model.read(&inputs.sequence, visual))
}

pub(crate) fn weighted(
    contrastive: Tensor<1>,
    generation: Tensor<1>,
    weights: &LossConfig,
) -> Losses {
    let total = contrastive.clone().mul_scalar(weights.contrastive)
        + generation.clone().mul_scalar(weights.generation);
    Losses {
        contrastive,
        generation,
        total,
    }
}

/// Normalised image and text features `[n, E]` of the pairs, in order.
pub fn features(
    model: &Lcl,
    pooled: Tensor<2>,
    hidden: &Tensor<3>,
    places: &Places,
) -> (Tensor<2>, Tensor<2>) {
    let images = normalise(pooled.select(0, places.paired.clone()));
    let texts = model.text_features(hidden, places.bois.clone());
    (images, texts)
}

/// Image and text features `[n, E]` to logits `[n, n]`, images down, texts across.
pub fn similarity(images: Tensor<2>, texts: Tensor<2>, logit_scale: Tensor<1>) -> Tensor<2> {
    images.matmul(texts.transpose()) * logit_scale.exp().unsqueeze::<2>()
}

/// Half of each direction's cross-entropy, summed over the n pairs (the paper's contrastive term).
///
/// Every other pair of the step is a negative, images of the same document included.
pub fn contrastive(images: Tensor<2>, texts: Tensor<2>, logit_scale: Tensor<1>) -> Sum {
    let count = images.dims()[0];
    let logits = similarity(images, texts, logit_scale);
    // From the logits themselves: a lone pair then loses exactly nothing.
    let diagonal: Vec<i64> = (0..count as i64).collect();
    let diagonal = indices(&diagonal, &logits.device()).unsqueeze_dim::<2>(1);
    let matched = logits.clone().gather(1, diagonal).sum();
    let both = log_sum_exp(logits.clone(), 1).sum() + log_sum_exp(logits, 0).sum();
    Sum {
        value: both.mul_scalar(0.5) - matched,
        count,
    }
}

/// Keeps the reduced dimension.
fn log_sum_exp(x: Tensor<2>, dim: usize) -> Tensor<2> {
    let most = x.clone().detach().max_dim(dim);
    (x - most.clone()).exp().sum_dim(dim).log() + most
}

/// Cross-entropy of the next tokens, summed over the targets of the plan.
pub fn generation(model: &Lcl, hidden: &Tensor<3>, inputs: &Inputs) -> Sum {
    let count = inputs.plan.targets.len();
    if count == 0 {
        return Sum {
            value: Tensor::zeros([1], &hidden.device()),
            count,
        };
    }
    let Places {
        sources, targets, ..
    } = inputs.places.clone();
    let sources = model.lm_head.norm.forward(flat(hidden).select(0, sources));
    let weight = model.lm_head.proj.weight.val();
    Sum {
        value: ops::cross_entropy(sources, weight, targets, model.compute),
        count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;
    use crate::names::host;
    use crate::optim::gradient_norms;
    use crate::samples::{IMAGE, model, packed, shape, vocabulary};
    use burn::optim::GradientsParams;
    use burn::tensor::Device;
    use lcl_schemas::batch::Batch;

    const CAT: &[u32] = &[95, 3, 4, IMAGE, 5, 96];
    const DOG: &[u32] = &[95, 10, IMAGE, 11, 0, IMAGE, 12];
    const NAMELESS: &[u32] = &[95, IMAGE, 20, 21, 96];

    fn inputs(batch: &Batch, device: &Device) -> Inputs {
        Inputs::of(batch, &vocabulary(), &shape(), device).expect("valid")
    }

    fn measured(batch: &Batch) -> ([f64; 2], Counts) {
        let device = Device::flex();
        let inputs = inputs(batch, &device);
        let counts = Counts::of(&inputs.plan);
        let losses = losses(&model(&device), &inputs, &LossConfig::default(), counts);
        let of = |loss: Tensor<1>| f64::from(loss.into_scalar::<f32>());
        ([of(losses.contrastive), of(losses.generation)], counts)
    }

    #[test]
    fn packing_two_documents_into_a_row_changes_no_loss() {
        let (apart, counts) = measured(&packed(&[&[CAT], &[DOG]], 64, 0));
        let (together, same) = measured(&packed(&[&[CAT, DOG]], 64, 0));
        assert_eq!(
            counts,
            Counts {
                pairs: 3,
                targets: 11
            }
        );
        assert_eq!(same, counts);
        for (a, b) in apart.into_iter().zip(together) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
    }

    #[test]
    fn a_segment_knows_nothing_of_its_neighbour() {
        let device = Device::flex();
        let model = model(&device);
        let other: &[u32] = &[95, 40, 41, 42, 43, 44, 45];
        let hidden = |first: &[u32]| {
            let inputs = inputs(&packed(&[&[first, &[95, 50, 51, 52, 96]]], 64, 0), &device);
            host(model.read(&inputs.sequence, None).narrow(1, first.len(), 5))
        };
        assert_eq!(hidden(other), hidden(&[95, 1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn an_image_without_context_has_no_contrastive_pair() {
        let batch = packed(&[&[CAT], &[NAMELESS]], 64, 0);
        let (_, counts) = measured(&batch);
        assert_eq!((batch.images(), counts.pairs), (2, 1));
        // Alone there is no pair at all, and nothing to divide by.
        let (losses, counts) = measured(&packed(&[&[NAMELESS]], 64, 0));
        assert_eq!((losses[0], counts.pairs), (0.0, 0));
        assert!(losses[1].is_finite());
    }

    #[test]
    fn text_alone_can_be_learned() {
        let (losses, counts) = measured(&packed(&[&[&[95, 1, 2, 3, 96]]], 64, 0));
        assert_eq!(
            counts,
            Counts {
                pairs: 0,
                targets: 4
            }
        );
        assert!((losses[1] - 100f64.ln()).abs() < 1.0, "{losses:?}");
    }

    #[test]
    fn bos_and_padding_are_never_learned_and_id_0_is() {
        let batch = packed(&[&[DOG, CAT]], 64, 0);
        let plan = Plan::of(&batch, &vocabulary(), &shape(), Targets::Segments).expect("valid");
        assert_eq!(plan.targets, [10, 98, 11, 0, 98, 12, 3, 4, 98, 5, 96]);
    }

    #[test]
    fn gradients_exist_with_and_without_pairs() {
        let device = Device::flex().autodiff();
        let model = model(&device);
        for batch in [packed(&[&[CAT, DOG]], 64, 0), packed(&[&[NAMELESS]], 64, 0)] {
            let inputs = inputs(&batch, &device);
            let counts = Counts::of(&inputs.plan);
            let losses = losses(&model, &inputs, &LossConfig::default(), counts);
            let gradients = GradientsParams::from_grads(losses.total.backward(), &model);
            let norms = gradient_norms(&model, &gradients);
            assert!(norms.iter().all(|(_, norm)| norm.is_finite()));
            assert!(
                norms
                    .iter()
                    .any(|(name, norm)| name == "visual.conv1.weight" && *norm > 0.0)
            );
        }
    }
}

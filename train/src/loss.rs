//! Hidden states and latents to the two losses, each a sum and a count.
//!
//! Sums are divided by the counts of the whole step, which the tokens tell beforehand: the mean is right
//! however a step is divided, and a step without pairs loses nothing instead of becoming NaN.
//!
//! n pairs or targets, E width, V vocabulary.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::data::{Inputs, Plan, indices};
use crate::model::Lcl;
use crate::model::lcl::{flat, normalise};

/// Targets whose logits exist at one time: 256 × 49,411 floats are 51 MB.
const TARGETS_AT_ONCE: usize = 256;

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
    let latents = inputs
        .pixels
        .clone()
        .map(|pixels| model.encode_images(pixels));
    let (pooled, visual) = latents
        .map(|latents| (latents.pooled, latents.tokens))
        .unzip();
    let hidden = model.read(&inputs.sequence, visual);

    let contrastive = match pooled {
        Some(pooled) if inputs.plan.pairs() > 0 => {
            let (images, texts) = features(model, pooled, &hidden, &inputs.plan);
            contrastive(images, texts, model.logit_scale.val()).over(counts.pairs)
        }
        _ => Tensor::zeros([1], &hidden.device()),
    };
    let generation = generation(model, &hidden, &inputs.plan).over(counts.targets);
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
    plan: &Plan,
) -> (Tensor<2>, Tensor<2>) {
    let device = hidden.device();
    let images = normalise(pooled.select(0, indices(&plan.paired, &device)));
    let texts = model.text_features(hidden, indices(&plan.bois, &device));
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

/// Cross-entropy of the next tokens, summed over the targets of `plan`.
pub fn generation(model: &Lcl, hidden: &Tensor<3>, plan: &Plan) -> Sum {
    let device = hidden.device();
    let count = plan.targets.len();
    if count == 0 {
        return Sum {
            value: Tensor::zeros([1], &device),
            count,
        };
    }
    let sources = flat(hidden).select(0, indices(&plan.sources, &device));
    let sources = model.lm_head.norm.forward(sources);
    let weight = model.lm_head.proj.weight.val();
    Sum {
        value: cross_entropy(sources, weight, &plan.targets),
        count,
    }
}

/// Cross-entropy of `x·Wᵀ` summed over rows, without ever holding `[n, V]`. `x` `[n, E]`, `weight` `[V, E]`.
///
/// The gradients of a cross-entropy are known with its value, so both are made chunk by chunk outside of the
/// autodiff graph and enter it through an expression of value zero that has these gradients. Composed from
/// log-softmax the graph would keep several tensors of 4·n·V bytes (400 MB each at n = 2,048, V = 49,411).
fn cross_entropy(x: Tensor<2>, weight: Tensor<2>, targets: &[i64]) -> Tensor<1> {
    let tracked = x.is_autodiff();
    let (inner_x, inner_weight) = if tracked {
        (x.clone().inner(), weight.clone().inner())
    } else {
        (x.clone(), weight.clone())
    };
    let mut value = Tensor::<1>::zeros([1], &inner_x.device());
    let mut x_gradients = Vec::new();
    let mut weight_gradient: Option<Tensor<2>> = None;
    for (chunk, targets) in targets.chunks(TARGETS_AT_ONCE).enumerate() {
        let x = inner_x
            .clone()
            .narrow(0, chunk * TARGETS_AT_ONCE, targets.len());
        let targets = indices(targets, &x.device()).unsqueeze_dim::<2>(1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;
    use crate::names::host;
    use crate::optim::gradient_norms;
    use crate::samples::{IMAGE, model, packed, shape, vocabulary};
    use burn::optim::GradientsParams;
    use burn::tensor::activation::log_softmax;
    use burn::tensor::{Device, TensorData};
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

    #[test]
    fn chunked_cross_entropy_has_the_gradients_of_the_composed_one() {
        let device = Device::flex().autodiff();
        let count = TARGETS_AT_ONCE + 3;
        let tensor = |name: &str, rows: usize| {
            let values = crate::init::fixed_units(name, rows * 8)
                .map(|u| u as f32)
                .collect();
            Tensor::<2>::from_data(TensorData::new(values, [rows, 8]), &device).require_grad()
        };
        let targets: Vec<i64> = (0..count as i64).map(|i| i * 7 % 50).collect();
        let results = [true, false].map(|chunked| {
            let (x, weight) = (tensor("x", count), tensor("weight", 50));
            let loss = if chunked {
                cross_entropy(x.clone(), weight.clone(), &targets)
            } else {
                let log = log_softmax(x.clone().matmul(weight.clone().transpose()), 1);
                log.gather(1, indices(&targets, &device).unsqueeze_dim::<2>(1))
                    .sum()
                    .neg()
            };
            let gradients = loss.clone().mul_scalar(0.3).backward();
            let of = |tensor: Tensor<2>| host(tensor.grad(&gradients).expect("a gradient"));
            (loss.into_scalar::<f32>(), of(x), of(weight))
        });
        let [
            (chunked, x, weight),
            (composed, expected_x, expected_weight),
        ] = results;
        assert!((chunked / composed - 1.0).abs() < 1e-6);
        for (found, expected) in x
            .iter()
            .chain(&weight)
            .zip(expected_x.iter().chain(&expected_weight))
        {
            assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
        }
    }
}

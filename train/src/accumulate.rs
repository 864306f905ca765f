//! A step whose batch does not fit at once: the gradients of the whole from its parts, one after the other.
//!
//! The generation loss is a sum over targets and needs nothing more. The contrastive loss compares every image with every
//! text of the step, so features come first, without a graph; the loss and its gradients with respect to them follow; and
//! a second pass sends each part's gradients through its own graph (the published code's feature cache, GradCache).
//! Price: a forward pass more.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

use crate::data::Inputs;
use crate::loss::{
    Counts, LossConfig, Losses, contrastive, features, forward, generation, losses, weighted,
};
use crate::model::Lcl;

/// Losses of a step and their gradients; `counts` are those of all `parts`.
pub(crate) fn gradients(
    model: &Lcl,
    parts: &[Inputs],
    weights: &LossConfig,
    counts: Counts,
) -> (Losses, GradientsParams) {
    if let [whole] = parts {
        let losses = losses(model, whole, weights, counts);
        let gradients = GradientsParams::from_grads(losses.total.backward(), model);
        return (losses, gradients);
    }
    let mut sum = GradientsAccumulator::new();
    let compared = (counts.pairs > 0).then(|| compare(model, parts, weights, counts));
    let mut first_pair = 0;
    let mut generated = Vec::with_capacity(parts.len());
    for part in parts {
        let (pooled, hidden) = forward(model, part);
        let generation = generation(model, &hidden, part).over(counts.targets);
        let mut total = generation.clone().mul_scalar(weights.generation);
        let pairs = part.plan.pairs();
        if let (Some(compared), Some(pooled), true) = (&compared, pooled, pairs > 0) {
            let (images, texts) = features(model, pooled, &hidden, &part.places);
            let known = |gradients: &Tensor<2>| {
                Tensor::from_inner(gradients.clone().narrow(0, first_pair, pairs))
            };
            total = total
                + (images * known(&compared.of_images)).sum()
                + (texts * known(&compared.of_texts)).sum();
            first_pair += pairs;
        }
        sum.accumulate(model, GradientsParams::from_grads(total.backward(), model));
        generated.push(generation.inner());
    }
    let device = generated[0].device();
    let generation = Tensor::cat(generated, 0).sum();
    let contrastive = match compared {
        Some(compared) => {
            sum.accumulate(model, compared.of_temperature);
            compared.loss
        }
        None => Tensor::zeros([1], &device),
    };
    (weighted(contrastive, generation, weights), sum.grads())
}

/// The contrastive loss of a step, and what it tells the features.
struct Compared {
    /// Unweighted, without a graph.
    loss: Tensor<1>,
    /// Gradients of the weighted loss, `[n, E]` each.
    of_images: Tensor<2>,
    of_texts: Tensor<2>,
    of_temperature: GradientsParams,
}

fn compare(model: &Lcl, parts: &[Inputs], weights: &LossConfig, counts: Counts) -> Compared {
    let plain = model.valid();
    let (mut images, mut texts) = (Vec::new(), Vec::new());
    for part in parts.iter().filter(|part| part.plan.pairs() > 0) {
        let part = part.without_autodiff();
        let (pooled, hidden) = forward(&plain, &part);
        let pooled = pooled.expect("a pair has an image");
        let (image, text) = features(&plain, pooled, &hidden, &part.places);
        images.push(image);
        texts.push(text);
    }
    let leaf = |features| Tensor::<2>::from_inner(Tensor::cat(features, 0)).require_grad();
    let (images, texts) = (leaf(images), leaf(texts));
    let sum = contrastive(images.clone(), texts.clone(), model.logit_scale.val());
    let loss = sum.over(counts.pairs);
    let gradients = loss.clone().mul_scalar(weights.contrastive).backward();
    let of = |leaf: Tensor<2>| leaf.grad(&gradients).expect("a leaf has a gradient");
    Compared {
        of_images: of(images),
        of_texts: of(texts),
        loss: loss.inner(),
        of_temperature: GradientsParams::from_grads(gradients, model),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Prepared;
    use crate::names::host;
    use crate::optim::gradient_norms;
    use crate::samples::{IMAGE, devices, model, packed, shape, vocabulary};
    use burn::tensor::Device;

    /// Four rows: several documents, no image, images without context, one document.
    fn prepared(parts: usize, device: &Device) -> Prepared {
        let cat: &[u32] = &[95, 3, 4, IMAGE, 5, 96];
        let dog: &[u32] = &[95, 10, IMAGE, 11, 0, IMAGE, 12];
        let text: &[u32] = &[95, 20, 21, 22, 96];
        let nameless: &[u32] = &[95, IMAGE, 20, 21, 96];
        let batch = packed(&[&[cat, text], &[text], &[nameless], &[dog]], 64, 0);
        Prepared::of(&batch, &vocabulary(), &shape(), device, parts).expect("valid")
    }

    #[test]
    fn a_step_in_parts_has_the_losses_and_gradients_of_the_whole() {
        for device in devices() {
            let device = device.autodiff();
            let model = model(&device);
            let of = |parts: usize| {
                let parts = prepared(parts, &device).parts;
                let counts = Counts::of_all(&parts);
                assert_eq!((counts.pairs, counts.targets), (3, 23));
                let (losses, found) = gradients(&model, &parts, &LossConfig::default(), counts);
                let losses = [losses.contrastive, losses.generation, losses.total];
                let losses = losses.map(|loss| loss.into_scalar::<f32>());
                let conv1 = found.get::<4>(model.visual.conv1.weight.id);
                let conv1 = host(conv1.expect("a gradient"));
                (losses, gradient_norms(&model, &found), conv1)
            };
            let (losses, norms, conv1) = of(1);
            for parts in [2, 4] {
                let (others, other_norms, other_conv1) = of(parts);
                for (whole, part) in losses.iter().zip(&others) {
                    assert!((whole - part).abs() < 1e-5, "{losses:?} {others:?}");
                }
                for ((name, whole), (_, part)) in norms.iter().zip(&other_norms) {
                    let off = (whole - part).abs();
                    assert!(off <= 1e-5 * whole.max(1e-2), "{name}: {whole} {part}");
                }
                for (whole, part) in conv1.iter().zip(&other_conv1) {
                    assert!((whole - part).abs() < 1e-5, "{whole} {part}");
                }
            }
        }
    }
}

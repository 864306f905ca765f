//! Image-text pairs to recall: is a pair's text the nearest to its image among all texts, and the other way round?
//!
//! An image is its pooled latent. A text is the language model's state at the BOI of `BOS text BOI`: what the
//! contrastive loss trains to tell which image comes next. n pairs, E width.

use burn::tensor::{Device, Tensor};
use lcl_schemas::batch::Batch;
use lcl_schemas::vocabulary::Vocabulary;
use lcl_shard::Pair;
use serde::Serialize;

use crate::data::{DataError, Inputs, Plan, Targets, normalised};
use crate::model::Lcl;
use crate::model::lcl::normalise;
use crate::names::host;
use crate::ops::indices;

/// Pairs whose features are computed at one time.
const PAIRS_AT_ONCE: usize = 32;
/// How many of the nearest are looked at.
const DEPTHS: [usize; 3] = [1, 5, 10];

/// Share of the queries with a match among the nearest 1, 5 and 10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Recall {
    pub at_1: f64,
    pub at_5: f64,
    pub at_10: f64,
}

/// Retrieval over n pairs. Any pair with the same text is a match: duplicates cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Retrieval {
    pub pairs: usize,
    pub image_to_text: Recall,
    pub text_to_image: Recall,
    /// Expected of an order drawn at random.
    pub chance: Recall,
}

/// Measures `model`, which should be without autodiff.
pub fn retrieval(
    model: &Lcl,
    pairs: &[Pair],
    vocabulary: &Vocabulary,
) -> Result<Retrieval, DataError> {
    let device = model.logit_scale.val().device();
    let groups = groups(pairs);
    if pairs.is_empty() {
        let none = Recall::default();
        return Ok(Retrieval {
            pairs: 0,
            image_to_text: none,
            text_to_image: none,
            chance: none,
        });
    }
    let (mut images, mut texts) = (Vec::new(), Vec::new());
    for pairs in pairs.chunks(PAIRS_AT_ONCE) {
        images.push(image_features(model, pairs, &device)?);
        texts.push(text_features(model, pairs, vocabulary, &device)?);
    }
    let scores = Tensor::cat(images, 0).matmul(Tensor::cat(texts, 0).transpose());
    let image_to_text = host(scores.clone());
    let text_to_image = host(scores.transpose());
    Ok(Retrieval {
        pairs: pairs.len(),
        image_to_text: recall(&image_to_text, &groups),
        text_to_image: recall(&text_to_image, &groups),
        chance: chance(&groups),
    })
}

/// `[n, E]`.
fn image_features(model: &Lcl, pairs: &[Pair], device: &Device) -> Result<Tensor<2>, DataError> {
    let edge = model.shape.edge;
    let expected = edge * edge * 3;
    if let Some(pair) = pairs.iter().find(|pair| pair.pixels.len() != expected) {
        return Err(DataError::Size {
            what: "bytes of an image",
            found: pair.pixels.len(),
            expected,
        });
    }
    let pixels: Vec<u8> = pairs
        .iter()
        .flat_map(|pair| pair.pixels.iter().copied())
        .collect();
    let pixels = normalised(&pixels, edge, device).expect("a chunk has at least one pair");
    Ok(normalise(model.encode_images(pixels).pooled))
}

/// `[n, E]`.
fn text_features(
    model: &Lcl,
    pairs: &[Pair],
    vocabulary: &Vocabulary,
    device: &Device,
) -> Result<Tensor<2>, DataError> {
    let most = model.shape.context - 2;
    let texts: Vec<&[u32]> = pairs
        .iter()
        .map(|pair| &pair.tokens[..pair.tokens.len().min(most)])
        .collect();
    let context = texts.iter().map(|text| text.len()).max().unwrap_or(0) + 2;
    let mut batch = Batch::padding(texts.len(), context, model.shape.edge, model.shape.slots());
    let mut bois = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let ids = [vocabulary.bos]
            .into_iter()
            .chain(text.iter().copied())
            .chain([vocabulary.boi]);
        for (position, id) in ids.enumerate() {
            let place = row * context + position;
            batch.tokens[place] = id;
            batch.segments[place] = 1;
            batch.positions[place] = position as u32;
        }
        bois.push((row * context + text.len() + 1) as i64);
    }
    let plan = Plan::of(&batch, vocabulary, &model.shape, Targets::Segments)?;
    let inputs = Inputs::new(&batch, plan, None, device);
    let hidden = model.read(&inputs.sequence, None);
    Ok(model.text_features(&hidden, indices(&bois, device)))
}

/// For each pair the first one with the same text.
fn groups(pairs: &[Pair]) -> Vec<usize> {
    let mut first = std::collections::HashMap::new();
    pairs
        .iter()
        .enumerate()
        .map(|(index, pair)| *first.entry(&pair.text).or_insert(index))
        .collect()
}

/// `scores` `[n, n]`: queries down, candidates across.
fn recall(scores: &[f32], groups: &[usize]) -> Recall {
    let ranks: Vec<usize> = scores
        .chunks(groups.len())
        .enumerate()
        .map(|(query, scores)| rank(scores, groups, query))
        .collect();
    let share = |depth: usize| {
        ranks.iter().filter(|rank| **rank < depth).count() as f64 / groups.len() as f64
    };
    let [at_1, at_5, at_10] = DEPTHS.map(share);
    Recall { at_1, at_5, at_10 }
}

/// Candidates at least as near as the nearest match: ties count against the model, which may answer all the same.
fn rank(scores: &[f32], groups: &[usize], query: usize) -> usize {
    let matches = |candidate: usize| groups[candidate] == groups[query];
    let best = (0..scores.len())
        .filter(|candidate| matches(*candidate))
        .map(|candidate| scores[candidate])
        .fold(f32::NEG_INFINITY, f32::max);
    // A model that gives no numbers finds nothing: NaN is neither nearer nor farther.
    if !best.is_finite() {
        return scores.len();
    }
    (0..scores.len())
        .filter(|candidate| !matches(*candidate) && scores[*candidate] >= best)
        .count()
}

/// Recall of a random order: one minus the chance that none of a query's matches is among the nearest.
fn chance(groups: &[usize]) -> Recall {
    let n = groups.len();
    let mut sizes = vec![0_usize; n];
    for group in groups {
        sizes[*group] += 1;
    }
    let miss = |matches: usize, depth: usize| -> f64 {
        (0..depth.min(n))
            .map(|taken| (n - taken).saturating_sub(matches) as f64 / (n - taken) as f64)
            .product()
    };
    let expected = |depth: usize| {
        groups
            .iter()
            .map(|group| 1.0 - miss(sizes[*group], depth))
            .sum::<f64>()
            / n as f64
    };
    let [at_1, at_5, at_10] = DEPTHS.map(expected);
    Recall { at_1, at_5, at_10 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::fixed_model;
    use crate::model::shape::Preset;

    #[test]
    fn a_model_that_gives_no_numbers_finds_nothing() {
        assert_eq!(rank(&[f32::NAN, f32::NAN], &[0, 1], 0), 2);
    }

    #[test]
    fn any_pair_with_the_same_text_is_a_match() {
        let groups = [0, 0, 2];
        // The second pair's image is nearest to the first text, which reads the same.
        let scores = [0.9, 0.1, 0.2, 0.8, 0.1, 0.3, 0.5, 0.1, 0.4];
        let recall = recall(&scores, &groups);
        assert!((recall.at_1 - 2.0 / 3.0).abs() < 1e-12);
        assert!((recall.at_5 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_earn_nothing() {
        assert_eq!(recall(&[1.0; 400], &(0..20).collect::<Vec<_>>()).at_10, 0.0);
    }

    #[test]
    fn chance_is_depth_over_pairs_without_duplicates() {
        let chance = chance(&(0..50).collect::<Vec<_>>());
        assert!((chance.at_1 - 0.02).abs() < 1e-12);
        assert!((chance.at_10 - 0.2).abs() < 1e-12);
    }

    #[test]
    fn features_do_not_depend_on_the_neighbours_in_their_batch() {
        let device = Device::flex();
        let model = fixed_model(&Preset::ParityTiny.shape(), 100, &device);
        let vocabulary = Vocabulary::after(95);
        let pair = |tokens: &[u32]| Pair {
            document: String::new(),
            place: 0,
            pixels: vec![0; 32 * 32 * 3],
            text: format!("{tokens:?}"),
            tokens: tokens.to_vec(),
        };
        let pairs = [pair(&[3, 4]), pair(&[9, 8, 7, 6, 5])];
        let together = text_features(&model, &pairs, &vocabulary, &device).expect("valid");
        let alone = text_features(&model, &pairs[..1], &vocabulary, &device).expect("valid");
        let width = alone.dims()[1];
        for (a, b) in host(together)[..width].iter().zip(host(alone)) {
            assert!((a - b).abs() < 1e-6);
        }
    }
}

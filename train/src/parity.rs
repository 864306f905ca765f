//! Losses and gradients of a named model with weights, images and rules that any implementation can repeat.
//!
//! Weights are `init::fixed`, images `2·u("image")`, rows given as ids and padded with id 0 as the published code
//! pads them: every row one segment, an image left out of the contrastive loss only where its BOI is the first id.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use lcl_schemas::batch::Batch;
use lcl_schemas::vocabulary::Vocabulary;
use serde::Serialize;
use thiserror::Error;

use crate::data::{DataError, Inputs, Plan, Targets};
use crate::init::{fixed_model, fixed_units};
use crate::loss::{Counts, LossConfig, losses};
use crate::model::ModelShape;
use crate::model::shape::Preset;
use crate::optim::{global_norm, gradient_norms};

/// Rows that cannot be compared with.
#[derive(Debug, Error)]
pub enum ParityError {
    #[error("{path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is not a JSON list of lists of ids: {source}", path = path.display())]
    Format {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("rows hold no id")]
    Empty,
    #[error("the rows have neither an id to predict nor an image to compare: there is no loss")]
    NoLoss,
    #[error(transparent)]
    Data(#[from] DataError),
}

/// What is compared. Losses are unweighted but for `total`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    pub contrastive: f32,
    pub generation: f32,
    pub total: f32,
    /// Targets of the generation loss.
    pub labels: usize,
    pub grad_norm_total: f64,
    pub grad_norms: BTreeMap<String, f64>,
}

/// Reads `[[id, …], …]`.
pub fn read_rows(path: &Path) -> Result<Vec<Vec<u32>>, ParityError> {
    let bytes = std::fs::read(path).map_err(|source| ParityError::File {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| ParityError::Format {
        path: path.to_owned(),
        source,
    })
}

/// Forward and backward of `preset` over `rows`; `device` is without autodiff.
pub fn parity(preset: Preset, rows: &[Vec<u32>], device: &Device) -> Result<Parity, ParityError> {
    let (shape, vocabulary) = (preset.shape(), vocabulary(preset));
    let device = device.clone().autodiff();
    let model = fixed_model(&shape, vocabulary.size as usize, &device);
    let inputs = inputs(rows, &vocabulary, &shape, &device)?;
    let counts = Counts::of(&inputs.plan);
    if counts == Counts::default() {
        return Err(ParityError::NoLoss);
    }

    let weights = LossConfig::default();
    let losses = losses(&model, &inputs, &weights, counts);
    let gradients = GradientsParams::from_grads(losses.total.backward(), &model);
    let norms = gradient_norms(&model, &gradients);
    Ok(Parity {
        contrastive: losses.contrastive.into_scalar(),
        generation: losses.generation.into_scalar(),
        total: losses.total.into_scalar(),
        labels: inputs.plan.targets.len(),
        grad_norm_total: global_norm(&norms),
        grad_norms: norms.into_iter().collect(),
    })
}

/// The ids that go with a named model.
pub fn vocabulary(preset: Preset) -> Vocabulary {
    match preset {
        // The same order of the five as behind CLIP's merges.
        Preset::ParityTiny => Vocabulary::after(95),
        _ => Vocabulary::CLIP,
    }
}

/// Rows, and as many images as they have BOIs, on `device`.
pub(crate) fn inputs(
    rows: &[Vec<u32>],
    vocabulary: &Vocabulary,
    shape: &ModelShape,
    device: &Device,
) -> Result<Inputs, ParityError> {
    let longest = rows
        .iter()
        .map(Vec::len)
        .max()
        .filter(|longest| *longest > 0);
    let batch = published_batch(rows, longest.ok_or(ParityError::Empty)?, vocabulary, shape);
    let plan = Plan::of(&batch, vocabulary, shape, Targets::Published)?;
    let pixels = images(batch.images(), shape.edge, device);
    Ok(Inputs::new(&batch, plan, pixels, device))
}

/// Rows padded with id 0 to `context` ids, without pixels.
pub(crate) fn published_batch(
    rows: &[Vec<u32>],
    context: usize,
    vocabulary: &Vocabulary,
    shape: &ModelShape,
) -> Batch {
    let mut tokens = Vec::with_capacity(rows.len() * context);
    for row in rows {
        tokens.extend(row);
        tokens.resize(tokens.len() + context - row.len(), 0);
    }
    let bois = (0..tokens.len()).filter(|place| tokens[*place] == vocabulary.boi);
    let (first_slots, has_context) = bois.map(|boi| (boi as u32 + 1, boi % context != 0)).unzip();
    let places = 0..tokens.len();
    Batch {
        segments: vec![1; tokens.len()],
        positions: places.map(|place| (place % context) as u32).collect(),
        tokens,
        first_slots,
        has_context,
        ..Batch::padding(rows.len(), context, shape.edge, shape.slots())
    }
}

/// `[N, 3, S, S]`, already "normalised"; none without images.
pub(crate) fn images(count: usize, edge: usize, device: &Device) -> Option<Tensor<4>> {
    let shape = [count, 3, edge, edge];
    let units = fixed_units("image", shape.iter().product());
    let values: Vec<f32> = units.map(|unit| (2.0 * unit) as f32).collect();
    (count > 0).then(|| Tensor::from_data(TensorData::new(values, shape), device))
}

#[cfg(test)]
mod tests;

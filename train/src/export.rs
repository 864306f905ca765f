//! A trained model to one safetensors file that needs nothing else, and such a file to features.
//!
//! Tensors keep the PyTorch release's names. The metadata entry `lcl` is a JSON [`Card`]: sizes and how pixels are
//! normalised. `format` is `pt`, which readers in Python insist on; they need no transpose.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{MEAN, STD, normalised};
use crate::model::lcl::Encoder;
use crate::model::{Lcl, ModelShape};
use crate::names::host;
use crate::weights::{self, WeightsError};

/// Key of the metadata entry.
const CARD: &str = "lcl";
/// Images encoded at one time.
const IMAGES_AT_ONCE: usize = 32;

/// An export that cannot be made or used.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{path} has no usable `{CARD}` entry: {detail}; was it written by lcl-train export?", path = path.display())]
    Card { path: PathBuf, detail: String },
}

/// How much is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// `visual.*` and `pool_project.*`: pixels to features.
    Encoder,
    /// Everything, language model and heads included.
    Model,
}

/// What a reader must know besides the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    #[serde(flatten)]
    pub shape: ModelShape,
    /// Per channel, of pixels in [0, 1].
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Writes `model`, whole or in part, to `path`.
pub fn export(model: &Lcl, extent: Extent, path: &Path) -> Result<(), ExportError> {
    let card = Card {
        shape: model.shape,
        mean: MEAN,
        std: STD,
    };
    let card = serde_json::to_string(&card).expect("numbers are always JSON");
    let metadata = &[("format", "pt"), (CARD, card.as_str())];
    match extent {
        Extent::Encoder => weights::save(&model.encoder(), metadata, path)?,
        Extent::Model => weights::save(model, metadata, path)?,
    }
    Ok(())
}

/// Reads an encoder from either kind of export.
pub fn load(path: &Path, device: &Device) -> Result<(Encoder, Card), ExportError> {
    let unusable = |detail: String| ExportError::Card {
        path: path.to_owned(),
        detail,
    };
    let card =
        weights::metadata(path, CARD)?.ok_or_else(|| unusable("it is missing".to_owned()))?;
    let card: Card = serde_json::from_str(&card).map_err(|error| unusable(error.to_string()))?;
    let encoder = weights::load(Encoder::blank(&card.shape, device), path)?;
    Ok((encoder, card))
}

/// Normalised features of `[N, S, S, 3]` bytes, a row of E numbers for each image.
pub fn features(encoder: &Encoder, edge: usize, pixels: &[u8], device: &Device) -> Vec<Vec<f32>> {
    let image = edge * edge * 3;
    pixels
        .chunks(IMAGES_AT_ONCE * image)
        .filter_map(|chunk| normalised(chunk, edge, device))
        .flat_map(|pixels| {
            let features = encoder.features(pixels);
            let width = features.dims()[1];
            host(features)
                .chunks(width)
                .map(<[f32]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::fixed_model;
    use crate::model::shape::Preset;
    use crate::names;

    #[test]
    fn an_exported_encoder_agrees_with_the_model() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("encoder.safetensors");
        let (shape, device) = (Preset::ParityTiny.shape(), Device::flex());
        let model = fixed_model(&shape, 100, &device);
        export(&model, Extent::Encoder, &path).expect("exported");

        let (encoder, card) = load(&path, &device).expect("read");
        assert_eq!(card.shape, shape);
        let pixels: Vec<u8> = (0..2 * 32 * 32 * 3).map(|i| (i * 31 % 251) as u8).collect();
        let ours = features(&model.encoder(), 32, &pixels, &device);
        assert_eq!(features(&encoder, 32, &pixels, &device), ours);
        assert_eq!(ours.len(), 2);
    }

    #[test]
    fn an_encoder_carries_no_language_model() {
        let encoder = Encoder::blank(&Preset::B32Mmc4.shape(), &Device::flex());
        let names: Vec<String> = names::shapes(&encoder)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("visual.") || name.starts_with("pool_project."))
        );
        assert_eq!(names.len(), 7 + 12 * 12 + 14);
    }
}

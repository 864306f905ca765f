//! What a checkpoint has learned, beside the same model before it learned anything.

pub mod retrieval;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use lcl_schemas::dataset::{HEADER_FILE, Header, HeaderError};
use lcl_shard::{PairsOf, Part, StreamError, pairs};
use serde::Serialize;
use thiserror::Error;

use self::retrieval::{Retrieval, retrieval};
use crate::checkpoint::{self, CheckpointError};
use crate::config::Config;
use crate::data::DataError;
use crate::init::training_model;
use crate::model::Lcl;

/// An evaluation that cannot be made.
#[derive(Debug, Error)]
pub enum EvalError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("{path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {source}", path = path.display())]
    Header { path: PathBuf, source: HeaderError },
    #[error(
        "{} was made with the tokenizer {}, the checkpoint with {}: evaluate on a dataset with the checkpoint's", .dataset.display(), .theirs.tokenizer, .ours.tokenizer
    )]
    Tokenizer {
        dataset: PathBuf,
        ours: Box<Header>,
        theirs: Box<Header>,
    },
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("{} has no pair of an image and a text in this part", .0.display())]
    NoPairs(PathBuf),
    #[error(transparent)]
    Data(#[from] DataError),
}

/// The same measure of two models.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub trained: Retrieval,
    /// The weights that the run began with.
    pub untrained: Retrieval,
}

/// A checkpoint as it is used: no autodiff, ids that mean what its header says.
pub struct Loaded {
    pub model: Lcl,
    pub header: Header,
    pub config: Config,
}

/// Reads a checkpoint, or the latest in a run's folder.
pub fn load(checkpoint: &Path, device: &Device) -> Result<Loaded, EvalError> {
    let folder = checkpoint::find(checkpoint)?;
    let config = checkpoint::config(&folder)?;
    let header = header(&folder)?;
    let blank = Lcl::blank(
        &config.model.shape(),
        header.vocabulary.size as usize,
        device,
    );
    Ok(Loaded {
        model: checkpoint::model(&folder, blank)?,
        header,
        config,
    })
}

/// Retrieval on at most `limit` pairs of a dataset's `part`.
pub fn compare(
    loaded: &Loaded,
    dataset: &Path,
    part: Part,
    limit: Option<usize>,
) -> Result<Comparison, EvalError> {
    let Loaded {
        model,
        header: ours,
        config,
    } = loaded;
    let theirs = header(dataset)?;
    if theirs.tokenizer != ours.tokenizer || theirs.vocabulary != ours.vocabulary {
        return Err(EvalError::Tokenizer {
            dataset: dataset.to_owned(),
            ours: Box::new(ours.clone()),
            theirs: Box::new(theirs),
        });
    }
    let of = PairsOf {
        part,
        holdout: config.data.holdout,
        edge: model.shape.edge,
        limit,
    };
    let pairs = pairs(dataset, of)?;
    if pairs.is_empty() {
        return Err(EvalError::NoPairs(dataset.to_owned()));
    }
    let device = model.logit_scale.val().device();
    let size = ours.vocabulary.size as usize;
    let untrained = training_model(&model.shape, size, config.seed, &device);
    Ok(Comparison {
        trained: retrieval(model, &pairs, &ours.vocabulary)?,
        untrained: retrieval(&untrained, &pairs, &ours.vocabulary)?,
    })
}

fn header(folder: &Path) -> Result<Header, EvalError> {
    let path = folder.join(HEADER_FILE);
    let json = fs::read(&path).map_err(|source| EvalError::File {
        path: path.clone(),
        source,
    })?;
    Header::from_json(&json).map_err(|source| EvalError::Header { path, source })
}

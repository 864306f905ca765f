//! A run's state to a folder and back, whole or not at all.
//!
//! ```text
//! RUN/step-00000123/
//!   weights.safetensors   all tensors, float32, the PyTorch release's names
//!   optimizer.bpk         AdamW's moments, Burn's own format
//!   position.json         steps done, and where the stream stands after them
//!   config.toml           the resolved configuration
//!   _dataset.json, _tokenizer.json   what the ids mean, as in the dataset
//! ```
//! Written into a scratch sibling, synced, then renamed: a folder with this name is complete. Price: the whole
//! state is written every time, twelve bytes a parameter.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use burn::store::RecordError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::Config;
use crate::model::Lcl;
use crate::optim::Optimizer;
use crate::step::Trainer;
use crate::weights::{self, WeightsError};

pub const WEIGHTS_FILE: &str = "weights.safetensors";
const OPTIMIZER_FILE: &str = "optimizer.bpk";
const POSITION_FILE: &str = "position.json";
pub const CONFIG_FILE: &str = "config.toml";
const PREFIX: &str = "step-";

/// A checkpoint that cannot be written or used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is not what a checkpoint holds: {detail}", path = path.display())]
    Content { path: PathBuf, detail: String },
    #[error("no checkpoint in {}: name a folder {PREFIX}…, or one that holds some", .0.display())]
    None(PathBuf),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{path}: {source}", path = path.display())]
    Optimizer { path: PathBuf, source: RecordError },
}

/// Files that travel with the weights so that they can be used alone: (name, content).
pub type Companions = Vec<(&'static str, Vec<u8>)>;

/// How far a run is. `P` is the stream's position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress<P> {
    /// Optimiser steps done.
    pub step: u64,
    pub stream: P,
}

/// Writes `run/step-…` and returns its path.
pub fn save<P: Serialize>(
    run: &Path,
    progress: &Progress<P>,
    trainer: &Trainer,
    companions: &Companions,
) -> Result<PathBuf, CheckpointError> {
    let folder = run.join(format!("{PREFIX}{:08}", progress.step));
    let scratch = run.join(format!(".{PREFIX}{:08}", progress.step));
    if scratch.exists() {
        // Left by a run that was killed here.
        fs::remove_dir_all(&scratch).map_err(at(&scratch))?;
    }
    fs::create_dir_all(&scratch).map_err(at(&scratch))?;

    weights::save(&trainer.model, &[], &scratch.join(WEIGHTS_FILE))?;
    let path = scratch.join(OPTIMIZER_FILE);
    trainer
        .optimizer
        .save(&path)
        .map_err(|source| CheckpointError::Optimizer { path, source })?;
    let position = serde_json::to_vec_pretty(progress)
        .map_err(|error| content(&scratch.join(POSITION_FILE), &error))?;
    fs::write(scratch.join(POSITION_FILE), position).map_err(at(&scratch))?;
    for (name, bytes) in companions {
        fs::write(scratch.join(name), bytes).map_err(at(&scratch))?;
    }

    sync_folder(&scratch)?;
    fs::rename(&scratch, &folder).map_err(at(&folder))?;
    File::open(run)
        .and_then(|run| run.sync_all())
        .map_err(at(run))?;
    Ok(folder)
}

/// Makes every file of `folder`, and the folder's list of them, durable.
fn sync_folder(folder: &Path) -> Result<(), CheckpointError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(at(&path))?;
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

/// Removes all but the latest `keep`.
pub fn prune(run: &Path, keep: usize) -> Result<(), CheckpointError> {
    for step in stale(list(run)?, keep) {
        let folder = run.join(format!("{PREFIX}{step:08}"));
        fs::remove_dir_all(&folder).map_err(at(&folder))?;
    }
    Ok(())
}

/// Steps whose checkpoint is no longer kept.
fn stale(mut steps: Vec<u64>, keep: usize) -> Vec<u64> {
    steps.sort_unstable();
    steps.truncate(steps.len().saturating_sub(keep));
    steps
}

/// Steps of which `run` holds a checkpoint, in no order.
fn list(run: &Path) -> Result<Vec<u64>, CheckpointError> {
    let mut steps = Vec::new();
    for entry in fs::read_dir(run).map_err(at(run))? {
        let entry = entry.map_err(at(run))?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let step = digits.and_then(|digits| digits.parse::<u64>().ok());
        // Only what was made here: other folders with such names are somebody else's.
        let ours = step.is_some_and(|step| digits == Some(&format!("{step:08}")));
        if ours && entry.path().join(WEIGHTS_FILE).is_file() {
            steps.extend(step);
        }
    }
    Ok(steps)
}

/// `path` itself if it is a checkpoint, else the latest in it.
pub fn find(path: &Path) -> Result<PathBuf, CheckpointError> {
    if path.join(WEIGHTS_FILE).is_file() {
        return Ok(path.to_owned());
    }
    let latest = list(path)?.into_iter().max();
    latest
        .map(|step| path.join(format!("{PREFIX}{step:08}")))
        .ok_or_else(|| CheckpointError::None(path.to_owned()))
}

/// The configuration that a checkpoint was made with.
pub fn config(folder: &Path) -> Result<Config, CheckpointError> {
    let path = folder.join(CONFIG_FILE);
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    toml::from_str(&text).map_err(|error| content(&path, &error))
}

/// Steps done and the stream's position.
pub fn progress<P: DeserializeOwned>(folder: &Path) -> Result<Progress<P>, CheckpointError> {
    let path = folder.join(POSITION_FILE);
    let bytes = fs::read(&path).map_err(at(&path))?;
    serde_json::from_slice(&bytes).map_err(|error| content(&path, &error))
}

/// A model with a checkpoint's weights; `blank` decides device and shapes.
pub fn model(folder: &Path, blank: Lcl) -> Result<Lcl, CheckpointError> {
    Ok(weights::load(blank, &folder.join(WEIGHTS_FILE))?)
}

/// The optimiser's moments, into a trainer of the same model.
pub fn restore_optimizer(folder: &Path, trainer: &mut Trainer) -> Result<(), CheckpointError> {
    let path = folder.join(OPTIMIZER_FILE);
    let fresh = Optimizer::new(&trainer.config, &trainer.model);
    trainer.optimizer = fresh
        .load(&path)
        .map_err(|source| CheckpointError::Optimizer { path, source })?;
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError + use<> {
    let path = path.to_owned();
    move |source| CheckpointError::File { path, source }
}

fn content(path: &Path, error: &dyn std::error::Error) -> CheckpointError {
    CheckpointError::Content {
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_checkpoints_are_kept() {
        assert_eq!(stale(vec![300, 100, 200], 2), vec![100]);
        assert_eq!(stale(vec![100], 2), Vec::<u64>::new());
    }

    #[test]
    fn an_unfinished_checkpoint_is_not_found() {
        let run = tempfile::tempdir().expect("a temporary folder");
        for name in [".step-00000007", "step-00000099", "step-7", "step-x"] {
            fs::create_dir(run.path().join(name)).expect("made");
        }
        assert!(matches!(find(run.path()), Err(CheckpointError::None(_))));
        prune(run.path(), 1).expect("nothing of ours");
        assert!(run.path().join("step-7").exists());
    }
}

//! A configuration to a trained model: the loop.
//!
//! ```text
//! OUT/ config.toml      the resolved configuration
//!      metrics.jsonl    a line for each step
//!      step-…/          checkpoints
//! ```

mod log;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use lcl_schemas::batch::Batch;
use lcl_schemas::dataset::{HEADER_FILE, Header, TOKENIZER_FILE};
use lcl_shard::{Delivered, Position, Weigh};
use serde::Serialize;
use thiserror::Error;

use crate::ahead::{Ahead, Preparation};
use crate::checkpoint::{self, CONFIG_FILE, CheckpointError, Companions, Progress};
use crate::config::{Config, ConfigError};
use crate::device::DeviceError;
use crate::feed::{Feed, FeedError};
use crate::init::training_model;
use crate::model::Lcl;
use crate::report::Report;
use crate::step::{StepError, Trainer};
use log::{Log, Told};

/// Locked by the process that trains.
const LOCK_FILE: &str = ".lock";

/// Why a run ended early. What was saved before stays.
#[derive(Debug, Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("{} holds a run already: choose another `out`, or go on with --resume", .0.display())]
    Occupied(PathBuf),
    #[error("another process trains in {}: wait for it, or choose another `out`", .0.display())]
    Busy(PathBuf),
    #[error("{checkpoint} is not the latest of the run in {out}: resume from the latest, or choose another `out`", checkpoint = checkpoint.display(), out = out.display())]
    Superseded { checkpoint: PathBuf, out: PathBuf },
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("the dataset has nothing to train on after step {step}")]
    Exhausted { step: u64 },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("step {step}: {source}; {}", saved(.last))]
    Step {
        step: u64,
        source: StepError,
        last: Option<PathBuf>,
    },
}

fn saved(last: &Option<PathBuf>) -> String {
    match last {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".to_owned(),
    }
}

/// What a source of batches gives; `P` says where it stands after this one.
pub struct Delivery<P, B = Batch> {
    pub batch: B,
    pub position: P,
    pub epoch: u64,
    /// Images of this batch that did not decode, each with its place.
    pub lost: Vec<String>,
    /// Share that each of several datasets has had so far; nothing for one.
    pub shares: Vec<f64>,
}

impl<P, B> Delivery<P, B> {
    /// The same with something else for the batch.
    pub(crate) fn map<C>(self, batch: impl FnOnce(B) -> C) -> Delivery<P, C> {
        Delivery {
            batch: batch(self.batch),
            position: self.position,
            epoch: self.epoch,
            lost: self.lost,
            shares: self.shares,
        }
    }
}

/// Trains as `config` says, from the beginning or from a checkpoint (or the latest in a run's folder).
pub fn run(config: &Config, resume: Option<&Path>) -> Result<Report, RunError> {
    config.validate()?;
    let device = config.device.open()?.autodiff();
    let from = resume.map(checkpoint::find).transpose()?;
    let progress = from
        .as_deref()
        .map(checkpoint::progress::<Position>)
        .transpose()?;
    let (step, position) = progress.map(|done| (done.step, done.stream)).unzip();
    let step = step.unwrap_or(0);
    // Held until the run ends: two of them would write over each other.
    let _lock = claim(&config.out, from.as_deref())?;

    let feed = Feed::open(config, position)?;
    let header = feed.header().clone();
    let trainer = trainer(config, &header, from.as_deref(), &device)?;
    let companions = companions(config, &header, feed.tokenizer(config)?);
    let weigh = config.data.weigh;
    let deliveries = feed.map(move |delivered| Ok(delivery(weigh, delivered?)));
    train(config, trainer, deliveries, step, from, &companions)
}

fn delivery(weigh: Weigh, delivered: Delivered) -> Delivery<Position> {
    let units = delivered
        .given
        .iter()
        .map(|given| given.units(weigh) as f64);
    let all: f64 = units.clone().sum();
    let shares = match delivered.given.len() {
        1 => Vec::new(),
        _ => units.map(|units| units / all.max(1.0)).collect(),
    };
    Delivery {
        batch: delivered.batch,
        position: delivered.position,
        epoch: delivered.epoch,
        lost: delivered.lost,
        shares,
    }
}

/// Refuses a folder that holds another run, or a later state of this one.
fn claim(out: &Path, from: Option<&Path>) -> Result<fs::File, RunError> {
    fs::create_dir_all(out).map_err(at(out))?;
    let path = out.join(LOCK_FILE);
    let lock = fs::File::create(&path).map_err(at(&path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(RunError::Busy(out.to_owned())),
        Err(fs::TryLockError::Error(error)) => return Err(at(&path)(error)),
    }
    match (checkpoint::find(out), from) {
        (Ok(latest), Some(from)) if same(&latest, from) => Ok(lock),
        (Ok(_), Some(from)) => Err(RunError::Superseded {
            checkpoint: from.to_owned(),
            out: out.to_owned(),
        }),
        // Without a checkpoint there is nothing to lose: a run that was killed early begins again.
        (Err(_), _) => Ok(lock),
        (Ok(_), None) => Err(RunError::Occupied(out.to_owned())),
    }
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// New weights, or those of the checkpoint `from` with the optimiser's moments.
fn trainer(
    config: &Config,
    header: &Header,
    from: Option<&Path>,
    device: &Device,
) -> Result<Trainer, RunError> {
    let (shape, size) = (config.model.shape(), header.vocabulary.size as usize);
    let mut model = match from {
        Some(folder) => checkpoint::model(folder, Lcl::blank(&shape, size, device))?,
        None => training_model(&shape, size, config.seed, device),
    };
    model.compute = config.compute();
    let mut trainer = Trainer::new(
        model,
        header.vocabulary,
        config.loss,
        config.optimizer.clone(),
    );
    if let Some(folder) = from {
        checkpoint::restore_optimizer(folder, &mut trainer)?;
    }
    Ok(trainer)
}

/// What makes a checkpoint usable without its run and dataset.
fn companions(config: &Config, header: &Header, tokenizer: Option<Vec<u8>>) -> Companions {
    let files = [
        (CONFIG_FILE, config_text(config).into_bytes()),
        (HEADER_FILE, header.to_json()),
    ];
    let tokenizer = tokenizer.map(|json| (TOKENIZER_FILE, json));
    files.into_iter().chain(tokenizer).collect()
}

fn config_text(config: &Config) -> String {
    toml::to_string(&config.resolved())
        .expect("a configuration read from TOML can be written as TOML")
}

/// The loop, from whatever gives batches. `step` are done; `last` is the checkpoint they ended in.
///
/// # Errors
/// Of the first step that failed, though a later one may have been told to the device by then.
pub fn train<P: Serialize + Send + 'static>(
    config: &Config,
    mut trainer: Trainer,
    batches: impl Iterator<Item = Result<Delivery<P>, RunError>> + Send + 'static,
    mut step: u64,
    mut last: Option<PathBuf>,
    companions: &Companions,
) -> Result<Report, RunError> {
    let out = &config.out;
    fs::write(out.join(CONFIG_FILE), config_text(config)).map_err(at(out))?;
    let mut log = Log::open(out, step, config.steps)?;
    let left = config.steps.saturating_sub(step) as usize;
    let preparation = Preparation {
        vocabulary: trainer.vocabulary,
        shape: trainer.model.shape,
        device: trainer.device().clone(),
        parts: config.accumulate,
    };
    let mut batches = Ahead::start(batches.take(left), preparation);
    let mut go_on = || -> Result<(), RunError> {
        while step < config.steps {
            let (next, waited) = batches.next(log.outstanding());
            let ready = next.unwrap_or(Err(RunError::Exhausted { step }))?;
            let failed = |source| RunError::Step {
                step: step + 1,
                source,
                last: last.clone(),
            };
            let lr = config.optimizer.lr_at(step, config.steps);
            let batch = ready.batch.map_err(failed)?;
            let pending = trainer.step(&batch, lr).map_err(failed)?;
            step += 1;
            let told = Told {
                step,
                pending,
                epoch: ready.epoch,
                waited,
                lost: ready.lost,
                shares: ready.shares,
            };
            log.add(told, last.as_deref())?;

            if step.is_multiple_of(config.checkpoint_every) || step == config.steps {
                log.settle(last.as_deref())?;
                let stream = ready.position;
                let progress = Progress { step, stream };
                last = Some(checkpoint::save(out, &progress, &trainer, companions)?);
                checkpoint::prune(out, config.keep_checkpoints)?;
                log.resume();
            }
        }
        Ok(())
    };
    let ended = go_on();
    // Its own failure came first.
    log.settle(last.as_deref())?;
    ended.map(|()| log.report(step, last))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RunError + use<> {
    let path = path.to_owned();
    move |source| RunError::File { path, source }
}

#[cfg(test)]
mod tests;

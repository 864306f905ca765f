//! What is said of steps: a line in the metrics and the progress for each that is done.
//!
//! A device that computes while the host goes on has the next step to do before the one before is read, so that reading
//! never lets it wait.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{RunError, at};
use crate::progress::Watch;
use crate::report::{Line, Metrics, Report};
use crate::step::Pending;

const METRICS_FILE: &str = "metrics.jsonl";

/// A step that the device was told to do, and what only the host knows of it.
pub(super) struct Told {
    pub(super) step: u64,
    pub(super) pending: Pending,
    pub(super) epoch: u64,
    /// Seconds that the device had nothing to do for want of its batch.
    pub(super) waited: f64,
    pub(super) lost: Vec<String>,
    pub(super) shares: Vec<f64>,
}

/// Of one process.
pub(super) struct Log {
    path: PathBuf,
    metrics: Metrics,
    watch: Watch,
    /// When the last step was known to be done.
    since: Instant,
    line: Option<Line>,
    outstanding: Option<Told>,
}

impl Log {
    /// Of a run in `out` that has done `step` of `steps`.
    pub(super) fn open(out: &Path, step: u64, steps: u64) -> Result<Self, RunError> {
        let path = out.join(METRICS_FILE);
        Ok(Self {
            metrics: Metrics::open(&path, step).map_err(at(&path))?,
            path,
            watch: Watch::new(step, steps),
            since: Instant::now(),
            line: None,
            outstanding: None,
        })
    }

    /// The step that is not read yet.
    pub(super) fn outstanding(&self) -> Option<&Pending> {
        self.outstanding.as_ref().map(|told| &told.pending)
    }

    /// Reads the step before, and this one if it is done already. `last` is the checkpoint that an error names.
    pub(super) fn add(&mut self, told: Told, last: Option<&Path>) -> Result<(), RunError> {
        let is_done = told.pending.is_done();
        let before = self.outstanding.replace(told);
        before.map_or(Ok(()), |before| self.read(before, last))?;
        match is_done {
            true => self.settle(last),
            false => Ok(()),
        }
    }

    /// Waits for the step that is not read yet.
    pub(super) fn settle(&mut self, last: Option<&Path>) -> Result<(), RunError> {
        let outstanding = self.outstanding.take();
        outstanding.map_or(Ok(()), |told| self.read(told, last))
    }

    fn read(&mut self, told: Told, last: Option<&Path>) -> Result<(), RunError> {
        let measured = told.pending.read().map_err(|source| RunError::Step {
            step: told.step,
            source,
            last: last.map(Path::to_owned),
        })?;
        for image in &told.lost {
            eprintln!("left out at step {}: {image}", told.step);
        }
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        let line = Line {
            lost_images: told.lost.len(),
            shares: told.shares,
            ..Line::new(told.step, told.epoch, &measured, seconds, told.waited)
        };
        self.metrics.add(&line).map_err(at(&self.path))?;
        self.watch.step(&line);
        self.line = Some(line);
        Ok(())
    }

    /// What was done since the last step, a checkpoint, belongs to none.
    pub(super) fn resume(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn report(self, steps: u64, checkpoint: Option<PathBuf>) -> Report {
        Report {
            steps,
            last: self.line,
            seconds: self.watch.seconds(),
            images_per_second: self.watch.images_per_second(),
            checkpoint: checkpoint.unwrap_or_default(),
        }
    }
}

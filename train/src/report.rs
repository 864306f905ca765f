//! What a run says of itself: a line of JSON for each step, a summary at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::step::Measured;

/// One line of `metrics.jsonl`. Losses are unweighted but for `total`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps done, this one included.
    pub step: u64,
    pub contrastive: f32,
    pub generation: f32,
    pub total: f32,
    pub pairs: usize,
    pub targets: usize,
    pub images: usize,
    pub tokens: usize,
    pub lr: f64,
    /// L2 norm of all gradients, before any clipping.
    pub grad_norm: f64,
    pub logit_scale: f32,
    /// From the end of the step before to the end of this one, checkpoints left out.
    pub seconds: f64,
    /// For how long of it the device had nothing to do because the batch was not there yet.
    pub data_wait_seconds: f64,
    pub epoch: u64,
    /// Images of the batch that did not decode and were left out.
    pub lost_images: usize,
    /// Share that each of several datasets has had so far, of what is weighed; nothing for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<f64>,
}

impl Line {
    pub fn new(step: u64, epoch: u64, measured: &Measured, seconds: f64, waited: f64) -> Self {
        Self {
            step,
            contrastive: measured.contrastive,
            generation: measured.generation,
            total: measured.total,
            pairs: measured.counts.pairs,
            targets: measured.counts.targets,
            images: measured.images,
            tokens: measured.tokens,
            lr: measured.lr,
            grad_norm: measured.grad_norm,
            logit_scale: measured.logit_scale,
            seconds,
            data_wait_seconds: waited,
            epoch,
            lost_images: 0,
            shares: Vec::new(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Steps done since the run began, in all its processes.
    pub steps: u64,
    /// The last step; none if there was nothing left to do.
    pub last: Option<Line>,
    /// Of this process.
    pub seconds: f64,
    pub images_per_second: f64,
    pub checkpoint: PathBuf,
}

/// `metrics.jsonl`, a line appended after every step so that a later failure loses none.
pub struct Metrics {
    file: File,
}

impl Metrics {
    /// Opens `path` and forgets the lines after `step`, which a resumed run does again.
    pub fn open(path: &Path, step: u64) -> io::Result<Self> {
        if path.exists() {
            let kept = kept(path, step)?;
            let scratch = path.with_extension("partial");
            let mut file = File::create(&scratch)?;
            file.write_all(kept.as_bytes())?;
            file.sync_all()?;
            fs::rename(&scratch, path)?;
        }
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
        })
    }

    pub fn add(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())
    }
}

/// Lines up to `step`. What a killed process left half-written belongs to a later step and goes too.
fn kept(path: &Path, step: u64) -> io::Result<String> {
    let mut kept = String::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        if serde_json::from_str::<Line>(&line).is_ok_and(|read| read.step <= step) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_forgets_the_steps_it_does_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let line = |step| Line {
            step,
            contrastive: 1.0,
            generation: 2.0,
            total: 2.1,
            pairs: 3,
            targets: 4,
            images: 5,
            tokens: 6,
            lr: 1e-4,
            grad_norm: 1.5,
            logit_scale: 2.66,
            seconds: 0.5,
            data_wait_seconds: 0.1,
            epoch: 0,
            lost_images: 0,
            shares: Vec::new(),
        };
        let mut metrics = Metrics::open(&path, 0).expect("opened");
        for step in 1..=3 {
            metrics.add(&line(step)).expect("written");
        }
        // A process killed in the middle of a line.
        metrics
            .file
            .write_all(b"{\"step\":4,\"con")
            .expect("written");

        let mut metrics = Metrics::open(&path, 2).expect("opened");
        metrics.add(&line(3)).expect("written");
        let text = fs::read_to_string(&path).expect("read");
        let steps: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<Line>(line).expect("whole").step)
            .collect();
        assert_eq!(steps, [1, 2, 3]);
    }
}

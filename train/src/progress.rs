//! How far a run is, for whoever watches: a bar on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::Line;

const TEMPLATE: &str = "{bar:24} {pos}/{len} {msg} · {eta} left";
/// Between two lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Shows the steps of one process.
pub(crate) struct Watch {
    steps: u64,
    first: u64,
    started: Instant,
    images: usize,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Watch {
    /// `done` of `steps` were done by earlier processes.
    pub(crate) fn new(done: u64, steps: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template is constant");
            let bar = ProgressBar::new(steps)
                .with_position(done)
                .with_style(style);
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Self {
            steps,
            first: done,
            started: now,
            images: 0,
            last_line: now,
            bar,
        }
    }

    pub(crate) fn step(&mut self, line: &Line) {
        self.images += line.images;
        let message = format!(
            "contrastive {:.3} · generation {:.3} · {:.1} images/s",
            line.contrastive,
            line.generation,
            self.images_per_second()
        );
        match &self.bar {
            Some(bar) => {
                bar.set_message(message);
                bar.set_position(line.step);
            }
            None if self.last_line.elapsed() >= QUIET || line.step == self.steps => {
                self.last_line = Instant::now();
                let left = self.remaining(line.step).as_secs();
                eprintln!(
                    "step {}/{} · {message} · {left} s left",
                    line.step, self.steps
                );
            }
            None => {}
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(crate) fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds().max(1e-9)
    }

    fn remaining(&self, step: u64) -> Duration {
        let done = step.saturating_sub(self.first).max(1);
        self.started
            .elapsed()
            .mul_f64(self.steps.saturating_sub(step) as f64 / done as f64)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

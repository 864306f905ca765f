//! How far reading has come: a bar on a terminal, a line now and then elsewhere. On stderr, so that answers stay clean.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines.
const LINES_EVERY: Duration = Duration::from_secs(10);

const BAR: &str = "{msg} {wide_bar} {human_pos} of {human_len} documents, {per_sec}, {eta} left";

/// Shown while it lives.
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    begun: Instant,
    said: Instant,
}

impl Progress {
    pub(super) fn start(what: &'static str) -> Self {
        let style = || ProgressStyle::with_template(BAR).expect("a constant");
        let bar = || ProgressBar::new(0).with_style(style()).with_message(what);
        Self {
            what,
            bar: stderr().is_terminal().then(bar),
            begun: Instant::now(),
            said: Instant::now(),
        }
    }

    pub(super) fn show(&mut self, read: u64, of: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(read);
        } else if self.said.elapsed() >= LINES_EVERY {
            self.said = Instant::now();
            let rate = read as f64 / self.begun.elapsed().as_secs_f64();
            let left = of.saturating_sub(read) as f64 / rate.max(1e-9);
            eprintln!(
                "{}: {read} of {of} documents, {rate:.0}/s, {left:.0} s left",
                self.what
            );
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

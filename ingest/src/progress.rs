//! What a run shows while it works: a live panel on a terminal, a plain line now and then elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use lcl_schemas::outcome::{Class, Outcome};

use crate::config::ProgressMode;

/// Between two lines.
const LINES_EVERY: Duration = Duration::from_secs(10);
/// Between two pictures of the panel.
const PANEL_EVERY: Duration = Duration::from_millis(250);

/// What was done so far; any thread adds.
#[derive(Default)]
pub(crate) struct Counts {
    documents: AtomicU64,
    bytes: AtomicU64,
    images: Mutex<BTreeMap<Outcome, u64>>,
    /// Of the inputs' files.
    pub(crate) read_bytes: AtomicU64,
    /// All of the inputs' files.
    pub(crate) total_bytes: AtomicU64,
}

impl Counts {
    pub(crate) fn add_document(&self) {
        self.documents.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_image(&self, outcome: &Outcome) {
        let mut images = self.images.lock().expect("no holder panics");
        *images.entry(outcome.clone()).or_default() += 1;
    }

    /// Bytes of stored images as fetched.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn line(&self, begun: Instant) -> String {
        let images = self.images.lock().expect("no holder panics").clone();
        let stored = images.get(&Outcome::Stored).copied().unwrap_or(0);
        let seconds = begun.elapsed().as_secs_f64();
        let documents = self.documents.load(Ordering::Relaxed);
        let rate = stored as f64 / seconds.max(1e-3);
        let mut line = format!("{documents} documents, {stored} images, {rate:.0} images/s");
        if let Some(left) = self.left(seconds) {
            line += &format!(", {} left", HumanDuration(left));
        }
        let mut failed: Vec<_> = images
            .iter()
            .filter(|(outcome, _)| !matches!(outcome.class(), Class::Stored | Class::Rule))
            .collect();
        failed.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (index, (outcome, count)) in failed.into_iter().take(5).enumerate() {
            line += if index == 0 { " | not had: " } else { ", " };
            line += &format!("{outcome} {count}");
        }
        line
    }

    /// By the share of the inputs' bytes that were read.
    fn left(&self, seconds: f64) -> Option<Duration> {
        let (read, total) = (
            self.read_bytes.load(Ordering::Relaxed),
            self.total_bytes.load(Ordering::Relaxed),
        );
        let share = read as f64 / total as f64;
        // Earlier, what fills the pipeline looks like speed.
        (seconds > 5.0 && share > 0.0 && share < 1.0)
            .then(|| Duration::from_secs_f64(seconds * (1.0 - share) / share))
    }
}

/// Shows `counts` until `stop` hangs up.
pub(crate) fn show(mode: ProgressMode, counts: &Counts, stop: &Receiver<()>) {
    let begun = Instant::now();
    let panel = match mode {
        ProgressMode::Off => return,
        ProgressMode::Auto if stderr().is_terminal() => Some(panel()),
        ProgressMode::Auto | ProgressMode::Lines => None,
    };
    let every = panel.as_ref().map_or(LINES_EVERY, |_| PANEL_EVERY);
    while stop.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        match &panel {
            Some(panel) => panel.set_message(counts.line(begun)),
            None => eprintln!("{}", counts.line(begun)),
        }
    }
    if let Some(panel) = panel {
        panel.finish_and_clear();
    }
}

fn panel() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}");
    let panel = ProgressBar::new_spinner().with_style(style.expect("a constant"));
    panel.enable_steady_tick(PANEL_EVERY);
    panel
}

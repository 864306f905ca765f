//! How far a check is: a bar with rate and time left on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{bar:24} {bytes}/{total_bytes} {binary_bytes_per_sec} · {msg} · {eta} left";
/// Between two lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Shows a check, or does not.
pub struct Progress {
    shown: Shown,
    /// Read and to be read: every shard once for its hash, once for its rows.
    bytes: AtomicU64,
    total: AtomicU64,
    documents: AtomicU64,
}

enum Shown {
    No,
    Bar(ProgressBar),
    /// When it began, and its last line.
    Lines(Mutex<(Instant, Instant)>),
}

impl Progress {
    /// Nobody is watching.
    pub fn none() -> Self {
        Self::new(Shown::No)
    }

    /// On stderr.
    pub fn shown() -> Self {
        let now = Instant::now();
        Self::new(match stderr().is_terminal() {
            false => Shown::Lines(Mutex::new((now, now))),
            true => {
                let style = ProgressStyle::with_template(TEMPLATE).expect("a constant");
                Shown::Bar(ProgressBar::new(0).with_style(style))
            }
        })
    }

    fn new(shown: Shown) -> Self {
        Self {
            shown,
            bytes: AtomicU64::new(0),
            total: AtomicU64::new(0),
            documents: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self, total: u64) {
        self.bytes.store(0, Ordering::Relaxed);
        self.documents.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        if let Shown::Bar(bar) = &self.shown {
            bar.reset();
            bar.set_length(total);
        }
    }

    pub(super) fn add(&self, bytes: u64, documents: u64, faults: u64) {
        let bytes = self
            .bytes
            .fetch_add(bytes, Ordering::Relaxed)
            .wrapping_add(bytes);
        let documents = self.documents.fetch_add(documents, Ordering::Relaxed) + documents;
        let message = || format!("{documents} documents, {faults} faults");
        match &self.shown {
            Shown::No => {}
            Shown::Bar(bar) => {
                bar.set_message(message());
                bar.set_position(bytes);
            }
            Shown::Lines(times) => {
                let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                if times.1.elapsed() >= QUIET {
                    times.1 = Instant::now();
                    let total = self.total.load(Ordering::Relaxed);
                    let rate = bytes as f64 / times.0.elapsed().as_secs_f64();
                    let left = total.saturating_sub(bytes) as f64 / rate.max(1.0);
                    eprintln!(
                        "{} of {}, {}, {} left",
                        HumanBytes(bytes),
                        HumanBytes(total),
                        message(),
                        HumanDuration(Duration::from_secs_f64(left))
                    );
                }
            }
        }
    }

    pub(super) fn end(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

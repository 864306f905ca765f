//! What was done so far; any thread adds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lcl_schemas::outcome::Outcome;

use super::Snapshot;
use super::history::{History, Moment};
use crate::fetch::log::Request;

/// Over which the present rate is taken.
const RECENT: Duration = Duration::from_secs(30);

/// Counters of a run.
pub(crate) struct Counts {
    begun: Instant,
    documents: AtomicU64,
    bytes: AtomicU64,
    images: Mutex<BTreeMap<Outcome, u64>>,
    /// Of a crawl.
    pages: Mutex<BTreeMap<Outcome, u64>>,
    pub(crate) pages_waiting: AtomicU64,
    /// Stored images at past moments, the oldest first.
    recent: Mutex<VecDeque<(Instant, u64)>>,
    history: Mutex<History>,
    /// Of the inputs' files.
    pub(crate) read_bytes: AtomicU64,
    /// All of the inputs' files.
    pub(crate) total_bytes: AtomicU64,
    /// Sites that are asked more slowly than settings would allow.
    pub(crate) sites_slowed: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            documents: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            images: Mutex::default(),
            pages: Mutex::default(),
            pages_waiting: AtomicU64::new(0),
            recent: Mutex::default(),
            history: Mutex::default(),
            read_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            sites_slowed: AtomicU64::new(0),
        }
    }
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

    /// What a crawl has come to so far.
    pub(crate) fn set_pages(&self, pages: &BTreeMap<Outcome, u64>) {
        self.pages
            .lock()
            .expect("no holder panics")
            .clone_from(pages);
    }

    pub(crate) fn add_request(&self, request: &Request) {
        self.history().asked(&request.url, &request.outcome);
    }

    pub(crate) fn note_moment(&self) {
        let images = self.images.lock().expect("no holder panics");
        let moment = Moment {
            seconds: self.begun.elapsed().as_secs_f64(),
            stored: images.get(&Outcome::Stored).copied().unwrap_or(0),
            images: images.values().sum(),
        };
        drop(images);
        self.history().add(moment);
    }

    /// How it went.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no holder panics")
    }

    /// Bytes of stored images as fetched.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How it stands.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let images = self.images.lock().expect("no holder panics").clone();
        let stored = images.get(&Outcome::Stored).copied().unwrap_or(0);
        let seconds = self.begun.elapsed().as_secs_f64();
        Snapshot {
            seconds,
            documents: self.documents.load(Ordering::Relaxed),
            images_per_second: self.rate(stored),
            images,
            pages: self.pages.lock().expect("no holder panics").clone(),
            pages_waiting: self.pages_waiting.load(Ordering::Relaxed),
            fetched_bytes: self.bytes(),
            sites_slowed: self.sites_slowed.load(Ordering::Relaxed),
            memory_bytes: resident(),
            seconds_left: self.left(seconds),
        }
    }

    fn rate(&self, stored: u64) -> f64 {
        let now = Instant::now();
        let mut recent = self.recent.lock().expect("no holder panics");
        while recent.front().is_some_and(|(then, _)| now - *then > RECENT) {
            recent.pop_front();
        }
        let (then, before) = recent.front().copied().unwrap_or((self.begun, 0));
        recent.push_back((now, stored));
        (stored - before.min(stored)) as f64 / (now - then).as_secs_f64().max(1e-3)
    }

    /// By the share of the inputs' bytes that were read.
    fn left(&self, seconds: f64) -> Option<f64> {
        let (read, total) = (
            self.read_bytes.load(Ordering::Relaxed),
            self.total_bytes.load(Ordering::Relaxed),
        );
        let share = read as f64 / total as f64;
        // Earlier, what fills the pipeline looks like speed.
        (seconds > 5.0 && share > 0.0 && share < 1.0).then(|| seconds * (1.0 - share) / share)
    }
}

/// Memory that the process has now, where the system tells.
fn resident() -> Option<u64> {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_counts_by_outcome_and_has_the_present_rate() {
        let counts = Counts::default();
        for _ in 0..5 {
            counts.add_image(&Outcome::Stored);
        }
        counts.add_image(&Outcome::Http(404));
        let snapshot = counts.snapshot();
        assert_eq!(snapshot.images[&Outcome::Stored], 5);
        assert!(snapshot.images_per_second > 0.0);
        assert!(
            snapshot.json().contains("\"http_404\":1"),
            "{}",
            snapshot.json()
        );
        assert!(
            snapshot.line().contains("http_404 1"),
            "{}",
            snapshot.line()
        );
    }
}

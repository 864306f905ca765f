//! What a run shows while it works: a live panel on a terminal, plain or JSON lines elsewhere, numbers for Prometheus.

pub(crate) mod counts;
pub(crate) mod history;
pub(crate) mod metrics;
mod snapshot;

use std::io::{IsTerminal, stderr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::ProgressMode;
use crate::fetch::Fetcher;
pub(crate) use counts::Counts;
pub(crate) use snapshot::Snapshot;

/// Between two lines.
const LINES_EVERY: Duration = Duration::from_secs(10);
/// Between two pictures of the panel.
const PANEL_EVERY: Duration = Duration::from_millis(250);

const RESOLVER_BROKEN: &str = "warning: the name servers have not answered for a while: images are counted as `resolver`, and \
     `lcl-ingest retry` gets them once names resolve again";
/// Between two moments of the run's history.
const MOMENTS_EVERY: Duration = Duration::from_secs(1);

/// Shows `counts`, and keeps moments of them, until `stop` hangs up.
pub(crate) fn show(mode: ProgressMode, counts: &Counts, fetcher: &Fetcher, stop: &Receiver<()>) {
    let panel = (mode == ProgressMode::Auto && stderr().is_terminal()).then(panel);
    let every = panel.as_ref().map_or(MOMENTS_EVERY, |_| PANEL_EVERY);
    let mut shown = Instant::now();
    let mut warned = false;
    counts.note_moment();
    while stop.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        counts.note_moment();
        let slowed = fetcher.slowed_down() as u64;
        counts.sites_slowed.store(slowed, Ordering::Relaxed);
        if fetcher.resolver_broken() && !warned && mode != ProgressMode::Off {
            warned = true;
            eprintln!("{RESOLVER_BROKEN}");
        }
        if let Some(panel) = &panel {
            panel.set_message(counts.snapshot().panel());
        } else if shown.elapsed() >= LINES_EVERY {
            shown = Instant::now();
            print(mode, counts);
        }
    }
    counts.note_moment();
    match panel {
        Some(panel) => panel.finish_and_clear(),
        // However short a run was, whoever reads numbers gets its end.
        None if mode == ProgressMode::Json => print(mode, counts),
        None => {}
    }
}

fn print(mode: ProgressMode, counts: &Counts) {
    match mode {
        ProgressMode::Off => {}
        ProgressMode::Json => eprintln!("{}", counts.snapshot().json()),
        ProgressMode::Auto | ProgressMode::Lines => eprintln!("{}", counts.snapshot().line()),
    }
}

fn panel() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
    let panel = ProgressBar::new_spinner().with_style(style.expect("a constant"));
    panel.enable_steady_tick(PANEL_EVERY);
    panel
}

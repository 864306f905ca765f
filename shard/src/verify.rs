//! Shards against their checksums, by a thread beside the reading: a stream need not wait, and does not end unchecked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, unbounded};
use sha2::{Digest, Sha256};

/// Read at a time, between two looks at whether anybody still wants to know.
const CHUNK: usize = 1 << 20;

/// What is wrong with a shard.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) path: PathBuf,
    pub(crate) detail: String,
}

/// Hashes shards in the order in which they are named.
pub(crate) struct Verifier {
    shards: Option<Sender<(PathBuf, String)>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    progress: Mutex<Progress>,
    moved: Condvar,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Progress {
    waiting: usize,
    fault: Option<Fault>,
}

impl State {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verifier {
    pub(crate) fn start() -> Self {
        // As many as the manifest has shards, each named once.
        let (sender, shards) = unbounded::<(PathBuf, String)>();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for (path, expected) in shards {
                let fault = check(&path, &expected, &shared.stopped);
                let mut progress = shared.progress();
                progress.waiting -= 1;
                progress.fault = progress.fault.take().or(fault);
                shared.moved.notify_all();
            }
        });
        Self {
            shards: Some(sender),
            state,
            thread: Some(thread),
        }
    }

    /// Has a shard hashed; what comes of it is told by [`Verifier::fault`].
    pub(crate) fn check(&self, path: PathBuf, sha256: String) {
        self.state.progress().waiting += 1;
        if let Some(shards) = &self.shards {
            // The thread ends only after this sender.
            let _ = shards.send((path, sha256));
        }
    }

    /// The first fault found so far.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state.progress().fault.clone()
    }

    /// The first fault, once all shards named so far are hashed.
    pub(crate) fn wait(&self) -> Option<Fault> {
        let progress = self.state.progress();
        let done = self.state.moved.wait_while(progress, |progress| {
            progress.waiting > 0 && progress.fault.is_none()
        });
        done.unwrap_or_else(PoisonError::into_inner).fault.clone()
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.shards = None;
        if let Some(thread) = self.thread.take() {
            // A panic has already been reported on stderr.
            let _ = thread.join();
        }
    }
}

fn check(path: &Path, expected: &str, stopped: &AtomicBool) -> Option<Fault> {
    let fault = |detail: String| {
        Some(Fault {
            path: path.to_owned(),
            detail,
        })
    };
    match sha256(path, stopped) {
        Ok(Some(found)) if found != expected => fault(format!(
            "its SHA-256 is {found:.12}…, the manifest says {expected:.12}…: it was damaged or swapped"
        )),
        Ok(_) => None,
        Err(error) => fault(error.to_string()),
    }
}

/// `None` where nobody wants to know any more.
fn sha256(path: &Path, stopped: &AtomicBool) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        if stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match file.read(&mut chunk)? {
            0 => return Ok(Some(format!("{:x}", hash.finalize()))),
            read => hash.update(&chunk[..read]),
        }
    }
}

//! Batches on the device one step before they are asked for.
//!
//! A thread takes them from the feed, decides what stands where, and sends indices and pixels up while the device is busy
//! with the batch before.

use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use lcl_schemas::vocabulary::Vocabulary;

use crate::data::Prepared;
use crate::memory::guarded;
use crate::model::ModelShape;
use crate::run::{Delivery, RunError};
use crate::step::{Pending, StepError};

/// How often a device that is busy is asked whether it still is.
const LOOK: Duration = Duration::from_micros(500);

/// A batch that is ready, or why it cannot be.
pub(crate) type Ready<P> = Delivery<P, Result<Prepared, StepError>>;

/// What makes a batch ready.
#[derive(Clone, Debug)]
pub(crate) struct Preparation {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) shape: ModelShape,
    pub(crate) device: Device,
    /// See `accumulate`.
    pub(crate) parts: usize,
}

/// Where batches that are ready come from.
pub(crate) struct Ahead<P> {
    ready: Receiver<Result<Ready<P>, RunError>>,
    thread: Option<JoinHandle<()>>,
}

impl<P: Send + 'static> Ahead<P> {
    /// Starts the thread; it ends with `batches`, or once nobody asks any more. Nobody waits for it: a feed that is away
    /// must not keep a run from ending with its error.
    pub(crate) fn start(
        batches: impl Iterator<Item = Result<Delivery<P>, RunError>> + Send + 'static,
        with: Preparation,
    ) -> Self {
        // Nothing waits in between: one batch is in use, one is made ready.
        let (sender, ready) = bounded(0);
        let thread = thread::spawn(move || {
            for delivery in batches {
                let ready = delivery.map(|delivery| delivery.map(|batch| with.prepare(&batch)));
                if sender.send(ready).is_err() {
                    return;
                }
            }
        });
        Self {
            ready,
            thread: Some(thread),
        }
    }

    /// The next batch, and how many seconds the device had nothing to do for want of it. `told` is what it was told
    /// last.
    pub(crate) fn next(
        &mut self,
        told: Option<&Pending>,
    ) -> (Option<Result<Ready<P>, RunError>>, f64) {
        let has_nothing_to_do = || told.is_none_or(Pending::is_done);
        let mut idle = has_nothing_to_do().then(Instant::now);
        loop {
            let next = match self.ready.recv_timeout(LOOK) {
                Ok(ready) => Some(ready),
                Err(RecvTimeoutError::Disconnected) => {
                    if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                        resume_unwind(panic);
                    }
                    None
                }
                Err(RecvTimeoutError::Timeout) => {
                    idle = idle.or_else(|| has_nothing_to_do().then(Instant::now));
                    continue;
                }
            };
            return (
                next,
                idle.map_or(0.0, |since| since.elapsed().as_secs_f64()),
            );
        }
    }
}

impl Preparation {
    fn prepare(&self, batch: &lcl_schemas::batch::Batch) -> Result<Prepared, StepError> {
        let prepared = guarded(|| {
            Prepared::of(
                batch,
                &self.vocabulary,
                &self.shape,
                &self.device,
                self.parts,
            )
        })?;
        Ok(prepared?)
    }
}

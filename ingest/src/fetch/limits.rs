//! How many images, and how many of their bytes, are between being asked for and being decoded.
//!
//! Places and bytes are permits that travel with the body to the thread that decodes it. Whoever waits for bytes holds
//! none yet, and whoever holds bytes waits for nothing but its server, which has a deadline: no circle can close.

use std::sync::Arc;

use lcl_schemas::outcome::Outcome;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits there are.
pub(crate) struct Limits {
    images: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

/// What a body holds until it is decoded.
pub(crate) struct Held {
    pub(crate) _place: OwnedSemaphorePermit,
    pub(crate) _kib: OwnedSemaphorePermit,
}

/// Fetched bytes.
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) held: Held,
}

impl Limits {
    pub(crate) fn new(images: usize, bytes: u64) -> Self {
        Self {
            images: Arc::new(Semaphore::new(images)),
            kib: Arc::new(Semaphore::new(kib(bytes) as usize)),
        }
    }

    /// What `read` gives on a thread that may wait for the disk: at most `max_bytes`.
    pub(super) async fn reading(
        &self,
        max_bytes: u64,
        read: impl FnOnce() -> Result<Vec<u8>, Outcome> + Send + 'static,
    ) -> Result<Body, Outcome> {
        let place = self.place().await;
        let mut kib = self.bytes(max_bytes.min(EXPECTED)).await;
        let read = tokio::task::spawn_blocking(read).await;
        let bytes = read.expect("reading a file does not panic")?;
        if bytes.len() as u64 > EXPECTED {
            // Swapped, not added to: holding some while waiting for more could close a circle.
            drop(kib);
            kib = self.bytes(bytes.len() as u64).await;
        }
        shrink(&mut kib, bytes.len());
        let held = Held {
            _place: place,
            _kib: kib,
        };
        Ok(Body { bytes, held })
    }

    /// A place for one image.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        let place = self.images.clone().acquire_owned().await;
        place.expect("never closed")
    }

    /// Leave to hold `bytes`.
    pub(super) async fn bytes(&self, bytes: u64) -> OwnedSemaphorePermit {
        let held = self.kib.clone().acquire_many_owned(kib(bytes)).await;
        held.expect("never closed")
    }
}

/// Taken before a file's size is known.
const EXPECTED: u64 = 1 << 20;

/// Gives back what a body turned out not to need.
pub(super) fn shrink(held: &mut OwnedSemaphorePermit, bytes: usize) {
    let surplus = held
        .num_permits()
        .saturating_sub(kib(bytes as u64) as usize);
    drop(held.split(surplus));
}

/// Rounded up, at least 1; a configuration's largest, 1 TiB, is 2³⁰.
pub(crate) fn kib(bytes: u64) -> u32 {
    bytes.div_ceil(1024).clamp(1, 1 << 30) as u32
}

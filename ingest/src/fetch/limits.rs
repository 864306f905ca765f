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
    most_kib: u32,
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
            most_kib: kib(bytes),
        }
    }

    /// What `read` gives on a thread that may wait for the disk; it may hold `most` bytes meanwhile.
    pub(super) async fn reading(
        &self,
        most: u64,
        read: impl FnOnce() -> Result<Vec<u8>, Outcome> + Send + 'static,
    ) -> Result<Body, Outcome> {
        let place = self.place().await;
        let mut kib = self.bytes(most).await;
        let read = tokio::task::spawn_blocking(read).await;
        let bytes = read.expect("reading a file does not panic")?;
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
        // One that is larger than all there is goes alone: waiting for more would be for ever.
        let wanted = kib(bytes).min(self.most_kib);
        let held = self.kib.clone().acquire_many_owned(wanted).await;
        held.expect("never closed")
    }
}

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

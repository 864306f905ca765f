//! How many images, and how many of their bytes, are between being asked for and being decoded.
//!
//! Places and bytes are permits that travel with the body to the thread that decodes it. Whoever waits for bytes holds
//! none yet, and whoever holds bytes waits for nothing but its server, which has a deadline: no circle can close.

use std::sync::Arc;

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

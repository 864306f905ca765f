//! Shards to training batches, and questions asked of a dataset.
//!
//! ```text
//! manifest ─► order ─► read ─► place ─► cut ─► pack ─► pixels ─► stream ─► batches
//!             └──────────── one lane of L ──────────┘                 └──► position
//! ```
//! Order, placement and crops are functions of (manifest, configuration, epoch): batches are the same for any number of
//! threads, and a [`Position`] resumes exactly, reading only the documents that were in open bins.

mod config;
mod cursor;
mod cut;
#[cfg(feature = "query")]
pub mod inspect;
mod keyed;
mod lane;
mod order;
mod pack;
mod pairs;
mod pixels;
mod place;
mod read;
mod stream;

pub use config::{ConfigError, Crop, Part, Passes, StreamConfig};
pub use cursor::Position;
pub use pairs::{Pair, PairsOf, pairs};
pub use read::ReadError;
pub use stream::{Delivered, Stream, StreamError};

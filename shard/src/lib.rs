//! Shards to training batches, and questions asked of a dataset.
//!
//! ```text
//! manifest ─► order ─► filter ─► read ─► place ─► cut ─► pack ──► lane ──► planner ──► compose ─► pixels ─► stream
//!             └──────── track: one dataset in one lane ───────┘  (mix)    └─ one rank's lanes          └──► position
//! ```
//! Order, placement, mixing and crops are functions of (manifests, configuration, epoch): sequences are the same for any
//! number of ranks and threads, and a [`Position`] resumes exactly, reading only the documents that were in open bins.

mod compose;
mod config;
mod cursor;
mod cut;
mod filter;
#[cfg(any(feature = "client", feature = "serve"))]
pub mod flight;
#[cfg(feature = "query")]
pub mod inspect;
mod keyed;
mod lane;
mod mix;
mod order;
mod pack;
mod pairs;
mod pixels;
mod place;
mod planner;
mod read;
mod stored;
mod stream;
mod track;
mod verify;

pub use config::{
    Change, ConfigError, Crop, OnCorrupt, Part, Passes, Source, StreamConfig, Verify,
};
pub use cursor::{MergeError, PassedOver, Position};
pub use filter::FilterError;
pub use lcl_schemas::batch::PictureForm;
pub use mix::{Given, Weigh};
pub use pairs::{Pair, PairsOf, pairs};
pub use pixels::Squares;
pub use read::ReadError;
pub use stream::{Delivered, Stream, StreamError};

//! What the services say to each other.
//!
//! ```text
//!   ingest ──► row (Parquet) + dataset (commits, manifest) ──► shard ──► batch ──► train
//!                  │                                             │
//!                  └── document, outcome, layout, vocabulary ────┘
//! ```
//! `ingest` writes [`row`]s and [`dataset`] files, `shard` reads them and makes [`batch`]es, `train` takes batches. All of
//! them read [`settings`] the same way; who stores pictures and who streams them decode large JPEGs alike. Nothing here touches the network or the GPU, and no disk but for a named
//! configuration file and what `write`, a feature, is for.
#![warn(missing_docs)]

pub mod batch;
pub mod dataset;
pub mod document;
pub mod guard;
#[cfg(feature = "jpeg")]
pub mod jpeg;
pub mod layout;
pub mod outcome;
#[cfg(feature = "tokenizer")]
pub mod reference;
pub mod row;
pub mod settings;
#[cfg(feature = "tokenizer")]
pub mod tokenizer;
pub mod vocabulary;
pub mod wire;
#[cfg(feature = "write")]
pub mod write;

//! What makes a dataset's files: whole or not at all, the commit last.
//!
//! ```text
//! rows ─► shard_file ─┐
//!                     ├─► durable: scratch sibling, sync, name ─► a dataset's folder
//! commit, manifest ───┘
//! ```
//! Who ingests writes so, and who repairs.

pub mod dataset;
pub mod durable;
pub mod shard_file;

//! Questions asked of a dataset: by SQL, or the standard ones.

pub mod sql;
pub mod stats;

//! Inputs to records.

pub(crate) mod mmc4;
pub(crate) mod records;

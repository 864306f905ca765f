//! The sharder from outside: a dataset written as the format says, streamed and asked.

mod fixture;
#[cfg(feature = "query")]
mod query;
mod stream;

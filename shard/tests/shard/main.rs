//! The sharder from outside: a dataset written as the format says, streamed and asked.

#[cfg(feature = "query")]
mod check;
mod diff;
mod fixture;
#[cfg(all(feature = "client", feature = "serve"))]
mod flight;
mod mix;
#[cfg(feature = "query")]
mod query;
mod ranks;
#[cfg(feature = "query")]
mod sql;
mod stats;
mod stream;

//! The sharder from outside: a dataset written as the format says, streamed and asked.

#[cfg(feature = "query")]
mod check;
#[cfg(feature = "query")]
mod diff;
#[cfg(feature = "query")]
mod export;
mod fixture;
#[cfg(all(feature = "client", feature = "serve"))]
mod flight;
mod mix;
#[cfg(feature = "query")]
mod query;
mod ranks;
#[cfg(feature = "query")]
mod sql;
#[cfg(feature = "query")]
mod stats;
mod stream;
#[cfg(all(feature = "query", feature = "serve"))]
mod view;

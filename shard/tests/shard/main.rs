//! The sharder from outside: a dataset written as the format says, streamed and asked.

mod fixture;
#[cfg(all(feature = "client", feature = "serve"))]
mod flight;
mod mix;
#[cfg(feature = "query")]
mod query;
mod ranks;
mod stream;
#[cfg(all(feature = "query", feature = "serve"))]
mod view;

//! What the tests and the quickstart share: a corpus that is drawn, and a web to fetch it from.

pub(crate) mod scenes;
pub(crate) mod web;

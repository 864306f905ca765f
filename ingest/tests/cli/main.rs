//! The command as it is used: inputs, exit status, and the dataset that comes of it.

mod inputs;
mod network;
mod resume;
mod support;
mod web;

//! The command as it is used: inputs, exit status, and the dataset that comes of it.

mod crawl;
mod inputs;
mod manners;
mod network;
mod pages;
mod redo;
mod resume;
mod support;
mod web;

//! Questions asked of a dataset, by SQL or the standard ones; and of a stream before there is one.

pub mod check;
pub mod diff;
pub mod export;
mod groups;
pub mod packing;
pub mod simulate;
pub mod sql;
pub mod stats;
pub mod view;
mod visible;

pub use groups::Watch;
pub use visible::OnTerminal;

//! The network: an image encoder whose outputs a causal language model reads in place of words.
//!
//! ```text
//! pixels ─► vision ─► patch tokens ─► pool ─┬─► visual tokens ─► language ─► hidden ─┬─► lm_head        L_gen
//!                                           └─► pooled ◄────────── L_con ────────────┴─► text_projection
//! ```
//!
//! Fields are named, and weights shaped, as in the PyTorch release, so that a module's path *is* the
//! name of its tensor and weights go both ways without a transpose.

pub mod language;
pub mod layers;
pub mod lcl;
pub mod pool;
pub mod shape;
pub mod vision;

pub use lcl::Lcl;
pub use shape::ModelShape;

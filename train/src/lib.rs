//! Batches to a vision encoder: Latent Compression Learning (arXiv 2406.07543) on Burn.
//!
//! ```text
//!  lcl-shard ──► data ──► model ──► loss ──► step ──► run ──► checkpoint ──► export    safetensors for PyTorch and us
//!               indices   ViT       L_con    AdamW    loop    weights,   └─► eval      what was learned
//!               pixels    pool      L_gen    (optim)  metrics moments,
//!                         LM                          progress position
//!
//!  init    values of new weights                 names    tensors by the PyTorch release's names
//!  parity  the same numbers as other code        weights  safetensors, whole or not at all
//! ```
//!
//! A checkpoint resumes exactly with the same binary, backend and number of threads.

mod accumulate;
mod ahead;
pub mod bench;
pub mod checkpoint;
pub mod config;
pub mod data;
pub mod device;
pub mod eval;
pub mod export;
pub mod feed;
pub mod init;
pub mod loss;
pub mod memory;
pub mod model;
pub mod names;
pub mod ops;
pub mod optim;
pub mod parity;
mod progress;
pub mod report;
mod resize;
pub mod run;
#[cfg(test)]
mod samples;
pub mod step;
pub mod weights;

pub use config::Config;
pub use report::Report;
pub use run::run;

//! `lcl-shard simulate`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lcl_schemas::settings::{SettingsError, resolve};
use lcl_shard::StreamConfig;
use lcl_shard::inspect::simulate;

use super::show;

const SIMULATE: &str = "\
  neighbours    documents that follow one another in the stream and come from one shard, beside what a perfect shuffle has
  spread        how evenly a shard's documents lie over the stream: 1 evenly, 0 all in one place
  bytes a batch what is read of the shards for one batch: ids of whole row groups, pixels of single documents
  re-read       documents, and the row groups they are in, that a resume reads again
  fill          places of a batch that hold an id";

/// Say what a stream will be like, without decoding an image
#[derive(Args)]
#[command(after_help = SIMULATE)]
pub(crate) struct Simulate {
    /// Folder of a dataset, or a TOML file of stream settings
    config: PathBuf,
    /// Overrides one setting, e.g. block_row_groups=1
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Batches to look at; 0 for an epoch
    #[arg(long, default_value_t = 0)]
    steps: u64,
    /// Ranks that share the stream
    #[arg(long, default_value_t = 1)]
    ranks: usize,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

impl Simulate {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let config = simulated(self.config, &self.set)?;
        show(
            &simulate::simulate(&config, self.ranks, self.steps)?,
            self.json,
            out,
        )
    }
}

/// A stream's configuration from a file, or for a dataset's folder.
fn simulated(named: PathBuf, set: &[String]) -> Result<StreamConfig, SettingsError> {
    if !named.is_dir() {
        return resolve(Some(&named), set);
    }
    let config: StreamConfig = resolve(None, set)?;
    Ok(StreamConfig {
        dataset: named,
        ..config
    })
}

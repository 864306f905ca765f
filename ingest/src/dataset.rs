//! The dataset that a run writes to.

use lcl_schemas::dataset::{FORMAT, Header};
use lcl_schemas::tokenizer::Tokenizer;
pub use lcl_schemas::write::dataset::DatasetError;
pub(crate) use lcl_schemas::write::dataset::{
    Dataset, Others, files, header, live_commits, lock, zstd,
};

use crate::config::Config;

/// The newest run's settings.
const CONFIG_FILE: &str = "_config.toml";

/// Opens or begins the dataset of `config`, which must fit what is there.
pub(crate) fn open(config: &Config, tokenizer: &Tokenizer) -> Result<Dataset, DatasetError> {
    let ours = Header {
        format: FORMAT,
        tokenizer: tokenizer.id().clone(),
        vocabulary: tokenizer.vocabulary(),
        image_size: config.image_size,
    };
    let dataset = Dataset::open(&config.out, &ours, tokenizer.to_json())?;
    let settings = toml::to_string_pretty(config).expect("plain values and tables");
    dataset.replace("", CONFIG_FILE, settings.as_bytes())?;
    Ok(dataset)
}

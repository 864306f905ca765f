//! `lcl-shard sql`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lcl_shard::inspect::sql;

use super::runtime;

/// Answer one SQL query over the tables `documents` and `images`
#[derive(Args)]
#[command(long_about = "Answers one SQL query.\n\n\
    documents  a row per document: id, source, url, language, texts, images, image_bytes, tokens, spans, n_tokens, n_images\n\
    images     a row per image: id (its document's), source, page_url, place, url, alt, outcome, sha256, phash, format,\n           \
    width, height, original_width, original_height, original_bytes, similarity, sentence, bytes\n\n\
    Pixels are read only when image_bytes or bytes is asked for. `DESCRIBE images` shows the types.")]
pub(crate) struct Sql {
    /// Folder of the dataset
    dataset: PathBuf,
    /// The query
    query: String,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    format: sql::Format,
}

impl Sql {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let answered = runtime()?.block_on(async {
            let context = sql::open(&self.dataset).await?;
            sql::answer(&context, &self.query, self.format, out).await
        });
        Ok(answered.map_err(|error| sql::blame(&self.dataset, error))?)
    }
}

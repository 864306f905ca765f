//! `lcl-shard export`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lcl_shard::Part;
use lcl_shard::inspect::export::{self, Export as Exporting, To};

use super::progress::Progress;
use super::show;

const EXPORT: &str = "\
webdataset  docs-00000.tar …: for each document KEY.json (id, url, texts, images and what became of them, tokens) and
            KEY.PLACE.jpg for each stored picture; an image's `file` names its own
  import webdataset as wds; docs = wds.WebDataset(\"FOLDER/docs-{00000..00003}.tar\", shardshuffle=False).decode(\"pil\")
mds         shard.00000.mds … and index.json, for MosaicML Streaming; a document's pictures are one after another in `pictures`
  from streaming import StreamingDataset; docs = StreamingDataset(local=\"FOLDER\", batch_size=8); doc = docs[0]
  pictures = [doc[\"pictures\"][i[\"at\"] : i[\"at\"] + i[\"size\"]] for i in doc[\"images\"] if i and \"at\" in i]
obelics     part-00000.parquet … with OBELICS' columns images (URLs), texts, metadata, general_metadata; pictures in image_bytes
  import datasets; docs = datasets.load_dataset(\"parquet\", data_files=\"FOLDER/*.parquet\", split=\"train\")

Documents stand in the dataset's order, pictures keep their bytes, images that could not be had keep their place with their
outcome. The folder appears when everything is in it; _export.json in it says what was exported and what was left out.
The same dataset and settings give the same bytes.

Exit status: 0 done, 1 an error, 2 a usage mistake.";

/// Write a dataset in a form that others read: WebDataset, MosaicML Streaming, OBELICS
#[derive(Args)]
#[command(after_help = EXPORT)]
pub(crate) struct Export {
    /// Folder of the dataset
    dataset: PathBuf,
    /// As what
    #[arg(long, value_enum)]
    to: To,
    /// Folder to make
    #[arg(long)]
    out: PathBuf,
    /// Size at which a file ends, e.g. 256MB, 1GiB [default: 512MiB; mds 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    shard_size: Option<u64>,
    /// Only documents for which this is true, e.g. "n_images >= 2 AND language = 'en'"
    #[arg(
        long,
        value_name = "PREDICATE",
        default_value = "",
        hide_default_value = true
    )]
    filter: String,
    /// Which documents: all, train, held-out; which is which, a hash of their ids decides, as it does for streams
    #[arg(long, value_name = "PART", default_value = "all", value_parser = part)]
    part: Part,
    /// Share of documents that is held out
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    holdout: f64,
    /// The counts as one JSON object
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let exporting = Exporting {
            dataset: self.dataset,
            to: self.to,
            out: self.out,
            shard_size: self.shard_size,
            filter: self.filter,
            part: self.part,
            holdout: self.holdout,
        };
        let mut progress = Progress::start("exporting");
        let exported = export::export(&exporting, &mut |read, of| progress.show(read, of));
        drop(progress);
        show(&exported?, self.json, out)
    }
}

/// A size as people write it.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err("a size is a number and B, KB, MB, GB, KiB, MiB or GiB".into()),
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "a size is a whole number with a unit".to_owned())?;
    match number.checked_mul(unit) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("a size is at least a byte, and less than 16 EiB".into()),
    }
}

/// A part by its name in settings.
fn part(name: &str) -> Result<Part, String> {
    match name {
        "all" => Ok(Part::All),
        "train" => Ok(Part::Train),
        "held-out" => Ok(Part::HeldOut),
        _ => Err("all, train or held-out".into()),
    }
}

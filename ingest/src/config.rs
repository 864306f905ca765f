//! What a run is told: every setting and every default.

mod check;

use std::path::PathBuf;
use std::time::Duration;

use lcl_schemas::dataset::Commit;
use lcl_schemas::tokenizer::{Tokenizer, TokenizerError};
use serde::{Deserialize, Serialize};

use crate::source::mmc4::LocateBy;
pub use check::ConfigError;

/// A run of `lcl-ingest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the inputs are.
    pub source: SourceKind,
    /// Files, or folders of them.
    pub inputs: Vec<PathBuf>,
    /// The dataset's folder; made if missing.
    pub out: PathBuf,
    /// Where the images lie by name. Unset: they are fetched by URL.
    pub images_dir: Option<PathBuf>,
    /// A `tokenizer.json`. Unset: CLIP's.
    pub tokenizer: Option<PathBuf>,
    /// With `tokenizer`: what goes before every text but a document's first.
    pub text_joiner: String,
    /// Short side to which larger images are reduced, in pixels.
    pub image_size: u32,
    /// Records in a unit, the grain of resuming: at most 2,000.
    pub unit_records: u64,
    /// What is shown meanwhile.
    pub progress: ProgressMode,
    /// What is left out on purpose.
    pub rules: Rules,
    /// How the network is asked.
    pub fetch: Fetch,
    /// What decoding may cost.
    pub decode: Decode,
    /// How much is in flight.
    pub flow: Flow,
}

/// Kinds of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// MMC4: `.jsonl`, `.jsonl.gz`, `.jsonl.zip`.
    Mmc4,
}

/// What a run shows while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressMode {
    /// A live panel on a terminal, lines elsewhere.
    Auto,
    /// A line on stderr every ten seconds.
    Lines,
    /// Nothing.
    Off,
}

/// Which images and documents a run keeps. Part of every commit: a dataset does not mix them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Least stated similarity of an image to its sentence.
    pub similarity_threshold: f64,
    /// Keep one image of those matched to the same sentence, drawn at random.
    pub one_image_per_sentence: bool,
    /// Images kept in a document: the first in the order of their sentences.
    pub max_images: usize,
    /// A document with fewer is not written.
    pub min_images: usize,
    /// Least short side of an image as fetched, in pixels; 0 for any.
    pub min_edge_px: u32,
    /// Most that one side may be longer than the other; 0 for any.
    pub max_aspect: f64,
}

/// How the network is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// The whole User-Agent. Unset: `lcl-ingest/<version> (+contact)`.
    pub user_agent: Option<String>,
    /// Where an operator can reach you: a URL or a mail address.
    pub contact: Option<String>,
    /// Reach addresses that are not public ones: for a server of your own.
    pub allow_private_addresses: bool,
    /// For an image, redirects and retries included.
    pub deadline_s: f64,
    /// For a connection.
    pub connect_timeout_s: f64,
    /// Between two pieces of an answer.
    pub read_timeout_s: f64,
    /// Largest body, in bytes.
    pub max_bytes: u64,
    /// Redirects followed for one image.
    pub max_redirects: u32,
    /// Further tries where another may help.
    pub retries: u32,
    /// Before the first further try; doubles with each.
    pub backoff_s: f64,
    /// Longest wait that a server may ask for.
    pub max_retry_after_s: f64,
    /// Requests at a time to one host.
    pub per_host: usize,
}

/// What decoding one image may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decode {
    /// Most pixels, by the header.
    pub max_pixels: u64,
    /// Most memory, in bytes.
    pub max_alloc: u64,
}

/// How much is in flight at a time; together these bound memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flow {
    /// Documents between being read and being written.
    pub documents: usize,
    /// Images between being asked for and being decoded.
    pub images: usize,
    /// Bytes of images fetched and not yet decoded.
    pub image_bytes: u64,
    /// Bytes of records between being read and being written.
    pub record_bytes: u64,
    /// Longest record, in bytes.
    pub max_record_bytes: usize,
    /// Threads for pixels and tokens; 0 for one per core.
    pub workers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: SourceKind::Mmc4,
            inputs: Vec::new(),
            out: PathBuf::new(),
            images_dir: None,
            tokenizer: None,
            text_joiner: " ".into(),
            image_size: 256,
            unit_records: Commit::MAX_RECORDS,
            progress: ProgressMode::Auto,
            // Those of the published LCL models.
            rules: Rules {
                similarity_threshold: 0.24,
                one_image_per_sentence: true,
                max_images: 6,
                min_images: 1,
                min_edge_px: 0,
                max_aspect: 0.0,
            },
            fetch: Fetch {
                user_agent: None,
                contact: None,
                allow_private_addresses: false,
                deadline_s: 30.0,
                connect_timeout_s: 5.0,
                read_timeout_s: 10.0,
                max_bytes: 20 << 20,
                max_redirects: 5,
                retries: 2,
                backoff_s: 0.5,
                max_retry_after_s: 10.0,
                per_host: 16,
            },
            decode: Decode {
                max_pixels: 64 << 20,
                max_alloc: 512 << 20,
            },
            flow: Flow {
                documents: 256,
                images: 128,
                image_bytes: 256 << 20,
                record_bytes: 128 << 20,
                max_record_bytes: 16 << 20,
                workers: 0,
            },
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Config::default().rules
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Config::default().fetch
    }
}

impl Default for Decode {
    fn default() -> Self {
        Config::default().decode
    }
}

impl Default for Flow {
    fn default() -> Self {
        Config::default().flow
    }
}

impl Config {
    /// The whole User-Agent.
    pub(crate) fn user_agent(&self) -> String {
        let contact = self
            .fetch
            .contact
            .as_deref()
            .map(|contact| format!(" (+{contact})"));
        let honest = || {
            let version = concat!(
                env!("CARGO_PKG_VERSION_MAJOR"),
                ".",
                env!("CARGO_PKG_VERSION_MINOR")
            );
            format!("lcl-ingest/{version}{}", contact.unwrap_or_default())
        };
        self.fetch.user_agent.clone().unwrap_or_else(honest)
    }

    /// What images are asked for by.
    pub(crate) fn locate_by(&self) -> LocateBy {
        match self.images_dir {
            Some(_) => LocateBy::Name,
            None => LocateBy::Url,
        }
    }

    /// The tokenizer that it names.
    pub(crate) fn load_tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        match &self.tokenizer {
            Some(path) => Tokenizer::from_file(path, &self.text_joiner),
            None => Ok(Tokenizer::clip()),
        }
    }
}

impl Fetch {
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.deadline_s)
    }
}

impl Flow {
    pub(crate) fn threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}

impl SourceKind {
    /// As it stands in rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mmc4 => "mmc4",
        }
    }
}

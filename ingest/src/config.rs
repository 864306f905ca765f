//! What a run is told: every setting and every default.

mod check;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lcl_schemas::dataset::Commit;
use lcl_schemas::tokenizer::{Tokenizer, TokenizerError};
use serde::{Deserialize, Serialize};

use crate::fetch::OptOut;
use crate::source::mmc4::LocateBy;
pub use check::ConfigError;
pub(crate) use check::is_web;

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
    /// An earlier dataset: what it has and the network's answers call unchanged is taken from there. Images keep the quality
    /// that they have.
    pub since: Option<PathBuf>,
    /// For MMC4: where the images lie by name. Unset: they are fetched by URL.
    pub images_dir: Option<PathBuf>,
    /// For pages: where their images are taken from.
    pub images_from: ImagesFrom,
    /// For an index of archives (CDX, CDXJ): what goes before the names of its files, a URL or a folder.
    pub archives: Option<String>,
    /// For a folder of pages: where it was on the web. Unset: links lead to the folder's files or to other sites.
    pub base_url: Option<String>,
    /// A `tokenizer.json`. Unset: CLIP's.
    pub tokenizer: Option<PathBuf>,
    /// With `tokenizer`: what goes before every text but a document's first.
    pub text_joiner: String,
    /// Short side to which larger images are reduced, in pixels.
    pub image_size: u32,
    /// JPEG quality of what is encoded, from 1 to 100: at 90 and 256 pixels about 35 kB an image.
    pub jpeg_quality: u8,
    /// Records in a unit, the grain of resuming: at most 2,000.
    pub unit_records: u64,
    /// What is shown meanwhile.
    pub progress: ProgressMode,
    /// Address at which Prometheus finds numbers, under `/metrics`. Unset: nowhere.
    pub metrics: Option<SocketAddr>,
    /// What is left out on purpose.
    pub rules: Rules,
    /// How far a crawl goes.
    pub crawl: Crawl,
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
    /// Saved pages: `.html`, `.htm`, `.xhtml`, or folders of them with their images.
    Html,
    /// Pages of the web, from seeds: URLs.
    Crawl,
    /// Web archives: WARC and ARC, plain, gzip or zstd, or folders of them. Their images are found across all of them.
    Warc,
}

/// Where a page's images are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImagesFrom {
    /// What lies with the pages, else the web.
    Both,
    /// Only what lies with the pages: nothing is asked of the network.
    Input,
    /// Only the web.
    Web,
}

/// What a run shows while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressMode {
    /// A live panel on a terminal, lines elsewhere.
    Auto,
    /// A line on stderr every ten seconds.
    Lines,
    /// The same as JSON.
    Json,
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
    /// Images kept in a document, the first in its order. Unset: 6 for MMC4, as LCL has it; 256 for pages, which is a bound
    /// and no taste: documents are cut to the context when they are read.
    pub max_images: Option<usize>,
    /// A document with fewer is not written.
    pub min_images: usize,
    /// Least short side of an image as fetched, in pixels; 0 for any. Unset: any for MMC4, whose makers asked for 150; 64 for
    /// pages: what is smaller are icons and badges.
    pub min_edge_px: Option<u32>,
    /// Most that one side may be longer than the other; 0 for any. Unset: any for MMC4; 3 for pages, as COYO and DataComp
    /// have it: 2 would cut panoramas.
    pub max_aspect: Option<f64>,
}

/// How far a crawl goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Crawl {
    /// Where links may lead.
    pub scope: Scope,
    /// Links followed from a seed to a page, at most, on the way by which it was found: where pages failed at first, or a domain
    /// had its share of a batch, that need not be the shortest.
    pub depth: u32,
    /// Pages asked for, at most, whatever became of them.
    pub pages: u64,
    /// Begin with the pages that the sitemaps of the seeds' hosts list, too: as many as the first run may ask for.
    pub sitemaps: bool,
    /// Least time between the starts of two requests to one domain, unless `fetch.min_delay_s` or its robots.txt asks for
    /// more.
    pub delay_s: f64,
}

/// Where links may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To addresses that begin as a seed does, up to its last slash.
    Folder,
    /// To the hosts of the seeds.
    Host,
    /// To the registrable domains of the seeds.
    Domain,
    /// Anywhere.
    Web,
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
    /// Ports that are asked; any, where addresses need not be public.
    pub ports: Vec<u16>,
    /// For an image, redirects and retries included.
    pub deadline_s: f64,
    /// For a connection.
    pub connect_timeout_s: f64,
    /// Between two pieces of an answer.
    pub read_timeout_s: f64,
    /// Least rate at which a body has to come, in bytes a second, once it has come for five seconds.
    pub min_rate: f64,
    /// Largest body, in bytes.
    pub max_bytes: u64,
    /// Largest page, in bytes.
    pub max_page_bytes: u64,
    /// Redirects followed for one image or page.
    pub max_redirects: u32,
    /// Further tries where another may help.
    pub retries: u32,
    /// Before the first further try; doubles with each.
    pub backoff_s: f64,
    /// Longest wait that a server may ask for; for a longer one its domain rests.
    pub max_retry_after_s: f64,
    /// Requests at a time to one registrable domain, such as `example.co.uk`.
    pub per_domain: usize,
    /// Least time between the starts of two requests to one domain.
    pub min_delay_s: f64,
    /// Longest such time that a robots.txt may ask for, or failures lead to.
    pub max_crawl_delay_s: f64,
    /// Longest line at one domain that an image joins, as the time until its turn.
    pub max_turn_wait_s: f64,
    /// Failures in a row after which a host rests.
    pub rest_after: u32,
    /// How long it rests the first time; doubles up to an hour.
    pub rest_s: f64,
    /// What counts as an owner's no.
    pub opt_outs: Vec<OptOut>,
    /// Ask each origin for `/.well-known/tdmrep.json` too: one more request, with `tdm_reserved` in `opt_outs` only.
    pub tdm_file: bool,
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
            since: None,
            images_dir: None,
            images_from: ImagesFrom::Both,
            archives: None,
            base_url: None,
            tokenizer: None,
            text_joiner: " ".into(),
            image_size: 256,
            jpeg_quality: 90,
            unit_records: Commit::MAX_RECORDS,
            progress: ProgressMode::Auto,
            metrics: None,
            // Those of the published LCL models.
            rules: Rules {
                similarity_threshold: 0.24,
                one_image_per_sentence: true,
                max_images: None,
                min_images: 1,
                min_edge_px: None,
                max_aspect: None,
            },
            crawl: Crawl {
                scope: Scope::Host,
                depth: 3,
                pages: 10_000,
                sitemaps: false,
                delay_s: 1.0,
            },
            fetch: Fetch {
                user_agent: None,
                contact: None,
                allow_private_addresses: false,
                ports: vec![80, 443, 8080, 8443],
                deadline_s: 30.0,
                connect_timeout_s: 5.0,
                read_timeout_s: 10.0,
                min_rate: 1000.0,
                max_bytes: 20 << 20,
                max_page_bytes: 8 << 20,
                max_redirects: 5,
                retries: 2,
                backoff_s: 0.5,
                max_retry_after_s: 10.0,
                per_domain: 16,
                min_delay_s: 0.0,
                max_crawl_delay_s: 30.0,
                max_turn_wait_s: 120.0,
                rest_after: 10,
                rest_s: 60.0,
                opt_outs: OptOut::ALL.to_vec(),
                tdm_file: true,
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

impl Default for Crawl {
    fn default() -> Self {
        Config::default().crawl
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

    /// Its rules with nothing unset.
    pub(crate) fn resolved_rules(&self) -> Rules {
        self.rules.resolved(self.source)
    }

    /// The tokenizer that it names.
    pub(crate) fn load_tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        match &self.tokenizer {
            Some(path) => Tokenizer::from_file(path, &self.text_joiner),
            None => Ok(Tokenizer::clip()),
        }
    }
}

impl Rules {
    /// Where something is unset: what is usual for `source`.
    pub(crate) fn resolved(&self, source: SourceKind) -> Self {
        let (max_images, min_edge_px, max_aspect) = match source {
            SourceKind::Mmc4 => (6, 0, 0.0),
            SourceKind::Html | SourceKind::Warc | SourceKind::Crawl => (256, 64, 3.0),
        };
        Self {
            max_images: self.max_images.or(Some(max_images)),
            min_edge_px: self.min_edge_px.or(Some(min_edge_px)),
            max_aspect: self.max_aspect.or(Some(max_aspect)),
            ..self.clone()
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
    /// How names of inputs end.
    pub(crate) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Mmc4 => &[".jsonl", ".jsonl.gz", ".jsonl.zip"],
            Self::Html => &[".html", ".htm", ".xhtml"],
            Self::Crawl => &[],
            Self::Warc => &[
                ".warc",
                ".warc.gz",
                ".warc.zst",
                ".arc",
                ".arc.gz",
                ".cdx",
                ".cdxj",
                ".cdx.gz",
                ".cdxj.gz",
            ],
        }
    }

    /// As it stands in rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mmc4 => "mmc4",
            Self::Html => "html",
            Self::Warc => "warc",
            Self::Crawl => "crawl",
        }
    }
}

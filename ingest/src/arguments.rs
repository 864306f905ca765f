//! What the command line says.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lcl_ingest::config::{Config, ImagesFrom, Scope, SourceKind};
use lcl_ingest::preview;
use lcl_ingest::redo::{Edit, List, Retry};
use lcl_schemas::outcome::{Class, Outcome};
use lcl_schemas::settings::{resolve, resolve_each};
use url::Url;

/// Interleaved documents and their images into a dataset of Parquet shards.
#[derive(Parser)]
#[command(name = "lcl-ingest", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  lcl-ingest mmc4 docs_shard_0_v2.jsonl.zip --images-dir images --out data/mmc4
  lcl-ingest mmc4 mmc4/ --out data/mmc4 --contact https://example.org/crawler
  lcl-ingest html saved-pages/ --images-from input --out data/pages
  lcl-ingest html https://example.org/ --depth 2 --out data/site --contact https://example.org/crawler
  lcl-ingest warc crawl/*.warc.gz --out data/crawl --contact https://example.org/crawler
  lcl-ingest run ingest.toml --set rules.max_images=4
  lcl-ingest retry data/mmc4 --class fetch --contact https://example.org/crawler
  lcl-ingest opt-out data/mmc4 --list do-not-train.txt

A run that was interrupted goes on where it was: give the same command again.
Exit status: 0 done, 1 an error or an input that could not be read, 2 a usage mistake.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// MMC4 documents: .jsonl, .jsonl.gz or .jsonl.zip files, or folders of them
    Mmc4(Box<Mmc4>),
    /// Pages: saved ones (.html, .htm, .xhtml, or folders of them with their images), or a crawl from URLs
    ///
    /// A crawl goes breadth first from its seeds, keeps what it gets as web archives in DATASET/_crawl, and makes documents
    /// of them. robots.txt, crawl-delay, noai and its kin, and TDM reservations are followed; each refusal is counted.
    Html(Box<Html>),
    /// Web archives: .warc, .warc.gz, .warc.zst or .arc files, or folders of them; pages become documents
    Warc(Box<Warc>),
    /// Shows what document a saved page would become: texts and images in order, and what is left out
    Page {
        /// HTML file
        file: PathBuf,
        /// Where it was on the web
        #[arg(long, value_name = "URL", default_value = "http://page.invalid/")]
        url: String,
    },
    /// What a configuration file says; `_config.toml` in any dataset is one
    ///
    /// Several sources into one dataset are tables `[[sources]]`, each with a `source`, `inputs`, and whatever else is not as
    /// it is for all.
    Run {
        /// TOML file
        config: PathBuf,
        /// Overrides one setting, e.g. fetch.retries=0
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Asks again for images of a dataset that could not be had, and for nothing else
    ///
    /// Every unit that changes gets a commit that supersedes its own; what has been streamed by an older manifest stays
    /// readable. Documents that were left out for want of images are not in the dataset and do not come back.
    Retry(Box<RetryArguments>),
    /// Takes images and documents out of a finished dataset, by lists, without asking anybody
    ///
    /// A list has a line each: a URL (of an image or a page), a domain (with all beneath it), or the SHA-256 of an image
    /// as it was fetched. A listed page goes as a whole, a listed image leaves its place. The dataset remembers the list, and
    /// what is ingested later honours it. Shards that no commit names are deleted; streams over older manifests end with an
    /// error. A crawl's archives in DATASET/_crawl are not rewritten: delete them when the crawl is over.
    OptOut {
        /// The dataset's folder
        dataset: PathBuf,
        /// File with a line for each entry; may be given again
        #[arg(long, value_name = "FILE", required = true)]
        list: Vec<PathBuf>,
    },
}

/// What is to be done.
pub(crate) enum Job {
    /// One after the other.
    Ingest(Vec<Config>),
    Redo(Box<Config>, Edit),
    /// Text to show.
    Show(String),
}

/// How the web is asked, and what else every source has in common.
#[derive(Args)]
struct Common {
    /// The dataset's folder; made if missing, added to if there
    #[arg(long)]
    out: PathBuf,
    /// Short side to which larger images are reduced [default: 256]
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<u32>,
    /// A tokenizer.json instead of CLIP's
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// An earlier dataset: servers are asked whether what it has of them has changed, and what has not is taken from there
    #[arg(long, value_name = "DATASET")]
    since: Option<PathBuf>,
    #[command(flatten)]
    web: Web,
}

#[derive(Args)]
struct Web {
    /// Where an operator can reach you: a URL or a mail address, sent with every request
    #[arg(long)]
    contact: Option<String>,
    /// The whole User-Agent, in place of lcl-ingest's
    #[arg(long)]
    user_agent: Option<String>,
    /// Reach addresses that are not public ones: for a server of your own
    #[arg(long)]
    allow_private_addresses: bool,
    /// Overrides any setting, e.g. fetch.retries=0
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Mmc4 {
    /// Files, or folders of them
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Where the images lie by image_name; without it they are fetched by raw_url
    #[arg(long, value_name = "DIR")]
    images_dir: Option<PathBuf>,
    /// Least similarity of an image to its sentence [default: 0.24]
    #[arg(long, value_name = "X")]
    similarity_threshold: Option<f64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(crate) struct Html {
    /// Files, or folders of them; or URLs to crawl from
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Where images are taken from: what lies with the pages, the web, or both [default: both]
    #[arg(long, value_name = "WHERE")]
    images_from: Option<Where>,
    /// Where the folder was on the web: links that lead there are looked up in it, and its pages have a URL
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Crawl: where links may lead [default: host]
    #[arg(long, value_enum)]
    scope: Option<Within>,
    /// Crawl: links followed from a seed to a page, at most [default: 3]
    #[arg(long)]
    depth: Option<u32>,
    /// Crawl: pages asked for, at most [default: 10000]
    #[arg(long)]
    pages: Option<u64>,
    /// Crawl: begin with what the sitemaps of the seeds' hosts list, too
    #[arg(long)]
    sitemaps: bool,
    /// Crawl: least seconds between two requests to a domain [default: 1]
    #[arg(long, value_name = "SECONDS")]
    delay: Option<f64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(crate) struct Warc {
    /// Files, or folders of them; images are found across all of them. Or indexes (.cdx, .cdxj), whose pages are read from
    /// --archives by their places
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// What goes before the names of files in an index: a URL, which is asked for ranges of bytes, or a folder
    #[arg(long, value_name = "WHERE")]
    archives: Option<String>,
    /// Where images are taken from: the archives, the web, or both [default: both]
    #[arg(long, value_name = "WHERE")]
    images_from: Option<Where>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, ValueEnum)]
enum Within {
    /// Addresses that begin as a seed does, up to its last slash
    Folder,
    /// Hosts of the seeds
    Host,
    /// Registrable domains of the seeds
    Domain,
    /// Anywhere
    Web,
}

#[derive(Clone, Copy, ValueEnum)]
enum Where {
    Input,
    Web,
    Both,
}

#[derive(Args)]
pub(crate) struct RetryArguments {
    /// The dataset's folder
    dataset: PathBuf,
    /// Class of outcomes to ask again for: fetch, manners, safety or content; may be given again [default: fetch]
    #[arg(long, value_parser = class)]
    class: Vec<Class>,
    /// Outcome to ask again for, e.g. http_404; may be given again
    #[arg(long, value_parser = outcome)]
    outcome: Vec<Outcome>,
    #[command(flatten)]
    web: Web,
}

fn class(name: &str) -> Result<Class, &'static str> {
    match name {
        "fetch" => Ok(Class::Fetch),
        "manners" => Ok(Class::Manners),
        "safety" => Ok(Class::Safety),
        "content" => Ok(Class::Content),
        _ => Err("fetch, manners, safety or content"),
    }
}

fn outcome(name: &str) -> Result<Outcome, &'static str> {
    let Ok(outcome) = name.parse::<Outcome>();
    match outcome.class() {
        Class::Unknown => Err("no such outcome"),
        Class::Stored => Err("stored images are there"),
        _ => Ok(outcome),
    }
}

impl Web {
    fn apply(self, config: &mut Config) {
        let fetch = &mut config.fetch;
        fetch.allow_private_addresses |= self.allow_private_addresses;
        fetch.contact = self.contact.or(fetch.contact.take());
        fetch.user_agent = self.user_agent.or(fetch.user_agent.take());
    }
}

impl Common {
    fn config(self, source: SourceKind, inputs: Vec<PathBuf>) -> anyhow::Result<Box<Config>> {
        let mut config: Config = resolve(None, &self.web.set)?;
        config.source = source;
        config.inputs = inputs;
        config.out = self.out;
        config.image_size = self.image_size.unwrap_or(config.image_size);
        config.tokenizer = self.tokenizer.or(config.tokenizer);
        config.since = self.since.or(config.since);
        self.web.apply(&mut config);
        Ok(Box::new(config))
    }
}

impl Mmc4 {
    fn job(self) -> anyhow::Result<Job> {
        let mut config = self.common.config(SourceKind::Mmc4, self.inputs)?;
        config.images_dir = self.images_dir.or(config.images_dir);
        let threshold = &mut config.rules.similarity_threshold;
        *threshold = self.similarity_threshold.unwrap_or(*threshold);
        Ok(Job::Ingest(vec![*config]))
    }
}

impl Html {
    fn job(self) -> anyhow::Result<Job> {
        let is_url = |input: &PathBuf| {
            let text = input.to_string_lossy();
            text.starts_with("http://") || text.starts_with("https://")
        };
        let urls = self.inputs.iter().filter(|input| is_url(input)).count();
        let source = match urls {
            0 => SourceKind::Html,
            urls if urls == self.inputs.len() => SourceKind::Crawl,
            _ => anyhow::bail!("give either files and folders, or URLs to crawl from"),
        };
        let mut config = self.common.config(source, self.inputs)?;
        let crawl = &mut config.crawl;
        crawl.scope = self.scope.map_or(crawl.scope, Within::into);
        crawl.depth = self.depth.unwrap_or(crawl.depth);
        crawl.pages = self.pages.unwrap_or(crawl.pages);
        crawl.sitemaps |= self.sitemaps;
        crawl.delay_s = self.delay.unwrap_or(crawl.delay_s);
        config.images_from = self.images_from.map_or(config.images_from, Where::into);
        config.base_url = self.base_url.or(config.base_url);
        Ok(Job::Ingest(vec![*config]))
    }
}

impl Warc {
    fn job(self) -> anyhow::Result<Job> {
        let mut config = self.common.config(SourceKind::Warc, self.inputs)?;
        config.archives = self.archives.or(config.archives);
        config.images_from = self.images_from.map_or(config.images_from, Where::into);
        Ok(Job::Ingest(vec![*config]))
    }
}

impl From<Within> for Scope {
    fn from(within: Within) -> Self {
        match within {
            Within::Folder => Self::Folder,
            Within::Host => Self::Host,
            Within::Domain => Self::Domain,
            Within::Web => Self::Web,
        }
    }
}

impl From<Where> for ImagesFrom {
    fn from(place: Where) -> Self {
        match place {
            Where::Input => Self::Input,
            Where::Web => Self::Web,
            Where::Both => Self::Both,
        }
    }
}

impl RetryArguments {
    fn job(self) -> anyhow::Result<Job> {
        let mut config: Config = resolve(None, &self.web.set)?;
        config.out = self.dataset;
        self.web.apply(&mut config);
        let mut retry = Retry {
            classes: self.class,
            outcomes: self.outcome,
        };
        if retry.classes.is_empty() && retry.outcomes.is_empty() {
            retry.classes.push(Class::Fetch);
        }
        Ok(Job::Redo(Box::new(config), Edit::Retry(retry)))
    }
}

impl Command {
    /// What it says.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        match self {
            Self::Mmc4(arguments) => arguments.job(),
            Self::Html(arguments) => arguments.job(),
            Self::Warc(arguments) => arguments.job(),
            Self::Retry(arguments) => arguments.job(),
            Self::Page { file, url } => {
                let page = std::fs::read(&file).with_context(|| file.display().to_string())?;
                let url = Url::parse(&url).with_context(|| format!("--url {url}"))?;
                Ok(Job::Show(preview::show(&page, &url)))
            }
            Self::Run { config, set } => Ok(Job::Ingest(resolve_each(&config, "sources", &set)?)),
            Self::OptOut { dataset, list } => {
                let mut entries = List::default();
                for file in &list {
                    entries.read(file)?;
                }
                let config = Config {
                    out: dataset,
                    ..Config::default()
                };
                Ok(Job::Redo(Box::new(config), Edit::OptOut(entries)))
            }
        }
    }
}

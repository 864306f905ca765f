//! A crawl: pages from seeds on, breadth first, a batch at a time, each batch to an archive in the dataset.
//!
//! ```text
//! seeds, sitemaps ─► frontier ─► batch ─► manners, fetch ─► _crawl/<n>.warc.gz, then _crawl/<n>.json
//!                       ▲                     └─ links ─┘
//! ```
//! The frontier is what the journals of all batches say: a crawl that was killed asks at most one batch again. Within a
//! batch order is the frontier's, whatever the network did; so the same answers give the same archives.

mod address;
mod archive;
mod frontier;
mod sitemap;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lcl_schemas::outcome::Outcome;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use url::Url;

use crate::config::{Config, ProgressMode};
use crate::durable;
use crate::fetch::{Answer, ClientError, Limits, Web};
use crate::source::html;
use frontier::{Frontier, Target};

/// Folder of the archives and journals in a dataset.
const FOLDER: &str = "_crawl";
/// Pages in a batch at most: what is asked again after a kill.
const BATCH: usize = 256;
/// Pages of one host in a batch at most, so that a slow one holds up others for a while only.
const PER_HOST: usize = 64;
/// Links taken from one page.
const MAX_LINKS: usize = 2_000;

/// Why a crawl cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CrawlError {
    /// A seed that is no page of the web.
    #[error("{0:?} is no http or https URL: give seeds as URLs")]
    Seed(String),
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A journal that cannot be read.
    #[error("{path} is no journal of a crawl: {detail}: remove it and what comes after it", path = path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Runtime(io::Error),
}

/// What a crawl came to, in all its runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crawled {
    batches: usize,
    /// Pages by what became of them.
    pub(crate) pages: BTreeMap<Outcome, u64>,
}

/// What became of a batch. Its archive is there before it is.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    asked: Vec<Asked>,
    /// New ones, in the order of the pages that they stand on.
    links: Vec<Target>,
}

/// One page that was asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    #[serde(with = "address")]
    url: Url,
    outcome: Outcome,
    status: Option<u16>,
    final_url: Option<String>,
    detail: Option<String>,
    ms: u64,
}

/// A page on its way to the archive.
struct Had {
    asked: Asked,
    member: Option<Vec<u8>>,
    links: Vec<Url>,
}

/// Crawls as `config` says, from where it was.
pub(crate) fn run(config: &Config) -> Result<Crawled, CrawlError> {
    let folder = config.out.join(FOLDER);
    let made = fs::create_dir_all(&folder).and_then(|()| durable::sweep(&folder));
    made.map_err(|source| CrawlError::Io {
        path: folder.clone(),
        source,
    })?;
    let seeds = seeds(config)?;
    let mut crawl = Crawl {
        frontier: Frontier::new(&config.crawl, &seeds),
        crawled: Crawled::default(),
        folder,
    };
    crawl.restore()?;
    let runtime = tokio::runtime::Runtime::new().map_err(CrawlError::Runtime)?;
    runtime.block_on(crawl.go_on(config, &seeds))?;
    Ok(crawl.crawled)
}

fn seeds(config: &Config) -> Result<Vec<Url>, CrawlError> {
    let seed = |path: &PathBuf| {
        let text = path.to_string_lossy();
        let url = Url::parse(&text).ok();
        let web = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        web.ok_or_else(|| CrawlError::Seed(text.into_owned()))
    };
    config.inputs.iter().map(seed).collect()
}

struct Crawl {
    folder: PathBuf,
    frontier: Frontier,
    crawled: Crawled,
}

impl Crawl {
    /// What earlier runs did.
    fn restore(&mut self) -> Result<(), CrawlError> {
        loop {
            let path = self.path("json");
            let json = match fs::read(&path) {
                Ok(json) => json,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(source) => return Err(CrawlError::Io { path, source }),
            };
            let journal = serde_json::from_slice(&json).map_err(|error| CrawlError::Journal {
                path,
                detail: error.to_string(),
            })?;
            self.note(&journal);
        }
    }

    async fn go_on(&mut self, config: &Config, seeds: &[Url]) -> Result<(), CrawlError> {
        let mut config = config.clone();
        let delay = &mut config.fetch.min_delay_s;
        *delay = delay.max(config.crawl.delay_s);
        // Every page of a batch waits for the pages of its host before it.
        let longest = PER_HOST as f64 * config.fetch.max_crawl_delay_s;
        config.fetch.max_turn_wait_s = config.fetch.max_turn_wait_s.max(longest);
        let limits = Arc::new(Limits::new(config.flow.images, config.flow.image_bytes));
        let web = Arc::new(Web::new(&config, limits)?);
        if config.crawl.sitemaps {
            let listed = sitemap::pages(&web, seeds, config.crawl.pages).await;
            self.frontier.add(listed);
        }
        let begun = Instant::now();
        loop {
            let batch = self.frontier.batch(BATCH, PER_HOST);
            if batch.is_empty() {
                return Ok(());
            }
            let had = ask(&web, &config, batch).await;
            let (journal, archive) = self.settle(had);
            self.write("warc.gz", &archive)?;
            let json = serde_json::to_vec(&journal).expect("names and numbers");
            self.write("json", &json)?;
            self.note(&journal);
            if config.progress != ProgressMode::Off {
                eprintln!("{}", self.line(begun, web.slowed_down()));
            }
        }
    }

    /// Orders what came, and finds what is new among its links.
    fn settle(&mut self, had: Vec<(Target, Had)>) -> (Journal, Vec<u8>) {
        let mut archive = archive::head();
        let mut journal = Journal {
            asked: Vec::new(),
            links: Vec::new(),
        };
        for (target, page) in had {
            archive.extend(page.member.unwrap_or_default());
            let links = self.frontier.new_among(target.depth, page.links);
            journal.links.extend(links);
            journal.asked.push(page.asked);
        }
        (journal, archive)
    }

    fn note(&mut self, journal: &Journal) {
        self.frontier
            .asked(journal.asked.iter().map(|asked| &asked.url));
        self.frontier.add(journal.links.iter().cloned());
        for asked in &journal.asked {
            *self.crawled.pages.entry(asked.outcome.clone()).or_default() += 1;
        }
        self.crawled.batches += 1;
    }

    /// Of the next batch.
    fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(self.name(ending))
    }

    fn name(&self, ending: &str) -> String {
        format!("{:06}.{ending}", self.crawled.batches)
    }

    fn write(&self, ending: &str, bytes: &[u8]) -> Result<(), CrawlError> {
        let written = durable::replace(&self.folder, &self.name(ending), bytes);
        written.map_err(|source| CrawlError::Io {
            path: self.path(ending),
            source,
        })
    }

    fn line(&self, begun: Instant, slowed: usize) -> String {
        let asked: u64 = self.crawled.pages.values().sum();
        let stored = self.crawled.pages.get(&Outcome::Stored).unwrap_or(&0);
        let waiting = self.frontier.waiting();
        let seconds = begun.elapsed().as_secs();
        let mut line =
            format!("crawl: {asked} pages asked, {stored} had, {waiting} waiting, {seconds} s");
        if slowed > 0 {
            line += &format!(", {slowed} sites slowed down");
        }
        line
    }
}

/// Asks for a batch's pages, all at once: each waits for its domain. In the batch's order.
async fn ask(web: &Arc<Web>, config: &Config, batch: Vec<Target>) -> Vec<(Target, Had)> {
    let mut asked = JoinSet::new();
    let limits = html::Limits {
        max_bytes: config.fetch.max_page_bytes as usize,
        max_links: MAX_LINKS,
        ..html::Limits::default()
    };
    for (index, target) in batch.into_iter().enumerate() {
        let (web, limits) = (web.clone(), limits.clone());
        asked.spawn(async move {
            let had = page(&web, &target, limits).await;
            (index, target, had)
        });
    }
    let mut had = asked.join_all().await;
    had.sort_by_key(|(index, ..)| *index);
    had.into_iter()
        .map(|(_, target, had)| (target, had))
        .collect()
}

async fn page(web: &Web, target: &Target, limits: html::Limits) -> Had {
    let (answer, request) = web.page(target.url.as_str()).await;
    let mut had = Had {
        asked: Asked {
            url: target.url.clone(),
            outcome: answer.as_ref().err().cloned().unwrap_or(Outcome::Stored),
            status: request.status,
            final_url: request.final_url,
            detail: request.detail,
            ms: request.ms,
        },
        member: None,
        links: Vec::new(),
    };
    let Ok(answer) = answer else {
        return had;
    };
    let url = had.asked.final_url.as_deref().map(Url::parse);
    let url = url.and_then(Result::ok).unwrap_or(target.url.clone());
    // Parsing and compressing take milliseconds: not on the threads that answer the network.
    let read = tokio::task::spawn_blocking(move || read(&url, &answer, &limits)).await;
    let (member, links) = read.expect("hostile pages are errors, not panics");
    had.member = Some(member);
    had.links = links;
    had
}

/// The page as it will stand in the archive, and where it leads.
fn read(url: &Url, answer: &Answer, limits: &html::Limits) -> (Vec<u8>, Vec<Url>) {
    let content_type = answer.headers.get("content-type");
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let member = archive::response(url, &answer.headers, &answer.body.bytes);
    let page = html::extract(&answer.body.bytes, content_type, url, limits);
    let links = page.map_or_else(|_| Vec::new(), frontier::followed);
    (member, links)
}

/// Archives of the crawl in the dataset at `out`, in order: those whose batches are journalled.
pub(crate) fn archives(out: &Path) -> Vec<PathBuf> {
    let folder = out.join(FOLDER);
    let numbers = (0..).map(|number: usize| folder.join(format!("{number:06}.json")));
    numbers
        .take_while(|journal| journal.exists())
        .map(|journal| journal.with_extension("warc.gz"))
        .collect()
}

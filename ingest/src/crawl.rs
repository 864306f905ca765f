//! A crawl: pages from seeds on, breadth first and sites in turn, in batches, each batch to an archive in the dataset.
//!
//! ```text
//! seeds, sitemaps ─► frontier ─► batches ─► manners, fetch ─► in order: _crawl/<seeds>/<n>.warc.gz, then <n>.json
//!                       ▲                                       └─ links ─┘
//! ```
//! A few batches are under way at a time, so that a slow page does not hold up the others at once; what one brings goes to the
//! frontier when those before it have: that is the price of an order that is the frontier's own, whatever the network did. So
//! the same answers give the same archives, and a crawl that was killed asks again what was under way. What fails for reasons
//! that may pass is asked again when nothing else is left, and anew in the next run.

mod address;
mod archive;
mod earlier;
mod frontier;
mod sitemap;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lcl_schemas::outcome::Outcome;
use lcl_schemas::write::durable;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

use crate::config::{Config, ProgressMode};
use crate::dataset::{self, DatasetError, Others};
use crate::fetch::{self, Answer, Before, Came, ClientError, Limits, Validators, Web};
use crate::hostile;
use crate::progress::Counts;
use crate::progress::metrics::{self, MetricsError};
use crate::redo::{List, ListError};
use crate::source::html;
use crate::source::warc::{self, Found, Kind, http};
use earlier::{Earlier, Span};
use frontier::{Frontier, Target};

/// Folder of the archives and journals in a dataset, a folder for each set of seeds.
const FOLDER: &str = "_crawl";
/// Who is at work there.
const LOCK_FILE: &str = "_lock";
/// Pages in a batch at most: what is held, compressed, until all have come.
const BATCH: usize = 64;
/// Pages of one domain in a batch at most.
const PER_DOMAIN: usize = 32;
/// Batches under way at a time: 256 pages are what is asked again after a kill.
const AHEAD: usize = 4;
/// How often a page is asked for in one run.
const TRIES: u32 = 3;
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
    /// Not one page came.
    #[error("no page could be had: {0}")]
    Nothing(String),
    /// Another process is at work there.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// What has been opted out of the dataset cannot be told.
    #[error(transparent)]
    List(#[from] ListError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nobody can listen for Prometheus.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
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
    /// How many batches' links the frontier had when this one was taken from it; where it is not said, those of all before.
    #[serde(default = "all")]
    after: usize,
    asked: Vec<Asked>,
    /// New ones, in the order of the pages that they stand on.
    links: Vec<Target>,
}

fn all() -> usize {
    usize::MAX
}

/// A batch that was taken from the frontier, and whose links it does not have yet.
enum UnderWay {
    /// An earlier run's.
    Known(Journal),
    Asked {
        after: usize,
        pages: JoinHandle<Vec<Had>>,
    },
}

/// One page that was asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    target: Target,
    outcome: Outcome,
    status: Option<u16>,
    final_url: Option<String>,
    detail: Option<String>,
    ms: u64,
    /// By what a later crawl asks whether it has changed.
    #[serde(default, skip_serializing_if = "Validators::is_empty")]
    validators: Validators,
    /// Where it lies in the batch's archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<Span>,
}

/// A page on its way to the archive.
struct Had {
    asked: Asked,
    /// It is what an earlier crawl had.
    kept: bool,
    member: Option<Vec<u8>>,
    links: Vec<Url>,
}

/// Crawls as `config` says, from where it was.
pub(crate) fn run(config: &Config) -> Result<Crawled, CrawlError> {
    let folder = folder(config);
    let made = fs::create_dir_all(&folder).and_then(|()| durable::sweep(&folder));
    made.map_err(|source| CrawlError::Io {
        path: folder.clone(),
        source,
    })?;
    let _alone = dataset::lock(&folder, LOCK_FILE, Others::Nobody)?;
    let seeds = seeds(config)?;
    let mut crawl = Crawl {
        frontier: Frontier::new(&config.crawl, &seeds),
        crawled: Crawled::default(),
        opted_out: Arc::new(List::of_dataset(&config.out)?),
        under_way: VecDeque::new(),
        folder,
    };
    crawl.restore()?;
    let runtime = tokio::runtime::Runtime::new().map_err(CrawlError::Runtime)?;
    runtime.block_on(crawl.go_on(config, &seeds))?;
    match crawl.crawled.pages.contains_key(&Outcome::Stored) {
        true => Ok(crawl.crawled),
        false => {
            let counts = crawl.crawled.pages.iter();
            let counts = counts.map(|(outcome, count)| format!("{outcome} {count}"));
            Err(CrawlError::Nothing(counts.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Where the archives of a crawl are: other seeds are another crawl.
fn folder(config: &Config) -> PathBuf {
    let mut seeds: Vec<_> = config
        .inputs
        .iter()
        .map(|seed| seed.to_string_lossy())
        .collect();
    seeds.sort();
    let hash = format!("{:x}", Sha256::digest(seeds.join("\n")));
    config.out.join(FOLDER).join(&hash[..16])
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

/// Whether another time may be better.
fn may_pass(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::HostDown
            | Outcome::Resolver
            | Outcome::Refused
            | Outcome::Disconnected
            | Outcome::Timeout
            | Outcome::TooSlow
            | Outcome::Truncated
            | Outcome::RobotsUnreachable
            | Outcome::Http(429 | 500..600)
    )
}

/// Whose batch it is.
#[derive(Clone, Copy)]
enum Run {
    Earlier,
    This,
}

struct Crawl {
    folder: PathBuf,
    frontier: Frontier,
    /// The first is the next whose links the frontier gets.
    under_way: VecDeque<UnderWay>,
    crawled: Crawled,
    /// Neither asked for nor archived.
    opted_out: Arc<List>,
}

impl Crawl {
    /// What earlier runs did, in their order.
    fn restore(&mut self) -> Result<(), CrawlError> {
        loop {
            let path = self.path(self.crawled.batches + self.under_way.len(), "json");
            let journal = match Journal::read(&path) {
                Ok(journal) => journal,
                Err(CrawlError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            while self.crawled.batches < journal.after {
                match self.under_way.pop_front() {
                    Some(UnderWay::Known(before)) => self.note(before, Run::Earlier),
                    _ => break,
                }
            }
            if journal.asked.is_empty() {
                // What sitemaps list, before anything was asked for.
                self.note(journal, Run::Earlier);
                continue;
            }
            let asked = journal.asked.iter().map(|asked| &asked.target);
            self.frontier.took(&asked.collect::<Vec<_>>());
            for arrived in journal.asked.iter().filter_map(Asked::arrived) {
                self.frontier.arrived(&arrived);
            }
            self.under_way.push_back(UnderWay::Known(journal));
        }
    }

    async fn go_on(&mut self, config: &Config, seeds: &[Url]) -> Result<(), CrawlError> {
        let counts = Arc::new(Counts::default());
        if let Some(address) = config.metrics {
            metrics::serve(address, counts.clone()).await?;
        }
        let mut config = config.clone();
        let delay = &mut config.fetch.min_delay_s;
        *delay = delay.max(config.crawl.delay_s);
        // Every page waits for the pages of its domain before it.
        let delay = config.fetch.max_crawl_delay_s.max(*delay);
        let longest = (AHEAD * PER_DOMAIN) as f64 * delay;
        config.fetch.max_turn_wait_s = config.fetch.max_turn_wait_s.max(longest);
        let limits = Arc::new(Limits::new(config.flow.images, config.flow.image_bytes));
        let web = Arc::new(Web::new(&config, limits)?);
        let since = config.since.as_deref();
        let earlier = since.map_or_else(|| Ok(Earlier::default()), Earlier::open)?;
        let reading = Arc::new(Reading::new(&config, earlier, self.opted_out.clone()));
        if config.crawl.sitemaps && self.crawled.batches == 0 && self.under_way.is_empty() {
            let listed = sitemap::pages(&web, seeds, &self.frontier, config.crawl.pages).await;
            let journal = Journal {
                after: 0,
                asked: Vec::new(),
                links: self.frontier.new_of(listed.into_iter()),
            };
            self.keep(journal, &archive::head())?;
        }
        let rest = Duration::from_secs_f64(config.fetch.rest_s);
        let begun = Instant::now();
        loop {
            counts.set_pages(&self.crawled.pages);
            let (waiting, slowed) = (self.frontier.waiting(), web.slowed_down());
            counts
                .pages_waiting
                .store(waiting as u64, Ordering::Relaxed);
            counts.sites_slowed.store(slowed as u64, Ordering::Relaxed);
            while self.under_way.len() < AHEAD {
                let mut batch = self.frontier.take(BATCH, PER_DOMAIN);
                if batch.is_empty() && self.under_way.is_empty() {
                    batch = self.frontier.take_again(BATCH, PER_DOMAIN);
                }
                if batch.is_empty() {
                    break;
                }
                let (web, reading) = (web.clone(), reading.clone());
                self.under_way.push_back(UnderWay::Asked {
                    after: self.crawled.batches,
                    pages: tokio::spawn(ask(web, reading, batch, rest)),
                });
            }
            match self.under_way.pop_front() {
                None => return Ok(()),
                Some(UnderWay::Known(journal)) => self.note(journal, Run::Earlier),
                Some(UnderWay::Asked { after, pages }) => {
                    let had = pages.await.expect("panics are caught within");
                    let (journal, archive) = self.settle(after, had);
                    self.keep(journal, &archive)?;
                    self.show(config.progress, begun, web.slowed_down());
                }
            }
        }
    }

    /// Orders what came, and finds what is new among its links.
    fn settle(&mut self, after: usize, had: Vec<Had>) -> (Journal, Vec<u8>) {
        let mut archive = archive::head();
        let mut journal = Journal {
            after,
            asked: Vec::new(),
            links: Vec::new(),
        };
        for mut page in had {
            if let Some(outcome) = self.led_astray(&page.asked) {
                page.asked.outcome = outcome;
            } else {
                if let Some(member) = page.member {
                    page.asked.record = Some(Span {
                        offset: archive.len() as u64,
                        length: member.len() as u64,
                    });
                    archive.extend(member);
                }
                let links = self.frontier.new_among(page.asked.target.depth, page.links);
                journal.links.extend(links);
            }
            journal.asked.push(page.asked);
        }
        (journal, archive)
    }

    /// What becomes of a page that redirects led out of bounds, to one that was opted out, or to one that is known.
    fn led_astray(&mut self, asked: &Asked) -> Option<Outcome> {
        let arrived = asked.arrived()?;
        if self.opted_out.has_url(Some(arrived.clone())) {
            return Some(Outcome::OptedOut);
        }
        if !self.frontier.within(&arrived) {
            return Some(Outcome::Redirects);
        }
        (!self.frontier.arrives(&arrived)).then_some(Outcome::Duplicate)
    }

    fn keep(&mut self, journal: Journal, archive: &[u8]) -> Result<(), CrawlError> {
        self.write("warc.gz", archive)?;
        let json = serde_json::to_vec(&journal).expect("names and numbers");
        self.write("json", &json)?;
        self.note(journal, Run::This);
        Ok(())
    }

    /// Gives the frontier what a batch brought.
    fn note(&mut self, journal: Journal, of: Run) {
        self.frontier.add_new(journal.links);
        for asked in journal.asked {
            if let Some(arrived) = asked.arrived() {
                self.frontier.arrived(&arrived);
            }
            let tries = asked.target.tries + 1;
            let again = match (may_pass(&asked.outcome), tries < TRIES, of) {
                (true, true, _) => Some((tries, Some(Instant::now()))),
                // That run gave it up.
                (true, false, Run::Earlier) => Some((0, None)),
                _ => None,
            };
            let again = again.is_some_and(|(tries, failed)| {
                self.frontier.add_again(Target {
                    tries,
                    failed,
                    ..asked.target
                })
            });
            if !again {
                *self.crawled.pages.entry(asked.outcome).or_default() += 1;
            }
        }
        self.crawled.batches += 1;
    }

    fn path(&self, batch: usize, ending: &str) -> PathBuf {
        self.folder.join(name(batch, ending))
    }

    /// Of the next batch.
    fn write(&self, ending: &str, bytes: &[u8]) -> Result<(), CrawlError> {
        let batch = self.crawled.batches;
        let written = durable::replace(&self.folder, &name(batch, ending), bytes);
        written.map_err(|source| CrawlError::Io {
            path: self.path(batch, ending),
            source,
        })
    }

    fn show(&self, mode: ProgressMode, begun: Instant, slowed: usize) {
        let asked: u64 = self.crawled.pages.values().sum();
        let stored = self.crawled.pages.get(&Outcome::Stored).unwrap_or(&0);
        let (waiting, seconds) = (self.frontier.waiting(), begun.elapsed().as_secs());
        match mode {
            ProgressMode::Off => {}
            ProgressMode::Json => {
                let line = serde_json::json!({
                    "crawl": {"pages_asked": asked, "pages_had": stored, "pages_waiting": waiting},
                    "seconds": seconds, "sites_slowed": slowed,
                });
                eprintln!("{line}");
            }
            ProgressMode::Auto | ProgressMode::Lines => eprintln!(
                "crawl: {asked} pages asked, {stored} had, {waiting} waiting, {slowed} sites slowed down, {seconds} s"
            ),
        }
    }
}

impl Journal {
    fn read(path: &Path) -> Result<Self, CrawlError> {
        let path = path.to_owned();
        match fs::read(&path) {
            Err(source) => Err(CrawlError::Io { path, source }),
            Ok(json) => serde_json::from_slice(&json).map_err(|error| CrawlError::Journal {
                path,
                detail: error.to_string(),
            }),
        }
    }
}

impl Asked {
    /// Where redirects led to a page that was had.
    fn arrived(&self) -> Option<Url> {
        let url = Url::parse(self.final_url.as_deref()?).ok()?;
        (self.outcome == Outcome::Stored && url != self.target.url).then_some(url)
    }
}

/// Asks for a batch's pages, all at once: each waits for its domain, and those that failed for so long. In the batch's order.
async fn ask(web: Arc<Web>, reading: Arc<Reading>, batch: Vec<Target>, rest: Duration) -> Vec<Had> {
    if let Some(failed) = batch.iter().filter_map(|target| target.failed).max() {
        tokio::time::sleep_until((failed + rest).into()).await;
    }
    let mut asked = JoinSet::new();
    for (index, target) in batch.into_iter().enumerate() {
        let (web, reading) = (web.clone(), reading.clone());
        asked.spawn(async move { (index, page(&web, target, reading).await) });
    }
    let mut had = asked.join_all().await;
    had.sort_by_key(|(index, _)| *index);
    had.into_iter().map(|(_, had)| had).collect()
}

/// What reading a page takes.
struct Reading {
    limits: html::Limits,
    agent: String,
    earlier: Earlier,
    opted_out: Arc<List>,
}

/// A page to be read.
enum Unread {
    New(Url, Box<Answer>),
    /// As an earlier crawl archived it.
    Kept(Url),
}

async fn page(web: &Web, target: Target, reading: Arc<Reading>) -> Had {
    if reading.opted_out.has_url(Some(target.url.clone())) {
        return Had::not_asked(target, Outcome::OptedOut);
    }
    let before = reading.earlier.before(&target.url);
    let mut had = asked_for(web, target.clone(), before, &reading).await;
    if had.kept && had.member.is_none() {
        // Its archive is gone: it is asked for as if there had been none.
        had = asked_for(web, target, None, &reading).await;
    }
    had
}

impl Had {
    fn not_asked(target: Target, outcome: Outcome) -> Self {
        Self {
            asked: Asked {
                target,
                outcome,
                status: None,
                final_url: None,
                detail: None,
                ms: 0,
                validators: Validators::default(),
                record: None,
            },
            kept: false,
            member: None,
            links: Vec::new(),
        }
    }
}

async fn asked_for(
    web: &Web,
    target: Target,
    before: Option<&Before>,
    reading: &Arc<Reading>,
) -> Had {
    let (came, request) = web.page(target.url.as_str(), before).await;
    let mut had = Had {
        asked: Asked {
            target,
            outcome: came.as_ref().err().cloned().unwrap_or(Outcome::Stored),
            status: request.status,
            final_url: request.final_url,
            detail: request.detail,
            ms: request.ms,
            validators: request.validators,
            record: None,
        },
        kept: matches!(came, Ok(Came::Unchanged)),
        member: None,
        links: Vec::new(),
    };
    let url = had.asked.final_url.as_deref().map(Url::parse);
    let url = url
        .and_then(Result::ok)
        .unwrap_or(had.asked.target.url.clone());
    let unread = match came {
        Ok(Came::Answer(answer)) => Unread::New(url, Box::new(answer)),
        Ok(Came::Unchanged) => Unread::Kept(had.asked.target.url.clone()),
        Err(_) => return had,
    };
    // Parsing and compressing take milliseconds: not on the threads that answer the network.
    let reading = reading.clone();
    let read = move || hostile::guarded(|| reading.read(&unread));
    let read = tokio::task::spawn_blocking(read).await;
    match read.expect("panics are caught within").flatten() {
        Some((member, links)) => {
            had.member = Some(member);
            had.links = links;
        }
        None => had.asked.outcome = Outcome::Corrupt,
    }
    had
}

impl Reading {
    fn new(config: &Config, earlier: Earlier, opted_out: Arc<List>) -> Self {
        Self {
            opted_out,
            agent: fetch::agent(&config.user_agent()),
            limits: html::Limits {
                max_bytes: config.fetch.max_page_bytes as usize,
                max_links: MAX_LINKS,
                ..html::Limits::default()
            },
            earlier,
        }
    }

    /// The page as it will stand in the archive, and where it leads.
    fn read(&self, page: &Unread) -> Option<(Vec<u8>, Vec<Url>)> {
        let (url, answer) = match page {
            Unread::New(url, answer) => (url, answer),
            Unread::Kept(url) => return self.read_kept(url),
        };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let content_type = answer.headers.get("content-type").map(text);
        let robots = answer.headers.get_all("x-robots-tag").iter().map(text);
        let robots: Vec<_> = robots.collect();
        let bytes = &answer.body.bytes;
        let member = archive::response(url, &answer.headers, bytes);
        Some((
            member,
            self.links(url, content_type.as_deref(), &robots, bytes),
        ))
    }

    /// The same of a page that an earlier crawl archived: its record stays as it was, with its date.
    fn read_kept(&self, url: &Url) -> Option<(Vec<u8>, Vec<Url>)> {
        let member = self.earlier.record(url).ok()?;
        let Ok(Some(Found::Record(record))) = warc::parse(&member, warc::Limits::default()) else {
            return None;
        };
        let at = Url::parse(record.target_uri.as_deref()?).ok()?;
        let whole = record.kind == Kind::Response && record.fault.is_none();
        // A journal and an archive that do not belong together would bring another page.
        if !whole || at != self.earlier.before(url)?.at {
            return None;
        }
        let response = http::response(&record.block?, http::BodyLimits::default()).ok()?;
        if response.fault.is_some() {
            return None;
        }
        let headers = &response.headers;
        let robots: Vec<_> = headers.all("x-robots-tag").map(str::to_owned).collect();
        let links = self.links(&at, headers.get("content-type"), &robots, &response.body);
        Some((member, links))
    }

    fn links(
        &self,
        url: &Url,
        content_type: Option<&str>,
        robots: &[String],
        bytes: &[u8],
    ) -> Vec<Url> {
        let page = html::extract(bytes, content_type, url, &self.limits);
        page.map_or_else(
            |_| Vec::new(),
            |page| frontier::followed(page, robots, &self.agent),
        )
    }
}

fn name(batch: usize, ending: &str) -> String {
    format!("{batch:06}.{ending}")
}

/// Archives of the crawl that `config` says, in order: those whose batches are journalled.
pub(crate) fn archives(config: &Config) -> Vec<PathBuf> {
    let folder = folder(config);
    let numbers = (0..).map(|batch| folder.join(name(batch, "json")));
    numbers
        .take_while(|journal| journal.exists())
        .map(|journal| journal.with_extension("warc.gz"))
        .collect()
}

//! Whom to ask when: every request waits for its turn at its domain, and what becomes of it sets the pace.
//!
//! ```text
//! turn(URL) → host at home, line short? → first in line → pace allows → Turn ─ report(verdict) ─→ pace, rest
//!                    └────── host_down ←──────┘                          └ dropped: as if never asked
//! ```
//!
//! The pace is a registrable domain's, for its hosts are mostly one machine's names. Whether somebody is at home is a
//! host's: a dead name does not keep its living neighbours from being asked. Whoever waits holds nothing but the place in
//! line, so that domains interleave by themselves.

mod pace;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use lcl_schemas::outcome::{Class, Outcome};
use moka::future::Cache;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::{Host, Url};

use super::retry::Failure;
use crate::config::Fetch;
pub(super) use pace::Settings;
use pace::{Health, Next, Pace};

/// Domains remembered, and as many hosts; one that falls out starts afresh.
const REMEMBERED: u64 = 100_000;
/// Without a request for so long a domain is forgotten, so that no hold can be longer.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// What a request came to, as far as its server is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Somebody is there and not overworked, whatever the answer was.
    Answered,
    /// 429 or 503, with the pause that was asked for.
    Busy(Option<Duration>),
    /// No connection, no answer in time, or half of one.
    Silent,
}

impl Verdict {
    /// Of what a request came to; `None` where that says nothing of the server.
    pub(super) fn of<T>(done: &Result<T, Failure>) -> Option<Self> {
        let Err(failure) = done else {
            return Some(Self::Answered);
        };
        match failure.outcome {
            Outcome::Http(429 | 503) => Some(Self::Busy(failure.retry_after)),
            Outcome::Timeout | Outcome::Refused | Outcome::Disconnected | Outcome::Truncated => {
                Some(Self::Silent)
            }
            // Neither a good sign nor one of overload.
            Outcome::Http(500..600) => None,
            Outcome::Http(_) | Outcome::TooLarge => Some(Self::Answered),
            _ if failure.outcome.class() == Class::Manners => Some(Self::Answered),
            _ => None,
        }
    }
}

impl From<&Fetch> for Settings {
    fn from(fetch: &Fetch) -> Self {
        Self {
            places: fetch.per_domain,
            least_delay: Duration::from_secs_f64(fetch.min_delay_s),
            longest_delay: Duration::from_secs_f64(fetch.max_crawl_delay_s),
            longest_hold: Duration::from_secs_f64(fetch.max_retry_after_s),
            failures: fetch.rest_after,
            rest: Duration::from_secs_f64(fetch.rest_s),
            longest_wait: Duration::from_secs_f64(fetch.max_turn_wait_s),
        }
    }
}

/// All domains' paces.
pub(super) struct Politeness {
    settings: Settings,
    domains: Cache<String, Arc<Domain>>,
    hosts: Cache<String, Arc<Mutex<Health>>>,
    slow: Arc<AtomicUsize>,
}

impl Politeness {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            // Who waits for a domain has its pace: it must not be forgotten meanwhile.
            domains: remembered(IDLE.max(settings.longest_wait * 2)),
            hosts: remembered(IDLE),
            slow: Arc::default(),
        }
    }

    /// Domains that are asked more slowly than they might be, because of how they answered.
    pub(super) fn slowed_down(&self) -> usize {
        self.slow.load(Ordering::Relaxed)
    }

    /// Waits until `url`'s server may be asked; `crawl_delay` is what its robots.txt wants between two requests.
    ///
    /// # Errors
    /// `crawl_delay` for a longer one than a run makes; `host_down` for a host that rests, or where the line is longer
    /// than anybody waits: one slow site must not hold up every document that shows a picture of it.
    pub(super) async fn turn(
        &self,
        url: &Url,
        crawl_delay: Option<Duration>,
    ) -> Result<Turn, Outcome> {
        if crawl_delay.is_some_and(|asked| asked > self.settings.longest_delay) {
            return Err(Outcome::CrawlDelay);
        }
        let host = self.hosts.get_with(host(url), async { Arc::default() });
        let host = host.await;
        let fresh = async { Arc::new(Domain::new(self.settings, &self.slow)) };
        let domain = self.domains.get_with_by_ref(domain(url), fresh).await;
        if locked(&host).rests(Instant::now()) {
            return Err(Outcome::HostDown);
        }
        let delay = crawl_delay.unwrap_or_default();
        if domain.wait(delay) > self.settings.longest_wait {
            return Err(Outcome::HostDown);
        }
        let _waiting = Counted::new(&domain.waiting);
        let _first_in_line = domain.line.lock().await;
        let begun = loop {
            let now = Instant::now();
            let next = match locked(&host).rests(now) {
                true => Next::Never,
                false => domain.begin(now, delay),
            };
            match next {
                Next::Now => break now,
                Next::Never => return Err(Outcome::HostDown),
                Next::WhenOneEnds => domain.changed.notified().await,
                Next::At(time) => {
                    // Either may come first: a neighbour's failure can make the wait longer, or vain.
                    let _ = tokio::time::timeout_at(time, domain.changed.notified()).await;
                }
            }
        };
        Ok(Turn {
            begun,
            host,
            domain: domain.clone(),
            verdict: None,
        })
    }
}

fn remembered<T: Clone + Send + Sync + 'static>(idle: Duration) -> Cache<String, T> {
    Cache::builder()
        .max_capacity(REMEMBERED)
        .time_to_idle(idle)
        .build()
}

/// Leave to make one request, and a place at its domain until it is dropped.
#[must_use = "a turn that is dropped is over"]
pub(super) struct Turn {
    begun: Instant,
    host: Arc<Mutex<Health>>,
    domain: Arc<Domain>,
    verdict: Option<Verdict>,
}

impl Turn {
    /// Says what became of the request, and ends the turn.
    pub(super) fn report(mut self, verdict: Option<Verdict>) {
        self.verdict = verdict;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(verdict) = self.verdict {
            locked(&self.host).learn(verdict, now, &self.domain.settings);
        }
        self.domain.end(self.begun, self.verdict, now);
    }
}

/// One domain's line and pace.
struct Domain {
    settings: Settings,
    /// Held by whoever is next; tokio's lock is fair, so this is the line.
    line: tokio::sync::Mutex<()>,
    waiting: Arc<AtomicUsize>,
    /// Wakes who is next when the pace has changed.
    changed: Notify,
    pace: Mutex<(Pace, Option<Counted>)>,
    slow: Arc<AtomicUsize>,
}

impl Domain {
    fn new(settings: Settings, slow: &Arc<AtomicUsize>) -> Self {
        Self {
            settings,
            line: tokio::sync::Mutex::default(),
            waiting: Arc::default(),
            changed: Notify::new(),
            pace: Mutex::new((Pace::new(settings), None)),
            slow: slow.clone(),
        }
    }

    /// About how long whoever joins the line will stand in it, if all in it want `delay` too.
    fn wait(&self, delay: Duration) -> Duration {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let delay = delay.max(locked(&self.pace).0.delay());
        delay.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    fn begin(&self, now: Instant, delay: Duration) -> Next {
        locked(&self.pace).0.begin(now, delay)
    }

    fn end(&self, begun: Instant, verdict: Option<Verdict>, now: Instant) {
        let mut pace = locked(&self.pace);
        let (pace, counted) = &mut *pace;
        pace.end(begun, verdict, now);
        match pace.is_slow() {
            true if counted.is_none() => *counted = Some(Counted::new(&self.slow)),
            true => {}
            false => *counted = None,
        }
        self.changed.notify_one();
    }
}

/// One in a count, for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().expect("nothing panics while it is held")
}

/// The registrable domain, by the Public Suffix List; an address or a name without one is its own.
pub(crate) fn domain(url: &Url) -> &str {
    let host = url.host_str().unwrap_or_default();
    match url.host() {
        Some(Host::Domain(name)) => psl::domain_str(name).unwrap_or(host),
        _ => host,
    }
}

/// Where a connection would go.
fn host(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

/// The pause that a `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let until = httpdate::parse_http_date(value).ok()?;
            Some(until.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests;

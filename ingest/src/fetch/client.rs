//! An image from the web: guarded, polite, bounded in time and bytes.
//!
//! ```text
//! URL → guard → robots.txt, tdmrep.json → turn → request ─┬─ opted out → outcome
//!                                                         ├─ 3xx → the next URL, from the start
//!                                                         ├─ 2xx → bytes, under the limit
//!                                                         └─ else → outcome ─ may another try help? → wait → again
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lcl_schemas::outcome::Outcome;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, redirect};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::dns::Guarded;
use super::failure;
use super::guard::{self, Reach};
use super::limits::{Body, Held, Limits, shrink};
use super::log::{Request, Validators};
use super::opt_out::{self, OptOut, TdmFile};
use super::origin::PerOrigin;
use super::politeness::{self, Politeness, Settings, Verdict};
use super::retry::{self, Failure};
use super::robots::{self, RobotsCache};
use crate::config::{Config, Fetch};

/// sitemaps.org: 50 MB.
const MAX_SITEMAP_BYTES: u64 = 50 << 20;
/// How long a body may come at any rate.
const GRACE_S: f64 = 5.0;

/// The HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct ClientError(#[from] reqwest::Error);

/// The web, as we may see it.
pub(crate) struct Web {
    client: Client,
    reach: Reach,
    settings: Fetch,
    limits: Arc<Limits>,
    names: Guarded,
    politeness: Politeness,
    robots: RobotsCache,
    tdm: PerOrigin<TdmFile>,
}

/// When an image's time is over. Waiting for our own permits, or for robots.txt, does not count.
struct Clock {
    end: Instant,
}

impl Clock {
    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    async fn excluding<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = wait.await;
        self.end += begun.elapsed();
        done
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let timed = tokio::time::timeout(self.left(), work).await;
        timed.unwrap_or_else(|_| Err(Outcome::Timeout.into()))
    }
}

/// What is wanted of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// All of it or nothing.
    Image,
    /// All of it, if it says that it is HTML.
    Page,
    /// These bytes of it.
    Range { first: u64, length: u64 },
    /// As many bytes of its beginning; what says whether we may ask is not itself asked about.
    Rules(u64),
}

/// What is asked for, and what was had of it before.
#[derive(Clone, Copy)]
struct Asked<'a> {
    want: Want,
    before: Option<&'a Before>,
}

/// An answer's head, and the place that its body will hold.
struct Head {
    response: Response,
    place: OwnedSemaphorePermit,
}

/// What was wanted.
pub(crate) struct Answer {
    pub(crate) body: Body,
    pub(crate) headers: HeaderMap,
}

/// What was had before, and from where: it is asked for only if it has changed.
pub(crate) struct Before {
    pub(crate) validators: Validators,
    /// Where redirects led then: only there the validators mean something.
    pub(crate) at: Url,
}

/// What asking came to.
pub(crate) enum Came {
    Answer(Answer),
    /// It is what was had before.
    Unchanged,
}

/// Where one request leads.
enum Hop {
    Arrived(Came),
    Moved(Url),
}

impl Came {
    /// Where nothing was known before.
    pub(super) fn answer(self) -> Result<Answer, Outcome> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Unchanged => Err(Outcome::Protocol),
        }
    }
}

impl Web {
    pub(crate) fn new(config: &Config, limits: Arc<Limits>) -> Result<Self, ClientError> {
        // A second installation is refused and changes nothing: the first was ours, or the embedder's choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = config.fetch.clone();
        let reach = match settings.allow_private_addresses {
            true => Reach::Any,
            false => Reach::Public,
        };
        let connect = Duration::from_secs_f64(settings.connect_timeout_s);
        // Four fifths, so that a lookup ends with its own error before the connection's time is over.
        let names = Guarded::new(reach, connect * 4 / 5);
        let client = Client::builder()
            .user_agent(config.user_agent())
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(connect)
            .read_timeout(Duration::from_secs_f64(settings.read_timeout_s))
            .pool_max_idle_per_host(settings.per_domain)
            .dns_resolver(Arc::new(names.clone()))
            .build()?;
        Ok(Self {
            client,
            reach,
            limits,
            names,
            politeness: Politeness::new(Settings::from(&settings)),
            robots: RobotsCache::new(&config.user_agent()),
            tdm: TdmFile::cache(),
            settings,
        })
    }

    /// Addresses of sitemaps that the robots.txt of `url`'s origin names.
    pub(crate) async fn sitemaps(&self, url: &Url) -> Vec<String> {
        let load = |file| Box::pin(self.rules(file, robots::MAX_BYTES));
        self.robots.sitemaps(url, load).await
    }

    /// The bytes of a sitemap.
    pub(crate) async fn sitemap(&self, url: Url) -> Result<Vec<u8>, Outcome> {
        self.rules(url, MAX_SITEMAP_BYTES).await
    }

    /// Domains asked more slowly than they might be, because of how they answered.
    pub(crate) fn slowed_down(&self) -> usize {
        self.politeness.slowed_down()
    }

    /// Whether the name servers have answered nothing for long.
    pub(crate) fn resolver_broken(&self) -> bool {
        self.names.broken()
    }

    /// The image at `url`, and what the log says of it.
    pub(super) async fn image(
        &self,
        url: &str,
        before: Option<&Before>,
    ) -> (Result<Came, Outcome>, Request) {
        self.get(url, Want::Image, before).await
    }

    /// The page at `url`, and what the log says of it.
    pub(crate) async fn page(
        &self,
        url: &str,
        before: Option<&Before>,
    ) -> (Result<Came, Outcome>, Request) {
        self.get(url, Want::Page, before).await
    }

    /// Bytes of the file at `url`.
    pub(crate) async fn range(
        &self,
        url: &str,
        first: u64,
        length: u64,
    ) -> (Result<Answer, Outcome>, Request) {
        let (came, request) = self.get(url, Want::Range { first, length }, None).await;
        (came.and_then(Came::answer), request)
    }

    async fn get(
        &self,
        url: &str,
        want: Want,
        before: Option<&Before>,
    ) -> (Result<Came, Outcome>, Request) {
        let begun = Instant::now();
        let mut request = Request::begin(url);
        let asked = Asked { want, before };
        let came = match Url::parse(url) {
            Ok(url) => {
                let mut came = self.get_with_retries(&url, asked, &mut request).await;
                // Some servers take no conditions, or no headers of that size.
                if before.is_some() && matches!(came, Err(Outcome::Http(412 | 431))) {
                    let asked = Asked { want, before: None };
                    came = self.get_with_retries(&url, asked, &mut request).await;
                }
                came
            }
            Err(error) => {
                request.detail = Some(error.to_string());
                Err(Outcome::BadUrl)
            }
        };
        request.ms = begun.elapsed().as_millis() as u64;
        match &came {
            Ok(Came::Answer(answer)) => request.bytes = Some(answer.body.bytes.len() as u64),
            Ok(Came::Unchanged) => request.bytes = Some(0),
            Err(outcome) => request.outcome = outcome.clone(),
        }
        (came, request)
    }

    async fn get_with_retries(
        &self,
        url: &Url,
        asked: Asked<'_>,
        request: &mut Request,
    ) -> Result<Came, Outcome> {
        let mut clock = Clock {
            end: Instant::now() + self.settings.deadline(),
        };
        for tried in 1.. {
            let failure = match self.follow(url, asked, &mut clock, request).await {
                Ok(came) => return Ok(came),
                Err(failure) => failure,
            };
            let pause = retry::pause(&self.settings, &failure, tried);
            let Some(pause) = pause.filter(|&pause| pause < clock.left()) else {
                return Err(failure.outcome);
            };
            tokio::time::sleep(pause).await;
        }
        unreachable!("the number of tries has an end")
    }

    /// One try: the chain of redirects to its end, every hop checked as the first.
    async fn follow(
        &self,
        url: &Url,
        asked: Asked<'_>,
        clock: &mut Clock,
        request: &mut Request,
    ) -> Result<Came, Failure> {
        let mut url = url.clone();
        for _ in 0..=self.settings.max_redirects {
            // Credentials in a page's URL are not ours to use. Neither call fails where there is a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            guard::check(&url, self.reach, &self.settings.ports)?;
            let delay = match asked.want {
                Want::Rules(_) => None,
                _ => clock.excluding(self.leave(&url)).await?,
            };
            let turn = clock.excluding(self.politeness.turn(&url, delay)).await?;
            let hop = self.hop(&url, asked, clock, request).await;
            turn.report(Verdict::of(&hop));
            match hop? {
                Hop::Arrived(came) => return Ok(came),
                Hop::Moved(to) => url = to,
            }
        }
        Err(Outcome::Redirects.into())
    }

    /// Whether an origin's files leave `url` to us, and the pause that they want between two requests.
    async fn leave(&self, url: &Url) -> Result<Option<Duration>, Outcome> {
        let load = |file| Box::pin(self.rules(file, robots::MAX_BYTES));
        let robots = self.robots.check(url, load).await?;
        if self.settings.tdm_file && self.settings.opt_outs.contains(&OptOut::TdmReserved) {
            let load = |file| Box::pin(self.rules(file, opt_out::MAX_TDM_BYTES));
            let tdm = self.tdm.get(url, load, TdmFile::read).await?;
            if tdm.reserves(url) {
                return Err(Outcome::TdmReserved);
            }
        }
        Ok(robots.crawl_delay())
    }

    /// One request, and what its answer means.
    async fn hop(
        &self,
        url: &Url,
        asked: Asked<'_>,
        clock: &mut Clock,
        request: &mut Request,
    ) -> Result<Hop, Failure> {
        let want = asked.want;
        let before = asked.before.filter(|before| before.at == *url);
        let head = self.ask(url, want, before, clock, request).await?;
        let status = head.response.status().as_u16();
        request.final_url = Some(url.to_string());
        request.status = Some(status);
        let headers = head.response.headers();
        if matches!(want, Want::Image | Want::Page) && status < 400 {
            self.check_opt_out(headers)?;
        }
        match status {
            206 if matches!(want, Want::Range { .. }) => {
                self.arrived(head, want, clock, request).await
            }
            // All of the file: a server that knows no ranges.
            200 | 203 if matches!(want, Want::Range { .. }) => Err(Outcome::Protocol.into()),
            200 | 203 if want == Want::Page && !is_html(headers) => {
                Err(Outcome::Unsupported.into())
            }
            200 | 203 => self.arrived(head, want, clock, request).await,
            304 if let Some(before) = before => {
                request.validators = before.validators.clone();
                Ok(Hop::Arrived(Came::Unchanged))
            }
            301 | 302 | 303 | 307 | 308 => Ok(Hop::Moved(next(url, headers)?)),
            400..600 => Err(Failure {
                outcome: Outcome::Http(status),
                retry_after: retry_after(headers),
            }),
            _ => Err(Outcome::Protocol.into()),
        }
    }

    async fn arrived(
        &self,
        head: Head,
        want: Want,
        clock: &mut Clock,
        request: &mut Request,
    ) -> Result<Hop, Failure> {
        let headers = head.response.headers().clone();
        let body = self.body(head, want, clock, request).await?;
        Ok(Hop::Arrived(Came::Answer(Answer { body, headers })))
    }

    fn check_opt_out(&self, headers: &HeaderMap) -> Result<(), Outcome> {
        // An odd octet somewhere in a value does not unsay the rest.
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let tags: Vec<_> = headers.get_all("x-robots-tag").iter().map(text).collect();
        let tags = tags.iter().map(String::as_str);
        let tdm = headers.get("tdm-reservation").map(text);
        let heeded = &self.settings.opt_outs;
        match opt_out::of_headers(tags, tdm.as_deref(), self.robots.agent(), heeded) {
            Some(signal) => Err(signal.into()),
            None => Ok(()),
        }
    }

    /// Sends one request.
    async fn ask(
        &self,
        url: &Url,
        want: Want,
        before: Option<&Before>,
        clock: &mut Clock,
        request: &mut Request,
    ) -> Result<Head, Failure> {
        let place = clock.excluding(self.limits.place()).await;
        let sent = clock.within(async {
            let mut asking = self.client.get(url.clone());
            if let Want::Range { first, length } = want {
                let last = first.saturating_add(length).saturating_sub(1);
                asking = asking.header(RANGE, format!("bytes={first}-{last}"));
            }
            if let Some(Validators {
                etag,
                last_modified,
            }) = before.map(|before| &before.validators)
            {
                let conditions = [(IF_NONE_MATCH, etag), (IF_MODIFIED_SINCE, last_modified)];
                for (name, value) in conditions {
                    if let Some(value) = value {
                        asking = asking.header(name, value);
                    }
                }
            }
            let answer = asking.send().await;
            answer.map_err(|error| self.failed(&error, request))
        });
        let response = sent.await?;
        Ok(Head { response, place })
    }

    /// Reads a body. Its bytes are admitted before they come: by the announced length, else by the most there may be.
    async fn body(
        &self,
        head: Head,
        want: Want,
        clock: &mut Clock,
        request: &mut Request,
    ) -> Result<Body, Failure> {
        let mut response = head.response;
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        request.validators = Validators::of(header(ETAG), header(LAST_MODIFIED));
        let announced: Option<u64> = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let (max, whole) = match want {
            Want::Image => (self.settings.max_bytes, true),
            Want::Page => (self.settings.max_page_bytes, true),
            Want::Range { length, .. } => (length.min(self.settings.max_bytes), true),
            Want::Rules(max) => (max, false),
        };
        if whole && announced.is_some_and(|length| length > max) {
            return Err(Outcome::TooLarge.into());
        }
        let expected = announced.unwrap_or(max).min(max);
        let mut kib = clock.excluding(self.limits.bytes(expected)).await;
        let begun = Instant::now();
        let bytes = clock.within(async {
            // Admitted already: never more than there is leave for.
            let mut bytes =
                Vec::with_capacity(announced.map_or(0, |length| length.min(max) as usize));
            loop {
                let seconds = begun.elapsed().as_secs_f64();
                if seconds > GRACE_S && (bytes.len() as f64) < self.settings.min_rate * seconds {
                    return Err(Outcome::TooSlow.into());
                }
                match response.chunk().await {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                    Ok(None) => return Ok(bytes),
                    Err(error) => {
                        return Err(self.broke_off(&error, announced, bytes.len(), request));
                    }
                }
                if bytes.len() as u64 > max {
                    bytes.truncate(max as usize);
                    return match whole {
                        true => Err(Outcome::TooLarge.into()),
                        false => Ok(bytes),
                    };
                }
            }
        });
        let bytes = bytes.await?;
        shrink(&mut kib, bytes.len());
        let held = Held {
            _place: head.place,
            _kib: kib,
        };
        Ok(Body { bytes, held })
    }

    /// The beginning of a file in which an origin says what it allows.
    async fn rules(&self, file: Url, max: u64) -> Result<Vec<u8>, Outcome> {
        let mut unlogged = Request::begin(file.as_str());
        let asked = Asked {
            want: Want::Rules(max),
            before: None,
        };
        let came = self.get_with_retries(&file, asked, &mut unlogged).await;
        came.and_then(Came::answer).map(|answer| answer.body.bytes)
    }

    fn failed(&self, error: &reqwest::Error, request: &mut Request) -> Failure {
        let mut detail = error.to_string();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(inner) = cause {
            detail = format!("{detail}: {inner}");
            cause = inner.source();
        }
        request.detail = Some(detail);
        failure::outcome(error).into()
    }

    fn broke_off(
        &self,
        error: &reqwest::Error,
        announced: Option<u64>,
        read: usize,
        request: &mut Request,
    ) -> Failure {
        let failure = self.failed(error, request);
        match announced {
            Some(length) if failure.outcome != Outcome::Timeout && (read as u64) < length => {
                Outcome::Truncated.into()
            }
            _ => failure,
        }
    }
}

/// Where nothing is said, the bytes will tell.
fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_none_or(|kind| {
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        matches!(kind.as_str(), "text/html" | "application/xhtml+xml")
    })
}

fn next(from: &Url, headers: &HeaderMap) -> Result<Url, Outcome> {
    let location = headers.get(LOCATION).ok_or(Outcome::Protocol)?;
    // RFC 9110 allows ASCII; servers send UTF-8 too.
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| Outcome::BadUrl)?;
    from.join(location).map_err(|_| Outcome::BadUrl)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    politeness::retry_after(value, SystemTime::now())
}

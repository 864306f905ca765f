//! An image from the web: guarded, polite, bounded in time and bytes.
//!
//! ```text
//! URL → guard → robots.txt → permits → request ─┬─ 3xx → the next URL, from the start
//!                                               ├─ 2xx → bytes, under the limit
//!                                               └─ else → outcome ─ may another try help? → wait → again
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use lcl_schemas::outcome::Outcome;
use moka::future::Cache;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, redirect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::dns::Guarded;
use super::failure;
use super::guard::{self, Reach};
use super::limits::{Body, Held, Limits, shrink};
use super::log::Request;
use super::retry::{self, Failure};
use super::robots::{self, RobotsCache};
use crate::config::{Config, Fetch};

/// Hosts whose places are remembered; one that falls out starts afresh.
const HOSTS: u64 = 100_000;

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
    hosts: Cache<String, Arc<Semaphore>>,
    robots: RobotsCache,
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
    /// Its beginning; robots.txt itself is not asked about.
    Robots,
}

/// An answer's head, and the permits under which its body is read.
struct Head {
    response: Response,
    place: OwnedSemaphorePermit,
    _host: OwnedSemaphorePermit,
}

impl Web {
    pub(super) fn new(config: &Config, limits: Arc<Limits>) -> Result<Self, ClientError> {
        // A second installation is refused and changes nothing: the first was ours, or the embedder's choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = config.fetch.clone();
        let reach = match settings.allow_private_addresses {
            true => Reach::Any,
            false => Reach::Public,
        };
        let client = Client::builder()
            .user_agent(config.user_agent())
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(Duration::from_secs_f64(settings.connect_timeout_s))
            .read_timeout(Duration::from_secs_f64(settings.read_timeout_s))
            .pool_max_idle_per_host(settings.per_host)
            .dns_resolver(Arc::new(Guarded(reach)))
            .build()?;
        Ok(Self {
            client,
            reach,
            limits,
            hosts: Cache::new(HOSTS),
            robots: RobotsCache::new(&config.user_agent()),
            settings,
        })
    }

    /// The image at `url`, and what the log says of it.
    pub(super) async fn get(&self, url: &str) -> (Result<Body, Outcome>, Request) {
        let begun = Instant::now();
        let mut request = Request::begin(url);
        let body = match Url::parse(url) {
            Ok(url) => self.get_with_retries(&url, Want::Image, &mut request).await,
            Err(error) => {
                request.detail = Some(error.to_string());
                Err(Outcome::BadUrl)
            }
        };
        request.ms = begun.elapsed().as_millis() as u64;
        match &body {
            Ok(body) => request.bytes = Some(body.bytes.len() as u64),
            Err(outcome) => request.outcome = outcome.clone(),
        }
        (body, request)
    }

    async fn get_with_retries(
        &self,
        url: &Url,
        want: Want,
        request: &mut Request,
    ) -> Result<Body, Outcome> {
        let mut clock = Clock {
            end: Instant::now() + self.settings.deadline(),
        };
        for tried in 1.. {
            let failure = match self.follow(url, want, &mut clock, request).await {
                Ok(body) => return Ok(body),
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
        want: Want,
        clock: &mut Clock,
        request: &mut Request,
    ) -> Result<Body, Failure> {
        let mut url = url.clone();
        for _ in 0..=self.settings.max_redirects {
            // Credentials in a page's URL are not ours to use. Neither call fails where there is a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            guard::check(&url, self.reach)?;
            if want == Want::Image {
                let load = |file| Box::pin(self.robots_txt(file));
                clock.excluding(self.robots.check(&url, load)).await?;
            }
            let head = self.ask(&url, clock, request).await?;
            request.final_url = Some(url.to_string());
            request.status = Some(head.response.status().as_u16());
            match head.response.status().as_u16() {
                200 | 203 => return self.body(head, want, clock, request).await,
                301 | 302 | 303 | 307 | 308 => url = next(&url, head.response.headers())?,
                status @ 400..600 => {
                    return Err(Failure {
                        outcome: Outcome::Http(status),
                        retry_after: retry_after(head.response.headers()),
                    });
                }
                _ => return Err(Outcome::Protocol.into()),
            }
        }
        Err(Outcome::Redirects.into())
    }

    /// Sends one request. The host's place is waited for first: a slow host's queue then holds up nobody else's images.
    async fn ask(
        &self,
        url: &Url,
        clock: &mut Clock,
        request: &mut Request,
    ) -> Result<Head, Failure> {
        let key = url.host_str().unwrap_or_default();
        let places = async { Arc::new(Semaphore::new(self.settings.per_host)) };
        let host = self.hosts.get_with_by_ref(key, places).await;
        let (host, place) = clock
            .excluding(async { (host.acquire_owned().await, self.limits.place().await) })
            .await;
        let sent = clock.within(async {
            let answer = self.client.get(url.clone()).send().await;
            answer.map_err(|error| self.failed(&error, request))
        });
        Ok(Head {
            response: sent.await?,
            place,
            _host: host.expect("never closed"),
        })
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
        request.etag = header(ETAG).map(str::to_owned);
        let announced: Option<u64> = header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let (max, whole) = match want {
            Want::Image => (self.settings.max_bytes, true),
            Want::Robots => (robots::MAX_BYTES, false),
        };
        if whole && announced.is_some_and(|length| length > max) {
            return Err(Outcome::TooLarge.into());
        }
        let expected = announced.unwrap_or(max).min(max);
        let mut kib = clock.excluding(self.limits.bytes(expected)).await;
        let bytes = clock.within(async {
            let mut bytes = Vec::new();
            loop {
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

    async fn robots_txt(&self, file: Url) -> Result<Vec<u8>, Outcome> {
        let mut unlogged = Request::begin(file.as_str());
        let body = self
            .get_with_retries(&file, Want::Robots, &mut unlogged)
            .await;
        body.map(|body| body.bytes)
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

fn next(from: &Url, headers: &HeaderMap) -> Result<Url, Outcome> {
    let location = headers.get(LOCATION).ok_or(Outcome::Protocol)?;
    // RFC 9110 allows ASCII; servers send UTF-8 too.
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| Outcome::BadUrl)?;
    from.join(location).map_err(|_| Outcome::BadUrl)
}

/// In seconds; the form with a date is rare and taken as absent.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

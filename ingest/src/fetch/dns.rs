//! Names to addresses that may be asked, telling names that are dead from name servers that are.
//!
//! ```text
//! name → remembered? → hosts file → name servers ─┬─ addresses → those that may be asked, or PrivateAddress
//!                                                 ├─ none, or no such name → DeadName
//!                                                 └─ failure, or silence   → NoAnswer, never remembered
//! ```
//!
//! Filtering where the connection is made, not before, leaves a name no second answer to change its mind with.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name as DnsName, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};
use moka::Expiry;
use moka::future::Cache;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::{PrivateAddress, Reach, allows};

/// Names remembered, dead ones among them.
const REMEMBERED: u64 = 100_000;
/// Names of content networks live for seconds, and a crawl asks for them a thousand times in those.
const LEAST_TTL: Duration = Duration::from_secs(60);
const MOST_TTL: Duration = Duration::from_secs(60 * 60);
/// RFC 2308, 5, advises one to three hours at most; a name that comes to life should be found within a run.
const MOST_NEGATIVE_TTL: Duration = Duration::from_secs(5 * 60);
/// Lookups in a row without an answer after which it is not the names' fault. Lists of URLs have runs of names whose own
/// servers are gone, but not of so many.
const BROKEN: u32 = 50;

/// Why a name has no address.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Unresolved {
    /// By a name server's word.
    #[error("the name does not exist, or has no address")]
    DeadName,
    /// Of the name itself nothing is known.
    #[error("the name servers gave no answer: {0}")]
    NoAnswer(NetError),
}

/// A resolver that gives only addresses within reach.
#[derive(Clone)]
pub(super) struct Guarded {
    names: Arc<Names>,
    reach: Reach,
}

impl Guarded {
    /// With the system's name servers and hosts file. Without a readable list of servers the system's own resolver is
    /// asked, which does not tell dead names from dead servers: all are dead names then.
    ///
    /// `patience` is what a lookup takes at most. It has to be less than a connection may take: the client's own limit
    /// would otherwise hide what happened.
    pub(super) fn new(reach: Reach, patience: Duration) -> Self {
        let servers = TokioResolver::builder_tokio().and_then(|system| build(system, patience));
        Self::with(
            servers.ok(),
            Hosts::from_system().unwrap_or_default(),
            reach,
        )
    }

    fn with(servers: Option<TokioResolver>, hosts: Hosts, reach: Reach) -> Self {
        let names = Arc::new(Names {
            servers,
            hosts,
            known: Cache::builder()
                .max_capacity(REMEMBERED)
                .expire_after(ByTtl)
                .build(),
            unanswered: AtomicU32::new(0),
        });
        Self { names, reach }
    }

    /// Whether the name servers have answered none of the last fifty lookups.
    pub(super) fn broken(&self) -> bool {
        self.names.unanswered.load(Ordering::Relaxed) >= BROKEN
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { names, reach } = self.clone();
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            let within = found.iter().filter(|&&address| allows(address, reach));
            let within: Vec<_> = within.map(|&address| SocketAddr::new(address, 0)).collect();
            match within.is_empty() {
                true => Err(PrivateAddress.into()),
                false => Ok(Box::new(within.into_iter()) as Addrs),
            }
        })
    }
}

fn build(
    mut builder: ResolverBuilder<TokioRuntimeProvider>,
    patience: Duration,
) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.attempts = 1;
    options.timeout = patience / 2;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Both are done here: a hit must not look like an answer of the servers, and a hosts file knows one family mostly,
    // for the other of which the servers would be waited for.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // Over TCP; at 32, the default, the 33rd lookup of a burst would fail as "busy".
    options.max_active_requests = 1024;
    builder.build()
}

/// What is known of a name; without addresses, that it is dead.
#[derive(Clone)]
struct Answer {
    addresses: Arc<[IpAddr]>,
    ttl: Duration,
}

impl Answer {
    fn found(addresses: impl Iterator<Item = IpAddr>, ttl: Duration) -> Self {
        Self {
            addresses: addresses.collect(),
            ttl: ttl.clamp(LEAST_TTL, MOST_TTL),
        }
    }

    fn dead(ttl: Duration) -> Self {
        Self {
            addresses: Arc::default(),
            ttl: ttl.clamp(LEAST_TTL, MOST_NEGATIVE_TTL),
        }
    }
}

/// An answer stands as long as it says.
struct ByTtl;

impl Expiry<String, Answer> for ByTtl {
    fn expire_after_create(&self, _: &String, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.ttl)
    }
}

struct Names {
    /// `None`: the system's resolver.
    servers: Option<TokioResolver>,
    hosts: Hosts,
    known: Cache<String, Answer>,
    /// Lookups since the servers last answered.
    unanswered: AtomicU32,
}

impl Names {
    /// At least one. Whoever asks for a name that is being looked up waits for the same lookup.
    async fn addresses(&self, name: &str) -> Result<Arc<[IpAddr]>, Unresolved> {
        let answer = self.known.try_get_with_by_ref(name, self.look_up(name));
        let answer = answer.await.map_err(Arc::unwrap_or_clone)?;
        match answer.addresses.is_empty() {
            true => Err(Unresolved::DeadName),
            false => Ok(answer.addresses),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Answer, Unresolved> {
        let Ok(parsed) = DnsName::from_utf8(absolute(name)) else {
            return Ok(Answer::dead(MOST_NEGATIVE_TTL));
        };
        let listed = self.listed(&parsed);
        if !listed.is_empty() {
            return Ok(Answer::found(listed.into_iter(), MOST_TTL));
        }
        match &self.servers {
            Some(servers) => self.ask(servers, parsed).await,
            None => Ok(ask_system(name).await),
        }
    }

    /// By the hosts file.
    fn listed(&self, name: &DnsName) -> Vec<IpAddr> {
        let of = |family| {
            let query = Query::query(name.clone(), family);
            self.hosts.lookup_static_host(&query)
        };
        let found = [RecordType::A, RecordType::AAAA].map(of);
        let records = found.iter().flatten().flat_map(|found| found.answers());
        records.filter_map(|record| record.data.ip_addr()).collect()
    }

    async fn ask(&self, servers: &TokioResolver, name: DnsName) -> Result<Answer, Unresolved> {
        let answer = match servers.lookup_ip(name).await {
            Ok(found) => {
                let ttl = found
                    .valid_until()
                    .saturating_duration_since(Instant::now());
                Answer::found(found.iter(), ttl)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                Answer::dead(Duration::from_secs(none.negative_ttl.unwrap_or(0).into()))
            }
            Err(error) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                return Err(Unresolved::NoAnswer(error));
            }
        };
        self.unanswered.store(0, Ordering::Relaxed);
        Ok(answer)
    }
}

/// A name with a dot is meant as it stands: otherwise each dead one, and in a cluster each name at all, would be asked for
/// in every domain of the search list too. A single label goes through that list, as the system would have it.
fn absolute(name: &str) -> String {
    match name.contains('.') && !name.ends_with('.') {
        true => format!("{name}."),
        false => name.to_owned(),
    }
}

async fn ask_system(name: &str) -> Answer {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => Answer::found(found.map(|address| address.ip()), LEAST_TTL),
        Err(_) => Answer::dead(LEAST_TTL),
    }
}

#[cfg(test)]
mod tests;

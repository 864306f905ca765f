//! How a run went: moments of it, and what became of each host's images. Bounded, however long it is.

use std::collections::BTreeMap;

use lcl_schemas::outcome::Outcome;
use url::Url;

/// Kept at most; then every other one is dropped, so that between 300 and 600 stand for the whole run.
const MOMENTS: usize = 600;
/// Hosts told apart; those that come later are one.
const HOSTS: usize = 50_000;
/// What those are called.
const OTHERS: &str = "(others)";

/// How much had been done at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    /// Since the run began.
    pub(crate) seconds: f64,
    pub(crate) stored: u64,
    /// Whatever became of them.
    pub(crate) images: u64,
}

/// Images of a host by what became of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Site(pub(crate) BTreeMap<Outcome, u64>);

/// Moments and hosts.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) moments: Vec<Moment>,
    /// Every so many moments offered, one is kept.
    every: u64,
    offered: u64,
    sites: BTreeMap<String, Site>,
}

impl History {
    /// Offers a moment; the caller offers them about evenly.
    pub(crate) fn add(&mut self, moment: Moment) {
        self.every = self.every.max(1);
        if self.offered.is_multiple_of(self.every) {
            self.moments.push(moment);
        }
        self.offered += 1;
        if self.moments.len() >= MOMENTS {
            let mut keep = false;
            self.moments.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
    }

    /// Counts an image that was asked for.
    pub(crate) fn asked(&mut self, url: &str, outcome: &Outcome) {
        let url = Url::parse(url).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or("(no host)");
        let known = self.sites.contains_key(host) || self.sites.len() < HOSTS;
        let name = if known { host } else { OTHERS };
        let site = self.sites.entry(name.to_owned()).or_default();
        *site.0.entry(outcome.clone()).or_default() += 1;
    }

    pub(crate) fn sites(&self) -> Vec<(String, Site)> {
        let sites = self.sites.iter();
        sites
            .map(|(name, site)| (name.clone(), site.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_stay_few_and_even() {
        let mut history = History::default();
        for second in 0..10_000 {
            history.add(Moment {
                seconds: f64::from(second),
                stored: 0,
                images: 0,
            });
        }
        assert!((MOMENTS / 2..MOMENTS).contains(&history.moments.len()));
        let steps: Vec<_> = history
            .moments
            .windows(2)
            .map(|pair| pair[1].seconds - pair[0].seconds)
            .collect();
        assert!(steps.iter().all(|&step| step == steps[0]), "{steps:?}");
    }

    #[test]
    fn hosts_beyond_the_bound_are_counted_together() {
        let mut history = History::default();
        for host in 0..HOSTS + 5 {
            history.asked(&format!("http://h{host}.example/a"), &Outcome::Stored);
        }
        let sites = history.sites();
        assert_eq!(sites.len(), HOSTS + 1);
        assert_eq!(sites[0].1.0[&Outcome::Stored], 5);
    }
}

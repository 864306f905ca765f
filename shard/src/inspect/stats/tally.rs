//! Which names come how often, in bounded memory: hosts, languages, sources, formats.

use std::collections::HashMap;

use serde::Serialize;
use url::Url;

/// Names kept at most; of 253 bytes each, as host names have, 20 MB.
const KEPT: usize = 1 << 16;
/// Longer names are cut: no host name or language tag is.
const NAME_BYTES: usize = 253;
/// Names in an answer.
const TOP: usize = 100;

/// Names by how often they come.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ranking {
    /// Names that were told apart.
    pub names: u64,
    /// The most frequent, at most a hundred.
    pub top: Vec<Named>,
    /// Counted under all other names.
    pub others: u64,
    /// By how much a name's count may be too small, because it was let go while there were too many; mostly 0.
    pub short_by_at_most: u64,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// As a stranger wrote it: text, not markup, and not for a terminal as it is. `None` counts those without one.
    pub name: Option<String>,
    /// Documents, or images, that have it.
    pub count: u64,
    /// Stored images among or in them.
    pub stored: u64,
}

/// What has a name: how many, and stored images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) count: u64,
    pub(crate) stored: u64,
}

impl Shares {
    fn add(&mut self, more: Shares) {
        self.count += more.count;
        self.stored += more.stored;
    }
}

/// Names counted so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    names: HashMap<Box<str>, Shares>,
    let_go: Shares,
    short_by: u64,
}

impl Tally {
    /// Nothing as the empty name.
    pub(crate) fn add(&mut self, name: Option<&str>, more: Shares) {
        let name = name.unwrap_or_default();
        let name = &name[..name.floor_char_boundary(NAME_BYTES)];
        if let Some(shares) = self.names.get_mut(name) {
            shares.add(more);
            return;
        }
        if self.names.len() >= KEPT {
            self.let_go();
        }
        self.names.insert(name.into(), more);
    }

    /// All of another, in the order of its names: which are let go must not depend on a hasher.
    pub(crate) fn add_all(&mut self, more: &Tally) {
        let mut names: Vec<_> = more.names.iter().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        for (name, shares) in names {
            self.add(Some(name), *shares);
        }
    }

    /// Lets the rarer half go.
    fn let_go(&mut self) {
        let ranked = self.ranked();
        let rare: Vec<_> = ranked[KEPT / 2..]
            .iter()
            .map(|(name, shares)| (Box::from(*name), *shares))
            .collect();
        self.short_by += rare.first().map_or(0, |(_, most)| most.count);
        for (name, shares) in rare {
            self.names.remove::<Box<str>>(&name);
            self.let_go.add(shares);
        }
    }

    /// The most frequent first, and equals by name.
    fn ranked(&self) -> Vec<(&str, Shares)> {
        let mut ranked: Vec<_> = self
            .names
            .iter()
            .map(|(name, shares)| (&**name, *shares))
            .collect();
        ranked.sort_unstable_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(b.0)));
        ranked
    }

    pub(crate) fn ranking(&self) -> Ranking {
        let ranked = self.ranked();
        let (top, rest) = ranked.split_at(ranked.len().min(TOP));
        let named = |&(name, shares): &(&str, Shares)| Named {
            name: (!name.is_empty()).then(|| name.to_owned()),
            count: shares.count,
            stored: shares.stored,
        };
        Ranking {
            names: ranked.len() as u64,
            top: top.iter().map(named).collect(),
            others: self.let_go.count + rest.iter().map(|(_, shares)| shares.count).sum::<u64>(),
            short_by_at_most: self.short_by,
        }
    }
}

/// The host of a URL, as browsers spell it.
pub(crate) fn host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.host_str()
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once() -> Shares {
        Shares {
            count: 1,
            stored: 0,
        }
    }

    #[test]
    fn the_frequent_stay_exact_among_more_names_than_are_kept() {
        let mut tally = Tally::default();
        let rare = 3 * KEPT as u64;
        for number in 0..rare {
            tally.add(Some(&format!("rare-{number}")), once());
            if number % 100 == 0 {
                tally.add(Some("frequent"), once());
            }
        }
        let ranking = tally.ranking();
        let frequent = &ranking.top[0];
        assert_eq!(
            (frequent.name.as_deref(), frequent.count),
            (Some("frequent"), rare.div_ceil(100))
        );
        assert!(ranking.names <= KEPT as u64 && ranking.short_by_at_most <= 8);
        let counted: u64 = ranking.top.iter().map(|named| named.count).sum();
        assert_eq!(counted + ranking.others, rare + rare.div_ceil(100));
    }

    #[test]
    fn hosts_are_spelt_one_way_and_a_name_without_one_has_none() {
        assert_eq!(
            host("HTTPS://WWW.Example.org:8080/a").as_deref(),
            Some("www.example.org")
        );
        assert_eq!(
            host("http://bücher.example/").as_deref(),
            Some("xn--bcher-kva.example")
        );
        assert_eq!(host("images/a.jpg"), None);
        assert_eq!(host("data:image/png;base64,AA"), None);
        assert_eq!(host("http://<script>/"), None);
    }
}

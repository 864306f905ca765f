//! Pages of one depth that wait: of each domain in the order in which they were found, and the domains in turn, so that a
//! site of many pages is asked with the others and not before them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use url::Url;

use crate::fetch::domain;

/// Those of one depth.
#[derive(Default)]
pub(super) struct Level {
    /// Never empty ones.
    domains: HashMap<Arc<str>, VecDeque<Box<str>>>,
    /// Those of `domains`, each once: the next in turn first.
    turns: VecDeque<Arc<str>>,
    waiting: usize,
}

/// Domains looked at for those that were taken, before all are.
const PASSED: usize = 64;

/// Pages of a batch so far by domain.
pub(super) type Counts = HashMap<Arc<str>, usize>;

impl Level {
    pub(super) fn put(&mut self, url: &Url) {
        let page: Box<str> = url.as_str().into();
        let domain = domain(url);
        self.waiting += 1;
        if let Some(queue) = self.domains.get_mut(domain) {
            queue.push_back(page);
            return;
        }
        let domain: Arc<str> = domain.into();
        self.turns.push_back(domain.clone());
        self.domains.insert(domain, VecDeque::from([page]));
    }

    /// Takes out one page of every domain in turn, then, where there are fewer domains than `most`, another of each; of one
    /// domain no more than `per_domain` with those that `counts` has.
    pub(super) fn take(&mut self, most: usize, per_domain: usize, counts: &mut Counts) -> Vec<Url> {
        let mut pages = Vec::new();
        let mut taken = Vec::new();
        let mut passed = Vec::new();
        while pages.len() < most
            && let Some(domain) = self.turns.pop_front()
        {
            let count = counts.entry(domain.clone()).or_default();
            if *count == per_domain {
                passed.push(domain);
                continue;
            }
            *count += 1;
            pages.extend(self.first_of(&domain));
            taken.push(domain);
        }
        for _ in 1..per_domain {
            for domain in &taken {
                let count = counts.entry(domain.clone()).or_default();
                if pages.len() < most && *count < per_domain {
                    let page = self.first_of(domain);
                    *count += usize::from(page.is_some());
                    pages.extend(page);
                }
            }
        }
        for domain in passed.into_iter().rev() {
            self.turns.push_front(domain);
        }
        self.end_turns(taken);
        pages
    }

    fn first_of(&mut self, domain: &str) -> Option<Url> {
        let page = self.domains.get_mut(domain)?.pop_front()?;
        self.waiting -= 1;
        Some(Url::parse(&page).expect("it was a URL"))
    }

    /// Takes out what an earlier run took, in its order, and leaves the turns as it did. Whether each was there.
    pub(super) fn took(&mut self, urls: &[&Url]) -> Vec<bool> {
        let mut taken = Vec::new();
        let mut new = HashSet::new();
        let mut there = Vec::new();
        for url in urls {
            let place = self
                .domains
                .get_key_value(domain(url))
                .and_then(|(domain, queue)| {
                    let at = queue.iter().position(|page| **page == *url.as_str())?;
                    Some((domain.clone(), at))
                });
            there.push(place.is_some());
            // It is not where bounds or depth are others than they were.
            let Some((domain, at)) = place else {
                continue;
            };
            if new.insert(domain.clone()) {
                taken.push(domain.clone());
            }
            if let Some(queue) = self.domains.get_mut(&domain) {
                queue.remove(at);
                self.waiting -= 1;
            }
        }
        // It was their turn, but for domains of which the batch had enough.
        let (mut found, mut passed) = (0, Vec::new());
        while found < new.len()
            && passed.len() < PASSED
            && let Some(domain) = self.turns.pop_front()
        {
            if new.contains(&domain) {
                found += 1;
            } else {
                passed.push(domain);
            }
        }
        for domain in passed.into_iter().rev() {
            self.turns.push_front(domain);
        }
        if found < new.len() {
            self.turns.retain(|domain| !new.contains(domain));
        }
        self.end_turns(taken);
        there
    }

    /// The last to be first again, where there is more of them.
    fn end_turns(&mut self, taken: Vec<Arc<str>>) {
        for domain in taken {
            let more = self.domains.get(&domain);
            if more.is_some_and(|queue| !queue.is_empty()) {
                self.turns.push_back(domain);
            } else {
                self.domains.remove(&domain);
            }
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    /// `a` has four pages, `b` three.
    fn level() -> Level {
        let mut level = Level::default();
        for (host, pages) in [("a.example.org", 4), ("b.example", 3)] {
            (0..pages).for_each(|page| level.put(&url(&format!("http://{host}/{page}"))));
        }
        level
    }

    fn take(level: &mut Level, most: usize, per_domain: usize) -> Vec<String> {
        let taken = level.take(most, per_domain, &mut Counts::new());
        taken.into_iter().map(String::from).collect()
    }

    #[test]
    fn domains_are_taken_in_turn_within_bounds() {
        let mut level = level();
        let first = take(&mut level, 3, 9);
        let expected = [
            "http://a.example.org/0",
            "http://b.example/0",
            "http://a.example.org/1",
        ];
        assert_eq!(first, expected);
        let second = take(&mut level, 9, 1);
        let expected = ["http://a.example.org/2", "http://b.example/1"];
        assert_eq!(second, expected, "one of a domain");
        assert_eq!(take(&mut level, 9, 9).len(), 2);
        assert!(level.domains.is_empty() && level.turns.is_empty() && level.waiting == 0);
    }

    #[test]
    fn who_comes_late_has_the_next_turn() {
        let mut level = level();
        level.put(&url("http://c.example/"));
        assert_eq!(take(&mut level, 2, 9).len(), 2);
        let expected = ["http://c.example/", "http://a.example.org/1"];
        assert_eq!(take(&mut level, 2, 9), expected);
    }

    #[test]
    fn what_a_batch_has_of_a_domain_from_elsewhere_counts() {
        let mut level = level();
        let mut counts = Counts::from([("example.org".into(), 3)]);
        let taken = level.take(9, 3, &mut counts);
        assert!(taken.iter().all(|url| url.host_str() == Some("b.example")));
        assert_eq!(taken.len(), 3);
        assert_eq!(take(&mut level, 1, 9), ["http://a.example.org/0"]);
    }

    /// At every point, and wherever turns stand.
    #[test]
    fn what_an_earlier_run_took_leaves_what_it_left() {
        for sizes in [[3, 2, 1], [1, 1, 1], [2, 4, 1], [1, 5, 1]] {
            let (mut one, mut other) = (level(), level());
            one.put(&url("http://c.example/"));
            other.put(&url("http://c.example/"));
            for size in sizes {
                let batch = one.take(size, 2, &mut Counts::new());
                let there = other.took(&batch.iter().collect::<Vec<_>>());
                assert!(there.iter().all(|there| *there));
                assert_eq!(one.turns, other.turns);
                assert_eq!((&one.domains, one.waiting), (&other.domains, other.waiting));
            }
        }
    }

    #[test]
    fn what_was_taken_out_of_turn_is_gone_all_the_same() {
        let mut level = level();
        let elsewhere = url("http://c.example/");
        let there = level.took(&[&url("http://b.example/1"), &elsewhere]);
        assert_eq!(there, [true, false]);
        let left = take(&mut level, 9, 9);
        assert_eq!(left.len(), 6);
        assert!(!left.contains(&"http://b.example/1".to_owned()));
    }
}

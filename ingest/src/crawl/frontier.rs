//! What is still to be asked, and what is known already.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::{Crawl, Scope};
use crate::fetch::domain;
use crate::source::html::{Follow, HtmlPage};

/// A page to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    #[serde(with = "super::address")]
    pub(crate) url: Url,
    /// Links from a seed to it.
    pub(crate) depth: u32,
}

/// Pages to ask for, in the order in which they were found.
pub(crate) struct Frontier {
    queue: VecDeque<Target>,
    /// Hashes of all addresses that were ever in the queue: 16 bytes each, not 100.
    seen: HashSet<[u8; 16]>,
    bounds: Bounds,
    depth: u32,
    /// How many more may be asked for.
    left: u64,
}

/// Where links may lead.
enum Bounds {
    Prefixes(Vec<String>),
    Hosts(HashSet<String>),
    Domains(HashSet<String>),
    Anywhere,
}

impl Frontier {
    pub(crate) fn new(crawl: &Crawl, seeds: &[Url]) -> Self {
        let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
        let bounds = match crawl.scope {
            Scope::Folder => Bounds::Prefixes(seeds.iter().map(folder).collect()),
            Scope::Host => Bounds::Hosts(seeds.iter().map(host).collect()),
            Scope::Domain => {
                Bounds::Domains(seeds.iter().map(|seed| domain(seed).to_owned()).collect())
            }
            Scope::Web => Bounds::Anywhere,
        };
        let mut frontier = Self {
            queue: VecDeque::new(),
            seen: HashSet::new(),
            bounds,
            depth: crawl.depth,
            left: crawl.pages,
        };
        let seeds = seeds.iter().map(|url| Target {
            url: without_fragment(url.clone()),
            depth: 0,
        });
        frontier.add(seeds);
        frontier
    }

    /// Puts in what was not there before.
    pub(crate) fn add(&mut self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            if self.seen.insert(hash(&target.url)) {
                self.queue.push_back(target);
            }
        }
    }

    /// Those of a page's links that lead to new pages within bounds, each once.
    pub(crate) fn new_among(&mut self, depth: u32, links: Vec<Url>) -> Vec<Target> {
        if depth >= self.depth {
            return Vec::new();
        }
        let mut here = HashSet::new();
        let new = links.into_iter().map(without_fragment).filter(|url| {
            let hash = hash(url);
            self.within(url) && !self.seen.contains(&hash) && here.insert(hash)
        });
        let depth = depth + 1;
        new.map(|url| Target { url, depth }).collect()
    }

    fn within(&self, url: &Url) -> bool {
        match &self.bounds {
            Bounds::Prefixes(prefixes) => prefixes
                .iter()
                .any(|prefix| url.as_str().starts_with(prefix)),
            Bounds::Hosts(hosts) => url.host_str().is_some_and(|host| hosts.contains(host)),
            Bounds::Domains(domains) => domains.contains(domain(url)),
            Bounds::Anywhere => true,
        }
    }

    /// The next pages to ask for: the oldest, but of one host at most so many. They stay until [`Frontier::asked`].
    pub(crate) fn batch(&self, most: usize, per_host: usize) -> Vec<Target> {
        let most = most.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut hosts: HashMap<&str, usize> = HashMap::new();
        let mut batch = Vec::new();
        for target in &self.queue {
            if batch.len() == most {
                break;
            }
            let host = target.url.host_str().unwrap_or_default();
            let of_host = hosts.entry(host).or_default();
            *of_host += 1;
            if *of_host <= per_host {
                batch.push(target.clone());
            }
        }
        batch
    }

    /// Takes out what was asked for.
    pub(crate) fn asked<'a>(&mut self, urls: impl Iterator<Item = &'a Url>) {
        let asked: HashSet<[u8; 16]> = urls.map(hash).collect();
        self.left = self.left.saturating_sub(asked.len() as u64);
        self.seen.extend(&asked);
        self.queue
            .retain(|target| !asked.contains(&hash(&target.url)));
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// The links of a page that it lets us follow.
pub(crate) fn followed(page: HtmlPage) -> Vec<Url> {
    let forbids = |content: &str| {
        let mut words = content
            .split(',')
            .map(|word| word.trim().to_ascii_lowercase());
        words.any(|word| word == "nofollow" || word == "none")
    };
    let for_all = page.robots.iter().filter(|(agent, _)| agent.is_none());
    if for_all.into_iter().any(|(_, content)| forbids(content)) {
        return Vec::new();
    }
    let links = page.links.into_iter();
    links
        .filter(|link| link.follow == Follow::Yes)
        .map(|link| link.url)
        .collect()
}

fn folder(url: &Url) -> String {
    let text = url.as_str().split(['?', '#']).next().unwrap_or_default();
    let end = text.rfind('/').map_or(text.len(), |slash| slash + 1);
    text[..end].to_owned()
}

fn without_fragment(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}

fn hash(url: &Url) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(url.as_str()).into();
    digest.first_chunk().copied().expect("32 are more than 16")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn frontier(scope: Scope, pages: u64) -> Frontier {
        let crawl = Crawl {
            scope,
            pages,
            depth: 2,
            ..Crawl::default()
        };
        Frontier::new(&crawl, &[url("http://a.example.org/x/y.html#z")])
    }

    fn new(frontier: &mut Frontier, links: &[&str]) -> Vec<String> {
        let links = links.iter().map(|link| url(link)).collect();
        let targets = frontier.new_among(0, links);
        targets
            .into_iter()
            .map(|target| target.url.into())
            .collect()
    }

    #[test]
    fn a_scope_bounds_where_links_lead() {
        let links = [
            "http://a.example.org/x/1",
            "http://a.example.org/2",
            "http://b.example.org/3",
            "http://example.net/4",
        ];
        for (scope, within) in [
            (Scope::Folder, 1),
            (Scope::Host, 2),
            (Scope::Domain, 3),
            (Scope::Web, 4),
        ] {
            assert_eq!(new(&mut frontier(scope, 9), &links), links[..within]);
        }
    }

    #[test]
    fn a_page_is_asked_for_once_however_often_it_is_linked() {
        let mut frontier = frontier(Scope::Host, 9);
        let page = "http://a.example.org/1";
        let links = [
            "http://a.example.org/x/y.html",
            "http://a.example.org/1#a",
            page,
        ];
        assert_eq!(new(&mut frontier, &links), [page]);
        let target = Target {
            url: url(page),
            depth: 1,
        };
        frontier.add([target.clone(), target]);
        assert_eq!(frontier.batch(9, 9).len(), 2);
        assert_eq!(new(&mut frontier, &[page]), Vec::<String>::new());
    }

    #[test]
    fn a_batch_is_bounded_by_host_and_by_the_budget_and_stays_until_it_was_asked() {
        let mut frontier = frontier(Scope::Web, 4);
        let pages = (0..3).flat_map(|page| {
            ["a.example.org", "b.example"].map(|host| format!("http://{host}/{page}"))
        });
        frontier.add(pages.map(|page| Target {
            url: url(&page),
            depth: 1,
        }));
        let batch = frontier.batch(9, 2);
        let urls: Vec<_> = batch.iter().map(|target| target.url.as_str()).collect();
        let expected = [
            "http://a.example.org/x/y.html",
            "http://a.example.org/0",
            "http://b.example/0",
            "http://b.example/1",
        ];
        assert_eq!(urls, expected);
        assert_eq!(frontier.batch(9, 2), batch);
        frontier.asked(batch.iter().map(|target| &target.url));
        assert_eq!((frontier.batch(9, 2), frontier.waiting()), (Vec::new(), 3));
    }

    #[test]
    fn links_end_at_the_depth() {
        let mut frontier = frontier(Scope::Web, 9);
        assert_eq!(frontier.new_among(2, vec![url("http://c.example/")]), []);
    }
}

//! What is still to be asked, and what is known already.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::{Crawl, Scope};
use crate::fetch::domain;
use crate::source::html::{Follow, HtmlPage};

/// Longer addresses are traps, as a rule: pages that link to themselves, each time with more.
const MAX_URL_BYTES: usize = 2_048;
/// Pages waiting at most, beyond what is still to be asked for: of a site without end no more is remembered.
const MAX_WAITING: u64 = 1_000_000;

/// What is no page, by how its name ends: a book with plates links to each of them, 68 requests for one page.
const NO_PAGES: &[&str] = &[
    "7z", "aac", "apk", "avi", "avif", "bmp", "bz2", "dmg", "doc", "docx", "epub", "exe", "flac",
    "gif", "gz", "ico", "iso", "jpeg", "jpg", "m4a", "mkv", "mov", "mp3", "mp4", "ogg", "pdf",
    "png", "ppt", "pptx", "rar", "svg", "tar", "tif", "tiff", "wav", "webm", "webp", "woff",
    "woff2", "xls", "xlsx", "xz", "zip",
];

/// A page to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    #[serde(with = "super::address")]
    pub(crate) url: Url,
    /// Links from a seed to it.
    pub(crate) depth: u32,
    /// How often it was asked for in vain, for reasons that may pass.
    #[serde(default)]
    pub(crate) tries: u32,
}

/// Pages to ask for: of each domain in the order in which they were found, and the domains in turn, so that a site of many
/// pages holds up no others.
pub(crate) struct Frontier {
    domains: HashMap<Arc<str>, VecDeque<Waiting>>,
    /// Those of `domains`, each once: the next in turn first.
    turns: VecDeque<Arc<str>>,
    /// Pages in `domains`.
    waiting: usize,
    /// Pages deeper than this run goes.
    deeper: usize,
    /// Of all addresses that were ever in the queue.
    seen: HashSet<Hash>,
    bounds: Bounds,
    depth: u32,
    /// How many more may be asked for.
    left: u64,
}

/// A target of which there may be a million.
struct Waiting {
    url: Box<str>,
    depth: u32,
    tries: u32,
}

/// Stands for an address: 16 bytes, not 100.
type Hash = [u8; 16];

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
            domains: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            deeper: 0,
            seen: HashSet::new(),
            bounds,
            depth: crawl.depth,
            left: crawl.pages,
        };
        let seeds = seeds.iter().map(|url| Target::new(url.clone(), 0));
        frontier.add(seeds);
        frontier
    }

    /// Puts in what was not there before.
    pub(crate) fn add(&mut self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            if self.within(&target.url) && self.seen.insert(hash(&target.url)) {
                self.put(target);
            }
        }
    }

    /// Puts in again what was asked for in vain.
    pub(crate) fn add_again(&mut self, target: Target) {
        self.left += 1;
        self.put(target);
    }

    fn put(&mut self, target: Target) {
        if target.depth > self.depth {
            self.deeper += 1;
            return;
        }
        let waiting = Waiting {
            url: target.url.as_str().into(),
            depth: target.depth,
            tries: target.tries,
        };
        let domain = domain(&target.url);
        self.waiting += 1;
        if let Some(queue) = self.domains.get_mut(domain) {
            queue.push_back(waiting);
            return;
        }
        let domain: Arc<str> = domain.into();
        self.turns.push_back(domain.clone());
        self.domains.insert(domain, VecDeque::from([waiting]));
    }

    /// Those of a page's links that lead to pages within bounds that no link led to before. Deeper than a run goes is
    /// remembered too: a later one may go there.
    pub(crate) fn new_among(&mut self, depth: u32, links: Vec<Url>) -> Vec<Target> {
        let room = self.left.saturating_add(MAX_WAITING) as usize;
        let room = room.saturating_sub(self.waiting());
        let links = links.into_iter().map(|url| Target::new(url, depth + 1));
        let new = links.filter(|target| {
            let short = target.url.as_str().len() <= MAX_URL_BYTES;
            short
                && may_be_a_page(&target.url)
                && self.within(&target.url)
                && !self.seen.contains(&hash(&target.url))
        });
        let mut new: Vec<_> = new.take(room).collect();
        new.retain(|target| self.seen.insert(hash(&target.url)));
        new
    }

    /// Puts in what [`Frontier::new_among`] gave.
    pub(crate) fn add_new(&mut self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            self.seen.insert(hash(&target.url));
            // A later run may have narrower bounds.
            if self.within(&target.url) {
                self.put(target);
            }
        }
    }

    /// Notes an address that something else led to; whether it was new.
    pub(crate) fn arrived(&mut self, url: &Url) -> bool {
        self.seen.insert(hash(&without_fragment(url.clone())))
    }

    /// Whether links may lead there.
    pub(crate) fn within(&self, url: &Url) -> bool {
        match &self.bounds {
            Bounds::Prefixes(prefixes) => prefixes
                .iter()
                .any(|prefix| url.as_str().starts_with(prefix)),
            Bounds::Hosts(hosts) => url.host_str().is_some_and(|host| hosts.contains(host)),
            Bounds::Domains(domains) => domains.contains(domain(url)),
            Bounds::Anywhere => true,
        }
    }

    /// Takes out the next pages to ask for: one of every domain in turn, then, where there are fewer domains than `most`,
    /// another of each, but of one domain at most so many.
    pub(crate) fn take(&mut self, most: usize, per_domain: usize) -> Vec<Target> {
        let most = most.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut batch = Vec::new();
        let mut taken = Vec::new();
        while batch.len() < most
            && let Some(domain) = self.turns.pop_front()
        {
            batch.extend(self.first_of(&domain));
            taken.push(domain);
        }
        for _ in 1..per_domain {
            for domain in &taken {
                if batch.len() < most {
                    batch.extend(self.first_of(domain));
                }
            }
        }
        self.end_turns(taken);
        self.left -= batch.len() as u64;
        batch
    }

    fn first_of(&mut self, domain: &str) -> Option<Target> {
        let waiting = self.domains.get_mut(domain)?.pop_front()?;
        self.waiting -= 1;
        Some(Target {
            url: Url::parse(&waiting.url).expect("it was a URL"),
            depth: waiting.depth,
            tries: waiting.tries,
        })
    }

    /// Takes out what an earlier run took, and leaves the turns as it did.
    pub(crate) fn took<'a>(&mut self, urls: impl Iterator<Item = &'a Url>) {
        let mut taken = Vec::new();
        let mut new = HashSet::new();
        for url in urls {
            self.left = self.left.saturating_sub(1);
            self.seen.insert(hash(url));
            // Bounds and depth may have been others.
            let Some((domain, queue)) = self.domains.get_key_value(domain(url)) else {
                continue;
            };
            let Some(at) = queue.iter().position(|page| *page.url == *url.as_str()) else {
                continue;
            };
            let domain = domain.clone();
            if new.insert(domain.clone()) {
                taken.push(domain.clone());
            }
            if let Some(queue) = self.domains.get_mut(&domain) {
                queue.remove(at);
                self.waiting -= 1;
            }
        }
        // It was their turn, if nothing else has changed.
        let mut found = 0;
        while self
            .turns
            .front()
            .is_some_and(|domain| new.contains(domain))
        {
            self.turns.pop_front();
            found += 1;
        }
        if found < new.len() {
            self.turns.retain(|domain| !new.contains(domain));
        }
        self.end_turns(taken);
    }

    /// The last to be first again, where there is more of them.
    fn end_turns(&mut self, taken: Vec<Arc<str>>) {
        for domain in taken {
            if self
                .domains
                .get(&domain)
                .is_some_and(|queue| !queue.is_empty())
            {
                self.turns.push_back(domain);
            } else {
                self.domains.remove(&domain);
            }
        }
    }

    /// Pages that wait, those deeper than this run goes among them.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting + self.deeper
    }
}

impl Target {
    pub(crate) fn new(url: Url, depth: u32) -> Self {
        Self {
            url: without_fragment(url),
            depth,
            tries: 0,
        }
    }
}

/// The links of a page that it lets `agent` follow, by its own word and that of its headers.
pub(crate) fn followed(page: HtmlPage, headers: &[String], agent: &str) -> Vec<Url> {
    let forbids = |content: &str| {
        let words = content
            .split(',')
            .map(|word| word.trim().to_ascii_lowercase());
        let mut words = words.map(|word| match word.split_once(':') {
            Some((name, word)) if name.trim() == agent => word.trim().to_owned(),
            _ => word,
        });
        words.any(|word| word == "nofollow" || word == "none")
    };
    let ours = |named: &Option<String>| named.as_deref().is_none_or(|name| name == agent);
    let metas = page.robots.iter().filter(|(named, _)| ours(named));
    let mut said = metas.map(|(_, content)| content).chain(headers);
    if said.any(|content| forbids(content)) {
        return Vec::new();
    }
    let links = page.links.into_iter();
    links
        .filter(|link| link.follow == Follow::Yes)
        .map(|link| link.url)
        .collect()
}

fn may_be_a_page(url: &Url) -> bool {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    // `File:Harbour.jpg` is a wiki's page about a file.
    name.contains(':')
        || name.contains("%3A")
        || ending.is_none_or(|ending| !NO_PAGES.contains(&ending.as_str()))
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

fn hash(url: &Url) -> Hash {
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
    fn links_to_files_that_are_no_pages_are_not_followed() {
        let pages = [
            "http://a.example.org/v1.2",
            "http://a.example.org/wiki/File:Harbour.jpg",
            "http://a.example.org/show?file=plate.jpg",
        ];
        let links = [
            &pages[..],
            &[
                "http://a.example.org/Plate.JPG",
                "http://a.example.org/x.pdf?y",
            ],
        ];
        assert_eq!(new(&mut frontier(Scope::Host, 9), &links.concat()), pages);
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
        assert_eq!(new(&mut frontier, &links), Vec::<String>::new());
        frontier.add([Target::new(url(page), 1)]);
        assert_eq!(frontier.waiting(), 1, "the seed: the link is not in yet");
        frontier.add_new([Target::new(url(page), 1)]);
        assert_eq!(frontier.take(9, 9).len(), 2);
    }

    fn urls(batch: &[Target]) -> Vec<&str> {
        batch.iter().map(|target| target.url.as_str()).collect()
    }

    /// A seed and three pages of its site, then of another one.
    fn two_sites(pages: u64) -> Frontier {
        let mut frontier = frontier(Scope::Web, pages);
        let links = ["a.example.org", "b.example"]
            .map(|host| (0..3).map(move |page| format!("http://{host}/{page}")));
        let links = links.into_iter().flatten();
        frontier.add(links.map(|page| Target::new(url(&page), 1)));
        frontier
    }

    #[test]
    fn domains_are_asked_in_turn_within_bounds_and_budget() {
        let mut frontier = two_sites(6);
        let first = frontier.take(3, 9);
        let expected = [
            "http://a.example.org/x/y.html",
            "http://b.example/0",
            "http://a.example.org/0",
        ];
        assert_eq!(urls(&first), expected);
        let second = frontier.take(9, 1);
        let expected = ["http://a.example.org/1", "http://b.example/1"];
        assert_eq!(urls(&second), expected, "one of a domain");
        assert_eq!(urls(&frontier.take(9, 9)), ["http://a.example.org/2"]);
        assert_eq!((frontier.take(9, 9).len(), frontier.waiting()), (0, 1));
    }

    #[test]
    fn who_comes_late_has_the_next_turn() {
        let mut frontier = two_sites(9);
        frontier.add([Target::new(url("http://c.example/"), 1)]);
        assert_eq!(frontier.take(2, 9).len(), 2);
        let expected = ["http://c.example/", "http://a.example.org/0"];
        assert_eq!(urls(&frontier.take(2, 9)), expected);
    }

    /// At every point, and wherever turns stand.
    #[test]
    fn what_an_earlier_run_took_leaves_what_it_left() {
        for sizes in [[3, 2, 9], [1, 1, 1], [2, 5, 1]] {
            let (mut one, mut other) = (two_sites(9), two_sites(9));
            for size in sizes {
                let batch = one.take(size, 2);
                other.took(batch.iter().map(|target| &target.url));
                assert_eq!(one.turns, other.turns);
                assert_eq!((one.waiting, one.left), (other.waiting, other.left));
            }
            assert_eq!(one.take(9, 9), other.take(9, 9));
        }
    }

    #[test]
    fn links_beyond_the_depth_wait_for_a_run_that_goes_deeper() {
        let mut frontier = frontier(Scope::Web, 9);
        let deep = frontier.new_among(2, vec![url("http://c.example/")]);
        frontier.add_new(deep.clone());
        assert_eq!((frontier.waiting(), frontier.take(9, 9).len()), (2, 1));
        frontier.depth = 3;
        frontier.add_new(deep);
        assert_eq!(frontier.take(9, 9).len(), 1);
    }

    #[test]
    fn what_was_asked_in_vain_comes_last_and_costs_no_more_of_the_budget() {
        let mut frontier = two_sites(4);
        let seed = frontier.take(1, 9).remove(0);
        frontier.add_again(Target { tries: 1, ..seed });
        let tries: Vec<_> = frontier.take(99, 9).iter().map(|page| page.tries).collect();
        assert_eq!(tries, [0, 0, 0, 0]);
        assert_eq!(frontier.left, 0);
    }
}

//! What is still to be asked, and what is known already.

mod level;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::{Crawl, Scope};
use crate::fetch::domain;
use crate::source::html::{Follow, HtmlPage};
use level::{Counts, Level};

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
    /// Links from a seed to it, by the way on which it was found.
    pub(crate) depth: u32,
    /// How often it was asked for in vain, for reasons that may pass.
    #[serde(default)]
    pub(crate) tries: u32,
    /// When it last was, in this run.
    #[serde(skip)]
    pub(crate) failed: Option<Instant>,
}

/// Pages to ask for: those of the least depth first, their domains in turn.
pub(crate) struct Frontier {
    levels: BTreeMap<u32, Level>,
    /// Asked for in vain: for when nothing else is left.
    again: VecDeque<Target>,
    /// Pages deeper than this run goes.
    deeper: usize,
    /// All addresses that something led to.
    seen: HashMap<Hash, Reach>,
    /// What the batch brings that is being settled: `seen` gets it with its links.
    brought: HashMap<Hash, Reach>,
    bounds: Bounds,
    depth: u32,
    /// How many may be asked for in all runs, and how many were, but for those that wait to be asked again.
    pages: u64,
    asked: u64,
}

/// How far away an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// So many links: it waits at that depth, was asked for, or a redirect led there.
    Within(u32),
    /// All ways to it so far are longer than a run goes.
    TooDeep,
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
            levels: BTreeMap::new(),
            again: VecDeque::new(),
            deeper: 0,
            seen: HashMap::new(),
            brought: HashMap::new(),
            bounds,
            depth: crawl.depth,
            pages: crawl.pages,
            asked: 0,
        };
        let seeds = seeds.iter().map(|url| Target::new(url.clone(), 0));
        frontier.add_new(seeds);
        frontier
    }

    /// Those of a page's links that are new.
    pub(crate) fn new_among(&mut self, depth: u32, links: Vec<Url>) -> Vec<Target> {
        let links = links.into_iter().map(|url| Target::new(url, depth + 1));
        self.new_of(links)
    }

    /// Those that lead to pages within bounds, that nothing led to before, or only on ways that were too long. Deeper than a
    /// run goes is among them: a later one may go there.
    pub(crate) fn new_of(&mut self, targets: impl Iterator<Item = Target>) -> Vec<Target> {
        let room = self.left().saturating_add(MAX_WAITING) as usize;
        let room = room.saturating_sub(self.waiting() + self.brought.len());
        let new = targets.filter(|target| {
            let short = target.url.as_str().len() <= MAX_URL_BYTES;
            if !short || !may_be_a_page(&target.url) || !self.within(&target.url) {
                return false;
            }
            let hash = hash(&target.url);
            let reach = self.reach(target);
            let new = match self.brought.get(&hash).or_else(|| self.seen.get(&hash)) {
                None => true,
                Some(known) => *known == Reach::TooDeep && reach != Reach::TooDeep,
            };
            if new {
                self.brought.insert(hash, reach);
            }
            new
        });
        new.take(room).collect()
    }

    fn reach(&self, target: &Target) -> Reach {
        match target.depth > self.depth {
            true => Reach::TooDeep,
            false => Reach::Within(target.depth),
        }
    }

    /// Puts in what [`Frontier::new_of`] gave, now or in an earlier run with other bounds and another depth.
    pub(crate) fn add_new(&mut self, targets: impl IntoIterator<Item = Target>) {
        self.brought.clear();
        for target in targets {
            if !self.within(&target.url) {
                continue;
            }
            let (hash, reach) = (hash(&target.url), self.reach(&target));
            match (self.seen.get(&hash), reach) {
                (None, Reach::TooDeep) => self.deeper += 1,
                (None, Reach::Within(_)) => self.put(&target),
                (Some(Reach::TooDeep), Reach::Within(_)) => {
                    self.deeper -= 1;
                    self.put(&target);
                }
                (Some(_), _) => continue,
            }
            self.seen.insert(hash, reach);
        }
    }

    fn put(&mut self, target: &Target) {
        self.levels
            .entry(target.depth)
            .or_default()
            .put(&target.url);
    }

    /// Puts in again what was asked for in vain, unless it is out of bounds by now.
    pub(crate) fn add_again(&mut self, target: Target) -> bool {
        let within = self.within(&target.url) && target.depth <= self.depth;
        if within {
            self.asked = self.asked.saturating_sub(1);
            self.again.push_back(target);
        }
        within
    }

    /// Notes, for the batch that is being settled, where a redirect led; whether nothing leads there that is asked for.
    pub(crate) fn arrives(&mut self, url: &Url) -> bool {
        let hash = hash(&without_fragment(url.clone()));
        let known = self.brought.get(&hash).or_else(|| self.seen.get(&hash));
        let new = known.is_none_or(|reach| *reach == Reach::TooDeep);
        if new {
            self.brought.insert(hash, Reach::Within(0));
        }
        new
    }

    /// Notes it for good.
    pub(crate) fn arrived(&mut self, url: &Url) {
        let url = without_fragment(url.clone());
        // An earlier run that went less deep had it by the redirect alone.
        if let Some(Reach::Within(depth)) = self.see(&url)
            && let Some(level) = self.levels.get_mut(&depth)
        {
            level.took(&[&url]);
        }
    }

    /// Notes that it is not to be asked for any more. How far away it was.
    fn see(&mut self, url: &Url) -> Option<Reach> {
        let before = self.seen.insert(hash(url), Reach::Within(0));
        self.deeper -= usize::from(before == Some(Reach::TooDeep));
        before
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

    /// How many may be asked for that were not: who was asked in vain keeps its place.
    fn left(&self) -> u64 {
        let reserved = self.asked + self.again.len() as u64;
        self.pages.saturating_sub(reserved)
    }

    /// Takes out the next pages to ask for: the least deep, one of every domain in turn, and of one at most so many.
    pub(crate) fn take(&mut self, most: usize, per_domain: usize) -> Vec<Target> {
        let most = most.min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let mut batch = Vec::new();
        let mut counts = Counts::new();
        for (depth, level) in &mut self.levels {
            let urls = level.take(most - batch.len(), per_domain, &mut counts);
            batch.extend(urls.into_iter().map(|url| Target::new(url, *depth)));
        }
        self.levels.retain(|_, level| level.waiting() > 0);
        self.asked += batch.len() as u64;
        batch
    }

    /// Takes out those to ask for again, in the order in which they failed, and of one domain at most so many.
    pub(crate) fn take_again(&mut self, most: usize, per_domain: usize) -> Vec<Target> {
        let left = self.pages.saturating_sub(self.asked);
        let most = most.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut domains: HashMap<String, usize> = HashMap::new();
        let (mut batch, mut passed) = (Vec::new(), Vec::new());
        while batch.len() < most
            && let Some(target) = self.again.pop_front()
        {
            let count = domains.entry(domain(&target.url).to_owned()).or_default();
            if *count < per_domain {
                *count += 1;
                batch.push(target);
            } else {
                passed.push(target);
            }
        }
        for target in passed.into_iter().rev() {
            self.again.push_front(target);
        }
        self.asked += batch.len() as u64;
        batch
    }

    /// Takes out what an earlier run took, and leaves the turns as it did.
    pub(crate) fn took(&mut self, batch: &[&Target]) {
        self.asked += batch.len() as u64;
        // It waits where it was found first, which is not where that run found it if that went less deep.
        let waiting = batch.iter().map(|target| match self.see(&target.url) {
            Some(Reach::Within(depth)) => (depth, &target.url),
            _ => (target.depth, &target.url),
        });
        let waiting: Vec<_> = waiting.collect();
        for of_one_depth in waiting.chunk_by(|one, other| one.0 == other.0) {
            let urls: Vec<_> = of_one_depth.iter().map(|(_, url)| *url).collect();
            let there = match self.levels.get_mut(&of_one_depth[0].0) {
                Some(level) => level.took(&urls),
                None => vec![false; urls.len()],
            };
            for (url, there) in urls.into_iter().zip(there) {
                if !there && let Some(at) = self.again.iter().position(|again| again.url == *url) {
                    self.again.remove(at);
                }
            }
        }
        self.levels.retain(|_, level| level.waiting() > 0);
    }

    /// Pages that wait, those deeper than this run goes among them.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = self.levels.values().map(Level::waiting);
        waiting.sum::<usize>() + self.again.len() + self.deeper
    }
}

impl Target {
    pub(crate) fn new(url: Url, depth: u32) -> Self {
        Self {
            url: without_fragment(url),
            depth,
            tries: 0,
            failed: None,
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
        .filter(|link| link.follow == Follow::Yes && link.url.as_str().len() <= MAX_URL_BYTES)
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
        assert_eq!(frontier.waiting(), 1, "the seed: the link is not in yet");
        let seed = Target::new(url("http://a.example.org/x/y.html"), 1);
        let link = Target::new(url(page), 1);
        frontier.add_new([seed, link.clone(), link]);
        assert_eq!(frontier.take(9, 9).len(), 2);
        assert_eq!(new(&mut frontier, &links), Vec::<String>::new());
    }

    #[test]
    fn where_redirects_led_no_link_leads_again() {
        let mut frontier = frontier(Scope::Host, 9);
        let (one, other) = ("http://a.example.org/1", "http://a.example.org/2");
        assert!(frontier.arrives(&url(one)) && !frontier.arrives(&url(one)));
        assert_eq!(new(&mut frontier, &[one, other]), [other]);
        assert!(!frontier.arrives(&url(other)), "a link leads there");
        frontier.add_new([]);
        frontier.arrived(&url(one));
        assert_eq!(new(&mut frontier, &[one]), Vec::<String>::new());
    }

    fn urls(batch: &[Target]) -> Vec<&str> {
        batch.iter().map(|target| target.url.as_str()).collect()
    }

    fn at(depth: u32, link: &str) -> Target {
        Target::new(url(link), depth)
    }

    #[test]
    fn the_least_deep_come_first_within_the_budget() {
        let mut frontier = frontier(Scope::Web, 3);
        let links = [at(2, "http://b.example/"), at(1, "http://c.example/")];
        frontier.add_new(links.into_iter().chain([at(1, "http://d.example/")]));
        let depths = frontier.take(9, 9).into_iter().map(|target| target.depth);
        assert_eq!(depths.collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!((frontier.take(9, 9).len(), frontier.waiting()), (0, 1));
    }

    #[test]
    fn links_beyond_the_depth_wait_for_a_run_that_goes_deeper() {
        let mut run = frontier(Scope::Web, 9);
        let deep = run.new_among(2, vec![url("http://c.example/")]);
        run.add_new(deep.clone());
        assert_eq!((run.waiting(), run.take(9, 9).len()), (2, 1));
        let mut later = frontier(Scope::Web, 9);
        later.depth = 3;
        later.add_new(deep);
        assert_eq!(later.take(9, 9).len(), 2);
    }

    #[test]
    fn a_page_that_was_too_deep_is_asked_for_when_a_shorter_way_is_found() {
        let mut run = frontier(Scope::Web, 9);
        let page = url("http://c.example/");
        for (depth, new, waiting) in [(2, 1, 2), (3, 0, 2), (1, 1, 2), (0, 0, 2)] {
            let targets = run.new_among(depth, vec![page.clone()]);
            assert_eq!(targets.len(), new, "links {depth}");
            run.add_new(targets);
            assert_eq!(run.waiting(), waiting);
        }
        let depths: Vec<_> = run.take(9, 9).iter().map(|page| page.depth).collect();
        assert_eq!(depths, [0, 2]);
    }

    /// A run of depth 2 knows it as too deep, and then by a shorter way; to one of depth 3 the first way is as good.
    #[test]
    fn what_was_found_twice_is_not_asked_for_again_by_a_run_that_goes_deeper() {
        let page = "http://b.example/";
        let mut later = frontier(Scope::Web, 9);
        later.depth = 3;
        later.add_new([at(3, page)]);
        later.add_new([at(2, page)]);
        later.took(&[&at(2, page)]);
        assert_eq!(urls(&later.take(9, 9)), ["http://a.example.org/x/y.html"]);
        assert_eq!(later.waiting(), 0);
    }

    #[test]
    fn a_redirect_to_what_is_too_deep_brings_it() {
        let page = "http://b.example/";
        let mut run = frontier(Scope::Web, 9);
        run.add_new([at(3, page)]);
        assert!(run.arrives(&url(page)) && !run.arrives(&url(page)));
        run.add_new([]);
        run.arrived(&url(page));
        assert_eq!((run.waiting(), run.take(9, 9).len()), (1, 1), "the seed");
        // A run that goes deeper has the link, and then the redirect.
        let mut later = frontier(Scope::Web, 9);
        later.depth = 3;
        later.add_new([at(3, page)]);
        later.arrived(&url(page));
        assert_eq!(later.take(9, 9).len(), 1, "the seed");
    }

    #[test]
    fn what_was_asked_in_vain_keeps_its_place_and_comes_last() {
        let mut frontier = frontier(Scope::Web, 3);
        let links = (0..9).map(|page| at(1, &format!("http://b.example/{page}")));
        frontier.add_new(links);
        let seed = frontier.take(1, 9).remove(0);
        let again = Target { tries: 1, ..seed };
        frontier.add_again(again.clone());
        let fresh = frontier.take(99, 9);
        assert!(fresh.len() == 2 && fresh.iter().all(|target| target.tries == 0));
        assert_eq!(frontier.take_again(9, 9), [again]);
        assert!(frontier.take_again(9, 9).is_empty() && frontier.take(9, 9).is_empty());
    }

    #[test]
    fn what_an_earlier_run_asked_for_counts_and_is_not_asked_for_again() {
        let (mut one, mut other) = (frontier(Scope::Web, 5), frontier(Scope::Web, 5));
        for run in [&mut one, &mut other] {
            let links = (0..9).map(|page| at(1 + page % 2, &format!("http://b.example/{page}")));
            run.add_new(links);
        }
        let batch = one.take(4, 9);
        other.took(&batch.iter().collect::<Vec<_>>());
        assert_eq!((one.asked, one.waiting()), (other.asked, other.waiting()));
        for run in [&mut one, &mut other] {
            run.add_again(Target {
                tries: 1,
                ..batch[2].clone()
            });
        }
        let again = one.take_again(9, 9);
        other.took(&again.iter().collect::<Vec<_>>());
        assert!(other.again.is_empty());
        assert_eq!(one.take(9, 9), other.take(9, 9));
    }

    #[test]
    fn narrower_bounds_hold_for_what_is_asked_again_too() {
        let mut frontier = frontier(Scope::Host, 9);
        assert!(!frontier.add_again(at(1, "http://b.example/")));
        assert!(frontier.take_again(9, 9).is_empty());
    }
}

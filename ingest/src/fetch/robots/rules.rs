//! A robots.txt to what it says to one agent (RFC 9309, 2.1 and 2.2).
//!
//! Where the RFC leaves room, the choices are those of Google's published parser, against which site owners test: common
//! misspellings count, a missing colon may be a space, an agent's name ends at the first octet that no name may have,
//! and a rule that allows `…/index.html` allows the folder.

use std::cmp::Reverse;
use std::time::Duration;

use url::Url;

use super::pattern::{self, Pattern};

/// What is read of a robots.txt at most: RFC 9309, 2.5.
pub(crate) const MAX_BYTES: u64 = 500 << 10;
/// Longest path compared; RFC 9110, 4.1, asks servers for 8,000 octets. Against as many distinct rules beginning with `*`
/// as a file can hold, 29,000, this length took 12 ms; with a longer one a stranger would choose how long.
const LONGEST_PATH: usize = 8 << 10;

/// What a robots.txt says to us. The default allows everything.
#[derive(Debug, Default)]
pub(crate) struct Robots {
    /// The most specific first, and of two alike the one that allows: the first that fits decides.
    rules: Vec<Rule>,
    crawl_delay: Option<Duration>,
    sitemaps: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    access: Access,
}

/// In the order of precedence among patterns of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    Allow,
    Disallow,
}

impl Robots {
    /// As `text` says to `agent`, a product token without its version.
    pub(crate) fn parse(text: &[u8], agent: &str) -> Self {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let mut reader = Reader::new(agent);
        for line in whole_lines(text).split(|&octet| octet == b'\n' || octet == b'\r') {
            reader.read(line);
        }
        reader.end()
    }

    /// Whether `url` may be asked for.
    pub(crate) fn allowed(&self, url: &Url) -> bool {
        self.allowed_path(&pattern::path(url))
    }

    fn allowed_path(&self, path: &str) -> bool {
        if path.len() > LONGEST_PATH {
            return self.rules.is_empty();
        }
        let decides = self.rules.iter().find(|rule| rule.pattern.fits(path));
        decides.is_none_or(|rule| rule.access == Access::Allow)
    }

    /// The least time between two requests, where one is asked for. Not in the RFC, and kept by few; owners mean it.
    pub(crate) fn crawl_delay(&self) -> Option<Duration> {
        self.crawl_delay
    }

    /// The sitemaps it names, as written. They belong to no group.
    pub(crate) fn sitemaps(&self) -> &[String] {
        &self.sitemaps
    }

    /// About what it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let rules = self.rules.iter().map(|rule| 32 + rule.pattern.octets());
        let sitemaps = self.sitemaps.iter().map(|sitemap| 32 + sitemap.len());
        rules.chain(sitemaps).sum()
    }
}

/// Of a file that was cut off at the limit, all but the line in which that happened: half of `Disallow: /a` is another
/// rule.
fn whole_lines(text: &[u8]) -> &[u8] {
    let limit = MAX_BYTES as usize;
    match text.get(..limit) {
        None => text,
        Some(head) => {
            let end = head.iter().rposition(|&octet| octet == b'\n');
            &head[..end.unwrap_or(0)]
        }
    }
}

/// What the groups for one kind of agent say together.
#[derive(Default)]
struct Group {
    /// One without rules still keeps the general one from applying.
    named: bool,
    rules: Vec<Rule>,
    crawl_delay: Option<Duration>,
}

/// Where in a file the reader is.
struct Reader<'a> {
    agent: &'a str,
    ours: Group,
    everyone: Group,
    /// Whom the current group is for.
    for_us: bool,
    for_everyone: bool,
    /// Further agents still join the current group.
    opening: bool,
    sitemaps: Vec<String>,
}

enum Key {
    UserAgent,
    Rule(Access),
    CrawlDelay,
    Sitemap,
}

impl<'a> Reader<'a> {
    fn new(agent: &'a str) -> Self {
        Self {
            agent,
            ours: Group::default(),
            everyone: Group::default(),
            for_us: false,
            for_everyone: false,
            opening: false,
            sitemaps: Vec::new(),
        }
    }

    fn read(&mut self, line: &[u8]) {
        match key_and_value(line) {
            Some((Key::UserAgent, value)) => self.open(value),
            Some((Key::Rule(access), value)) => {
                self.opening = false;
                self.add(access, value);
            }
            Some((Key::CrawlDelay, value)) => {
                let asked = seconds(value);
                for group in self.current() {
                    group.crawl_delay = group.crawl_delay.max(asked);
                }
            }
            Some((Key::Sitemap, value)) => {
                self.sitemaps
                    .push(String::from_utf8_lossy(value).into_owned());
            }
            None => {}
        }
    }

    fn open(&mut self, name: &[u8]) {
        if !self.opening {
            (self.for_us, self.for_everyone) = (false, false);
            self.opening = true;
        }
        let token = product_token(name);
        if matches!(name, [b'*'] | [b'*', b' ' | b'\t', ..]) {
            self.for_everyone = true;
        } else if !token.is_empty() && token.eq_ignore_ascii_case(self.agent.as_bytes()) {
            self.for_us = true;
        }
        for group in self.current() {
            group.named = true;
        }
    }

    fn add(&mut self, access: Access, value: &[u8]) {
        // An empty pattern is not a rule but the absence of one: `Disallow:` is how a file says "nothing".
        if value.is_empty() {
            return;
        }
        let pattern = Pattern::new(value);
        for group in self.current() {
            let folder = match access {
                Access::Allow => pattern.folder_of_index(),
                Access::Disallow => None,
            };
            let patterns = folder.into_iter().chain([pattern.clone()]);
            let rules = patterns.map(|pattern| Rule { pattern, access });
            group.rules.extend(rules);
        }
    }

    fn current(&mut self) -> impl Iterator<Item = &mut Group> {
        let ours = self.for_us.then_some(&mut self.ours);
        let everyone = self.for_everyone.then_some(&mut self.everyone);
        ours.into_iter().chain(everyone)
    }

    fn end(self) -> Robots {
        let group = match self.ours.named {
            true => self.ours,
            false => self.everyone,
        };
        let mut rules = group.rules;
        rules.sort_by(|a, b| {
            let key = |rule: &Rule| (Reverse(rule.pattern.octets()), rule.access);
            key(a).cmp(&key(b)).then_with(|| a.pattern.cmp(&b.pattern))
        });
        rules.dedup();
        rules.shrink_to_fit();
        Robots {
            rules,
            crawl_delay: group.crawl_delay,
            sitemaps: self.sitemaps,
        }
    }
}

/// The name with which `text` begins (RFC 9309, 2.2.1): letters, `-` and `_`.
pub(crate) fn product_token(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .position(|&octet| !octet.is_ascii_alphabetic() && octet != b'-' && octet != b'_');
    &text[..end.unwrap_or(text.len())]
}

fn key_and_value(line: &[u8]) -> Option<(Key, &[u8])> {
    let line = line.split(|&octet| octet == b'#').next()?.trim_ascii();
    let at = match line.iter().position(|&octet| octet == b':') {
        Some(colon) => colon,
        None => only_gap(line)?,
    };
    let (key, value) = (line[..at].trim_ascii(), line[at + 1..].trim_ascii());
    Some((read_key(key)?, value))
}

/// Where a line of exactly two words is parted.
fn only_gap(line: &[u8]) -> Option<usize> {
    let gap = line.iter().position(u8::is_ascii_whitespace)?;
    let second = line[gap..].trim_ascii_start();
    (!second.iter().any(u8::is_ascii_whitespace)).then_some(gap)
}

fn read_key(key: &[u8]) -> Option<Key> {
    let is = |name: &&str| key.eq_ignore_ascii_case(name.as_bytes());
    let disallow = [
        "disallow",
        "dissallow",
        "dissalow",
        "disalow",
        "diasllow",
        "disallaw",
    ];
    if disallow.iter().any(is) {
        return Some(Key::Rule(Access::Disallow));
    }
    if is(&"allow") {
        return Some(Key::Rule(Access::Allow));
    }
    if ["user-agent", "useragent", "user agent"].iter().any(is) {
        return Some(Key::UserAgent);
    }
    if is(&"crawl-delay") {
        return Some(Key::CrawlDelay);
    }
    ["sitemap", "site-map"]
        .iter()
        .any(is)
        .then_some(Key::Sitemap)
}

fn seconds(value: &[u8]) -> Option<Duration> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    // More than a year is for ever, and fits into every clock.
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(3.2e7)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str, agent: &str, path: &str) -> bool {
        let url = Url::parse("https://example.org").and_then(|origin| origin.join(path));
        Robots::parse(text.as_bytes(), agent).allowed(&url.expect("a path"))
    }

    #[test]
    fn the_longest_pattern_decides_and_allow_wins_ties() {
        let text =
            "user-agent: *\ndisallow: /a\nallow: /a/b\ndisallow: /a/b/c\nallow: /t\ndisallow: /t\n";
        assert!(allowed(text, "bot", "/other"));
        assert!(!allowed(text, "bot", "/a"));
        assert!(allowed(text, "bot", "/a/b"));
        assert!(!allowed(text, "bot", "/a/b/c"));
        assert!(allowed(text, "bot", "/t"));
    }

    #[test]
    fn our_groups_are_merged_and_keep_the_general_one_from_applying() {
        let text = "user-agent: Bot\ndisallow: /a\n\nuser-agent: *\ndisallow: /\n\nUSER-AGENT: bot\ndisallow: /b";
        assert!(!allowed(text, "bot", "/a"));
        assert!(!allowed(text, "BOT", "/b"));
        assert!(allowed(text, "bot", "/c"));
        assert!(!allowed(text, "other", "/c"));
        assert!(allowed(
            "user-agent: bot\nuser-agent: *\ndisallow:",
            "bot",
            "/a"
        ));
        assert!(allowed(
            "user-agent: bot\ndisallow:\nuser-agent: *\ndisallow: /",
            "bot",
            "/a"
        ));
    }

    #[test]
    fn an_agents_name_ends_at_the_first_octet_that_no_name_may_have() {
        let text = "user-agent: bot/2.1 (crawler)\nuser-agent: lcl-ingest*\ndisallow: /";
        assert!(!allowed(text, "bot", "/"));
        assert!(!allowed(text, "lcl-ingest", "/"));
        assert!(allowed(text, "bots", "/"));
        assert_eq!(product_token(b"lcl-ingest/0.1 (+a)"), b"lcl-ingest");
    }

    #[test]
    fn any_line_end_a_byte_order_mark_and_misspellings_are_read() {
        for end in ["\n", "\r", "\r\n"] {
            let text = ["\u{FEFF}user agent: bot", "Disalow : /a # so", "allow /a/b"].join(end);
            assert!(!allowed(&text, "bot", "/a"), "{end:?}");
            assert!(allowed(&text, "bot", "/a/b"), "{end:?}");
        }
        assert!(allowed("user-agent: bot\n\0\u{1}garbage\n", "bot", "/a"));
    }

    #[test]
    fn a_file_cut_off_at_the_limit_loses_the_line_it_ends_in() {
        let text = format!("user-agent: *\n#{}\ndisallow: /", "x".repeat(500 << 10));
        assert!(allowed(&text, "bot", "/a"));
        let head = "user-agent: *\ndisallow: /secret\n";
        let filler = "x".repeat((MAX_BYTES as usize) - head.len() - 12);
        assert!(!allowed(
            &format!("{head}#{filler}\ndisallow: /public"),
            "bot",
            "/secret"
        ));
        assert!(allowed(
            &format!("{head}#{filler}\ndisallow: /public"),
            "bot",
            "/other"
        ));
    }

    #[test]
    fn the_delay_is_the_longest_that_our_groups_ask_for() {
        let delay = |text: &str| Robots::parse(text.as_bytes(), "bot").crawl_delay();
        let text =
            "user-agent: bot\ncrawl-delay: 1.5\ncrawl-delay: 0.5\nuser-agent: *\ncrawl-delay: 9";
        // The second agent joins the group, for no rule has closed it.
        assert_eq!(delay(text), Some(Duration::from_secs(9)));
        let text = text.replace("user-agent: *", "disallow:\nuser-agent: *");
        assert_eq!(delay(&text), Some(Duration::from_millis(1500)));
        assert_eq!(delay("user-agent: *\ncrawl-delay: soon"), None);
        assert_eq!(delay("user-agent: *\ncrawl-delay: NaN"), None);
        assert!(delay("user-agent: *\ncrawl-delay: 1e300") > Some(Duration::from_secs(9)));
    }

    #[test]
    fn sitemaps_belong_to_nobodys_group() {
        let text = "Sitemap: https://example.org/a.xml\nuser-agent: other\nsite-map: /b.xml";
        let robots = Robots::parse(text.as_bytes(), "bot");
        assert_eq!(robots.sitemaps(), ["https://example.org/a.xml", "/b.xml"]);
    }

    #[test]
    fn a_path_longer_than_any_image_needs_is_declined_where_there_are_rules() {
        let path = format!("/{}", "a".repeat(LONGEST_PATH));
        assert!(!allowed("user-agent: *\ndisallow: /b", "bot", &path));
        assert!(allowed("", "bot", &path));
    }
}

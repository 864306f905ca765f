//! What an owner says against use, in headers, in a page's head or for a whole site, to one outcome each.
//!
//! | Signal | Where |
//! |---|---|
//! | `noai`, `noimageai`, `noml`, `noindex`, `noimageindex`, `none` | `X-Robots-Tag`, `<meta name="robots">` |
//! | `tdm-reservation: 1` | header, `<meta>`, `/.well-known/tdmrep.json` ([TDMRep](https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/)) |
//!
//! All of them count unless a run says otherwise. img2dataset 1.47 heeds `noai`, `noimageai`, `noindex` and
//! `noimageindex` in headers; `noml` and TDMRep are newer. A signal in a page's head speaks of the page, not of the images
//! that it shows: those are asked about where they lie.

use lcl_schemas::outcome::Outcome;
use serde::{Deserialize, Serialize};
use url::Url;

use super::origin::PerOrigin;
use super::robots::{Pattern, path};

/// What is read of a tdmrep.json at most. One that is longer is none: JSON has no beginning that could stand alone.
pub(super) const MAX_TDM_BYTES: u64 = 500 << 10;

/// A signal against use. Of several, the first here becomes the outcome: what is about machine learning before what is
/// about search engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptOut {
    /// Not for machine learning.
    #[serde(rename = "noai")]
    NoAi,
    /// No images for machine learning.
    #[serde(rename = "noimageai")]
    NoImageAi,
    /// Not for machine learning, in Mojeek's word.
    #[serde(rename = "noml")]
    NoMl,
    /// Rights reserved from text and data mining.
    TdmReserved,
    /// Images not to be collected.
    #[serde(rename = "noimageindex")]
    NoImageIndex,
    /// Not to be collected.
    #[serde(rename = "noindex")]
    NoIndex,
}

impl OptOut {
    /// Every signal that there is.
    pub const ALL: [Self; 6] = [
        Self::NoAi,
        Self::NoImageAi,
        Self::NoMl,
        Self::TdmReserved,
        Self::NoImageIndex,
        Self::NoIndex,
    ];

    /// Whether it speaks of a page's images only.
    pub(crate) fn is_about_images(self) -> bool {
        matches!(self, Self::NoImageAi | Self::NoImageIndex)
    }

    fn of_directive(name: &str) -> Option<Self> {
        let names = [
            ("noai", Self::NoAi),
            ("noimageai", Self::NoImageAi),
            ("noml", Self::NoMl),
            ("noimageindex", Self::NoImageIndex),
            ("noindex", Self::NoIndex),
            // Both `noindex` and `nofollow`.
            ("none", Self::NoIndex),
        ];
        let found = names
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, signal)| signal)
    }
}

impl From<OptOut> for Outcome {
    fn from(signal: OptOut) -> Self {
        match signal {
            OptOut::NoAi => Self::NoAi,
            OptOut::NoImageAi => Self::NoImageAi,
            OptOut::NoMl => Self::NoMl,
            OptOut::TdmReserved => Self::TdmReserved,
            OptOut::NoImageIndex => Self::NoImageIndex,
            OptOut::NoIndex => Self::NoIndex,
        }
    }
}

/// What `X-Robots-Tag` headers and a `tdm-reservation` header say to `agent`, of what is `heeded`.
pub(crate) fn of_headers<'a>(
    values: impl Iterator<Item = &'a str>,
    tdm: Option<&str>,
    agent: &str,
    heeded: &[OptOut],
) -> Option<OptOut> {
    let tagged = values.flat_map(|value| directives(value, agent));
    let reserved = tdm.and_then(Reservation::read) == Some(Reservation::Reserved);
    first(tagged, reserved, heeded)
}

/// What a page's `<meta name=… content=…>` elements say of the page to `agent`, of what is `heeded`. Names other than
/// `robots`, the agent's and `tdm-reservation` say nothing.
pub(crate) fn of_meta<'a>(
    elements: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    agent: &str,
    heeded: &[OptOut],
) -> Option<OptOut> {
    let is = |name: &str, wanted: &str| name.trim().eq_ignore_ascii_case(wanted);
    let reserved = elements.clone().any(|(name, content)| {
        is(name, "tdm-reservation") && Reservation::read(content) == Some(Reservation::Reserved)
    });
    let tagged = elements
        .filter(|(name, _)| is(name, "robots") || is(name, agent))
        .flat_map(|(_, content)| directives(content, agent));
    first(tagged, reserved, heeded)
}

fn first(
    tagged: impl Iterator<Item = OptOut>,
    reserved: bool,
    heeded: &[OptOut],
) -> Option<OptOut> {
    let reserved = reserved.then_some(OptOut::TdmReserved);
    tagged
        .chain(reserved)
        .filter(|signal| heeded.contains(signal))
        .min()
}

/// The signals in one value that are for `agent` or for everybody.
///
/// A value is a list parted by commas. `name: directive` addresses that and the following ones to one agent, but some
/// directives have values of their own, and a date among them has both colons and commas:
/// `unavailable_after: Saturday, 25-Jun-22 15:00:00 GMT, noai` is two directives, for everybody.
fn directives(value: &str, agent: &str) -> impl Iterator<Item = OptOut> {
    let mut for_us = true;
    value.split(',').filter_map(move |part| {
        let part = part.trim();
        let directive = match part.split_once(':') {
            Some((name, _)) if has_value(name.trim()) => return None,
            Some((name, directive)) if is_agent(name.trim()) => {
                let name = name.trim();
                for_us = name == "*" || name.eq_ignore_ascii_case(agent);
                directive.trim()
            }
            // The rest of a date.
            Some(_) => return None,
            None => part,
        };
        for_us.then(|| OptOut::of_directive(directive)).flatten()
    })
}

fn has_value(name: &str) -> bool {
    let known = [
        "unavailable_after",
        "max-snippet",
        "max-image-preview",
        "max-video-preview",
    ];
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// No date's part before a colon is a name: it begins with a digit, or has a space.
fn is_agent(name: &str) -> bool {
    name == "*"
        || name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
}

/// A stated value of `tdm-reservation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reservation {
    Reserved,
    Free,
}

impl Reservation {
    /// TDMRep, "Expressing a TDM Declaration": any other value is as if there were none.
    fn read(value: &str) -> Option<Self> {
        match value.trim() {
            "1" => Some(Self::Reserved),
            "0" => Some(Self::Free),
            _ => None,
        }
    }
}

/// What an origin's `/.well-known/tdmrep.json` says. The default reserves nothing.
///
/// It is read before anything else is asked, as the protocol wants it. A header that gives free what the file reserves
/// would supersede it, but is then never seen: whoever reserves a path is not asked for it.
#[derive(Debug, Default)]
pub(super) struct TdmFile {
    rules: Vec<(Pattern, Reservation)>,
}

/// One rule as written. What is not needed here may have any type: a rule is not lost for its policy.
#[derive(Deserialize)]
struct WrittenRule {
    location: String,
    #[serde(rename = "tdm-reservation")]
    reservation: serde_json::Value,
}

impl TdmFile {
    /// Files by origin.
    pub(super) fn cache() -> PerOrigin<Self> {
        PerOrigin::new("/.well-known/tdmrep.json", |file| {
            let rules = file.rules.iter();
            rules.map(|(pattern, _)| 32 + pattern.octets()).sum()
        })
    }

    /// A file that its server does not give, or that cannot be read, means that the site does not take part (TDMRep,
    /// "TDM File on the Origin Server"). One that was never asked for means nothing.
    pub(super) fn read(file: Result<Vec<u8>, Outcome>) -> Result<Self, Outcome> {
        match file {
            Ok(text) => Ok(Self::parse(&text)),
            Err(unasked @ (Outcome::HostDown | Outcome::Resolver)) => Err(unasked),
            Err(_) => Ok(Self::default()),
        }
    }

    fn parse(text: &[u8]) -> Self {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let written: Vec<serde_json::Value> = serde_json::from_slice(text).unwrap_or_default();
        let rules = written.into_iter().filter_map(|rule| {
            let rule: WrittenRule = serde_json::from_value(rule).ok()?;
            let reservation = match rule.reservation {
                // Seen in the wild, and meant.
                serde_json::Value::String(value) => Reservation::read(&value),
                value => Reservation::read(&value.to_string()),
            };
            Some((Pattern::new(rule.location.as_bytes()), reservation?))
        });
        Self {
            rules: rules.collect(),
        }
    }

    /// Whether it reserves `url`: by the first rule that fits.
    pub(super) fn reserves(&self, url: &Url) -> bool {
        let path = path(url);
        let mut rules = self.rules.iter();
        let decides = rules.find(|(pattern, _)| pattern.fits(&path));
        decides.is_some_and(|&(_, reservation)| reservation == Reservation::Reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(values: &[&str]) -> Option<OptOut> {
        of_headers(values.iter().copied(), None, "lcl-ingest", &OptOut::ALL)
    }

    #[test]
    fn every_directive_is_a_signal_of_its_own() {
        for (value, signal) in [
            ("noai", OptOut::NoAi),
            ("NoImageAI", OptOut::NoImageAi),
            ("noml", OptOut::NoMl),
            ("noindex", OptOut::NoIndex),
            ("none", OptOut::NoIndex),
            ("noimageindex", OptOut::NoImageIndex),
            ("index, nofollow ,noindex", OptOut::NoIndex),
        ] {
            assert_eq!(tagged(&[value]), Some(signal), "{value}");
        }
        for value in [
            "",
            "all",
            "nofollow",
            "noai2",
            "max-snippet: 0",
            "noarchive",
        ] {
            assert_eq!(tagged(&[value]), None, "{value}");
        }
    }

    #[test]
    fn a_date_hides_no_directive() {
        for date in [
            "2025-12-03T13:09:53Z",
            "Saturday, 25-Jun-22 15:00:00 GMT",
            "Sat, 25 Jun 2022 15:00:00 GMT",
            "25 Jun 2010 15:00:00 PST",
            "June 25, 2022, 15:00:00",
        ] {
            let value = format!("unavailable_after: {date}, noai");
            assert_eq!(tagged(&[&value]), Some(OptOut::NoAi), "{date}");
            let value = format!("googlebot: unavailable_after: {date}, noai");
            assert_eq!(tagged(&[&value]), None, "{date}");
        }
    }

    #[test]
    fn a_directive_for_another_agent_is_not_for_us() {
        assert_eq!(tagged(&["googlebot: noindex, noai"]), None);
        assert_eq!(tagged(&["googlebot: noindex", "noai"]), Some(OptOut::NoAi));
        assert_eq!(tagged(&["LCL-ingest: nofollow, noai"]), Some(OptOut::NoAi));
        assert_eq!(tagged(&["noml, googlebot: noai"]), Some(OptOut::NoMl));
        assert_eq!(tagged(&["googlebot: all, *: noml"]), Some(OptOut::NoMl));
    }

    #[test]
    fn what_is_about_learning_is_told_before_what_is_about_search() {
        assert_eq!(
            tagged(&["noindex, noimageindex", "noai"]),
            Some(OptOut::NoAi)
        );
        let both = of_headers(["noindex"].into_iter(), Some("1"), "bot", &OptOut::ALL);
        assert_eq!(both, Some(OptOut::TdmReserved));
    }

    #[test]
    fn only_what_is_heeded_counts() {
        let heeded = [OptOut::NoIndex];
        let found = of_headers(["noai, noindex"].into_iter(), Some("1"), "bot", &heeded);
        assert_eq!(found, Some(OptOut::NoIndex));
        assert_eq!(
            of_headers(["noai"].into_iter(), Some("1"), "bot", &[]),
            None
        );
    }

    #[test]
    fn a_reservation_is_the_number_one() {
        let of = |value| of_headers([].into_iter(), Some(value), "bot", &OptOut::ALL);
        assert_eq!(of(" 1 "), Some(OptOut::TdmReserved));
        for other in ["0", "2", "yes", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_page_speaks_to_all_agents_or_to_us() {
        let of = |name, content| {
            let elements = [("viewport", "noai"), (name, content)];
            of_meta(elements.into_iter(), "lcl-ingest", &OptOut::ALL)
        };
        assert_eq!(of("Robots", "noindex,noai"), Some(OptOut::NoAi));
        assert_eq!(of("lcl-ingest", "noml"), Some(OptOut::NoMl));
        assert_eq!(of("tdm-reservation", "1"), Some(OptOut::TdmReserved));
        assert_eq!(of("googlebot", "noai"), None);
    }

    #[test]
    fn the_first_rule_that_fits_decides_for_a_site() {
        let file = br#"[
            {"location": "/free/*.jpg$", "tdm-reservation": 0},
            {"location": "/odd", "tdm-reservation": "1", "tdm-policy": 7},
            {"location": 3, "tdm-reservation": 1},
            {"location": "/free/", "tdm-reservation": 1, "tdm-policy": "https://example.org/p"}
        ]"#;
        let file = TdmFile::parse(file);
        let reserves = |path: &str| {
            let url = Url::parse("https://example.org").and_then(|origin| origin.join(path));
            file.reserves(&url.expect("a path"))
        };
        assert!(!reserves("/free/a.jpg"));
        assert!(reserves("/free/a.png"));
        assert!(reserves("/odd"));
        assert!(!reserves("/other"));
    }

    #[test]
    fn a_file_that_says_nothing_reserves_nothing() {
        let url = Url::parse("https://example.org/").expect("a URL");
        for text in [
            "",
            "{}",
            "<html>",
            "[1, null]",
            r#"[{"location": "/", "tdm-reservation": 3}]"#,
        ] {
            assert!(!TdmFile::parse(text.as_bytes()).reserves(&url), "{text}");
        }
        let missing = TdmFile::read(Err(Outcome::Http(404))).expect("no failure");
        assert!(!missing.reserves(&url));
        let unasked = TdmFile::read(Err(Outcome::HostDown)).err();
        assert_eq!(unasked, Some(Outcome::HostDown), "nobody knows");
    }
}

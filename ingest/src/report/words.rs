//! Why images are missing, in words: a broken resolver is not a dead link, a block not a filter of ours.

use std::collections::BTreeMap;

use lcl_schemas::outcome::{Class, Outcome};

/// What a share of all images that were asked for has to be to be spoken of.
const WORTH_A_WORD: f64 = 0.02;

/// A reason for missing images, and what to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) images: u64,
    pub(crate) share: f64,
    pub(crate) what: &'static str,
    pub(crate) advice: &'static str,
}

/// Outcomes with one cause.
struct Cause {
    is: fn(&Outcome) -> bool,
    what: &'static str,
    advice: &'static str,
}

const CAUSES: [Cause; 11] = [
    Cause {
        is: |outcome| matches!(outcome, Outcome::Resolver),
        what: "The name servers gave no answer. This is a fault of the network here, not of the links.",
        advice: "Look at /etc/resolv.conf, or use a resolver of your own; then `lcl-ingest retry DATASET --outcome resolver`.",
    },
    Cause {
        is: |outcome| matches!(outcome, Outcome::Dns),
        what: "Their host names no longer exist: dead links.",
        advice: "Nothing will bring them back.",
    },
    Cause {
        is: |outcome| matches!(outcome, Outcome::Http(404 | 410)),
        what: "The servers say that the images are gone: dead links.",
        advice: "Nothing will bring them back.",
    },
    Cause {
        is: |outcome| matches!(outcome, Outcome::Http(401 | 402 | 403 | 406 | 451)),
        what: "The servers refuse us: they block this address or User-Agent, or want a referring page.",
        advice: "Respect it; with a contact in the User-Agent operators can answer you.",
    },
    Cause {
        is: |outcome| matches!(outcome, Outcome::Http(429 | 503)),
        what: "The servers ask us to slow down.",
        advice: "Lower fetch.per_site or raise fetch.delay_s, wait, then `lcl-ingest retry DATASET --class fetch`.",
    },
    Cause {
        is: |outcome| matches!(outcome, Outcome::Http(500..)),
        what: "The servers are broken at the moment.",
        advice: "`lcl-ingest retry DATASET --class fetch` another day.",
    },
    Cause {
        is: |outcome| outcome.class() == Class::Fetch,
        what: "Connections failed, broke off or took too long, or files were not there.",
        advice: "If many do, look at the network here first; then `lcl-ingest retry DATASET --class fetch`.",
    },
    Cause {
        is: |outcome| outcome.class() == Class::Manners,
        what: "Their owners ask that they not be taken (robots.txt, noai, TDM reservation, opt-out lists).",
        advice: "They are not tried again.",
    },
    Cause {
        is: |outcome| outcome.class() == Class::Safety,
        what: "Taking them could have hurt this machine: private addresses, too many bytes or pixels, URLs of other kinds.",
        advice: "If they are your own servers: --allow-private-addresses, fetch.max_bytes, decode.max_pixels.",
    },
    Cause {
        is: |outcome| outcome.class() == Class::Content,
        what: "What came is no image that can be decoded: pages in place of images, damaged files, other formats.",
        advice: "Many `not_an_image` from few sites are usually their \"hotlinking forbidden\" pages.",
    },
    Cause {
        is: |outcome| outcome.class() == Class::Rule,
        what: "Our own filters left them out; most of these were never asked for.",
        advice: "See [rules] in the configuration.",
    },
];

/// What is worth saying of `images`, the most frequent first.
pub(crate) fn findings(images: &BTreeMap<Outcome, u64>) -> Vec<Finding> {
    let all: u64 = images.values().sum();
    let mut counts = [0; CAUSES.len()];
    for (outcome, count) in images {
        if let Some(cause) = CAUSES.iter().position(|cause| (cause.is)(outcome)) {
            counts[cause] += count;
        }
    }
    let mut findings: Vec<_> = CAUSES
        .iter()
        .zip(counts)
        .map(|(cause, images)| Finding {
            images,
            share: images as f64 / all.max(1) as f64,
            what: cause.what,
            advice: cause.advice,
        })
        .filter(|finding| finding.images > 0 && finding.share >= WORTH_A_WORD)
        .collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.images));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(counts: &[(Outcome, u64)]) -> &'static str {
        findings(&counts.iter().cloned().collect())[0].what
    }

    #[test]
    fn a_broken_resolver_a_dead_link_a_block_and_a_filter_are_told_apart() {
        let stored = (Outcome::Stored, 10);
        for (outcome, word) in [
            (Outcome::Resolver, "network here"),
            (Outcome::Dns, "dead links"),
            (Outcome::Http(404), "dead links"),
            (Outcome::Http(403), "refuse us"),
            (Outcome::Http(429), "slow down"),
            (Outcome::Timeout, "took too long"),
            (Outcome::NoAi, "owners ask"),
            (Outcome::BelowSimilarity, "own filters"),
        ] {
            let what = first(&[stored.clone(), (outcome, 90)]);
            assert!(what.contains(word), "{what}");
        }
    }

    #[test]
    fn what_is_rare_is_not_spoken_of_and_nothing_missing_is_silent() {
        let counts = [(Outcome::Stored, 990), (Outcome::Http(404), 10)];
        assert_eq!(findings(&counts.into_iter().collect()), []);
        assert_eq!(findings(&BTreeMap::new()), []);
    }
}

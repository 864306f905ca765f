//! Candidates of a `srcset`, and which one to ask for.

/// Encoders see a few hundred pixels an edge; wider files cost transfer and decoding for nothing.
const ENOUGH_WIDTH: f64 = 2048.0;
/// Real ones have about a dozen.
const MAX_CANDIDATES: usize = 64;

/// A candidate: an address and how large it is said to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate<'a> {
    pub(super) url: &'a str,
    pub(super) size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    /// Pixels.
    Width(f64),
    /// Pixels for a pixel of the page.
    Density(f64),
}

/// Parses as WHATWG HTML says ("parse a srcset attribute"); candidates with a descriptor that is none are left out.
pub(super) fn parse(srcset: &str) -> Vec<Candidate<'_>> {
    let mut candidates = Vec::new();
    let mut rest = srcset;
    while candidates.len() < MAX_CANDIDATES {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            break;
        }
        // Commas belong to the address, but for those at its end.
        let end = rest.find(|c: char| c.is_ascii_whitespace());
        let (token, after) = rest.split_at(end.unwrap_or(rest.len()));
        let url = token.trim_end_matches(',');
        let descriptors = if url.len() < token.len() {
            rest = after;
            ""
        } else {
            let (descriptors, left) = after.split_at(descriptors_end(after));
            rest = left;
            descriptors
        };
        candidates.extend(size(descriptors).map(|size| Candidate { url, size }));
    }
    candidates
}

fn descriptors_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let ends = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.find(ends).unwrap_or(text.len())
}

fn size(descriptors: &str) -> Option<Size> {
    let mut size = Size::Density(1.0);
    for descriptor in descriptors.split_ascii_whitespace() {
        let (number, unit) = descriptor.split_at_checked(descriptor.len() - 1)?;
        let number = number.parse::<f64>().ok().filter(|number| *number > 0.0)?;
        size = match unit {
            "w" => Size::Width(number),
            "x" => Size::Density(number),
            "h" => size,
            _ => return None,
        };
    }
    Some(size)
}

/// The largest candidate that is not wider than needed, or the smallest of those that are.
pub(super) fn choose<'a>(
    candidates: &[Candidate<'a>],
    shown_width: Option<u32>,
) -> Option<&'a str> {
    // Without a width to multiply, a density says no more than which one is larger.
    let unit = shown_width.map_or(1.0, f64::from);
    let width = |candidate: &Candidate<'_>| match candidate.size {
        Size::Width(width) => width,
        Size::Density(density) => density * unit,
    };
    let enough = candidates
        .iter()
        .filter(|candidate| width(candidate) <= ENOUGH_WIDTH)
        // The first among equals, as browsers have it.
        .rev()
        .max_by(|a, b| width(a).total_cmp(&width(b)));
    let smallest = || {
        candidates
            .iter()
            .min_by(|a, b| width(a).total_cmp(&width(b)))
    };
    enough.or_else(smallest).map(|candidate| candidate.url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(srcset: &str) -> Vec<&str> {
        parse(srcset)
            .iter()
            .map(|candidate| candidate.url)
            .collect()
    }

    fn chosen(srcset: &str, shown_width: Option<u32>) -> Option<&str> {
        choose(&parse(srcset), shown_width)
    }

    #[test]
    fn commas_may_stand_in_addresses() {
        assert_eq!(
            urls("/w_1,h_2/a.jpg 1x, /w_3,h_4/a.jpg 2x"),
            ["/w_1,h_2/a.jpg", "/w_3,h_4/a.jpg"]
        );
        assert_eq!(urls("a.jpg, b.jpg 2x,, c.jpg"), ["a.jpg", "b.jpg", "c.jpg"]);
        assert_eq!(urls("a.jpg,b.jpg"), ["a.jpg,b.jpg"]);
    }

    #[test]
    fn a_descriptor_that_is_none_spoils_its_candidate_only() {
        assert_eq!(
            urls("a 1q, b 2x, c -1x, d (1,2) , e 100w 50h, f ü"),
            ["b", "e"]
        );
    }

    #[test]
    fn the_largest_that_is_not_too_wide_is_chosen() {
        let set = "a 320w, b 1280w, c 4000w";
        assert_eq!(chosen(set, None), Some("b"));
        assert_eq!(chosen("c 4000w, d 3000w", None), Some("d"));
        assert_eq!(chosen("a, b 2x", None), Some("b"));
        assert_eq!(chosen("a, b 2x, c 3x", Some(1000)), Some("b"));
        assert_eq!(chosen("a 1x, b 1x", None), Some("a"));
        assert_eq!(chosen(" , ", None), None);
    }
}

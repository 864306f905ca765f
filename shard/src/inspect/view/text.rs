//! Text of strangers, for people to read: nothing in it acts, and nothing in it hides.
//!
//! Markup is escaped. Characters that show nothing and change what is seen – control characters, bidirectional overrides,
//! zero-width spaces, tags – stand there by their number. Joiners, soft hyphens and variation selectors stay: scripts need them.

use std::fmt::Write;
use std::ops::Range;

use maud::{Escaper, Markup, PreEscaped, html};
use url::Url;

use crate::inspect::visible::is_hidden;

/// Runs of hidden characters that one text shows; what comes behind them is left out.
const MOST_MARKS: usize = 2_000;

/// As an element's content.
pub(super) fn visible(text: &str) -> Markup {
    marked(text, &[])
}

/// As an attribute's value, which can hold no markup: hidden characters as `⟨U+202E⟩`.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(' '),
            letter if is_hidden(letter) => {
                write!(shown, "⟨U+{:04X}⟩", u32::from(letter)).expect("a string takes any text");
            }
            letter => shown.push(letter),
        }
    }
    shown
}

/// As an element's content, with every occurrence of `words`, which are lower-case, marked.
pub(super) fn marked(text: &str, words: &[String]) -> Markup {
    let mut shown = String::with_capacity(text.len() + text.len() / 8);
    let mut marks = MOST_MARKS;
    let mut at = 0;
    for found in occurrences(text, words) {
        push(&mut shown, &text[at..found.start], &mut marks);
        shown.push_str("<mark>");
        push(&mut shown, &text[found.clone()], &mut marks);
        shown.push_str("</mark>");
        at = found.end;
    }
    push(&mut shown, &text[at..], &mut marks);
    PreEscaped(shown)
}

fn push(shown: &mut String, text: &str, marks: &mut usize) {
    let mut rest = text;
    while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| is_hidden(*letter)) {
        let (before, hidden) = rest.split_at(at);
        write!(Escaper::new(shown), "{before}").expect("a string takes any text");
        let run = hidden.chars().take_while(|other| *other == letter).count();
        rest = &hidden[run * letter.len_utf8()..];
        let Some(left) = marks.checked_sub(1) else {
            continue;
        };
        *marks = left;
        let code = u32::from(letter);
        let times = match run {
            1 => String::new(),
            run => format!("×{run}"),
        };
        write!(
            shown,
            "<span class=\"hidden\" title=\"a character that does not show: U+{code:04X}\">{code:04X}{times}</span>"
        )
        .expect("a string takes any text");
    }
    write!(Escaper::new(shown), "{rest}").expect("a string takes any text");
}

/// Where any of the words stand, the earliest first, none overlapping.
fn occurrences(text: &str, words: &[String]) -> Vec<Range<usize>> {
    if words.is_empty() {
        return Vec::new();
    }
    // Lower-casing changes lengths: for each byte of it, the letter that it came from.
    let (mut lower, mut origin) = (String::with_capacity(text.len()), Vec::new());
    for (at, letter) in text.char_indices() {
        lower.extend(letter.to_lowercase());
        origin.resize(lower.len(), at..at + letter.len_utf8());
    }
    let mut found: Vec<Range<usize>> = words
        .iter()
        .filter(|word| !word.is_empty())
        .flat_map(|word| lower.match_indices(word.as_str()))
        .map(|(at, word)| origin[at].start..origin[at + word.len() - 1].end)
        .collect();
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    found.retain(|range| {
        let apart = range.start >= end;
        if apart {
            end = range.end;
        }
        apart
    });
    found
}

/// Around the first of the words in a text: about so many letters.
pub(super) fn excerpt<'a>(text: &'a str, words: &[String], letters: usize) -> Option<&'a str> {
    let first = occurrences(text, words).into_iter().next()?;
    let before = text[..first.start].char_indices().rev().take(letters / 2);
    let start = before.last().map_or(first.start, |(at, _)| at);
    let end = text[first.start..].char_indices().nth(letters);
    Some(&text[start..end.map_or(text.len(), |(at, _)| first.start + at)])
}

/// A text's first letters, and how many are left.
pub(super) fn beginning(text: &str, letters: usize) -> (&str, usize) {
    match text.char_indices().nth(letters) {
        None => (text, 0),
        Some((at, _)) => (&text[..at], text[at..].chars().count()),
    }
}

/// An address of the data: a link where it leads to the web, text otherwise. A link shows where it leads to.
pub(super) fn address(url: &str) -> Markup {
    let parsed = Url::parse(url).ok().filter(|parsed| {
        matches!(parsed.scheme(), "http" | "https")
            && parsed.username().is_empty()
            && parsed.password().is_none()
    });
    let Some(parsed) = parsed else {
        return html! { span.url { bdi { (visible(beginning(url, 500).0)) } } };
    };
    let (shown, left) = beginning(parsed.as_str(), 200);
    html! {
        a.url href=(parsed.as_str()) rel="noreferrer noopener nofollow" { bdi { (visible(shown)) @if left > 0 { "…" } } }
    }
}

/// A count, in groups of three.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 image`, `2 images`.
pub(super) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_stays_text() {
        let shown = visible("<script>alert(1)</script> \"><img onerror=x>").into_string();
        assert!(!shown.contains('<'), "{shown}");
        assert!(shown.starts_with("&lt;script&gt;"), "{shown}");
    }

    #[test]
    fn what_hides_is_shown_by_its_number() {
        let shown = visible("a\u{202E}b\0\0c").into_string();
        assert!(shown.contains(">202E</span>b"), "{shown}");
        assert!(shown.contains(">0000×2</span>c"), "{shown}");
        assert_eq!(plain("a\u{202E}\"\n"), "a⟨U+202E⟩\" ");
        let many = visible(&"\u{1}\u{2}".repeat(100_000)).into_string();
        assert!(many.len() < 1 << 20, "{}", many.len());
    }

    #[test]
    fn joiners_and_emoji_stay_as_they_are() {
        let text = "👩\u{200D}🚀 می\u{200C}خواهم";
        assert_eq!(visible(text).into_string(), text);
    }

    #[test]
    fn words_are_marked_whatever_their_case_and_length_in_lower_case() {
        let marked = |text: &str, words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            marked(text, &words).into_string()
        };
        assert_eq!(
            marked("A Dog, dog", &["dog"]),
            "A <mark>Dog</mark>, <mark>dog</mark>"
        );
        // İ is two letters in lower case.
        assert_eq!(marked("İİ<x>", &["<x"]), "İİ<mark>&lt;x</mark>&gt;");
        assert_eq!(marked("aaa", &["aa", "a"]), "<mark>aa</mark><mark>a</mark>");
    }

    #[test]
    fn only_the_web_is_linked() {
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "http://user@host/",
            "//host/x",
            " ",
        ] {
            assert!(!address(url).into_string().contains("href"), "{url}");
        }
        let link = address("https://example.org/\u{202E}\"><b>").into_string();
        assert!(
            link.starts_with(
                "<a class=\"url\" href=\"https://example.org/%E2%80%AE%22%3E%3Cb%3E\""
            ),
            "{link}"
        );
        assert!(link.contains("noreferrer"), "{link}");
    }

    #[test]
    fn an_excerpt_holds_the_first_occurrence() {
        let text = format!("{}needle{}", "ä".repeat(300), "ö".repeat(300));
        let found = excerpt(&text, &["needle".to_owned()], 40).expect("it is there");
        assert!(
            found.contains("needle") && found.chars().count() <= 61,
            "{found}"
        );
        assert_eq!(excerpt(&text, &["other".to_owned()], 40), None);
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}

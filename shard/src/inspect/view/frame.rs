//! What every page has around it, and the policy under which browsers show it.

use std::sync::LazyLock;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::base64;
use super::text::plain;

const STYLE: &str = include_str!("style.css");

/// Of pages that a server shows: nothing but its own images and this style sheet. There is no script.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; img-src 'self'; style-src {}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        style_source()
    )
});

/// Of a page in a file: images stand in it.
static FILE_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; img-src data:; style-src {}; form-action 'none'; base-uri 'none'",
        style_source()
    )
});

/// The one style sheet, by its hash: style attributes and other sheets are not taken.
fn style_source() -> String {
    format!("'sha256-{}'", base64::encode(&Sha256::digest(STYLE)))
}

/// Which of the pages is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Documents,
    Batches,
    None,
}

/// A page of the server.
pub(super) fn page(title: &str, tab: Tab, body: &Markup) -> Markup {
    let link = |name: &str, href: &str, key: &str, of: Tab| {
        let current = (tab == of).then_some("page");
        html! { a href=(href) accesskey=(key) aria-current=[current] { (name) } }
    };
    let top = html! {
        a.skip href="#content" { "Skip to the content" }
        nav.top aria-label="Pages" {
            (link("Documents", "/", "h", Tab::Documents))
            (link("Batches", "/batches", "b", Tab::Batches))
            a href="/random" accesskey="r" rel="nofollow" { "At random" }
        }
    };
    whole(
        title,
        None,
        &html! { (top) div id="content" tabindex="-1" { (body) } },
    )
}

/// A page that needs nothing else.
pub(super) fn file(title: &str, body: &Markup) -> Markup {
    whole(title, Some(&FILE_POLICY), body)
}

fn whole(title: &str, policy: Option<&str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                @if let Some(policy) = policy {
                    meta http-equiv="Content-Security-Policy" content=(policy);
                }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { (plain(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

//! What becomes of one page, for people who look at it and programs that measure it.

use std::fmt::Write;

use url::Url;

use crate::source::html::{self, HtmlPlace, Limits};

/// Texts, and addresses of images to ask for; `None` for a page that is refused.
pub fn read(page: &[u8], url: &Url) -> Option<(Vec<String>, Vec<String>)> {
    let page = html::extract(page, None, url, &Limits::default()).ok()?;
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for place in page.places {
        match place {
            HtmlPlace::Text(text) => texts.push(text),
            HtmlPlace::Image(image) if image.left_out.is_none() => images.push(image.url),
            HtmlPlace::Image(_) => {}
        }
    }
    Some((texts, images))
}

/// The page's document, for reading.
pub fn show(page: &[u8], url: &Url) -> String {
    let page = match html::extract(page, None, url, &Limits::default()) {
        Ok(page) => page,
        Err(error) => return format!("{error}\n"),
    };
    let mut shown = format!(
        "title {:?}\nlanguage {:?}\nbase {} canonical {:?}\nrobots {:?} tdm {:?}\n{} links\n\n",
        page.title,
        page.language,
        page.base,
        page.canonical.map(String::from),
        page.robots,
        page.tdm,
        page.links.len(),
    );
    for place in page.places {
        let line = match place {
            HtmlPlace::Text(text) => text,
            HtmlPlace::Image(image) => format!("    {image:?}"),
        };
        writeln!(shown, "{line}\n").expect("a string takes all");
    }
    shown
}

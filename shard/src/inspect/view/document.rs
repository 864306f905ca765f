//! One document as its readers saw it: texts and images in order, and in the place of a missing image the reason.

use lcl_schemas::document::{Image, Place as DocumentPlace};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::Row;
use maud::{Markup, html};

use super::address::{Link, Place};
use super::text::{address, beginning, count, counted, excerpt, marked, plain, visible};
use super::thumbnail::Size;
use super::{base64, sniff, words};
use crate::order::RowAt;
use crate::stored::StoredImages;

/// Where a document's images come from.
pub(super) enum Pictures<'a> {
    /// The server, at addresses of their own.
    Served(&'a Origin),
    /// The page itself.
    Inside(Option<&'a StoredImages>),
}

/// Which dataset, in links.
pub(super) struct Origin {
    /// 1 or 2.
    pub(super) dataset: usize,
    /// The beginning of its manifest's hash: what is kept by a browser belongs to it.
    pub(super) version: String,
}

/// How much of a document is shown.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) from: usize,
    pub(super) places: usize,
    pub(super) letters: usize,
    pub(super) size: Size,
}

impl Extent {
    /// Among others.
    pub(super) const CARD: Self = Self {
        from: 0,
        places: 24,
        letters: 1_200,
        size: Size::Small,
    };
    /// On its own page.
    pub(super) const WHOLE: Self = Self {
        from: 0,
        places: 1_000,
        letters: 400_000,
        size: Size::Large,
    };
}

/// A document to be shown.
pub(super) struct Sheet<'a> {
    pub(super) at: RowAt,
    pub(super) row: &'a Row,
    pub(super) pictures: Pictures<'a>,
    /// To be marked.
    pub(super) words: &'a [String],
    pub(super) extent: Extent,
}

impl Origin {
    pub(super) fn document(&self, at: RowAt, id: &str) -> Link {
        self.place(at).with("id", id)
    }

    /// Whatever document is there.
    pub(super) fn place(&self, at: RowAt) -> Link {
        let link = Link::to("/document").maybe("d", self.number());
        link.with("at", Place(at))
    }

    /// `None` for the first, which needs no saying.
    pub(super) fn number(&self) -> Option<usize> {
        Some(self.dataset).filter(|dataset| *dataset > 1)
    }

    /// What its names in a page begin with, where another document stands beside it.
    pub(super) fn prefix(&self) -> &'static str {
        match self.dataset {
            1 => "",
            _ => "other-",
        }
    }

    pub(super) fn thumbnail(&self, at: RowAt, place: usize, size: Size) -> String {
        let link = Link::to("/thumbnail").maybe("d", self.number());
        let link = link.with("at", Place(at)).with("place", place);
        link.with("size", size.name())
            .with("v", &self.version)
            .build()
    }

    pub(super) fn image(&self, at: RowAt, place: usize) -> String {
        let link = Link::to("/image").maybe("d", self.number());
        let link = link.with("at", Place(at)).with("place", place);
        link.with("v", &self.version).build()
    }
}

impl Sheet<'_> {
    /// In a list.
    pub(super) fn card(&self) -> Markup {
        html! {
            article.card id={ (self.prefix()) "d" (Place(self.at)) } tabindex="0" {
                (self.header())
                (self.body())
                (self.found_below())
            }
        }
    }

    /// By itself.
    pub(super) fn whole(&self) -> Markup {
        html! {
            article.whole { (self.header()) (self.body()) }
        }
    }

    fn prefix(&self) -> &'static str {
        match self.pictures {
            Pictures::Served(origin) => origin.prefix(),
            Pictures::Inside(_) => "",
        }
    }

    /// A place's name in the page.
    fn anchor(&self, place: impl std::fmt::Display) -> String {
        let prefix = self.prefix();
        match self.extent.size {
            Size::Small => format!("{prefix}d{}p{place}", Place(self.at)),
            Size::Large => format!("{prefix}p{place}"),
        }
    }

    fn header(&self) -> Markup {
        let document = &self.row.document;
        let (stored, all) = (document.stored_images(), document.images().count());
        let images = match stored == all {
            true => counted(all as u64, "image", "images"),
            false => format!(
                "{} of {}",
                count(stored as u64),
                counted(all as u64, "image", "images")
            ),
        };
        let id = html! { bdi { (visible(beginning(&document.id, 120).0)) } };
        html! {
            header {
                h2.id {
                    @match self.pictures {
                        Pictures::Served(origin) => a href=(origin.document(self.at, &document.id).build()) { (id) },
                        Pictures::Inside(_) => (id),
                    }
                }
                span { (visible(beginning(&document.source, 60).0)) }
                @if let Some(language) = &document.language {
                    span title="language" { (visible(beginning(language, 40).0)) }
                }
                span { (counted(self.row.layout.tokens().len() as u64, "token", "tokens")) }
                span { (images) }
                span.at title={ "row group " (self.at.group) ", row " (self.at.row) } { (Place(self.at)) }
            }
            @if let Some(url) = &document.url {
                p.page { (address(url)) }
            }
        }
    }

    fn body(&self) -> Markup {
        let places = &self.row.document.places;
        let Extent {
            from,
            places: most,
            letters,
            ..
        } = self.extent;
        let mut left = letters;
        let mut shown = from.min(places.len());
        let mut cut = 0;
        let mut parts: Vec<Markup> = Vec::new();
        let mut figures: Vec<Markup> = Vec::new();
        for (place, content) in places.iter().enumerate().skip(from).take(most) {
            match content {
                DocumentPlace::Text(_) if left == 0 => break,
                DocumentPlace::Text(text) => {
                    flush(&mut figures, &mut parts);
                    let (start, rest) = beginning(text, left);
                    left = left.saturating_sub(start.chars().count().max(1));
                    cut = rest;
                    parts.push(self.text(place, start, rest));
                }
                DocumentPlace::Image(image) => figures.push(self.image(place, image)),
            }
            shown = place + 1;
            if cut > 0 {
                break;
            }
        }
        flush(&mut figures, &mut parts);
        let more = places.len() - shown;
        html! {
            div.body lang=[self.language()] {
                @for part in parts { (part) }
                @if places.is_empty() { p.quiet { "An empty document." } }
            }
            @if more > 0 || cut > 0 { (self.rest(shown, more)) }
        }
    }

    /// Where it looks like a language tag: fonts and hyphens go by it.
    fn language(&self) -> Option<&str> {
        let is_tag = |tag: &&str| {
            let letters = tag.bytes();
            tag.len() <= 35
                && letters
                    .into_iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        self.row.document.language.as_deref().filter(is_tag)
    }

    fn rest(&self, shown: usize, more: usize) -> Markup {
        let says = match more {
            0 => "The rest of it".to_owned(),
            more => format!("{} more", counted(more as u64, "place", "places")),
        };
        let Pictures::Served(origin) = self.pictures else {
            return html! { p.rest { (says) " – left out here" } };
        };
        let link = origin.document(self.at, &self.row.document.id);
        // A card leads to the whole; the whole leads on.
        let link = match self.extent.size {
            Size::Small => Some(link),
            Size::Large if more > 0 => Some(link.with("from", shown)),
            Size::Large => None,
        };
        html! {
            p.rest {
                @match link {
                    Some(link) => a href=(link.build()) { (says) " →" },
                    None => "This text is longer than a page shows: lcl-shard sql has it whole.",
                }
            }
        }
    }

    fn text(&self, place: usize, text: &str, rest: usize) -> Markup {
        html! {
            p id=(self.anchor(place)) dir="auto" {
                (marked(text, self.words))
                @if rest > 0 { " " span.cut { "… " (counted(rest as u64, "letter", "letters")) " more" } }
            }
        }
    }

    /// The first occurrence of a word that what is shown does not hold.
    fn found_below(&self) -> Markup {
        let mut letters = 0;
        let texts = self
            .row
            .document
            .places
            .iter()
            .filter_map(|place| match place {
                DocumentPlace::Text(text) => Some(text),
                DocumentPlace::Image(_) => None,
            });
        for text in texts {
            if let Some(around) = excerpt(text, self.words, 160) {
                let offset = around.as_ptr() as usize - text.as_ptr() as usize;
                let before = letters + text[..offset].chars().count();
                return match before + 160 < self.extent.letters {
                    true => html! {},
                    false => {
                        html! { p.found dir="auto" { "… " (marked(around, self.words)) " …" } }
                    }
                };
            }
            letters += text.chars().count();
        }
        html! {}
    }

    fn image(&self, place: usize, image: &Image) -> Markup {
        match (&image.outcome, &image.stored) {
            (Outcome::Stored, Some(stored)) => {
                let alt = image.alt.as_deref().filter(|alt| !alt.is_empty());
                let name = match alt {
                    Some(alt) => plain(beginning(alt, 300).0),
                    None => format!("image at place {place}, without alternative text"),
                };
                let (width, height) = self.extent.size.of(stored.width, stored.height);
                let source = self.source(place);
                html! {
                    figure id=(self.anchor(place)) {
                        @match (source, &self.pictures) {
                            (Some(source), Pictures::Served(origin)) => {
                                a href=(origin.image(self.at, place)) {
                                    img src=(source) width=(width) height=(height) alt=(name) loading="lazy" decoding="async";
                                }
                            }
                            (Some(source), Pictures::Inside(_)) => img src=(source) width=(width) height=(height) alt=(name);,
                            (None, _) => div.missing.safety { p { "Its bytes are no image that is shown." } },
                        }
                        (self.caption(image, alt))
                    }
                }
            }
            _ => self.missing(place, image),
        }
    }

    /// What stands in `src`.
    fn source(&self, place: usize) -> Option<String> {
        match &self.pictures {
            Pictures::Served(origin) => Some(origin.thumbnail(self.at, place, self.extent.size)),
            Pictures::Inside(stored) => {
                let bytes = stored.as_ref()?.get(place as u32)?;
                let kind = sniff::content_type(bytes)?;
                Some(format!("data:{kind};base64,{}", base64::encode(bytes)))
            }
        }
    }

    fn caption(&self, image: &Image, alt: Option<&str>) -> Markup {
        let stored = image.stored.as_ref();
        html! {
            figcaption {
                @if let Some(alt) = alt {
                    span.alt dir="auto" { (visible(beginning(alt, 300).0)) }
                }
                @if let Some(stored) = stored {
                    span.facts {
                        (stored.width) "×" (stored.height) " " (visible(beginning(&stored.format, 12).0))
                        @if (stored.original_width, stored.original_height) != (stored.width, stored.height) {
                            ", was " (stored.original_width) "×" (stored.original_height)
                        }
                        @if let Some(similarity) = image.similarity { ", similarity " (format!("{similarity:.2}")) }
                        @if let Some(sentence) = image.sentence { ", to " a href={ "#" (self.anchor(sentence)) } { "place " (sentence) } }
                    }
                }
                @if let Some(url) = &image.url { span.from { (address(url)) } }
            }
        }
    }

    /// The box in the place of an image that is not there.
    fn missing(&self, place: usize, image: &Image) -> Markup {
        let (kind, class) = words::kind(&image.outcome);
        let name = image.outcome.to_string();
        html! {
            div class={ "missing " (class) } id=(self.anchor(place)) {
                p { b { "No image: " (kind) "." } " " (words::reason(&image.outcome)) " " code { (visible(beginning(&name, 60).0)) } }
                @if let Some(alt) = image.alt.as_deref().filter(|alt| !alt.is_empty()) {
                    p.alt dir="auto" { (visible(beginning(alt, 300).0)) }
                }
                @if let Some(similarity) = image.similarity { p.facts { "similarity " (format!("{similarity:.2}")) } }
                @if let Some(url) = &image.url { p.from { (address(url)) } }
            }
        }
    }
}

/// Neighbouring images stand together.
fn flush(figures: &mut Vec<Markup>, parts: &mut Vec<Markup>) {
    if !figures.is_empty() {
        let together = std::mem::take(figures);
        parts.push(html! { div.figures { @for figure in together { (figure) } } });
    }
}

/// A document, or a row group, that cannot be read.
pub(super) fn broken(at: RowAt, error: &str) -> Markup {
    html! {
        article.card.broken tabindex="0" {
            header { h2.id { "Cannot be read" } span.at { (Place(at)) } }
            p.error { (visible(error)) }
        }
    }
}

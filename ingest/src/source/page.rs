//! A page that was read, to a draft: which of its images are asked for, and where.

use std::collections::HashSet;

use lcl_schemas::outcome::{DocumentOutcome, Outcome};

use super::holdings::{Holdings, shown};
use super::html::{HtmlImage, HtmlPage, HtmlPlace, LeftOut};
use crate::config::Rules;
use crate::draft::{Draft, DraftImage, DraftPlace, ImageState, Unusable};
use crate::fetch::opt_out::{self, OptOut};

/// Who reads, and under which rules.
pub(crate) struct Reader<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) holdings: &'a Holdings,
    /// When the page was captured.
    pub(crate) date: Option<&'a str>,
    /// The product that our User-Agent begins with.
    pub(crate) agent: &'a str,
    pub(crate) heeded: &'a [OptOut],
}

impl Reader<'_> {
    /// What the page at `url` comes to. What it says against use counts for its text and for all images on it.
    pub(crate) fn draft(&self, page: HtmlPage, id: String, url: &str) -> Result<Draft, Unusable> {
        let said = self.opt_out(&page);
        if let Some(signal) = said.filter(|signal| !signal.is_about_images()) {
            return Err(opted_out(signal, "it says"));
        }
        let mut images = Images {
            reader: self,
            all: said.map(Outcome::from),
            seen: HashSet::new(),
            left: self.rules.max_images.unwrap_or(usize::MAX),
        };
        let places = page.places.into_iter().map(|place| match place {
            HtmlPlace::Text(text) => DraftPlace::Text(text),
            HtmlPlace::Image(image) => DraftPlace::Image(images.next(image)),
        });
        let places = places.collect();
        Ok(Draft {
            id,
            url: Some(shown(url).to_owned()),
            language: page.language,
            places,
        })
    }

    fn opt_out(&self, page: &HtmlPage) -> Option<OptOut> {
        let robots = page.robots.iter();
        let robots =
            robots.map(|(agent, content)| (agent.as_deref().unwrap_or("robots"), content.as_str()));
        let reserved = page.tdm.iter().filter(|tdm| tdm.is_reserved);
        let elements = robots.chain(reserved.map(|_| ("tdm-reservation", "1")));
        opt_out::of_meta(elements, self.agent, self.heeded)
    }
}

/// A page's images, one after the other.
struct Images<'a> {
    reader: &'a Reader<'a>,
    /// What all of them come to.
    all: Option<Outcome>,
    seen: HashSet<String>,
    /// How many more are asked for.
    left: usize,
}

impl Images<'_> {
    fn next(&mut self, image: HtmlImage) -> DraftImage {
        let state = self.state(&image);
        DraftImage {
            url: Some(shown(&image.url).to_owned()),
            alt: image.alt,
            matched: None,
            state,
        }
    }

    fn state(&mut self, image: &HtmlImage) -> ImageState {
        let left_out = image.left_out.map(outcome).or_else(|| self.all.clone());
        if let Some(outcome) = left_out {
            return ImageState::left_out(outcome);
        }
        if !self.seen.insert(image.url.clone()) {
            return ImageState::left_out(Outcome::Duplicate);
        }
        if self.left == 0 {
            return ImageState::left_out(Outcome::OverLimit);
        }
        match self.reader.holdings.locate(&image.url, self.reader.date) {
            Err(outcome) => ImageState::left_out(outcome),
            Ok(locator) => {
                self.left -= 1;
                ImageState::Wanted(locator)
            }
        }
    }
}

/// A page that is left alone.
pub(crate) fn opted_out(signal: OptOut, whence: &str) -> Unusable {
    Unusable {
        outcome: DocumentOutcome::OptedOut,
        detail: format!("{whence} {}", Outcome::from(signal)),
    }
}

fn outcome(left_out: LeftOut) -> Outcome {
    match left_out {
        LeftOut::Icon => Outcome::Icon,
        LeftOut::Tracker => Outcome::Tracker,
        LeftOut::Placeholder => Outcome::Placeholder,
        LeftOut::InlineData => Outcome::Inline,
        LeftOut::BadUrl => Outcome::BadUrl,
        LeftOut::Undecodable => Outcome::Unsupported,
        LeftOut::Repeated => Outcome::Duplicate,
    }
}

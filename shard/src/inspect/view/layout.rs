//! A document's ids, and the pieces that it is cut to: what a model reads of it.

use lcl_schemas::row::Row;
use lcl_schemas::tokenizer::Tokenizer;
use lcl_schemas::vocabulary::Vocabulary;
use maud::{Markup, html};

use super::address::{Place, Query};
use super::document::Origin;
use super::refusal::Refusal;
use super::text::{count, counted, visible};
use crate::config::StreamConfig;
use crate::cut::{Limits, Piece, cut};
use crate::keyed::id_number;
use crate::order::RowAt;
use crate::place::place;
use crate::read::DocumentTokens;
use crate::track::is_held_out;

/// Ids of a document that are shown one by one.
const MOST_TOKENS: usize = 6_000;
const MOST_PIECES: usize = 64;
/// Images of a piece that its bar shows: more are no wider than a pixel.
const MOST_MARKS: usize = 1_000;

/// How documents are cut.
#[derive(Clone, Copy)]
pub(super) struct Cutting {
    /// T.
    pub(super) context: usize,
    /// P.
    pub(super) slots: usize,
    /// Decide on which side of its sentence a matched image stands.
    pub(super) seed: u64,
    pub(super) epoch: u64,
}

impl Default for Cutting {
    fn default() -> Self {
        let StreamConfig {
            context,
            slots,
            seed,
            ..
        } = StreamConfig::default();
        Self {
            context,
            slots,
            seed,
            epoch: 0,
        }
    }
}

impl Cutting {
    /// As asked for, where it can be.
    pub(super) fn of(query: &Query) -> Result<Self, Refusal> {
        let usual = Self::default();
        let cutting = Self {
            context: query.number("context", usual.context as u64, 8..=1 << 16)? as usize,
            slots: query.number("slots", usual.slots as u64, 1..=1 << 13)? as usize,
            seed: query.number("seed", usual.seed, 0..=u64::MAX)?,
            epoch: query.number("epoch", usual.epoch, 0..=1 << 40)?,
        };
        let shortest = cutting.slots + 4;
        match cutting.context < shortest {
            true => Err(Refusal::Unclear(format!(
                "context has to be at least {shortest}: an image of {} slots takes that much",
                cutting.slots
            ))),
            false => Ok(cutting),
        }
    }
}

/// The ids of one document.
pub(super) struct Ids<'a> {
    pub(super) row: &'a Row,
    pub(super) vocabulary: &'a Vocabulary,
    /// Without one ids are numbers.
    pub(super) tokenizer: Option<&'a Tokenizer>,
    pub(super) cutting: Cutting,
}

impl Ids<'_> {
    fn pieces(&self) -> Vec<Piece> {
        let Cutting {
            context,
            slots,
            seed,
            epoch,
        } = self.cutting;
        let document = DocumentTokens::of(self.row, self.vocabulary);
        let limits = Limits {
            context,
            slots,
            max_images: context,
        };
        cut(
            &place(&document, seed, epoch),
            &document.tokens,
            self.vocabulary,
            limits,
        )
    }

    /// Folded; open where `asked` for it with other numbers. With `of` there is a form to ask.
    pub(super) fn details(&self, of: Option<(&Origin, RowAt)>, asked: bool) -> Markup {
        let pieces = self.pieces();
        let slotted: usize = pieces.iter().map(|piece| piece.tokens.len()).sum();
        let Cutting { context, slots, .. } = self.cutting;
        let prefix = of.map_or("", |(origin, _)| origin.prefix());
        let mut left = MOST_TOKENS;
        html! {
            details.layout id={ (prefix) "layout" } open[asked] {
                summary accesskey="t" {
                    "Token layout" " "
                    span.quiet {
                        (counted(self.row.layout.tokens().len() as u64, "id", "ids")) " in the dataset, "
                        (count(slotted as u64)) " with " (slots) " slots an image, "
                        (counted(pieces.len() as u64, "piece", "pieces")) " of at most " (count(context as u64))
                    }
                }
                @if let Some((origin, at)) = of { (self.form(origin, at)) }
                p.quiet { (self.fate()) }
                @if self.tokenizer.is_none() {
                    p.quiet { "The dataset's tokenizer is not beside it: ids are shown as numbers." }
                }
                @for (index, piece) in pieces.iter().enumerate().take(MOST_PIECES) {
                    section.piece {
                        h3 {
                            "Piece " (index + 1) " of " (pieces.len()) " "
                            span.quiet { (says(piece)) }
                        }
                        (bar(&[(piece, None)], context, slots, MOST_MARKS))
                        (self.tokens(piece, prefix, &mut left))
                    }
                }
                @if pieces.len() > MOST_PIECES { p.quiet { "More pieces than are shown here." } }
            }
        }
    }

    /// Whether streams take it.
    fn fate(&self) -> String {
        let StreamConfig {
            holdout,
            min_images,
            ..
        } = StreamConfig::default();
        let document = &self.row.document;
        if is_held_out(id_number(&document.id), holdout) {
            let share = 100.0 * holdout;
            format!(
                "It is among the {share:.0} % that are held out: training streams do not take it."
            )
        } else if (document.stored_images() as u64) < u64::from(min_images) {
            "Without a stored image streams do not take it, unless min_images is 0.".to_owned()
        } else {
            "Training streams take it.".to_owned()
        }
    }

    fn form(&self, origin: &Origin, at: RowAt) -> Markup {
        let Cutting {
            context,
            slots,
            seed,
            epoch,
        } = self.cutting;
        html! {
            form.numbers action="/document#layout" method="get" {
                @if let Some(dataset) = origin.number() { input type="hidden" name="d" value=(dataset); }
                input type="hidden" name="at" value=(Place(at));
                (number("context", context as u64))
                (number("slots", slots as u64))
                (number("seed", seed))
                (number("epoch", epoch))
                button { "Cut" }
            }
        }
    }

    fn tokens(&self, piece: &Piece, prefix: &str, left: &mut usize) -> Markup {
        let mut images = piece.images.iter();
        let mut parts = Vec::new();
        let mut at = 0;
        while at < piece.tokens.len() && *left > 0 {
            *left -= 1;
            let id = piece.tokens[at];
            let image = (id == self.vocabulary.boi).then(|| images.next()).flatten();
            let Some(image) = image else {
                parts.push(self.token(id));
                at += 1;
                continue;
            };
            let context = match image.has_context {
                true => "text stands before it in this piece: it has a contrastive pair",
                false => "no text stands before it in this piece: it has no contrastive pair",
            };
            parts.push(html! {
                a.image.without[!image.has_context] href={ "#" (prefix) "p" (image.place) } title=(context) {
                    b { "BOI" } " ▢×" (self.cutting.slots) " " b { "EOI" }
                }
                " "
            });
            at += self.cutting.slots + 2;
        }
        html! {
            p.tokens { @for part in parts { (part) } @if at < piece.tokens.len() { "… not shown one by one" } }
        }
    }

    fn token(&self, id: u32) -> Markup {
        let vocabulary = self.vocabulary;
        if vocabulary.is_special(id) {
            let name = match id {
                id if id == vocabulary.bos => "BOS",
                id if id == vocabulary.eos => "EOS",
                id if id == vocabulary.boi => "BOI",
                id if id == vocabulary.eoi => "EOI",
                _ => "SLOT",
            };
            return html! { b { (name) } " " };
        }
        let text = self.tokenizer.map(|tokenizer| tokenizer.decode(&[id]));
        match text {
            Some(text) => html! { i title=(id) { (visible(&text)) } " " },
            None => html! { i { (id) } " " },
        }
    }
}

fn says(piece: &Piece) -> String {
    let with_context = piece
        .images
        .iter()
        .filter(|image| image.has_context)
        .count();
    let images = match piece.images.len() {
        0 => "no image".to_owned(),
        images => format!(
            "{}, {with_context} with context",
            counted(images as u64, "image", "images")
        ),
    };
    format!(
        "{}, {images}",
        counted(piece.tokens.len() as u64, "id", "ids")
    )
}

/// A labelled number of a form.
pub(super) fn number(name: &str, value: u64) -> Markup {
    html! {
        label { (name) " " input name=(name) value=(value) inputmode="numeric" size="6" autocomplete="off"; }
    }
}

/// One row of a batch, or a piece by itself, to scale: text, images, and what is left. Pieces may lead somewhere.
pub(super) fn bar(
    pieces: &[(&Piece, Option<(String, String)>)],
    context: usize,
    slots: usize,
    most_marks: usize,
) -> Markup {
    let mut start = 0;
    let mut room = most_marks;
    let mut parts = Vec::new();
    for (index, (piece, leads)) in pieces.iter().enumerate() {
        let marks = piece.images.len().min(room);
        room -= marks;
        let length = piece.tokens.len();
        let shapes = html! {
            rect.{ "c" (index % 8) } x=(start) y="0" width=(length) height="16" {
                @if let Some((_, title)) = leads { title { (title) } }
            }
            @for image in piece.images.iter().take(marks) {
                rect.im x=(start + image.first_slot - 1) y="3" width=(slots + 2) height="10" {}
            }
            rect.edge x=(start) y="0" width=(context as f64 / 600.0) height="16" {}
        };
        parts.push(match leads {
            Some((href, _)) => html! { a href=(href) tabindex="-1" { (shapes) } },
            None => shapes,
        });
        start += length;
    }
    html! {
        svg.bar viewBox={ "0 0 " (context) " 16" } preserveAspectRatio="none" role="img" aria-label={ (count(start as u64)) " of " (count(context as u64)) " places filled" } {
            @for part in parts { (part) }
        }
    }
}

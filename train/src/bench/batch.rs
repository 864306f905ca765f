//! A batch that nobody wrote: documents of drawn lengths, the same for the same sizes.

use lcl_schemas::batch::{Batch, Pictures};
use lcl_schemas::vocabulary::Vocabulary;

use crate::init::fixed_units;
use crate::model::ModelShape;

/// Text ids before and after an image: captions and paragraphs.
const TEXT: std::ops::Range<usize> = 8..72;

/// Draws of one kind, in order.
struct Draws(Box<dyn Iterator<Item = f64>>);

impl Draws {
    fn named(name: &'static str) -> Self {
        Self(Box::new(fixed_units(name, usize::MAX)))
    }

    /// In `range`.
    fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        let unit = self.0.next().map_or(0.0, |unit| (unit + 1.0) / 2.0);
        range.start + ((range.len() as f64) * unit) as usize
    }
}

/// `rows` of `context` ids. Packed: documents with one to three images until a row is full; else one document with one
/// image a row, and padding.
pub(super) fn made_up(
    shape: &ModelShape,
    vocabulary: &Vocabulary,
    rows: usize,
    context: usize,
    packed: bool,
) -> Batch {
    let mut batch = Batch::padding(rows, context, shape.edge, shape.slots());
    let mut lengths = Draws::named("lengths of made-up documents");
    let mut ids = Draws::named("ids of made-up documents");
    let text_ids = 1..vocabulary.bos as usize;
    for row in 0..rows {
        let end = (row + 1) * context;
        let mut place = row * context;
        let mut segment = 0;
        while place < end && (packed || segment == 0) {
            segment += 1;
            let document = document(&mut lengths, end - place, shape.slots(), packed);
            let start = place;
            let mut written = |batch: &mut Batch, id: u32| {
                batch.tokens[place] = id;
                batch.segments[place] = segment;
                batch.positions[place] = (place - start) as u32;
                place += 1;
                place as u32
            };
            written(&mut batch, vocabulary.bos);
            for part in document {
                match part {
                    Part::Text(count) => {
                        for _ in 0..count {
                            written(&mut batch, ids.within(text_ids.clone()) as u32);
                        }
                    }
                    Part::Image => {
                        let slot = written(&mut batch, vocabulary.boi);
                        batch.first_slots.push(slot);
                        batch.has_context.push(true);
                        for _ in 0..shape.slots() {
                            written(&mut batch, vocabulary.slot);
                        }
                        written(&mut batch, vocabulary.eoi);
                    }
                    Part::End => {
                        written(&mut batch, vocabulary.eos);
                    }
                }
            }
        }
    }
    let pixels = fixed_units(
        "pixels of made-up images",
        batch.images() * shape.edge.pow(2) * 3,
    );
    let pixels: Vec<u8> = pixels.map(|unit| (127.5 * (unit + 1.0)) as u8).collect();
    batch.pictures = Pictures::Pixels(pixels.into());
    batch
}

enum Part {
    Text(usize),
    Image,
    End,
}

/// What follows BOS in a document of at most `room` ids. What is left of a row is text.
fn document(lengths: &mut Draws, room: usize, slots: usize, packed: bool) -> Vec<Part> {
    let images = if packed { lengths.within(1..4) } else { 1 };
    let mut parts = Vec::new();
    let mut left = room.saturating_sub(2);
    for _ in 0..images {
        let text = lengths.within(TEXT);
        // An image, and a word before and behind it.
        let Some(words) = left.checked_sub(slots + 4) else {
            break;
        };
        let text = text.min(words + 1);
        parts.extend([Part::Text(text), Part::Image]);
        left -= text + slots + 2;
    }
    let text = lengths.within(TEXT);
    let fits_another = left > text + 2 * (slots + 8);
    parts.push(Part::Text(match (packed, fits_another) {
        (true, false) => left,
        _ => text.min(left),
    }));
    if room > 1 {
        parts.push(Part::End);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Plan, Targets};
    use crate::model::shape::Preset;
    use crate::parity::vocabulary;

    #[test]
    fn made_up_batches_are_valid_and_packed_ones_full() {
        for preset in [Preset::ParityTiny, Preset::Tiny, Preset::B32Laion] {
            let (shape, vocabulary) = (preset.shape(), vocabulary(preset));
            for packed in [false, true] {
                let batch = made_up(&shape, &vocabulary, 3, shape.context, packed);
                let plan = Plan::of(&batch, &vocabulary, &shape, Targets::Segments);
                plan.expect("valid");
                assert!(batch.images() >= 3);
                assert!(
                    !packed || batch.fill() == 1.0,
                    "{preset:?} {}",
                    batch.fill()
                );
            }
        }
    }
}

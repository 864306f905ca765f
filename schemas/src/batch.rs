//! What the sharder hands to the trainer: packed rows of ids, and the pixels that go with them.
//!
//! ```text
//! tokens    BOS a dog BOI ▢ ▢ ▢ ▢ EOI it barks EOS │ BOS … EOS │ ? ? ?
//! segments   1  1  1   1  1 1 1 1  1   1   1    1  │  2  …  2  │ 0 0 0     0 = padding
//! positions  0  1  2   3  4 5 6 7  8   9  10   11  │  0  …     │ 0 0 0     restart in every segment
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::vocabulary::TokenId;

/// B rows of T ids with their N images. Shapes are row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// B.
    pub rows: usize,
    /// T, ids in a row.
    pub context: usize,
    /// S, pixels along one side of an image.
    pub edge: usize,
    /// P, slots that an image takes between BOI and EOI.
    pub slots: usize,
    /// `[B, T]`.
    pub tokens: Vec<TokenId>,
    /// `[B, T]`: whose each id is; attention, targets and the contrastive context never cross. 0 is padding.
    pub segments: Vec<u32>,
    /// `[B, T]`: from 0 in each segment.
    pub positions: Vec<u32>,
    /// Of the N images.
    pub pictures: Pictures,
    /// `[N]`: index into the flat `tokens` of each image's first slot, ascending. Its BOI stands one before.
    pub first_slots: Vec<u32>,
    /// `[N]`: whether a text id precedes the image in its own segment. Without one the image has no contrastive pair.
    pub has_context: Vec<bool>,
}

/// A batch's images, in one of two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pictures {
    /// `[N, S, S, 3]`, RGB. Normalising happens on the device.
    Pixels(Bytes),
    /// `[N]`: each as its shard holds it, JPEG for the most part, for who decodes elsewhere.
    Encoded(Vec<Bytes>),
}

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PictureForm {
    /// Decoded, cropped and resized.
    #[default]
    Pixels,
    /// As stored.
    Encoded,
}

impl Pictures {
    /// Which of the two it is.
    pub fn form(&self) -> PictureForm {
        match self {
            Self::Pixels(_) => PictureForm::Pixels,
            Self::Encoded(_) => PictureForm::Encoded,
        }
    }
}

impl Batch {
    /// Of padding, without images.
    pub fn padding(rows: usize, context: usize, edge: usize, slots: usize) -> Self {
        let places = rows * context;
        Self {
            rows,
            context,
            edge,
            slots,
            tokens: vec![0; places],
            segments: vec![0; places],
            positions: vec![0; places],
            pictures: Pictures::Pixels(Bytes::new()),
            first_slots: Vec::new(),
            has_context: Vec::new(),
        }
    }

    /// N.
    pub fn images(&self) -> usize {
        self.first_slots.len()
    }

    /// `[N, S, S, 3]`; empty where images are encoded.
    pub fn pixels(&self) -> &[u8] {
        match &self.pictures {
            Pictures::Pixels(pixels) => pixels,
            Pictures::Encoded(_) => &[],
        }
    }

    /// Share of the B × T places that hold a document's id.
    pub fn fill(&self) -> f64 {
        let used = self
            .segments
            .iter()
            .filter(|&&segment| segment != 0)
            .count();
        used as f64 / self.segments.len().max(1) as f64
    }

    /// The same rows in `parts` batches of equally many, in order; `parts` divides the rows.
    ///
    /// # Panics
    /// If it does not.
    pub fn split(&self, parts: usize) -> Vec<Self> {
        assert!(
            parts > 0 && self.rows.is_multiple_of(parts),
            "parts divide the rows"
        );
        let rows = self.rows / parts;
        let places = rows * self.context;
        let mut image = 0;
        let part = |part: usize| {
            let (start, end) = (part * places, (part + 1) * places);
            let rest = &self.first_slots[image..];
            let images = rest.partition_point(|slot| (*slot as usize) < end);
            let shown = image..image + images;
            image += images;
            let bytes = self.edge * self.edge * 3;
            Self {
                rows,
                tokens: self.tokens[start..end].to_vec(),
                segments: self.segments[start..end].to_vec(),
                positions: self.positions[start..end].to_vec(),
                pictures: match &self.pictures {
                    Pictures::Pixels(pixels) => {
                        Pictures::Pixels(pixels.slice(shown.start * bytes..shown.end * bytes))
                    }
                    Pictures::Encoded(encoded) => {
                        Pictures::Encoded(encoded[shown.clone()].to_vec())
                    }
                },
                first_slots: self.first_slots[shown.clone()]
                    .iter()
                    .map(|slot| slot - start as u32)
                    .collect(),
                has_context: self.has_context[shown].to_vec(),
                ..*self
            }
        };
        (0..parts).map(part).collect()
    }

    /// The batch as if these images (ascending) had never been in it: their BOI, slots, EOI and pixels are gone, what
    /// follows in their rows moves up, and the ends of the rows are padding.
    pub fn without_images(&self, lost: &[usize]) -> Self {
        let mut kept = vec![true; self.tokens.len()];
        for &image in lost {
            let slot = self.first_slots[image] as usize;
            kept[slot - 1..=slot + self.slots].fill(false);
        }
        let stays = |image: &usize| lost.binary_search(image).is_err();
        let images: Vec<usize> = (0..self.images()).filter(stays).collect();
        let bytes = self.edge * self.edge * 3;
        let pictures = match &self.pictures {
            Pictures::Pixels(pixels) => {
                let kept = images
                    .iter()
                    .map(|&image| &pixels[image * bytes..][..bytes]);
                Pictures::Pixels(kept.collect::<Vec<_>>().concat().into())
            }
            Pictures::Encoded(encoded) => {
                Pictures::Encoded(images.iter().map(|&image| encoded[image].clone()).collect())
            }
        };
        let mut batch = Self {
            tokens: Vec::with_capacity(self.tokens.len()),
            segments: Vec::with_capacity(self.tokens.len()),
            positions: Vec::with_capacity(self.tokens.len()),
            pictures,
            first_slots: Vec::with_capacity(images.len()),
            has_context: images
                .iter()
                .map(|&image| self.has_context[image])
                .collect(),
            ..*self
        };
        let mut moved = vec![0; self.tokens.len()];
        for row in 0..self.rows {
            for place in (row * self.context..(row + 1) * self.context).filter(|&place| kept[place])
            {
                moved[place] = batch.tokens.len() as u32;
                let segment = self.segments[place];
                let continues = batch.tokens.len() > row * self.context
                    && batch.segments.last() == Some(&segment);
                let position = match (segment, continues) {
                    (0, _) | (_, false) => 0,
                    (_, true) => batch.positions.last().map_or(0, |last| last + 1),
                };
                batch.tokens.push(self.tokens[place]);
                batch.segments.push(segment);
                batch.positions.push(position);
            }
            let end = (row + 1) * self.context;
            batch.tokens.resize(end, 0);
            batch.segments.resize(end, 0);
            batch.positions.resize(end, 0);
        }
        let slots = images
            .iter()
            .map(|&image| moved[self.first_slots[image] as usize]);
        batch.first_slots = slots.collect();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of 12; ids 90 BOI, 91 slot, 92 EOI.
    fn batch() -> Batch {
        let image = [90, 91, 91, 92];
        let first = [&[1, 5][..], &image, &[6], &image, &[2]].concat();
        let second = [&[1][..], &image, &[2], &[1, 7, 2], &[0, 0, 0]].concat();
        let positions: Vec<u32> = (0..12)
            .chain([0, 1, 2, 3, 4, 5, 0, 1, 2, 0, 0, 0])
            .collect();
        Batch {
            rows: 2,
            context: 12,
            edge: 1,
            slots: 2,
            tokens: [first, second].concat(),
            segments: [vec![1; 12], vec![1, 1, 1, 1, 1, 1, 2, 2, 2, 0, 0, 0]].concat(),
            positions,
            pictures: Pictures::Pixels(Bytes::from_static(&[10, 10, 10, 20, 20, 20, 30, 30, 30])),
            first_slots: vec![3, 8, 14],
            has_context: vec![true, true, false],
        }
    }

    #[test]
    fn parts_hold_the_rows_and_images_of_the_whole() {
        let batch = batch();
        let parts = batch.split(2);
        assert_eq!(
            [parts[0].first_slots.as_slice(), &parts[1].first_slots],
            [&[3, 8][..], &[2]]
        );
        assert_eq!(parts[1].pixels(), [30, 30, 30]);
        assert_eq!(parts[1].has_context, [false]);
        let tokens: Vec<u32> = parts.iter().flat_map(|part| part.tokens.clone()).collect();
        assert_eq!(tokens, batch.tokens);
        assert_eq!(batch.split(1), [batch]);
    }

    #[test]
    fn an_image_that_is_left_out_leaves_no_trace_in_its_row() {
        let without = batch().without_images(&[0, 2]);
        assert_eq!(
            without.tokens[..12],
            [1, 5, 6, 90, 91, 91, 92, 2, 0, 0, 0, 0]
        );
        assert_eq!(
            without.positions[..12],
            [0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0]
        );
        assert_eq!(without.tokens[12..], [1, 2, 1, 7, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(without.segments[12..], [1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            without.positions[12..],
            [0, 1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(without.first_slots, [4]);
        assert_eq!(without.has_context, [true]);
        assert_eq!(without.pixels(), [20, 20, 20]);
    }

    #[test]
    fn leaving_out_nothing_changes_nothing() {
        assert_eq!(batch().without_images(&[]), batch());
    }
}

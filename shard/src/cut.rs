//! A placed document to pieces of at most a context: cut between places where possible, never through an image.
//!
//! Every piece starts with BOS, only a document's last ends with EOS. A text that fits the next piece whole goes there; one
//! longer than a piece is cut where the piece is full.

use lcl_schemas::vocabulary::{TokenId, Vocabulary};

use crate::place::Item;

/// A part of a document that fits a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Ids, slots filled in.
    pub(crate) tokens: Vec<TokenId>,
    /// In order.
    pub(crate) images: Vec<PieceImage>,
}

/// An image of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceImage {
    /// Its place in the row.
    pub(crate) place: u32,
    /// Where its slots begin in the piece.
    pub(crate) first_slot: usize,
    /// Whether a text id stands before it in the piece.
    pub(crate) has_context: bool,
}

/// How long pieces may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// T.
    pub(crate) context: usize,
    /// P.
    pub(crate) slots: usize,
    /// Most images of a piece.
    pub(crate) max_images: usize,
}

/// Cuts a document whose row holds `tokens`.
pub(crate) fn cut(
    items: &[Item],
    tokens: &[TokenId],
    vocabulary: &Vocabulary,
    limits: Limits,
) -> Vec<Piece> {
    let mut cutter = Cutter {
        vocabulary,
        limits,
        done: Vec::new(),
        open: Open::new(vocabulary),
    };
    for (index, item) in items.iter().enumerate() {
        // EOS must stay with what it ends.
        let ending = usize::from(index + 1 == items.len());
        match item {
            Item::Text(range) => cutter.text(&tokens[range.clone()], ending),
            Item::Image { place } => cutter.image(*place, ending),
        }
    }
    cutter.finish()
}

struct Cutter<'a> {
    vocabulary: &'a Vocabulary,
    limits: Limits,
    done: Vec<Piece>,
    open: Open,
}

struct Open {
    piece: Piece,
    has_text: bool,
}

impl Open {
    fn new(vocabulary: &Vocabulary) -> Self {
        Self {
            piece: Piece {
                tokens: vec![vocabulary.bos],
                images: Vec::new(),
            },
            has_text: false,
        }
    }

    /// Nothing but BOS.
    fn is_empty(&self) -> bool {
        self.piece.tokens.len() == 1
    }
}

impl Cutter<'_> {
    fn room(&self) -> usize {
        self.limits.context - self.open.piece.tokens.len()
    }

    fn close(&mut self) {
        let full = std::mem::replace(&mut self.open, Open::new(self.vocabulary));
        self.done.push(full.piece);
    }

    fn text(&mut self, mut ids: &[TokenId], ending: usize) {
        let whole_piece = self.limits.context - 1;
        if ids.len() + ending > self.room()
            && ids.len() + ending <= whole_piece
            && !self.open.is_empty()
        {
            self.close();
        }
        while ids.len() + ending > self.room() {
            // At least one id stays for the last piece, so that EOS never stands alone.
            let taken = self.room().min(ids.len() - ending);
            let (head, tail) = ids.split_at(taken);
            self.push_text(head);
            self.close();
            ids = tail;
        }
        self.push_text(ids);
    }

    fn push_text(&mut self, ids: &[TokenId]) {
        self.open.piece.tokens.extend_from_slice(ids);
        self.open.has_text |= !ids.is_empty();
    }

    fn image(&mut self, place: u32, ending: usize) {
        let length = self.limits.slots + 2;
        let full = self.open.piece.images.len() >= self.limits.max_images;
        if (length + ending > self.room() || full) && !self.open.is_empty() {
            self.close();
        }
        let has_context = self.open.has_text;
        let tokens = &mut self.open.piece.tokens;
        tokens.push(self.vocabulary.boi);
        let first_slot = tokens.len();
        tokens.resize(first_slot + self.limits.slots, self.vocabulary.slot);
        tokens.push(self.vocabulary.eoi);
        self.open.piece.images.push(PieceImage {
            place,
            first_slot,
            has_context,
        });
    }

    fn finish(mut self) -> Vec<Piece> {
        self.open.piece.tokens.push(self.vocabulary.eos);
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V: Vocabulary = Vocabulary::CLIP;
    const LIMITS: Limits = Limits {
        context: 16,
        slots: 4,
        max_images: 2,
    };

    /// A row's ids from text lengths; `None` is an image.
    fn items(parts: &[Option<usize>]) -> (Vec<Item>, Vec<TokenId>) {
        let mut tokens = vec![V.bos];
        let mut items = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            match part {
                Some(length) => {
                    let start = tokens.len();
                    tokens.extend((0..*length).map(|i| 1000 + (start + i) as u32));
                    items.push(Item::Text(start..tokens.len()));
                }
                None => {
                    tokens.extend([V.boi, V.eoi]);
                    items.push(Item::Image {
                        place: place as u32,
                    });
                }
            }
        }
        tokens.push(V.eos);
        (items, tokens)
    }

    fn lengths(parts: &[Option<usize>]) -> Vec<usize> {
        let (items, tokens) = items(parts);
        cut(&items, &tokens, &V, LIMITS)
            .iter()
            .map(|piece| piece.tokens.len())
            .collect()
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_piece_is_too_long(
            parts in prop::collection::vec(prop::option::weighted(0.7, 1..40usize), 1..12),
        ) {
            let (items, tokens) = items(&parts);
            let pieces = cut(&items, &tokens, &V, LIMITS);
            let text = |ids: &[TokenId]| ids.iter().copied().filter(|id| !V.is_special(*id)).collect::<Vec<_>>();
            let joined: Vec<_> = pieces.iter().flat_map(|piece| text(&piece.tokens)).collect();
            prop_assert_eq!(joined, text(&tokens));
            let places: Vec<_> = pieces.iter().flat_map(|piece| &piece.images).map(|image| image.place).collect();
            let images = items.iter().filter_map(|item| match item { Item::Image { place } => Some(*place), Item::Text(_) => None });
            prop_assert_eq!(places, images.collect::<Vec<_>>());
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.tokens.len() <= LIMITS.context && piece.images.len() <= LIMITS.max_images);
                prop_assert_eq!(piece.tokens[0], V.bos);
                prop_assert_eq!(piece.tokens.last() == Some(&V.eos), index + 1 == pieces.len());
                let slots = piece.tokens.iter().filter(|id| **id == V.slot).count();
                prop_assert_eq!(slots, piece.images.len() * LIMITS.slots);
                for image in &piece.images {
                    let at = image.first_slot;
                    prop_assert_eq!(piece.tokens[at - 1], V.boi);
                    prop_assert_eq!(piece.tokens[at + LIMITS.slots], V.eoi);
                    prop_assert_eq!(image.has_context, !text(&piece.tokens[..at]).is_empty());
                }
            }
        }
    }

    #[test]
    fn a_document_that_fits_is_one_piece() {
        assert_eq!(lengths(&[Some(3), None, Some(5)]), [16]);
    }

    #[test]
    fn a_text_that_fits_the_next_piece_is_not_cut() {
        assert_eq!(lengths(&[Some(10), Some(10)]), [11, 12]);
    }

    #[test]
    fn a_text_longer_than_a_piece_is_cut_where_the_piece_is_full() {
        assert_eq!(lengths(&[Some(4), Some(30)]), [16, 16, 6]);
    }

    #[test]
    fn eos_never_stands_alone() {
        assert_eq!(lengths(&[Some(15)]), [15, 3]);
    }

    #[test]
    fn the_first_image_of_a_piece_has_no_context() {
        let (items, tokens) = items(&[Some(6), None, None, None]);
        let pieces = cut(&items, &tokens, &V, LIMITS);
        let context: Vec<Vec<bool>> = pieces
            .iter()
            .map(|piece| piece.images.iter().map(|image| image.has_context).collect())
            .collect();
        assert_eq!(context, [vec![true], vec![false, false]]);
    }
}

//! Places to ids: `BOS text… BOI EOI text… BOI EOI … EOS`.
//!
//! Between BOI and EOI the row holds nothing: how many slots an image takes belongs to the model. Laid out from ids,
//! never by joining strings, so text that spells a special token stays text.

use crate::vocabulary::{TokenId, Vocabulary};

/// What stands at one place of a document, before it is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceTokens<'a> {
    /// The ids of a text, without special ones.
    Text(&'a [TokenId]),
    /// An image that is in the dataset: two ids.
    Image,
    /// An image that could not be had: none.
    MissingImage,
}

/// A document's ids, and how many stand at each place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    tokens: Vec<TokenId>,
    spans: Vec<u32>,
}

/// Why ids and spans are no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The first id is not BOS, or the last not EOS.
    #[error("a document's ids run from BOS to EOS; these do not")]
    NotEnclosed,
    /// The spans add up to something else than the ids between BOS and EOS.
    #[error("spans cover {spanned} ids, but {present} stand between BOS and EOS")]
    SpansDoNotCover {
        /// Sum of the spans.
        spanned: u64,
        /// Number of ids between BOS and EOS.
        present: u64,
    },
    /// A place holds a special id, and is not exactly BOI EOI.
    #[error("place {place} holds special id {id}: only an image may, and it is exactly BOI EOI")]
    Forged {
        /// Index of the place.
        place: usize,
        /// The special id found.
        id: TokenId,
    },
    /// An id beyond the vocabulary.
    #[error("place {place} holds id {id}, beyond a vocabulary of {size}")]
    BeyondVocabulary {
        /// Index of the place.
        place: usize,
        /// The id found.
        id: TokenId,
        /// Size of the vocabulary.
        size: u32,
    },
}

impl Layout {
    /// Lays a document out.
    ///
    /// # Errors
    /// A text that holds a special id, or one beyond the vocabulary.
    pub fn from_places<'a>(
        vocabulary: &Vocabulary,
        places: impl IntoIterator<Item = PlaceTokens<'a>>,
    ) -> Result<Self, LayoutError> {
        let mut tokens = vec![vocabulary.bos];
        let mut spans = Vec::new();
        for (place, content) in places.into_iter().enumerate() {
            let before = tokens.len();
            match content {
                PlaceTokens::Text(ids) => {
                    check_text(vocabulary, place, ids)?;
                    tokens.extend_from_slice(ids);
                }
                PlaceTokens::Image => tokens.extend([vocabulary.boi, vocabulary.eoi]),
                PlaceTokens::MissingImage => {}
            }
            spans.push((tokens.len() - before) as u32);
        }
        tokens.push(vocabulary.eos);
        Ok(Self { tokens, spans })
    }

    /// Takes ids and spans that were read.
    ///
    /// # Errors
    /// Whatever [`Layout::from_places`] could not have made.
    pub fn try_new(
        vocabulary: &Vocabulary,
        tokens: Vec<TokenId>,
        spans: Vec<u32>,
    ) -> Result<Self, LayoutError> {
        if tokens.len() < 2
            || tokens.first() != Some(&vocabulary.bos)
            || tokens.last() != Some(&vocabulary.eos)
        {
            return Err(LayoutError::NotEnclosed);
        }
        let spanned: u64 = spans.iter().map(|&span| u64::from(span)).sum();
        let present = tokens.len() as u64 - 2;
        if spanned != present {
            return Err(LayoutError::SpansDoNotCover { spanned, present });
        }
        let layout = Self { tokens, spans };
        for (place, ids) in layout.places().enumerate() {
            if ids != [vocabulary.boi, vocabulary.eoi] {
                check_text(vocabulary, place, ids)?;
            }
        }
        Ok(layout)
    }

    /// All ids, BOS and EOS included.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Ids at each place: a text's number, 2 for a stored image, 0 for a missing one.
    pub fn spans(&self) -> &[u32] {
        &self.spans
    }

    /// The ids of each place.
    pub fn places(&self) -> impl Iterator<Item = &[TokenId]> {
        let mut start = 1;
        self.spans.iter().map(move |&span| {
            let ids = &self.tokens[start..start + span as usize];
            start += span as usize;
            ids
        })
    }
}

fn check_text(vocabulary: &Vocabulary, place: usize, ids: &[TokenId]) -> Result<(), LayoutError> {
    for &id in ids {
        if vocabulary.is_special(id) {
            return Err(LayoutError::Forged { place, id });
        }
        if id >= vocabulary.size {
            return Err(LayoutError::BeyondVocabulary {
                place,
                id,
                size: vocabulary.size,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V: Vocabulary = Vocabulary::CLIP;

    #[derive(Clone, Debug)]
    enum Content {
        Text(Vec<TokenId>),
        Image,
        Missing,
    }

    fn contents() -> impl Strategy<Value = Vec<Content>> {
        let content = prop_oneof![
            prop::collection::vec(0..V.bos, 0..12).prop_map(Content::Text),
            Just(Content::Image),
            Just(Content::Missing),
        ];
        prop::collection::vec(content, 0..10)
    }

    fn as_places(contents: &[Content]) -> impl Iterator<Item = PlaceTokens<'_>> {
        contents.iter().map(|content| match content {
            Content::Text(ids) => PlaceTokens::Text(ids),
            Content::Image => PlaceTokens::Image,
            Content::Missing => PlaceTokens::MissingImage,
        })
    }

    proptest! {
        #[test]
        fn what_is_laid_out_is_accepted_when_read(contents in contents()) {
            let layout = Layout::from_places(&V, as_places(&contents)).expect("no special ids in these texts");
            let read = Layout::try_new(&V, layout.tokens().to_vec(), layout.spans().to_vec());
            prop_assert_eq!(read.as_ref(), Ok(&layout));
            let images = layout.places().filter(|ids| *ids == [V.boi, V.eoi]).count();
            prop_assert_eq!(images, contents.iter().filter(|c| matches!(c, Content::Image)).count());
        }

        #[test]
        fn no_single_changed_id_makes_an_image(contents in contents(), at in any::<prop::sample::Index>(), id in V.bos..V.size) {
            let layout = Layout::from_places(&V, as_places(&contents)).expect("no special ids in these texts");
            let mut tokens = layout.tokens().to_vec();
            let at = at.index(tokens.len());
            prop_assume!(tokens[at] != id);
            tokens[at] = id;
            prop_assert!(Layout::try_new(&V, tokens, layout.spans().to_vec()).is_err());
        }
    }

    #[test]
    fn page_text_cannot_forge_a_boi() {
        let forged = Layout::from_places(&V, [PlaceTokens::Text(&[320, V.boi, V.eoi])]);
        assert_eq!(
            forged,
            Err(LayoutError::Forged {
                place: 0,
                id: V.boi
            })
        );
    }

    #[test]
    fn a_missing_image_takes_no_ids() {
        let layout = Layout::from_places(
            &V,
            [
                PlaceTokens::Text(&[320]),
                PlaceTokens::MissingImage,
                PlaceTokens::Image,
            ],
        );
        let layout = layout.expect("plain ids");
        assert_eq!(layout.tokens(), [V.bos, 320, V.boi, V.eoi, V.eos]);
        assert_eq!(layout.spans(), [1, 0, 2]);
    }

    #[test]
    fn spans_that_do_not_cover_are_refused() {
        let read = Layout::try_new(&V, vec![V.bos, 320, V.eos], vec![2]);
        assert_eq!(
            read,
            Err(LayoutError::SpansDoNotCover {
                spanned: 2,
                present: 1
            })
        );
    }
}

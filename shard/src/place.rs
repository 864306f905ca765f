//! Where images go: one that a source matched to a sentence is placed before or after it by a draw; others stay.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::keyed::{Draws, Purpose, key};
use crate::read::DocumentTokens;

/// A document's texts and stored images in reading order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Ids of a text: a range of the row's ids.
    Text(Range<usize>),
    /// A stored image: its place in the row.
    Image { place: u32 },
}

/// Places a document's images for one epoch.
pub(crate) fn place(document: &DocumentTokens, seed: u64, epoch: u64) -> Vec<Item> {
    let sentences: Vec<Option<usize>> = (0..document.places())
        .map(|place| document.sentence_of(place))
        .collect();
    let before = |place: usize| {
        let about = key(
            Purpose::Placement,
            &[seed, epoch, document.number(), place as u64],
        );
        Draws::new(about).unit() < 0.5
    };
    // One pass, so that a document of a million places costs a million steps.
    let mut matched: BTreeMap<usize, [Vec<usize>; 2]> = BTreeMap::new();
    for (place, sentence) in sentences.iter().enumerate() {
        if let Some(sentence) = sentence {
            let sides = matched.entry(*sentence).or_default();
            sides[usize::from(!before(place))].push(place);
        }
    }
    let image = |place: usize| Item::Image {
        place: place as u32,
    };
    let mut items = Vec::with_capacity(document.places());
    for (place, sentence) in sentences.iter().enumerate() {
        if document.is_image(place) {
            if sentence.is_none() {
                items.push(image(place));
            }
            continue;
        }
        let [first, then] = matched.remove(&place).unwrap_or_default();
        items.extend(first.into_iter().map(image));
        let ids = document.span(place);
        if !ids.is_empty() {
            items.push(Item::Text(ids));
        }
        items.extend(then.into_iter().map(image));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::document;

    /// Text of 3 ids, image matched to the text of 2 ids that follows, image in document order, missing image.
    fn sample(id: &str) -> DocumentTokens {
        document(
            id,
            &[
                (3, None),
                (2, Some(Some(2))),
                (2, None),
                (2, Some(None)),
                (0, None),
            ],
        )
    }

    #[test]
    fn matched_images_stand_directly_beside_their_sentence_and_others_stay() {
        for epoch in 0..20 {
            let items = place(&sample("a"), 1, epoch);
            let (first, image, second) =
                (Item::Text(1..4), Item::Image { place: 1 }, Item::Text(6..8));
            let unmoved = Item::Image { place: 3 };
            let before = vec![
                first.clone(),
                image.clone(),
                second.clone(),
                unmoved.clone(),
            ];
            let after = vec![first, second, image, unmoved];
            assert!(items == before || items == after, "{items:?}");
        }
    }

    #[test]
    fn half_of_the_draws_put_the_image_first_and_epochs_differ() {
        let first = |epoch| place(&sample("a"), 1, epoch)[1] == Item::Image { place: 1 };
        let share = (0..1000).filter(|&epoch| first(epoch)).count();
        assert!((440..560).contains(&share), "{share}");
    }
}

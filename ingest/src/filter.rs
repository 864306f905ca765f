//! An MMC4 page to a draft: which images to ask for, and what became of the others before anything was asked.
//!
//! ```text
//! similarity ≥ threshold → one for each sentence, drawn → the first max_images by sentence
//! ```
//! Every image keeps a place, directly before its sentence.

use lcl_schemas::outcome::Outcome;
use sha2::{Digest, Sha256};

use crate::config::Rules;
use crate::draft::{Draft, DraftImage, DraftPlace, ImageState, Match};
use crate::source::mmc4::{Page, PageImage};

/// Lays out a page's places and decides on its images.
pub(crate) fn draft(page: Page, id: String, rules: &Rules) -> Draft {
    let states = decide(&page.images, &id, rules);
    let mut by_sentence: Vec<Vec<(PageImage, Option<Outcome>)>> = Vec::new();
    by_sentence.resize_with(page.sentences.len(), Vec::new);
    for (image, dropped) in page.images.into_iter().zip(states) {
        by_sentence[image.sentence].push((image, dropped));
    }
    let mut places = Vec::new();
    for (sentence, images) in page.sentences.into_iter().zip(by_sentence) {
        let place = (places.len() + images.len()) as u32;
        places.extend(images.into_iter().map(|(image, dropped)| {
            DraftPlace::Image(DraftImage {
                url: image.url,
                alt: None,
                matched: Some(Match {
                    place,
                    similarity: Some(image.similarity as f32),
                }),
                state: dropped.map_or(ImageState::Wanted(image.locator), ImageState::left_out),
            })
        }));
        places.push(DraftPlace::Text(sentence));
    }
    Draft {
        id,
        url: Some(page.url),
        language: None,
        places,
    }
}

/// For each image the rule that leaves it out, if one does.
fn decide(images: &[PageImage], id: &str, rules: &Rules) -> Vec<Option<Outcome>> {
    let mut dropped: Vec<Option<Outcome>> = images
        .iter()
        .map(|image| {
            (image.similarity < rules.similarity_threshold).then_some(Outcome::BelowSimilarity)
        })
        .collect();
    // Stable: images of one sentence stay in the page's order.
    let mut kept: Vec<usize> = (0..images.len())
        .filter(|&i| dropped[i].is_none())
        .collect();
    kept.sort_by_key(|&i| images[i].sentence);
    if rules.one_image_per_sentence {
        let mut drawn = Vec::new();
        for same in kept.chunk_by(|&a, &b| images[a].sentence == images[b].sentence) {
            let winner = same
                .iter()
                .copied()
                .min_by_key(|&i| ticket(id, images[i].sentence, i));
            for &i in same.iter().filter(|&&i| Some(i) != winner) {
                dropped[i] = Some(Outcome::SecondForSentence);
            }
            drawn.extend(winner);
        }
        kept = drawn;
    }
    for &i in kept.iter().skip(rules.max_images.unwrap_or(usize::MAX)) {
        dropped[i] = Some(Outcome::OverLimit);
    }
    dropped
}

/// The lowest wins: uniform over the images of a sentence, and the same on every run.
fn ticket(id: &str, sentence: usize, image: usize) -> [u8; 32] {
    Sha256::digest(format!("{id}/{sentence}/{image}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceKind;
    use crate::draft::Locator;

    fn rules() -> Rules {
        Rules::default().resolved(SourceKind::Mmc4)
    }

    fn image(sentence: usize, similarity: f64) -> PageImage {
        PageImage {
            locator: Locator::Name(String::new()),
            url: None,
            sentence,
            similarity,
        }
    }

    #[test]
    fn an_image_at_the_threshold_stays() {
        let found = decide(&[image(0, 0.24), image(1, 0.2399)], "a", &rules());
        assert_eq!(found, [None, Some(Outcome::BelowSimilarity)]);
    }

    #[test]
    fn the_first_six_by_sentence_stay_whatever_their_order_in_the_list() {
        let images: Vec<_> = (0..8).rev().map(|sentence| image(sentence, 0.3)).collect();
        let found = decide(&images, "a", &rules());
        let over = Some(Outcome::OverLimit);
        assert_eq!(found[..2], [over.clone(), over]);
        assert!(found[2..].iter().all(Option::is_none));
    }

    /// 4,000 draws among 4: the expected 1,000 has a standard deviation of 27.
    #[test]
    fn the_draw_for_a_sentence_is_uniform_and_repeats() {
        let images = [image(0, 0.3), image(0, 0.9), image(0, 0.25), image(0, 0.3)];
        let mut wins = [0; 4];
        for document in 0..4000 {
            let id = document.to_string();
            let found = decide(&images, &id, &rules());
            assert_eq!(found, decide(&images, &id, &rules()));
            let winner = found.iter().position(Option::is_none).expect("one is kept");
            wins[winner] += 1;
            assert_eq!(found.iter().flatten().count(), 3);
        }
        assert!(
            wins.iter().all(|&count| (880..1120).contains(&count)),
            "{wins:?}"
        );
    }

    #[test]
    fn every_image_stands_directly_before_its_sentence_dropped_or_not() {
        let page = Page {
            url: "http://a/".into(),
            sentences: vec!["x".into(), "y".into()],
            images: vec![image(1, 0.3), image(0, 0.3), image(1, 0.1)],
        };
        let draft = draft(page, "a".into(), &rules());
        let shape: Vec<_> = draft
            .places
            .iter()
            .map(|place| match place {
                DraftPlace::Text(_) => None,
                DraftPlace::Image(image) => image.matched.map(|matched| matched.place),
            })
            .collect();
        assert_eq!(shape, [Some(1), None, Some(4), Some(4), None]);
        assert_eq!(draft.wanted().count(), 2);
    }
}

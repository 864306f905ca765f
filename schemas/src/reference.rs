//! How the published code lays out tokens, for comparison only: rows for `lcl-train parity`, never for a dataset.
//!
//! It joins strings, finds special tokens inside them, truncates, and repairs what truncation broke. Known differences
//! to our own layout: text that spells a special token becomes one; a document is cut at the context and its tail lost;
//! image-first captions have no BOS and text-first ones no EOS; padding is id 0, which is also a real token.

use crate::tokenizer::{Tokenizer, TokenizerError, clean};
use crate::vocabulary::{TokenId, Vocabulary};

const V: Vocabulary = Vocabulary::CLIP;
const SPECIALS: [(&str, TokenId); 5] = [
    ("<start_of_text>", V.bos),
    ("<end_of_text>", V.eos),
    ("<img_placehold>", V.slot),
    ("<start_of_img>", V.boi),
    ("<end_of_img>", V.eoi),
];
/// At most this many images of an MMC4 document are kept.
const MAX_IMAGES: usize = 6;

/// Where an MMC4 image goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Index of its sentence.
    pub sentence: usize,
    /// Before the sentence, else after it.
    pub before: bool,
}

/// Ids of a text in which special tokens are recognised by their spelling, as cleaning left it.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn encode_inline(clip: &Tokenizer, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
    let cleaned = clean(text);
    let mut rest = cleaned.as_str();
    let mut ids = Vec::new();
    while let Some((at, name, id)) = SPECIALS
        .iter()
        .filter_map(|(name, id)| Some((rest.find(name)?, *name, *id)))
        .min_by_key(|found| found.0)
    {
        ids.extend(clip.encode_clean(&rest[..at])?);
        ids.push(id);
        rest = &rest[at + name.len()..];
    }
    ids.extend(clip.encode_clean(rest)?);
    Ok(ids)
}

/// One MMC4 document, `context` ids long and padded with 0: `images` are those that its rules kept, sorted by sentence;
/// the first six are used. `None` where truncation leaves no image (the published code then takes another document).
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn mmc4(
    clip: &Tokenizer,
    sentences: &[&str],
    images: &[Matched],
    slots: usize,
    context: usize,
) -> Result<Option<Vec<TokenId>>, TokenizerError> {
    let image = format!(
        "<start_of_img>{}<end_of_img>",
        "<img_placehold>".repeat(slots)
    );
    let images = &images[..images.len().min(MAX_IMAGES)];
    let mut joined = String::new();
    for (index, sentence) in sentences.iter().enumerate() {
        let here = || images.iter().filter(|matched| matched.sentence == index);
        let mut text = (*sentence).to_owned();
        for _ in here().filter(|matched| matched.before) {
            text.insert_str(0, &image);
        }
        for _ in here().filter(|matched| !matched.before) {
            text.push_str(&image);
        }
        if index > 0 {
            joined.push(' ');
        }
        joined.push_str(&text);
    }
    let mut ids = vec![V.bos];
    ids.extend(encode_inline(clip, &joined)?);
    ids.push(V.eos);
    Ok(truncate(ids, slots, context))
}

/// Cuts at the context, and removes an image that the cut went through.
fn truncate(mut ids: Vec<TokenId>, slots: usize, context: usize) -> Option<Vec<TokenId>> {
    if ids.len() > context {
        ids.truncate(context);
        ids[context - 1] = V.eos;
    }
    let count = |id| ids.iter().filter(|&&found| found == id).count();
    if count(V.slot) != slots * count(V.boi) {
        let last_boi = ids.iter().rposition(|&id| id == V.boi)?;
        ids.truncate(last_boi);
        ids.push(V.eos);
    }
    if !ids.contains(&V.boi) {
        return None;
    }
    ids.resize(context, 0);
    Some(ids)
}

/// One caption with its image, `context` ids long and padded with 0.
///
/// # Errors
/// As [`Tokenizer::encode`].
pub fn laion(
    clip: &Tokenizer,
    caption: &str,
    image_first: bool,
    slots: usize,
    context: usize,
) -> Result<Vec<TokenId>, TokenizerError> {
    let mut text = encode_inline(clip, caption)?;
    text.truncate(context - slots - 4);
    let image = [vec![V.boi], vec![V.slot; slots], vec![V.eoi]].concat();
    let mut ids = if image_first {
        [image, text, vec![V.eos]].concat()
    } else {
        [vec![V.bos], text, image].concat()
    };
    ids.resize(context, 0);
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: usize = 49;

    fn used(ids: &[TokenId]) -> &[TokenId] {
        let end = ids
            .iter()
            .rposition(|&id| id != 0)
            .map_or(0, |last| last + 1);
        &ids[..end]
    }

    fn image() -> Vec<TokenId> {
        [vec![V.boi], vec![V.slot; SLOTS], vec![V.eoi]].concat()
    }

    #[test]
    fn spelled_special_tokens_become_special() {
        let clip = Tokenizer::clip();
        assert_eq!(
            encode_inline(&clip, "<START_OF_IMG> x").ok(),
            Some(vec![V.boi, 343])
        );
        assert_eq!(
            encode_inline(&clip, "cat<start_of_img>dog").ok(),
            Some(vec![2368, V.boi, 1929])
        );
    }

    #[test]
    fn an_mmc4_document_has_the_published_ids() {
        let clip = Tokenizer::clip();
        let after_first = [Matched {
            sentence: 0,
            before: false,
        }];
        let ids = mmc4(&clip, &["a dog.", "it barks."], &after_first, SLOTS, 2048)
            .expect("encodes")
            .expect("an image");
        let expected = [
            vec![V.bos, 320, 1929, 269],
            image(),
            vec![585, 1040, 662, 269, V.eos],
        ]
        .concat();
        assert_eq!(used(&ids), expected);
        assert_eq!(expected.len(), 60);
    }

    #[test]
    fn captions_have_the_published_ids() {
        let clip = Tokenizer::clip();
        let text = [320, 1125, 539, 320, 2368];
        let first = laion(&clip, "a photo of a cat", true, SLOTS, 128).expect("encodes");
        assert_eq!(used(&first), [image(), text.to_vec(), vec![V.eos]].concat());
        assert_eq!(used(&first).len(), 57);
        let last = laion(&clip, "a photo of a cat", false, SLOTS, 128).expect("encodes");
        assert_eq!(used(&last), [vec![V.bos], text.to_vec(), image()].concat());
        let long = laion(&clip, &"cat ".repeat(300), false, SLOTS, 128).expect("encodes");
        assert_eq!(used(&long).len(), 127);
    }

    #[test]
    fn of_nine_images_six_are_used_and_later_sentences_stay_text() {
        let clip = Tokenizer::clip();
        let images: Vec<_> = (0..9)
            .map(|sentence| Matched {
                sentence,
                before: true,
            })
            .collect();
        let sentences = ["a dog."; 10];
        let ids = mmc4(&clip, &sentences, &images, SLOTS, 2048)
            .expect("encodes")
            .expect("images");
        assert_eq!(ids.iter().filter(|&&id| id == V.boi).count(), 6);
        assert_eq!(ids.iter().filter(|&&id| id == 1929).count(), 10);
    }

    #[test]
    fn an_image_that_crosses_the_context_is_removed_whole() {
        let clip = Tokenizer::clip();
        let long = "cat ".repeat(1990);
        let sentences = ["a dog.", long.as_str(), "it barks."];
        let images = [
            Matched {
                sentence: 0,
                before: false,
            },
            Matched {
                sentence: 2,
                before: true,
            },
        ];
        let ids = mmc4(&clip, &sentences, &images, SLOTS, 2048)
            .expect("encodes")
            .expect("an image");
        assert_eq!(ids.iter().filter(|&&id| id == V.boi).count(), 1);
        assert_eq!(used(&ids).last(), Some(&V.eos));
        assert!(used(&ids).len() < 2048);
    }
}

//! A draft and what its images came to, to a row.

use lcl_schemas::document::{Document, Image, Place};
use lcl_schemas::layout::{Layout, LayoutError, PlaceTokens};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::Row;
use lcl_schemas::tokenizer::{Tokenizer, TokenizerError};

use crate::draft::{Answer, Draft, DraftPlace, ImageState};
use crate::hostile;

/// A text that cannot become ids.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenizeError {
    #[error(transparent)]
    Encode(#[from] TokenizerError),
    #[error(transparent)]
    LayOut(#[from] LayoutError),
    /// A tokenizer is a file from anywhere and text is from anyone; a row lost to a panic would stop all after it.
    #[error("the tokenizer panicked")]
    Panicked,
}

/// Puts `answers`, one for each image that was asked for, in order, to their places and lays the ids out.
pub(crate) fn row(
    draft: Draft,
    answers: Vec<Answer>,
    source: &str,
    tokenizer: &Tokenizer,
) -> Result<Row, TokenizeError> {
    let document = document(draft, answers, source);
    let layout = hostile::guarded(|| lay_out(&document, tokenizer))
        .unwrap_or(Err(TokenizeError::Panicked))?;
    Ok(Row { document, layout })
}

fn document(draft: Draft, answers: Vec<Answer>, source: &str) -> Document {
    let mut answers = answers.into_iter();
    let places = draft.places.into_iter().map(|place| match place {
        DraftPlace::Text(text) => Place::Text(text),
        DraftPlace::Image(image) => {
            let answer = match image.state {
                ImageState::Settled(answer) => *answer,
                ImageState::Wanted(_) => {
                    answers.next().expect("one answer for each image asked for")
                }
            };
            let (outcome, stored) = match answer {
                Ok(stored) => (Outcome::Stored, Some(stored)),
                Err(outcome) => (outcome, None),
            };
            Place::Image(Image {
                url: image.url,
                alt: image.alt,
                outcome,
                stored,
                similarity: image.matched.and_then(|matched| matched.similarity),
                sentence: image.matched.map(|matched| matched.place),
            })
        }
    });
    Document {
        id: draft.id,
        source: source.to_owned(),
        url: draft.url,
        language: draft.language,
        places: places.collect(),
    }
}

fn lay_out(document: &Document, tokenizer: &Tokenizer) -> Result<Layout, TokenizeError> {
    let mut first = true;
    let mut texts = Vec::new();
    for place in &document.places {
        if let Place::Text(text) = place {
            texts.push(tokenizer.encode_place(text, std::mem::take(&mut first))?);
        }
    }
    let mut texts = texts.iter();
    let places = document.places.iter().map(|place| match place {
        Place::Text(_) => PlaceTokens::Text(texts.next().expect("encoded above")),
        Place::Image(image) if image.stored.is_some() => PlaceTokens::Image,
        Place::Image(_) => PlaceTokens::MissingImage,
    });
    Ok(Layout::from_places(&tokenizer.vocabulary(), places)?)
}

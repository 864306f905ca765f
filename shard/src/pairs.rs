//! Images with the text each belongs to, in dataset order: what retrieval is measured on.

use std::path::Path;

use lcl_schemas::vocabulary::TokenId;

use crate::config::{Part, StreamConfig, Verify};
use crate::order::RowAt;
use crate::pixels::Squares;
use crate::read::{DocumentTokens, Reader};
use crate::stream::StreamError;
use crate::track::is_held_out;

/// An image and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its document's id.
    pub document: String,
    /// Its place in the document.
    pub place: u32,
    /// `[S, S, 3]`: short side to S, centre cropped.
    pub pixels: Vec<u8>,
    /// The text that it was matched to; in documents without matches the text before it, else after it.
    pub text: String,
    /// The ids of that text, none special.
    pub tokens: Vec<TokenId>,
}

/// Which pairs.
#[derive(Clone, Copy, Debug)]
pub struct PairsOf {
    /// Of which documents.
    pub part: Part,
    /// Share held out.
    pub holdout: f64,
    /// S.
    pub edge: usize,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Where a pair stands before its pixels are read.
struct Found {
    at: RowAt,
    id: String,
    image: u32,
    text: String,
    tokens: Vec<TokenId>,
}

/// Reads pairs. An image without any text in its document has no pair.
///
/// # Errors
/// As a stream's.
pub fn pairs(dataset: &Path, of: PairsOf) -> Result<Vec<Pair>, StreamError> {
    let reader = Reader::open(dataset, "", Verify::Size)?;
    let mut found = Vec::new();
    for group in 0..reader.groups().len() as u32 {
        if of.limit.is_some_and(|limit| found.len() >= limit) {
            break;
        }
        let texts = reader.texts(group)?;
        for (row, document) in reader.group(group)?.iter().enumerate() {
            let held_out = is_held_out(document.number(), of.holdout);
            if matches!(
                (of.part, held_out),
                (Part::Train, true) | (Part::HeldOut, false)
            ) {
                continue;
            }
            let at = RowAt {
                group,
                row: row as u32,
            };
            found.extend(pairs_of(document, &texts[row], at));
        }
    }
    found.truncate(of.limit.unwrap_or(usize::MAX));
    decode_all(&reader, &found, of.edge)
}

fn pairs_of(
    document: &DocumentTokens,
    texts: &[Option<String>],
    at: RowAt,
) -> impl Iterator<Item = Found> {
    let has_ids = |place: &usize| !document.is_image(*place) && !document.span(*place).is_empty();
    (0..document.places())
        .filter(|&place| document.is_image(place))
        .filter_map(move |image| {
            let matched = document.sentence_of(image).filter(has_ids);
            let before = || (0..image).rev().find(has_ids);
            let after = || (image + 1..document.places()).find(has_ids);
            let text = matched.or_else(before).or_else(after)?;
            Some(Found {
                at,
                id: document.id.clone(),
                image: image as u32,
                text: texts.get(text)?.clone()?,
                tokens: document.tokens[document.span(text)].to_vec(),
            })
        })
}

fn decode_all(reader: &Reader, found: &[Found], edge: usize) -> Result<Vec<Pair>, StreamError> {
    let threads = StreamConfig::default().worker_threads();
    let share = found.len().div_ceil(threads).max(1);
    let shares: Vec<Result<Vec<Pair>, StreamError>> = std::thread::scope(|scope| {
        let workers: Vec<_> = found
            .chunks(share)
            .map(|found| scope.spawn(move || decode(reader, found, edge)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or(Err(StreamError::WorkerGone)))
            .collect()
    });
    Ok(shares.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

fn decode(reader: &Reader, found: &[Found], edge: usize) -> Result<Vec<Pair>, StreamError> {
    let mut squares = Squares::default();
    let mut pairs = Vec::with_capacity(found.len());
    for of_document in found.chunk_by(|a, b| a.at == b.at) {
        let at = of_document[0].at;
        let stored = reader.images(at)?;
        for pair in of_document {
            let mut pixels = vec![0; edge * edge * 3];
            let drawn = match stored.get(pair.image) {
                Some(encoded) => squares.center(encoded, edge, &mut pixels),
                None => Err("has a BOI but no bytes".to_owned()),
            };
            drawn.map_err(|detail| {
                let detail = format!("image at place {}: {detail}", pair.image);
                reader.shard_error(at.group, Some(at.row), detail)
            })?;
            pairs.push(Pair {
                document: pair.id.clone(),
                place: pair.image,
                pixels,
                text: pair.text.clone(),
                tokens: pair.tokens.clone(),
            });
        }
    }
    Ok(pairs)
}

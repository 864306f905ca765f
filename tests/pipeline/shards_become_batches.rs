//! Rows into batches: texts and images of one document stay together, whatever the encoder.

use lcl_schemas::tokenizer::Tokenizer;
use lcl_shard::{Part, Passes, Stream, StreamConfig};

use crate::road::ROAD;

fn once(edge: usize, slots: usize) -> StreamConfig {
    StreamConfig {
        dataset: ROAD.dataset(),
        part: Part::All,
        passes: Passes::One,
        context: 256,
        rows: 4,
        edge,
        slots,
        ..StreamConfig::default()
    }
}

/// The text of every segment of one pass, in dataset-independent order.
fn texts(config: StreamConfig) -> Vec<String> {
    let stream = Stream::open(config, None).expect("a dataset");
    let tokenizer = Tokenizer::of_dataset(&ROAD.dataset(), stream.header()).expect("its tokenizer");
    let mut texts = Vec::new();
    for delivered in stream {
        let batch = delivered.expect("readable").batch;
        for row in 0..batch.rows {
            let range = row * batch.context..(row + 1) * batch.context;
            let pairs: Vec<_> = range
                .map(|at| (batch.segments[at], batch.tokens[at]))
                .collect();
            for segment in pairs
                .chunk_by(|a, b| a.0 == b.0)
                .filter(|segment| segment[0].0 != 0)
            {
                texts
                    .push(tokenizer.decode(&segment.iter().map(|(_, id)| *id).collect::<Vec<_>>()));
            }
        }
    }
    texts.sort();
    texts
}

#[test]
fn one_dataset_serves_encoders_of_any_number_of_slots() {
    let (few, many) = (texts(once(32, 4)), texts(once(64, 16)));
    assert_eq!(few, many);
    assert_eq!(few.len(), ROAD.corpus.pages.len());
    let sentences = ROAD.corpus.pages[0]["text_list"]
        .as_array()
        .expect("a list");
    let joined: Vec<_> = sentences
        .iter()
        .filter_map(|sentence| sentence.as_str())
        .collect();
    assert!(few.contains(&joined.join(" ")), "{joined:?} in {few:#?}");
}

#[test]
fn every_stored_image_comes_once_with_pixels_of_its_own() {
    let batches: Vec<_> = Stream::open(once(32, 4), None)
        .expect("a dataset")
        .collect();
    let mut images = 0;
    for delivered in batches {
        let batch = delivered.expect("readable").batch;
        images += batch.images();
        for square in batch.pixels().chunks(32 * 32 * 3) {
            // Ground is nearly white and shapes are coloured: a plain or black square would be a lost image.
            assert!(
                square.iter().any(|&value| value > 200) && square.iter().any(|&value| value < 120)
            );
        }
    }
    assert_eq!(images, ROAD.corpus.images.len() + 1);
}

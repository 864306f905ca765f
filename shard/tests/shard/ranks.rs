//! Any allowed number of ranks shares one stream: together they deliver what one alone does, and go on as any other number.

use std::collections::BTreeSet;

use lcl_schemas::batch::Batch;
use lcl_shard::{Position, Stream, StreamConfig, StreamError};
use proptest::prelude::*;

use crate::fixture::{Part, usual};
use crate::stream::{config, dataset};

/// All that a row of a batch holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    tokens: Vec<u32>,
    segments: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    has_context: Vec<bool>,
    pixels: Vec<u8>,
}

pub(crate) fn rows(batch: &Batch) -> Vec<Row> {
    let bytes = batch.edge * batch.edge * 3;
    (0..batch.rows)
        .map(|row| {
            let range = row * batch.context..(row + 1) * batch.context;
            let images: Vec<_> = (0..batch.images())
                .filter(|&image| range.contains(&(batch.first_slots[image] as usize)))
                .collect();
            Row {
                tokens: batch.tokens[range.clone()].to_vec(),
                segments: batch.segments[range.clone()].to_vec(),
                positions: batch.positions[range.clone()].to_vec(),
                slots: images
                    .iter()
                    .map(|&image| batch.first_slots[image] - range.start as u32)
                    .collect(),
                has_context: images
                    .iter()
                    .map(|&image| batch.has_context[image])
                    .collect(),
                pixels: images
                    .iter()
                    .flat_map(|&image| batch.pixels()[image * bytes..][..bytes].to_vec())
                    .collect(),
            }
        })
        .collect()
}

/// Steps of W ranks, their rows in the order of one rank's, and the merged position after each.
fn together(
    config: &StreamConfig,
    world_size: usize,
    from: Option<&Position>,
    steps: usize,
) -> Vec<(Vec<Row>, Position)> {
    let mut ranks: Vec<_> = (0..world_size)
        .map(|rank| {
            let config = StreamConfig {
                rank,
                world_size,
                ..config.clone()
            };
            Stream::open(config, from.cloned()).expect("an allowed number of ranks")
        })
        .collect();
    (0..steps)
        .map(|_| {
            let delivered: Vec<_> = ranks
                .iter_mut()
                .map(|rank| rank.next().expect("endless").expect("readable"))
                .collect();
            let of_ranks: Vec<_> = delivered.iter().map(|d| rows(&d.batch)).collect();
            let local = of_ranks[0].len();
            let merged =
                (0..local).flat_map(|row| of_ranks.iter().map(move |rows| rows[row].clone()));
            let positions = delivered.iter().map(|d| {
                // As a checkpoint keeps them.
                let saved = serde_json::to_string(&d.position).expect("plain data");
                serde_json::from_str(&saved).expect("just written")
            });
            let position = Position::merge(positions).expect("after the same step");
            (merged.collect(), position)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]
    #[test]
    fn any_number_of_ranks_goes_on_exactly_where_any_other_stopped(
        lengths in prop::collection::vec((1..90usize, 0..4usize), 30..60), seed: u64,
        worlds in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 6]), 1..4),
        steps in prop::collection::vec(1..5usize, 3),
    ) {
        let documents: Vec<Vec<Part>> = lengths
            .iter()
            .map(|&(text, images)| {
                let mut parts = vec![Part::Text(text)];
                parts.extend((0..images).map(|image| Part::Image((image % 2 == 0).then_some(0))));
                parts
            })
            .collect();
        let folder = dataset(&documents, 2);
        let config = StreamConfig { seed, rows: 12, lanes: 12, block_row_groups: 1, min_images: 0, ..config(folder.path()) };
        let unbroken = together(&config, 1, None, 12);
        let (mut at, mut position) = (0, None);
        for (world, steps) in worlds.into_iter().zip(steps) {
            for (rows, after) in together(&config, world, position.as_ref(), steps) {
                prop_assert_eq!(&rows, &unbroken[at].0, "step {} of {} ranks", at, world);
                prop_assert_eq!(&after, &unbroken[at].1);
                position = Some(after);
                at += 1;
            }
        }
    }
}

#[test]
fn ranks_that_the_lanes_cannot_be_shared_among_are_refused_with_the_numbers() {
    let folder = dataset(&usual(100), 8);
    let with = |rows, world_size, rank| {
        let config = StreamConfig {
            rows,
            world_size,
            rank,
            ..config(folder.path())
        };
        Stream::open(config, None)
            .err()
            .expect("refused")
            .to_string()
    };
    assert!(with(3, 2, 0).contains("world_size = 2: must divide rows"));
    assert!(with(4, 2, 0).contains("does not divide 3 lanes"));
    assert!(with(3, 3, 3).contains("rank = 3: must be below world_size"));
}

#[test]
fn a_position_of_some_ranks_is_not_one_of_all() {
    let folder = dataset(&usual(100), 8);
    let of = |rank, steps: usize| {
        let config = StreamConfig {
            world_size: 3,
            rank,
            ..config(folder.path())
        };
        let mut stream = Stream::open(config, None).expect("valid");
        stream
            .nth(steps - 1)
            .expect("endless")
            .expect("readable")
            .position
    };
    let some = Position::merge([of(0, 2), of(1, 2)])
        .expect_err("one is missing")
        .to_string();
    assert!(some.contains("missing"), "{some}");
    let apart = Position::merge([of(0, 2), of(1, 3), of(2, 2)])
        .expect_err("apart")
        .to_string();
    assert!(apart.contains("different steps"), "{apart}");
    let alone = Stream::open(config(folder.path()), Some(of(1, 2)));
    assert!(matches!(alone, Err(StreamError::Read(_))));
}

#[test]
fn ranks_of_one_pass_take_every_document_once() {
    let folder = dataset(&usual(100), 4);
    let mut texts = BTreeSet::new();
    let mut count = 0;
    for rank in 0..3 {
        let config = StreamConfig {
            passes: lcl_shard::Passes::One,
            world_size: 3,
            rank,
            ..config(folder.path())
        };
        for delivered in Stream::open(config, None).expect("valid") {
            let batch = delivered.expect("readable").batch;
            let documents: BTreeSet<_> = batch
                .tokens
                .iter()
                .filter(|id| (1000..1100).contains(*id))
                .copied()
                .collect();
            count += documents.len();
            texts.extend(documents);
        }
    }
    assert_eq!(texts.len(), 100);
    assert!(
        (100..130).contains(&count),
        "{count}: only a document that was cut may be in two batches"
    );
}

//! Several datasets in one stream: shares that are kept, changes at a step, ends, filters.

use std::path::Path;

use lcl_shard::{
    Change, Delivered, Given, Passes, Position, Source, Stream, StreamConfig, StreamError, Weigh,
};
use tempfile::TempDir;

use crate::fixture::{Part, usual};
use crate::ranks::rows;
use crate::stream::{config, dataset};

/// Documents of dataset 1 have texts of ids beyond those of dataset 0.
fn two() -> [TempDir; 2] {
    let long: Vec<_> = (0..120)
        .map(|d| vec![Part::Text(20 + d % 9), Part::Image(None), Part::Text(3)])
        .collect();
    [dataset(&usual(150), 4), dataset(&long, 4)]
}

fn source(folder: &Path, weight: f64) -> Source {
    Source {
        dataset: folder.to_owned(),
        weight,
        ..Source::default()
    }
}

fn mixed(folders: &[TempDir], weights: &[f64], weigh: Weigh) -> StreamConfig {
    let sources = folders.iter().zip(weights);
    StreamConfig {
        mix: sources
            .map(|(folder, weight)| source(folder.path(), *weight))
            .collect(),
        weigh,
        ..config(Path::new(""))
    }
}

fn delivered(config: StreamConfig, from: Option<Position>, count: usize) -> Vec<Delivered> {
    let stream = Stream::open(config, from).expect("valid");
    stream.take(count).map(|d| d.expect("readable")).collect()
}

fn units(given: &[Given], weigh: Weigh) -> Vec<f64> {
    given
        .iter()
        .map(|given| given.units(weigh) as f64)
        .collect()
}

#[test]
fn the_share_reached_stays_within_a_sequence_of_the_share_asked() {
    let folders = two();
    for weigh in [
        Weigh::Tokens,
        Weigh::Images,
        Weigh::Documents,
        Weigh::Sequences,
    ] {
        let config = mixed(&folders, &[0.7, 0.3], weigh);
        // What one sequence holds at most of what is weighed: ids, images of 6 ids, documents of 11.
        let sequence = match weigh {
            Weigh::Tokens => 64.0,
            Weigh::Images => 10.0,
            Weigh::Documents => 5.0,
            Weigh::Sequences => 1.0,
        };
        for delivered in delivered(config.clone(), None, 120) {
            let reached = units(&delivered.given, weigh);
            let all: f64 = reached.iter().sum();
            let off = (reached[0] - 0.7 * all).abs();
            assert!(off <= sequence, "{weigh:?}: {off} of {all}");
        }
    }
}

#[test]
fn ranks_of_a_mixture_deliver_what_one_alone_does_and_know_of_each_other() {
    let folders = two();
    for passes in [Passes::Endless, Passes::One] {
        let config = StreamConfig {
            passes,
            ..mixed(&folders, &[0.7, 0.3], Weigh::Tokens)
        };
        let config = StreamConfig {
            rows: 6,
            lanes: 6,
            block_row_groups: 1,
            ..config
        };
        let alone = delivered(config.clone(), None, 60);
        for world_size in [2, 3] {
            let of_ranks: Vec<_> = (0..world_size)
                .map(|rank| {
                    let config = StreamConfig {
                        rank,
                        world_size,
                        ..config.clone()
                    };
                    delivered(config, None, 60)
                })
                .collect();
            // In one pass the last steps differ: lanes end.
            let steps = if passes == Passes::One { 20 } else { 60 };
            for (step, expected) in alone.iter().enumerate().take(steps) {
                let of_rank: Vec<_> = of_ranks.iter().map(|of| rows(&of[step].batch)).collect();
                let together =
                    (0..6).map(|row| of_rank[row % world_size][row / world_size].clone());
                let found: Vec<_> = together.collect();
                assert_eq!(found, rows(&expected.batch), "step {step}");
                for of in &of_ranks {
                    assert_eq!(of[step].given, expected.given);
                    assert_eq!(of[step].position, expected.position);
                }
            }
            if passes == Passes::One {
                let tokens = |all: &[Delivered]| -> usize {
                    let used = all
                        .iter()
                        .map(|d| d.batch.segments.iter().filter(|s| **s > 0).count());
                    used.sum()
                };
                let sum: usize = of_ranks.iter().map(|of| tokens(of)).sum();
                assert_eq!(
                    sum,
                    tokens(&alone),
                    "nothing is lost or repeated at the end"
                );
            }
        }
    }
}

/// Of fewer row groups than there are lanes: each lane has its turn in some epoch.
#[test]
fn a_dataset_of_a_single_row_group_is_mixed_with_a_large_one() {
    for (documents, group) in [(3, 4), (9, 2)] {
        let folders = [dataset(&usual(400), 4), dataset(&usual(documents), group)];
        let config = StreamConfig {
            lanes: 8,
            block_row_groups: 1,
            rows: 4,
            ..mixed(&folders, &[0.5, 0.5], Weigh::Tokens)
        };
        let all = delivered(config, None, 100);
        assert_eq!(all.len(), 100);
        let reached = units(&all[99].given, Weigh::Tokens);
        assert!((reached[0] - reached[1]).abs() <= 2.0 * 64.0, "{reached:?}");
    }
}

/// Of each rank, until it ends; rows of all, in no order.
fn until_the_end(config: &StreamConfig, world_size: usize, from: Option<&Position>) -> Vec<String> {
    let of_rank = |rank| {
        let config = StreamConfig {
            rank,
            world_size,
            ..config.clone()
        };
        delivered(config, from.cloned(), usize::MAX)
    };
    let all = (0..world_size).flat_map(of_rank);
    let mut rows: Vec<_> = all
        .flat_map(|d| rows(&d.batch))
        .map(|row| format!("{row:?}"))
        .collect();
    rows.sort();
    rows
}

#[test]
fn a_stream_that_ends_goes_on_in_its_last_steps_as_any_number_of_ranks() {
    let folders = two();
    let one = StreamConfig {
        mix: Vec::new(),
        dataset: folders[0].path().to_owned(),
        ..mixed(&folders, &[1.0], Weigh::Tokens)
    };
    for (config, passes) in [
        (mixed(&folders, &[0.8, 0.2], Weigh::Tokens), Passes::One),
        (
            mixed(&folders, &[0.8, 0.2], Weigh::Documents),
            Passes::Shortest,
        ),
        (one, Passes::One),
    ] {
        let config = StreamConfig {
            passes,
            rows: 6,
            lanes: 6,
            block_row_groups: 1,
            ..config
        };
        let whole = until_the_end(&config, 1, None);
        for world_size in [2, 3, 6] {
            assert_eq!(
                until_the_end(&config, world_size, None),
                whole,
                "{passes:?}, {world_size}"
            );
        }
        // Stop two ranks after every step, the last ones included, and go on as three.
        let steps = |rank| {
            let config = StreamConfig {
                rank,
                world_size: 2,
                ..config.clone()
            };
            delivered(config, None, usize::MAX)
        };
        let (a, b) = (steps(0), steps(1));
        for stop in 0..a.len().min(b.len()) {
            let positions = [a[stop].position.clone(), b[stop].position.clone()];
            let position = Position::merge(positions).expect("after the same step");
            let taken = a[..=stop].iter().chain(&b[..=stop]);
            let mut all: Vec<_> = taken
                .flat_map(|d| rows(&d.batch))
                .map(|row| format!("{row:?}"))
                .collect();
            all.extend(until_the_end(&config, 3, Some(&position)));
            all.sort();
            assert_eq!(all, whole, "{passes:?}, stopped after step {stop}");
        }
    }
}

#[test]
fn one_pass_gives_also_what_a_schedule_has_left_without_weight() {
    let folders = two();
    let config = StreamConfig {
        passes: Passes::One,
        schedule: vec![Change {
            from_step: 4,
            weights: vec![1.0, 0.0],
        }],
        ..mixed(&folders, &[1.0, 1.0], Weigh::Tokens)
    };
    let all = delivered(config, None, usize::MAX);
    let given = &all.last().expect("some").given;
    assert_eq!([given[0].documents, given[1].documents], [150, 120]);
}

#[test]
fn other_weights_hold_from_their_step_on() {
    let folders = two();
    let config = StreamConfig {
        schedule: vec![Change {
            from_step: 30,
            weights: vec![0.0, 1.0],
        }],
        ..mixed(&folders, &[1.0, 0.0], Weigh::Tokens)
    };
    let all = delivered(config.clone(), None, 40);
    assert_eq!(all[29].given[1], Given::default());
    assert_eq!(all[39].given[0], all[29].given[0]);
    assert!(all[39].given[1].sequences >= 30);
    // A schedule counts steps: with other steps it is another stream.
    let other = StreamConfig {
        rows: 6,
        ..config.clone()
    };
    let refused = Stream::open(other, Some(all[3].position.clone()));
    assert!(matches!(refused, Err(StreamError::OtherPosition { .. })));
}

#[test]
fn a_mixture_resumes_exactly() {
    let folders = two();
    for passes in [Passes::Endless, Passes::One, Passes::Shortest] {
        let config = StreamConfig {
            passes,
            ..mixed(&folders, &[0.4, 0.6], Weigh::Tokens)
        };
        let unbroken = delivered(config.clone(), None, 200);
        for stop in [0, 7, unbroken.len() / 2, unbroken.len() - 2] {
            let saved = serde_json::to_string(&unbroken[stop].position).expect("plain data");
            let position = serde_json::from_str(&saved).expect("just written");
            let rest = delivered(config.clone(), Some(position), 12);
            assert!(!rest.is_empty());
            for (found, expected) in rest.iter().zip(&unbroken[stop + 1..]) {
                assert_eq!(found.batch, expected.batch);
                assert_eq!(found.given, expected.given);
                assert_eq!(found.position, expected.position);
            }
        }
    }
}

#[test]
fn one_pass_gives_all_of_both_and_the_shortest_ends_with_the_first() {
    let folders = two();
    let last = |passes, weights: &[f64]| {
        let config = StreamConfig {
            passes,
            ..mixed(&folders, weights, Weigh::Documents)
        };
        let all = delivered(config, None, usize::MAX);
        all.last().expect("some").given.clone()
    };
    let documents = |given: &[Given]| {
        given
            .iter()
            .map(|given| given.documents)
            .collect::<Vec<_>>()
    };
    assert_eq!(documents(&last(Passes::One, &[0.9, 0.1])), [150, 120]);
    let shortest = documents(&last(Passes::Shortest, &[0.9, 0.1]));
    assert!(shortest[0] > 120 && shortest[1] < 40, "{shortest:?}");
}

#[test]
fn datasets_of_different_tokenizers_do_not_mix() {
    let folders = two();
    let header = folders[1].path().join("_dataset.json");
    let text = std::fs::read_to_string(&header).expect("written");
    std::fs::write(&header, text.replace("numbers", "words")).expect("writable");
    let refused = Stream::open(mixed(&folders, &[1.0, 1.0], Weigh::Tokens), None);
    let error = refused.err().expect("refused").to_string();
    assert!(
        error.contains("words") && error.contains("numbers"),
        "{error}"
    );
}

#[test]
fn weights_that_cannot_be_are_usage_mistakes() {
    let folders = two();
    let refusal = |config: StreamConfig| config.validate().expect_err("refused").to_string();
    let good = mixed(&folders, &[1.0, 1.0], Weigh::Tokens);
    for weights in [[0.0, 0.0], [-1.0, 2.0], [f64::NAN, 1.0]] {
        assert!(refusal(mixed(&folders, &weights, Weigh::Tokens)).contains("mix"));
    }
    let change = |from_step, weights: &[f64]| Change {
        from_step,
        weights: weights.to_vec(),
    };
    for schedule in [
        vec![change(1, &[1.0])],
        vec![change(1, &[0.0, 0.0])],
        vec![change(5, &[1.0, 1.0]), change(5, &[1.0, 0.0])],
    ] {
        let config = StreamConfig {
            schedule,
            ..good.clone()
        };
        assert!(refusal(config).contains("schedule"));
    }
    let both = StreamConfig {
        dataset: "here".into(),
        ..good
    };
    assert!(refusal(both).contains("dataset = here"));
}

#[cfg(feature = "query")]
mod filters {
    use super::*;

    fn filtered(folder: &Path, filter: &str) -> StreamConfig {
        StreamConfig {
            filter: filter.into(),
            passes: Passes::One,
            ..config(folder)
        }
    }

    #[test]
    fn a_filter_takes_documents_out_and_leaves_the_order_of_the_others() {
        let folder = dataset(&usual(100), 4);
        let ids = |filter: &str| -> Vec<u32> {
            // One lane and one bin: sequences hold documents in the order in which they come.
            let config = StreamConfig {
                lanes: 1,
                bins: 1,
                ..filtered(folder.path(), filter)
            };
            let batches = delivered(config, None, usize::MAX);
            let texts = batches.iter().flat_map(|d| d.batch.tokens.clone());
            let mut ids: Vec<_> = texts.filter(|id| (1000..1100).contains(id)).collect();
            ids.dedup();
            ids
        };
        let all = ids("");
        assert_eq!(all.len(), 100);
        let some = ids("id >= 'document-0050' AND n_images = 2");
        assert_eq!(some.len(), 50);
        let expected: Vec<_> = all.into_iter().filter(|id| *id >= 1050).collect();
        assert_eq!(some, expected);
    }

    #[test]
    fn what_a_filter_leaves_out_is_counted_and_nothing_left_is_an_error() {
        let folder = dataset(&usual(40), 4);
        let all = delivered(
            filtered(folder.path(), "id < 'document-0010'"),
            None,
            usize::MAX,
        );
        let last = all.last().expect("some");
        assert_eq!(last.passed.filtered, 30);
        assert_eq!(last.given[0].documents, 10);
        for passes in [Passes::One, Passes::Endless] {
            let config = StreamConfig {
                passes,
                ..filtered(folder.path(), "n_tokens > 1000000")
            };
            let error = Stream::open(config, None)
                .expect("valid")
                .next()
                .expect("an answer");
            assert!(
                matches!(error, Err(StreamError::NoDocuments { .. })),
                "{error:?}"
            );
        }
        let refused = Stream::open(filtered(folder.path(), "n_tokens >"), None);
        assert!(matches!(refused, Err(StreamError::Filter(_))));
    }

    /// A file that is gone can only be missed by who reads it.
    #[test]
    fn a_row_group_that_statistics_rule_out_is_read_neither_for_ids_nor_for_pixels() {
        let folder = dataset(&usual(80), 4);
        let config = StreamConfig {
            verify: lcl_shard::Verify::Size,
            ..filtered(folder.path(), "id < 'document-0008'")
        };
        // All but the footers of the other shards are overwritten; sizes stay.
        for shard in 1..10 {
            let path = folder.path().join(format!("part-{shard}.parquet"));
            let mut bytes = std::fs::read(&path).expect("written");
            let end = bytes.len();
            let footer =
                u32::from_le_bytes(bytes[end - 8..end - 4].try_into().expect("four")) as usize;
            // Indexes stand just before the footer; leave them.
            bytes[4..(end - footer) / 2].fill(0xFF);
            std::fs::write(&path, bytes).expect("writable");
        }
        let all = delivered(config, None, usize::MAX);
        assert_eq!(all.last().expect("some").given[0].documents, 8);
    }
}

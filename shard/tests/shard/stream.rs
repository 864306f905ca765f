//! Batches, positions and refusals.

use std::collections::BTreeMap;
use std::path::Path;

use lcl_schemas::batch::{Batch, Pictures};
use lcl_shard::{
    OnCorrupt, Part as StreamPart, PassedOver, Passes, PictureForm, Position, Stream, StreamConfig,
    StreamError, Verify,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::fixture::{Part, V, colour, usual, write};

pub(crate) const SLOTS: usize = 4;

pub(crate) fn config(dataset: &Path) -> StreamConfig {
    StreamConfig {
        dataset: dataset.to_owned(),
        part: StreamPart::All,
        context: 64,
        rows: 3,
        edge: 4,
        slots: SLOTS,
        lanes: 3,
        bins: 5,
        block_row_groups: 2,
        threads: 2,
        ..StreamConfig::default()
    }
}

pub(crate) fn dataset(documents: &[Vec<Part>], group: usize) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), documents, group);
    folder
}

pub(crate) fn batches(
    config: StreamConfig,
    from: Option<Position>,
    count: usize,
) -> Vec<(Batch, Position)> {
    let stream = Stream::open(config, from).expect("a valid dataset");
    let batches: Result<Vec<_>, _> = stream.take(count).collect();
    batches
        .expect("readable")
        .into_iter()
        .map(|delivered| (delivered.batch, delivered.position))
        .collect()
}

/// Ids of each document by its number, slots and special ids left out, and its images' places.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Seen {
    text_ids: usize,
    pub(crate) places: Vec<u8>,
}

/// Reads batches back, and checks that every image stands in its own document's segment, in a well-formed row.
pub(crate) fn recognise(batches: &[(Batch, Position)]) -> BTreeMap<u32, Seen> {
    let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
    for (batch, _) in batches {
        let is_text = |id: u32| (1000..V.bos).contains(&id);
        for row in 0..batch.rows {
            let range = row * batch.context..(row + 1) * batch.context;
            for at in range {
                if batch.segments[at] == 0 {
                    continue;
                }
                let starts =
                    at % batch.context == 0 || batch.segments[at - 1] != batch.segments[at];
                assert_eq!(
                    batch.tokens[at] == V.bos,
                    starts,
                    "every segment starts with BOS and holds no other"
                );
                assert_eq!(
                    batch.positions[at],
                    if starts {
                        0
                    } else {
                        batch.positions[at - 1] + 1
                    }
                );
                if is_text(batch.tokens[at]) {
                    seen.entry(batch.tokens[at] - 1000).or_default().text_ids += 1;
                }
            }
        }
        for (image, &slot) in batch.first_slots.iter().enumerate() {
            let (slot, bytes) = (slot as usize, batch.edge * batch.edge * 3);
            assert_eq!(batch.tokens[slot - 1], V.boi);
            assert_eq!(batch.tokens[slot..slot + SLOTS], [V.slot; SLOTS]);
            assert_eq!(batch.tokens[slot + SLOTS], V.eoi);
            let pixel = &batch.pixels()[image * bytes..][..3];
            let owner = (0..batch.tokens.len())
                .filter(|&at| {
                    at / batch.context == slot / batch.context
                        && batch.segments[at] == batch.segments[slot]
                })
                .find_map(|at| is_text(batch.tokens[at]).then(|| batch.tokens[at] - 1000))
                .expect("every segment of these documents holds text");
            assert_eq!(
                pixel,
                colour(owner as usize, usize::from(pixel[2])),
                "an image of its own document"
            );
            let before = (0..slot)
                .rev()
                .take_while(|&at| batch.segments[at] == batch.segments[slot]);
            let context = before
                .filter(|&at| at / batch.context == slot / batch.context)
                .any(|at| is_text(batch.tokens[at]));
            assert_eq!(batch.has_context[image], context);
            seen.entry(owner).or_default().places.push(pixel[2]);
        }
    }
    seen.values_mut()
        .for_each(|seen| seen.places.sort_unstable());
    seen
}

#[test]
fn encoded_images_are_the_stored_bytes_of_the_same_sequences() {
    let folder = dataset(&usual(60), 4);
    let encoded = StreamConfig {
        pictures: PictureForm::Encoded,
        ..config(folder.path())
    };
    let decoded = batches(config(folder.path()), None, 10);
    for ((found, _), (expected, _)) in batches(encoded, None, 10).into_iter().zip(decoded) {
        let Pictures::Encoded(encoded) = &found.pictures else {
            panic!("not encoded");
        };
        assert_eq!(encoded.len(), expected.images());
        let squares = expected.pixels().chunks(expected.edge.pow(2) * 3);
        for (bytes, square) in encoded.iter().zip(squares) {
            let picture = image::load_from_memory(bytes)
                .expect("as stored")
                .into_rgb8();
            assert_eq!(picture.dimensions(), (10, 8));
            assert_eq!(picture.get_pixel(0, 0).0, square[..3]);
        }
        let as_expected = Batch {
            pictures: expected.pictures.clone(),
            ..found
        };
        assert_eq!(as_expected, expected);
    }
}

#[test]
fn one_pass_delivers_every_document_once_with_its_images() {
    let documents = usual(100);
    let folder = dataset(&documents, 8);
    let once = StreamConfig {
        passes: Passes::One,
        ..config(folder.path())
    };
    let seen = recognise(&batches(once, None, usize::MAX));
    assert_eq!(seen.len(), 100);
    for (d, seen) in seen {
        let text_ids = documents[d as usize]
            .iter()
            .map(|part| if let Part::Text(n) = part { *n } else { 0 })
            .sum();
        assert_eq!(
            seen,
            Seen {
                text_ids,
                places: vec![1, 4]
            },
            "document {d}"
        );
    }
}

#[test]
fn batches_are_the_same_for_any_number_of_threads() {
    let folder = dataset(&usual(60), 8);
    let with = |threads, prefetch| {
        batches(
            StreamConfig {
                threads,
                prefetch,
                ..config(folder.path())
            },
            None,
            25,
        )
    };
    assert_eq!(with(1, 1), with(4, 3));
}

#[test]
fn an_endless_stream_goes_on_into_another_order() {
    let folder = dataset(&usual(30), 8);
    let delivered: Vec<_> = Stream::open(config(folder.path()), None)
        .expect("valid")
        .take(20)
        .collect();
    let last = delivered
        .last()
        .expect("twenty")
        .as_ref()
        .expect("readable");
    assert!(last.epoch >= 2, "{}", last.epoch);
    let other = batches(
        StreamConfig {
            seed: 1,
            ..config(folder.path())
        },
        None,
        1,
    );
    assert_ne!(delivered[0].as_ref().expect("readable").batch, other[0].0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_position_resumes_exactly_wherever_it_was_taken(
        lengths in prop::collection::vec((1..90usize, 0..4usize), 4..40),
        group in 2..9usize, lanes in 1..5usize, bins in 1..6usize, stop in 0..14usize, one_pass: bool,
    ) {
        let documents: Vec<Vec<Part>> = lengths
            .iter()
            .map(|&(text, images)| {
                let mut parts = vec![Part::Text(text)];
                parts.extend((0..images).map(|image| if image % 2 == 0 { Part::Image(Some(0)) } else { Part::Image(None) }));
                parts.push(Part::Text(1 + text / 2));
                parts
            })
            .collect();
        let folder = dataset(&documents, group);
        let passes = if one_pass { Passes::One } else { Passes::Endless };
        let config = StreamConfig { lanes, bins, min_images: 0, passes, ..config(folder.path()) };
        let unbroken = batches(config.clone(), None, 15);
        prop_assume!(stop < unbroken.len());
        let saved = serde_json::to_string(&unbroken[stop].1).expect("plain data");
        let position = serde_json::from_str(&saved).expect("just written");
        let resumed = batches(config, Some(position), unbroken.len() - stop - 1);
        prop_assert_eq!(&resumed[..], &unbroken[stop + 1..]);
    }
}

#[test]
fn held_out_and_training_documents_are_disjoint_and_together_all() {
    let folder = dataset(&usual(200), 16);
    let of = |part| {
        let once = StreamConfig {
            passes: Passes::One,
            part,
            holdout: 0.2,
            ..config(folder.path())
        };
        recognise(&batches(once, None, usize::MAX))
            .into_keys()
            .collect::<Vec<_>>()
    };
    let (train, held_out) = (of(StreamPart::Train), of(StreamPart::HeldOut));
    assert!(train.iter().all(|d| !held_out.contains(d)));
    assert_eq!(train.len() + held_out.len(), 200);
    assert!((20..60).contains(&held_out.len()), "{}", held_out.len());
}

#[test]
fn documents_without_images_are_passed_over_and_counted() {
    let mut documents = usual(20);
    documents[3] = vec![Part::Text(5), Part::Missing];
    documents[7] = vec![Part::Text(5)];
    let folder = dataset(&documents, 8);
    let once = StreamConfig {
        passes: Passes::One,
        ..config(folder.path())
    };
    let delivered: Vec<_> = Stream::open(once, None)
        .expect("valid")
        .map(|d| d.expect("readable"))
        .collect();
    let passed = delivered.last().expect("some").passed;
    assert_eq!((passed.few_images, passed.filtered), (2, 0));
}

#[test]
fn a_dataset_without_a_usable_document_is_an_error_and_not_an_endless_wait() {
    let folder = dataset(&vec![vec![Part::Text(5)]; 10], 4);
    let first = Stream::open(config(folder.path()), None)
        .expect("valid")
        .next()
        .expect("an answer");
    assert!(
        matches!(
            first,
            Err(StreamError::NoDocuments {
                passed: PassedOver { few_images: 10, .. },
                ..
            })
        ),
        "{first:?}"
    );
}

#[test]
fn a_position_of_other_settings_or_another_manifest_is_refused() {
    let folder = dataset(&usual(32), 8);
    let position = batches(config(folder.path()), None, 1)[0].1.clone();
    let other = StreamConfig {
        bins: 6,
        ..config(folder.path())
    };
    let refused = Stream::open(other, Some(position.clone()))
        .err()
        .expect("other settings")
        .to_string();
    assert!(
        refused.contains("another stream configuration"),
        "{refused}"
    );

    // A dataset that has grown since: the position goes on with the manifest that it was taken from.
    let before = batches(config(folder.path()), None, 4);
    write(folder.path(), &usual(48), 8);
    assert_eq!(
        batches(config(folder.path()), Some(position.clone()), 3),
        before[1..]
    );
    let newest = std::fs::read_to_string(folder.path().join("_manifests/latest")).expect("written");
    let pinned = StreamConfig {
        manifest: newest,
        ..config(folder.path())
    };
    let refused = Stream::open(pinned, Some(position))
        .err()
        .expect("another manifest")
        .to_string();
    assert!(refused.contains("another manifest"), "{refused}");
}

#[test]
fn a_position_that_was_tampered_with_is_refused_and_nothing_overflows() {
    let folder = dataset(&usual(80), 4);
    let position = batches(config(folder.path()), None, 5)[4].1.clone();
    let whole = serde_json::to_value(&position).expect("plain data");
    let most = serde_json::json!(u64::MAX);
    let lane = "/lanes/0/tracks/0";
    let piece = serde_json::json!([0, 0, 0, 0]);
    let bin = |count: usize| serde_json::Value::from(vec![piece.clone(); count]);
    for (place, value) in [
        ("/turn".to_owned(), most.clone()),
        ("/of_lanes".to_owned(), serde_json::json!(9)),
        (format!("{lane}/epoch"), most.clone()),
        (format!("{lane}/block"), most.clone()),
        (format!("{lane}/row"), most.clone()),
        (format!("{lane}/closed"), most),
        (format!("{lane}/ready"), serde_json::json!([bin(40)])),
        (
            format!("{lane}/ready"),
            serde_json::json!([[[0, 4_000_000, 0, 0]]]),
        ),
        (
            format!("{lane}/ready"),
            serde_json::json!([[[0, 0, 200, 0]]]),
        ),
        (format!("{lane}/ready"), serde_json::json!([[[0, 0, 0, 7]]])),
        (
            format!("{lane}/open"),
            serde_json::Value::from(vec![bin(1); 6]),
        ),
    ] {
        let mut tampered = whole.clone();
        *tampered.pointer_mut(&place).expect("a place of a position") = value;
        let tampered: Position = serde_json::from_value(tampered).expect("the same shape");
        let refused = Stream::open(config(folder.path()), Some(tampered));
        let error = refused
            .err()
            .unwrap_or_else(|| panic!("{place} was accepted"));
        assert!(
            error.to_string().contains("does not fit this dataset"),
            "{place}: {error}"
        );
    }
    let mut far = whole;
    *far.pointer_mut("/lanes/0/tracks/0/block").expect("a place") = serde_json::json!(1u64 << 40);
    let far = serde_json::from_value(far).expect("the same shape");
    assert_eq!(
        batches(config(folder.path()), Some(far), 20).len(),
        20,
        "another epoch begins"
    );
}

#[test]
fn a_damaged_shard_names_file_row_group_and_row() {
    let folder = dataset(&usual(20), 8);
    let path = folder.path().join("part-0.parquet");
    let mut bytes = std::fs::read(&path).expect("written");
    // The first picture's own header: the decoder finds nothing that it knows.
    let at = bytes
        .windows(4)
        .position(|four| four == b"\x89PNG")
        .expect("a PNG, stored as it is");
    bytes[at..at + 8].fill(0);
    std::fs::write(&path, bytes).expect("writable");
    let once = StreamConfig {
        passes: Passes::One,
        verify: Verify::Size,
        ..config(folder.path())
    };
    let error = Stream::open(once.clone(), None)
        .expect("valid")
        .find_map(Result::err)
        .expect("one image is gone")
        .to_string();
    let place = "part-0.parquet, row group 0, row 0: image at place 1";
    assert!(error.contains(place), "{error}");

    // Asked to go on, it counts the loss and names it; every other image is there.
    let skip = StreamConfig {
        on_corrupt: OnCorrupt::Skip,
        ..once
    };
    let delivered: Vec<_> = Stream::open(skip, None)
        .expect("valid")
        .map(|delivered| delivered.expect("only an image is lost"))
        .collect();
    let lost: Vec<_> = delivered.iter().flat_map(|d| &d.lost).collect();
    assert!(
        matches!(lost[..], [lost] if lost.contains(place)),
        "{lost:?}"
    );
    let batches: Vec<_> = delivered
        .into_iter()
        .map(|delivered| (delivered.batch, delivered.position))
        .collect();
    let seen = recognise(&batches);
    assert_eq!(seen.len(), 20);
    assert_eq!(seen[&0].places, [4]);
    assert!((1..20).all(|d| seen[&d].places == [1, 4]));
}

#[test]
fn a_shard_that_was_swapped_for_one_of_equal_size_is_named_before_the_stream_ends() {
    let folder = dataset(&usual(40), 8);
    let path = folder.path().join("part-1.parquet");
    let mut bytes = std::fs::read(&path).expect("written");
    // Padding behind a picture, which no decoder reads.
    let at = bytes
        .windows(64)
        .position(|window| window.iter().all(|byte| *byte == window[0]) && window[0] > 0)
        .expect("padding");
    bytes[at + 32] ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    let with = |verify| StreamConfig {
        passes: Passes::One,
        verify,
        ..config(folder.path())
    };
    let error = Stream::open(with(Verify::Sha256), None)
        .expect("valid")
        .find_map(Result::err)
        .expect("noticed");
    assert!(matches!(error, StreamError::Read(_)));
    let error = error.to_string();
    assert!(error.contains("part-1.parquet: its SHA-256"), "{error}");
    let unchecked = Stream::open(with(Verify::Size), None).expect("valid");
    assert!(
        unchecked
            .map(Result::ok)
            .all(|delivered| delivered.is_some())
    );
}

#[test]
fn a_shard_that_was_cut_short_is_named_with_its_size() {
    let folder = dataset(&usual(40), 8);
    let path = folder.path().join("part-1.parquet");
    let length = std::fs::metadata(&path).expect("written").len();
    let file = std::fs::OpenOptions::new().write(true).open(&path);
    file.and_then(|file| file.set_len(length - 1))
        .expect("writable");
    let stream = Stream::open(config(folder.path()), None).expect("valid");
    let error = { stream }.find_map(Result::err).expect("cut").to_string();
    let expected = format!("it has {} bytes, the manifest says {length}", length - 1);
    assert!(
        error.contains("part-1.parquet") && error.contains(&expected),
        "{error}"
    );
}

#[test]
fn a_missing_or_newer_dataset_is_one_clear_sentence() {
    let folder = TempDir::new().expect("a temporary folder");
    let missing = Stream::open(config(folder.path()), None)
        .err()
        .expect("nothing there")
        .to_string();
    assert!(missing.contains("_dataset.json"), "{missing}");
    std::fs::write(folder.path().join("_dataset.json"), r#"{"format": 9}"#).expect("writable");
    let newer = Stream::open(config(folder.path()), None)
        .err()
        .expect("too new")
        .to_string();
    assert!(
        newer.contains("format 9") && newer.contains("use a newer lcl"),
        "{newer}"
    );
}

#[test]
fn a_lane_that_one_epoch_leaves_empty_goes_on_in_the_next() {
    let folder = dataset(&usual(14), 1);
    let sparse = StreamConfig {
        block_row_groups: 1,
        lanes: 8,
        holdout: 0.5,
        part: StreamPart::Train,
        ..config(folder.path())
    };
    assert_eq!(batches(sparse, None, 60).len(), 60);
}

/// Whatever is in it: the reader of Parquet panics at some damage, and that, too, has to be said of the shard.
#[test]
fn damaged_pages_of_images_name_their_shard_and_row() {
    let folder = dataset(&usual(24), 4);
    let path = folder.path().join("part-0.parquet");
    let whole = std::fs::read(&path).expect("written");
    let images = b"\x89PNG";
    let first = whole
        .windows(4)
        .position(|bytes| bytes == images)
        .expect("stored");
    let mut named = 0;
    // What stands before the first image: its length, levels (5 and 6 bytes before, where the reader panics), the page's header.
    let some = (1..60).flat_map(|back| [0, 1, 0x7F, 0xFF].map(|value| (back, value)));
    let levels = [5, 6].into_iter();
    let levels = levels.flat_map(|back| (0..=0xFF).map(move |value| (back, value)));
    for (back, value) in some.chain(levels) {
        let mut damaged = whole.clone();
        damaged[first - back] = value;
        std::fs::write(&path, damaged).expect("writable");
        let config = StreamConfig {
            passes: Passes::One,
            verify: Verify::Size,
            ..config(folder.path())
        };
        let mut stream = Stream::open(config, None).expect("valid");
        let Some(error) = stream.find_map(Result::err) else {
            continue;
        };
        let error = error.to_string();
        // Far enough back it is another column, of which whole row groups are read.
        let place = ["row group 0", "row group 0, row"][usize::from(back < 30)];
        let place = format!("part-0.parquet, {place}");
        assert!(error.contains(&place), "{back}: {error}");
        named += 1;
    }
    assert!(named > 200, "{named} named");
}

#[test]
fn a_shard_with_other_rows_than_its_manifest_says_is_an_error_and_not_an_end() {
    let folder = dataset(&usual(40), 8);
    let other = dataset(&usual(3), 8);
    std::fs::copy(
        other.path().join("part-0.parquet"),
        folder.path().join("part-1.parquet"),
    )
    .expect("copied");
    let once = StreamConfig {
        passes: Passes::One,
        ..config(folder.path())
    };
    let error = Stream::open(once, None)
        .expect("valid")
        .find_map(Result::err)
        .expect("a swapped shard")
        .to_string();
    assert!(error.contains("part-1.parquet: it has "), "{error}");
}

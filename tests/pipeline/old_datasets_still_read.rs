//! A dataset of format 1, committed as it was when the format was settled, reads as it did then: every row, every count,
//! every id of a stream. (`tests/fixtures/make_format_1.py` says what is in it.)

use std::path::{Path, PathBuf};

use lcl_ingest::config::{Config, ProgressMode};
use lcl_schemas::batch::Pictures;
use lcl_schemas::dataset::{FORMAT, Header};
use lcl_schemas::outcome::{Class, Outcome};
use lcl_schemas::tokenizer::Tokenizer;
use lcl_schemas::vocabulary::Vocabulary;
use lcl_shard::inspect::{sql, stats};
use lcl_shard::{Crop, Part, Passes, PictureForm, Stream, StreamConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn query(dataset: &Path, text: &str, format: sql::Format) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let mut answer = Vec::new();
    runtime
        .block_on(async {
            let context = sql::open(dataset).await?;
            sql::answer(&context, text, format, &mut answer).await
        })
        .expect("a valid query");
    String::from_utf8(answer).expect("text")
}

/// One document after the other, in a stream of which nothing is drawn.
fn stream(pictures: PictureForm) -> StreamConfig {
    StreamConfig {
        dataset: fixture("format_1"),
        part: Part::All,
        passes: Passes::One,
        pictures,
        min_images: 0,
        context: 64,
        rows: 1,
        edge: 16,
        slots: 2,
        lanes: 1,
        threads: 1,
        crop: Crop::Center,
        ..StreamConfig::default()
    }
}

#[test]
fn its_header_is_that_of_format_1_with_clip() {
    let json = std::fs::read(fixture("format_1/_dataset.json")).expect("committed");
    let header = Header::from_json(&json).expect("a header");
    assert_eq!((header.format, FORMAT), (1, 1));
    assert_eq!(
        (header.vocabulary, header.image_size),
        (Vocabulary::CLIP, 32)
    );
    assert_eq!(&header.tokenizer, Tokenizer::clip().id());
}

#[test]
fn every_row_is_what_it_was() {
    let expected = std::fs::read_to_string(fixture("format_1.jsonl")).expect("committed");
    let found = query(
        &fixture("format_1"),
        "SELECT * FROM documents ORDER BY id",
        sql::Format::Json,
    );
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// What was told of it then.
fn told() -> Value {
    let json = std::fs::read(fixture("format_1.told.json")).expect("committed");
    serde_json::from_slice(&json).expect("JSON")
}

#[test]
fn its_counts_are_those_of_the_live_commits() {
    let stats = stats::stats(&fixture("format_1")).expect("readable");
    let counts = json!({
        "units": stats.units, "shards": stats.shards, "documents": stats.documents, "images": stats.images,
        "tokens": stats.tokens, "records_by_outcome": stats.records_by_outcome,
        "images_not_written": stats.images_not_written,
    });
    let told = told();
    for (name, count) in counts.as_object().expect("an object") {
        assert_eq!(count, &told[name], "{name}");
    }
    let outcomes = query(
        &fixture("format_1"),
        "SELECT outcome, count(*) AS n FROM images GROUP BY outcome ORDER BY outcome",
        sql::Format::Csv,
    );
    assert_eq!(outcomes, told["outcomes"]);
    let of_rows = outcomes.lines().skip(1).map(|line| {
        let (name, count) = line.split_once(',').expect("two columns");
        let Ok(outcome) = name.parse::<Outcome>();
        assert_ne!(outcome.class(), Class::Unknown);
        (outcome, count.parse::<u64>().expect("a number"))
    });
    assert_eq!(stats.images_by_outcome, of_rows.collect());
}

#[test]
fn its_stream_has_the_ids_that_it_had() {
    let mut rows = Vec::new();
    for delivered in Stream::open(stream(PictureForm::Pixels), None).expect("a dataset") {
        let batch = delivered.expect("readable").batch;
        assert_eq!(batch.pixels().len(), batch.images() * 16 * 16 * 3);
        let ids = batch.tokens.iter().zip(&batch.segments);
        let used: Vec<_> = ids
            .filter(|(_, segment)| **segment != 0)
            .map(|(id, _)| id)
            .collect();
        rows.push(json!({"tokens": used, "images": batch.images()}));
    }
    assert_eq!(json!(rows), told()["stream"]);
}

#[test]
fn its_pictures_have_the_bytes_that_they_had() {
    let mut sizes = Vec::new();
    for delivered in Stream::open(stream(PictureForm::Encoded), None).expect("a dataset") {
        let batch = delivered.expect("readable").batch;
        let Pictures::Encoded(encoded) = batch.pictures else {
            panic!("asked for as stored");
        };
        sizes.extend(encoded.iter().map(|picture| picture.len()));
    }
    assert_eq!(json!(sizes), told()["pictures"]);
}

#[test]
fn one_of_format_0_is_read_and_not_written_into() {
    let folder = TempDir::new().expect("a temporary folder");
    let old = folder.path().join("dataset");
    copy(&fixture("format_1"), &old);
    let header = old.join("_dataset.json");
    let json = std::fs::read_to_string(&header).expect("copied");
    let older = json.replace("\"format\": 1", "\"format\": 0");
    assert_ne!(older, json);
    std::fs::write(&header, &older).expect("writable");
    let stats = stats::stats(&old).expect("readable");
    assert_eq!(told()["documents"], stats.documents);
    let input = folder.path().join("more.jsonl");
    std::fs::write(&input, "").expect("writable");
    let config = Config {
        inputs: vec![input],
        out: old,
        image_size: 32,
        images_dir: Some(folder.path().to_owned()),
        progress: ProgressMode::Off,
        ..Config::default()
    };
    let refusal = lcl_ingest::run(&config).expect_err("format 0").to_string();
    assert!(
        refusal.ends_with("format 0, which is read and not added to: use another --out"),
        "{refusal}"
    );
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("writable")),
        }
    }
}

//! `lcl-shard verify`, on a sound dataset and on one that was damaged in every way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, UInt32Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, UInt32Type};
use lcl_schemas::dataset::{COMMITS_DIR, Commit, FORMAT, Header, MANIFESTS_DIR, Unit, live};
use lcl_schemas::document::{Document, Image, Place};
use lcl_schemas::layout::{Layout, PlaceTokens};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::row::{self, Row};
use lcl_schemas::tokenizer::Tokenizer;
use lcl_schemas::write::dataset::{Dataset, live_commits};
use lcl_schemas::write::shard_file::{GROUP_ROWS, ShardFile};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::fixture::{V, stored};

/// Rows of a unit; shards of two row groups of three.
const UNIT: usize = 12;

fn row_of(tokenizer: &Tokenizer, d: usize) -> Row {
    let text = |text: &str| Place::Text(format!("{text} number {d}"));
    let image = |place: usize| {
        Place::Image(Image {
            url: Some("http://example.org/i.png".into()),
            alt: None,
            outcome: Outcome::Stored,
            stored: Some(stored(d, place)),
            similarity: None,
            sentence: None,
        })
    };
    let missing = Place::Image(Image {
        url: None,
        alt: None,
        outcome: Outcome::Http(404),
        stored: None,
        similarity: None,
        sentence: None,
    });
    let places = vec![text("a cat"), image(1), missing, image(3), text("two dogs")];
    let ids = [("a cat", true), ("two dogs", false)].map(|(text, first)| {
        let text = format!("{text} number {d}");
        tokenizer.encode_place(&text, first).expect("plain text")
    });
    let layout = Layout::from_places(
        &V,
        [
            PlaceTokens::Text(&ids[0]),
            PlaceTokens::Image,
            PlaceTokens::MissingImage,
            PlaceTokens::Image,
            PlaceTokens::Text(&ids[1]),
        ],
    );
    Row {
        document: Document {
            id: format!("document-{d:04}"),
            source: "test".into(),
            url: None,
            language: None,
            places,
        },
        layout: layout.expect("plain ids"),
    }
}

/// A dataset of two units, as it is written, but for what `change` does to its rows before.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut [Row])) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tokenizer = Tokenizer::clip();
        let header = Header {
            format: FORMAT,
            tokenizer: tokenizer.id().clone(),
            vocabulary: V,
            image_size: 8,
        };
        let dataset = Dataset::open(folder.path(), &header, None).expect("writable");
        let mut rows: Vec<_> = (0..2 * UNIT).map(|d| row_of(&tokenizer, d)).collect();
        change(&mut rows);
        for (number, rows) in rows.chunks(UNIT).enumerate() {
            let commit = commit_of(folder.path(), number, rows);
            assert!(dataset.commit(&commit).expect("writable"));
        }
        dataset.write_manifest().expect("shards are there");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The exit code and what was found.
    fn verify(&self, further: &[&str]) -> (Option<i32>, Value) {
        let output = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
            .arg("verify")
            .arg(self.0.path())
            .arg("--json")
            .args(further)
            .output()
            .expect("the binary starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panicked"), "{errors}");
        let report = serde_json::from_slice(&output.stdout);
        (
            output.status.code(),
            report.unwrap_or_else(|_| panic!("{errors}")),
        )
    }

    fn is_sound(&self) -> bool {
        self.verify(&["--deep"]).0 == Some(0)
    }

    fn commits(&self) -> Vec<Commit> {
        live_commits(self.0.path()).expect("readable")
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for shard in self.commits().iter().flat_map(|commit| &commit.shards) {
            let file = fs::File::open(self.path(&shard.file)).expect("a commit names it");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
            for batch in reader.build().expect("Parquet") {
                let batch = batch.expect("readable");
                rows.extend(row::from_arrow(&batch, &V).expect("rows"));
            }
        }
        rows
    }

    /// Paths of the live shards, in the order of their rows.
    fn shards(&self) -> Vec<PathBuf> {
        let commits = self.commits();
        let shards = commits.iter().flat_map(|commit| &commit.shards);
        shards.map(|shard| self.path(&shard.file)).collect()
    }

    fn manifests(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path(MANIFESTS_DIR)).expect("there");
        entries
            .map(|entry| entry.expect("readable"))
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read(entry.path()).expect("readable"))
            })
            .collect()
    }
}

fn commit_of(folder: &Path, number: usize, rows: &[Row]) -> Commit {
    let unit = Unit {
        source: "test".into(),
        input: "0".repeat(16),
        first: (number * UNIT) as u64,
    };
    let shards = rows.chunks(6).enumerate().map(|(n, rows)| {
        let mut shard = ShardFile::new(folder).expect("writable");
        rows.chunks(3)
            .for_each(|rows| shard.write(rows).expect("writable"));
        shard.finish(&unit.name(), n).expect("writable")
    });
    let shards = shards.collect();
    let mut images = BTreeMap::new();
    for image in rows.iter().flat_map(|row| row.document.images()) {
        *images.entry(image.outcome.clone()).or_insert(0) += 1;
    }
    Commit {
        format: FORMAT,
        unit,
        input_name: "a.jsonl".into(),
        input_sha256: "0".repeat(16),
        records_sha256: "0".repeat(64),
        records: rows.len() as u64,
        last: number == 1,
        generation: 0,
        rules: serde_json::json!({"min_images": 1}),
        shards,
        documents: BTreeMap::from([(DocumentOutcome::Written, rows.len() as u64)]),
        images,
        images_not_written: 0,
        faults: Vec::new(),
    }
}

fn count(commit: &Commit, outcome: &Outcome) -> u64 {
    commit.images.get(outcome).copied().unwrap_or(0)
}

fn first_fault(report: &Value) -> String {
    report["faults"][0]["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("there");
    bytes[at] ^= 1 << (at % 8);
    fs::write(path, bytes).expect("writable");
}

#[test]
fn a_sound_dataset_has_no_fault_and_a_repair_leaves_it_alone() {
    let bench = Bench::new();
    let (code, report) = bench.verify(&["--deep"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["checked"]["documents"], 24);
    assert_eq!(report["checked"]["decoded"], 48);
    let before = (bench.commits(), bench.manifests());
    let (code, report) = bench.verify(&["--deep", "--repair"]);
    assert_eq!((code, &report["repaired"]), (Some(0), &Value::Null));
    assert_eq!((bench.commits(), bench.manifests()), before);
}

#[test]
fn a_changed_bit_anywhere_in_a_shard_is_found_and_what_can_be_read_is_kept() {
    let whole = Bench::new().rows();
    for share in 0..24 {
        let bench = Bench::new();
        let shard = &bench.shards()[1];
        let length = fs::metadata(shard).expect("there").len() as usize;
        flip(shard, length * share / 24 + share);
        let (code, report) = bench.verify(&[]);
        assert_eq!(code, Some(1), "share {share}");
        let file = shard.file_name().expect("a name").to_string_lossy();
        assert_eq!(report["faults"][0]["file"], *file);
        let (code, report) = bench.verify(&["--repair"]);
        assert_eq!(code, Some(0), "share {share}: {report}");
        assert!(bench.is_sound(), "share {share}");
        let rows = bench.rows();
        // Of the other three shards all.
        assert_eq!(
            (&rows[..6], &rows[rows.len() - 12..]),
            (&whole[..6], &whole[12..])
        );
    }
}

#[test]
fn a_shard_that_is_lost_costs_its_own_rows_and_the_others_stay_byte_for_byte() {
    let bench = Bench::new();
    let (rows, shards) = (bench.rows(), bench.shards());
    fs::remove_file(&shards[0]).expect("there");
    let others: Vec<_> = shards[1..]
        .iter()
        .map(|shard| fs::read(shard).expect("there"))
        .collect();
    let (code, report) = bench.verify(&[]);
    assert_eq!(
        (code, report["faults_by_kind"]["shard"].as_u64()),
        (Some(1), Some(1))
    );
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["repaired"]["documents_lost"], 6);
    assert_eq!(bench.rows(), rows[6..]);
    let kept: Vec<_> = bench
        .shards()
        .iter()
        .map(|shard| fs::read(shard).expect("there"))
        .collect();
    assert_eq!(kept, others);
    let commit = &bench.commits()[0];
    assert_eq!((commit.generation, commit.check()), (1, Ok(())));
    assert_eq!(commit.documents[&DocumentOutcome::Damaged], 6);
    assert_eq!(count(commit, &Outcome::DocumentLeftOut), 12);
    assert_eq!(commit.faults.len(), 1);
    assert!(bench.is_sound());
}

#[test]
fn a_shard_cut_short_is_named_with_both_sizes() {
    let bench = Bench::new();
    let shard = &bench.shards()[2];
    let bytes = fs::read(shard).expect("there");
    fs::write(shard, &bytes[..bytes.len() / 2]).expect("writable");
    let (_, report) = bench.verify(&[]);
    let sizes = format!(
        "it has {} bytes, its commit says {}",
        bytes.len() / 2,
        bytes.len()
    );
    assert!(report.to_string().contains(&sizes), "{report}");
    assert_eq!(bench.verify(&["--repair"]).0, Some(0));
    assert_eq!(bench.rows().len(), 18);
}

#[test]
fn a_text_that_is_laid_out_as_an_image_is_named_and_left_out() {
    let bench = Bench::with(|rows| {
        let row = &mut rows[4];
        row.document.places = vec![Place::Text("x".into()), row.document.places[1].clone()];
        let ids = vec![V.bos, V.boi, V.eoi, V.boi, V.eoi, V.eos];
        row.layout = Layout::try_new(&V, ids, vec![2, 2]).expect("no text is looked at");
    });
    let (code, report) = bench.verify(&[]);
    let fault = &report["faults"][0];
    assert_eq!(code, Some(1));
    let place = ["row_group", "row", "place"].map(|name| fault[name].as_u64());
    assert_eq!(place, [Some(1), Some(1), Some(0)], "{report}");
    assert_eq!(fault["id"], "document-0004");
    assert_eq!(first_fault(&report), "a text's ids are BOI EOI");
    assert_eq!(bench.verify(&["--repair"]).0, Some(0));
    let ids: Vec<_> = bench
        .rows()
        .iter()
        .map(|row| row.document.id.clone())
        .collect();
    assert!(ids.len() == 23 && !ids.contains(&"document-0004".into()));
}

/// Puts other bytes in the place of an image's.
fn spoil(row: &mut Row, place: usize) {
    if let Place::Image(Image {
        stored: Some(stored),
        ..
    }) = &mut row.document.places[place]
    {
        stored.bytes.truncate(60);
    }
}

#[test]
fn an_image_that_does_not_decode_keeps_its_place_and_loses_its_ids() {
    let bench = Bench::with(|rows| spoil(&mut rows[7], 3));
    let before = bench.rows();
    assert_eq!(bench.verify(&[]).0, Some(0), "its checksum is right");
    let (code, report) = bench.verify(&["--deep"]);
    assert_eq!(code, Some(1));
    assert!(first_fault(&report).contains("does not decode"), "{report}");
    assert_eq!(report["faults"][0]["place"], 3);
    assert_eq!(bench.verify(&["--deep", "--repair"]).0, Some(0));
    let rows = bench.rows();
    let row = &rows[7];
    assert_eq!(
        row.layout.tokens().len() + 2,
        before[7].layout.tokens().len()
    );
    assert_eq!(row.layout.spans()[2..4], [0, 0]);
    let Place::Image(image) = &row.document.places[3] else {
        panic!("an image was here");
    };
    assert_eq!((&image.outcome, &image.stored), (&Outcome::Corrupt, &None));
    assert_eq!((&rows[..7], &rows[8..]), (&before[..7], &before[8..]));
    let commit = &bench.commits()[0];
    assert_eq!(
        (
            count(commit, &Outcome::Stored),
            count(commit, &Outcome::Corrupt)
        ),
        (23, 1)
    );
    assert_eq!(
        commit.documents,
        BTreeMap::from([(DocumentOutcome::Written, 12)])
    );
}

#[test]
fn a_document_that_is_left_with_too_few_images_is_left_out() {
    let bench = Bench::with(|rows| {
        spoil(&mut rows[20], 1);
        spoil(&mut rows[20], 3);
    });
    let (code, report) = bench.verify(&["--deep", "--repair"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["repaired"]["documents_with_too_few_images"], 1);
    assert_eq!(report["repaired"]["documents_lost"], 0);
    let commit = &bench.commits()[1];
    assert_eq!(commit.documents[&DocumentOutcome::Damaged], 1);
    assert_eq!(commit.images_not_written, 3);
    assert!(bench.is_sound());
}

#[test]
fn a_manifest_that_is_lost_or_damaged_is_made_anew_byte_for_byte() {
    let ways: [fn(&Path, &str); 5] = [
        |folder, _| fs::remove_file(folder.join("latest")).expect("there"),
        |folder, _| fs::write(folder.join("latest"), "../../etc/passwd").expect("writable"),
        |folder, name| fs::remove_file(folder.join(name)).expect("there"),
        |folder, name| flip(&folder.join(name), 100),
        |folder, _| fs::remove_dir_all(folder).expect("there"),
    ];
    for (way, damage) in ways.into_iter().enumerate() {
        let bench = Bench::new();
        let before = bench.manifests();
        let name = before.keys().find(|name| name.ends_with(".parquet"));
        damage(&bench.path(MANIFESTS_DIR), name.expect("one"));
        let (code, report) = bench.verify(&[]);
        assert_eq!(code, Some(1), "way {way}: {report}");
        assert_eq!(bench.verify(&["--repair"]).0, Some(0), "way {way}");
        assert_eq!(bench.manifests(), before, "way {way}");
    }
}

#[test]
fn a_manifest_behind_its_commits_is_worth_a_note_and_one_before_them_is_a_fault() {
    let bench = Bench::new();
    let commit = &bench.commits()[1];
    let path = bench.path(COMMITS_DIR).join(commit.file_name());
    let newer = Commit {
        generation: 1,
        shards: commit.shards[..1].to_vec(),
        documents: BTreeMap::from([
            (DocumentOutcome::Written, 6),
            (DocumentOutcome::OptedOut, 6),
        ]),
        images: BTreeMap::from([(Outcome::Stored, 12), (Outcome::Http(404), 6)]),
        ..commit.clone()
    };
    let newer_path = bench.path(COMMITS_DIR).join(newer.file_name());
    fs::write(newer_path, newer.to_json()).expect("writable");
    let (code, report) = bench.verify(&[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report["notes"].to_string().contains("behind"), "{report}");
    assert!(report["notes"].to_string().contains("no live commit names"));

    let bench = Bench::new();
    fs::remove_file(
        bench
            .path(COMMITS_DIR)
            .join(path.file_name().expect("a name")),
    )
    .expect("there");
    let (code, report) = bench.verify(&[]);
    assert_eq!(code, Some(1), "{report}");
    assert!(
        first_fault(&report).contains("there is no commit"),
        "{report}"
    );
    assert_eq!(bench.verify(&["--repair"]).0, Some(0));
}

#[test]
fn shards_that_were_swapped_or_renamed_get_their_names_back() {
    let bench = Bench::new();
    let (rows, shards, commits) = (bench.rows(), bench.shards(), bench.commits());
    let aside = bench.path("aside");
    fs::rename(&shards[0], &aside).expect("there");
    fs::rename(&shards[3], &shards[0]).expect("there");
    fs::rename(&aside, &shards[3]).expect("there");
    fs::rename(&shards[1], bench.path("copy of part.parquet")).expect("there");
    let (code, report) = bench.verify(&[]);
    assert_eq!(code, Some(1));
    assert!(
        report.to_string().contains("it holds what part-"),
        "{report}"
    );
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!((bench.rows(), bench.commits()), (rows, commits));
}

#[test]
fn a_commit_that_cannot_be_read_is_set_aside_and_a_misnamed_one_gets_its_name() {
    let bench = Bench::new();
    let rows = bench.rows();
    let names = bench
        .commits()
        .iter()
        .map(Commit::file_name)
        .collect::<Vec<_>>();
    let path = |name: &str| bench.path(COMMITS_DIR).join(name);
    let length = fs::metadata(path(&names[0])).expect("there").len();
    let text = fs::read(path(&names[0])).expect("there");
    fs::write(path(&names[0]), &text[..length as usize / 2]).expect("writable");
    fs::rename(path(&names[1]), path("another.3.json")).expect("there");
    let (code, report) = bench.verify(&[]);
    assert_eq!(
        (code, report["faults_by_kind"]["commit"].as_u64()),
        (Some(1), Some(2))
    );
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["repaired"]["documents_lost"], 12);
    assert_eq!(bench.rows(), rows[12..]);
    assert!(path(&format!("{}.damaged", names[0])).exists() && path(&names[1]).exists());
}

#[test]
fn a_commit_whose_numbers_were_changed_is_counted_anew() {
    let ways: [fn(&mut Commit); 7] = [
        |commit| commit.shards[1].row_groups[1].rows += 1,
        |commit| commit.shards[1].row_groups[0].tokens -= 1,
        |commit| commit.shards[0].bytes += 1,
        |commit| *commit.images.get_mut(&Outcome::Stored).expect("some") += 1,
        |commit| commit.images_not_written = 5,
        |commit| *commit.images.get_mut(&Outcome::Stored).expect("some") = u64::MAX,
        |commit| {
            commit.shards[0].row_groups.pop();
        },
    ];
    for (way, change) in ways.into_iter().enumerate() {
        let bench = Bench::new();
        let (rows, shards) = (bench.rows(), bench.shards());
        let mut commit = bench.commits().remove(0);
        change(&mut commit);
        let path = bench.path(COMMITS_DIR).join(commit.file_name());
        fs::write(path, commit.to_json()).expect("writable");
        assert_eq!(bench.verify(&[]).0, Some(1), "way {way}");
        let (code, report) = bench.verify(&["--repair"]);
        assert_eq!(code, Some(0), "way {way}: {report}");
        assert_eq!((bench.rows(), bench.shards()), (rows, shards), "way {way}");
    }
}

#[test]
fn records_and_shards_that_are_in_two_units_are_a_fault_that_is_left_to_people() {
    let bench = Bench::new();
    let mut commit = bench.commits().remove(0);
    commit.unit.first += 5;
    let path = bench.path(COMMITS_DIR).join(commit.file_name());
    fs::write(path, commit.to_json()).expect("writable");
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(1));
    let faults = report["faults"].to_string();
    assert!(faults.contains("its records 5–12 are in"), "{faults}");
    assert!(faults.contains("is named by"), "{faults}");
}

#[test]
fn without_its_header_a_dataset_is_checked_as_far_as_it_goes_and_not_repaired() {
    let bench = Bench::new();
    fs::write(bench.path("_dataset.json"), "{").expect("writable");
    flip(&bench.shards()[0], 50);
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(1));
    assert_eq!(report["faults_by_kind"]["header"], 1);
    assert_eq!(report["faults_by_kind"]["shard"], 1);
    assert_eq!(live(bench.commits()).len(), 2);
}

#[test]
fn a_folder_that_is_no_dataset_is_a_usage_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
        .arg("verify")
        .arg(folder.path())
        .output()
        .expect("the binary starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("is no dataset"), "{error}");
}

#[test]
fn for_people_a_fault_is_a_line_with_its_place_and_a_line_with_what_to_do() {
    let bench = Bench::new();
    fs::remove_file(&bench.shards()[0]).expect("there");
    let output = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
        .arg("verify")
        .arg(bench.0.path())
        .output()
        .expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("run lcl-ingest on a.jsonl again"), "{text}");
    assert!(text.ends_with("1 faults: 1 shard\n"), "{text}");
}

/// Writes a unit's first shard anew with what `change` makes of its record batches, and says so in commit and manifest.
fn rewrite(bench: &Bench, change: impl Fn(RecordBatch) -> RecordBatch) {
    let mut commit = bench.commits().remove(0);
    let path = bench.path(&commit.shards[0].file);
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).expect("there"));
    let reader = reader.expect("Parquet").with_batch_size(3);
    let batches: Vec<_> = reader
        .build()
        .expect("Parquet")
        .map(|batch| change(batch.expect("readable")))
        .collect();
    let properties = WriterProperties::builder().set_max_row_group_row_count(None);
    let file = fs::File::create(&path).expect("writable");
    let mut writer =
        ArrowWriter::try_new(file, batches[0].schema(), Some(properties.build())).expect("new");
    for (batch, entry) in batches.iter().zip(&mut commit.shards[0].row_groups) {
        writer.write(batch).expect("writable");
        writer.flush().expect("writable");
        let groups = writer.flushed_row_groups();
        entry.bytes = groups.last().expect("flushed").compressed_size() as u64;
    }
    writer.close().expect("writable");
    let bytes = fs::read(&path).expect("there");
    commit.shards[0].bytes = bytes.len() as u64;
    commit.shards[0].sha256 = format!("{:x}", Sha256::digest(&bytes));
    let path = bench.path(COMMITS_DIR).join(commit.file_name());
    fs::write(path, commit.to_json()).expect("writable");
    fs::remove_dir_all(bench.path(MANIFESTS_DIR)).expect("there");
    let (dataset, _) = Dataset::existing(bench.0.path()).expect("a dataset");
    dataset.write_manifest().expect("shards are there");
}

type Change = fn(RecordBatch) -> RecordBatch;

fn with_columns(columns: Vec<(FieldRef, ArrayRef)>) -> RecordBatch {
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("of one length")
}

fn columns(batch: &RecordBatch) -> Vec<(FieldRef, ArrayRef)> {
    let fields = batch.schema().fields().iter().cloned().collect::<Vec<_>>();
    fields.into_iter().zip(batch.columns().to_vec()).collect()
}

/// The fields of all images of a batch, changed.
fn with_images(
    batch: &RecordBatch,
    change: impl Fn(&mut Vec<(FieldRef, ArrayRef)>),
) -> RecordBatch {
    let images = batch.column_by_name("images").expect("a column");
    let (item, offsets, images, _) = images.as_list::<i32>().clone().into_parts();
    let (fields, values, nulls) = images.as_struct().clone().into_parts();
    let mut members: Vec<_> = fields.iter().cloned().zip(values).collect();
    change(&mut members);
    let (fields, values): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let images = StructArray::new(fields.into(), values, nulls);
    let item = Arc::new(
        item.as_ref()
            .clone()
            .with_data_type(images.data_type().clone()),
    );
    let images = ListArray::new(item, offsets, Arc::new(images), None);
    let mut columns = columns(batch);
    for (field, column) in &mut columns {
        if field.name() == "images" {
            *field = Arc::new(Field::new("images", images.data_type().clone(), false));
            *column = Arc::new(images.clone());
        }
    }
    with_columns(columns)
}

fn nothing(name: &str, length: usize) -> (FieldRef, ArrayRef) {
    let field = Field::new(name, DataType::Float32, true);
    (Arc::new(field), new_null_array(&DataType::Float32, length))
}

#[test]
fn columns_of_a_later_version_are_no_fault_and_a_repair_does_not_drop_them() {
    let ways: [(&str, Change); 2] = [
        ("quality", |batch| {
            let mut columns = columns(&batch);
            columns.insert(2, nothing("quality", batch.num_rows()));
            with_columns(columns)
        }),
        ("images.licence", |batch| {
            with_images(&batch, |members| {
                let length = members[0].1.len();
                members.insert(1, nothing("licence", length));
            })
        }),
    ];
    for (name, change) in ways {
        let bench = Bench::new();
        let rows = bench.rows();
        rewrite(&bench, change);
        let (code, report) = bench.verify(&["--deep", "--repair"]);
        assert_eq!(
            (code, &report["repaired"]),
            (Some(0), &Value::Null),
            "{report}"
        );
        assert_eq!(bench.rows(), rows);
        let shard = &bench.shards()[0];
        flip(shard, 40);
        let before = (bench.commits(), fs::read(shard).expect("there"));
        let (code, report) = bench.verify(&["--repair"]);
        assert_eq!(code, Some(1), "{report}");
        let steps = report["repaired"]["steps"].to_string();
        assert!(
            steps.contains(&format!("does not know ({name})")),
            "{steps}"
        );
        assert_eq!((bench.commits(), fs::read(shard).expect("there")), before);
    }
}

#[test]
fn columns_may_come_in_any_order() {
    let bench = Bench::new();
    rewrite(&bench, |batch| {
        let batch = with_images(&batch, |members| members.reverse());
        with_columns(columns(&batch).into_iter().rev().collect())
    });
    let (code, report) = bench.verify(&["--deep", "--repair"]);
    assert_eq!(
        (code, &report["repaired"]),
        (Some(0), &Value::Null),
        "{report}"
    );
}

#[test]
fn a_shard_that_the_system_does_not_give_now_is_not_taken_for_lost() {
    let bench = Bench::new();
    let commits = bench.commits();
    let manifest = bench.path(MANIFESTS_DIR).join("older.parquet");
    fs::create_dir(&manifest).expect("writable");
    let shard = &bench.shards()[0];
    fs::rename(shard, bench.path("_aside")).expect("there");
    fs::create_dir(shard).expect("writable");
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(1), "{report}");
    let steps = report["repaired"]["steps"].to_string();
    assert!(steps.contains("is left as it is"), "{steps}");
    assert_eq!(bench.commits(), commits);
    fs::remove_dir(&manifest).expect("empty, and under its name");
    fs::remove_dir(shard).expect("empty");
    fs::rename(bench.path("_aside"), shard).expect("there");
    assert!(bench.is_sound());
}

/// All files of a dataset.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).expect("readable"))),
        }
    }
    found
}

#[test]
fn where_a_later_version_was_at_work_nothing_is_repaired() {
    let commit = |bench: &Bench| bench.path(COMMITS_DIR).join(bench.commits()[1].file_name());
    let ways: [fn(&mut Value); 2] = [
        |json| json["format"] = 2.into(),
        |json| *json = serde_json::json!({"format": 70_000, "shards": "elsewhere"}),
    ];
    for change in ways {
        for path in [commit, |bench: &Bench| bench.path("_dataset.json")] {
            let bench = Bench::new();
            let path = path(&bench);
            flip(&bench.shards()[0], 50);
            let json = fs::read(&path).expect("there");
            let mut json: Value = serde_json::from_slice(&json).expect("JSON");
            change(&mut json);
            fs::write(&path, json.to_string()).expect("writable");
            let before = files(bench.0.path());
            let (code, report) = bench.verify(&["--repair"]);
            assert_eq!(code, Some(1), "{report}");
            let steps = report["repaired"]["steps"].to_string();
            assert!(steps.contains("nothing was done") && steps.contains("use a newer lcl"));
            assert!(files(bench.0.path()) == before, "{}", path.display());
        }
    }
}

#[test]
fn a_damaged_manifest_beside_another_fault_takes_one_repair() {
    let bench = Bench::new();
    let name = bench.manifests().into_keys().next().expect("one");
    flip(&bench.path(MANIFESTS_DIR).join(&name), 100);
    fs::remove_file(&bench.shards()[0]).expect("there");
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(0), "{report}");
    assert!(bench.manifests().contains_key(&format!("{name}.damaged")));
}

#[test]
fn a_shard_of_a_unit_whose_commit_is_lost_is_not_taken_for_another_units() {
    let bench = Bench::new();
    let (rows, shards) = (bench.rows(), bench.shards());
    let lost = bench.commits()[0].file_name();
    fs::write(bench.path(COMMITS_DIR).join(lost), "{").expect("writable");
    fs::rename(&shards[0], &shards[2]).expect("there");
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["repaired"]["documents_lost"], 18);
    assert_eq!(bench.rows(), rows[18..]);
}

#[test]
fn what_is_known_of_stored_images_is_all_there_and_of_others_nothing_is() {
    let bench = Bench::new();
    rewrite(&bench, |batch| {
        with_images(&batch, |members| {
            for (field, values) in members {
                if field.name() == "phash" {
                    *values = new_null_array(field.data_type(), values.len());
                }
            }
        })
    });
    let (code, report) = bench.verify(&[]);
    assert_eq!(
        (code, report["faults"][0]["place"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(
        first_fault(&report),
        "it is stored, and its `phash` is not set"
    );
    // Its pixels are sound: they are not given up for it.
    let commits = bench.commits();
    let (code, report) = bench.verify(&["--deep", "--repair"]);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(report["repaired"]["images_lost"], 0);
    assert_eq!(bench.commits(), commits);
    // Nor do they keep the unit's other shards from being repaired.
    fs::remove_file(&bench.shards()[1]).expect("there");
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(report["repaired"]["documents_lost"], 6);
    assert_eq!(bench.commits()[0].shards, commits[0].shards[..1]);

    let bench = Bench::new();
    let rows = bench.rows();
    rewrite(&bench, |batch| {
        with_images(&batch, |members| {
            for (field, values) in members {
                if field.name() == "width" {
                    let widths = values.as_primitive::<UInt32Type>().iter();
                    *values = Arc::new(
                        widths
                            .map(|width| width.or(Some(7)))
                            .collect::<UInt32Array>(),
                    );
                }
            }
        })
    });
    let (code, report) = bench.verify(&[]);
    assert_eq!(
        (code, report["faults"][0]["place"].as_u64()),
        (Some(1), Some(2))
    );
    let fault = first_fault(&report);
    assert!(fault.ends_with("and its `width` is set"), "{fault}");
    assert_eq!(bench.verify(&["--repair"]).0, Some(0));
    assert_eq!(bench.rows(), rows);
}

#[test]
fn a_row_group_of_too_many_documents_is_a_fault_and_is_divided() {
    const ROWS: usize = GROUP_ROWS + 1;
    let bench = Bench::new();
    let tokenizer = Tokenizer::clip();
    let rows: Vec<_> = (24..24 + ROWS).map(|d| row_of(&tokenizer, d)).collect();
    let mut shard = ShardFile::new(bench.0.path()).expect("writable");
    shard.write(&rows).expect("writable");
    let old = bench.commits().remove(1);
    let unit = Unit {
        first: 24,
        ..old.unit.clone()
    };
    let commit = Commit {
        shards: vec![shard.finish(&unit.name(), 0).expect("writable")],
        unit,
        records: ROWS as u64,
        documents: BTreeMap::from([(DocumentOutcome::Written, ROWS as u64)]),
        images: BTreeMap::from([
            (Outcome::Stored, 2 * ROWS as u64),
            (Outcome::Http(404), ROWS as u64),
        ]),
        ..old
    };
    let (dataset, _) = Dataset::existing(bench.0.path()).expect("a dataset");
    assert!(dataset.commit(&commit).expect("writable"));
    dataset.write_manifest().expect("shards are there");
    drop(dataset);
    let rows = bench.rows();
    let (code, report) = bench.verify(&[]);
    assert_eq!(code, Some(1), "{report}");
    let fault = first_fault(&report);
    assert_eq!(fault, "it has a row group of 257 documents, of 256 at most");
    let (code, report) = bench.verify(&["--repair"]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(bench.commits()[2].shards[0].row_groups.len(), 2);
    assert_eq!(bench.rows(), rows);
}

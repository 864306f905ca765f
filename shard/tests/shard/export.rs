//! What `lcl-shard export` writes, read again without it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use lcl_schemas::document::Place;
use lcl_schemas::row::Row;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::fixture::{Part, row_of, write_rows};

const FORMS: [&str; 3] = ["webdataset", "mds", "obelics"];

/// Documents of every kind: matched and unmatched images, missing ones, images alone, text alone, an empty text, nothing.
fn rows() -> Vec<Row> {
    use Part::{Image, Missing, Text};
    let kinds = [
        vec![Text(3), Image(Some(2)), Text(4), Missing, Image(None)],
        vec![Missing, Missing, Text(2)],
        vec![Text(5)],
        vec![Image(None)],
        vec![Text(0), Image(None), Text(1)],
        vec![],
    ];
    let kinds = (0..30).map(|d| row_of(d, &kinds[d % kinds.len()]));
    kinds.collect()
}

struct Fixture {
    folder: TempDir,
    rows: Vec<Row>,
}

impl Fixture {
    fn new(rows: Vec<Row>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let dataset = folder.path().join("dataset");
        fs::create_dir(&dataset).expect("writable");
        write_rows(&dataset, &rows, 4);
        Self { folder, rows }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_export(&self, to: &str, out: &Path, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
            .arg("export")
            .arg(self.path("dataset"))
            .args(["--to", to, "--out"])
            .arg(out)
            .args(more)
            .output()
            .expect("the binary starts")
    }

    /// Exports to the folder `out`; the counts.
    fn export(&self, to: &str, out: &str, more: &[&str]) -> Value {
        let more = [more, &["--json"]].concat();
        let output = self.try_export(to, &self.path(out), &more);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Names of what lies beside the dataset.
    fn beside(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("readable");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("readable");
        entry.file_name().into_string().expect("plain")
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

fn ending(folder: &Path, with: &str) -> Vec<PathBuf> {
    let names = names(folder)
        .into_iter()
        .filter(|name| name.ends_with(with));
    names.map(|name| folder.join(name)).collect()
}

/// A document as any form has it: id, texts, stored pictures by place, outcomes by place, ids.
#[derive(Debug, PartialEq)]
struct Told {
    id: String,
    texts: Value,
    pictures: BTreeMap<usize, Vec<u8>>,
    outcomes: BTreeMap<usize, String>,
    tokens: Value,
    spans: Value,
}

fn told(row: &Row) -> Told {
    let places = || row.document.places.iter().enumerate();
    let text = |place: &Place| match place {
        Place::Text(text) => json!(text),
        Place::Image(_) => Value::Null,
    };
    let images = || {
        places().filter_map(|(at, place)| match place {
            Place::Text(_) => None,
            Place::Image(image) => Some((at, image)),
        })
    };
    let stored = images().filter_map(|(at, image)| Some((at, image.stored.as_ref()?)));
    Told {
        id: row.document.id.clone(),
        texts: places().map(|(_, place)| text(place)).collect(),
        pictures: stored
            .map(|(at, stored)| (at, stored.bytes.clone()))
            .collect(),
        outcomes: images()
            .map(|(at, image)| (at, image.outcome.to_string()))
            .collect(),
        tokens: json!(row.layout.tokens()),
        spans: json!(row.layout.spans()),
    }
}

/// A document from its JSON; `picture` finds an image's bytes.
fn told_by(json: &Value, picture: impl Fn(&Value) -> Option<Vec<u8>>) -> Told {
    let images = json["images"].as_array().expect("a list");
    assert_eq!(
        images.len(),
        json["texts"].as_array().expect("a list").len()
    );
    let images: Vec<_> = (0..)
        .zip(images)
        .filter(|(_, image)| !image.is_null())
        .collect();
    Told {
        id: json["id"].as_str().expect("an id").to_owned(),
        texts: json["texts"].clone(),
        pictures: images
            .iter()
            .filter_map(|(at, image)| Some((*at, picture(image)?)))
            .collect(),
        outcomes: images
            .iter()
            .map(|(at, image)| (*at, image["outcome"].as_str().expect("a name").to_owned()))
            .collect(),
        tokens: json["tokens"].clone(),
        spans: json["spans"].clone(),
    }
}

/// Every entry of all tars, in order.
fn entries(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut entries = Vec::new();
    for path in ending(folder, ".tar") {
        let mut tar = tar::Archive::new(fs::File::open(path).expect("there"));
        for entry in tar.entries().expect("a tar") {
            let mut entry = entry.expect("whole");
            let header = entry.header();
            assert_eq!(header.mtime().expect("a number"), 0);
            assert!(header.as_ustar().is_some());
            let name = entry
                .path()
                .expect("a name")
                .to_str()
                .expect("plain")
                .to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("whole");
            entries.push((name, bytes));
        }
    }
    entries
}

fn of_tars(folder: &Path) -> Vec<Told> {
    let entries = entries(folder);
    let files: BTreeMap<_, _> = entries.iter().cloned().collect();
    assert_eq!(files.len(), entries.len(), "names are unique");
    let documents = entries.iter().filter(|(name, _)| name.ends_with(".json"));
    let documents: Vec<_> = documents
        .map(|(name, json)| {
            let key = name.strip_suffix(".json").expect("filtered");
            let json: Value = serde_json::from_slice(json).expect("JSON");
            told_by(&json, |image| {
                let file = image["file"].as_str()?;
                Some(files[&format!("{key}.{file}")].clone())
            })
        })
        .collect();
    let pictures: usize = documents.iter().map(|told| told.pictures.len()).sum();
    assert_eq!(
        files.len(),
        documents.len() + pictures,
        "nothing else is there"
    );
    documents
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// By the layout that MosaicML Streaming documents, with the columns that the index names.
fn of_mds(folder: &Path) -> Vec<Told> {
    let index = fs::read(folder.join("index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    assert_eq!(index["version"], 2);
    let mut documents = Vec::new();
    for shard in index["shards"].as_array().expect("a list") {
        assert_eq!(shard["zip_data"], Value::Null);
        let raw = &shard["raw_data"];
        let bytes =
            fs::read(folder.join(raw["basename"].as_str().expect("a name"))).expect("there");
        assert_eq!(raw["bytes"], bytes.len());
        assert_eq!(
            raw["hashes"]["sha256"],
            format!("{:x}", Sha256::digest(&bytes))
        );
        let samples = u32_at(&bytes, 0);
        assert_eq!(shard["samples"], samples);
        let offsets: Vec<_> = (0..=samples).map(|n| u32_at(&bytes, 4 + 4 * n)).collect();
        assert_eq!(offsets[samples], bytes.len());
        let settings: Value =
            serde_json::from_slice(&bytes[4 * (samples + 2)..offsets[0]]).expect("JSON");
        assert_eq!(settings["column_names"], shard["column_names"]);
        documents.extend(
            offsets
                .windows(2)
                .map(|ends| sample(shard, &bytes[ends[0]..ends[1]])),
        );
    }
    documents
}

fn sample(shard: &Value, bytes: &[u8]) -> Told {
    let names = shard["column_names"].as_array().expect("a list");
    let mut at = 4 * names.len();
    let mut json = json!({});
    let mut pictures = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let column = &bytes[at..at + u32_at(bytes, 4 * n)];
        at += column.len();
        let name = name.as_str().expect("a name");
        json[name] = match shard["column_encodings"][n].as_str().expect("a name") {
            "str" => json!(std::str::from_utf8(column).expect("text")),
            "json" => serde_json::from_slice(column).expect("JSON"),
            "bytes" => {
                pictures = column.to_vec();
                continue;
            }
            "ndarray:uint32" => {
                assert_eq!(column[0], 6, "one dimension, its length in four bytes");
                let numbers: Vec<_> = column[5..].chunks(4).map(|n| u32_at(n, 0)).collect();
                assert_eq!(numbers.len(), u32_at(column, 1));
                json!(numbers)
            }
            other => panic!("{other} is not written"),
        };
    }
    assert_eq!(at, bytes.len());
    told_by(&json, |image| {
        let (at, size) = (
            image["at"].as_u64()? as usize,
            image["size"].as_u64()? as usize,
        );
        Some(pictures[at..at + size].to_vec())
    })
}

fn batches(folder: &Path) -> Vec<RecordBatch> {
    let files = ending(folder, ".parquet").into_iter();
    let batches = files.flat_map(|path| {
        let file = fs::File::open(path).expect("there");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        reader.build().expect("Parquet")
    });
    batches.map(|batch| batch.expect("readable")).collect()
}

fn of_obelics(folder: &Path) -> Vec<Told> {
    let mut documents = Vec::new();
    for batch in batches(folder) {
        let string = |name: &str, row: usize| {
            let column = batch.column_by_name(name).expect("a column");
            column.as_string::<i32>().value(row).to_owned()
        };
        let list = |name: &str, row: usize| {
            let column = batch.column_by_name(name).expect("a column");
            column.as_list::<i32>().value(row)
        };
        let strings = |name: &str, row: usize| -> Vec<Option<String>> {
            let list = list(name, row);
            let values = list.as_string::<i32>().iter();
            values.map(|value| value.map(str::to_owned)).collect()
        };
        let numbers = |name: &str, row: usize| {
            json!(
                list(name, row)
                    .as_primitive::<UInt32Type>()
                    .values()
                    .to_vec()
            )
        };
        for row in 0..batch.num_rows() {
            let metadata: Value = serde_json::from_str(&string("metadata", row)).expect("JSON");
            let general: Value =
                serde_json::from_str(&string("general_metadata", row)).expect("JSON");
            assert_eq!(general["id"], string("id", row));
            let (texts, urls) = (strings("texts", row), strings("images", row));
            let metadata = metadata.as_array().expect("a list");
            let pixels = list("image_bytes", row);
            let pixels = pixels.as_binary::<i64>();
            for (place, text) in texts.iter().enumerate() {
                assert_ne!(
                    text.is_some(),
                    urls[place].is_some(),
                    "exactly one of the two"
                );
                assert_eq!(urls[place].is_some(), !metadata[place].is_null());
            }
            let images = || (0..).zip(metadata).filter(|(_, image)| !image.is_null());
            documents.push(Told {
                id: string("id", row),
                texts: json!(texts),
                pictures: images()
                    .filter(|(at, _)| pixels.is_valid(*at))
                    .map(|(at, _)| (at, pixels.value(at).to_vec()))
                    .collect(),
                outcomes: images()
                    .map(|(at, image)| (at, image["outcome"].as_str().expect("a name").to_owned()))
                    .collect(),
                tokens: numbers("tokens", row),
                spans: numbers("spans", row),
            });
        }
    }
    documents
}

fn read(to: &str, folder: &Path) -> Vec<Told> {
    match to {
        "webdataset" => of_tars(folder),
        "mds" => of_mds(folder),
        _ => of_obelics(folder),
    }
}

#[test]
fn every_form_holds_every_document_with_its_texts_pictures_outcomes_and_ids() {
    let fixture = Fixture::new(rows());
    let expected: Vec<_> = fixture.rows.iter().map(told).collect();
    let hopeless = &expected[1];
    assert!(hopeless.pictures.is_empty() && hopeless.outcomes.len() == 2);
    for to in FORMS {
        let counts = fixture.export(to, to, &[]);
        assert_eq!(read(to, &fixture.path(to)), expected, "{to}");
        let images: usize = expected.iter().map(|told| told.outcomes.len()).sum();
        let pictures: usize = expected.iter().map(|told| told.pictures.len()).sum();
        assert_eq!(counts["documents"], expected.len());
        assert_eq!(counts["documents_left_out"], 0);
        assert_eq!(counts["images_by_outcome"]["stored"], pictures);
        assert_eq!(counts["images_by_outcome"]["http_404"], images - pictures);
    }
}

#[test]
fn the_record_names_every_file_by_size_and_hash_and_repeats_the_counts() {
    let fixture = Fixture::new(rows());
    for to in FORMS {
        let counts = fixture.export(to, to, &["--shard-size", "20KB"]);
        let record = fs::read(fixture.path(to).join("_export.json")).expect("a record");
        assert_eq!(
            serde_json::from_slice::<Value>(&record).expect("JSON"),
            counts
        );
        let files = counts["files"].as_array().expect("a list");
        assert!(files.len() > 1, "{to} has several files");
        let mut documents = 0;
        for file in files {
            let path = fixture
                .path(to)
                .join(file["file"].as_str().expect("a name"));
            let bytes = fs::read(path).expect("there");
            assert_eq!(file["bytes"], bytes.len());
            assert_eq!(file["sha256"], format!("{:x}", Sha256::digest(&bytes)));
            documents += file["documents"].as_u64().expect("a number");
        }
        assert_eq!(counts["documents"], documents);
    }
}

#[test]
fn a_file_ends_before_its_size_and_never_within_a_document() {
    let fixture = Fixture::new(rows());
    let expected: Vec<_> = fixture.rows.iter().map(told).collect();
    for to in ["webdataset", "mds"] {
        let counts = fixture.export(to, to, &["--shard-size", "20KB"]);
        for file in counts["files"].as_array().expect("a list") {
            assert!(file["bytes"].as_u64() <= Some(20_000), "{to}: {file}");
        }
        assert_eq!(read(to, &fixture.path(to)), expected);
        // Smaller than any document: one each.
        let alone = format!("{to}-alone");
        let counts = fixture.export(to, &alone, &["--shard-size", "1B"]);
        let files = counts["files"].as_array().expect("a list");
        assert!(files.iter().all(|file| file["documents"] == 1) && files.len() == expected.len());
        assert_eq!(read(to, &fixture.path(&alone)), expected);
    }
}

#[test]
fn the_same_dataset_exports_to_the_same_bytes() {
    let fixture = Fixture::new(rows());
    for to in FORMS {
        let twice = ["first", "second"].map(|name| {
            let out = format!("{to}-{name}");
            fixture.export(to, &out, &["--shard-size", "30KB"]);
            let folder = fixture.path(&out);
            let read = |name: &String| fs::read(folder.join(name)).expect("there");
            let names = names(&folder);
            let contents: Vec<_> = names.iter().map(read).collect();
            (names, contents)
        });
        assert!(twice[0] == twice[1], "{to}");
    }
}

#[test]
fn an_id_with_slashes_and_dots_names_no_file() {
    let mut rows = rows();
    rows[0].document.id = "../../outside".into();
    rows[3].document.id = "/etc/a.b.c".into();
    let fixture = Fixture::new(rows);
    fixture.export("webdataset", "tars", &[]);
    let told = of_tars(&fixture.path("tars"));
    assert_eq!(
        (told[0].id.as_str(), told[3].id.as_str()),
        ("../../outside", "/etc/a.b.c")
    );
    for (name, _) in entries(&fixture.path("tars")) {
        let (key, file) = name.split_once('.').expect("a key and a file");
        assert!(
            key.len() == 9 && key.bytes().all(|b| b.is_ascii_digit()),
            "{name}"
        );
        let (place, ending) = file.split_once('.').unwrap_or(("0", file));
        assert!(
            place.parse::<usize>().is_ok() && ["json", "png"].contains(&ending),
            "{name}"
        );
    }
}

#[test]
fn a_format_that_is_a_path_names_no_file() {
    let mut rows = rows();
    for place in &mut rows[0].document.places {
        if let Place::Image(image) = place
            && let Some(stored) = &mut image.stored
        {
            stored.format = "../x/y.z".into();
        }
    }
    let fixture = Fixture::new(rows);
    fixture.export("webdataset", "tars", &[]);
    let entries = entries(&fixture.path("tars"));
    assert_eq!(entries[1].0, "000000000.1.bin");
}

#[test]
fn what_a_filter_or_a_part_leaves_out_is_counted() {
    let fixture = Fixture::new(rows());
    let few = fixture.export("mds", "few", &["--filter", "n_images >= 2"]);
    let all = fixture.rows.iter().map(told);
    let expected: Vec<_> = all.filter(|told| told.pictures.len() >= 2).collect();
    assert_eq!(of_mds(&fixture.path("few")), expected);
    assert_eq!(few["documents"], expected.len());
    assert_eq!(few["documents_left_out"], 30 - expected.len());
    let mut ids: Vec<String> = Vec::new();
    for part in ["train", "held-out"] {
        let counts = fixture.export("obelics", part, &["--part", part, "--holdout", "0.4"]);
        let told = of_obelics(&fixture.path(part));
        assert!(
            !told.is_empty() && told.len() < 30,
            "{part} has {}",
            told.len()
        );
        assert_eq!(counts["documents_left_out"], 30 - told.len());
        ids.extend(told.into_iter().map(|told| told.id));
    }
    ids.sort();
    let all: Vec<_> = fixture
        .rows
        .iter()
        .map(|row| row.document.id.clone())
        .collect();
    assert_eq!(ids, all);
}

#[test]
fn an_export_of_nothing_is_an_empty_one_of_its_form() {
    let fixture = Fixture::new(rows());
    for to in FORMS {
        let counts = fixture.export(to, to, &["--filter", "n_images > 99"]);
        assert_eq!(
            (&counts["documents"], &counts["files"]),
            (&json!(0), &json!([]))
        );
        assert!(read_if_any(to, &fixture.path(to)).is_empty());
    }
}

fn read_if_any(to: &str, folder: &Path) -> Vec<Told> {
    assert!(folder.join("_export.json").exists());
    read(to, folder)
}

#[test]
fn a_folder_with_something_in_it_is_refused_and_left_alone() {
    let fixture = Fixture::new(rows());
    let out = fixture.path("out");
    fs::create_dir(&out).expect("writable");
    fs::write(out.join("mine"), "kept").expect("writable");
    let output = fixture.try_export("mds", &out, &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("not an empty folder: choose another --out"),
        "{error}"
    );
    assert_eq!(names(&out), ["mine"]);
    assert_eq!(fixture.beside(), ["dataset", "out"]);
    // An empty one is taken.
    fs::remove_file(out.join("mine")).expect("there");
    fixture.export("mds", "out", &[]);
}

#[test]
fn mistakes_leave_with_2_and_no_folder() {
    let fixture = Fixture::new(rows());
    for (more, says) in [
        (["--filter", "n_images >"], "filter"),
        (["--filter", "speed = 1"], "speed"),
        (["--shard-size", "5GiB"], "less than 4 GiB"),
        (["--shard-size", "5 apples"], "a size is"),
        (["--holdout", "1.5"], "a share is 0 to 1"),
        (["--part", "half"], "held-out"),
    ] {
        let output = fixture.try_export("mds", &fixture.path("out"), &more);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {error}");
        assert!(error.contains(says), "{error}");
        assert_eq!(fixture.beside(), ["dataset"]);
    }
}

#[test]
fn a_damaged_shard_is_named_and_leaves_no_export() {
    let fixture = Fixture::new(rows());
    let path = fixture.path("dataset").join("part-1.parquet");
    let mut bytes = fs::read(&path).expect("written");
    // Inside of a picture, behind what its decoder reads: only the hash knows.
    let padding = bytes
        .windows(64)
        .position(|w| w == [9; 64])
        .expect("document 9's");
    bytes[padding] = 7;
    fs::write(&path, bytes).expect("writable");
    for to in FORMS {
        let output = fixture.try_export(to, &fixture.path("out"), &[]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("part-1.parquet"), "{error}");
        assert_eq!(fixture.beside(), ["dataset"]);
    }
}

#[test]
fn what_a_killed_export_left_is_removed_by_the_next() {
    let fixture = Fixture::new(rows());
    let left = fixture.path(".out.lcl-scratch");
    fs::create_dir(&left).expect("writable");
    fs::write(left.join("docs-00000.tar"), "half").expect("writable");
    fixture.export("webdataset", "out", &[]);
    assert_eq!(fixture.beside(), ["dataset", "out"]);
    assert_eq!(of_tars(&fixture.path("out")).len(), 30);
}

#[test]
fn two_exports_to_one_folder_do_not_meet() {
    let fixture = Fixture::new(rows());
    let scratch = fixture.path(".out.lcl-scratch");
    fs::create_dir(&scratch).expect("writable");
    let other = fs::File::open(&scratch).expect("there");
    other.lock().expect("nobody has it");
    let output = fixture.try_export("mds", &fixture.path("out"), &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("another export"), "{error}");
    assert!(scratch.exists());
}

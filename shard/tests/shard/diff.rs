//! `lcl-shard diff`: two datasets that differ in known ways.

use std::process::Command;

use lcl_schemas::dataset::HEADER_FILE;
use lcl_schemas::document::{Image, Place};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::Row;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{Part, rows, usual, write_rows};
use crate::stats::spoil_pixels;

/// Exit status, lines of the answer, what went to stderr.
fn lcl_shard(a: &TempDir, b: &TempDir, more: &[&str]) -> (i32, Vec<String>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
        .arg("diff")
        .args([a.path(), b.path()])
        .args(more)
        .output()
        .expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    let out = text(output.stdout).lines().map(str::to_owned).collect();
    (code, out, text(output.stderr))
}

fn dataset(rows: &[Row], group: usize) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    write_rows(folder.path(), rows, group);
    folder
}

/// Entries and, last, the counts.
fn found(a: &[Row], b: &[Row]) -> (i32, Vec<Value>) {
    // Where rows lie does not matter.
    let (code, out, error) = lcl_shard(&dataset(a, 8), &dataset(b, 5), &["--list", "--json"]);
    assert_eq!(error, "");
    let entries = out
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    (code, entries.collect())
}

fn image(row: &mut Row, number: usize) -> &mut Image {
    let places = row.document.places.iter_mut();
    let mut images = places.filter_map(|place| match place {
        Place::Image(image) => Some(image),
        Place::Text(_) => None,
    });
    images.nth(number).expect("an image")
}

#[test]
fn a_dataset_does_not_differ_from_itself_in_another_order() {
    let rows = rows(&usual(30));
    let mut turned = rows.clone();
    turned.reverse();
    let (code, found) = found(&rows, &turned);
    assert_eq!((code, found.len()), (0, 1));
    assert_eq!(found[0]["same"], true);
    assert_eq!(found[0]["documents_same"], 30);
}

#[test]
fn two_datasets_that_differ_in_one_outcome_differ_in_one_line() {
    let mut documents = usual(30);
    let a = rows(&documents);
    documents[17][4] = Part::Missing;
    let b = rows(&documents);
    let (code, out, _) = lcl_shard(&dataset(&a, 8), &dataset(&b, 8), &["--list"]);
    assert_eq!(code, 1);
    let listed: Vec<_> = out.iter().take_while(|line| !line.is_empty()).collect();
    assert_eq!(listed, ["~ document-0017  1 image stored → http_404"]);
    assert!(
        out.iter()
            .any(|line| line.starts_with("  stored → http_404") && line.ends_with(" 1")),
        "{out:#?}"
    );
    let (code, found) = found(&a, &b);
    assert_eq!((code, found.len()), (1, 2));
    assert_eq!(
        found[1]["outcomes"],
        json!([{"from": "stored", "to": "http_404", "images": 1}])
    );
    assert_eq!(found[1]["changed"], json!({"outcomes": 1}));
    assert_eq!(
        found[1]["images_by_outcome"]["stored"],
        json!({"a": 60, "b": 59})
    );
}

#[test]
fn each_part_that_differs_is_named() {
    let a = rows(&usual(12));
    let mut b = a.clone();
    b[0].document.language = Some("de".into());
    b[1].document.url = Some("http://example.org/".into());
    b[2].document.places[0] = Place::Text("another".into());
    b[3].document.source = "other".into();
    if let Some(stored) = &mut image(&mut b[4], 0).stored {
        stored.sha256 = "f".repeat(64);
    }
    if let Some(stored) = &mut image(&mut b[5], 0).stored {
        stored.width = 9;
    }
    image(&mut b[6], 0).similarity = Some(0.5);
    image(&mut b[7], 2).url = Some("http://example.org/other.png".into());
    // A text before an image that could not be had, and behind it.
    let mut moved = usual(12);
    moved[8].swap(2, 3);
    b[8] = rows(&moved).swap_remove(8);
    let mut longer = usual(12);
    longer[9][0] = Part::Text(30);
    b[9].layout = rows(&longer)[9].layout.clone();
    image(&mut b[10], 1).outcome = Outcome::Dns;
    let (code, found) = found(&a, &b);
    assert_eq!(code, 1);
    let parts: Vec<_> = found
        .iter()
        .take(11)
        .map(|entry| entry["parts"].clone())
        .collect();
    let expected = json!([
        ["language"],
        ["url"],
        ["texts"],
        ["source"],
        ["pixels"],
        ["form"],
        ["about"],
        ["images"],
        ["order"],
        ["tokens"],
        ["outcomes"]
    ]);
    assert_eq!(Value::from(parts), expected);
    assert_eq!(
        (&found[7]["images_added"], &found[7]["images_lost"]),
        (&1.into(), &1.into())
    );
    let counts = &found[11];
    assert_eq!(
        (&counts["documents_same"], &counts["documents_changed"]),
        (&1.into(), &11.into())
    );
    assert_eq!(
        (&counts["other_pixels"], &counts["images_lost"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn documents_of_one_dataset_alone_are_listed_with_their_ids() {
    let all = rows(&usual(20));
    let (a, b) = (&all[..15], &all[4..]);
    let (code, out, _) = lcl_shard(&dataset(a, 8), &dataset(b, 8), &["--list"]);
    assert_eq!(code, 1);
    let listed: Vec<_> = out.iter().take_while(|line| !line.is_empty()).collect();
    let expected = (0..4).map(|d| format!("- document-{d:04}"));
    let expected: Vec<_> = expected
        .chain((15..20).map(|d| format!("+ document-{d:04}")))
        .collect();
    assert_eq!(listed, expected.iter().collect::<Vec<_>>());
}

proptest! {
    // Each case starts a process.
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn ids_that_repeat_are_matched_as_often_as_both_have_them(a in prop::collection::vec((0..3usize, 0..3usize), 0..12), b in prop::collection::vec((0..3usize, 0..3usize), 0..12)) {
        let kinds = rows(&usual(3));
        let made = |documents: &[(usize, usize)]| -> Vec<Row> {
            let row = |&(id, kind): &(usize, usize)| {
                let mut row = kinds[kind].clone();
                row.document.id = format!("id {id}");
                row
            };
            documents.iter().map(row).collect()
        };
        let (_, found) = found(&made(&a), &made(&b));
        let counts = &found[found.len() - 1];
        let (mut same, mut both) = (0, 0);
        for id in 0..3 {
            let of = |documents: &[(usize, usize)], kind: Option<usize>| documents.iter().filter(|d| d.0 == id && kind.is_none_or(|kind| d.1 == kind)).count();
            both += of(&a, None).min(of(&b, None));
            same += (0..3).map(|kind| of(&a, Some(kind)).min(of(&b, Some(kind)))).sum::<usize>();
        }
        prop_assert_eq!(&counts["documents_same"], same);
        prop_assert_eq!(&counts["documents_changed"], both - same);
        prop_assert_eq!(&counts["documents_lost"], a.len() - both);
        prop_assert_eq!(&counts["documents_added"], b.len() - both);
        prop_assert_eq!(found.len() - 1, a.len() + b.len() - both - same);
        let different = |documents: &[(usize, usize)]| (0..3).filter(|id| documents.iter().any(|d| d.0 == *id)).count();
        prop_assert_eq!(&counts["repeated_ids"]["a"], a.len() - different(&a));
    }
}

#[test]
fn other_tokenizers_and_sizes_are_said_before_documents() {
    let rows = rows(&usual(3));
    let (a, b) = (dataset(&rows, 8), dataset(&rows, 8));
    let header = b.path().join(HEADER_FILE);
    let json = std::fs::read_to_string(&header).expect("written");
    let other = json
        .replace("\"numbers\"", "\"\\u001b[2Jletters\"")
        .replace("\"image_size\": 8", "\"image_size\": 16");
    std::fs::write(&header, other).expect("writable");
    let (code, out, _) = lcl_shard(&a, &b, &[]);
    assert_eq!(code, 1);
    assert!(
        out[0].starts_with("another tokenizer: numbers") && out[0].contains("\\u{1b}[2Jletters"),
        "{out:#?}"
    );
    assert_eq!(out[1], "another image size: 8 px in A, 16 px in B");
}

#[test]
fn datasets_are_compared_without_their_pixels() {
    let rows = rows(&usual(30));
    let (a, b) = (dataset(&rows, 8), dataset(&rows, 8));
    assert!(spoil_pixels(b.path()) > 60 * 4096);
    let (code, out, error) = lcl_shard(&a, &b, &[]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(out.last().map(String::as_str), Some("no difference"));
}

#[test]
fn trouble_leaves_with_2() {
    let rows = rows(&usual(30));
    let (a, b) = (dataset(&rows, 8), dataset(&rows, 8));
    let path = b.path().join("part-1.parquet");
    let mut damaged = std::fs::read(&path).expect("written");
    // The first column behind the file's magic is a row group's ids.
    damaged[4..60].fill(0xFF);
    std::fs::write(&path, &damaged).expect("writable");
    let (code, _, error) = lcl_shard(&a, &b, &[]);
    assert_eq!(code, 2);
    assert!(
        error.starts_with("error: ") && error.contains("part-1.parquet"),
        "{error}"
    );
    let none = TempDir::new().expect("a temporary folder");
    assert_eq!(lcl_shard(&a, &none, &[]).0, 2);
    assert_eq!(lcl_shard(&a, &b, &["--unheard-of"]).0, 2);
}

//! `lcl-shard stats`: what it counts, what it reads, and that strangers' text stays text.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use lcl_schemas::document::{Image, Place};
use lcl_schemas::row::{IMAGE_BYTES_PATH, Row};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{Part, rows, usual, write, write_rows};

fn lcl_shard(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
        .args(arguments)
        .output()
        .expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

fn json(folder: &Path, more: &[&str]) -> Value {
    let path = folder.to_str().expect("a plain path");
    let (code, out, error) = lcl_shard(&[&["stats", path, "--json"], more].concat());
    assert_eq!(code, 0, "{error}");
    serde_json::from_str(&out).expect("JSON")
}

fn terminal(folder: &Path) -> String {
    let (code, out, error) = lcl_shard(&["stats", folder.to_str().expect("a plain path")]);
    assert_eq!(code, 0, "{error}");
    out
}

fn page(folder: &Path) -> String {
    let file = folder.join("report.html");
    let arguments = ["stats", folder.to_str().expect("a plain path"), "--html"];
    let file_name = file.to_str().expect("a plain path");
    let (code, _, error) = lcl_shard(&[&arguments[..], &[file_name]].concat());
    assert_eq!(code, 0, "{error}");
    std::fs::read_to_string(file).expect("written")
}

fn written(change: impl FnOnce(&mut Vec<Row>)) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let mut rows = rows(&usual(40));
    change(&mut rows);
    write_rows(folder.path(), &rows, 8);
    folder
}

fn images(row: &mut Row) -> impl Iterator<Item = &mut Image> {
    let places = row.document.places.iter_mut();
    places.filter_map(|place| match place {
        Place::Image(image) => Some(image),
        Place::Text(_) => None,
    })
}

#[test]
fn statistics_count_what_was_written() {
    let folder = written(|rows| {
        for (d, row) in rows.iter_mut().enumerate() {
            row.document.language = [Some("en".into()), None][d % 2].clone();
            let mut of_row = images(row);
            let first = of_row.next().expect("three images");
            first.similarity = Some(0.25 + d as f32 / 1000.0);
            first.alt = Some("four".into());
            let stored = first.stored.as_mut().expect("stored");
            (stored.original_width, stored.original_height) = (800, 600);
        }
    });
    let found = json(folder.path(), &["--context", "64", "--slots", "4"]);
    assert_eq!(found["documents"], 40);
    assert_eq!(found["images_by_class"]["stored"], 80);
    assert_eq!(found["images_by_class"]["fetch"], 40);
    assert_eq!(
        found["images_per_document"]["bins"],
        serde_json::json!([{"from": 2, "to": 2, "count": 40}])
    );
    assert_eq!(found["texts_per_document"]["max"], 3);
    // BOS, EOS, two images, and texts of 3 + d % 5, 4 + d % 3 and 2 + d % 4 ids.
    let tokens = (0..40).map(|d| 6 + 9 + d % 5 + d % 3 + d % 4);
    assert_eq!(
        found["tokens_per_document"]["mean"],
        tokens.sum::<u64>() as f64 / 40.0
    );
    assert_eq!(found["tokens_per_document"]["count"], 40);
    assert_eq!(found["original_short_side"]["bins"][0]["from"], 8);
    assert_eq!(found["original_short_side"]["max"], 600);
    assert_eq!(found["short_side"]["max"], 8);
    assert_eq!(found["characters_per_alt"]["max"], 4);
    assert_eq!(found["similarity"]["min"], 0.25);
    assert_eq!(found["similarity"]["count"], 40);
    let languages = &found["languages"]["top"];
    assert_eq!(
        (&languages[0]["name"], &languages[0]["count"]),
        (&Value::Null, &20.into())
    );
    assert_eq!(
        (&languages[1]["name"], &languages[1]["stored"]),
        (&"en".into(), &40.into())
    );
    let hosts = &found["image_hosts"]["top"][0];
    assert_eq!(
        (&hosts["name"], &hosts["count"], &hosts["stored"]),
        (&"example.org".into(), &120.into(), &80.into())
    );
    let packing = &found["packing"];
    assert_eq!(
        (&packing["context"], &packing["slots"]),
        (&64.into(), &4.into())
    );
    assert_eq!(
        packing["ids"],
        (0..40)
            .map(|d| 6 + 9 + 8 + d % 5 + d % 3 + d % 4)
            .sum::<u64>()
    );
    let fill = packing["fill"].as_f64().expect("a share");
    assert!(fill > packing["fill_without_packing"].as_f64().expect("a share") && fill <= 1.0);
}

#[test]
fn images_that_repeat_or_look_alike_are_found_with_where_they_stand() {
    let folder = written(|rows| {
        let first = images(&mut rows[3])
            .next()
            .expect("an image")
            .stored
            .clone();
        for d in [20, 39] {
            images(&mut rows[d]).next().expect("an image").stored = first.clone();
        }
        for (d, row) in rows.iter_mut().enumerate() {
            for stored in images(row).filter_map(|image| image.stored.as_mut()) {
                // Far from one another.
                stored.phash = (d as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            }
        }
        // Two bits from one another.
        images(&mut rows[7]).for_each(|image| {
            if let Some(stored) = &mut image.stored {
                stored.phash = 8u64.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0b101;
            }
        });
    });
    let found = json(folder.path(), &["--near", "2"]);
    let same = &found["duplicates"];
    assert_eq!(
        (&same["images"], &same["different"], &same["superfluous"]),
        (&80.into(), &78.into(), &2.into())
    );
    let largest = &same["largest"][0];
    assert_eq!(largest["images"], 3);
    assert_eq!(
        (
            &largest["examples"][0]["id"],
            &largest["examples"][0]["place"]
        ),
        (&"document-0003".into(), &1.into())
    );
    let near = &found["near_duplicates"];
    // Both images of a document have its hash; 7 and 8 are four images, two bits apart.
    assert_eq!(near["pairs_by_bits"][2], 4);
    assert_eq!(near["largest"][0]["images"], 4);
    assert_eq!(near["largest"][0]["examples"][0]["id"], "document-0007");
    assert_eq!(
        json(folder.path(), &["--near", "1"])["near_duplicates"]["pairs_by_bits"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

/// Where pixels lie in a shard, and how many bytes.
fn pixels(shard: &Path) -> Vec<(u64, u64)> {
    let reader = SerializedFileReader::new(File::open(shard).expect("a shard")).expect("Parquet");
    let groups = reader.metadata().row_groups();
    let columns = groups.iter().flat_map(|group| group.columns());
    let columns = columns.filter(|column| column.column_path().string() == IMAGE_BYTES_PATH);
    columns.map(|column| column.byte_range()).collect()
}

/// Overwrites every pixel of a dataset; how many bytes they were.
pub(crate) fn spoil_pixels(folder: &Path) -> u64 {
    let mut spoilt = 0;
    for shard in std::fs::read_dir(folder).expect("a folder") {
        let shard = shard.expect("an entry").path();
        if shard
            .extension()
            .is_none_or(|extension| extension != "parquet")
        {
            continue;
        }
        for (start, length) in pixels(&shard) {
            let mut file = File::options().write(true).open(&shard).expect("a shard");
            file.seek(SeekFrom::Start(start)).expect("within");
            file.write_all(&vec![0xFF; length as usize])
                .expect("writable");
            spoilt += length;
        }
    }
    spoilt
}

#[test]
fn statistics_read_no_pixels() {
    let folder = written(|_| {});
    let before = json(folder.path(), &[]);
    let of_pixels = spoil_pixels(folder.path());
    let after = json(folder.path(), &[]);
    assert_eq!(
        before, after,
        "pixels are gone, and nothing that was asked for"
    );
    let read = after["bytes_read"].as_u64().expect("a count");
    assert!(
        of_pixels > 80 * 4096 && read < of_pixels / 3,
        "{read} of {of_pixels}"
    );
}

#[test]
fn whatever_spells_a_tag_is_text_in_the_report() {
    let tag = "<script>alert(1)</script><img src=x onerror=alert(1)>\" onload=\"";
    let folder = written(|rows| {
        for row in rows.iter_mut() {
            row.document.id = format!("{}{tag}", row.document.id);
            row.document.source = tag.into();
            row.document.language = Some(tag.into());
            row.document.url = Some(format!("weird://{tag}/"));
            for image in images(row) {
                image.alt = Some(tag.into());
                image.url = Some(format!("http://a/{tag}"));
                if let Some(stored) = &mut image.stored {
                    stored.format = tag.into();
                }
            }
        }
        // Duplicates name ids and URLs.
        let first = images(&mut rows[0])
            .next()
            .expect("an image")
            .stored
            .clone();
        images(&mut rows[1]).next().expect("an image").stored = first;
    });
    let text = page(folder.path());
    assert!(
        text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{text}"
    );
    for forbidden in ["<script", "<img", "\" onload"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
    assert!(
        text.contains("default-src 'none'") && !text.contains("href=") && !text.contains("src=\"")
    );
    assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
}

#[test]
fn text_of_strangers_does_nothing_to_a_terminal_and_lines_fit_it() {
    let hostile = "\x1b]0;owned\x07\x1b[2J\u{202e}日本語".repeat(20);
    let folder = written(|rows| {
        for row in rows.iter_mut() {
            row.document.id = format!("{}{hostile}", row.document.id);
            row.document.source = hostile.clone();
            row.document.language = Some(hostile.clone());
            images(row).for_each(|image| image.url = Some(format!("http://a/{hostile}")));
        }
        let first = images(&mut rows[0])
            .next()
            .expect("an image")
            .stored
            .clone();
        images(&mut rows[1]).next().expect("an image").stored = first;
    });
    let text = terminal(folder.path());
    assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text:?}");
    for line in text.lines() {
        // Of 80 columns, where some letters take two.
        let wide = line.chars().filter(|letter| *letter > '\u{2E80}').count();
        assert!(line.chars().count() + wide <= 80, "{line}");
    }
    assert!(
        text.contains('█') && text.contains("Near-duplicates"),
        "{text}"
    );
}

#[test]
fn an_empty_dataset_and_one_without_images_have_statistics_too() {
    for documents in [Vec::new(), vec![vec![Part::Text(3)]; 3]] {
        let folder = TempDir::new().expect("a temporary folder");
        write(folder.path(), &documents, 8);
        let found = json(folder.path(), &[]);
        assert_eq!(found["tokens_per_document"]["count"], documents.len());
        assert_eq!(found["near_duplicates"]["sets"], 0);
        assert_eq!(found["similarity"]["bins"], serde_json::json!([]));
        assert!(terminal(folder.path()).contains("Packed"));
        assert!(page(folder.path()).ends_with("</html>"));
    }
}

#[test]
fn counts_alone_need_no_shard_and_rows_name_one_that_is_missing() {
    let folder = written(|_| {});
    std::fs::remove_file(folder.path().join("part-1.parquet")).expect("a shard");
    let path = folder.path().to_str().expect("a plain path");
    let (code, out, _) = lcl_shard(&["stats", path, "--counts", "--json"]);
    assert_eq!(code, 0);
    assert_eq!(
        serde_json::from_str::<Value>(&out).expect("JSON")["documents"],
        40
    );
    let (code, out, error) = lcl_shard(&["stats", path]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("part-1.parquet"), "{error}");
}

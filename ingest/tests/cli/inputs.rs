//! Bad input is an outcome, an error that names the place, or a usage mistake; the rest goes on.

use std::fs::{self, File};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lcl_schemas::document::Place;
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{Bench, corpus, count, document, picture, stderr, succeeds};

const X: &str = "http://a.example/x.png";

fn zipped(bench: &Bench, name: &str, members: &[(&str, &str)]) {
    let mut zip = ZipWriter::new(File::create(bench.path(name)).expect("writable"));
    for (member, text) in members {
        zip.start_file(*member, SimpleFileOptions::default())
            .expect("memory");
        zip.write_all(text.as_bytes()).expect("memory");
    }
    zip.finish().expect("writable");
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).expect("memory");
    gzip.finish().expect("memory")
}

#[test]
fn every_line_is_counted_and_a_bad_one_is_named_by_file_and_line() {
    let bench = Bench::new();
    let good = corpus(&bench, 1, "http://a.example")[0].to_string();
    let lines = [
        good.as_str(),
        "{\"url\": 3",
        "",
        &good.replace("text_list", "texts"),
        &good.replace("\"http://a.example/0\"", "7"),
        &good.replace("_index\":1", "_index\":9"),
        &good.replace("0.3", "0.1"),
    ];
    bench.write("a.jsonl", lines.join("\n"));
    let output = bench.run(&["a.jsonl"], "out", &["--images-dir", "images"]);
    succeeds(&output);
    let commit = &bench.commits("out")[0];
    assert_eq!((commit.records, commit.last), (6, true));
    let counted: Vec<_> = commit
        .documents
        .iter()
        .map(|(outcome, count)| (outcome.name(), *count))
        .collect();
    let expected = [
        ("written", 1),
        ("too_few_images", 1),
        ("unreadable", 1),
        ("malformed", 3),
    ];
    assert_eq!(counted, expected);
    let faults: Vec<_> = commit
        .faults
        .iter()
        .map(|fault| (fault.record, fault.detail.as_str()))
        .collect();
    for ((record, detail), (expected, part)) in faults.iter().zip([
        (1, "a.jsonl line 2: not JSON"),
        (2, "a.jsonl line 4: missing field `text_list`"),
        (3, "a.jsonl line 5: invalid type"),
        (4, "a.jsonl line 6: image_info[1].matched_text_index is 9"),
    ]) {
        assert_eq!(*record, expected);
        assert!(detail.starts_with(part), "{detail}");
    }
    assert_eq!(
        (
            count(commit, &Outcome::Stored),
            count(commit, &Outcome::BelowSimilarity)
        ),
        (2, 2)
    );
    assert_eq!(commit.images_not_written, 2);
    assert!(stderr(&output).contains("a.jsonl line 2"));
}

#[test]
fn a_line_beyond_the_limit_is_too_long_and_the_next_is_read() {
    let bench = Bench::new();
    let good = corpus(&bench, 1, "http://a.example")[0].to_string();
    bench.write("a.jsonl", format!("{}\n{good}\n", "x".repeat(5000)));
    succeeds(&bench.run(
        &["a.jsonl"],
        "out",
        &[
            "--images-dir",
            "images",
            "--set",
            "flow.max_record_bytes=4096",
        ],
    ));
    let commit = &bench.commits("out")[0];
    assert_eq!(commit.documents[&DocumentOutcome::TooLong], 1);
    assert_eq!(commit.documents[&DocumentOutcome::Written], 1);
}

#[test]
fn an_image_that_cannot_be_had_keeps_its_place_and_its_reason() {
    let bench = Bench::new();
    bench.write("images/good.png", picture(1));
    bench.write("images/page.png", "<html>moved</html>");
    bench.write("images/half.png", &picture(2)[..300]);
    let names = ["gone.png", "page.png", "half.png", "../a.jsonl", "good.png"];
    let images: Vec<_> = names.iter().map(|name| (*name, X)).collect();
    bench.documents(
        "a.jsonl",
        &[document(0, &images), document(1, &images[..1])],
    );
    bench.local(&["a.jsonl"], "out");
    let expected = [
        "missing_file",
        "not_an_image",
        "corrupt",
        "bad_url",
        "stored",
        "missing_file",
    ];
    assert_eq!(bench.outcomes("out"), expected);
    let rows = bench.rows("out");
    assert_eq!(rows[0].document.places.len(), 10);
    assert_eq!(
        rows[0]
            .layout
            .spans()
            .iter()
            .step_by(2)
            .copied()
            .collect::<Vec<_>>(),
        [0, 0, 0, 0, 2]
    );
    for (at, place) in rows[0].document.places.iter().enumerate() {
        if let Place::Image(image) = place {
            assert_eq!(image.sentence, Some(at as u32 + 1));
        }
    }
    assert_eq!(
        rows[1].document.stored_images(),
        0,
        "kept for a later retry"
    );
}

#[test]
fn all_three_wrappings_of_the_same_lines_make_the_same_texts() {
    let bench = Bench::new();
    let lines: Vec<_> = corpus(&bench, 4, "http://a.example")
        .iter()
        .map(|d| d.to_string() + "\n")
        .collect();
    bench.write("a.jsonl", lines.concat());
    // Two members, as `cat a.gz b.gz` makes them.
    bench.write(
        "a.jsonl.gz",
        [gzipped(&lines[..2].concat()), gzipped(&lines[2..].concat())].concat(),
    );
    zipped(&bench, "a.jsonl.zip", &[("a.jsonl", &lines.concat())]);
    let places = |name: &str| {
        bench.local(&[name], &format!("out-{name}"));
        let rows = bench.rows(&format!("out-{name}"));
        rows.into_iter()
            .map(|row| row.document.places)
            .collect::<Vec<_>>()
    };
    let plain = places("a.jsonl");
    assert_eq!(plain.len(), 4);
    assert_eq!(places("a.jsonl.gz"), plain);
    assert_eq!(places("a.jsonl.zip"), plain);
}

#[test]
fn an_input_that_breaks_is_named_and_the_others_go_on() {
    let bench = Bench::new();
    let lines: Vec<_> = corpus(&bench, 10, "http://a.example")
        .iter()
        .map(|d| d.to_string() + "\n")
        .collect();
    zipped(
        &bench,
        "two.jsonl.zip",
        &[("a.jsonl", "{}"), ("b.jsonl", "{}")],
    );
    let whole = gzipped(&lines[..5].concat());
    bench.write("cut.jsonl.gz", &whole[..whole.len() - 20]);
    bench.write("good.jsonl", lines[5..].concat());
    fs::create_dir(bench.path("folder.jsonl")).expect("writable");
    let names = [
        "two.jsonl.zip",
        "gone.jsonl",
        "cut.jsonl.gz",
        "folder.jsonl",
        "good.jsonl",
    ];
    let run = || {
        let output = bench.run(&names, "out", &["--images-dir", "images"]);
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let errors = run();
    for error in [
        "two.jsonl.zip: a zip must hold exactly one file, this one holds 2: a.jsonl, b.jsonl",
        "gone.jsonl: cannot read it: No such file",
        "folder.jsonl: no .jsonl or ",
        "cut.jsonl.gz: line ",
    ] {
        assert!(errors.contains(error), "{error:?} in {errors}");
    }
    let commits = bench.commits("out");
    let of = |name: &str| {
        let found = commits.iter().find(|commit| commit.input_name == name);
        found.expect("committed")
    };
    assert_eq!((of("good.jsonl").records, of("good.jsonl").last), (5, true));
    let cut = of("cut.jsonl.gz");
    assert!((1..5).contains(&cut.records), "what came before the break");
    assert_eq!(cut.documents[&DocumentOutcome::Written], cut.records);
    assert!(!cut.last);
    // Nothing is done twice, and the break is told again.
    let before = bench.files("out");
    assert_eq!(run(), errors);
    assert_eq!(bench.files("out"), before);
    // Fetched again, whole: what was missing comes, and nothing twice.
    bench.write("cut.jsonl.gz", &whole);
    bench.local(&["cut.jsonl.gz", "good.jsonl"], "out");
    let rows = bench.rows("out");
    let urls: std::collections::BTreeSet<_> = rows.iter().map(|row| &row.document.url).collect();
    assert_eq!((rows.len(), urls.len()), (10, 10));
}

#[test]
fn without_an_input_that_can_be_read_no_dataset_is_begun() {
    let bench = Bench::new();
    let further = ["--contact=bot@example.org"];
    let output = bench.run(&["gone.jsonl", "images"], "out", &further);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.starts_with("error: gone.jsonl: "), "{error}");
    assert!(error.contains("1 more"), "{error}");
    assert!(!bench.path("out").exists());
}

#[test]
fn an_input_that_grew_gives_its_new_records_and_one_that_changed_is_told() {
    let bench = Bench::new();
    let documents = corpus(&bench, 5, "http://a.example");
    bench.documents("a.jsonl", &documents[..2]);
    bench.local(&["a.jsonl"], "out");
    let ids = |rows: Vec<lcl_schemas::row::Row>| -> Vec<_> {
        rows.into_iter().map(|row| row.document.id).collect()
    };
    let before = ids(bench.rows("out"));
    bench.documents("a.jsonl", &documents[..4]);
    // However it is called from here.
    bench.local(&["./a.jsonl"], "out");
    let after = ids(bench.rows("out"));
    assert_eq!((after.len(), &after[..2]), (4, &before[..]));
    bench.local(&["a.jsonl"], "out");
    assert_eq!(ids(bench.rows("out")), after);

    let files = bench.files("out");
    let mut changed = documents.clone();
    changed[1] = documents[4].clone();
    for documents in [&changed[..], &documents[..1]] {
        bench.documents("a.jsonl", documents);
        let output = bench.run(&["a.jsonl"], "out", &["--images-dir", "images"]);
        assert_eq!(output.status.code(), Some(1));
        let error = stderr(&output);
        assert!(error.contains("a.jsonl: records 0 to 1 differ"), "{error}");
        assert_eq!(bench.files("out"), files);
    }
}

#[test]
fn the_same_contents_under_two_names_are_read_once_and_told() {
    let bench = Bench::new();
    let documents = corpus(&bench, 3, "http://a.example");
    bench.documents("a.jsonl", &documents[..2]);
    bench.documents("b.jsonl", &documents[..2]);
    // The same size and ends, another middle.
    let long = |middle: &str| {
        let good = documents[2].to_string();
        format!(
            "{good}\n{}{middle}{}\n{good}\n",
            "x".repeat(200_000),
            "y".repeat(200_000)
        )
    };
    bench.write("c.jsonl", long("1"));
    bench.write("d.jsonl", long("2"));
    let names = ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"];
    let output = bench.run(&names, "out", &["--images-dir", "images"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    for line in [
        "read once: b.jsonl has the same contents as a.jsonl",
        "d.jsonl: it begins with the same record as c.jsonl",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(told.matches("read once").count(), 1, "{told}");
    assert_eq!(bench.rows("out").len(), 4);
}

#[test]
fn an_empty_file_is_a_unit_without_records_and_done() {
    let bench = Bench::new();
    bench.write("a.jsonl", "");
    bench.local(&["a.jsonl"], "out");
    let commit = &bench.commits("out")[0];
    assert_eq!(
        (commit.records, commit.last, commit.shards.len()),
        (0, true, 0)
    );
}

#[test]
fn a_renamed_input_is_not_ingested_again() {
    let bench = Bench::new();
    let documents = corpus(&bench, 2, "http://a.example");
    bench.documents("a.jsonl", &documents);
    bench.local(&["a.jsonl"], "out");
    let before = bench.files("out");
    fs::rename(bench.path("a.jsonl"), bench.path("b.jsonl")).expect("there");
    bench.local(&["b.jsonl"], "out");
    assert_eq!(bench.files("out"), before);
}

#[test]
fn usage_mistakes_exit_2_with_one_line() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 1, "http://a.example"));
    bench.local(&["a.jsonl"], "out");
    let words = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"[UNK]":0,"a":1},"unk_token":"[UNK]"}}"#;
    bench.write("words.json", words);
    for (further, part) in [
        (["--set", "fetch.speed=9"], "speed"),
        (["--set", "image_size=3"], "image_size: from 16"),
        (["--image-size", "128"], "image size 256, this run has 128"),
        (
            ["--tokenizer", "words.json"],
            "the dataset was made with tokenizer clip",
        ),
        (
            ["--similarity-threshold", "0.3"],
            "similarity_threshold = 0.24, this run has 0.3",
        ),
    ] {
        let further = [&further[..], &["--contact=bot@example.org"]].concat();
        let output = bench.run(&["a.jsonl"], "out", &further);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(part) && error.starts_with("error: "),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_dataset_of_a_newer_format_is_left_alone() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 1, "http://a.example"));
    fs::create_dir(bench.path("out")).expect("writable");
    bench.write("out/_dataset.json", "{\"format\": 99}");
    let output = bench.run(&["a.jsonl"], "out", &["--images-dir", "images"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("format 99"), "{}", stderr(&output));
    assert_eq!(bench.files("out").len(), 1);
}

#[test]
fn the_saved_configuration_is_one_that_runs() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 3, "http://a.example"));
    bench.local(&["a.jsonl"], "out");
    let config = bench.path("out/_config.toml");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lcl-ingest"));
    command
        .current_dir(bench.path(""))
        .arg("run")
        .arg(config)
        .args(["--set", "out=again"]);
    succeeds(&command.output().expect("the binary starts"));
    assert_eq!(bench.files("again"), bench.files("out"));
}

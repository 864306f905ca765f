//! A run that is killed and started again ends where an undisturbed one does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lcl_schemas::outcome::DocumentOutcome;

use crate::support::{Bench, corpus};

const FURTHER: [&str; 6] = [
    "--images-dir",
    "images",
    "--set",
    "unit_records=4",
    "--set",
    "flow.documents=6",
];

fn entries(folder: &Path, of: impl Fn(&str) -> bool) -> usize {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter(|file| of(&file.file_name().to_string_lossy()))
        .count()
}

/// Starts a run and kills it once `when` holds, or lets it end.
fn kill(bench: &Bench, out: &str, when: impl Fn() -> bool) {
    let mut command = bench.command(&["a.jsonl"], out, &FURTHER);
    let mut run = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let begun = Instant::now();
    while !when() && begun.elapsed() < Duration::from_secs(60) {
        if run.try_wait().expect("our child").is_some() {
            return;
        }
        std::thread::yield_now();
    }
    // It may have ended by itself just now.
    let _ = run.kill();
    run.wait().expect("our child");
}

#[test]
fn a_killed_run_goes_on_to_the_same_dataset_byte_for_byte() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 90, "http://a.example"));
    crate::support::succeeds(&bench.run(&["a.jsonl"], "whole", &FURTHER));
    let expected = bench.files("whole");
    assert_eq!(bench.commits("whole").len(), 23);
    for commits in [0, 1, 2, 7, 15, 22] {
        let out = format!("killed-{commits}");
        let folder = bench.path(&out);
        // Several times, each at another place: at a commit, at a scratch file, at a shard without a commit.
        let committed = || entries(&folder.join("_commits"), |name| !name.starts_with('.'));
        kill(&bench, &out, || committed() >= commits);
        let scratch = || entries(&folder, |name| name.starts_with('.')) > 0;
        kill(&bench, &out, scratch);
        let shards = || entries(&folder, |name| name.starts_with("part-")) > committed();
        kill(&bench, &out, shards);
        let output = bench.run(&["a.jsonl"], &out, &FURTHER);
        crate::support::succeeds(&output);
        assert_eq!(
            bench.files(&out),
            expected,
            "killed after {commits} commits"
        );
    }
}

#[test]
fn a_unit_that_a_repair_had_to_leave_documents_out_of_is_made_anew() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 10, "http://a.example"));
    crate::support::succeeds(&bench.run(&["a.jsonl"], "out", &FURTHER));
    let rows = bench.rows("out");
    let mut commit = bench.commits("out").remove(0);
    commit.generation += 1;
    commit.shards.clear();
    commit.documents = BTreeMap::from([(DocumentOutcome::Damaged, commit.records)]);
    bench.write(
        &format!("out/_commits/{}", commit.file_name()),
        commit.to_json(),
    );
    assert!(bench.rows("out").len() < rows.len());
    crate::support::succeeds(&bench.run(&["a.jsonl"], "out", &FURTHER));
    assert_eq!(bench.rows("out"), rows);
    assert_eq!(bench.commits("out")[0].generation, 2);
}

#[test]
fn a_shard_that_was_lost_or_cut_short_is_made_anew() {
    let bench = Bench::new();
    let documents = corpus(&bench, 11, "http://a.example");
    bench.documents("a.jsonl", &documents[..10]);
    bench.documents("b.jsonl", &documents[10..]);
    crate::support::succeeds(&bench.run(&["a.jsonl"], "out", &FURTHER));
    let rows = bench.rows("out");
    let shards: Vec<_> = bench
        .commits("out")
        .iter()
        .map(|commit| bench.path("out").join(&commit.shards[0].file))
        .collect();
    fs::remove_file(&shards[0]).expect("there");
    let cut = fs::OpenOptions::new().write(true).open(&shards[2]);
    cut.and_then(|file| file.set_len(100)).expect("there");

    // A run that does not have the input says what to do.
    let output = bench.run(&["b.jsonl"], "out", &FURTHER);
    assert_eq!(output.status.code(), Some(1));
    let error = crate::support::stderr(&output);
    assert!(error.contains("ingest a.jsonl again"), "{error}");

    // Units are made anew in their old bounds, whatever a unit would be now.
    let larger = ["--images-dir", "images", "--set", "unit_records=9"];
    crate::support::succeeds(&bench.run(&["a.jsonl"], "out", &larger));
    let commits = bench.commits("out");
    let generations: Vec<_> = commits
        .iter()
        .filter(|commit| commit.input_name == "a.jsonl")
        .map(|commit| (commit.unit.first, commit.generation))
        .collect();
    assert_eq!(generations, [(0, 1), (4, 0), (8, 1)]);
    let again = bench.rows("out");
    assert!(rows.iter().all(|row| again.contains(row)));
    assert_eq!(again.len(), rows.len() + 1);
}

#[test]
fn units_done_one_by_one_in_any_order_make_the_same_dataset() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 10, "http://a.example"));
    crate::support::succeeds(&bench.run(&["a.jsonl"], "whole", &FURTHER));
    let mut config = lcl_ingest::Config {
        inputs: vec![bench.path("a.jsonl")],
        out: bench.path("units"),
        images_dir: Some(bench.path("images")),
        unit_records: 4,
        progress: lcl_ingest::config::ProgressMode::Off,
        ..lcl_ingest::Config::default()
    };
    config.flow.documents = 6;
    let whole = bench.commits("whole");
    for commit in whole.iter().rev() {
        let made = lcl_ingest::run_unit(&commit.unit, &config).expect("a unit of the input");
        assert_eq!(made.shards, commit.shards);
        // A scheduler may run it twice.
        let again = lcl_ingest::run_unit(&commit.unit, &config).expect("done");
        assert_eq!(again, made);
    }
    let report = lcl_ingest::run(&config).expect("nothing left but the manifest");
    assert_eq!((report.units_done, report.units_skipped), (0, 3));
    let names = |out: &str| -> Vec<_> {
        let files = bench.files(out).into_keys();
        files
            .filter(|name| !name.starts_with("_manifests"))
            .collect()
    };
    assert_eq!(names("units"), names("whole"));
    assert_eq!(bench.rows("units"), bench.rows("whole"));

    let stranger = lcl_schemas::dataset::Unit {
        input: "0123456789abcdef".into(),
        ..whole[0].unit.clone()
    };
    let refused = lcl_ingest::run_unit(&stranger, &config);
    assert!(matches!(
        refused,
        Err(lcl_ingest::IngestError::UnknownInput(_))
    ));
}

#[test]
fn two_runs_at_once_make_one_dataset() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 60, "http://a.example"));
    crate::support::succeeds(&bench.run(&["a.jsonl"], "whole", &FURTHER));
    let both = [(); 2].map(|()| {
        let mut command = bench.command(&["a.jsonl"], "raced", &FURTHER);
        command
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts")
    });
    for mut run in both {
        assert!(run.wait().expect("our child").success());
    }
    assert_eq!(bench.files("raced"), bench.files("whole"));
}

#[test]
fn threads_and_unit_bounds_do_not_change_rows() {
    let bench = Bench::new();
    bench.documents("a.jsonl", &corpus(&bench, 30, "http://a.example"));
    let run = |out: &str, settings: [&str; 3]| {
        let set = settings.iter().flat_map(|setting| ["--set", *setting]);
        let further: Vec<_> = ["--images-dir", "images"].into_iter().chain(set).collect();
        crate::support::succeeds(&bench.run(&["a.jsonl"], out, &further));
    };
    run(
        "one",
        ["flow.workers=1", "flow.images=1", "flow.documents=1"],
    );
    run(
        "many",
        ["flow.workers=5", "flow.images=64", "flow.documents=64"],
    );
    assert_eq!(bench.files("one"), bench.files("many"));
    run(
        "small",
        ["unit_records=7", "flow.images=3", "flow.workers=2"],
    );
    assert_eq!(bench.rows("small"), bench.rows("one"));
}

//! A finished dataset, changed: only what failed is asked again, and what opts out is gone.

use std::process::{Command, Output};

use lcl_schemas::outcome::Outcome;

use crate::support::{Bench, count, document, picture, stderr, succeeds};
use crate::web::{Reply, Web};

fn lcl_ingest(bench: &Bench, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lcl-ingest"));
    command.args(arguments).current_dir(bench.path(""));
    command.output().expect("the binary starts")
}

const FURTHER: [&str; 5] = [
    "--allow-private-addresses",
    "--contact=bot@example.org",
    "--set=fetch.retries=0",
    "--set=unit_records=2",
    "--set=progress=off",
];

/// Three documents of two images; of the first document's one fails once, of the last one's both always.
fn served() -> (Bench, Web) {
    let flaky = vec![
        Reply::Full(500, "", Vec::new()),
        Reply::Full(200, "", picture(1)),
    ];
    let web = Web::serve(|_| {
        let mut script = vec![("/0-1".to_owned(), flaky)];
        for (seed, path) in ["/0-0", "/1-0", "/1-1"].into_iter().enumerate() {
            let body = picture(10 + seed as u32);
            script.push((path.into(), vec![Reply::Full(200, "", body)]));
        }
        script
    });
    let bench = Bench::new();
    let documents = [0, 1, 2].map(|n| {
        let urls = [0, 1].map(|i| format!("http://{}/{n}-{i}", web.address));
        document(n, &[("x", &urls[0]), ("x", &urls[1])])
    });
    bench.documents("a.jsonl", &documents);
    succeeds(&bench.run(&["a.jsonl"], "out", &FURTHER));
    (bench, web)
}

#[test]
fn retry_asks_again_for_what_failed_and_for_nothing_else() {
    let (bench, web) = served();
    let before = bench.rows("out");
    let gone = Outcome::Http(404);
    let stored = |bench: &Bench| {
        bench
            .commits("out")
            .iter()
            .map(|c| count(c, &Outcome::Stored))
            .sum::<u64>()
    };
    assert_eq!(stored(&bench), 3);
    let retried = lcl_ingest(
        &bench,
        &[&["retry", "out", "--outcome=http_500"][..], &FURTHER].concat(),
    );
    succeeds(&retried);
    assert_eq!(stored(&bench), 4);
    let asked = ["/0-0", "/0-1", "/1-0", "/2-0"].map(|path| web.times(path));
    assert_eq!(asked, [1, 2, 1, 1]);
    let commits = bench.commits("out");
    assert_eq!(
        commits
            .iter()
            .map(|commit| commit.generation)
            .collect::<Vec<_>>(),
        [1, 0]
    );
    assert_eq!(
        commits
            .iter()
            .map(|commit| count(commit, &gone))
            .sum::<u64>(),
        2
    );
    let after = bench.rows("out");
    let texts = |rows: &[lcl_schemas::row::Row]| {
        rows.iter()
            .map(|row| row.document.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&before), texts(&after));
    assert_eq!(before[1], after[1]);
    assert_eq!(
        after[0].layout.tokens().len(),
        before[0].layout.tokens().len() + 2
    );
    // What it comes to is what an undisturbed run would have had.
    succeeds(&bench.run(&["a.jsonl"], "whole", &FURTHER));
    assert_eq!(bench.rows("whole"), after);
    // Nothing is left of that class: nothing is asked, nothing changes.
    let files = bench.files("out");
    succeeds(&lcl_ingest(
        &bench,
        &[&["retry", "out", "--outcome=http_500"][..], &FURTHER].concat(),
    ));
    assert_eq!(bench.files("out"), files);
}

#[test]
fn what_opts_out_is_gone_from_rows_and_from_the_disk_and_nobody_is_asked() {
    let (bench, web) = served();
    let asked = web.asked().len();
    let hash = bench.rows("out")[1]
        .document
        .images()
        .next()
        .and_then(|image| image.stored.as_ref().map(|stored| stored.sha256.clone()));
    let hash = hash.expect("stored");
    let list = format!("# by their owners\n\n{hash}\nhttp://a.example/0\n");
    bench.write("list.txt", list);
    let old_shards: Vec<_> = bench
        .commits("out")
        .iter()
        .flat_map(|c| c.shards.clone())
        .collect();
    let output = lcl_ingest(&bench, &["opt-out", "out", "--list", "list.txt"]);
    succeeds(&output);
    assert_eq!(web.asked().len(), asked);
    let rows = bench.rows("out");
    let urls: Vec<_> = rows
        .iter()
        .filter_map(|row| row.document.url.as_deref())
        .collect();
    assert_eq!(urls, ["http://a.example/1", "http://a.example/2"]);
    let expected = ["opted_out", "stored", "http_404", "http_404"];
    assert_eq!(bench.outcomes("out"), expected);
    let commit = &bench.commits("out")[0];
    assert_eq!(commit.check(), Ok(()));
    assert_eq!(count(commit, &Outcome::OptedOut), 3);
    assert!(!bench.path("out").join(&old_shards[0].file).exists());
    // An input that is given again does not bring it back, not even where a shard has to be made anew.
    succeeds(&bench.run(&["a.jsonl"], "out", &FURTHER));
    assert_eq!(bench.rows("out"), rows);
    for shard in bench.commits("out").iter().flat_map(|c| c.shards.clone()) {
        std::fs::remove_file(bench.path("out").join(shard.file)).expect("there");
    }
    succeeds(&bench.run(&["a.jsonl"], "out", &FURTHER));
    assert_eq!(bench.rows("out"), rows);
    // What an interrupted one left is deleted by the next.
    bench.write("out/part-litter-0-00000000.parquet", "");
    succeeds(&lcl_ingest(
        &bench,
        &["opt-out", "out", "--list", "list.txt"],
    ));
    assert!(!bench.path("out/part-litter-0-00000000.parquet").exists());
}

#[test]
fn an_entry_that_is_not_understood_stops_everything() {
    let (bench, _) = served();
    bench.write("list.txt", "a.example/path\n");
    let files = bench.files("out");
    let output = lcl_ingest(&bench, &["opt-out", "out", "--list", "list.txt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("list.txt line 1"),
        "{}",
        stderr(&output)
    );
    assert_eq!(bench.files("out"), files);
}

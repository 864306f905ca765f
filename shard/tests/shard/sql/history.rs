//! Commits and request logs.

use super::*;

/// A second commit of the fixture's unit, a commit without shards, and the requests of three runs, one of which came to
/// nothing.
fn with_history(folder: &Path) {
    let commits = folder.join(COMMITS_DIR);
    let first = std::fs::read_dir(&commits).expect("written").next();
    let first = first.expect("a commit").expect("readable").path();
    let mut commit: Commit =
        serde_json::from_slice(&std::fs::read(first).expect("written")).expect("a commit");
    let unit = commit.unit.name();
    commit.generation = 1;
    let write_commit = |commit: &Commit| {
        std::fs::write(commits.join(commit.file_name()), commit.to_json()).expect("writable");
    };
    write_commit(&commit);
    commit.generation = 0;
    commit.unit.first = 2000;
    commit.shards.clear();
    commit.documents = [(DocumentOutcome::TooFewImages, 7)].into();
    commit.images = [(Outcome::Http(404), 5), (Outcome::Dns, 2)].into();
    commit.records = 7;
    write_commit(&commit);
    std::fs::create_dir(folder.join(FETCH_DIR)).expect("writable");
    for (name, url) in [
        (format!("{unit}.0"), "http://a.example/1"),
        (format!("{unit}.1"), "http://b.example/2"),
        ("nobody.0".to_owned(), "http://c.example/3"),
    ] {
        let schema = fetch_schema();
        let columns = schema.fields().iter().map(|field| {
            let column: ArrayRef = match field.name().as_str() {
                "url" => Arc::new(StringArray::from(vec![url])),
                _ => new_null_array(field.data_type(), 1),
            };
            column
        });
        let batch = RecordBatch::try_new(schema.clone(), columns.collect()).expect("its schema");
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a valid schema");
        writer.write(&batch).expect("in memory");
        let log = folder.join(FETCH_DIR).join(format!("{name}.parquet"));
        std::fs::write(log, writer.into_inner().expect("in memory")).expect("writable");
    }
}

#[test]
fn commits_are_there_with_their_outcomes_superseded_ones_too() {
    let folder = dataset(&usual(20), 8);
    with_history(folder.path());
    let ask = |sql: &str| ask_anew(folder.path(), sql).0;
    assert_eq!(
        ask(
            "SELECT first, generation, live, records, documents, images, shards,
                    image_outcomes['http_404'] AS gone, record_outcomes['written'] AS written
             FROM commits ORDER BY unit, generation"
        ),
        "first,generation,live,records,documents,images,shards,gone,written\n\
         0,0,false,20,20,40,2,20,20\n\
         0,1,true,20,20,40,2,20,20\n\
         2000,0,true,7,0,0,0,5,\n"
    );
    // A commit is known by its unit, whose shards may be none.
    assert_eq!(
        ask(
            "SELECT count(*) AS n FROM commits WHERE live AND unit NOT IN (SELECT unit FROM row_groups)"
        ),
        "n\n1\n"
    );
    let broken = folder.path().join(COMMITS_DIR).join("x-0-0.0.json");
    std::fs::write(broken, "{}").expect("writable");
    let path = folder.path().to_str().expect("a plain path");
    let output = lcl_shard(&["sql", path, "SELECT * FROM commits"], "");
    assert!(error(&output).contains("x-0-0.0.json is not a commit"));
}

#[test]
fn requests_are_those_of_all_commits_and_of_no_others() {
    let folder = dataset(&usual(20), 8);
    with_history(folder.path());
    let (answer, _) = ask_anew(
        folder.path(),
        "SELECT host(url) AS host, generation, live FROM fetches ORDER BY 1",
    );
    assert_eq!(
        answer,
        "host,generation,live\na.example,0,false\nb.example,1,true\n"
    );
    let live = "SELECT count(*) AS n FROM fetches WHERE live";
    assert_eq!(ask_anew(folder.path(), live).0, "n\n1\n");
}

#[test]
fn a_dataset_that_fetched_nothing_has_no_requests() {
    let folder = dataset(&usual(3), 8);
    let (answer, _) = ask_anew(folder.path(), "SELECT count(*) AS n FROM fetches");
    assert_eq!(answer, "n\n0\n");
    assert_eq!(
        ask_anew(folder.path(), "SELECT url FROM fetches").0,
        "url\n"
    );
}

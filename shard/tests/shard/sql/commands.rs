//! The command line: files, stdin, mistakes, refusals.

use super::*;

#[test]
fn answers_are_written_as_parquet_and_arrow() {
    let folder = dataset(&usual(30), 8);
    let path = folder.path().to_str().expect("a plain path");
    let out = TempDir::new().expect("a temporary folder");
    let query = "SELECT id, images, image_bytes FROM documents ORDER BY id";
    let parquet = out.path().join("answer.parquet");
    let arrow = out.path().join("answer.feather");
    for file in [&parquet, &arrow] {
        let file = file.to_str().expect("a plain path");
        let output = lcl_shard(&["sql", path, query, "--out", file], "");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let output = lcl_shard(&["sql", path, query, "--out", file], "");
        assert!(error(&output).contains("is there already"));
    }
    let files = std::fs::read_dir(out.path()).expect("readable").count();
    assert_eq!(files, 2, "nothing is left lying about");
    let file = std::fs::File::open(&parquet).expect("written");
    let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 100);
    let rows: Vec<_> = rows
        .expect("a Parquet file")
        .collect::<Result<_, _>>()
        .expect("rows");
    let rows = arrow::compute::concat_batches(&rows[0].schema(), &rows).expect("one schema");
    assert_eq!((rows.num_rows(), rows.num_columns()), (30, 3));

    let piped = lcl_shard(&["sql", path, query, "--format", "arrow"], "");
    let written = std::fs::read(&arrow).expect("written");
    assert_eq!(written, piped.stdout);
    assert!(written.starts_with(b"ARROW1") && written.ends_with(b"ARROW1"));
}

#[test]
fn a_failed_answer_leaves_no_file() {
    let folder = dataset(&usual(3), 8);
    let path = folder.path().to_str().expect("a plain path");
    let out = TempDir::new().expect("a temporary folder");
    let file = out.path().join("answer.csv");
    let file = file.to_str().expect("a plain path");
    let output = lcl_shard(
        &["sql", path, "SELECT nothing FROM images", "--out", file],
        "",
    );
    assert!(error(&output).contains("No field named nothing"));
    assert_eq!(std::fs::read_dir(out.path()).expect("readable").count(), 0);
    let output = lcl_shard(&["sql", path, "SELECT 1", "--out", "answer"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("--format"));
}

#[test]
fn statements_come_from_stdin_where_there_is_no_query() {
    let folder = dataset(&usual(3), 8);
    let path = folder.path().to_str().expect("a plain path");
    let stdin = "-- two of them\nSELECT count(*) AS n FROM documents;\nSELECT 'a;b' AS x;\n";
    let output = lcl_shard(&["sql", path, "--format", "csv"], stdin);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "n\n3\nx\na;b\n");
    let output = lcl_shard(&["sql", path, "--format", "parquet"], stdin);
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("one answer"));
    let output = lcl_shard(&["sql", path], " \n");
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("no query"));
}

#[test]
fn mistakes_are_told_with_what_would_be_right() {
    let folder = dataset(&usual(3), 8);
    let path = folder.path().to_str().expect("a plain path");
    for (query, says) in [
        (
            "SELECT * FROM docs",
            "there is no table `docs`; there are commits, documents, fetches, images, row_groups",
        ),
        ("SELECT n FROM documents", "documents.n_tokens"),
        ("SELECT (1 FROM documents", "Line: 1"),
        ("SELECT detokenise(tokens) FROM documents", "detokenize"),
        ("SELECT 1; SELECT * FROM x", "there is no table `x`"),
        ("SELECT host(1)", "takes a text, not Int64"),
    ] {
        let output = lcl_shard(&["sql", path, query], "");
        assert_eq!(output.status.code(), Some(1), "{query}");
        let error = error(&output);
        assert!(error.contains(says), "{query}: {error}");
    }
    let output = lcl_shard(&["sql", "ftp://host/dataset", "SELECT 1"], "");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("http, https, s3, gs, az"), "{error}");
}

#[test]
fn nothing_is_written_whatever_is_asked() {
    let folder = dataset(&usual(3), 8);
    let path = folder.path().to_str().expect("a plain path");
    let listed = || {
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        names.sort();
        names
    };
    let before = listed();
    for statement in [
        "COPY documents TO 'dataset://public/public/x.parquet' STORED AS PARQUET",
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/data'",
        "INSERT INTO documents SELECT * FROM documents",
        "DROP TABLE documents",
        "SET datafusion.execution.batch_size = 1",
    ] {
        let output = lcl_shard(&["sql", path, statement], "");
        assert_eq!(output.status.code(), Some(1), "{statement}");
        let error = error(&output);
        assert!(error.contains("only asked, not written to"), "{error}");
    }
    assert_eq!(listed(), before);
}

//! SQL and statistics, by the command line.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::fixture::{Part, usual, write};

fn lcl_shard(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
        .args(arguments)
        .output()
        .expect("the binary starts")
}

fn dataset() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let mut documents = usual(40);
    documents[0] = vec![Part::Text(1), Part::Image(None)];
    write(folder.path(), &documents, 8);
    folder
}

fn sql(folder: &TempDir, query: &str, format: &str) -> String {
    let path = folder.path().to_str().expect("a plain path");
    let output = lcl_shard(&["sql", path, query, "--format", format]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn images_are_rows_of_their_own_with_their_outcomes() {
    let folder = dataset();
    let counts = sql(
        &folder,
        "SELECT outcome, count(*) AS n FROM images GROUP BY outcome ORDER BY n DESC",
        "csv",
    );
    assert_eq!(counts, "outcome,n\nstored,79\nhttp_404,39\n");
    let one = sql(
        &folder,
        "SELECT place, format, width, sentence, bytes IS NOT NULL AS has_pixels FROM images
         WHERE id = 'document-0001' ORDER BY place",
        "json",
    );
    let expected = concat!(
        r#"{"place":1,"format":"png","width":10,"sentence":2,"has_pixels":true}"#,
        "\n",
        r#"{"place":3,"has_pixels":false}"#,
        "\n",
        r#"{"place":4,"format":"png","width":10,"has_pixels":true}"#,
        "\n",
    );
    assert_eq!(one, expected);
}

/// Bytes that a query read from shards, as the plan's own counters say.
fn bytes_read(folder: &TempDir, query: &str) -> u64 {
    let plan = sql(folder, &format!("EXPLAIN ANALYZE {query}"), "json");
    let (_, counter) = plan.rsplit_once("bytes_scanned=").expect("a scan");
    let number: String = counter
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let unit = counter[number.len()..].trim_start();
    let factor = if unit.starts_with('K') {
        1e3
    } else if unit.starts_with('M') {
        1e6
    } else {
        1.0
    };
    (number.parse::<f64>().expect("a number") * factor) as u64
}

#[test]
fn pixels_are_read_only_when_asked_for() {
    let folder = dataset();
    let pixels = 79 * 4096;
    assert!(bytes_read(&folder, "SELECT max(bytes) FROM images") > pixels);
    for query in [
        "SELECT count(*) FROM documents WHERE n_images > 1",
        "SELECT outcome, count(*) FROM images GROUP BY outcome",
        "SELECT avg(width * height) FROM images WHERE outcome = 'stored'",
    ] {
        let read = bytes_read(&folder, query);
        assert!(read < pixels / 10, "{query} read {read} bytes");
    }
}

#[test]
fn tables_show_sizes_instead_of_pixels() {
    let folder = dataset();
    let table = sql(
        &folder,
        "SELECT id, image_bytes FROM documents WHERE id = 'document-0000'",
        "table",
    );
    assert!(table.contains("| [null, 4248 bytes] |"), "{table}");
}

#[test]
fn statistics_add_up() {
    let folder = dataset();
    let path = folder.path().to_str().expect("a plain path");
    let output = lcl_shard(&["stats", path, "--json"]);
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(stats["documents"], 40);
    assert_eq!(stats["images"], 79);
    assert_eq!(stats["images_by_outcome"]["http_404"], 39);
    assert_eq!(stats["records_by_outcome"]["written"], 40);
    let text = String::from_utf8(lcl_shard(&["stats", path]).stdout).expect("text");
    assert!(text.contains("118 images in them"), "{text}");
}

#[test]
fn a_query_that_meets_a_damaged_shard_names_it() {
    let folder = dataset();
    let path = folder.path().join("part-1.parquet");
    let whole = std::fs::read(&path).expect("written");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle - 3000..middle].fill(b'X');
    for bytes in [&damaged[..], &whole[..100]] {
        std::fs::write(&path, bytes).expect("writable");
        let dataset = folder.path().to_str().expect("a plain path");
        let query = "SELECT id, tokens, texts, images, image_bytes FROM documents";
        let output = lcl_shard(&["sql", dataset, query, "--format", "json"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("part-1.parquet"), "{error}");
    }
}

#[test]
fn lists_stand_in_csv_as_json() {
    let folder = dataset();
    let spans = "SELECT id, spans FROM documents WHERE id = 'document-0000'";
    assert_eq!(
        sql(&folder, spans, "csv"),
        "id,spans\ndocument-0000,\"[1,2]\"\n"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = dataset();
    let path = folder.path().to_str().expect("a plain path");
    // Far more than a pipe holds.
    let query = "SELECT a.tokens FROM documents a CROSS JOIN documents b CROSS JOIN documents c";
    for format in ["json", "csv"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
            .args(["sql", path, query, "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = [0; 4];
        let mut answer = child.stdout.take().expect("piped");
        answer.read_exact(&mut line).expect("an answer begins");
        drop(answer);
        let output = child.wait_with_output().expect("our child");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{error}");
    }
}

#[test]
fn mistakes_leave_with_2_and_failures_with_1_each_in_one_line() {
    let folder = dataset();
    let path = folder.path().to_str().expect("a plain path");
    assert_eq!(lcl_shard(&["sql", path]).status.code(), Some(2));
    for (arguments, says) in [
        (["sql", path, "SELECT nothing FROM documents"], "nothing"),
        (["sql", "no/such/dataset", "SELECT 1"], "no/such/dataset"),
    ] {
        let output = lcl_shard(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.starts_with("error: ") && error.contains(says),
            "{error}"
        );
    }
}

#[test]
fn a_folder_whose_name_looks_like_a_pattern_is_that_folder() {
    let folder = TempDir::new().expect("a temporary folder");
    let dataset = folder.path().join("a[1] b*");
    std::fs::create_dir(&dataset).expect("writable");
    write(&dataset, &usual(5), 8);
    let path = dataset.to_str().expect("plain enough");
    let output = lcl_shard(&[
        "sql",
        path,
        "SELECT count(*) AS n FROM documents",
        "--format",
        "csv",
    ]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "n\n5\n");
    std::fs::remove_file(dataset.join("part-0.parquet")).expect("a shard");
    let output = lcl_shard(&["sql", path, "SELECT count(*) AS n FROM documents"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "a missing shard is no empty one"
    );
}

#[test]
fn a_question_cannot_write() {
    let folder = dataset();
    let path = folder.path().to_str().expect("a plain path");
    let header = folder.path().join("_dataset.json");
    let before = std::fs::read(&header).expect("written");
    let copy = format!("COPY (SELECT 1) TO '{}' STORED AS CSV", header.display());
    assert_eq!(lcl_shard(&["sql", path, &copy]).status.code(), Some(1));
    assert_eq!(std::fs::read(&header).expect("still there"), before);
}

//! SQL over datasets: what it reads, what it answers, what it refuses; by the library, the command line and HTTP.

mod answers;
mod commands;
mod history;
mod reads;
mod web;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use lcl_schemas::dataset::{COMMITS_DIR, Commit, FETCH_DIR, HEADER_FILE, Header, fetch_schema};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::tokenizer::Tokenizer;
use lcl_shard::inspect::sql::{Format, Given, Read, SqlError, Tables, statements};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::fixture::{Part, usual, write};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads")
}

fn dataset(documents: &[Vec<Part>], group: usize) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    write(folder.path(), documents, group);
    folder
}

/// Answers, and what was read for them.
async fn ask(tables: &Tables, sql: &str) -> Result<(String, Read), SqlError> {
    let before = tables.read();
    let mut out = Vec::new();
    for statement in statements(sql)? {
        tables.answer(statement, Format::Csv, &mut out).await?;
    }
    let after = tables.read();
    let read = Read {
        bytes: after.bytes - before.bytes,
        requests: after.requests - before.requests,
    };
    Ok((String::from_utf8(out).expect("text"), read))
}

/// As [`ask`], of a dataset that was just opened: nothing is known of its shards yet.
fn ask_anew(folder: &Path, sql: &str) -> (String, Read) {
    runtime().block_on(async {
        let tables = Tables::open(&[Given::folder(folder)]).await;
        let answer = ask(&tables.expect("a dataset"), sql).await;
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    })
}

fn lcl_shard(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut input = child.stdin.take().expect("piped");
    // Who has a query reads no other.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().expect("our child")
}

fn error(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.starts_with("error: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// Documents in row groups of 40, two a shard; a shard has 680 kB of pixels.
const DOCUMENTS: usize = 400;

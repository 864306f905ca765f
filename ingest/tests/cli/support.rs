//! Drawn pictures, made-up documents, and a look into datasets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::PathBuf;
use std::process::{Command, Output};

use image::{ImageFormat, Rgb, RgbImage};
use lcl_schemas::dataset::{COMMITS_DIR, Commit, live};
use lcl_schemas::outcome::Outcome;
use lcl_schemas::row::{self, Row};
use lcl_schemas::vocabulary::Vocabulary;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with `images/`, inputs, and a dataset `out/`.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("images")).expect("writable");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).expect("writable");
        self.path(name)
    }

    /// Writes documents as JSON lines.
    pub(crate) fn documents(&self, name: &str, documents: &[Value]) -> PathBuf {
        let lines: Vec<_> = documents.iter().map(Value::to_string).collect();
        self.write(name, lines.join("\n") + "\n")
    }

    /// `lcl-ingest mmc4 NAME… --out out`, and `further` arguments.
    pub(crate) fn command(&self, names: &[&str], out: &str, further: &[&str]) -> Command {
        self.ingest_command("mmc4", names, out, further)
    }

    /// Runs `lcl-ingest SOURCE NAME… --out out` to its end, with `further` arguments.
    pub(crate) fn ingest(
        &self,
        source: &str,
        names: &[&str],
        out: &str,
        further: &[&str],
    ) -> Output {
        self.ingest_command(source, names, out, further)
            .output()
            .expect("the binary starts")
    }

    pub(crate) fn ingest_command(
        &self,
        source: &str,
        names: &[&str],
        out: &str,
        further: &[&str],
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lcl-ingest"));
        command
            .arg(source)
            .args(names)
            .args(["--out", out])
            .args(further);
        command.current_dir(self.folder.path());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, names: &[&str], out: &str, further: &[&str]) -> Output {
        self.command(names, out, further)
            .output()
            .expect("the binary starts")
    }

    /// Runs it with the folder of images, and expects success.
    pub(crate) fn local(&self, names: &[&str], out: &str) {
        succeeds(&self.run(names, out, &["--images-dir", "images"]));
    }

    /// Rows in the order of their commits.
    pub(crate) fn rows(&self, out: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        for shard in self.commits(out).iter().flat_map(|commit| &commit.shards) {
            let file = File::open(self.path(out).join(&shard.file)).expect("a commit names it");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
            for batch in reader.build().expect("Parquet") {
                let batch = batch.expect("readable");
                rows.extend(row::from_arrow(&batch, &Vocabulary::CLIP).expect("rows"));
            }
        }
        rows
    }

    pub(crate) fn commits(&self, out: &str) -> Vec<Commit> {
        let folder = self.path(out).join(COMMITS_DIR);
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let named = files.filter(|file| !file.file_name().to_string_lossy().starts_with('.'));
        let read = named.map(|file| fs::read(file.path()).expect("readable"));
        live(read.map(|json| serde_json::from_slice(&json).expect("a commit")))
    }

    /// Outcomes of all images, in row order.
    pub(crate) fn outcomes(&self, out: &str) -> Vec<String> {
        let rows = self.rows(out);
        let images = rows.iter().flat_map(|row| row.document.images());
        images.map(|image| image.outcome.to_string()).collect()
    }

    /// All files that must not depend on how a run went, by path.
    pub(crate) fn files(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path(out)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("readable").flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                match entry.path().is_dir() {
                    true if name == "_fetch" => {}
                    true => folders.push(entry.path()),
                    false if name == "_config.toml" => {}
                    false => {
                        let path = entry.path();
                        let inside = path.strip_prefix(self.path(out)).expect("inside");
                        files.insert(
                            inside.display().to_string(),
                            fs::read(&path).expect("readable"),
                        );
                    }
                }
            }
        }
        files
    }
}

pub(crate) fn succeeds(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A drawn picture; no two seeds look alike.
pub(crate) fn picture(seed: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(90 + seed % 7, 70, |x, y| {
        Rgb([(x * (seed + 3)) as u8, (y * (seed + 5)) as u8, seed as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("memory");
    bytes.into_inner()
}

/// A document with one sentence for each image.
pub(crate) fn document(number: u32, urls: &[(&str, &str)]) -> Value {
    let images: Vec<_> = urls
        .iter()
        .enumerate()
        .map(|(index, (name, url))| {
            json!({"image_name": name, "raw_url": url, "matched_text_index": index, "matched_sim": 0.3})
        })
        .collect();
    let sentences: Vec<_> = (0..urls.len())
        .map(|index| format!("Sentence {index} of {number}."))
        .collect();
    json!({"url": format!("http://a.example/{number}"), "text_list": sentences, "image_info": images,
        "similarity_matrix": [[0.1, 0.2]], "could_have_url_duplicate": 0})
}

/// `count` documents of two images each, the images in `images/`.
pub(crate) fn corpus(bench: &Bench, count: u32, origin: &str) -> Vec<Value> {
    (0..count)
        .map(|number| {
            let names = [0, 1].map(|index| format!("{number}-{index}.png"));
            for (index, name) in names.iter().enumerate() {
                bench.write(
                    &format!("images/{name}"),
                    picture(2 * number + index as u32),
                );
            }
            let urls = names.each_ref().map(|name| format!("{origin}/{name}"));
            document(number, &[(&names[0], &urls[0]), (&names[1], &urls[1])])
        })
        .collect()
}

pub(crate) fn count(commit: &Commit, outcome: &Outcome) -> u64 {
    commit.images.get(outcome).copied().unwrap_or(0)
}

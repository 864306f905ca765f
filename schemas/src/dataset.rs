//! What a dataset says of itself: its header, the commits that make shards real, and the manifest that a stream reads.
//!
//! ```text
//! DATASET/
//!   _dataset.json                       Header
//!   _tokenizer.json                     where it is not the built-in one
//!   _commits/<unit>.<generation>.json   Commit: put if absent, last
//!   _manifests/<sha256>.parquet         ManifestRow for every row group of every live commit
//!   _manifests/latest                   the newest manifest's hash
//!   _fetch/<unit>.<generation>.parquet  one row per request
//!   part-<unit>-<n>-<sha8>.parquet      one row per document
//!   _*/….damaged                        what could not be read and was set aside by a repair: as if it were not there
//! ```
//! A shard exists when a live commit names it; anything else is litter. This module only says what the files hold: who
//! ingests or repairs writes them, who streams reads them. Fields that a later version adds to the JSON are passed over:
//! format 1 may grow, and nothing in it may change its meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt32Type, UInt64Type};
use serde::de::value::StrDeserializer;
use serde::de::{Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::outcome::{DocumentOutcome, Outcome};
use crate::vocabulary::Vocabulary;

/// The format that this version writes, and the newest that it reads: README, "The dataset". Format 0 was the same while
/// it was being built: it is read, and not written.
pub const FORMAT: u32 = 1;
/// Name of the header's file.
pub const HEADER_FILE: &str = "_dataset.json";
/// Name of the tokenizer's file.
pub const TOKENIZER_FILE: &str = "_tokenizer.json";
/// Folder of the commits.
pub const COMMITS_DIR: &str = "_commits";
/// Folder of the manifests.
pub const MANIFESTS_DIR: &str = "_manifests";
/// File in [`MANIFESTS_DIR`] that holds the newest manifest's hash.
pub const LATEST_MANIFEST: &str = "latest";
/// Folder of the request logs.
pub const FETCH_DIR: &str = "_fetch";

/// What is true of every row of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// What made the ids.
    pub tokenizer: TokenizerId,
    /// The ids' size and the special ones among them.
    pub vocabulary: Vocabulary,
    /// Short side to which larger images were reduced, in pixels.
    pub image_size: u32,
}

/// Which tokenizer, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerId {
    /// `clip`, or the name that its file had.
    pub name: String,
    /// SHA-256 of its definition, lower-case hex.
    pub sha256: String,
    /// What is put before every text but a document's first, so that words do not run together.
    pub text_joiner: String,
}

/// Why a dataset cannot be read or written to.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not a header.
    #[error("{HEADER_FILE} is not a dataset header: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("the dataset has format {found}, this version reads up to {FORMAT}: use a newer lcl")]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// Written before the format was settled.
    #[error("the dataset has format {found}, which is read and not added to: use another --out")]
    TooOld {
        /// Its format.
        found: u32,
    },
    /// Two datasets whose ids mean different things.
    #[error(
        "its tokenizer is {ours}, that of the dataset it is mixed with {theirs}: mix datasets of one tokenizer"
    )]
    OtherIds {
        /// Of this one.
        ours: String,
        /// Of the other.
        theirs: String,
    },
    /// Something differs that all rows must share.
    #[error(
        "the dataset was made with {what} {theirs}, this run has {ours}: use the same, or another --out"
    )]
    Differs {
        /// What differs.
        what: &'static str,
        /// As in the dataset.
        theirs: String,
        /// As in the run.
        ours: String,
    },
}

impl Header {
    /// Reads a header; a newer format is refused before anything else in it is looked at.
    ///
    /// # Errors
    /// [`HeaderError::TooNew`], [`HeaderError::Unreadable`].
    pub fn from_json(json: &[u8]) -> Result<Self, HeaderError> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let probe: Probe = serde_json::from_slice(json)?;
        if probe.format > FORMAT {
            return Err(HeaderError::TooNew {
                found: probe.format,
            });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// The header as it is written.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Whether rows of two datasets may stand in one stream: their ids must mean the same.
    ///
    /// # Errors
    /// [`HeaderError::OtherIds`].
    pub fn check_mixes(&self, other: &Header) -> Result<(), HeaderError> {
        let same = self.tokenizer == other.tokenizer && self.vocabulary == other.vocabulary;
        match same {
            true => Ok(()),
            false => Err(HeaderError::OtherIds {
                ours: self.tokenizer.to_string(),
                theirs: other.tokenizer.to_string(),
            }),
        }
    }

    /// Whether anything may be written into its dataset.
    ///
    /// # Errors
    /// [`HeaderError::TooOld`].
    pub fn check_writable(&self) -> Result<(), HeaderError> {
        match self.format {
            FORMAT => Ok(()),
            found => Err(HeaderError::TooOld { found }),
        }
    }

    /// Whether rows made under `self` may go into a dataset whose header is `dataset`.
    ///
    /// # Errors
    /// [`HeaderError::TooOld`]; [`HeaderError::Differs`], naming the first difference.
    pub fn check_joins(&self, dataset: &Header) -> Result<(), HeaderError> {
        dataset.check_writable()?;
        let differs = |what, theirs: &dyn fmt::Display, ours: &dyn fmt::Display| {
            Err(HeaderError::Differs {
                what,
                theirs: theirs.to_string(),
                ours: ours.to_string(),
            })
        };
        let (ours, theirs) = (&self.tokenizer, &dataset.tokenizer);
        if (&ours.name, &ours.sha256) != (&theirs.name, &theirs.sha256) {
            return differs("tokenizer", theirs, ours);
        }
        if ours.text_joiner != theirs.text_joiner {
            let quoted = |text: &str| format!("{text:?}");
            return differs(
                "text joiner",
                &quoted(&theirs.text_joiner),
                &quoted(&ours.text_joiner),
            );
        }
        if self.image_size != dataset.image_size {
            return differs("image size", &dataset.image_size, &self.image_size);
        }
        Ok(())
    }
}

/// Its name and the beginning of its hash.
impl fmt::Display for TokenizerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:.8})", self.name, self.sha256)
    }
}

/// The grain of work, retry and resume: consecutive records of one input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// What kind of input.
    pub source: String,
    /// What tells this input from others, whatever it is called and however it grows: 16 hex digits of its first record.
    pub input: String,
    /// Index of its first record.
    pub first: u64,
}

impl Unit {
    /// Its name in files: letters, digits and dashes only, in the order of the records when sorted.
    pub fn name(&self) -> String {
        format!("{}-{}-{:010}", self.source, self.input, self.first)
    }
}

/// What one unit came to. A shard exists when a live commit names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Which unit.
    pub unit: Unit,
    /// Name of the input as it was given, for people.
    pub input_name: String,
    /// 16 hex digits of all of the input, as it was.
    pub input_sha256: String,
    /// SHA-256 of the records as they were read, lower-case hex: by it a unit is known in an input that has grown since.
    pub records_sha256: String,
    /// Number of records read, whatever became of them.
    pub records: u64,
    /// Whether the input ended with this unit.
    pub last: bool,
    /// 0, or one more than the commit that it supersedes.
    pub generation: u32,
    /// The rules that decided: a run with others is refused.
    pub rules: serde_json::Value,
    /// What it wrote, in row order.
    pub shards: Vec<ShardEntry>,
    /// Records by what became of them; they add up to `records`.
    #[serde(deserialize_with = "summed")]
    pub documents: BTreeMap<DocumentOutcome, u64>,
    /// Images of all well-formed records by what became of them.
    pub images: BTreeMap<Outcome, u64>,
    /// Images of records that were not written for want of images, by what became of them; counted in `images` too.
    pub images_not_written: u64,
    /// Records that could not be used, and why: the first [`Commit::MAX_FAULTS`].
    pub faults: Vec<Fault>,
}

impl Commit {
    /// A commit names this many faults at most; all are counted in `documents`.
    pub const MAX_FAULTS: usize = 100;

    /// A unit has this many records at most.
    pub const MAX_RECORDS: u64 = 2000;

    /// Whether its numbers can be: a unit without records ends its input, outcomes add up to the records.
    ///
    /// # Errors
    /// What cannot be.
    pub fn check(&self) -> Result<(), &'static str> {
        let counted = self
            .documents
            .values()
            .try_fold(0u64, |sum, count| sum.checked_add(*count));
        if self.records > Self::MAX_RECORDS || self.unit.first.checked_add(self.records).is_none() {
            Err("it has more records than a unit may")
        } else if self.records == 0 && !self.last {
            Err("it has no records and does not end its input")
        } else if counted != Some(self.records) {
            Err("its outcomes do not add up to its records")
        } else {
            Ok(())
        }
    }

    /// Its file's name.
    pub fn file_name(&self) -> String {
        format!("{}.{}.json", self.unit.name(), self.generation)
    }

    /// The commit as it is written.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The manifest's rows for this commit, in row order.
    pub fn manifest_rows(&self) -> impl Iterator<Item = ManifestRow> {
        self.shards.iter().flat_map(|shard| {
            shard
                .row_groups
                .iter()
                .enumerate()
                .map(|(row_group, group)| ManifestRow {
                    unit: self.unit.name(),
                    generation: self.generation,
                    shard: shard.file.clone(),
                    shard_sha256: shard.sha256.clone(),
                    shard_bytes: shard.bytes,
                    row_group: row_group as u32,
                    rows: group.rows,
                    bytes: group.bytes,
                    tokens: group.tokens,
                    images: group.images,
                })
        })
    }
}

/// One Parquet file of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Its name in the dataset's folder.
    pub file: String,
    /// Of the file, lower-case hex.
    pub sha256: String,
    /// Of the file.
    pub bytes: u64,
    /// In file order.
    pub row_groups: Vec<RowGroupEntry>,
}

/// One row group of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowGroupEntry {
    /// Documents.
    pub rows: u32,
    /// Compressed, in the file.
    pub bytes: u64,
    /// Ids.
    pub tokens: u64,
    /// Stored images.
    pub images: u64,
}

/// A record that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Index in the input, from 0.
    pub record: u64,
    /// What became of it.
    pub outcome: DocumentOutcome,
    /// Where (the line, for text) and what is wrong.
    pub detail: String,
}

/// Counts by outcome. Names of later versions are one outcome here, and add up.
fn summed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<DocumentOutcome, u64>, D::Error> {
    let by_name = BTreeMap::<String, u64>::deserialize(deserializer)?;
    let mut counts = BTreeMap::new();
    for (name, count) in by_name {
        let name: StrDeserializer<'_, D::Error> = name.as_str().into_deserializer();
        let sum: &mut u64 = counts
            .entry(DocumentOutcome::deserialize(name)?)
            .or_default();
        *sum = sum
            .checked_add(count)
            .ok_or_else(|| D::Error::custom("counts beyond 2^64"))?;
    }
    Ok(counts)
}

/// Keeps the newest commit of each unit, in the order of their names: sources, inputs and records.
pub fn live(commits: impl IntoIterator<Item = Commit>) -> Vec<Commit> {
    let mut newest: BTreeMap<String, Commit> = BTreeMap::new();
    for commit in commits {
        match newest.get(&commit.unit.name()) {
            Some(known) if known.generation >= commit.generation => {}
            _ => {
                newest.insert(commit.unit.name(), commit);
            }
        }
    }
    newest.into_values().collect()
}

/// One row group, as a stream's plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// Name of its unit.
    pub unit: String,
    /// Of its commit.
    pub generation: u32,
    /// The file in the dataset's folder.
    pub shard: String,
    /// Of that file, lower-case hex.
    pub shard_sha256: String,
    /// Of that file.
    pub shard_bytes: u64,
    /// Index in that file.
    pub row_group: u32,
    /// Documents.
    pub rows: u32,
    /// Compressed, in the file.
    pub bytes: u64,
    /// Ids.
    pub tokens: u64,
    /// Stored images.
    pub images: u64,
}

/// The manifest's Arrow schema.
pub fn manifest_schema() -> SchemaRef {
    let field = |name, kind| Field::new(name, kind, false);
    Arc::new(Schema::new(vec![
        field("unit", DataType::Utf8),
        field("generation", DataType::UInt32),
        field("shard", DataType::Utf8),
        field("shard_sha256", DataType::Utf8),
        field("shard_bytes", DataType::UInt64),
        field("row_group", DataType::UInt32),
        field("rows", DataType::UInt32),
        field("bytes", DataType::UInt64),
        field("tokens", DataType::UInt64),
        field("images", DataType::UInt64),
    ]))
}

/// The Arrow schema of a request log: one row for each image asked for, redirects and further tries included. Older logs
/// lack some of the columns.
pub fn fetch_schema() -> SchemaRef {
    let field = |name, kind| Field::new(name, kind, true);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        field("url", DataType::Utf8),
        field("final_url", DataType::Utf8),
        field("class", DataType::Utf8),
        field("outcome", DataType::Utf8),
        field("status", DataType::UInt16),
        field("detail", DataType::Utf8),
        field("ms", DataType::UInt64),
        field("bytes", DataType::UInt64),
        field("etag", DataType::Utf8),
        field("last_modified", DataType::Utf8),
        field("time", utc),
    ]))
}

/// Manifest rows to Arrow.
pub fn manifest_to_arrow(rows: &[ManifestRow]) -> RecordBatch {
    let text = |of: fn(&ManifestRow) -> &str| {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as _
    };
    let u32s = |of: fn(&ManifestRow) -> u32| {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(of))) as _
    };
    let u64s = |of: fn(&ManifestRow) -> u64| {
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(of))) as _
    };
    let columns = vec![
        text(|row| &row.unit),
        u32s(|row| row.generation),
        text(|row| &row.shard),
        text(|row| &row.shard_sha256),
        u64s(|row| row.shard_bytes),
        u32s(|row| row.row_group),
        u32s(|row| row.rows),
        u64s(|row| row.bytes),
        u64s(|row| row.tokens),
        u64s(|row| row.images),
    ];
    RecordBatch::try_new(manifest_schema(), columns).expect("columns were made for this schema")
}

/// Arrow to manifest rows.
///
/// # Errors
/// The name of the first column that is missing or has another type.
pub fn manifest_from_arrow(batch: &RecordBatch) -> Result<Vec<ManifestRow>, &'static str> {
    let text = |name| {
        batch
            .column_by_name(name)
            .and_then(|c| c.as_string_opt::<i32>())
            .ok_or(name)
    };
    let u32s = |name| {
        batch
            .column_by_name(name)
            .and_then(|c| c.as_primitive_opt::<UInt32Type>())
            .ok_or(name)
    };
    let u64s = |name| {
        batch
            .column_by_name(name)
            .and_then(|c| c.as_primitive_opt::<UInt64Type>())
            .ok_or(name)
    };
    let (unit, shard, shard_sha256) = (text("unit")?, text("shard")?, text("shard_sha256")?);
    let shard_bytes = u64s("shard_bytes")?;
    let (generation, row_group, rows) = (u32s("generation")?, u32s("row_group")?, u32s("rows")?);
    let (bytes, tokens, images) = (u64s("bytes")?, u64s("tokens")?, u64s("images")?);
    Ok((0..batch.num_rows())
        .map(|i| ManifestRow {
            unit: unit.value(i).to_owned(),
            generation: generation.value(i),
            shard: shard.value(i).to_owned(),
            shard_sha256: shard_sha256.value(i).to_owned(),
            shard_bytes: shard_bytes.value(i),
            row_group: row_group.value(i),
            rows: rows.value(i),
            bytes: bytes.value(i),
            tokens: tokens.value(i),
            images: images.value(i),
        })
        .collect())
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("these structures are plain JSON");
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            format: FORMAT,
            tokenizer: TokenizerId {
                name: "clip".into(),
                sha256: "00".repeat(32),
                text_joiner: " ".into(),
            },
            vocabulary: Vocabulary::CLIP,
            image_size: 256,
        }
    }

    fn commit(first: u64, generation: u32) -> Commit {
        Commit {
            format: FORMAT,
            unit: Unit {
                source: "mmc4".into(),
                input: "0123456789abcdef".into(),
                first,
            },
            input_name: "docs.jsonl".into(),
            input_sha256: "0123456789abcdef".into(),
            records_sha256: "22".repeat(32),
            records: 3,
            last: true,
            generation,
            rules: serde_json::json!({"max_images": 6}),
            shards: vec![ShardEntry {
                file: "part.parquet".into(),
                sha256: "11".repeat(32),
                bytes: 10,
                row_groups: vec![RowGroupEntry {
                    rows: 2,
                    bytes: 9,
                    tokens: 40,
                    images: 3,
                }],
            }],
            documents: BTreeMap::from([
                (DocumentOutcome::Written, 2),
                (DocumentOutcome::Unreadable, 1),
            ]),
            images: BTreeMap::from([(Outcome::Stored, 3), (Outcome::Http(404), 1)]),
            images_not_written: 0,
            faults: vec![Fault {
                record: 1,
                outcome: DocumentOutcome::Unreadable,
                detail: "not JSON".into(),
            }],
        }
    }

    #[test]
    fn a_newer_format_is_refused_even_when_it_has_other_fields() {
        let refused = Header::from_json(br#"{"format": 7, "shape": "unheard of"}"#);
        assert!(matches!(refused, Err(HeaderError::TooNew { found: 7 })));
    }

    #[test]
    fn an_older_format_is_read_and_not_written_into() {
        let older = Header {
            format: 0,
            ..header()
        };
        let read = Header::from_json(&older.to_json()).expect("the same but for its number");
        header().check_mixes(&read).expect("the same ids");
        let refusal = header().check_joins(&read).expect_err("older").to_string();
        assert_eq!(
            refusal,
            "the dataset has format 0, which is read and not added to: use another --out"
        );
    }

    #[test]
    fn a_header_reads_back_and_joins_itself_only() {
        let header = header();
        let read = Header::from_json(&header.to_json()).expect("just written");
        assert_eq!(read, header);
        header.check_joins(&read).expect("equal");
        let larger = Header {
            image_size: 512,
            ..header.clone()
        };
        let refusal = larger
            .check_joins(&header)
            .expect_err("another size")
            .to_string();
        assert_eq!(
            refusal,
            "the dataset was made with image size 256, this run has 512: use the same, or another --out"
        );
    }

    #[test]
    fn a_commit_reads_back_with_its_outcomes() {
        let commit = commit(0, 0);
        let read: Commit = serde_json::from_slice(&commit.to_json()).expect("just written");
        assert_eq!(read, commit);
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let grown = |json: &[u8]| {
            let mut json: serde_json::Value = serde_json::from_slice(json).expect("JSON");
            json["added"] = serde_json::json!({"later": true});
            json
        };
        let header = header();
        let json = grown(&header.to_json()).to_string();
        assert_eq!(
            Header::from_json(json.as_bytes()).expect("a header"),
            header
        );
        let mut json = grown(&commit(0, 0).to_json());
        let documents = json["documents"].as_object_mut().expect("counts");
        let unreadable = documents
            .remove("unreadable")
            .and_then(|count| count.as_u64());
        documents.insert("watermarked".into(), unreadable.into());
        documents.insert("zipped".into(), 0.into());
        let read: Commit = serde_json::from_value(json).expect("a commit");
        assert_eq!(read.documents[&DocumentOutcome::Unknown], 1);
        assert_eq!(read.check(), Ok(()));
    }

    #[test]
    fn a_commit_whose_numbers_cannot_be_is_told_from_a_whole_one() {
        let whole = commit(0, 0);
        assert_eq!(whole.check(), Ok(()));
        let (mut more, mut endless, mut far) = (whole.clone(), whole.clone(), whole);
        more.records += 1;
        endless.records = 0;
        endless.documents.clear();
        endless.last = false;
        far.unit.first = u64::MAX;
        for commit in [more, endless, far] {
            assert!(commit.check().is_err(), "{commit:?}");
        }
    }

    #[test]
    fn a_later_generation_supersedes_and_units_keep_their_order() {
        let live = live([commit(2000, 0), commit(0, 1), commit(0, 0)]);
        let kept: Vec<_> = live.iter().map(|c| (c.unit.first, c.generation)).collect();
        assert_eq!(kept, [(0, 1), (2000, 0)]);
    }

    #[test]
    fn a_manifest_reads_back() {
        let rows: Vec<_> = commit(0, 0).manifest_rows().collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(manifest_from_arrow(&manifest_to_arrow(&rows)), Ok(rows));
    }
}

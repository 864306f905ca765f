//! A dataset written by hand, so that these tests hold the sharder to the format and not to `lcl-ingest`.
//!
//! Document d's texts are made of id 1000 + d alone and its image at place p is plain, of the colour (d low, d high, p): what
//! a batch holds can be recognised.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use lcl_schemas::dataset::{
    COMMITS_DIR, Commit, FORMAT, HEADER_FILE, Header, LATEST_MANIFEST, MANIFESTS_DIR,
    RowGroupEntry, ShardEntry, TokenizerId, Unit, manifest_to_arrow,
};
use lcl_schemas::document::{Document, Image, Place, StoredImage};
use lcl_schemas::layout::{Layout, PlaceTokens};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::row::{self, Row};
use lcl_schemas::vocabulary::Vocabulary;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

pub(crate) const V: Vocabulary = Vocabulary::CLIP;

/// A place of a document: a text of so many ids, an image matched to a place or to none, or one that could not be had.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Text(usize),
    Image(Option<u32>),
    Missing,
}

/// Text, an image, the sentence that it is matched to, another image, text: what most tests need.
pub(crate) fn usual(documents: usize) -> Vec<Vec<Part>> {
    use Part::{Image, Missing, Text};
    (0..documents)
        .map(|d| {
            vec![
                Text(3 + d % 5),
                Image(Some(2)),
                Text(4 + d % 3),
                Missing,
                Image(None),
                Text(2 + d % 4),
            ]
        })
        .collect()
}

/// Writes documents in row groups of `group` rows, two row groups a shard.
pub(crate) fn write(folder: &Path, documents: &[Vec<Part>], group: usize) {
    write_rows(folder, &rows(documents), group);
}

/// Documents as rows.
pub(crate) fn rows(documents: &[Vec<Part>]) -> Vec<Row> {
    let numbered = documents.iter().enumerate();
    numbered.map(|(d, parts)| row_of(d, parts)).collect()
}

/// As [`write`].
pub(crate) fn write_rows(folder: &Path, rows: &[Row], group: usize) {
    for name in [COMMITS_DIR, MANIFESTS_DIR] {
        std::fs::create_dir_all(folder.join(name)).expect("a temporary folder");
    }
    let header = Header {
        format: FORMAT,
        tokenizer: TokenizerId {
            name: "numbers".into(),
            sha256: "0".repeat(64),
            text_joiner: String::new(),
        },
        vocabulary: V,
        image_size: 8,
    };
    std::fs::write(folder.join(HEADER_FILE), header.to_json()).expect("writable");
    let shards = rows
        .chunks(2 * group)
        .enumerate()
        .map(|(n, rows)| shard(folder, n, rows, group))
        .collect();
    let commit = commit_of(rows, shards);
    std::fs::write(
        folder.join(COMMITS_DIR).join(commit.file_name()),
        commit.to_json(),
    )
    .expect("writable");
    let manifest = manifest_to_arrow(&commit.manifest_rows().collect::<Vec<_>>());
    let mut writer =
        ArrowWriter::try_new(Vec::new(), manifest.schema(), None).expect("a valid schema");
    writer.write(&manifest).expect("in memory");
    let bytes = writer.into_inner().expect("in memory");
    let hash = format!("{:x}", Sha256::digest(&bytes));
    std::fs::write(
        folder.join(MANIFESTS_DIR).join(format!("{hash}.parquet")),
        bytes,
    )
    .expect("writable");
    std::fs::write(folder.join(MANIFESTS_DIR).join(LATEST_MANIFEST), hash).expect("writable");
}

/// Document d.
pub(crate) fn row_of(d: usize, parts: &[Part]) -> Row {
    let ids: Vec<Vec<u32>> = parts
        .iter()
        .map(|part| match part {
            Part::Text(length) => vec![1000 + d as u32; *length],
            Part::Image(_) | Part::Missing => Vec::new(),
        })
        .collect();
    let layout = Layout::from_places(
        &V,
        parts.iter().zip(&ids).map(|(part, ids)| match part {
            Part::Text(_) => PlaceTokens::Text(ids),
            Part::Image(_) => PlaceTokens::Image,
            Part::Missing => PlaceTokens::MissingImage,
        }),
    );
    let places = parts
        .iter()
        .enumerate()
        .map(|(p, part)| match part {
            Part::Text(length) => Place::Text(format!("document {d}, {length} ids")),
            Part::Image(sentence) => {
                Place::Image(image_of(Outcome::Stored, Some(stored(d, p)), *sentence))
            }
            Part::Missing => Place::Image(image_of(Outcome::Http(404), None, None)),
        })
        .collect();
    let document = Document {
        id: format!("document-{d:04}"),
        source: "test".into(),
        url: None,
        language: None,
        places,
    };
    Row {
        document,
        layout: layout.expect("plain ids"),
    }
}

fn image_of(outcome: Outcome, stored: Option<StoredImage>, sentence: Option<u32>) -> Image {
    Image {
        url: Some("http://example.org/i.png".into()),
        alt: None,
        outcome,
        stored,
        similarity: None,
        sentence,
    }
}

/// The colour of document d's image at place p.
pub(crate) fn colour(d: usize, p: usize) -> [u8; 3] {
    [(d % 256) as u8, (d / 256) as u8, p as u8]
}

pub(crate) fn stored(d: usize, p: usize) -> StoredImage {
    let mut png = Cursor::new(Vec::new());
    RgbImage::from_pixel(10, 8, Rgb(colour(d, p)))
        .write_to(&mut png, ImageFormat::Png)
        .expect("in memory");
    // Padding behind the picture makes pixels weigh what they weigh in real datasets; decoders stop before it.
    let bytes = [png.into_inner(), vec![(d % 251) as u8; 4096]].concat();
    StoredImage {
        sha256: format!("{:x}", Sha256::digest(&bytes)),
        phash: d as u64,
        format: "png".into(),
        width: 10,
        height: 8,
        original_width: 10,
        original_height: 8,
        original_bytes: bytes.len() as u32,
        bytes,
    }
}

fn shard(folder: &Path, n: usize, rows: &[Row], group: usize) -> ShardEntry {
    let pixels = ColumnPath::from(
        row::IMAGE_BYTES_PATH
            .split('.')
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    );
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_column_dictionary_enabled(pixels, false)
        .set_column_bloom_filter_enabled(ColumnPath::from("id"), true)
        .set_column_bloom_filter_max_ndv(ColumnPath::from("id"), group as u64)
        .set_data_page_row_count_limit(1)
        .set_write_batch_size(1)
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), row::schema(), Some(properties)).expect("a valid schema");
    writer.write(&row::to_arrow(rows)).expect("in memory");
    let bytes = writer.into_inner().expect("in memory");
    let file = format!("part-{n}.parquet");
    std::fs::write(folder.join(&file), &bytes).expect("writable");
    let row_groups = rows
        .chunks(group)
        .map(|rows| RowGroupEntry {
            rows: rows.len() as u32,
            bytes: 0,
            tokens: rows
                .iter()
                .map(|row| row.layout.tokens().len() as u64)
                .sum(),
            images: rows
                .iter()
                .map(|row| row.document.stored_images() as u64)
                .sum(),
        })
        .collect();
    ShardEntry {
        file,
        sha256: format!("{:x}", Sha256::digest(&bytes)),
        bytes: bytes.len() as u64,
        row_groups,
    }
}

fn commit_of(rows: &[Row], shards: Vec<ShardEntry>) -> Commit {
    let mut images = BTreeMap::new();
    for image in rows.iter().flat_map(|row| row.document.images()) {
        *images.entry(image.outcome.clone()).or_insert(0) += 1;
    }
    Commit {
        format: FORMAT,
        unit: Unit {
            source: "test".into(),
            input: "0".repeat(16),
            first: 0,
        },
        input_name: "by hand".into(),
        input_sha256: "0".repeat(16),
        records_sha256: "0".repeat(64),
        records: rows.len() as u64,
        last: true,
        generation: 0,
        rules: serde_json::Value::Null,
        shards,
        documents: BTreeMap::from([(DocumentOutcome::Written, rows.len() as u64)]),
        images,
        images_not_written: 0,
        faults: Vec::new(),
    }
}

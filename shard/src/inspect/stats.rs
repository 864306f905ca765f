//! What a dataset holds and what became of everything that went into it.
//!
//! ```text
//! commits, manifest ─► stats: counts and outcomes
//! columns of rows ───► gather ─┬► histogram, tally ─────┐
//!   (never pixels)             ├► copies ─► near ───────┤ repeats ─► Statistics ─► terminal, page, JSON
//!                              └► packing (fill) ───────┘
//! ```
//! Memory does not grow with the dataset: at most half a gigabyte, of which 168 MB are hashes of images.

mod copies;
mod gather;
pub mod histogram;
mod near;
pub mod page;
mod plot;
pub mod repeats;
pub mod tally;
pub mod terminal;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use lcl_schemas::dataset::{COMMITS_DIR, Commit, live};
use lcl_schemas::outcome::{Class, DocumentOutcome, Outcome};
use serde::Serialize;

use self::copies::Copies;
use self::gather::{COLUMNS, Gathered, OfGroup, gather};
use self::histogram::Distribution;
use self::repeats::{Duplicates, NearDuplicates};
use self::tally::Ranking;
use super::groups::{Watch, in_order};
use super::packing::{Fill, Filling};
use super::visible::Visible;
use crate::config::Verify;
use crate::read::{ReadError, Reader};

/// A dataset in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Its tokenizer's name.
    pub tokenizer: String,
    /// Stored short side in pixels.
    pub image_size: u32,
    /// Live commits.
    pub units: u64,
    /// Files.
    pub shards: u64,
    /// Of those files.
    pub bytes: u64,
    /// Rows.
    pub documents: u64,
    /// Stored images.
    pub images: u64,
    /// Ids, without slots.
    pub tokens: u64,
    /// Records read, by what became of them.
    pub records_by_outcome: BTreeMap<DocumentOutcome, u64>,
    /// Images of all well-formed records, by what became of them.
    pub images_by_outcome: BTreeMap<Outcome, u64>,
    /// Images of records that were not written.
    pub images_not_written: u64,
    /// Records that could not be used, the first [`FAULTS`] that commits tell: input, record and why.
    pub faults: Vec<String>,
    /// Further ones that commits tell.
    pub faults_left_out: u64,
}

/// More than these nobody reads; `SELECT faults FROM commits` has them all.
const FAULTS: usize = 1_000;

/// Counts, summed up. What a damaged commit says may be beyond all bounds.
fn total<'a>(counts: impl IntoIterator<Item = &'a u64>) -> u64 {
    counts
        .into_iter()
        .fold(0, |sum, count| sum.saturating_add(*count))
}

fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

/// What statistics depend on besides the dataset.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Ids in a sequence.
    pub context: usize,
    /// Ids between an image's BOI and EOI.
    pub slots: usize,
    /// Bits that the perceptual hashes of near-duplicates may differ in, at most 15.
    pub near_bits: u32,
}

/// A dataset in numbers, its rows looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Statistics {
    /// What its commits say.
    #[serde(flatten)]
    pub counts: Stats,
    /// `images_by_outcome`, summed up.
    pub images_by_class: BTreeMap<Class, u64>,
    /// Read of the shards: compressed columns of row groups, no pixels among them.
    pub bytes_read: u64,
    /// Ids of each document, without slots.
    pub tokens_per_document: Distribution<u64>,
    /// Stored images of each document.
    pub images_per_document: Distribution<u64>,
    /// Sentences or paragraphs of each document.
    pub texts_per_document: Distribution<u64>,
    /// Characters of all texts of each document.
    pub characters_per_document: Distribution<u64>,
    /// Characters of each text.
    pub characters_per_text: Distribution<u64>,
    /// Characters of each text alternative, of images that have one, stored or not.
    pub characters_per_alt: Distribution<u64>,
    /// Of stored images, in pixels.
    pub short_side: Distribution<u64>,
    /// Of stored images as they were fetched, in pixels.
    pub original_short_side: Distribution<u64>,
    /// Of stored images as they were fetched.
    pub original_bytes: Distribution<u64>,
    /// Of images to the texts that they were matched to, stored or not.
    pub similarity: Distribution<f64>,
    /// Similarities that are none: beyond 1, or not a number.
    pub impossible_similarities: u64,
    /// Documents by source.
    pub sources: Ranking,
    /// Documents by language.
    pub languages: Ranking,
    /// Stored images by format.
    pub formats: Ranking,
    /// Documents by the host of their page.
    pub page_hosts: Ranking,
    /// Images, stored or not, by host.
    pub image_hosts: Ranking,
    /// Images with the same bytes.
    pub duplicates: Duplicates,
    /// Images that look alike.
    pub near_duplicates: NearDuplicates,
    /// How full sequences are.
    pub packing: Fill,
}

/// Looks at a dataset's rows, without pixels.
///
/// # Errors
/// A dataset, commit or row group that cannot be read.
pub fn look(dataset: &Path, settings: Settings, watch: Watch) -> Result<Statistics, ReadError> {
    let reader = Reader::open(dataset, "", Verify::Size)?;
    let counts = count(dataset, &reader)?;
    let groups: Vec<u32> = (0..reader.groups().len() as u32).collect();
    let (mut all, mut copies) = (Gathered::default(), Copies::default());
    let mut filling = Filling::new(settings.context, settings.slots);
    let mut seen = 0;
    in_order(
        &reader,
        &groups,
        &COLUMNS,
        gather,
        |_, of_group: OfGroup| {
            all.add_all(&of_group.gathered);
            of_group
                .stored
                .into_iter()
                .for_each(|image| copies.add(image));
            for &(tokens, images) in &of_group.lengths {
                filling.add(tokens, images);
            }
            seen += of_group.lengths.len() as u64;
            watch(seen, counts.documents);
        },
    )?;
    let near_bits = settings.near_bits.min(15);
    let (duplicates, near_duplicates) = repeats::find(&reader, copies.images(), near_bits)?;
    let mut images_by_class = BTreeMap::new();
    for (outcome, count) in &counts.images_by_outcome {
        add(images_by_class.entry(outcome.class()).or_default(), *count);
    }
    Ok(Statistics {
        counts,
        images_by_class,
        bytes_read: reader.bytes_read(),
        tokens_per_document: all.tokens.distribution(),
        images_per_document: all.images.distribution(),
        texts_per_document: all.texts.distribution(),
        characters_per_document: all.document_chars.distribution(),
        characters_per_text: all.text_chars.distribution(),
        characters_per_alt: all.alt_chars.distribution(),
        short_side: all.short_side.distribution(),
        original_short_side: all.original_short_side.distribution(),
        original_bytes: all.original_bytes.distribution(),
        similarity: all.similarity.distribution(),
        impossible_similarities: all.similarity.outside(),
        sources: all.sources.ranking(),
        languages: all.languages.ranking(),
        formats: all.formats.ranking(),
        page_hosts: all.page_hosts.ranking(),
        image_hosts: all.image_hosts.ranking(),
        duplicates,
        near_duplicates,
        packing: filling.fill(),
    })
}

/// Counts a dataset, from its commits and manifest alone.
///
/// # Errors
/// A dataset or commit that cannot be read.
pub fn stats(dataset: &Path) -> Result<Stats, ReadError> {
    count(dataset, &Reader::open(dataset, "", Verify::Size)?)
}

fn count(dataset: &Path, reader: &Reader) -> Result<Stats, ReadError> {
    let commits = live(commits(dataset)?);
    let mut stats = Stats {
        tokenizer: reader.header().tokenizer.name.clone(),
        image_size: reader.header().image_size,
        units: commits.len() as u64,
        shards: commits
            .iter()
            .map(|commit| commit.shards.len() as u64)
            .sum(),
        bytes: total(
            commits
                .iter()
                .flat_map(|commit| &commit.shards)
                .map(|shard| &shard.bytes),
        ),
        documents: 0,
        images: 0,
        tokens: 0,
        records_by_outcome: BTreeMap::new(),
        images_by_outcome: BTreeMap::new(),
        images_not_written: 0,
        faults: Vec::new(),
        faults_left_out: 0,
    };
    for group in reader.groups() {
        stats.documents += u64::from(group.rows);
        stats.images += group.images;
        stats.tokens += group.tokens;
    }
    for commit in commits {
        for (outcome, count) in &commit.documents {
            add(
                stats.records_by_outcome.entry(*outcome).or_default(),
                *count,
            );
        }
        for (outcome, count) in &commit.images {
            add(
                stats.images_by_outcome.entry(outcome.clone()).or_default(),
                *count,
            );
        }
        add(&mut stats.images_not_written, commit.images_not_written);
        let room = FAULTS - stats.faults.len();
        let left_out = commit.faults.len().saturating_sub(room);
        stats.faults_left_out += left_out as u64;
        let told = commit.faults.iter().take(room);
        let told = told.map(|fault| format!("{}: {}", commit.input_name, fault.detail));
        stats.faults.extend(told);
    }
    Ok(stats)
}

fn commits(dataset: &Path) -> Result<Vec<Commit>, ReadError> {
    let folder = dataset.join(COMMITS_DIR);
    let unreadable = |path: PathBuf| move |source| ReadError::File { path, source };
    let mut commits = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable(folder.clone()))? {
        let path = entry.map_err(unreadable(folder.clone()))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let json = std::fs::read(&path).map_err(unreadable(path.clone()))?;
        let commit =
            serde_json::from_slice(&json).map_err(|error| unreadable(path)(error.into()))?;
        commits.push(commit);
    }
    Ok(commits)
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<22} {value:>12}");
        line("documents", &self.documents)?;
        line("images", &self.images)?;
        line("tokens", &self.tokens)?;
        line("bytes", &self.bytes)?;
        line("shards", &self.shards)?;
        line("units", &self.units)?;
        line("tokenizer", &Visible(&self.tokenizer))?;
        line("image size", &self.image_size)?;
        let records: u64 = total(self.records_by_outcome.values());
        writeln!(f, "\n{records} records read")?;
        for (outcome, count) in &self.records_by_outcome {
            writeln!(f, "  {:<20} {count:>12}", outcome.name())?;
        }
        let images: u64 = total(self.images_by_outcome.values());
        writeln!(
            f,
            "\n{images} images in them, {} of records not written",
            self.images_not_written
        )?;
        for (outcome, count) in &self.images_by_outcome {
            writeln!(
                f,
                "  {:<20} {count:>12}  {}",
                Visible(&outcome.to_string()).to_string(),
                outcome.class().name()
            )?;
        }
        for fault in &self.faults {
            writeln!(f, "fault: {}", Visible(fault))?;
        }
        if self.faults_left_out > 0 {
            writeln!(f, "… and {} more", self.faults_left_out)?;
        }
        Ok(())
    }
}

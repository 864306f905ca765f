//! What differs between two datasets, say two runs of ingest over one input: documents by id, images by URL.
//!
//! ```text
//! A ─► digest: 88 bytes a document, 40 an image ─┐
//!                                                 ├─ by id ─► matching ─► Diff, entries
//! B ─► digest ───────────────────────────────────┘
//! ```
//! Pixels are not read: images are the same when SHA-256 of what was fetched, size, format and perceptual hash are. Digests
//! are 64 bits of a SHA-256, ids 128. More than a million documents are compared in several passes, each over the ids whose
//! hash falls to it, so that digests take about 0.2 GB and 80 bytes for each image of a million documents.

mod digest;
mod hash;
mod matching;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lcl_schemas::dataset::Header;
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use serde::Serialize;

use self::digest::{At, Digests, Names};
use self::matching::{Listed, Matching};
use super::groups::{Watch, in_order, texts};
use super::stats;
use crate::config::Verify;
use crate::read::{ReadError, Reader};

/// Documents of one dataset whose digests are in memory at once.
const AT_ONCE: u64 = 1 << 20;

/// Why two datasets could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// One of them cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry could not be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// A part of a document that may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What kind of input it came from.
    Source,
    /// The page's URL.
    Url,
    /// The language.
    Language,
    /// Any text.
    Texts,
    /// Ids of texts; special ids are not looked at.
    Tokens,
    /// What became of an image.
    Outcomes,
    /// Bytes of an image as fetched.
    Pixels,
    /// An image came or went.
    Images,
    /// The same texts and images, in another order.
    Order,
    /// Size, format or perceptual hash of an image of the same bytes.
    Form,
    /// Text alternative, similarity or matched text of an image.
    About,
}

/// Images whose outcome changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// In A.
    pub from: Outcome,
    /// In B.
    pub to: Outcome,
    /// How many.
    pub images: u64,
}

/// What happened to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only in A.
    Lost,
    /// In both.
    Changed,
    /// Only in B.
    Added,
}

/// A document that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// What happened to it.
    pub change: Change,
    /// Parts that differ, of a document in both.
    pub parts: Vec<Part>,
    /// Its images whose outcome changed.
    pub outcomes: Vec<Transition>,
    /// Its images with other bytes.
    pub other_pixels: u64,
    /// Its images that only B has.
    pub images_added: u64,
    /// Its images that only A has.
    pub images_lost: u64,
}

/// A number of A and the same of B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Both {
    /// The first dataset's.
    pub a: u64,
    /// The second's.
    pub b: u64,
}

/// Something that is true of all rows and differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderDifference {
    /// What.
    pub what: &'static str,
    /// In A.
    pub a: String,
    /// In B.
    pub b: String,
}

/// Two datasets compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Nothing differs.
    pub same: bool,
    /// Differences of the headers.
    pub header: Vec<HeaderDifference>,
    /// Rows.
    pub documents: Both,
    /// Rows whose id an earlier row has; of one id, equal documents are matched first, then in order.
    pub repeated_ids: Both,
    /// Documents in both that are alike.
    pub documents_same: u64,
    /// Documents in both that differ.
    pub documents_changed: u64,
    /// Only in A.
    pub documents_lost: u64,
    /// Only in B.
    pub documents_added: u64,
    /// Documents in both, by the parts that differ.
    pub changed: BTreeMap<Part, u64>,
    /// Images in both of documents in both, by outcomes that differ.
    pub outcomes: Vec<Transition>,
    /// Images in both of documents in both, with other bytes.
    pub other_pixels: u64,
    /// Images of documents in both that only B has.
    pub images_added: u64,
    /// Images of documents in both that only A has.
    pub images_lost: u64,
    /// Records by what became of them, as commits say.
    pub records_by_outcome: BTreeMap<DocumentOutcome, Both>,
    /// Images of all well-formed records by what became of them, as commits say.
    pub images_by_outcome: BTreeMap<Outcome, Both>,
}

/// Is given every document that differs: of each pass first those of A in their order, then those that only B has.
pub type List<'a> = &'a mut dyn FnMut(&Entry) -> io::Result<()>;

/// Compares dataset `a` with `b`.
///
/// # Errors
/// A dataset that cannot be read, or what `list` says.
pub fn diff(a: &Path, b: &Path, list: Option<List>, watch: Watch) -> Result<Diff, DiffError> {
    let readers = [a, b].map(|folder| Reader::open(folder, "", Verify::Size));
    let [reader_a, reader_b] = readers;
    let readers = [reader_a?, reader_b?];
    let counts = [stats::stats(a)?, stats::stats(b)?];
    let mut found = Diff {
        header: header_differences(readers[0].header(), readers[1].header()),
        documents: Both {
            a: counts[0].documents,
            b: counts[1].documents,
        },
        records_by_outcome: both(counts.each_ref().map(|counts| &counts.records_by_outcome)),
        images_by_outcome: both(counts.each_ref().map(|counts| &counts.images_by_outcome)),
        ..Diff::default()
    };
    let passes = found
        .documents
        .a
        .max(found.documents.b)
        .div_ceil(AT_ONCE)
        .max(1);
    rows(&readers, passes, &mut found, list, watch)?;
    let differ = |both: &Both| both.a != both.b;
    found.same = found.header.is_empty()
        && found.documents_changed + found.documents_lost + found.documents_added == 0
        && !found.records_by_outcome.values().any(differ)
        && !found.images_by_outcome.values().any(differ);
    Ok(found)
}

fn rows(
    readers: &[Reader; 2],
    passes: u64,
    found: &mut Diff,
    mut list: Option<List>,
    watch: Watch,
) -> Result<(), DiffError> {
    let all = passes * (found.documents.a + found.documents.b);
    let (mut names, mut read) = (Names::default(), 0);
    for pass in 0..passes {
        let mut load = |reader| {
            let mut seen = |rows| {
                read += rows;
                watch(read, all);
            };
            Digests::load(reader, (pass, passes), &mut names, &mut seen)
        };
        let (a, b) = (load(&readers[0])?, load(&readers[1])?);
        let mut matching = Matching::new(&a, &b, list.is_some());
        matching.run(found);
        let listed = matching.end(found, &names);
        if let Some(list) = &mut list {
            listed_entries(readers, listed, &names, list)?;
        }
    }
    found
        .outcomes
        .sort_by_key(|transition| std::cmp::Reverse(transition.images));
    Ok(())
}

/// Looks ids up, which digests do not have, and gives them to `list`.
fn listed_entries(
    readers: &[Reader; 2],
    listed: Vec<Listed>,
    names: &Names,
    list: &mut List,
) -> Result<(), DiffError> {
    let (mut of_a, mut of_b): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|entry| entry.a.is_some());
    of_a.sort_unstable_by_key(|entry| entry.a);
    of_b.sort_unstable_by_key(|entry| entry.b);
    for (reader, listed) in readers.iter().zip([of_a, of_b]) {
        let spots: Vec<_> = listed
            .iter()
            .filter_map(|entry| entry.a.or(entry.b))
            .collect();
        let mut listed = listed.into_iter();
        let mut written = Ok(());
        ids(reader, &spots, |id| {
            if let (Some(entry), Ok(())) = (listed.next(), &written) {
                written = list(&entry.entry(id, names));
            }
        })?;
        written?;
    }
    Ok(())
}

/// The ids of some rows, in their order.
fn ids(reader: &Reader, spots: &[At], mut take: impl FnMut(String)) -> Result<(), ReadError> {
    let mut groups: Vec<_> = spots.iter().map(|at| at.group).collect();
    groups.dedup();
    in_order(
        reader,
        &groups,
        &["id"],
        |group, batches| {
            let (mut found, mut before) = (Vec::new(), 0);
            let first = spots.partition_point(|at| at.group < group);
            let mut wanted = spots[first..]
                .iter()
                .take_while(|at| at.group == group)
                .peekable();
            for batch in batches {
                let column = texts(batch, "id")?;
                let rows = batch.num_rows();
                while let Some(at) = wanted.next_if(|at| (at.row as usize) < before + rows) {
                    found.push(column.value(at.row as usize - before).to_owned());
                }
                before += rows;
            }
            Ok(found)
        },
        |_, found| found.into_iter().for_each(&mut take),
    )
}

fn header_differences(a: &Header, b: &Header) -> Vec<HeaderDifference> {
    let spelt = |header: &Header| {
        let (tokenizer, ids) = (&header.tokenizer, header.vocabulary);
        [
            ("format", header.format.to_string()),
            (
                "tokenizer",
                format!("{} ({})", tokenizer.name, tokenizer.sha256),
            ),
            ("text joiner", format!("{:?}", tokenizer.text_joiner)),
            (
                "vocabulary",
                format!(
                    "{} ids, BOS {}, EOS {}, slot {}, BOI {}, EOI {}",
                    ids.size, ids.bos, ids.eos, ids.slot, ids.boi, ids.eoi
                ),
            ),
            ("image size", format!("{} px", header.image_size)),
        ]
    };
    let both = spelt(a).into_iter().zip(spelt(b));
    both.filter(|(a, b)| a != b)
        .map(|((what, a), (_, b))| HeaderDifference { what, a, b })
        .collect()
}

fn both<K: Ord + Clone>([a, b]: [&BTreeMap<K, u64>; 2]) -> BTreeMap<K, Both> {
    let mut both: BTreeMap<K, Both> = BTreeMap::new();
    for (key, count) in a {
        both.entry(key.clone()).or_default().a = *count;
    }
    for (key, count) in b {
        both.entry(key.clone()).or_default().b = *count;
    }
    both
}

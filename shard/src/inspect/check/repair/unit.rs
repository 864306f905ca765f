//! One unit's sound rows, and the commit that says what became of the others.

use std::collections::{BTreeMap, HashMap};

use lcl_schemas::dataset::{Commit, Fault, Header, RowGroupEntry, ShardEntry};
use lcl_schemas::document::{Image, Place};
use lcl_schemas::layout::{Layout, PlaceTokens};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::row::Row;
use lcl_schemas::tokenizer::Tokenizer;
use lcl_schemas::write::dataset::{Dataset, DatasetError};
use lcl_schemas::write::shard_file::{GROUP_ROWS, ShardFile};

use super::super::Depth;
use super::super::rows::{self, FoundRow, Look, Trust};
use super::super::scan::{FoundUnit, sums_fault};
use super::super::shard::{Contents, Shard};

/// What units are rebuilt with.
pub(super) struct Rebuilding<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) header: &'a Header,
    pub(super) tokenizer: Option<&'a Tokenizer>,
    pub(super) depth: Depth,
    /// Shards of all commits and manifests by their contents.
    pub(super) known: &'a HashMap<String, String>,
}

/// What is left of a unit.
#[derive(Default)]
pub(super) struct Rebuilt {
    shards: Vec<ShardEntry>,
    rows: u64,
    outcomes: BTreeMap<Outcome, u64>,
    /// Images that lost their pixels.
    pub(super) corrupt: u64,
    /// Documents left out because that left them too few.
    pub(super) too_few: u64,
    /// Rows of shards in which something changed, nobody knows what, and that hold up to everything.
    unproven: u64,
    /// Why rows were left out.
    losses: Vec<String>,
    /// Images that stay in whole shards although what is said of their pixels is not all set.
    pub(super) unset: u64,
    /// Why nothing may supersede the unit.
    refused: Option<String>,
}

/// What becomes of a row.
enum Verdict {
    Kept(Box<Row>),
    /// As above, and another than it was.
    Changed(Box<Row>),
    TooFewImages,
    Lost(String),
}

impl Rebuilding<'_> {
    /// Goes through all shards of a unit and writes those anew that are not what they should be.
    pub(super) fn unit(&self, old: &Commit, found: &FoundUnit) -> Result<Rebuilt, DatasetError> {
        let mut rebuilt = Rebuilt::default();
        for (number, entry) in old.shards.iter().enumerate() {
            let contents = found.faulty.get(&number);
            if let Some(entry) = self.shard(old, number, entry, contents, &mut rebuilt)? {
                rebuilt.shards.push(entry);
            }
            if rebuilt.refused.is_some() {
                break;
            }
        }
        Ok(rebuilt)
    }

    /// What is named in place of a shard: itself where it is whole, else a new one of its sound rows.
    fn shard(
        &self,
        old: &Commit,
        number: usize,
        entry: &ShardEntry,
        contents: Option<&Contents>,
        rebuilt: &mut Rebuilt,
    ) -> Result<Option<ShardEntry>, DatasetError> {
        let shard = Shard::new(&self.dataset.path(""), entry);
        let trust = match contents {
            None | Some(Contents::Proven) => Trust::Whole,
            Some(Contents::Missing(why)) => {
                rebuilt.lose(&entry.file, why);
                return Ok(None);
            }
            Some(Contents::Withheld(why)) => {
                rebuilt.refuse(&entry.file, why);
                return Ok(None);
            }
            Some(Contents::Other(hash))
                if self
                    .known
                    .get(hash)
                    .is_some_and(|other| *other != entry.file) =>
            {
                rebuilt.lose(&entry.file, "it holds what another shard should hold");
                return Ok(None);
            }
            Some(Contents::Other(_)) => Trust::Changed(self.tokenizer),
        };
        let footer = match shard.footer() {
            Ok(footer) => footer.metadata(),
            Err(why) => {
                match (trust, doubt(&shard, contents)) {
                    // Written so, and not to be thrown away by who cannot read it.
                    (Trust::Whole, _) => rebuilt.refuse(&entry.file, why),
                    (_, Some(doubt)) => rebuilt.refuse(&entry.file, &doubt),
                    (_, None) => rebuilt.lose(&entry.file, why),
                }
                return Ok(None);
            }
        };
        // What nothing is wrong with is only counted.
        let new = contents.map(|_| ShardFile::new(&self.dataset.path("")));
        let mut new = new.transpose()?;
        let (mut groups, unset_before) = (Vec::new(), rebuilt.unset);
        let mut whole = matches!(trust, Trust::Whole) && shard.oversized().is_none();
        for group in 0..footer.num_row_groups() {
            let kept = self.group(old, &shard, group, trust, rebuilt);
            whole &= kept.whole;
            if let Some(new) = &mut new {
                let mut groups = kept.rows.chunks(GROUP_ROWS);
                groups.try_for_each(|rows| new.write(rows))?;
            }
            groups.push(RowGroupEntry {
                rows: kept.rows.len() as u32,
                bytes: footer.row_group(group).compressed_size() as u64,
                tokens: sum(&kept.rows, |row| row.layout.tokens().len()),
                images: sum(&kept.rows, |row| row.document.stored_images()),
            });
        }
        if rebuilt.refused.is_some() {
            return Ok(None);
        }
        if let Some(doubt) = Some(())
            .filter(|()| !whole)
            .and_then(|()| doubt(&shard, contents))
        {
            rebuilt.refuse(&entry.file, &doubt);
            return Ok(None);
        }
        if !whole && rebuilt.unset > unset_before {
            // A row has a number where its image has none, and 0 would be made up.
            let why = "what is said of its images is not all set, and cannot be written anew";
            rebuilt.refuse(&entry.file, why);
            return Ok(None);
        }
        let rows: u64 = groups.iter().map(|group| u64::from(group.rows)).sum();
        if !whole && rows == 0 {
            return Ok(None);
        }
        if let Some(new) = new.filter(|_| !whole) {
            if let Trust::Changed(_) = trust {
                rebuilt.unproven += rows;
            }
            return new.finish(&old.unit.name(), number).map(Some);
        }
        let bytes = std::fs::metadata(&shard.path).map_err(|source| DatasetError::Io {
            path: shard.path.clone(),
            source,
        })?;
        Ok(Some(ShardEntry {
            bytes: bytes.len(),
            row_groups: groups,
            ..entry.clone()
        }))
    }

    fn group(
        &self,
        old: &Commit,
        shard: &Shard<'_>,
        group: usize,
        trust: Trust<'_>,
        rebuilt: &mut Rebuilt,
    ) -> KeptGroup {
        let mut kept = KeptGroup {
            rows: Vec::new(),
            whole: true,
        };
        let Ok(footer) = shard.footer() else {
            return kept;
        };
        let look = Look {
            header: self.header,
            // Where it is not known what changed it may be pixels.
            depth: match trust {
                Trust::Whole => self.depth,
                Trust::Changed(_) => Depth::Pixels,
            },
            trust,
        };
        let place = format!("{}, row group {group}", shard.entry.file);
        let min_images = old.rules.get("min_images").and_then(|min| min.as_u64());
        let mut faults = Vec::new();
        let read = rows::each(&shard.path, footer, group, &look, &mut |mut found| {
            faults.push(faults_of(&found));
            if let Trust::Whole = trust {
                rebuilt.unset += found.unset.len() as u64;
                found.images.retain(|place, _| !found.unset.contains(place));
            }
            let row = format!("{place}, row {} ({})", found.number, found.id);
            let verdict = judge(found, self.header, min_images.unwrap_or(0), rebuilt);
            kept.whole &= matches!(verdict, Verdict::Kept(_));
            match verdict {
                Verdict::Kept(row) | Verdict::Changed(row) => {
                    rebuilt.keep(&row);
                    kept.rows.push(*row);
                }
                Verdict::TooFewImages => {
                    rebuilt.too_few += 1;
                    rebuilt.lose(&row, "too few of its images are left");
                }
                Verdict::Lost(why) => rebuilt.lose(&row, &why),
            }
        });
        kept.whole &= read.is_ok();
        if !kept.whole {
            // What a disk or the system fails to give once it may give the next time.
            let mut again = Vec::new();
            let read_again = rows::each(&shard.path, footer, group, &look, &mut |found| {
                again.push(faults_of(&found));
            });
            if (&read, faults) != (&read_again, again) {
                rebuilt.refuse(&place, "it reads otherwise than a moment ago");
            }
        }
        if let Err(why) = read {
            rebuilt.lose(&place, &why);
        }
        kept
    }
}

fn faults_of(found: &FoundRow) -> String {
    let FoundRow {
        broken,
        miscounted,
        images,
        ..
    } = found;
    format!("{broken:?} {miscounted:?} {images:?}")
}

/// Why a shard that is not whole may not be written anew, or its rows be taken for lost.
fn doubt(shard: &Shard<'_>, contents: Option<&Contents>) -> Option<String> {
    if contents != Some(&shard.contents()) {
        return Some("it reads otherwise than a moment ago".into());
    }
    let unknown = shard.unknown();
    (!unknown.is_empty()).then(|| {
        format!(
            "it has columns that this version does not know ({}) and would drop: repair it with a newer lcl",
            unknown.join(", ")
        )
    })
}

/// A row group's sound rows.
struct KeptGroup {
    rows: Vec<Row>,
    /// Whether they are all of it, unchanged.
    whole: bool,
}

fn sum(rows: &[Row], of: fn(&Row) -> usize) -> u64 {
    rows.iter().map(|row| of(row) as u64).sum()
}

fn judge(found: FoundRow, header: &Header, min_images: u64, rebuilt: &mut Rebuilt) -> Verdict {
    if let Some((place, why)) = found.broken.first() {
        let place = place.map_or_else(String::new, |place| format!("place {place}: "));
        return Verdict::Lost(format!("{place}{why}"));
    }
    let Some(mut row) = found.row else {
        return Verdict::Lost("it is no row".into());
    };
    let stored_before = row.document.stored_images();
    let places = row.document.places.len() as u32;
    for place in found.images.keys() {
        if let Some(Place::Image(image)) = row.document.places.get_mut(*place as usize) {
            take_out(image, places);
        }
    }
    rebuilt.corrupt += (stored_before - row.document.stored_images()) as u64;
    for (place, part) in (0..).zip(&mut row.document.places) {
        if let Place::Image(Image {
            stored: Some(stored),
            ..
        }) = part
        {
            let pixels = found.pixels.as_ref().and_then(|pixels| pixels.get(place));
            stored.bytes = pixels.map(|bytes| bytes.to_vec()).unwrap_or_default();
        }
    }
    if found.images.is_empty() {
        return match found.miscounted {
            None => Verdict::Kept(Box::new(row)),
            Some(_) => Verdict::Changed(Box::new(row)),
        };
    }
    if (row.document.stored_images() as u64) < min_images {
        return Verdict::TooFewImages;
    }
    match lay_out(&row, header) {
        Ok(layout) => Verdict::Changed(Box::new(Row { layout, ..row })),
        Err(why) => Verdict::Lost(why),
    }
}

/// The image keeps its place and what is known of it, and is there no more.
fn take_out(image: &mut Image, places: u32) {
    image.sentence = image.sentence.filter(|sentence| *sentence < places);
    if image.stored.is_some() || image.outcome == Outcome::Stored {
        image.outcome = Outcome::Corrupt;
        image.stored = None;
    }
}

/// The row's own ids, without those of images that are there no more.
fn lay_out(row: &Row, header: &Header) -> Result<Layout, String> {
    let places = row.document.places.iter().zip(row.layout.places());
    let places = places.map(|(part, ids)| match part {
        Place::Text(_) => PlaceTokens::Text(ids),
        Place::Image(image) if image.stored.is_some() => PlaceTokens::Image,
        Place::Image(_) => PlaceTokens::MissingImage,
    });
    Layout::from_places(&header.vocabulary, places).map_err(|error| error.to_string())
}

impl Rebuilt {
    fn keep(&mut self, row: &Row) {
        self.rows += 1;
        for image in row.document.images() {
            *self.outcomes.entry(image.outcome.clone()).or_default() += 1;
        }
    }

    fn lose(&mut self, place: &str, why: &str) {
        if self.losses.len() < Commit::MAX_FAULTS {
            self.losses.push(format!("{place}: {why}"));
        }
    }

    fn refuse(&mut self, place: &str, why: &str) {
        self.refused.get_or_insert(format!("{place}: {why}"));
    }

    /// Documents that `old` has and this has not, but for those without enough images.
    pub(super) fn documents_lost(&self, old: &Commit) -> u64 {
        let written = old.documents.get(&DocumentOutcome::Written);
        let written = written.copied().unwrap_or(0);
        written.saturating_sub(self.rows + self.too_few)
    }

    /// For people.
    pub(super) fn told(&self, old: &Commit) -> String {
        let mut told = format!(
            "{} documents kept, {} lost, {} left out for want of images, {} images lost",
            self.rows,
            self.documents_lost(old),
            self.too_few,
            self.corrupt
        );
        if self.unproven > 0 {
            told += &format!(
                "; {} of those kept lay in shards with another checksum and hold up to everything else",
                self.unproven
            );
        }
        match self.losses.first() {
            Some(first) => told + "; first: " + first,
            None => told,
        }
    }

    /// The commit that supersedes `old`; `None` where that says what is there.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn superseding(&self, old: &Commit) -> Result<Option<Commit>, String> {
        if let Some(why) = &self.refused {
            return Err(why.clone());
        }
        let mut new = old.clone();
        new.shards = self.shards.clone();
        self.count_documents(&mut new)?;
        self.count_images(old, &mut new)?;
        if let Some(wrong) = sums_fault(&new, self.rows, &self.outcomes) {
            return Err(wrong);
        }
        if new == *old {
            return Ok(None);
        }
        let room = Commit::MAX_FAULTS.saturating_sub(new.faults.len());
        let losses = self.losses.iter().take(room);
        new.faults.extend(losses.map(|detail| Fault {
            // Of the unit: which of its records a row was is not written down.
            record: old.unit.first,
            outcome: DocumentOutcome::Damaged,
            detail: detail.clone(),
        }));
        new.generation += 1;
        Ok(Some(new))
    }

    fn count_documents(&self, new: &mut Commit) -> Result<(), String> {
        let documents = &mut new.documents;
        documents.remove(&DocumentOutcome::Written);
        let others: u64 = documents.values().sum();
        // With those left out for want of images: their record has these, and a later ingest makes the unit anew.
        let damaged = new.records.checked_sub(others + self.rows).ok_or_else(|| {
            format!(
                "its commit says that {others} of {} records came to no document, and there are {}: restore the commit",
                new.records, self.rows
            )
        })?;
        add(documents, DocumentOutcome::Written, self.rows);
        add(documents, DocumentOutcome::Damaged, damaged);
        Ok(())
    }

    fn count_images(&self, old: &Commit, new: &mut Commit) -> Result<(), String> {
        let groups = old.shards.iter().flat_map(|shard| &shard.row_groups);
        let in_groups = groups.fold(0u64, |sum, group| sum.saturating_add(group.images));
        let images = &mut new.images;
        // Of two sums that ought to be the same, the one that claims less to have been lost.
        let before = images.remove(&Outcome::Stored).unwrap_or(0).min(in_groups);
        let stored = self.outcomes.get(&Outcome::Stored).copied().unwrap_or(0);
        add(images, Outcome::Corrupt, self.corrupt);
        let gone = before.saturating_sub(stored.saturating_add(self.corrupt));
        add(images, Outcome::DocumentLeftOut, gone);
        for (outcome, &held) in &self.outcomes {
            let said = images.entry(outcome.clone()).or_default();
            *said = (*said).max(held);
        }
        let sum = |counts: &BTreeMap<Outcome, u64>| {
            counts
                .values()
                .try_fold(0u64, |sum, count| sum.checked_add(*count))
        };
        let all = sum(images).ok_or("its commit counts more images than can be")?;
        let held: u64 = self.outcomes.values().sum();
        new.images_not_written = all - held;
        Ok(())
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, count: u64) {
    if count > 0 {
        let sum = counts.entry(key).or_default();
        *sum = sum.saturating_add(count);
    }
}

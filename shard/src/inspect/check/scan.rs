//! All shards of the live commits, by all cores: a shard's hash is one piece of work, each of its row groups another.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lcl_schemas::dataset::{Commit, Header, RowGroupEntry};
use lcl_schemas::outcome::{DocumentOutcome, Outcome};
use lcl_schemas::write::shard_file::GROUP_ROWS;

use super::Depth;
use super::commits;
use super::progress::Progress;
use super::report::{Fault, Kind, Ledger};
use super::rows::{self, FoundRow, Look, Trust, images_of};
use super::shard::{Contents, Shard};

/// What a unit's shards were found to hold.
#[derive(Default)]
pub(super) struct FoundUnit {
    pub(super) rows: u64,
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    pub(super) decoded: u64,
    /// Some rows could not be counted.
    pub(super) partial: bool,
    /// Shards with faults, by their number in the commit.
    pub(super) faulty: BTreeMap<usize, Contents>,
    /// Its commit's sums are not those of its rows.
    pub(super) miscounted: bool,
}

impl FoundUnit {
    pub(super) fn is_sound(&self) -> bool {
        self.faulty.is_empty() && !self.miscounted
    }
}

/// What is scanned, and how.
pub(super) struct Scan<'a> {
    pub(super) root: &'a Path,
    /// Without one rows mean nothing and are not read.
    pub(super) header: Option<&'a Header>,
    pub(super) depth: Depth,
    /// Shards of all commits and manifests by their contents.
    pub(super) known: &'a HashMap<String, String>,
    pub(super) ledger: &'a Ledger,
    pub(super) progress: &'a Progress,
}

/// One piece of work.
struct Task<'a> {
    unit: usize,
    /// In the commit.
    number: usize,
    commit: &'a Commit,
    shard: Arc<Shard<'a>>,
    part: Part,
}

#[derive(Clone, Copy)]
enum Part {
    File,
    Group(u32),
}

impl Scan<'_> {
    /// Looks at all shards of `live`; what each unit holds, in their order.
    pub(super) fn run(&self, live: &[Commit]) -> Vec<FoundUnit> {
        let shards = live.iter().flat_map(|commit| &commit.shards);
        // Once for its hash and once for its rows.
        let bytes = shards.map(|shard| shard.bytes);
        // A commit may say anything.
        let bytes = bytes.fold(0u64, u64::saturating_add);
        self.progress.begin(bytes.saturating_mul(2));
        let units: Vec<_> = live.iter().map(|_| Mutex::default()).collect();
        let tasks = Mutex::new(self.tasks(live));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
                        match task {
                            Some(task) => self.task(&task, &units[task.unit]),
                            None => break,
                        }
                    }
                });
            }
        });
        self.progress.end();
        let mut units: Vec<FoundUnit> = units
            .into_iter()
            .map(|unit| unit.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        for (commit, unit) in live.iter().zip(&mut units) {
            self.sums(commit, unit);
        }
        units
    }

    fn tasks<'a>(&self, live: &'a [Commit]) -> impl Iterator<Item = Task<'a>> + use<'a> {
        let root = self.root.to_owned();
        let rows = self.header.is_some();
        let units = live.iter().enumerate();
        let shards = units.flat_map(|(unit, commit)| {
            let shards = commit.shards.iter().enumerate();
            shards.map(move |(number, entry)| (unit, number, commit, entry))
        });
        shards.flat_map(move |(unit, number, commit, entry)| {
            // Its footer is read once and goes with its last part.
            let shard = Arc::new(Shard::new(&root, entry));
            let groups = (0..entry.row_groups.len() as u32).filter(move |_| rows);
            let parts = std::iter::once(Part::File).chain(groups.map(Part::Group));
            parts.map(move |part| Task {
                unit,
                number,
                commit,
                shard: shard.clone(),
                part,
            })
        })
    }

    fn task(&self, task: &Task<'_>, unit: &Mutex<FoundUnit>) {
        let (bytes, documents) = match task.part {
            Part::File => {
                self.file(task, unit);
                (task.shard.entry.bytes, 0)
            }
            Part::Group(group) => {
                let documents = self.group(task, group, unit);
                let bytes = task.shard.entry.row_groups[group as usize].bytes;
                (bytes, documents)
            }
        };
        self.progress.add(bytes, documents, self.ledger.count());
    }

    fn file(&self, task: &Task<'_>, unit: &Mutex<FoundUnit>) {
        let shard = &task.shard;
        let contents = shard.contents();
        let mut faults = Vec::new();
        match &contents {
            Contents::Missing(detail) => faults.push(detail.clone()),
            Contents::Withheld(detail) => {
                let detail =
                    format!("{detail}; as long as that is so --repair leaves the unit as it is");
                faults.push(detail);
            }
            Contents::Other(hash) => faults.push(match self.known.get(hash) {
                Some(other) if *other != shard.entry.file => {
                    format!("it holds what {other} should hold")
                }
                _ => format!(
                    "its SHA-256 is {hash:.12}…, its commit says {:.12}…",
                    shard.entry.sha256
                ),
            }),
            Contents::Proven => {}
        }
        if matches!(contents, Contents::Proven | Contents::Other(_)) {
            faults.extend(shard.size_fault());
            match shard.footer() {
                Err(detail) => faults.push(detail.to_owned()),
                Ok(footer) => {
                    let (found, named) = (
                        footer.metadata().num_row_groups(),
                        shard.entry.row_groups.len(),
                    );
                    if found != named {
                        faults.push(format!(
                            "it has {found} row groups, its commit says {named}"
                        ));
                    }
                    faults.extend(shard.oversized().map(|most| {
                        format!("it has a row group of {most} documents, of {GROUP_ROWS} at most")
                    }));
                }
            }
        }
        if faults.is_empty() {
            return;
        }
        for detail in faults {
            self.fault(task, Kind::Shard, detail);
        }
        let mut unit = unit.lock().unwrap_or_else(PoisonError::into_inner);
        unit.faulty.insert(task.number, contents);
    }

    /// A row group's rows, and its numbers against the commit's; how many rows could be read.
    fn group(&self, task: &Task<'_>, group: u32, unit: &Mutex<FoundUnit>) -> u64 {
        let footer = task.shard.footer().ok();
        let footer = footer.filter(|footer| footer.metadata().num_row_groups() > group as usize);
        let (Some(footer), Some(header)) = (footer, self.header) else {
            // Said of the file as a whole.
            unit.lock().unwrap_or_else(PoisonError::into_inner).partial = true;
            return 0;
        };
        let look = Look {
            header,
            depth: self.depth,
            trust: Trust::Whole,
        };
        let mut counted = Counted::default();
        let read = rows::each(
            &task.shard.path,
            footer,
            group as usize,
            &look,
            &mut |row| {
                counted.add(&row);
                self.row_faults(task, group, row);
            },
        );
        let bytes = footer
            .metadata()
            .row_group(group as usize)
            .compressed_size() as u64;
        let entry = task.shard.entry.row_groups[group as usize];
        let wrong = match &read {
            Err(detail) => Some(detail.clone()),
            Ok(()) if counted.broken => None,
            Ok(()) => differs(entry, counted.entry(bytes)),
        };
        if let Some(detail) = &wrong {
            self.fault_in(task, Kind::RowGroup, |fault| fault.in_group(group), detail);
        }
        let rows = u64::from(counted.rows);
        let mut unit = unit.lock().unwrap_or_else(PoisonError::into_inner);
        unit.rows += rows;
        unit.decoded += counted.decoded;
        unit.partial |= read.is_err() || counted.broken;
        for (outcome, count) in counted.outcomes {
            *unit.outcomes.entry(outcome).or_default() += count;
        }
        if wrong.is_some() || counted.faulty {
            // What the file as a whole was found to hold may be known already.
            unit.faulty.entry(task.number).or_insert(Contents::Proven);
        }
        rows
    }

    fn row_faults(&self, task: &Task<'_>, group: u32, row: FoundRow) {
        let place = |place: Option<u32>| {
            let (number, id) = (row.number, &row.id);
            move |fault: Fault| fault.in_group(group).in_row(number, id).at(place)
        };
        for (at, detail) in &row.broken {
            self.fault_in(task, Kind::Row, place(*at), detail);
        }
        if let Some(detail) = &row.miscounted {
            self.fault_in(task, Kind::Row, place(None), detail);
        }
        for (at, detail) in &row.images {
            let in_place = place(Some(*at));
            let unset = row.unset.contains(at);
            let in_place = |fault| {
                let mut fault: Fault = in_place(fault);
                if unset {
                    fault.what_to_do = format!(
                        "delete the file and run lcl-ingest on {} again; --repair leaves it as it is, for the sake of its pixels",
                        task.commit.input_name
                    );
                }
                fault
            };
            self.fault_in(task, Kind::Image, in_place, detail);
        }
    }

    fn fault(&self, task: &Task<'_>, kind: Kind, detail: String) {
        self.fault_in(task, kind, |fault| fault, &detail);
    }

    fn fault_in(&self, task: &Task<'_>, kind: Kind, place: impl Fn(Fault) -> Fault, detail: &str) {
        let input = &task.commit.input_name;
        let what_to_do = match kind {
            Kind::Image => "--repair takes the image out; `lcl-ingest retry --outcome corrupt` then asks for it again".to_owned(),
            _ => format!(
                "restore the file from a copy, or delete it and run lcl-ingest on {input} again; --repair keeps of it what can be read"
            ),
        };
        let fault = Fault::new(kind, &task.shard.entry.file, detail, what_to_do);
        self.ledger.fault(place(fault));
    }

    /// A commit's sums against what its shards hold, where all of that could be counted.
    fn sums(&self, commit: &Commit, unit: &mut FoundUnit) {
        if self.header.is_none() || unit.partial {
            return;
        }
        let Some(detail) = sums_fault(commit, unit.rows, &unit.outcomes) else {
            return;
        };
        unit.miscounted = true;
        self.ledger.fault(Fault::new(
            Kind::Commit,
            commits::path(&commit.file_name()),
            detail,
            "restore it from a copy; --repair counts anew",
        ));
    }
}

/// Where a commit's sums are not those of its rows.
pub(super) fn sums_fault(
    commit: &Commit,
    rows: u64,
    outcomes: &BTreeMap<Outcome, u64>,
) -> Option<String> {
    let written = commit.documents.get(&DocumentOutcome::Written);
    let written = written.copied().unwrap_or(0);
    if written != rows {
        return Some(format!(
            "it says {written} documents were written, its shards hold {rows}"
        ));
    }
    let said = |outcome| commit.images.get(outcome).copied().unwrap_or(0);
    let more = outcomes
        .iter()
        .find(|(outcome, count)| said(outcome) < **count);
    if let Some((outcome, count)) = more {
        return Some(format!(
            "it says {} images are `{outcome}`, its shards hold {count}",
            said(outcome)
        ));
    }
    let stored = outcomes.get(&Outcome::Stored).copied().unwrap_or(0);
    if said(&Outcome::Stored) != stored {
        return Some(format!(
            "it says {} images are `stored`, its shards hold {stored}",
            said(&Outcome::Stored)
        ));
    }
    let all: u128 = commit.images.values().map(|count| u128::from(*count)).sum();
    let held: u128 = outcomes.values().map(|count| u128::from(*count)).sum();
    let without = u128::from(commit.images_not_written);
    (all != held + without).then(|| {
        format!("it says {all} images, {without} of them not written; its shards hold {held}")
    })
}

fn differs(said: RowGroupEntry, found: RowGroupEntry) -> Option<String> {
    let pairs = [
        ("rows", u64::from(said.rows), u64::from(found.rows)),
        ("bytes", said.bytes, found.bytes),
        ("ids", said.tokens, found.tokens),
        ("stored images", said.images, found.images),
    ];
    let wrong: Vec<_> = pairs
        .into_iter()
        .filter(|(_, said, found)| said != found)
        .map(|(name, said, found)| format!("{found} {name}, its commit says {said}"))
        .collect();
    (!wrong.is_empty()).then(|| format!("it has {}", wrong.join("; ")))
}

/// What the rows of a row group come to.
#[derive(Default)]
struct Counted {
    rows: u32,
    tokens: u64,
    images: u64,
    outcomes: BTreeMap<Outcome, u64>,
    decoded: u64,
    /// Some row is none.
    broken: bool,
    /// Some row has a fault.
    faulty: bool,
}

impl Counted {
    fn add(&mut self, found: &FoundRow) {
        self.rows += 1;
        self.decoded += found.decoded;
        self.faulty |=
            !found.broken.is_empty() || found.miscounted.is_some() || !found.images.is_empty();
        let Some(row) = &found.row else {
            self.broken = true;
            return;
        };
        self.tokens += row.layout.tokens().len() as u64;
        self.images += row.document.stored_images() as u64;
        for (_, image) in images_of(row) {
            *self.outcomes.entry(image.outcome.clone()).or_default() += 1;
        }
    }

    fn entry(&self, bytes: u64) -> RowGroupEntry {
        RowGroupEntry {
            rows: self.rows,
            bytes,
            tokens: self.tokens,
            images: self.images,
        }
    }
}

//! What can be saved of a damaged dataset: commits under their names, shards that lie elsewhere, the sound rows of the others.
//!
//! Nothing that counts is changed in place: what is made anew comes first, then a commit of the next generation, then a
//! manifest. Interrupted at any point, the dataset is as it was or as it will be, and the next repair goes on.

mod unit;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lcl_schemas::dataset::{
    COMMITS_DIR, Commit, FETCH_DIR, HEADER_FILE, Header, HeaderError, MANIFESTS_DIR, ShardEntry,
};
use lcl_schemas::write::dataset::{Dataset, DatasetError};
use lcl_schemas::write::durable;

use super::commits;
use super::report::{Ledger, Repaired, Report};
use super::shard::{Contents, sha256};
use super::{CheckError, Depth, Found, Progress};
use unit::Rebuilding;

/// What the names of damaged commits, manifests and logs get.
pub(super) const ASIDE: &str = ".damaged";
/// What a sound shard is called until it has its name.
const RESTORED: &str = ".restored";
/// Steps that are told of.
const TOLD: usize = 200;

/// Repairs the dataset at `root`, in which nobody else may be at work, and checks it again.
///
/// # Errors
/// As [`super::check`]; [`CheckError::Write`]. What was committed until then stays.
pub fn repair(root: &Path, depth: Depth, progress: &Progress) -> Result<Report, CheckError> {
    let begun = Instant::now();
    if let Some(why) = barred(root)? {
        let mut report = super::check(root, depth, progress)?;
        report.repaired = Some(Repaired {
            faults: report.total(),
            steps: vec![format!("nothing was done: {why}")],
            ..Repaired::default()
        });
        return Ok(report);
    }
    let (dataset, header) = Dataset::existing(root)?;
    let mut found = Found::look(root, depth, progress)?;
    let faults = found.ledger.count();
    let mut repaired = Repaired {
        faults,
        ..Repaired::default()
    };
    if let Some(why) = found.commits.barred.first() {
        repaired.steps.push(format!("nothing was done: {why}"));
    } else if faults > 0 || found.manifests.stale {
        let mut repair = Repair {
            dataset: &dataset,
            repaired: &mut repaired,
        };
        // Each may change which commits count or what their shards hold.
        let unusable = found.commits.unusable.clone();
        if repair.commits(&found)? {
            found = Found::look(root, depth, progress)?;
        }
        repair.lost_with_commits(&unusable, &found);
        if repair.misplaced_shards(&found)? {
            found = Found::look(root, depth, progress)?;
        }
        repair.units(&found, &header, depth)?;
        repair.set_aside(MANIFESTS_DIR, &found.manifests.damaged)?;
        repair.set_aside(FETCH_DIR, &found.damaged_logs)?;
        let published = repair.manifest()?;
        let damaged = found.manifests.damaged_newest.iter();
        // One with the hash of the new one was damaged and is now mended.
        let damaged = damaged.filter(|name| published.as_ref().is_some_and(|new| new != *name));
        repair.set_aside(MANIFESTS_DIR, &damaged.cloned().collect::<Vec<_>>())?;
        found = Found::look(root, depth, progress)?;
    }
    let mut report = found.into_report(root, depth);
    report.repaired = (!repaired.steps.is_empty()).then_some(repaired);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

struct Repair<'a> {
    dataset: &'a Dataset,
    repaired: &'a mut Repaired,
}

impl Repair<'_> {
    fn told(&mut self, step: String) {
        let steps = &mut self.repaired.steps;
        match steps.len() {
            TOLD => steps.push("…".into()),
            told if told < TOLD => steps.push(step),
            _ => {}
        }
    }

    fn io(&self, folder: &str, name: &str) -> impl FnOnce(std::io::Error) -> DatasetError + use<> {
        let path = self.dataset.path(folder).join(name);
        move |source| DatasetError::Io { path, source }
    }

    /// Gives commits their names and sets those aside that cannot be used; whether there were any.
    fn commits(&mut self, found: &Found) -> Result<bool, DatasetError> {
        let commits = &found.commits;
        for (name, commit) in &commits.misnamed {
            let right = commit.file_name();
            let taken = commits.misnamed.iter().any(|(name, _)| *name == right);
            let given = match taken {
                // By one that will be set aside.
                true => Some(self.commit(commit.clone())?.file_name()),
                false => self.dataset.commit(commit)?.then_some(right),
            };
            self.told(match given {
                Some(given) => format!("what {COMMITS_DIR}/{name} held is now {given}"),
                None => format!("{COMMITS_DIR}/{name} held what another commit is called"),
            });
        }
        let misnamed = commits.misnamed.iter().map(|(name, _)| name);
        let names: Vec<_> = misnamed.chain(&commits.unusable).cloned().collect();
        self.set_aside(COMMITS_DIR, &names)?;
        Ok(!names.is_empty())
    }

    /// Counts documents that the newest readable manifest names and, with their unit's commit, no commit does.
    fn lost_with_commits(&mut self, unusable: &[String], found: &Found) {
        let mut said: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &found.manifests.rows {
            *said.entry(&row.unit).or_default() += u64::from(row.rows);
        }
        let live = found.commits.live.iter().map(|commit| {
            let groups = commit.shards.iter().flat_map(|shard| &shard.row_groups);
            let rows: u64 = groups.map(|group| u64::from(group.rows)).sum();
            (commit.unit.name(), rows)
        });
        let live: HashMap<_, _> = live.collect();
        let gone = said
            .keys()
            .copied()
            .filter(|unit| !live.contains_key(*unit));
        let unusable = unusable.iter().filter_map(|name| {
            let (unit, _) = name.strip_suffix(".json")?.rsplit_once('.')?;
            Some(unit)
        });
        for unit in gone.chain(unusable).collect::<BTreeSet<_>>() {
            let now = live.get(unit);
            match said.get(unit).map(|said| said.saturating_sub(now.copied().unwrap_or(0))) {
                Some(0) => {}
                Some(lost) => {
                    self.repaired.documents_lost += lost;
                    self.told(format!(
                        "unit {unit}: {lost} documents are lost with its commit, as the newest manifest that can be read says"
                    ));
                }
                None if now.is_none() => self.told(format!(
                    "unit {unit}: documents are lost with its commit, and no manifest that can be read says how many"
                )),
                None => {}
            }
        }
    }

    /// Commits at the first generation from `commit`'s on that no file has.
    fn commit(&self, mut commit: Commit) -> Result<Commit, DatasetError> {
        while !self.dataset.commit(&commit)? {
            commit.generation += 1;
        }
        Ok(commit)
    }

    /// Gives shards back their contents where these lie under another name; whether there were any. All of them get a second
    /// name before the first is replaced: of two that were swapped, none is lost.
    fn misplaced_shards(&mut self, found: &Found) -> Result<bool, DatasetError> {
        let mut restored = Vec::new();
        for shard in damaged(found) {
            let Some(lies) = self.elsewhere(shard)? else {
                continue;
            };
            let second = format!("{}{RESTORED}", shard.file);
            let path = self.dataset.path(&second);
            if lies != path {
                let _ = fs::remove_file(&path);
                fs::hard_link(&lies, &path).map_err(self.io("", &second))?;
            }
            restored.push((second, shard.file.clone(), lies));
        }
        durable::sync(&self.dataset.path("")).map_err(self.io("", ""))?;
        for (second, name, lies) in &restored {
            let (from, to) = (self.dataset.path(second), self.dataset.path(name));
            fs::rename(from, to).map_err(self.io("", name))?;
            let lies = lies.file_name().unwrap_or_default().to_string_lossy();
            self.told(format!("{name} was {lies} and has its name again"));
        }
        durable::sync(&self.dataset.path("")).map_err(self.io("", ""))?;
        Ok(!restored.is_empty())
    }

    /// Another file of the dataset's folder with a shard's contents.
    fn elsewhere(&self, shard: &ShardEntry) -> Result<Option<PathBuf>, DatasetError> {
        let root = self.dataset.path("");
        for entry in fs::read_dir(&root).map_err(self.io("", ""))? {
            let entry = entry.map_err(self.io("", ""))?;
            let candidate = entry.file_name().to_string_lossy() != shard.file.as_str()
                && entry
                    .metadata()
                    .is_ok_and(|found| found.is_file() && found.len() == shard.bytes);
            if candidate && sha256(&entry.path()).is_ok_and(|hash| hash == shard.sha256) {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    }

    fn units(&mut self, found: &Found, header: &Header, depth: Depth) -> Result<(), DatasetError> {
        let rebuilding = Rebuilding {
            dataset: self.dataset,
            header,
            tokenizer: found.tokenizer.as_ref(),
            depth,
            known: &found.commits.known,
        };
        for (old, unit) in found.commits.live.iter().zip(&found.units) {
            if unit.is_sound() {
                continue;
            }
            let name = old.unit.name();
            let rebuilt = rebuilding.unit(old, unit)?;
            match rebuilt.superseding(old) {
                Err(why) => self.told(format!("unit {name} is left as it is: {why}")),
                Ok(None) if rebuilt.unset > 0 => self.told(format!(
                    "unit {name} is left as it is: of {} images not all is set that is said of their pixels",
                    rebuilt.unset
                )),
                Ok(None) => self.told(format!("unit {name}: all of it could be written anew")),
                Ok(Some(new)) => {
                    let new = self.commit(new)?;
                    self.repaired.units += 1;
                    self.repaired.documents_lost += rebuilt.documents_lost(old);
                    self.repaired.documents_with_too_few_images += rebuilt.too_few;
                    self.repaired.images_lost += rebuilt.corrupt;
                    self.told(format!("{}: {}", new.file_name(), rebuilt.told(old)));
                }
            }
        }
        Ok(())
    }

    fn set_aside(&mut self, folder: &str, names: &[String]) -> Result<(), DatasetError> {
        for name in names {
            let path = |name: &str| self.dataset.path(folder).join(name);
            // What the system does not give now may be sound.
            if let Err(error) = sha256(&path(name)) {
                self.told(format!("{folder}/{name} is left as it is: {error}"));
                continue;
            }
            let mut aside = format!("{name}{ASIDE}");
            let mut number = 1;
            while path(&aside).exists() {
                number += 1;
                aside = format!("{name}{ASIDE}.{number}");
            }
            fs::rename(path(name), path(&aside)).map_err(self.io(folder, name))?;
            self.told(format!("{folder}/{name} is now {aside}"));
        }
        durable::sync(&self.dataset.path(folder)).map_err(self.io(folder, ""))
    }

    /// Publishes a manifest of what there is now; its file's name.
    fn manifest(&mut self) -> Result<Option<String>, DatasetError> {
        match self.dataset.write_manifest() {
            Ok(hash) => {
                self.told(format!("the newest manifest is {hash:.12}…"));
                return Ok(Some(format!("{hash}.parquet")));
            }
            // A unit that could not be repaired.
            Err(DatasetError::Shard(lost)) => {
                self.told(format!("no manifest was published: {lost}"));
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

/// Why nothing may be written.
fn barred(root: &Path) -> Result<Option<String>, CheckError> {
    if is_newer(root) {
        return Ok(Some(commits::NEWER.into()));
    }
    let readable =
        fs::read(root.join(HEADER_FILE)).is_ok_and(|json| Header::from_json(&json).is_ok());
    if !readable {
        return Ok(Some(format!("restore {HEADER_FILE} first")));
    }
    let commits = commits::read(root, &Ledger::default())?;
    Ok(commits.barred.into_iter().next())
}

/// Whether a later version wrote the dataset's header.
pub(super) fn is_newer(root: &Path) -> bool {
    let header = fs::read(root.join(HEADER_FILE)).map(|json| Header::from_json(&json));
    matches!(header, Ok(Err(HeaderError::TooNew { .. })))
}

/// Shards whose contents are not theirs.
fn damaged(found: &Found) -> impl Iterator<Item = &ShardEntry> {
    let units = found.commits.live.iter().zip(&found.units);
    units.flat_map(|(commit, unit)| {
        let faulty = unit.faulty.iter();
        faulty
            .filter(|(_, contents)| matches!(contents, Contents::Other(_) | Contents::Missing(_)))
            .map(|(number, _)| &commit.shards[*number])
    })
}

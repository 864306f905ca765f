//! How a run stands, for people and for machines.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};
use lcl_schemas::outcome::{Class, Outcome};
use serde::Serialize;

/// How a run stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Since it began.
    pub(crate) seconds: f64,
    pub(crate) documents: u64,
    pub(crate) images: BTreeMap<Outcome, u64>,
    /// Of a crawl.
    pub(crate) pages: BTreeMap<Outcome, u64>,
    pub(crate) pages_waiting: u64,
    /// Stored, over the last half minute.
    pub(crate) images_per_second: f64,
    /// Of stored images.
    pub(crate) fetched_bytes: u64,
    pub(crate) sites_slowed: u64,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) seconds_left: Option<f64>,
}

impl Snapshot {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names")
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        format!("{}{}", self.head(), self.missing(" | not had: "))
    }

    /// The line, and beneath it a line for each class of images.
    pub(crate) fn panel(&self) -> String {
        let mut text = self.head();
        let mut classes: BTreeMap<Class, u64> = BTreeMap::new();
        for (outcome, count) in &self.images {
            *classes.entry(outcome.class()).or_default() += count;
        }
        let all: u64 = classes.values().sum();
        for (class, count) in classes {
            let share = count as f64 / all as f64;
            let bar = "█".repeat((share * 40.0).round() as usize);
            let name = class.name();
            text += &format!("\n  {name:<8} {count:>10} {:>5.1} % {bar}", 100.0 * share);
        }
        text + &self.missing("\n  not had: ")
    }

    fn head(&self) -> String {
        let stored = self.images.get(&Outcome::Stored).copied().unwrap_or(0);
        let mut head = format!(
            "{} documents, {stored} images, {:.0} images/s, {}",
            self.documents,
            self.images_per_second,
            HumanBytes(self.fetched_bytes)
        );
        if self.sites_slowed > 0 {
            head += &format!(", {} sites slowed down", self.sites_slowed);
        }
        if let Some(memory) = self.memory_bytes {
            head += &format!(", memory {}", HumanBytes(memory));
        }
        if let Some(left) = self.seconds_left {
            head += &format!(", {} left", HumanDuration(Duration::from_secs_f64(left)));
        }
        head
    }

    /// The most frequent outcomes that are no rule of ours.
    fn missing(&self, before: &str) -> String {
        let mut missing: Vec<_> = self
            .images
            .iter()
            .filter(|(outcome, _)| !matches!(outcome.class(), Class::Stored | Class::Rule))
            .collect();
        missing.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let named = missing
            .iter()
            .take(5)
            .map(|(outcome, count)| format!("{outcome} {count}"));
        let named = named.collect::<Vec<_>>().join(", ");
        match named.is_empty() {
            true => named,
            false => format!("{before}{named}"),
        }
    }
}

//! Records, in whatever order, to an index of the images among them.

use std::collections::HashMap;

use super::super::date::Seconds;
use super::super::image::Role;
use super::super::{Fault, Found, Record};
use super::{Entry, ImageIndex, Tally, UrlHash, hash, hash_url, normal};

/// What a revisit refers to.
#[derive(Debug)]
struct Revisit {
    entry: Entry,
    id: Option<u64>,
    url: Option<(UrlHash, Option<Seconds>)>,
    digest: Option<u64>,
}

/// An index that is being made.
#[derive(Debug, Default)]
pub(crate) struct ImageIndexBuilder {
    entries: Vec<Entry>,
    /// Hashes of record ids and of payload digests, by which revisits refer to entries; 0: none.
    ids: Vec<u64>,
    digests: Vec<u64>,
    revisits: Vec<Revisit>,
    tally: Tally,
}

impl ImageIndexBuilder {
    /// Takes what was found in an archive of that number.
    pub(crate) fn see(&mut self, file: u32, found: &Found) {
        let Found::Record(record) = found else {
            return;
        };
        match Role::of(record) {
            Role::Image => self.image(file, record),
            Role::TooLong => self.tally.too_long += 1,
            Role::Revisit => self.revisit(file, record),
            Role::Other => {}
        }
    }

    fn image(&mut self, file: u32, record: &Record) {
        if record.fault.as_ref().is_some_and(Fault::cuts) || record.truncated.is_some() {
            self.tally.damaged += 1;
        } else if let Some(entry) = entry(file, record) {
            self.entries.push(entry);
            self.ids.push(name(record.id.as_deref()).unwrap_or(0));
            self.digests
                .push(name(record.payload_digest.as_deref()).unwrap_or(0));
        } else {
            self.tally.unreachable += 1;
        }
    }

    fn revisit(&mut self, file: u32, record: &Record) {
        let Some(entry) = entry(file, record) else {
            self.tally.unreachable += 1;
            return;
        };
        let refers_to = &record.refers_to;
        let date = refers_to.date.as_deref().map(Seconds::parse);
        let url = refers_to.target_uri.as_deref();
        self.revisits.push(Revisit {
            entry,
            id: name(refers_to.id.as_deref()),
            url: url.map(|url| (hash_url(&normal(url)), date)),
            digest: name(record.payload_digest.as_deref()),
        });
    }

    /// Finds the payloads of revisits. The index is the same in whatever order archives were seen.
    pub(crate) fn finish(mut self) -> ImageIndex {
        let revisits = std::mem::take(&mut self.revisits);
        let ids = self.named(&self.ids, revisits.iter().filter_map(|revisit| revisit.id));
        let digests = self.named(
            &self.digests,
            revisits.iter().filter_map(|revisit| revisit.digest),
        );
        let mut index = ImageIndex {
            tally: Tally {
                images: self.entries.len() as u64,
                ..self.tally
            },
            entries: self.entries,
            payloads: HashMap::new(),
        };
        index.entries.sort_unstable();
        let mut found = Vec::new();
        for revisit in revisits {
            let by = |names: &HashMap<u64, Option<Entry>>, name: Option<u64>| *names.get(&name?)?;
            let payload = by(&ids, revisit.id)
                .or_else(|| revisit.url.and_then(|(url, date)| index.nearest(url, date)))
                .or_else(|| by(&digests, revisit.digest));
            match payload {
                Some(payload) => {
                    index
                        .payloads
                        .insert(revisit.entry.place(), payload.place());
                    found.push(revisit.entry);
                }
                None => index.tally.unresolved += 1,
            }
        }
        index.tally.revisits = found.len() as u64;
        index.entries.extend(found);
        index.entries.sort_unstable();
        index.entries.shrink_to_fit();
        index
    }

    /// The first of the entries that have each of the `wanted` names.
    fn named(
        &self,
        names: &[u64],
        wanted: impl Iterator<Item = u64>,
    ) -> HashMap<u64, Option<Entry>> {
        let mut named: HashMap<_, _> = wanted.map(|name| (name, None)).collect();
        if named.is_empty() {
            return named;
        }
        for (entry, name) in self.entries.iter().zip(names) {
            if let Some(first) = named.get_mut(name) {
                *first = Some(first.map_or(*entry, |first: Entry| first.min(*entry)));
            }
        }
        named
    }
}

fn entry(file: u32, record: &Record) -> Option<Entry> {
    Some(Entry {
        url: hash_url(&normal(record.target_uri.as_deref()?)),
        date: record
            .date
            .as_deref()
            .map(Seconds::parse)
            .unwrap_or_default(),
        file,
        offset: record.offset?,
    })
}

fn name(text: Option<&str>) -> Option<u64> {
    // 0 is kept for none.
    text.map(|text| hash(text).max(1))
}

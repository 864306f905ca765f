//! Digests of two datasets side by side: which documents are in both, and what differs in those.

use std::collections::BTreeMap;

use super::digest::{At, Digests, Document, Image, Names};
use super::{Change, Diff, Entry, Part, Transition};
use crate::keyed::mix;

/// What differs in a document that both have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    parts: Vec<Part>,
    /// From and to.
    outcomes: Vec<(u32, u32)>,
    other_pixels: u64,
    images_added: u64,
    images_lost: u64,
}

/// A document that differs, its id not known yet.
pub(super) struct Listed {
    pub(super) a: Option<At>,
    pub(super) b: Option<At>,
    changes: Changes,
}

impl Listed {
    pub(super) fn entry(self, id: String, names: &Names) -> Entry {
        let mut outcomes: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for &change in &self.changes.outcomes {
            *outcomes.entry(change).or_default() += 1;
        }
        Entry {
            id,
            change: match (self.a, self.b) {
                (Some(_), Some(_)) => Change::Changed,
                (Some(_), None) => Change::Lost,
                (None, _) => Change::Added,
            },
            parts: self.changes.parts,
            outcomes: transitions(&outcomes, names),
            other_pixels: self.changes.other_pixels,
            images_added: self.changes.images_added,
            images_lost: self.changes.images_lost,
        }
    }
}

fn transitions(counts: &BTreeMap<(u32, u32), u64>, names: &Names) -> Vec<Transition> {
    let transition = |(&(from, to), &images): (&(u32, u32), &u64)| Transition {
        from: names.outcome(from).clone(),
        to: names.outcome(to).clone(),
        images,
    };
    counts.iter().map(transition).collect()
}

/// Two datasets being compared.
pub(super) struct Matching<'a> {
    a: &'a Digests,
    b: &'a Digests,
    /// Kept where they are asked for.
    listed: Option<Vec<Listed>>,
    outcomes: BTreeMap<(u32, u32), u64>,
}

impl<'a> Matching<'a> {
    pub(super) fn new(a: &'a Digests, b: &'a Digests, list: bool) -> Self {
        Self {
            a,
            b,
            listed: list.then(Vec::new),
            outcomes: BTreeMap::new(),
        }
    }

    /// Goes through both, id by id.
    pub(super) fn run(&mut self, found: &mut Diff) {
        let same_id = |one: &Document, other: &Document| one.id == other.id;
        let mut of_a = self.a.documents.chunk_by(same_id).peekable();
        let mut of_b = self.b.documents.chunk_by(same_id).peekable();
        loop {
            let ids = (
                of_a.peek().map(|of_id| of_id[0].id),
                of_b.peek().map(|of_id| of_id[0].id),
            );
            let (take_a, take_b) = match ids {
                (None, None) => return,
                (Some(a), Some(b)) => (a <= b, b <= a),
                (a, b) => (a.is_some(), b.is_some()),
            };
            let a = of_a.next_if(|_| take_a).unwrap_or_default();
            let b = of_b.next_if(|_| take_b).unwrap_or_default();
            found.repeated_ids.a += a.len().saturating_sub(1) as u64;
            found.repeated_ids.b += b.len().saturating_sub(1) as u64;
            self.of_one_id(a, b, found);
        }
    }

    /// What is to be listed, outcomes added to what was found.
    pub(super) fn end(self, found: &mut Diff, names: &Names) -> Vec<Listed> {
        for transition in transitions(&self.outcomes, names) {
            let known = found.outcomes.iter_mut();
            let mut known =
                known.filter(|known| known.from == transition.from && known.to == transition.to);
            match known.next() {
                Some(known) => known.images += transition.images,
                None => found.outcomes.push(transition),
            }
        }
        self.listed.unwrap_or_default()
    }

    fn of_one_id(&mut self, a: &[Document], b: &[Document], found: &mut Diff) {
        if let ([a], [b]) = (a, b) {
            return self.pair(a, b, found);
        }
        let (a, b) = self.without_equals(a, b, found);
        let mut rest = (a.iter(), b.iter());
        loop {
            match (rest.0.next(), rest.1.next()) {
                (None, None) => return,
                (Some(a), Some(b)) => self.pair(a, b, found),
                (Some(a), None) => {
                    found.documents_lost += 1;
                    self.list(Some(a.at), None, Changes::default());
                }
                (None, Some(b)) => {
                    found.documents_added += 1;
                    self.list(None, Some(b.at), Changes::default());
                }
            }
        }
    }

    /// Counts documents that are equal, as often as both have them, and gives the others in their order.
    fn without_equals<'d>(
        &self,
        a: &'d [Document],
        b: &'d [Document],
        found: &mut Diff,
    ) -> (Vec<&'d Document>, Vec<&'d Document>) {
        // By all that is in them: one id may stand a million times.
        let mut unmatched: BTreeMap<u64, Vec<&Document>> = BTreeMap::new();
        for document in b.iter().rev() {
            unmatched
                .entry(content(self.b, document))
                .or_default()
                .push(document);
        }
        let mut rest_a = Vec::new();
        for document in a {
            match unmatched
                .get_mut(&content(self.a, document))
                .and_then(Vec::pop)
            {
                Some(_) => found.documents_same += 1,
                None => rest_a.push(document),
            }
        }
        let mut rest_b: Vec<_> = unmatched.into_values().flatten().collect();
        rest_b.sort_unstable_by_key(|document| document.at);
        (rest_a, rest_b)
    }

    fn pair(&mut self, a: &Document, b: &Document, found: &mut Diff) {
        let changes = changes((a, self.a.images(a)), (b, self.b.images(b)));
        if changes.parts.is_empty() {
            found.documents_same += 1;
            return;
        }
        found.documents_changed += 1;
        for part in &changes.parts {
            *found.changed.entry(*part).or_default() += 1;
        }
        for change in &changes.outcomes {
            *self.outcomes.entry(*change).or_default() += 1;
        }
        found.other_pixels += changes.other_pixels;
        found.images_added += changes.images_added;
        found.images_lost += changes.images_lost;
        self.list(Some(a.at), Some(b.at), changes);
    }

    fn list(&mut self, a: Option<At>, b: Option<At>, changes: Changes) {
        if let Some(listed) = &mut self.listed {
            listed.push(Listed { a, b, changes });
        }
    }
}

/// A document's content as a number.
fn content(digests: &Digests, document: &Document) -> u64 {
    let parts = parts(document).map(|(_, digest)| digest);
    let images = digests.images(document).iter().flat_map(|image| {
        let outcome = u64::from(image.outcome);
        [image.key, image.pixels, image.form, image.about, outcome]
    });
    let all = parts.into_iter().chain([document.order]).chain(images);
    all.fold(0, |content, digest| mix(content ^ mix(digest)))
}

fn parts(document: &Document) -> [(Part, u64); 5] {
    [
        (Part::Source, document.source),
        (Part::Url, document.url),
        (Part::Language, document.language),
        (Part::Texts, document.texts),
        (Part::Tokens, document.tokens),
    ]
}

/// What differs between two documents.
fn changes((a, images_a): (&Document, &[Image]), (b, images_b): (&Document, &[Image])) -> Changes {
    let mut changes = Changes::default();
    for ((part, of_a), (_, of_b)) in parts(a).into_iter().zip(parts(b)) {
        changes.parts.extend((of_a != of_b).then_some(part));
    }
    let (mut form, mut about) = (false, false);
    let (mut of_a, mut of_b) = (images_a.iter().peekable(), images_b.iter().peekable());
    loop {
        let (a, b) = match (of_a.peek(), of_b.peek()) {
            (None, None) => break,
            (Some(a), Some(b)) if a.key == b.key => (*a, *b),
            (Some(a), b) if b.is_none_or(|b| a.key < b.key) => {
                changes.images_lost += 1;
                of_a.next();
                continue;
            }
            _ => {
                changes.images_added += 1;
                of_b.next();
                continue;
            }
        };
        of_a.next();
        of_b.next();
        about |= a.about != b.about;
        if a.outcome != b.outcome {
            changes.outcomes.push((a.outcome, b.outcome));
        } else if a.pixels != b.pixels {
            changes.other_pixels += 1;
        } else {
            form |= a.form != b.form;
        }
    }
    let came_or_went = changes.images_added + changes.images_lost > 0;
    let reordered = a.order != b.order && a.texts == b.texts && !came_or_went;
    let more = [
        (!changes.outcomes.is_empty(), Part::Outcomes),
        (changes.other_pixels > 0, Part::Pixels),
        (came_or_went, Part::Images),
        (reordered, Part::Order),
        (form, Part::Form),
        (about, Part::About),
    ];
    changes.parts.extend(
        more.into_iter()
            .filter_map(|(differs, part)| differs.then_some(part)),
    );
    changes
}

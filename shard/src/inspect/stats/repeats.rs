//! Images that stand in a dataset more than once, and images that look alike: how many, and the largest sets with examples.

use std::collections::HashMap;

use arrow::array::Array;
use serde::Serialize;

use super::copies::{Seen, Spot};
use super::near::{Neighbours, neighbours};
use crate::inspect::groups::{Lists, in_order, text_at, texts};
use crate::read::{ReadError, Reader};

/// Largest sets that are named.
const NAMED: usize = 12;
/// Images that are named of a set.
const EXAMPLES: usize = 3;

/// An image that can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Its document's.
    pub id: String,
    /// Its place there.
    pub place: u32,
    /// Where it was.
    pub url: Option<String>,
    /// Of its bytes as fetched.
    pub sha256: String,
}

/// Images with the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Duplicates {
    /// 1, or of how many images one was looked at because there are more than 2 million; what follows speaks of those alone.
    pub looked_at_one_in: u64,
    /// Stored images looked at.
    pub images: u64,
    /// Different ones among them.
    pub different: u64,
    /// Different ones that stand more than once.
    pub repeated: u64,
    /// Images besides the first of each: what leaving duplicates out would save.
    pub superfluous: u64,
    /// The most frequent.
    pub largest: Vec<Repeated>,
}

/// Images whose perceptual hashes differ in few bits, each with different bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NearDuplicates {
    /// Bits that two hashes may differ in.
    pub max_bits: u32,
    /// Different images, of those that [`Duplicates`] looked at.
    pub images: u64,
    /// Pairs of images by the number of bits they differ in.
    pub pairs_by_bits: Vec<u64>,
    /// Sets of images that hang together by such pairs, some only by way of others.
    pub sets: u64,
    /// Images in those sets.
    pub in_sets: u64,
    /// Images besides the first of each set.
    pub superfluous: u64,
    /// Whether all pairs were found: a search among very many very similar images is given up.
    pub complete: bool,
    /// The largest sets.
    pub largest: Vec<Repeated>,
}

/// One set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repeated {
    /// How many.
    pub images: u64,
    /// The first of them; of copies one, of images that are near up to three.
    pub examples: Vec<Example>,
}

/// A set whose examples are not looked up yet.
type Set = (u64, Vec<Spot>);

/// Looks for both.
///
/// # Errors
/// A row group with an example that cannot be read.
pub(super) fn find(
    reader: &Reader,
    (images, looked_at_one_in): (Vec<Seen>, u64),
    max_bits: u32,
) -> Result<(Duplicates, NearDuplicates), ReadError> {
    let copies = || images.iter().map(|image| u64::from(image.copies));
    let mut duplicates = Duplicates {
        looked_at_one_in,
        images: copies().sum(),
        different: images.len() as u64,
        repeated: copies().filter(|copies| *copies > 1).count() as u64,
        superfluous: copies().map(|copies| copies - 1).sum(),
        largest: Vec::new(),
    };
    let repeated = images.iter().filter(|image| image.copies > 1);
    let of_same = largest(repeated.map(|image| (u64::from(image.copies), vec![image.spot])));
    let (mut near, of_near) = near(images, max_bits);
    let spots = of_same.iter().chain(&of_near).flat_map(|(_, spots)| spots);
    let examples = look_up(reader, spots.copied().collect())?;
    let named = |sets: Vec<Set>| {
        let set = sets.into_iter().map(|(images, spots)| Repeated {
            images,
            examples: spots
                .iter()
                .filter_map(|spot| examples.get(spot).cloned())
                .collect(),
        });
        set.collect()
    };
    duplicates.largest = named(of_same);
    near.largest = named(of_near);
    Ok((duplicates, near))
}

/// The largest, equals in the order of what names them.
fn largest<T: Ord>(sets: impl Iterator<Item = (u64, T)>) -> Vec<(u64, T)> {
    let keep = |sets: &mut Vec<(u64, T)>| {
        sets.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        sets.truncate(NAMED);
    };
    let mut largest = Vec::new();
    for set in sets {
        largest.push(set);
        // Now and then: there may be millions.
        if largest.len() >= 64 * NAMED {
            keep(&mut largest);
        }
    }
    keep(&mut largest);
    largest
}

fn near(mut images: Vec<Seen>, max_bits: u32) -> (NearDuplicates, Vec<Set>) {
    images.sort_unstable_by_key(|image| (image.phash, image.spot));
    // By different hash.
    let (mut hashes, mut weights, mut firsts) = (Vec::new(), Vec::<u32>::new(), Vec::new());
    for (at, image) in images.iter().enumerate() {
        match hashes.last() == Some(&image.phash) {
            true => weights[hashes.len() - 1] += 1,
            false => {
                hashes.push(image.phash);
                weights.push(1);
                firsts.push(at);
            }
        }
    }
    let Neighbours {
        pairs,
        mut sets,
        complete,
    } = neighbours(&hashes, &weights, max_bits);
    let roots: Vec<_> = (0..hashes.len() as u32).map(|at| sets.first(at)).collect();
    let mut sizes = vec![0u64; hashes.len()];
    for (root, weight) in roots.iter().zip(&weights) {
        sizes[*root as usize] += u64::from(*weight);
    }
    let several = || sizes.iter().filter(|size| **size > 1);
    let found = NearDuplicates {
        max_bits,
        images: images.len() as u64,
        pairs_by_bits: pairs,
        sets: several().count() as u64,
        in_sets: several().sum(),
        superfluous: several().map(|size| size - 1).sum(),
        complete,
        largest: Vec::new(),
    };
    let by_size = sizes.iter().copied().zip(0u32..);
    let named = largest(by_size.filter(|(size, _)| *size > 1));
    // Only a few sets have their members looked for.
    let mut members: HashMap<u32, Vec<Spot>> =
        named.iter().map(|(_, root)| (*root, vec![])).collect();
    for (at, (root, weight)) in roots.iter().zip(&weights).enumerate() {
        let Some(spots) = members.get_mut(root) else {
            continue;
        };
        let of_hash = &images[firsts[at]..firsts[at] + *weight as usize];
        let wanted = EXAMPLES.saturating_sub(spots.len());
        spots.extend(of_hash.iter().take(wanted).map(|image| image.spot));
    }
    let set = |(size, root)| (size, members.remove(&root).unwrap_or_default());
    (found, named.into_iter().map(set).collect())
}

/// What stands at some places.
fn look_up(reader: &Reader, mut spots: Vec<Spot>) -> Result<HashMap<Spot, Example>, ReadError> {
    spots.sort_unstable();
    spots.dedup();
    let mut groups: Vec<_> = spots.iter().map(|spot| spot.group).collect();
    groups.dedup();
    let columns = ["id", "images.list.item.url", "images.list.item.sha256"];
    let mut examples = HashMap::new();
    in_order(
        reader,
        &groups,
        &columns,
        |group, batches| {
            let mut found = Vec::new();
            let mut before = 0;
            for batch in batches {
                let ids = texts(batch, "id")?;
                let lists = Lists::of(batch, "images")?;
                let images = lists.images()?;
                let (urls, hashes) = (images.texts("url")?, images.texts("sha256")?);
                for spot in spots.iter().filter(|spot| spot.group == group) {
                    let row = (spot.row as usize).wrapping_sub(before);
                    if row >= ids.len() {
                        continue;
                    }
                    let Some(at) = lists.row(row).nth(spot.place as usize) else {
                        continue;
                    };
                    let example = Example {
                        id: ids.value(row).to_owned(),
                        place: spot.place,
                        url: text_at(urls, at).map(str::to_owned),
                        sha256: text_at(hashes, at).unwrap_or_default().to_owned(),
                    };
                    found.push((*spot, example));
                }
                before += ids.len();
            }
            Ok(found)
        },
        |_, found| examples.extend(found),
    )?;
    Ok(examples)
}

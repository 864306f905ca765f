//! Ways of packing documents into sequences, side by side: how full, and at what price.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::config::Verify;
use crate::keyed::Draws;
use crate::pack::Packer;
use crate::read::{ReadError, Reader};

/// Open bins, as a stream has them by default.
const BINS: usize = 32;
/// Documents that a knapsack chooses from, as in Energon's packing buffer.
const KNAPSACK: usize = 1024;
/// Sequences whose fill is not counted: a packer starts with few bins open.
const STEADY_AFTER: usize = 200;

/// Ids of each document.
pub type Lengths = Vec<usize>;

/// One way and what it came to.
#[derive(Clone, Debug)]
pub struct Way {
    /// What it does.
    pub name: &'static str,
    /// Share of places that hold an id, in steady state.
    pub fill: f64,
    /// Share of documents that are cut though they fit a sequence.
    pub cut: f64,
    /// Nanoseconds a document.
    pub ns: f64,
}

/// All ways on the same documents.
#[derive(Clone, Debug)]
pub struct Ways {
    context: usize,
    documents: usize,
    ways: Vec<Way>,
}

/// Documents with the lengths of web pages as MMC4 has them: log-normal text (median 350 ids, σ 1.1), geometric images (half
/// of the documents have none, a quarter one …).
pub fn web_like(documents: usize, slots: usize) -> Lengths {
    let mut draws = Draws::new(1);
    let mut length = || {
        let uniform = draws.unit().max(1e-12);
        let normal = (-2.0 * uniform.ln()).sqrt() * (std::f64::consts::TAU * draws.unit()).cos();
        let mut length = (350.0 * (1.1 * normal).exp()) as usize + 2;
        while draws.unit() < 0.5 {
            length += slots + 2;
        }
        length
    };
    (0..documents).map(|_| length()).collect()
}

/// The documents of a dataset, for a model of so many slots.
///
/// # Errors
/// A dataset that cannot be read.
pub fn of_dataset(dataset: &Path, slots: usize) -> Result<Lengths, ReadError> {
    let reader = Reader::open(dataset, "", Verify::Size)?;
    let mut lengths = Vec::new();
    for group in 0..reader.groups().len() as u32 {
        let documents = reader.group(group)?;
        lengths.extend(
            documents
                .iter()
                .map(|document| document.tokens.len() + slots * document.stored_images()),
        );
    }
    Ok(lengths)
}

/// Lengths and a context to how full each sequence is.
type Pack = fn(&[usize], usize) -> Vec<usize>;

/// Only this way cuts documents that would fit a sequence.
const SEQUENTIAL: &str = "sequential, cut where a sequence is full";

/// Packs `lengths` every way.
pub fn compare(lengths: &[usize], context: usize) -> Ways {
    let ways: [(&str, Pack); 5] = [
        ("one document a sequence", padded),
        (SEQUENTIAL, sequential),
        ("next fit", next_fit),
        ("knapsack over 1,024 documents", knapsack),
        ("online best fit, 32 open bins (the stream's)", best_fit),
    ];
    let ways = ways.into_iter().map(|(name, pack)| {
        let begun = Instant::now();
        let bins = pack(lengths, context);
        let ns = begun.elapsed().as_nanos() as f64 / lengths.len().max(1) as f64;
        // The last sequences are what was left.
        let steady = bins.get(STEADY_AFTER..bins.len().saturating_sub(BINS));
        let counted = steady.filter(|steady| !steady.is_empty()).unwrap_or(&bins);
        let fill = counted.iter().sum::<usize>() as f64 / (counted.len() * context).max(1) as f64;
        let cut = match name == SEQUENTIAL {
            true => needlessly_cut(lengths, context),
            false => 0.0,
        };
        Way {
            name,
            fill,
            cut,
            ns,
        }
    });
    Ways {
        context,
        documents: lengths.len(),
        ways: ways.collect(),
    }
}

/// A document longer than a sequence comes in pieces, whatever the way.
fn pieces(lengths: &[usize], context: usize) -> impl Iterator<Item = usize> {
    lengths.iter().flat_map(move |&length| {
        let whole = std::iter::repeat_n(context, length / context);
        whole.chain((length % context > 0).then_some(length % context))
    })
}

fn padded(lengths: &[usize], context: usize) -> Vec<usize> {
    pieces(lengths, context).collect()
}

fn sequential(lengths: &[usize], context: usize) -> Vec<usize> {
    let ids: usize = lengths.iter().sum();
    vec![context; ids / context]
}

fn needlessly_cut(lengths: &[usize], context: usize) -> f64 {
    let (mut at, mut cut) = (0, 0);
    for &length in lengths {
        cut += usize::from(length <= context && at % context + length > context);
        at += length;
    }
    cut as f64 / lengths.len().max(1) as f64
}

fn next_fit(lengths: &[usize], context: usize) -> Vec<usize> {
    let mut bins = Vec::new();
    let mut open = 0;
    for piece in pieces(lengths, context) {
        if open + piece > context {
            bins.push(open);
            open = 0;
        }
        open += piece;
    }
    bins.push(open);
    bins
}

/// Of every buffer the largest that fits, again and again, until it is empty.
fn knapsack(lengths: &[usize], context: usize) -> Vec<usize> {
    let pieces: Vec<_> = pieces(lengths, context).collect();
    let mut bins = Vec::new();
    for buffer in pieces.chunks(KNAPSACK) {
        let mut left = buffer.to_vec();
        left.sort_unstable();
        while !left.is_empty() {
            let mut bin = 0;
            loop {
                let fitting = left.partition_point(|piece| bin + piece <= context);
                match fitting {
                    0 => break,
                    fitting => bin += left.remove(fitting - 1),
                }
            }
            bins.push(bin);
        }
    }
    bins
}

fn best_fit(lengths: &[usize], context: usize) -> Vec<usize> {
    let mut packer = Packer::new(context, usize::MAX, BINS);
    let mut bins = Vec::new();
    for piece in pieces(lengths, context) {
        bins.extend(packer.push(piece, piece, 0));
    }
    bins.extend(packer.flush());
    bins.into_iter()
        .map(|bin| bin.pieces.iter().sum())
        .collect()
}

/// How full the stream's sequences are, when documents are packed in the order of their dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Fill {
    /// Ids in a sequence.
    pub context: usize,
    /// Ids between an image's BOI and EOI.
    pub slots: usize,
    /// Sequences of one pass.
    pub sequences: u64,
    /// Ids in them, slots included.
    pub ids: u64,
    /// Share of places that hold an id, in steady state.
    pub fill: f64,
    /// The same with every document, or piece of one that is too long, in a sequence of its own.
    pub fill_without_packing: f64,
    /// Documents longer than a sequence.
    pub documents_cut: u64,
}

/// Packs documents as they come, in memory for 32 sequences.
pub(crate) struct Filling {
    packer: Packer<usize>,
    steady: (u64, u64),
    pieces: u64,
    fill: Fill,
}

impl Filling {
    pub(crate) fn new(context: usize, slots: usize) -> Self {
        let fill = Fill {
            context: context.max(1),
            slots,
            ..Fill::default()
        };
        Self {
            packer: Packer::new(fill.context, usize::MAX, BINS),
            steady: (0, 0),
            pieces: 0,
            fill,
        }
    }

    /// A document of so many ids, without slots, and stored images.
    pub(crate) fn add(&mut self, tokens: u32, images: u32) {
        let context = self.fill.context as u64;
        let length = u64::from(tokens) + u64::from(images) * self.fill.slots as u64;
        let (whole, rest) = (length / context, (length % context) as usize);
        self.fill.ids += length;
        self.fill.documents_cut += u64::from(length > context);
        self.pieces += whole + u64::from(rest > 0);
        // They close as they come. A number read from a file may be huge: no loop over it.
        self.fill.sequences += whole;
        if self.fill.sequences > STEADY_AFTER as u64 {
            self.steady = (self.steady.0 + whole, self.steady.1 + whole * context);
        }
        if rest > 0
            && let Some(bin) = self.packer.push(rest, rest, 0)
        {
            self.fill.sequences += 1;
            if self.fill.sequences > STEADY_AFTER as u64 {
                let ids: usize = bin.pieces.iter().sum();
                self.steady = (self.steady.0 + 1, self.steady.1 + ids as u64);
            }
        }
    }

    pub(crate) fn fill(mut self) -> Fill {
        self.fill.sequences += self.packer.flush().len() as u64;
        let share = |(sequences, ids): (u64, u64)| {
            ids as f64 / (sequences.max(1) as f64 * self.fill.context as f64)
        };
        let all = (self.fill.sequences, self.fill.ids);
        let steady = [all, self.steady][usize::from(self.steady.0 > 0)];
        Fill {
            fill: share(steady),
            fill_without_packing: share((self.pieces, self.fill.ids)),
            ..self.fill
        }
    }
}

impl Ways {
    /// By its name's beginning.
    pub fn way(&self, name: &str) -> Option<&Way> {
        self.ways.iter().find(|way| way.name.starts_with(name))
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            context, documents, ..
        } = self;
        writeln!(f, "{documents} documents, sequences of {context} ids\n")?;
        writeln!(
            f,
            "{:<46} {:>8} {:>16} {:>10}",
            "", "filled", "needlessly cut", "ns each"
        )?;
        for way in &self.ways {
            let (fill, cut) = (100.0 * way.fill, 100.0 * way.cut);
            writeln!(
                f,
                "{:<46} {fill:>6.2} % {cut:>14.1} % {:>10.0}",
                way.name, way.ns
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_packs_every_id_and_ours_fills_99_percent_of_web_pages() {
        let lengths = web_like(60_000, 256);
        let ids: usize = lengths.iter().sum();
        for pack in [padded, next_fit, knapsack, best_fit] {
            let bins = pack(&lengths, 2048);
            assert_eq!(bins.iter().sum::<usize>(), ids);
            assert!(bins.iter().all(|bin| (1..=2048).contains(bin)));
        }
        let ways = compare(&lengths, 2048);
        let fill = |name| ways.way(name).expect("a way").fill;
        assert!(fill("online best fit") >= 0.99, "{ways}");
        assert!(
            fill("next fit") < 0.85 && fill("one document") < 0.5,
            "{ways}"
        );
    }

    #[test]
    fn packing_as_documents_come_fills_as_packing_them_all() {
        let lengths = web_like(60_000, 256);
        let mut filling = Filling::new(2048, 256);
        for &length in &lengths {
            filling.add(length as u32, 0);
        }
        let (fill, ways) = (filling.fill(), compare(&lengths, 2048));
        let way = |name| ways.way(name).expect("a way").fill;
        assert_eq!(fill.ids, lengths.iter().sum::<usize>() as u64);
        assert!(
            (fill.fill - way("online best fit")).abs() < 1e-3,
            "{fill:?} {ways}"
        );
        assert!((fill.fill_without_packing - way("one document")).abs() < 0.02);
        let huge = |context| {
            let mut filling = Filling::new(context, 256);
            filling.add(u32::MAX, u32::MAX);
            filling.fill().sequences
        };
        assert!(huge(8) > 1 << 36, "counted, not looped over");
    }
}

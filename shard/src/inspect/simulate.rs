//! What a stream will be like: its order, its reading and its packing, looked at without decoding an image.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use serde::Serialize;

use crate::config::{Passes, StreamConfig, Verify};
use crate::cursor::{PassedOver, PieceAt, Position};
use crate::lane::Sequence;
use crate::planner::Planner;
use crate::read::Readers;
use crate::stream::StreamError;

/// A stream in numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Simulation {
    /// From asking to the first sequence, in seconds.
    pub start_s: f64,
    /// Batches looked at.
    pub steps: u64,
    /// W.
    pub ranks: usize,
    /// Lanes that the ranks share.
    pub lanes: u32,
    /// Documents in them.
    pub documents: u64,
    /// Images in them.
    pub images: u64,
    /// Documents that were not taken.
    pub passed: PassedOver,
    /// Share of documents whose predecessor is from the same shard.
    pub neighbours: f64,
    /// The same in a perfect shuffle.
    pub neighbours_ideal: f64,
    /// How evenly the documents of a shard lie over the stream: their standard deviation beside that of an even spread, mean
    /// of all shards with eight documents or more. `None` without such a shard.
    pub spread: Option<f64>,
    /// Read of the shards for one batch, in bytes: columns of row groups, and the images of its documents.
    pub bytes_per_batch: f64,
    /// Of those, images.
    pub image_bytes_per_batch: f64,
    /// Documents that a resume reads again, mean over the batches.
    pub reread_documents: f64,
    /// Row groups that they are in.
    pub reread_row_groups: f64,
    /// Bytes of a position, as JSON, the largest.
    pub position_bytes: usize,
    /// Share of places that hold an id.
    pub fill: f64,
}

/// Looks at `steps` batches of all ranks, or at one pass over the datasets where `steps` is 0.
///
/// # Errors
/// As a stream's.
pub fn simulate(
    config: &StreamConfig,
    ranks: usize,
    steps: u64,
) -> Result<Simulation, StreamError> {
    let begun = Instant::now();
    let of_rank = |rank| StreamConfig {
        rank,
        world_size: ranks,
        verify: Verify::Size,
        passes: if steps == 0 {
            Passes::One
        } else {
            config.passes
        },
        ..config.clone()
    };
    let mut planners = (0..ranks.max(1))
        .map(|rank| Planner::open(of_rank(rank), None, &Readers::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut seen = Seen::default();
    let mut simulation = Simulation {
        ranks,
        lanes: planners[0].position().of_lanes,
        ..Simulation::default()
    };
    while steps == 0 || simulation.steps < steps {
        let mut any = false;
        for planner in &mut planners {
            let sequences = planner.sequences()?;
            if simulation.start_s == 0.0 {
                simulation.start_s = begun.elapsed().as_secs_f64();
            }
            any |= !sequences.is_empty();
            sequences
                .iter()
                .for_each(|sequence| seen.add(sequence, planner, config.context));
            seen.reread(&planner.position());
        }
        if !any {
            break;
        }
        simulation.steps += 1;
    }
    for planner in &planners {
        simulation.passed.add(planner.passed());
    }
    Ok(seen.into(simulation, &planners))
}

/// What was looked at so far.
#[derive(Default)]
struct Seen {
    /// Shard of each document, in the order in which they come.
    shards: Vec<(usize, u32)>,
    numbers: BTreeMap<(usize, String), u32>,
    images: u64,
    image_bytes: f64,
    used: u64,
    places: u64,
    positions: u64,
    reread_documents: u64,
    reread_groups: u64,
    position_bytes: usize,
}

impl Seen {
    fn add(&mut self, sequence: &Sequence, planner: &Planner, context: usize) {
        let reader = planner.reader(sequence.source);
        self.places += context as u64;
        for taken in &sequence.pieces {
            let PieceAt(_, group, _, piece) = taken.at;
            let entry = &reader.groups()[group as usize];
            if piece == 0 {
                let next = self.numbers.len() as u32;
                let key = (sequence.source, entry.shard.clone());
                let number = *self.numbers.entry(key).or_insert(next);
                self.shards.push((sequence.source, number));
            }
            let images = taken.piece.images.len() as u64;
            self.images += images;
            self.image_bytes += images as f64 * entry.bytes as f64 / entry.images.max(1) as f64;
            self.used += taken.piece.tokens.len() as u64;
        }
    }

    fn reread(&mut self, position: &Position) {
        let mut documents = BTreeSet::new();
        for lane in position.lanes.values() {
            for (source, track) in lane.tracks.iter().enumerate() {
                for &PieceAt(_, group, row, _) in track.open.iter().chain(&track.ready).flatten() {
                    documents.insert((source, group, row));
                }
            }
        }
        let groups: BTreeSet<_> = documents.iter().map(|at| (at.0, at.1)).collect();
        self.positions += 1;
        self.reread_documents += documents.len() as u64;
        self.reread_groups += groups.len() as u64;
        let json = serde_json::to_vec(position).map_or(0, |json| json.len());
        self.position_bytes = self.position_bytes.max(json);
    }

    fn into(self, simulation: Simulation, planners: &[Planner]) -> Simulation {
        let documents = self.shards.len();
        let mut of_shard: BTreeMap<(usize, u32), Vec<f64>> = BTreeMap::new();
        for (at, shard) in self.shards.iter().enumerate() {
            let place = (at as f64 + 0.5) / documents as f64;
            of_shard.entry(*shard).or_default().push(place);
        }
        let same = self
            .shards
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .count();
        let share = |places: &Vec<f64>| (places.len() as f64 / documents as f64).powi(2);
        let spreads: Vec<_> = of_shard
            .values()
            .filter(|places| places.len() >= 8)
            .map(|places| deviation(places) / (1.0 / 12.0f64).sqrt())
            .collect();
        let column_bytes: u64 = planners.iter().map(Planner::bytes_read).sum();
        let batches = (simulation.steps * simulation.ranks as u64).max(1) as f64;
        let positions = self.positions.max(1) as f64;
        Simulation {
            documents: documents as u64,
            images: self.images,
            neighbours: same as f64 / documents.saturating_sub(1).max(1) as f64,
            neighbours_ideal: of_shard.values().map(share).sum(),
            spread: (!spreads.is_empty())
                .then(|| spreads.iter().sum::<f64>() / spreads.len() as f64),
            bytes_per_batch: (column_bytes as f64 + self.image_bytes) / batches,
            image_bytes_per_batch: self.image_bytes / batches,
            reread_documents: self.reread_documents as f64 / positions,
            reread_row_groups: self.reread_groups as f64 / positions,
            position_bytes: self.position_bytes,
            fill: self.used as f64 / self.places.max(1) as f64,
            ..simulation
        }
    }
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / n)
        .sqrt()
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<26} {value}");
        let Self {
            steps,
            ranks,
            lanes,
            ..
        } = self;
        line(
            "first sequence after",
            format!("{:.0} ms", 1e3 * self.start_s),
        )?;
        line(
            "looked at",
            format!("{steps} steps of {ranks} ranks, {lanes} lanes"),
        )?;
        line("documents", self.documents.to_string())?;
        line("images", self.images.to_string())?;
        let PassedOver {
            few_images,
            filtered,
        } = self.passed;
        line(
            "not taken",
            format!("{few_images} with too few images, {filtered} by the filter"),
        )?;
        let (found, ideal) = (100.0 * self.neighbours, 100.0 * self.neighbours_ideal);
        line(
            "neighbours of one shard",
            format!("{found:.1} % (perfect shuffle: {ideal:.1} %)"),
        )?;
        let spread = self
            .spread
            .map_or("no shard is large enough".into(), |s| format!("{s:.2}"));
        line("spread of a shard", spread)?;
        let [all, images] = [self.bytes_per_batch, self.image_bytes_per_batch].map(|b| b / 1e6);
        line(
            "bytes a batch",
            format!("{all:.2} MB, {images:.2} MB of them images"),
        )?;
        line(
            "re-read at a resume",
            format!(
                "{:.1} documents in {:.1} row groups",
                self.reread_documents, self.reread_row_groups
            ),
        )?;
        line(
            "a position",
            format!("up to {:.1} kB", self.position_bytes as f64 / 1e3),
        )?;
        line("filled", format!("{:.2} %", 100.0 * self.fill))
    }
}

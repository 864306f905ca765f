//! Lanes to batches without pixels: whose turn it is, what each row holds, which images belong to it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use lcl_schemas::batch::Batch;
use lcl_schemas::dataset::Header;

use crate::compose::{BatchImage, batch};
use crate::config::{Passes, StreamConfig};
use crate::cursor::{PassedOver, Position};
use crate::filter::Filter;
use crate::lane::{Lane, Sequence};
use crate::mix::{Balance, Given, Weigh, Weights};
use crate::order::{Order, lanes};
use crate::read::{ReadError, Readers, SharedReader};
use crate::stream::StreamError;
use crate::track::{Census, Plan};

/// The lanes of one rank, and whose turn it is.
///
/// Which dataset a lane's sequence comes from depends on what all lanes have given before. So with several datasets every
/// rank plans the lanes of all and keeps the sequences of its own, and shares hold to within one sequence of the whole stream.
/// Planning a document takes less than 20 µs, decoding an image of 500×375 takes 1.3 ms: with dozens of ranks it is felt.
pub(crate) struct Planner {
    config: Arc<StreamConfig>,
    /// Of the configuration: every position says it.
    identity: String,
    plans: Vec<Plan>,
    /// At the first step.
    weights: Vec<f64>,
    balance: Balance,
    /// ℓ ≡ `first` mod `stride`, ascending.
    lanes: Vec<Lane>,
    first: usize,
    stride: usize,
    of_lanes: usize,
    /// Of all ranks: the next one is lane `turn mod L`'s, or the next of this planner's after it.
    turn: u64,
}

/// A batch to be, and where the stream stands behind it.
pub(crate) struct Planned {
    /// Without pixels.
    pub(crate) batch: Batch,
    /// In the order of the batch's images.
    pub(crate) images: Vec<BatchImage>,
    pub(crate) position: Position,
    pub(crate) epoch: u64,
    pub(crate) passed: PassedOver,
    pub(crate) given: Vec<Given>,
}

impl Planner {
    /// Opens the datasets and begins, or goes on at a position.
    pub(crate) fn open(
        config: StreamConfig,
        from: Option<&Position>,
        readers: &Readers,
    ) -> Result<Self, StreamError> {
        config.validate()?;
        let config = Arc::new(config);
        let readers = open_readers(&config, from, readers)?;
        let most = readers.iter().map(|reader| reader.groups().len()).max();
        let of_lanes = lanes(most.unwrap_or(0), config.block_row_groups, config.lanes);
        if !of_lanes.is_multiple_of(config.world_size) {
            return Err(StreamError::Ranks {
                lanes: of_lanes,
                world_size: config.world_size,
            });
        }
        let plans = plans(&config, readers, of_lanes)?;
        let (first, stride) = match plans.len() {
            1 => (config.rank, config.world_size),
            _ => (0, 1),
        };
        let planned = (first..of_lanes).step_by(stride);
        let (lanes, balance, turn) = match from {
            None => (
                planned.map(|lane| Lane::start(&plans, lane)).collect(),
                Balance::of(plans.len()),
                0,
            ),
            Some(position) => {
                check(position, &config, &plans, of_lanes)?;
                let lanes = planned.map(|lane| {
                    let at = position.lanes.get(&(lane as u32)).ok_or_else(|| {
                        let detail =
                            format!("it does not have lane {lane}: merge those of all ranks");
                        ReadError::Position(detail)
                    })?;
                    Lane::resume(&plans, lane, at)
                });
                let lanes = lanes.collect::<Result<_, _>>()?;
                (lanes, position.balance.clone(), position.turn)
            }
        };
        let sources = config.sources();
        Ok(Self {
            identity: config.identity(),
            config,
            plans,
            weights: sources.iter().map(|source| source.weight).collect(),
            balance,
            lanes,
            first,
            stride,
            of_lanes,
            turn,
        })
    }

    /// Of the first dataset; the others fit it.
    pub(crate) fn header(&self) -> &Header {
        self.plans[0].reader.header()
    }

    pub(crate) fn readers(&self) -> Vec<SharedReader> {
        self.plans.iter().map(|plan| plan.reader.clone()).collect()
    }

    /// Set, it ends a search for documents that nobody wants any more.
    pub(crate) fn stopped(&self) -> Arc<AtomicBool> {
        self.plans[0].stopped.clone()
    }

    /// The next batch; `None` at the end of a stream that ends.
    pub(crate) fn next(&mut self) -> Result<Option<Planned>, StreamError> {
        let sequences = self.sequences()?;
        if sequences.is_empty() {
            return Ok(None);
        }
        let (batch, images) = batch(&self.config, &sequences);
        let mut given = vec![Given::default(); self.plans.len()];
        for lane in &self.lanes {
            given
                .iter_mut()
                .zip(lane.given())
                .for_each(|(sum, of)| sum.add(of));
        }
        Ok(Some(Planned {
            batch,
            images,
            position: self.position(),
            epoch: self.lanes.iter().map(Lane::epoch).min().unwrap_or(0),
            passed: self.passed(),
            given,
        }))
    }

    /// Documents that this rank did not take.
    pub(crate) fn passed(&self) -> PassedOver {
        let mut passed = PassedOver::default();
        let numbers = (self.first..).step_by(self.stride);
        for (lane, number) in self.lanes.iter().zip(numbers) {
            if number % self.config.world_size == self.config.rank {
                passed.add(lane.passed());
            }
        }
        passed
    }

    /// Of the columns of row groups, by this rank.
    #[cfg(feature = "query")]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.plans.iter().map(|plan| plan.reader.bytes_read()).sum()
    }

    #[cfg(feature = "query")]
    pub(crate) fn reader(&self, source: usize) -> &SharedReader {
        &self.plans[source].reader
    }

    /// This rank's sequences of a step, fewer at the end of a stream that ends.
    pub(crate) fn sequences(&mut self) -> Result<Vec<Sequence>, StreamError> {
        let StreamConfig {
            rank, world_size, ..
        } = *self.config;
        let rows = self.config.rows / world_size;
        let mut missing = vec![0; world_size];
        (self.first..world_size)
            .step_by(self.stride)
            .for_each(|rank| missing[rank] = rows);
        let mut sequences = Vec::with_capacity(rows);
        let (begun, mut any, mut idle) = (self.turn, false, 0);
        while missing.iter().any(|rows| *rows > 0) && idle < self.lanes.len() {
            let lane = (self.turn % self.of_lanes as u64) as usize / self.stride;
            let of_rank = (self.turn as usize + self.first) % world_size;
            self.turn += self.stride as u64;
            idle += 1;
            // Lanes of other ranks have ended before: this one's go on in the next step.
            if missing[of_rank] == 0 {
                continue;
            }
            match self.deal(lane, begun / self.config.rows as u64)? {
                Some(sequence) => {
                    missing[of_rank] -= 1;
                    (any, idle) = (true, 0);
                    if of_rank == rank {
                        sequences.push(sequence);
                    }
                }
                None if self.config.passes == Passes::Endless => {
                    let without = self.first_without_documents()?;
                    return Err(self.no_documents(without.unwrap_or_default()));
                }
                None => {}
            }
        }
        // Whatever was passed over at the end of a stream: a step is a step, for every number of ranks.
        self.turn = begun + self.config.rows as u64;
        // A rank of many may have nothing to do; a whole dataset may not.
        let nothing = !any && begun == 0;
        if nothing && let Some(without) = self.first_without_documents()? {
            return Err(self.no_documents(without));
        }
        Ok(sequences)
    }

    /// The next sequence of a lane, for the batch of `step`; `None` at the lane's end, which a stream without end reaches only
    /// where a dataset has no document to take.
    fn deal(&mut self, lane: usize, step: u64) -> Result<Option<Sequence>, ReadError> {
        let typical = self.typical();
        loop {
            let (ended, everywhere) = (self.lanes[lane].ended(), self.ended());
            if self.config.passes != Passes::One && self.is_over(&everywhere) {
                return Ok(None);
            }
            let asked = Weights::at(step, &self.weights, &self.config.schedule);
            // In one pass everything is given, at last also what has no weight.
            let equal = vec![1.0; asked.len()];
            let weights = Weights::of(asked, &everywhere).or_else(|| match self.config.passes {
                Passes::One => Weights::of(&equal, &everywhere),
                Passes::Endless | Passes::Shortest => None,
            });
            let next = weights.and_then(|weights| {
                let source = self.balance.next(&weights, typical, |at| !ended[at])?;
                Some((weights, source))
            });
            let Some((weights, source)) = next else {
                return Ok(None);
            };
            if let Some((sequence, given)) = self.lanes[lane].next(source)? {
                let units = given.units(self.config.weigh);
                self.balance.deliver(&weights, source, units);
                return Ok(Some(sequence));
            }
            let ended = self.ended();
            if ended[source] {
                self.balance.forgive(source, &ended);
            }
        }
    }

    /// About what a sequence holds of what is weighed: of ids a full row, else the mean so far.
    fn typical(&self) -> u64 {
        if self.config.weigh == Weigh::Tokens {
            return self.config.context as u64;
        }
        let mut given = Given::default();
        let all = self.lanes.iter().flat_map(Lane::given);
        all.for_each(|of| given.add(of));
        given
            .units(self.config.weigh)
            .div_ceil(given.sequences.max(1))
            .max(1)
    }

    /// Whether a dataset has ended everywhere, or a lane has nothing more of any: then all lanes end, at a turn that does not
    /// depend on ranks.
    fn is_over(&self, everywhere: &[bool]) -> bool {
        let has_nothing = |lane: &Lane| lane.ended().iter().all(|ended| *ended);
        match self.plans.len() {
            1 => everywhere[0],
            _ => everywhere.contains(&true) || self.lanes.iter().any(has_nothing),
        }
    }

    /// Which datasets have ended in every lane.
    fn ended(&self) -> Vec<bool> {
        let ended = |source: usize| self.lanes.iter().all(|lane| lane.ended()[source]);
        (0..self.plans.len()).map(ended).collect()
    }

    pub(crate) fn position(&self) -> Position {
        let numbers = (self.first as u32..).step_by(self.stride);
        let lanes = self.lanes.iter().map(Lane::position);
        Position {
            manifests: manifests(&self.plans),
            stream: self.identity.clone(),
            turn: self.turn,
            of_lanes: self.of_lanes as u32,
            balance: self.balance.clone(),
            lanes: numbers.zip(lanes).collect(),
        }
    }

    /// A dataset that has nothing to give: any of them where all have to repeat, the first where all have ended at once.
    fn first_without_documents(&self) -> Result<Option<(usize, PassedOver)>, ReadError> {
        let censuses = self.plans.iter().map(Plan::census);
        let censuses = censuses.collect::<Result<Vec<_>, _>>()?;
        let any_gives = censuses
            .iter()
            .any(|census| matches!(census, Census::Usable));
        if any_gives && self.config.passes == Passes::One {
            return Ok(None);
        }
        let nothing = censuses
            .iter()
            .enumerate()
            .find_map(|(source, census)| match census {
                Census::Nothing(passed) => Some((source, *passed)),
                Census::Usable => None,
            });
        Ok(nothing)
    }

    fn no_documents(&self, (source, passed): (usize, PassedOver)) -> StreamError {
        StreamError::NoDocuments {
            dataset: self.config.sources()[source].dataset.display().to_string(),
            min_images: self.config.min_images,
            passed,
        }
    }
}

/// The datasets of a stream, at the manifests that it names, else those of the position, else the newest.
pub(crate) fn open_readers(
    config: &StreamConfig,
    from: Option<&Position>,
    shared: &Readers,
) -> Result<Vec<SharedReader>, StreamError> {
    let sources = config.sources();
    let mut readers: Vec<SharedReader> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let saved = from.and_then(|position| position.manifests.get(index));
        let manifest = match saved.filter(|_| source.manifest.is_empty()) {
            Some(saved) => saved,
            None => &source.manifest,
        };
        let reader = shared.open(&source.dataset, manifest, config.verify)?;
        if let Some(first) = readers.first() {
            let fits = reader.header().check_mixes(first.header());
            fits.map_err(|source| ReadError::Header {
                path: reader.folder().to_owned(),
                source,
            })?;
        }
        readers.push(reader);
    }
    Ok(readers)
}

fn plans(
    config: &Arc<StreamConfig>,
    readers: Vec<SharedReader>,
    of_lanes: usize,
) -> Result<Vec<Plan>, StreamError> {
    let stopped = Arc::new(AtomicBool::new(false));
    let sources = config.sources().into_iter().zip(readers);
    let plans = sources.map(|(source, reader)| {
        let rows = reader.groups().iter().map(|group| group.rows).collect();
        let images: u64 = reader.groups().iter().map(|group| group.images).sum();
        if config.weigh == Weigh::Images && images == 0 {
            return Err(StreamError::NoImages {
                dataset: source.dataset.display().to_string(),
            });
        }
        let filter = match source.filter.as_str() {
            "" => None,
            sql => Some(Arc::new(Filter::parse(sql)?)),
        };
        Ok(Plan {
            order: Order::new(rows, config.seed, config.block_row_groups, of_lanes),
            reader,
            config: config.clone(),
            filter,
            census: Arc::new(OnceLock::new()),
            stopped: stopped.clone(),
        })
    });
    plans.collect()
}

fn manifests(plans: &[Plan]) -> Vec<String> {
    let manifests = plans.iter().map(|plan| plan.reader.manifest().to_owned());
    manifests.collect()
}

fn check(
    position: &Position,
    config: &StreamConfig,
    plans: &[Plan],
    of_lanes: usize,
) -> Result<(), StreamError> {
    let other = |what, theirs: &str, ours: &str| StreamError::OtherPosition {
        what,
        theirs: theirs.to_owned(),
        ours: ours.to_owned(),
    };
    let (theirs, ours) = (position.manifests.join(" "), manifests(plans).join(" "));
    if theirs != ours {
        return Err(other("manifest", &theirs, &ours));
    }
    let identity = config.identity();
    if position.stream != identity {
        return Err(other("stream configuration", &position.stream, &identity));
    }
    if !position.has_sane_numbers() {
        return Err(ReadError::Position("its numbers cannot be".into()).into());
    }
    if position.balance.len() != plans.len() {
        let detail = format!("it is not of {} datasets", plans.len());
        return Err(ReadError::Position(detail).into());
    }
    if position.of_lanes as usize != of_lanes {
        let detail = format!("{} lanes instead of {of_lanes}", position.of_lanes);
        return Err(ReadError::Position(detail).into());
    }
    match position.turn.is_multiple_of(config.world_size as u64) {
        true => Ok(()),
        false => {
            Err(ReadError::Position("it is not between two steps of so many ranks".into()).into())
        }
    }
}

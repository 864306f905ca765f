//! The stream: lanes give sequences in turn, a planner lays them out, workers decode, batches come out in order.
//!
//! ```text
//! planner ──► batches without pixels, in order ──────────────► next()
//!    └─────► jobs ──► worker, worker, … ──► each batch's own replies ─┘
//! ```
//! Both channels are bounded, so memory is `prefetch` batches and their jobs. What a batch holds does not depend on how
//! many workers there are.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};
use lcl_schemas::batch::Batch;
use lcl_schemas::dataset::Header;

use crate::config::{ConfigError, StreamConfig};
use crate::cursor::{PieceAt, Position};
use crate::lane::{Lane, Plan, Sequence};
use crate::order::{Order, RowAt};
use crate::pixels::{CropKey, Squares};
use crate::read::{ReadError, Reader, SharedReader};

/// Why a stream stops.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A position of another dataset, or of other settings.
    #[error(
        "the position belongs to another {what} ({theirs:.12}, here {ours:.12}): resume with the one it was saved with"
    )]
    OtherPosition {
        /// `manifest` or `stream configuration`.
        what: &'static str,
        /// As in the position.
        theirs: String,
        /// As here.
        ours: String,
    },
    /// Nothing to stream.
    #[error(
        "no document of {dataset} is in the part asked for with at least {min_images} stored images ({passed_over} have fewer)"
    )]
    NoDocuments {
        /// The folder.
        dataset: String,
        /// As configured.
        min_images: u32,
        /// Documents passed over.
        passed_over: u64,
    },
    /// A worker thread is gone, which only a bug can cause.
    #[error("a thread of the stream ended early; its message stands above")]
    WorkerGone,
}

/// A batch, and where the stream stands behind it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The batch.
    pub batch: Batch,
    /// From here the next batch follows.
    pub position: Position,
    /// The lowest epoch that any lane is in.
    pub epoch: u64,
    /// Documents passed over so far, because they have too few images.
    pub passed_over: u64,
}

/// Batches of one dataset, without end or once.
pub struct Stream {
    header: Header,
    planned: Option<Receiver<Result<Planned, StreamError>>>,
    planner: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

/// When every lane has gone through so many epochs without a document there is none: a dataset of one usable document in
/// L lanes is missed with a chance of e^-64.
const EMPTY_EPOCHS: usize = 64;

/// A batch whose pixels are on their way.
struct Planned {
    delivered: Delivered,
    squares: Receiver<(usize, Result<Vec<u8>, ReadError>)>,
}

/// The images that one piece brings to a batch.
struct Job {
    at: RowAt,
    epoch: u64,
    document: u64,
    /// Place in the row, index in the batch.
    images: Vec<(u32, usize)>,
    reply: Sender<(usize, Result<Vec<u8>, ReadError>)>,
}

impl Stream {
    /// Opens a stream at its start, or at a position.
    ///
    /// # Errors
    /// Settings, dataset or position that do not fit; see [`StreamError`].
    pub fn open(config: StreamConfig, from: Option<Position>) -> Result<Self, StreamError> {
        config.validate()?;
        let manifest = match &from {
            Some(position) if config.manifest.is_empty() => position.manifest.clone(),
            _ => config.manifest.clone(),
        };
        let reader = Arc::new(Reader::open(&config.dataset, &manifest)?);
        let rows = reader.groups().iter().map(|group| group.rows).collect();
        let order = Order::new(rows, config.seed, config.block_row_groups, config.lanes);
        let plan = Plan {
            reader: reader.clone(),
            config: config.clone(),
            order,
        };
        let planner = Planner::open(plan, from)?;
        let threads = config.worker_threads();
        let (jobs_in, jobs) = bounded(4 * threads);
        let (planned_in, planned) = bounded(config.prefetch);
        let workers = (0..threads)
            .map(|_| {
                let (reader, config, jobs) = (reader.clone(), config.clone(), jobs.clone());
                std::thread::spawn(move || decode(&reader, &config, &jobs))
            })
            .collect();
        let planner = std::thread::spawn(move || planner.run(&planned_in, &jobs_in));
        Ok(Self {
            header: reader.header().clone(),
            planned: Some(planned),
            planner: Some(planner),
            workers,
        })
    }

    /// What is true of every row of the dataset.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

impl Iterator for Stream {
    type Item = Result<Delivered, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Ok(planned) = self.planned.as_ref()?.recv() else {
            // The end, unless the planner did not come to it.
            let ended = self.planner.take()?.join();
            return ended.is_err().then_some(Err(StreamError::WorkerGone));
        };
        let finished = planned.and_then(Planned::with_pixels);
        if finished.is_err() {
            self.planned = None;
        }
        Some(finished)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The planner then fails to send and ends, the workers see no more jobs and end.
        self.planned = None;
        for thread in self
            .planner
            .take()
            .into_iter()
            .chain(self.workers.drain(..))
        {
            // A panic has already been reported on stderr.
            let _ = thread.join();
        }
    }
}

impl Planned {
    fn with_pixels(mut self) -> Result<Delivered, StreamError> {
        let batch = &mut self.delivered.batch;
        let bytes = batch.edge * batch.edge * 3;
        batch.pixels = vec![0; batch.images() * bytes];
        for _ in 0..batch.images() {
            let (index, square) = self.squares.recv().map_err(|_| StreamError::WorkerGone)?;
            batch.pixels[index * bytes..][..bytes].copy_from_slice(&square?);
        }
        Ok(self.delivered)
    }
}

/// Decodes until there are no more jobs.
fn decode(reader: &SharedReader, config: &StreamConfig, jobs: &Receiver<Job>) {
    let mut squares = Squares::default();
    for job in jobs {
        let stored = reader.pixels(job.at);
        let mut stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                // One reply is enough: the batch fails with it. If nobody listens any more, nobody misses it.
                let _ = job.reply.send((0, Err(error)));
                continue;
            }
        };
        for (place, index) in job.images {
            let about = CropKey {
                seed: config.seed,
                epoch: job.epoch,
                document: job.document,
                place,
            };
            let square = match stored.remove(&place) {
                Some(encoded) => squares.square(&encoded, config.edge, config.crop, about),
                None => Err("has a BOI but no bytes".to_owned()),
            };
            let square = square.map_err(|detail| {
                reader.shard_error(
                    job.at.group,
                    Some(job.at.row),
                    format!("image at place {place}: {detail}"),
                )
            });
            let _ = job.reply.send((index, square));
        }
    }
}

struct Planner {
    plan: Plan,
    lanes: Vec<Lane>,
    turn: u64,
    passed_over: u64,
}

impl Planner {
    fn open(plan: Plan, from: Option<Position>) -> Result<Self, StreamError> {
        let lanes = 0..plan.order.lanes();
        let Some(position) = from else {
            let lanes = lanes.map(|index| Lane::start(&plan, index)).collect();
            return Ok(Self {
                plan,
                lanes,
                turn: 0,
                passed_over: 0,
            });
        };
        let (manifest, identity) = (plan.reader.manifest().to_owned(), plan.config.identity());
        for (what, theirs, ours) in [
            ("manifest", &position.manifest, &manifest),
            ("stream configuration", &position.stream, &identity),
        ] {
            if theirs != ours {
                return Err(StreamError::OtherPosition {
                    what,
                    theirs: theirs.clone(),
                    ours: ours.clone(),
                });
            }
        }
        if position.lanes.len() != plan.order.lanes() {
            let detail = format!(
                "{} lanes instead of {}",
                position.lanes.len(),
                plan.order.lanes()
            );
            return Err(ReadError::Position(detail).into());
        }
        let lanes = lanes
            .map(|index| Lane::resume(&plan, index, &position.lanes[index]))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            plan,
            lanes,
            turn: position.turn,
            passed_over: position.passed_over,
        })
    }

    /// Plans until the stream ends, fails, or nobody listens.
    fn run(mut self, planned: &Sender<Result<Planned, StreamError>>, jobs: &Sender<Job>) {
        let mut any = self.turn > 0;
        loop {
            let sequences = match self.sequences() {
                Ok(sequences) if sequences.is_empty() && !any => {
                    let _ = planned.send(Err(self.no_documents()));
                    return;
                }
                Ok(sequences) if sequences.is_empty() => return,
                Ok(sequences) => sequences,
                Err(error) => {
                    let _ = planned.send(Err(error.into()));
                    return;
                }
            };
            any = true;
            let (batch, images) = self.batch(&sequences);
            let (reply, squares) = bounded(images.len().max(1));
            let delivered = Delivered {
                batch,
                position: self.position(),
                epoch: self.lanes.iter().map(Lane::epoch).min().unwrap_or_default(),
                passed_over: self.passed_over,
            };
            // First the batch, then its jobs: the consumer of a batch waits for the replies, never for a place here.
            if planned.send(Ok(Planned { delivered, squares })).is_err() {
                return;
            }
            for (at, epoch, document, images) in images_by_piece(&images) {
                if jobs
                    .send(Job {
                        at,
                        epoch,
                        document,
                        images,
                        reply: reply.clone(),
                    })
                    .is_err()
                {
                    return;
                }
            }
        }
    }

    /// The next B sequences, fewer at the end of a stream that ends.
    fn sequences(&mut self) -> Result<Vec<Sequence>, ReadError> {
        let mut sequences = Vec::with_capacity(self.plan.config.rows);
        let mut idle = 0;
        while sequences.len() < self.plan.config.rows && idle < self.lanes.len() * EMPTY_EPOCHS {
            let lane = (self.turn % self.lanes.len() as u64) as usize;
            self.turn += 1;
            match self.lanes[lane].next(&mut self.passed_over)? {
                Some(sequence) => {
                    sequences.push(sequence);
                    idle = 0;
                }
                None => idle += 1,
            }
        }
        Ok(sequences)
    }

    fn position(&self) -> Position {
        Position {
            manifest: self.plan.reader.manifest().to_owned(),
            stream: self.plan.config.identity(),
            turn: self.turn,
            passed_over: self.passed_over,
            lanes: self.lanes.iter().map(Lane::position).collect(),
        }
    }

    /// Sequences as a batch without pixels, and whose image each is.
    fn batch(&self, sequences: &[Sequence]) -> (Batch, Vec<BatchImage>) {
        let context = self.plan.config.context;
        let places = sequences.len() * context;
        let mut batch = Batch {
            rows: sequences.len(),
            context,
            edge: self.plan.config.edge,
            slots: self.plan.config.slots,
            tokens: vec![0; places],
            segments: vec![0; places],
            positions: vec![0; places],
            pixels: Vec::new(),
            first_slots: Vec::new(),
            has_context: Vec::new(),
        };
        let mut images = Vec::new();
        for (row, sequence) in sequences.iter().enumerate() {
            let mut start = row * context;
            for (taken, segment) in sequence.iter().zip(1..) {
                let length = taken.piece.tokens.len();
                let range = start..start + length;
                batch.tokens[range.clone()].copy_from_slice(&taken.piece.tokens);
                batch.segments[range.clone()].fill(segment);
                batch.positions[range]
                    .iter_mut()
                    .zip(0..)
                    .for_each(|(position, index)| *position = index);
                for image in &taken.piece.images {
                    batch.first_slots.push((start + image.first_slot) as u32);
                    batch.has_context.push(image.has_context);
                    images.push(BatchImage {
                        piece: taken.at,
                        document: taken.document,
                        place: image.place,
                    });
                }
                start += length;
            }
        }
        (batch, images)
    }

    fn no_documents(&self) -> StreamError {
        StreamError::NoDocuments {
            dataset: self.plan.config.dataset.display().to_string(),
            min_images: self.plan.config.min_images,
            passed_over: self.passed_over,
        }
    }
}

/// Whose an image of a batch is.
struct BatchImage {
    piece: PieceAt,
    document: u64,
    place: u32,
}

/// Images of one piece go to one worker: a document's pixels are then read once.
fn images_by_piece(
    images: &[BatchImage],
) -> impl Iterator<Item = (RowAt, u64, u64, Vec<(u32, usize)>)> {
    let mut index = 0;
    images
        .chunk_by(|a, b| a.piece == b.piece)
        .map(move |images| {
            let PieceAt(epoch, group, row, _) = images[0].piece;
            let first = index;
            index += images.len();
            let places = images
                .iter()
                .zip(first..)
                .map(|(image, index)| (image.place, index))
                .collect();
            (RowAt { group, row }, epoch, images[0].document, places)
        })
}

//! Batches: a planner lays them out, workers decode straight into them, they come out in order.
//!
//! ```text
//! planner ──► batches without pixels, in order ──────────────► next()
//!    └─────► jobs ──► worker, worker, … ──► each batch's own replies ─┘
//! ```
//! Both channels are bounded, so memory is `prefetch` batches and their jobs. A worker writes an image into its place in the
//! batch's buffer and goes on with whatever comes next: a slow image holds up only the batch that it belongs to. What a batch
//! holds does not depend on how many workers there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use crossbeam::channel::{Receiver, Sender, bounded};
use lcl_schemas::batch::{Batch, PictureForm, Pictures};
use lcl_schemas::dataset::Header;

use crate::compose::{PieceImages, by_piece};
use crate::config::{ConfigError, OnCorrupt, StreamConfig};
use crate::cursor::{PassedOver, Position};
use crate::filter::FilterError;
use crate::mix::Given;
use crate::pixels::{DrawKey, Squares};
use crate::planner::{Planned, Planner};
use crate::read::{ReadError, Readers, SharedReader};

/// Why a stream stops.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A filter that is no predicate.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// More ranks than the lanes can be shared among.
    #[error(
        "world_size = {world_size} does not divide {lanes} lanes: choose a divisor, or smaller block_row_groups where the dataset has too few blocks for more lanes"
    )]
    Ranks {
        /// L.
        lanes: usize,
        /// W.
        world_size: usize,
    },
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
        "no document of {dataset} is in the part asked for with at least {min_images} stored images ({few} have fewer, the filter leaves out {filtered})", few = passed.few_images, filtered = passed.filtered
    )]
    NoDocuments {
        /// The folder.
        dataset: String,
        /// As configured.
        min_images: u32,
        /// Documents that were not taken.
        passed: PassedOver,
    },
    /// A dataset that can never have its share.
    #[error("{dataset} has no images: it can have no share of them, weigh by something else")]
    NoImages {
        /// The folder.
        dataset: String,
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
    /// The lowest epoch that any dataset is in, in any lane of this rank; of a mixture, in any lane.
    pub epoch: u64,
    /// Documents not taken so far, by this rank.
    pub passed: PassedOver,
    /// What each dataset has given so far, to this rank; of a mixture, to all ranks.
    pub given: Vec<Given>,
    /// Images of this batch that did not decode and were left out; each named by shard, row group, row and place.
    pub lost: Vec<String>,
}

/// Batches of one rank, without end or once.
pub struct Stream {
    header: Header,
    planned: Option<Receiver<Result<Unfinished, StreamError>>>,
    planner: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
}

/// A batch whose pixels are on their way.
struct Unfinished {
    planned: Planned,
    on_corrupt: OnCorrupt,
    form: PictureForm,
    pictures: Receiver<(usize, Result<Picture, ReadError>)>,
}

/// An image for its batch, in one of its two forms, and why there is nothing in it.
struct Picture {
    /// Its part of the batch's buffer.
    pixels: BytesMut,
    encoded: Bytes,
    corrupt: Option<ReadError>,
}

struct Job {
    images: PieceImages,
    /// Index in the batch of the first.
    first: usize,
    pixels: Vec<BytesMut>,
    reply: Sender<(usize, Result<Picture, ReadError>)>,
}

impl Stream {
    /// Opens a stream at its start, or at a position.
    ///
    /// # Errors
    /// Settings, dataset or position that do not fit; see [`StreamError`].
    pub fn open(config: StreamConfig, from: Option<Position>) -> Result<Self, StreamError> {
        Self::open_shared(config, from, &Readers::default())
    }

    /// The same, with datasets that other streams read, too.
    pub(crate) fn open_shared(
        config: StreamConfig,
        from: Option<Position>,
        readers: &Readers,
    ) -> Result<Self, StreamError> {
        let planner = Planner::open(config.clone(), from.as_ref(), readers)?;
        let header = planner.header().clone();
        let stopped = planner.stopped();
        let readers: Arc<[SharedReader]> = planner.readers().into();
        let config = Arc::new(config);
        let threads = config.worker_threads();
        let (jobs_in, jobs) = bounded(4 * threads);
        let (planned_in, planned) = bounded(config.prefetch);
        let workers = (0..threads)
            .map(|_| {
                let (readers, config, jobs) = (readers.clone(), config.clone(), jobs.clone());
                std::thread::spawn(move || decode(&readers, &config, &jobs))
            })
            .collect();
        let planner = std::thread::spawn(move || {
            plan(planner, &config, &readers, &planned_in, &jobs_in);
        });
        Ok(Self {
            header,
            planned: Some(planned),
            planner: Some(planner),
            workers,
            stopped,
        })
    }

    /// What is true of every row of the dataset; of several, of the first, whose ids the others share.
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
        let finished = planned.and_then(Unfinished::with_pixels);
        if finished.is_err() {
            self.planned = None;
        }
        Some(finished)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The planner then fails to send and ends, the workers see no more jobs and end.
        self.planned = None;
        let planner = self.planner.take();
        for thread in planner.into_iter().chain(self.workers.drain(..)) {
            // A panic has already been reported on stderr.
            let _ = thread.join();
        }
    }
}

/// Plans until the stream ends, fails, or nobody listens.
fn plan(
    mut planner: Planner,
    config: &StreamConfig,
    readers: &[SharedReader],
    unfinished: &Sender<Result<Unfinished, StreamError>>,
    jobs: &Sender<Job>,
) {
    loop {
        let next = planner.next().and_then(|planned| {
            // At the end every shard that was read has to have been what it should be.
            let ended = planned.is_none();
            readers
                .iter()
                .try_for_each(|reader| reader.verified(ended))?;
            Ok(planned)
        });
        let planned = match next {
            Ok(Some(planned)) => planned,
            Ok(None) => return,
            Err(error) => {
                let _ = unfinished.send(Err(error));
                return;
            }
        };
        let bytes = match config.pictures {
            PictureForm::Pixels => config.edge * config.edge * 3,
            PictureForm::Encoded => 0,
        };
        let mut pixels = BytesMut::zeroed(planned.images.len() * bytes);
        let (reply, pictures) = bounded(planned.images.len().max(1));
        let mut first = 0;
        let of_pieces: Vec<_> = by_piece(&planned.images)
            .map(|images| {
                let count = images.places.len();
                let job = Job {
                    pixels: (0..count).map(|_| pixels.split_to(bytes)).collect(),
                    images,
                    first,
                    reply: reply.clone(),
                };
                first += count;
                job
            })
            .collect();
        let batch = Unfinished {
            planned,
            on_corrupt: config.on_corrupt,
            form: config.pictures,
            pictures,
        };
        // First the batch, then its jobs: the consumer of a batch waits for the replies, never for a place here.
        if unfinished.send(Ok(batch)).is_err() {
            return;
        }
        for job in of_pieces {
            if jobs.send(job).is_err() {
                return;
            }
        }
    }
}

/// Decodes until there are no more jobs.
fn decode(readers: &[SharedReader], config: &StreamConfig, jobs: &Receiver<Job>) {
    let mut squares = Squares::default();
    for job in jobs {
        let Job {
            images,
            first,
            pixels,
            reply,
        } = job;
        let reader = &readers[images.source];
        let stored = match reader.images(images.at) {
            Ok(stored) => stored,
            Err(error) => {
                // One reply is enough: the batch fails with it. If nobody listens any more, nobody misses it.
                let _ = reply.send((first, Err(error)));
                continue;
            }
        };
        for ((&place, mut pixels), index) in images.places.iter().zip(pixels).zip(first..) {
            let about = DrawKey {
                seed: config.seed,
                epoch: images.epoch,
                document: images.document,
                place,
            };
            let mut encoded = Bytes::new();
            let drawn = match (stored.get(place), config.pictures) {
                (None, _) => Err("has a BOI but no bytes".to_owned()),
                (Some(bytes), PictureForm::Pixels) => {
                    squares.draw(bytes, config, about, &mut pixels)
                }
                (Some(bytes), PictureForm::Encoded) => {
                    encoded = bytes.clone();
                    Ok(())
                }
            };
            let corrupt = drawn.err().map(|detail| {
                let detail = format!("image at place {place}: {detail}");
                reader.shard_error(images.at.group, Some(images.at.row), detail)
            });
            let picture = Picture {
                pixels,
                encoded,
                corrupt,
            };
            let _ = reply.send((index, Ok(picture)));
        }
    }
}

impl Unfinished {
    fn with_pixels(self) -> Result<Delivered, StreamError> {
        let Planned {
            mut batch,
            images,
            position,
            epoch,
            passed,
            given,
        } = self.planned;
        let mut pictures: Vec<Option<Picture>> = (0..images.len()).map(|_| None).collect();
        let mut lost = Vec::new();
        for _ in 0..images.len() {
            let (index, picture) = self.pictures.recv().map_err(|_| StreamError::WorkerGone)?;
            let mut picture = picture?;
            match picture.corrupt.take() {
                Some(error) if self.on_corrupt == OnCorrupt::Stop => return Err(error.into()),
                Some(error) => lost.push((index, error.to_string())),
                None => {}
            }
            pictures[index] = Some(picture);
        }
        let pictures = pictures
            .into_iter()
            .map(|picture| picture.expect("one reply for each image"));
        batch.pictures = match self.form {
            PictureForm::Encoded => {
                Pictures::Encoded(pictures.map(|picture| picture.encoded).collect())
            }
            PictureForm::Pixels => {
                let mut pixels = BytesMut::new();
                // Neighbours in one allocation: joined, not copied.
                pictures.for_each(|picture| pixels.unsplit(picture.pixels));
                Pictures::Pixels(pixels.freeze())
            }
        };
        lost.sort_by_key(|(index, _)| *index);
        let (indices, lost): (Vec<_>, Vec<_>) = lost.into_iter().unzip();
        if !indices.is_empty() {
            batch = batch.without_images(&indices);
        }
        Ok(Delivered {
            batch,
            position,
            epoch,
            passed,
            given,
            lost,
        })
    }
}

//! One client's stream: a thread of its own reads batches and hands them to the connection, no faster than that takes them.

use std::time::Instant;

use arrow_flight::FlightData;
use arrow_flight::utils::batches_to_flight_data;
use lcl_schemas::wire;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tonic::{Code, Status};

use super::metrics::{Metrics, Sent};
use crate::flight::Behind;
use crate::read::ReadError;
use crate::stream::{Delivered, Stream, StreamError};

/// What a connection is sent.
pub(super) type Message = Result<FlightData, Status>;

/// A stream on its way to a client.
pub(super) struct Feed {
    pub(super) name: String,
    pub(super) stream: Stream,
    pub(super) metrics: std::sync::Arc<Metrics>,
    pub(super) stopped: watch::Receiver<bool>,
    /// Its place among the streams that a server reads at a time.
    pub(super) _place: OwnedSemaphorePermit,
}

impl Feed {
    /// Sends batches until the stream ends or fails, the client is gone, or the server stops.
    pub(super) fn run(mut self, messages: &mpsc::Sender<Message>) {
        let _open = self.metrics.clone().begun(&self.name);
        if let Err(status) = self.send_all(messages) {
            self.metrics.failed(&self.name);
            // A client that is gone knows.
            let _ = messages.blocking_send(Err(status));
        }
    }

    fn send_all(&mut self, messages: &mpsc::Sender<Message>) -> Result<(), Status> {
        let mut schema_sent = false;
        loop {
            if *self.stopped.borrow() {
                return Err(Status::unavailable(
                    "the server is stopping: go on from the position behind the last batch",
                ));
            }
            let begun = Instant::now();
            let Some(delivered) = self.stream.next() else {
                return Ok(());
            };
            let delivered = delivered.map_err(|error| status(&error))?;
            let produced = begun.elapsed();
            let (rows, images, lost) = (
                delivered.batch.rows,
                delivered.batch.images(),
                delivered.lost.len(),
            );
            let mut data = encoded(delivered)?;
            // The schema stands before the first batch only.
            let skipped = usize::from(schema_sent);
            schema_sent = true;
            let bytes = data.iter().map(|data| data.data_body.len()).sum();
            let begun = Instant::now();
            for message in data.drain(skipped..) {
                if messages.blocking_send(Ok(message)).is_err() {
                    return Ok(());
                }
            }
            self.metrics.sent(
                &self.name,
                &Sent {
                    rows,
                    images,
                    lost,
                    bytes,
                    produced_s: produced.as_secs_f64(),
                    waited_s: begun.elapsed().as_secs_f64(),
                },
            );
        }
    }
}

/// Schema and batch; the batch carries the position behind it. One message a batch, however large: splitting is by rows, and
/// a row of images may be larger than any usual limit.
fn encoded(delivered: Delivered) -> Result<Vec<FlightData>, Status> {
    let behind = Behind {
        position: delivered.position,
        epoch: delivered.epoch,
        passed: delivered.passed,
        given: delivered.given,
        lost: delivered.lost,
    };
    let schema = delivered.batch.shape().schema();
    let record = wire::to_arrow(&delivered.batch);
    let internal = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    let mut data =
        batches_to_flight_data(&schema, vec![record]).map_err(|error| internal(&error))?;
    if let Some(batch) = data.last_mut() {
        let json = serde_json::to_vec(&behind).map_err(|error| internal(&error))?;
        batch.app_metadata = json.into();
    }
    Ok(data)
}

/// An error as a client can act on it: mistakes are not tried again, lost data neither.
pub(super) fn status(error: &StreamError) -> Status {
    let code = match error {
        StreamError::Config(_)
        | StreamError::Filter(_)
        | StreamError::Ranks { .. }
        | StreamError::NoImages { .. }
        | StreamError::OtherPosition { .. }
        | StreamError::Read(
            ReadError::Position(_) | ReadError::NoHash(_) | ReadError::Predicate { .. },
        ) => Code::InvalidArgument,
        StreamError::NoDocuments { .. } | StreamError::Read(ReadError::Changed { .. }) => {
            Code::NotFound
        }
        StreamError::Read(ReadError::File { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Code::NotFound
        }
        StreamError::Read(_) => Code::DataLoss,
        StreamError::WorkerGone => Code::Internal,
    };
    Status::new(code, error.to_string())
}

//! What a server has done, as Prometheus reads it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type ByStream = Family<Vec<(String, String)>, Counter>;

/// Counters that any thread adds to.
pub(super) struct Metrics {
    registry: Registry,
    open: Gauge,
    streams: ByStream,
    batches: ByStream,
    rows: ByStream,
    images: ByStream,
    lost: ByStream,
    bytes: ByStream,
    errors: ByStream,
    refused: Counter,
    waited: Counter<f64, AtomicU64>,
    produced: Counter<f64, AtomicU64>,
}

/// What one batch was.
pub(super) struct Sent {
    pub(super) rows: usize,
    pub(super) images: usize,
    pub(super) lost: usize,
    pub(super) bytes: usize,
    /// Until the batch was there.
    pub(super) produced_s: f64,
    /// Until the client took it.
    pub(super) waited_s: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("lcl_shard");
        let mut by_stream = |name: &str, help: &str| {
            let family = ByStream::default();
            registry.register(name, help, family.clone());
            family
        };
        let streams = by_stream("streams", "Streams begun");
        let batches = by_stream("batches", "Batches sent");
        let rows = by_stream("rows", "Sequences sent");
        let images = by_stream("images", "Images sent");
        let lost = by_stream("images_lost", "Images left out because they did not decode");
        let bytes = by_stream("bytes", "Bytes of batches sent");
        let errors = by_stream("errors", "Streams that ended with an error");
        let (open, refused) = (Gauge::default(), Counter::default());
        let (waited, produced) = (Counter::default(), Counter::default());
        registry.register("streams_open", "Streams being read", open.clone());
        registry.register(
            "refused",
            "Requests without the token, or that cannot be",
            refused.clone(),
        );
        registry.register(
            "client_wait_seconds",
            "Time that finished batches waited for their clients",
            waited.clone(),
        );
        registry.register(
            "batch_wait_seconds",
            "Time that clients' places waited for batches",
            produced.clone(),
        );
        Self {
            registry,
            open,
            streams,
            batches,
            rows,
            images,
            lost,
            bytes,
            errors,
            refused,
            waited,
            produced,
        }
    }
}

/// A stream that is being read.
pub(super) struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

fn label(stream: &str) -> Vec<(String, String)> {
    vec![("stream".to_owned(), stream.to_owned())]
}

impl Metrics {
    /// One more stream is being read, until what is returned is dropped.
    pub(super) fn begun(self: Arc<Self>, stream: &str) -> Open {
        self.streams.get_or_create(&label(stream)).inc();
        self.open.inc();
        Open(self)
    }

    pub(super) fn sent(&self, stream: &str, sent: &Sent) {
        let label = label(stream);
        self.batches.get_or_create(&label).inc();
        for (family, count) in [
            (&self.rows, sent.rows),
            (&self.images, sent.images),
            (&self.lost, sent.lost),
            (&self.bytes, sent.bytes),
        ] {
            family.get_or_create(&label).inc_by(count as u64);
        }
        self.waited.inc_by(sent.waited_s);
        self.produced.inc_by(sent.produced_s);
    }

    pub(super) fn failed(&self, stream: &str) {
        self.errors.get_or_create(&label(stream)).inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes any text");
        text
    }
}

/// Answers at `/metrics` until the server stops.
pub(super) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    mut stopped: watch::Receiver<bool>,
) {
    let answer = move || {
        let text = metrics.text();
        async move { ([(CONTENT_TYPE, TEXT)], text) }
    };
    let stop = async move {
        // An error means that the server is gone, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let served = axum::serve(listener, Router::new().route("/metrics", get(answer)));
    if let Err(error) = served.with_graceful_shutdown(stop).await {
        eprintln!("metrics: {error}");
    }
}

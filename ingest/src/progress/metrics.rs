//! How a run stands, as Prometheus reads it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use lcl_schemas::outcome::Outcome;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::{Counts, Snapshot};
use crate::fetch::log;

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `GET /metrics` at `address` until the runtime ends.
pub(crate) async fn serve(address: SocketAddr, counts: Arc<Counts>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let answer = move || async move { ([(CONTENT_TYPE, TEXT)], text(&counts.snapshot())) };
    tokio::spawn(async move {
        let routes = Router::new().route("/metrics", get(answer));
        // It ends with the runtime; until then the listener's errors are retried within.
        let _ = axum::serve(listener, routes).await;
    });
    Ok(())
}

fn text(snapshot: &Snapshot) -> String {
    let mut registry = Registry::with_prefix("lcl_ingest");
    let images = Family::<Vec<(String, String)>, Counter>::default();
    for (outcome, count) in &snapshot.images {
        let labels = |outcome: &Outcome| {
            let class = log::class_name(outcome.class());
            vec![
                ("outcome".to_owned(), outcome.to_string()),
                ("class".to_owned(), class.to_owned()),
            ]
        };
        images.get_or_create(&labels(outcome)).inc_by(*count);
    }
    registry.register("images", "Images by what became of them", images);
    for (name, help, count) in [
        ("documents", "Records done with", snapshot.documents),
        (
            "fetched_bytes",
            "Bytes of stored images",
            snapshot.fetched_bytes,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    }
    for (name, help, value) in [
        (
            "sites_slowed",
            "Sites asked more slowly than allowed",
            Some(snapshot.sites_slowed as f64),
        ),
        (
            "memory_bytes",
            "Resident memory",
            snapshot.memory_bytes.map(|bytes| bytes as f64),
        ),
        (
            "seconds_left",
            "By the share of the inputs that was read",
            snapshot.seconds_left,
        ),
    ] {
        if let Some(value) = value {
            let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        }
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes any text");
    text
}

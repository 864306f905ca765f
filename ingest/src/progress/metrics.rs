//! How a run stands, as Prometheus reads it.

use std::collections::BTreeMap;
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

/// Nobody can listen there.
#[derive(Debug, thiserror::Error)]
#[error("metrics: cannot listen at {address}: {source}")]
pub struct MetricsError {
    /// As configured.
    address: SocketAddr,
    /// What the system said.
    source: std::io::Error,
}

/// Answers `GET /metrics` at `address` until the runtime ends.
pub(crate) async fn serve(address: SocketAddr, counts: Arc<Counts>) -> Result<(), MetricsError> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| MetricsError { address, source })?;
    let answer = move || async move { ([(CONTENT_TYPE, TEXT)], text(&counts.snapshot())) };
    tokio::spawn(async move {
        let routes = Router::new().route("/metrics", get(answer));
        // It ends with the runtime; until then the listener's errors are retried within.
        let _ = axum::serve(listener, routes).await;
    });
    Ok(())
}

fn by_outcome(counts: &BTreeMap<Outcome, u64>) -> Family<Vec<(String, String)>, Counter> {
    let family = Family::default();
    for (outcome, count) in counts {
        let labels = vec![
            ("outcome".to_owned(), outcome.to_string()),
            ("class".to_owned(), log::class(outcome).to_owned()),
        ];
        let counter: &Counter = &family.get_or_create(&labels);
        counter.inc_by(*count);
    }
    family
}

fn text(snapshot: &Snapshot) -> String {
    let mut registry = Registry::with_prefix("lcl_ingest");
    let images = by_outcome(&snapshot.images);
    registry.register("images", "Images by what became of them", images);
    let pages = by_outcome(&snapshot.pages);
    registry.register("pages", "A crawl's pages by what became of them", pages);
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
            "pages_waiting",
            "Pages that a crawl has still to ask for",
            Some(snapshot.pages_waiting as f64),
        ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_pages_are_counted_by_outcome_and_class() {
        let counts = Counts::default();
        counts.add_image(&Outcome::Stored);
        counts.set_pages(&BTreeMap::from([(Outcome::Http(404), 3)]));
        let text = text(&counts.snapshot());
        for line in [
            r#"lcl_ingest_images_total{outcome="stored",class="stored"} 1"#,
            r#"lcl_ingest_pages_total{outcome="http_404",class="fetch"} 3"#,
            "lcl_ingest_pages_waiting 0.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}

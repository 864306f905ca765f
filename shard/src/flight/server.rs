//! Streams to anybody who reads Arrow Flight: several streams, ranks and runs at once, none of whom the server remembers.

mod config;
mod feed;
mod metrics;
mod service;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

pub use config::{ServeConfig, Tls};
use metrics::Metrics;
use service::Service;

use crate::planner::Planner;
use crate::read::Readers;

/// Why a server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting that cannot be.
    #[error("{key}: {what}")]
    Config {
        /// As in the TOML file.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// A file that is not there.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The transport broke or refused its settings.
    #[error("the server cannot go on: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Bound addresses, before anything is served.
pub struct Listening {
    flight: TcpListener,
    metrics: Option<TcpListener>,
    service: Service,
    metered: Arc<Metrics>,
    stopping: watch::Sender<bool>,
    config: ServeConfig,
}

impl Listening {
    /// Checks the configuration and takes its addresses; port 0 takes a free one.
    ///
    /// # Errors
    /// Settings that cannot be, a dataset or file that is not there, an address that is taken.
    pub async fn bind(config: ServeConfig) -> Result<Self, ServeError> {
        config.validate()?;
        let readers = Arc::new(Readers::default());
        for (name, stream) in &config.streams {
            // All of it but the reading: a mistake is told now, not to the first client.
            let planned = Planner::open(stream.clone(), None, &readers);
            planned.map_err(|error| ServeError::Config {
                key: format!("streams.{name}"),
                what: error.to_string(),
            })?;
        }
        let metered = Arc::new(Metrics::default());
        let (stopping, stopped) = watch::channel(false);
        let service = Service::new(&config, readers, metered.clone(), stopped)?;
        let listen = async |address: SocketAddr| {
            let bound = TcpListener::bind(address).await;
            bound.map_err(|source| ServeError::Listen { address, source })
        };
        Ok(Self {
            flight: listen(config.listen).await?,
            metrics: match config.metrics {
                Some(address) => Some(listen(address).await?),
                None => None,
            },
            service,
            metered,
            stopping,
            config,
        })
    }

    /// Where Flight is spoken.
    pub fn address(&self) -> Option<SocketAddr> {
        self.flight.local_addr().ok()
    }

    /// Where Prometheus asks.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop`; then every stream ends behind the batch that it is at, and those who read them are told.
    ///
    /// # Errors
    /// When the transport breaks.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self {
            stopping, metered, ..
        } = self;
        let stopped = stopping.subscribe();
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<FlightServiceServer<Service>>().await;
        let flight = FlightServiceServer::new(self.service)
            // Asks are small; a position of many lanes is not.
            .max_decoding_message_size(self.config.max_ask_bytes)
            .max_encoding_message_size(usize::MAX);
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .tcp_nodelay(true);
        if let Some(tls) = &self.config.tls {
            let identity =
                Identity::from_pem(config::read(&tls.certificate)?, config::read(&tls.key)?);
            server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
        }
        if let Some(listener) = self.metrics {
            tokio::spawn(metrics::serve(listener, metered, stopped));
        }
        let grace = Duration::from_secs_f64(self.config.shutdown_grace_s);
        let (began_to_stop, stop_began) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            health
                .set_not_serving::<FlightServiceServer<Service>>()
                .await;
            // Nobody listens where no stream ever was.
            let _ = stopping.send(true);
            let _ = began_to_stop.send(());
        };
        let serving = server
            .add_service(health_service)
            .add_service(flight)
            .serve_with_incoming_shutdown(TcpIncoming::from(self.flight), stop);
        let overdue = async {
            // A server that ends by itself never begins to stop.
            if stop_began.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            served = serving => Ok(served?),
            () = overdue => Ok(()),
        }
    }
}

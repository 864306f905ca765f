//! `lcl-shard serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use lcl_schemas::settings::resolve;
use lcl_shard::flight::server::{Listening, ServeConfig};

use super::runtime;

const SERVE: &str = "\
A configuration:
  listen = \"0.0.0.0:7070\"
  metrics = \"127.0.0.1:7071\"       # Prometheus, at /metrics
  token_file = \"token\"             # clients send it as `authorization: Bearer …`
  [tls]
  certificate = \"cert.pem\"
  key = \"key.pem\"
  [streams.train]                    # grpc://HOST:7070/train
  dataset = \"dataset\"
  [streams.both]
  weigh = \"tokens\"
  [[streams.both.mix]]
  dataset = \"mmc4\"
  weight = 0.7
  filter = \"n_images >= 2\"
  [[streams.both.mix]]
  dataset = \"captions\"
  weight = 0.3

What a client may decide (rows, context, seed, …) it decides; datasets, weights, filters and threads are the server's own.";

/// Serve streams to trainers, over Arrow Flight
#[derive(Args)]
#[command(after_help = SERVE)]
pub(crate) struct Serve {
    /// TOML file: addresses, token, TLS, and the streams by name
    config: PathBuf,
    /// Address to listen at, in place of the file's
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Overrides one setting, e.g. streams.train.seed=1
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut config: ServeConfig = resolve(Some(&self.config), &self.set)?;
        config.listen = self.listen.unwrap_or(config.listen);
        runtime()?.block_on(serve(config))
    }
}

/// Serves until the process is asked to end.
async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let (ask_to_stop, stop) = tokio::sync::mpsc::channel(1);
    // A second signal while streams end is not needed: the first has a deadline.
    ctrlc::set_handler(move || {
        let _ = ask_to_stop.try_send(());
    })?;
    let open = config.token_file.is_none() && !config.listen.ip().is_loopback();
    let names: Vec<_> = config.streams.keys().cloned().collect();
    let listening = Listening::bind(config).await?;
    if open {
        eprintln!(
            "warning: anybody who reaches this address can read the datasets; set token_file and tls"
        );
    }
    if let Some(address) = listening.address() {
        eprintln!("serving {} at grpc://{address}", names.join(", "));
    }
    if let Some(address) = listening.metrics_address() {
        eprintln!("metrics at http://{address}/metrics");
    }
    let mut stop = stop;
    listening
        .serve(async move {
            // The handler above lives as long as the process.
            let _ = stop.recv().await;
            eprintln!("stopping: streams end behind their current batch");
        })
        .await?;
    Ok(())
}

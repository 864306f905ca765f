//! `lcl-shard view`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use lcl_shard::inspect::view;

use super::runtime;

/// Show documents, their tokens and batches as pages for a browser
#[derive(Args)]
#[command(
    long_about = "Shows a dataset as pages for a browser: documents as their readers saw them, in place of missing images the reasons; \
    token layout, pieces and batches; search by words or SQL predicates. Two datasets stand side by side, documents of the same id beside each other.\n\n\
    The pages need no script, load nothing from anywhere else, and are for this machine alone unless --public is given. \
    From another machine: ssh -L 8000:127.0.0.1:8000 HOST."
)]
pub(crate) struct View {
    /// Folder of the dataset
    dataset: PathBuf,
    /// Folder of another, to stand beside it
    beside: Option<PathBuf>,
    /// Address to listen at; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Let other machines in: whoever reaches the address reads the dataset
    #[arg(long)]
    public: bool,
    /// A host name that the server goes by, beside its address and localhost
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
}

impl View {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let exposure = match self.public {
            true => view::Exposure::Public,
            false => view::Exposure::Loopback,
        };
        let view = view::View {
            datasets: [Some(self.dataset), self.beside]
                .into_iter()
                .flatten()
                .collect(),
            listen: self.listen,
            exposure,
            names: self.name,
        };
        let runtime = runtime()?;
        let served = runtime.block_on(serve(view));
        // Who has asked for an end does not wait for what is still read.
        runtime.shutdown_background();
        served
    }
}

/// Serves until the process is asked to end.
async fn serve(view: view::View) -> anyhow::Result<()> {
    let (ask_to_stop, mut stop) = tokio::sync::mpsc::channel(1);
    ctrlc::set_handler(move || {
        // Who asks again has waited long enough for answers under way.
        if ask_to_stop.try_send(()).is_err() {
            std::process::exit(1);
        }
    })?;
    let listening = view::Listening::bind(view).await?;
    let address = listening.address();
    if !address.ip().is_loopback() {
        eprintln!(
            "warning: anybody who reaches {address} can read the dataset, without a password"
        );
    }
    eprintln!("http://{address}/");
    let stopped = async move {
        // The handler above lives as long as the process.
        let _ = stop.recv().await;
    };
    Ok(listening.serve(stopped).await?)
}

//! Where an image's bytes come from: a folder or the web.

mod client;
mod dns;
mod failure;
mod guard;
mod limits;
mod local;
pub(crate) mod log;
mod retry;
mod robots;

use std::path::PathBuf;
use std::sync::Arc;

use lcl_schemas::outcome::Outcome;

use crate::config::Config;
use crate::source::mmc4::PageImage;
pub use client::ClientError;
pub(crate) use limits::{Body, Limits, kib};
use log::Request;

/// Gives the bytes of images.
pub(crate) enum Fetcher {
    /// From a folder, by name.
    Folder(local::Folder),
    /// From the web, by URL.
    Web(Box<client::Web>),
}

/// What asking for one image came to.
pub(crate) struct Fetched {
    pub(crate) body: Result<Body, Outcome>,
    /// Only for what was asked of the network.
    pub(crate) request: Option<Request>,
}

impl Fetcher {
    /// As `config` says.
    pub(crate) fn new(config: &Config, limits: Arc<Limits>) -> Result<Self, ClientError> {
        Ok(match &config.images_dir {
            Some(folder) => Self::Folder(local::Folder::new(
                PathBuf::from(folder),
                config.fetch.max_bytes,
                limits,
            )),
            None => Self::Web(Box::new(client::Web::new(config, limits)?)),
        })
    }

    /// Asks for one image.
    pub(crate) async fn fetch(&self, image: &PageImage) -> Fetched {
        match self {
            Self::Folder(folder) => Fetched {
                body: folder.read(&image.locator).await,
                request: None,
            },
            Self::Web(web) => {
                let (body, request) = web.get(&image.locator).await;
                Fetched {
                    body,
                    request: Some(request),
                }
            }
        }
    }
}

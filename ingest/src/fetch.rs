//! Where an image's bytes come from: a folder, an archive or the web.

mod archive;
mod client;
mod dns;
mod failure;
mod guard;
mod limits;
mod local;
pub(crate) mod log;
pub(crate) mod opt_out;
mod origin;
mod politeness;
mod retry;
mod robots;

use std::sync::Arc;

use lcl_schemas::outcome::Outcome;

use crate::config::Config;
use crate::draft::Locator;
use crate::source::records::Raw;
use crate::source::warc::cdx::CdxEntry;
pub use client::ClientError;
pub(crate) use client::{Answer, Web};
pub(crate) use limits::{Body, Limits, kib};
use log::Request;
pub use opt_out::OptOut;
pub(crate) use politeness::domain;
pub(crate) use robots::{agent, robots_allow};

/// Gives the bytes of images.
pub(crate) struct Fetcher {
    folder: local::Folder,
    archive: archive::Archives,
    web: Web,
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
        Ok(Self {
            folder: local::Folder::new(config, limits.clone()),
            archive: archive::Archives::new(config, limits.clone()),
            web: Web::new(config, limits)?,
        })
    }

    /// Domains asked more slowly than they might be, because of how they answered.
    pub(crate) fn slowed_down(&self) -> usize {
        self.web.slowed_down()
    }

    /// Whether the name servers have answered nothing for long.
    pub(crate) fn resolver_broken(&self) -> bool {
        self.web.resolver_broken()
    }

    /// The record that an index lists.
    pub(crate) async fn listed(&self, entry: &CdxEntry) -> Raw {
        self.archive.listed(entry, &self.web).await
    }

    /// Asks for one image.
    pub(crate) async fn fetch(&self, image: &Locator) -> Fetched {
        let body = match image {
            Locator::Url(url) => {
                let (body, request) = self.web.image(url).await;
                return Fetched {
                    body,
                    request: Some(request),
                };
            }
            Locator::Name(name) => self.folder.named(name).await,
            Locator::Beneath { root, path } => self.folder.beneath(root, path).await,
            Locator::Capture {
                archive,
                offset,
                url,
            } => self.archive.read(archive, *offset, url.clone()).await,
        };
        Fetched {
            body,
            request: None,
        }
    }
}

//! Where an image's bytes come from: a folder, an archive or the web.

mod archive;
mod client;
mod dns;
mod earlier;
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

use lcl_schemas::document::StoredImage;
use lcl_schemas::outcome::Outcome;

use crate::config::Config;
use crate::draft::Locator;
use crate::hostile;
use crate::source::records::Raw;
use crate::source::warc::cdx::CdxEntry;
pub use client::ClientError;
pub(crate) use client::{Answer, Before, Came, Web};
pub use earlier::EarlierError;
pub(crate) use earlier::check as check_earlier;
pub(crate) use limits::{Body, Limits, kib};
use log::Request;
pub(crate) use log::Validators;
pub use opt_out::OptOut;
pub(crate) use politeness::domain;
pub(crate) use robots::{agent, robots_allow};

/// Gives the bytes of images.
pub(crate) struct Fetcher {
    folder: local::Folder,
    archive: archive::Archives,
    web: Web,
    earlier: Option<Arc<earlier::Earlier>>,
}

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The earlier dataset is of no use.
    #[error("since: {0}")]
    Earlier(#[from] EarlierError),
}

/// What an image came as.
pub(crate) enum Got {
    Bytes(Body),
    /// It has not changed since an earlier dataset stored it.
    AsBefore(Box<StoredImage>),
}

/// What asking for one image came to.
pub(crate) struct Fetched {
    pub(crate) got: Result<Got, Outcome>,
    /// Only for what was asked of the network.
    pub(crate) request: Option<Request>,
}

impl Fetcher {
    /// As `config` says.
    pub(crate) fn new(config: &Config, limits: Arc<Limits>) -> Result<Self, FetcherError> {
        let since = config.since.as_deref();
        let earlier = since.map(|root| earlier::Earlier::open(root, config.image_size));
        Ok(Self {
            folder: local::Folder::new(config, limits.clone()),
            archive: archive::Archives::new(config, limits.clone()),
            web: Web::new(config, limits)?,
            earlier: earlier.transpose()?.map(Arc::new),
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
                let (got, request) = self.asked(url).await;
                return Fetched {
                    got,
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
            got: body.map(Got::Bytes),
            request: None,
        }
    }

    async fn asked(&self, url: &str) -> (Result<Got, Outcome>, Request) {
        if let Some(earlier) = &self.earlier
            && let Some(before) = earlier.before(url)
        {
            let (came, request) = self.web.image(url, Some(&before)).await;
            match came {
                Ok(Came::Answer(answer)) => return (Ok(Got::Bytes(answer.body)), request),
                Err(outcome) => return (Err(outcome), request),
                Ok(Came::Unchanged) => {}
            }
            let (earlier, url) = (earlier.clone(), url.to_owned());
            let read = move || hostile::guarded(|| earlier.image(&url));
            let read = tokio::task::spawn_blocking(read).await;
            if let Some(stored) = read.expect("panics are caught within").flatten() {
                return (Ok(Got::AsBefore(Box::new(stored))), request);
            }
            // It has been taken out of the earlier dataset meanwhile: then it is asked for as if it never had been there.
        }
        let (came, request) = self.web.image(url, None).await;
        (
            came.and_then(Came::answer)
                .map(|answer| Got::Bytes(answer.body)),
            request,
        )
    }
}

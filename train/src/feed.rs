//! Batches from a dataset's folder or from a server: the loop cannot tell the difference.

use std::path::Path;
use std::time::Duration;

use lcl_schemas::dataset::{Header, TOKENIZER_FILE};
use lcl_shard::flight::{Access, Remote, RemoteError, RemoteUrl};
use lcl_shard::{Delivered, Position, Stream, StreamError};
use thiserror::Error;

use crate::config::Config;

/// A feed that cannot be opened, or breaks.
#[derive(Debug, Error)]
pub enum FeedError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("{path}: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
}

/// Where batches come from.
pub enum Feed {
    /// `data.dataset` or `data.mix`: made by threads of this process.
    Here(Box<Stream>),
    /// `data.dataset = "grpc://…"`: made by `lcl-shard serve`.
    There(Box<Remote>),
}

impl Feed {
    /// Opens what `config` names, at its start or at a position.
    pub fn open(config: &Config, from: Option<Position>) -> Result<Self, FeedError> {
        let stream = config.stream();
        let named = stream.dataset.to_string_lossy();
        if !RemoteUrl::is_url(&named) {
            return Ok(Self::Here(Box::new(Stream::open(stream, from)?)));
        }
        let url: RemoteUrl = named.parse()?;
        let access = Access {
            token: config.remote.token_file.as_deref().map(read).transpose()?,
            authority: config.remote.authority.clone(),
            retry: Duration::from_secs_f64(config.remote.retry_s),
        };
        Ok(Self::There(Box::new(Remote::open(
            &url, &access, &stream, from,
        )?)))
    }

    /// What is true of every row.
    pub fn header(&self) -> &Header {
        match self {
            Self::Here(stream) => stream.header(),
            Self::There(remote) => remote.header(),
        }
    }

    /// `tokenizer.json`, where it is not the built-in one.
    pub fn tokenizer(&self, config: &Config) -> Result<Option<Vec<u8>>, FeedError> {
        match self {
            Self::There(remote) => Ok(remote.tokenizer().map(<[u8]>::to_vec)),
            Self::Here(_) => {
                let first = config.stream().sources().swap_remove(0);
                let path = first.dataset.join(TOKENIZER_FILE);
                match std::fs::read(&path) {
                    Ok(json) => Ok(Some(json)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(FeedError::File {
                        path: path.display().to_string(),
                        source,
                    }),
                }
            }
        }
    }
}

impl Iterator for Feed {
    type Item = Result<Delivered, FeedError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Here(stream) => stream.next().map(|next| next.map_err(FeedError::from)),
            Self::There(remote) => remote.next().map(|next| next.map_err(FeedError::from)),
        }
    }
}

fn read(path: &Path) -> Result<String, FeedError> {
    std::fs::read_to_string(path).map_err(|source| FeedError::File {
        path: path.display().to_string(),
        source,
    })
}

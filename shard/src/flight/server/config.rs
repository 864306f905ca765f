//! What a server is told.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use lcl_schemas::batch::PictureForm;
use serde::{Deserialize, Serialize};

use super::ServeError;
use crate::config::StreamConfig;

/// A run of `lcl-shard serve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// Where Flight is spoken.
    pub listen: SocketAddr,
    /// Where Prometheus asks, at `/metrics`; unset: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// A file that holds the token which every client must send; unset: none is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Certificate and key; unset: in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Streams read at a time; one more is refused, not queued.
    pub max_streams: usize,
    /// Largest batch that a client's settings may ask for, in bytes; an image that is not decoded counts as one megabyte.
    pub max_batch_bytes: usize,
    /// Largest message that a client may send, in bytes.
    pub max_ask_bytes: usize,
    /// How long streams may take to end when the server is stopped.
    pub shutdown_grace_s: f64,
    /// By the names that clients ask for.
    pub streams: BTreeMap<String, StreamConfig>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those that signed it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What an encoded image may weigh on the mean: stored at 256 pixels they weigh 20 kB, at 960 about 300.
const ENCODED_IMAGE: usize = 1 << 20;

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)),
            metrics: None,
            token_file: None,
            tls: None,
            max_streams: 128,
            max_batch_bytes: 1 << 30,
            max_ask_bytes: 16 << 20,
            shutdown_grace_s: 10.0,
            streams: BTreeMap::new(),
        }
    }
}

impl ServeConfig {
    /// Checks it once.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<(), ServeError> {
        let refuse = |key: &str, what: &str| {
            Err(ServeError::Config {
                key: key.to_owned(),
                what: what.to_owned(),
            })
        };
        if self.streams.is_empty() {
            return refuse("streams", "name at least one, as in [streams.train]");
        }
        if self.max_streams == 0 {
            return refuse("max_streams", "must be at least 1");
        }
        if !(0.0..=86_400.0).contains(&self.shutdown_grace_s) {
            return refuse("shutdown_grace_s", "from 0 to 86400 seconds");
        }
        for (name, stream) in &self.streams {
            let fits = stream.validate().map_err(|error| error.to_string());
            if let Err(what) = fits.and_then(|()| self.check_size(stream)) {
                return refuse(&format!("streams.{name}"), &what);
            }
        }
        Ok(())
    }

    /// Whether a stream's batches stay within bounds, whatever they hold.
    pub(super) fn check_size(&self, stream: &StreamConfig) -> Result<(), String> {
        let local = stream.rows / stream.world_size.max(1);
        let images = (stream.context / (stream.slots + 2)).min(stream.sequence_images());
        let image = match stream.pictures {
            PictureForm::Pixels => 3 * stream.edge * stream.edge,
            PictureForm::Encoded => ENCODED_IMAGE,
        };
        // Ids, segments and positions.
        let ids = local.checked_mul(12 * stream.context);
        let bytes = local
            .checked_mul(images)
            .and_then(|images| images.checked_mul(image))
            .and_then(|bytes| bytes.checked_add(ids?));
        // A full bin has a whole sequence of ids, and a second copy where it is being closed.
        let open = stream.lanes.saturating_mul(stream.bins);
        let open = open
            .saturating_mul(8 * stream.context)
            .saturating_mul(stream.sources().len());
        if open > self.max_batch_bytes {
            return Err(format!(
                "{} lanes of {} bins of {} ids are beyond {} bytes: fewer of them",
                stream.lanes, stream.bins, stream.context, self.max_batch_bytes
            ));
        }
        match bytes {
            Some(bytes) if bytes <= self.max_batch_bytes => Ok(()),
            _ => Err(format!(
                "a batch of {local} sequences of {} ids with up to {images} images of {image} bytes each is beyond {} bytes: fewer rows, or max_images",
                stream.context, self.max_batch_bytes
            )),
        }
    }

    pub(super) fn token(&self) -> Result<Option<String>, ServeError> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let token = String::from_utf8_lossy(&read(path)?).trim().to_owned();
        match token.is_empty() {
            true => Err(ServeError::Config {
                key: "token_file".into(),
                what: "it holds no token".into(),
            }),
            false => Ok(Some(token)),
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, ServeError> {
    std::fs::read(path).map_err(|source| ServeError::File {
        path: path.display().to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_no_memory_holds_is_refused_before_anything_is_read() {
        let config = ServeConfig::default();
        let stream = |rows, edge| StreamConfig {
            rows,
            edge,
            ..StreamConfig::default()
        };
        assert_eq!(config.check_size(&stream(64, 224)), Ok(()));
        for stream in [stream(4096, 224), stream(8, 8192)] {
            assert!(config.check_size(&stream).is_err());
        }
    }

    #[test]
    fn a_configuration_reads_back_from_its_toml() {
        let text = "
            listen = '127.0.0.1:0'
            [tls]
            certificate = 'a'
            key = 'b'
            [streams.train]
            dataset = 'c'
            rows = 4
            [[streams.mixture.mix]]
            dataset = 'd'
            weight = 0.5
        ";
        let config: ServeConfig = toml::from_str(text).expect("valid");
        assert_eq!(config.streams["mixture"].mix[0].weight, 0.5);
        let written = toml::to_string(&config).expect("plain values");
        assert_eq!(toml::from_str::<ServeConfig>(&written).ok(), Some(config));
        assert!(toml::from_str::<ServeConfig>("speed = 1").is_err());
    }
}

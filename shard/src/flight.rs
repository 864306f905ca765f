//! Streams over Arrow Flight: what is asked for, and what comes with every batch.
//!
//! ```text
//! client                                   server
//!   ── GetFlightInfo(Ask) ──────────────────►  settings + Ask → StreamConfig, newest manifests
//!   ◄──────────── schema, Ticket, Details ──
//!   ── DoGet(Ticket) ───────────────────────►  a stream of its own, from the ticket's position
//!   ◄── batch + Behind, batch + Behind, … ──   as fast as they are read
//!   ── DoAction("tokenizer", stream) ───────►  tokenizer.json, where it is not the built-in one
//! ```
//! The server keeps nothing of a client: after a break the client asks again with the position behind its last batch.
//! Everything but the batches is JSON, so that any language with Arrow can read a stream.

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "serve")]
pub mod server;

#[cfg(feature = "client")]
pub use client::{Access, Remote, RemoteError, RemoteUrl};

use lcl_schemas::dataset::Header;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::StreamConfig;
use crate::cursor::{PassedOver, Position};
use crate::mix::Given;

/// A descriptor's command: which stream, whose part of it, from where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// Its name in the server's configuration.
    pub stream: String,
    /// Which of the ranks.
    pub rank: usize,
    /// How many ranks; 0 is 1.
    pub world_size: usize,
    /// Settings of [`StreamConfig`] in place of the server's: all but those of [`FIXED`].
    pub settings: Map<String, Value>,
    /// Behind the last batch that was received.
    pub position: Option<Position>,
}

/// A ticket, as the server makes and takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// As asked.
    pub ask: Ask,
    /// [`StreamConfig::identity`] when it was asked: a server that was configured anew refuses it.
    pub configuration: String,
    /// Hash of each dataset's manifest.
    pub manifests: Vec<String>,
}

/// What a flight's `app_metadata` say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// What is true of every row.
    pub header: Header,
    /// As in the ticket.
    pub configuration: String,
    /// As in the ticket.
    pub manifests: Vec<String>,
    /// T.
    pub context: usize,
    /// S.
    pub edge: usize,
    /// P.
    pub slots: usize,
    /// Sequences in a step, over all ranks.
    pub rows: usize,
}

/// What a batch's `app_metadata` say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behind {
    /// From here the next batch follows.
    pub position: Position,
    /// See [`crate::Delivered`].
    pub epoch: u64,
    /// See [`crate::Delivered`].
    pub passed: PassedOver,
    /// See [`crate::Delivered`].
    pub given: Vec<Given>,
    /// See [`crate::Delivered`].
    pub lost: Vec<String>,
}

/// Settings that are the server's own: what it reads and mixes, and what it spends.
pub const FIXED: [&str; 11] = [
    "dataset",
    "manifest",
    "filter",
    "mix",
    "weigh",
    "schedule",
    "verify",
    "threads",
    "prefetch",
    "rank",
    "world_size",
];

/// An ask that names settings which it may not, or gives them values that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("settings: {0}")]
pub struct SettingsRefused(String);

impl Ask {
    /// The stream that is asked of a server with these settings.
    ///
    /// # Errors
    /// A setting that is the server's own or unknown, or a value of another type.
    pub fn applied(&self, served: &StreamConfig) -> Result<StreamConfig, SettingsRefused> {
        let fixed = self
            .settings
            .keys()
            .find(|key| FIXED.contains(&key.as_str()));
        if let Some(key) = fixed {
            return Err(SettingsRefused(format!("`{key}` is the server's own")));
        }
        let mut all = serde_json::to_value(served).expect("plain settings");
        if let Value::Object(all) = &mut all {
            all.extend(self.settings.clone());
        }
        let config: StreamConfig =
            serde_json::from_value(all).map_err(|error| SettingsRefused(error.to_string()))?;
        Ok(StreamConfig {
            rank: self.rank,
            world_size: self.world_size.max(1),
            ..config
        })
    }

    /// The settings of `config` that a client decides.
    pub fn settings(config: &StreamConfig) -> Map<String, Value> {
        let all = serde_json::to_value(config).expect("plain settings");
        let Value::Object(mut all) = all else {
            return Map::new();
        };
        all.retain(|key, _| !FIXED.contains(&key.as_str()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_decides_its_own_settings_and_none_of_the_servers() {
        let served = StreamConfig {
            dataset: "here".into(),
            threads: 3,
            ..StreamConfig::default()
        };
        let wanted = StreamConfig {
            rows: 6,
            edge: 32,
            ..StreamConfig::default()
        };
        let ask = Ask {
            settings: Ask::settings(&wanted),
            rank: 1,
            world_size: 2,
            ..Ask::default()
        };
        let expected = StreamConfig {
            dataset: "here".into(),
            threads: 3,
            rank: 1,
            world_size: 2,
            ..wanted
        };
        assert_eq!(ask.applied(&served), Ok(expected));
        for (key, value) in [("dataset", "/etc"), ("speed", "9"), ("rows", "many")] {
            let settings = Map::from_iter([(key.to_owned(), Value::from(value))]);
            let ask = Ask {
                settings,
                ..Ask::default()
            };
            assert!(ask.applied(&served).is_err(), "{key}");
        }
    }
}

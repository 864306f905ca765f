//! What decides a stream: everything in [`StreamConfig`] that is not about speed names the sequences exactly.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Which documents, by the hash of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All but the held-out share.
    #[default]
    Train,
    /// The held-out share only.
    HeldOut,
    /// Every document.
    All,
}

/// How often a stream goes over its documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passes {
    /// Without end: lanes run from epoch to epoch and bins stay open.
    #[default]
    Endless,
    /// Once; what is left in open bins comes last.
    One,
}

/// A stream of one dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// Its folder.
    pub dataset: PathBuf,
    /// Hash of the manifest to read; empty for the newest.
    pub manifest: String,
    /// Which documents.
    pub part: Part,
    /// Share of documents held out from [`Part::Train`], 0 to 1.
    pub holdout: f64,
    /// How often.
    pub passes: Passes,
    /// Decides order, placement and crops.
    pub seed: u64,
    /// T, ids in a sequence.
    pub context: usize,
    /// B, sequences in a batch.
    pub rows: usize,
    /// S, pixels along one side of an image.
    pub edge: usize,
    /// P, slots of an image.
    pub slots: usize,
    /// Documents with fewer stored images are passed over, and counted.
    pub min_images: u32,
    /// Most images in one sequence; 0 for as many as the context holds.
    pub max_images: usize,
    /// How training images are cropped.
    pub crop: Crop,
    /// Independent packers; fewer when the dataset has fewer shuffle blocks.
    pub lanes: usize,
    /// Open bins of a packer: 32 fill 99 % of 2,048 places on web documents.
    pub bins: usize,
    /// Row groups whose rows are shuffled together: 8 × 256 documents.
    pub block_row_groups: usize,
    /// Threads that decode; 0 for one per core.
    pub threads: usize,
    /// Batches made ahead.
    pub prefetch: usize,
}

/// How an image is cut to its square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// Random area of 0.9–1.0, aspect 3:4–4:3, as the published recipe trains.
    #[default]
    Random,
    /// The centred square, as it evaluates.
    Center,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            dataset: PathBuf::new(),
            manifest: String::new(),
            part: Part::Train,
            holdout: 0.05,
            passes: Passes::Endless,
            seed: 0,
            context: 2048,
            rows: 8,
            edge: 224,
            slots: 49,
            min_images: 1,
            max_images: 0,
            crop: Crop::Random,
            lanes: 8,
            bins: 32,
            block_row_groups: 8,
            threads: 0,
            prefetch: 2,
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} = {value}: {why}")]
pub struct ConfigError {
    setting: &'static str,
    value: String,
    why: String,
}

impl StreamConfig {
    /// Refuses what cannot be streamed.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |setting, value: &dyn ToString, why: &str| {
            Err(ConfigError {
                setting,
                value: value.to_string(),
                why: why.to_owned(),
            })
        };
        let positive = [
            ("rows", self.rows),
            ("edge", self.edge),
            ("slots", self.slots),
            ("lanes", self.lanes),
            ("bins", self.bins),
            ("block_row_groups", self.block_row_groups),
            ("prefetch", self.prefetch),
        ];
        if let Some((setting, value)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return refuse(setting, &value, "must be at least 1");
        }
        if !(0.0..=1.0).contains(&self.holdout) {
            return refuse("holdout", &self.holdout, "is a share, 0 to 1");
        }
        // BOS, BOI, the slots, EOI, EOS: the shortest piece that holds an image.
        let shortest = self.slots + 4;
        if self.context < shortest {
            return refuse(
                "context",
                &self.context,
                &format!("an image alone takes {shortest} ids"),
            );
        }
        Ok(())
    }

    /// Hash of all that decides which sequences come in which order, of which a position speaks.
    pub fn identity(&self) -> String {
        let deciding = Self {
            dataset: PathBuf::new(),
            manifest: String::new(),
            rows: 0,
            threads: 0,
            prefetch: 0,
            ..self.clone()
        };
        let json = serde_json::to_vec(&deciding).expect("plain settings");
        format!("{:x}", Sha256::digest(json))
    }

    /// Threads that decode.
    pub(crate) fn worker_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_knows_what_decides_and_ignores_what_only_costs_time() {
        let config = StreamConfig::default();
        let faster = StreamConfig {
            threads: 7,
            prefetch: 9,
            ..config.clone()
        };
        assert_eq!(config.identity(), faster.identity());
        let other = StreamConfig {
            seed: 1,
            ..config.clone()
        };
        assert_ne!(config.identity(), other.identity());
    }

    #[test]
    fn a_context_too_short_for_an_image_is_refused_with_the_number_needed() {
        let config = StreamConfig {
            context: 52,
            ..StreamConfig::default()
        };
        let refusal = config
            .validate()
            .expect_err("49 slots do not fit")
            .to_string();
        assert_eq!(refusal, "context = 52: an image alone takes 53 ids");
    }
}

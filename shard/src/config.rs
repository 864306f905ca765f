//! What decides a stream: everything in [`StreamConfig`] that is not about speed or place names the sequences exactly.

use std::path::PathBuf;

use lcl_schemas::batch::PictureForm;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::mix::Weigh;

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

/// How often a stream goes over its documents, and what happens when one of several datasets runs out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passes {
    /// Without end: every dataset repeats, lanes run from epoch to epoch and bins stay open.
    #[default]
    Endless,
    /// Each dataset once: the others share what one that has ended leaves. What is left in open bins comes last.
    One,
    /// Until the first dataset has nothing more in any lane, or a lane nothing more of any: then all lanes end.
    Shortest,
}

/// What happens at an image that a shard holds and that does not decode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnCorrupt {
    /// The stream ends with an error that names it.
    #[default]
    Stop,
    /// Its ids are taken out of the row, and it is counted and named.
    Skip,
}

/// How a shard is checked when it is first read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Its size at once, its SHA-256 by a thread beside the reading, each shard once; streams of one server share that.
    #[default]
    Sha256,
    /// Its size only.
    Size,
}

/// One of several datasets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Its folder.
    pub dataset: PathBuf,
    /// Hash of the manifest to read; empty for the newest.
    pub manifest: String,
    /// Its part of the whole, relative to the other weights.
    pub weight: f64,
    /// SQL predicate over the columns of `documents`; empty for all.
    pub filter: String,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            dataset: PathBuf::new(),
            manifest: String::new(),
            weight: 1.0,
            filter: String::new(),
        }
    }
}

/// Weights from a step on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The first batch that they hold for, counted from 0.
    pub from_step: u64,
    /// One for each dataset.
    pub weights: Vec<f64>,
}

/// A stream of one dataset, or of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// The folder of the only dataset.
    pub dataset: PathBuf,
    /// Hash of its manifest; empty for the newest.
    pub manifest: String,
    /// SQL predicate over the columns of its `documents`, e.g. `n_images >= 2`; empty for all.
    pub filter: String,
    /// What their weights count.
    pub weigh: Weigh,
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
    /// Sequences in a step, over all ranks.
    pub rows: usize,
    /// Which of the ranks this is.
    pub rank: usize,
    /// W, ranks that share the stream: a divisor of `rows` and of the number of lanes.
    pub world_size: usize,
    /// S, pixels along one side of an image.
    pub edge: usize,
    /// P, slots of an image.
    pub slots: usize,
    /// Images as pixels, or as the shards hold them: then neither cropped, mirrored nor checked, and `edge` says nothing.
    pub pictures: PictureForm,
    /// Documents with fewer stored images are passed over, and counted.
    pub min_images: u32,
    /// Most images in one sequence; 0 for as many as the context holds.
    pub max_images: usize,
    /// Most images in a step, over all ranks: a sequence then has at most an equal part of them. 0 for any number.
    pub max_images_step: usize,
    /// How training images are cropped.
    pub crop: Crop,
    /// Mirror every other image, by a draw.
    pub flip: bool,
    /// What happens at an image that does not decode.
    pub on_corrupt: OnCorrupt,
    /// How shards are checked.
    pub verify: Verify,
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
    /// Several datasets, in place of `dataset`.
    pub mix: Vec<Source>,
    /// Other weights from a step on; ascending.
    pub schedule: Vec<Change>,
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
            filter: String::new(),
            mix: Vec::new(),
            weigh: Weigh::Tokens,
            schedule: Vec::new(),
            part: Part::Train,
            holdout: 0.05,
            passes: Passes::Endless,
            seed: 0,
            context: 2048,
            rows: 8,
            rank: 0,
            world_size: 1,
            edge: 224,
            slots: 49,
            pictures: PictureForm::Pixels,
            min_images: 1,
            max_images: 0,
            max_images_step: 0,
            crop: Crop::Random,
            flip: false,
            on_corrupt: OnCorrupt::Stop,
            verify: Verify::Sha256,
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
            ("world_size", self.world_size),
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
        let bounded = [
            ("rows", self.rows, 1 << 16),
            ("context", self.context, 1 << 20),
            ("edge", self.edge, 1 << 13),
            ("slots", self.slots, 1 << 20),
            ("lanes", self.lanes, 1 << 12),
            ("bins", self.bins, 1 << 12),
            ("block_row_groups", self.block_row_groups, 1 << 16),
            ("threads", self.threads, 1 << 10),
            ("prefetch", self.prefetch, 1 << 10),
        ];
        if let Some((setting, value, most)) =
            bounded.into_iter().find(|(_, value, most)| value > most)
        {
            return refuse(setting, &value, &format!("may be at most {most}"));
        }
        if self.flip && self.pictures == PictureForm::Encoded {
            return refuse("flip", &true, "encoded images are not mirrored");
        }
        if self.rows * self.context > 1 << 31 {
            return refuse("rows", &self.rows, "times context may be at most 2³¹");
        }
        if self.weigh == Weigh::Images && self.min_images == 0 {
            return refuse(
                "min_images",
                &0,
                "a dataset without images can have no share of them",
            );
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
        if !self.rows.is_multiple_of(self.world_size) {
            return refuse("world_size", &self.world_size, "must divide rows");
        }
        if self.rank >= self.world_size {
            return refuse("rank", &self.rank, "must be below world_size");
        }
        if (1..self.rows).contains(&self.max_images_step) {
            return refuse(
                "max_images_step",
                &self.max_images_step,
                "allows less than one image a sequence",
            );
        }
        self.validate_mix()
    }

    fn validate_mix(&self) -> Result<(), ConfigError> {
        let refuse = |setting, value: &dyn ToString, why: &str| {
            Err(ConfigError {
                setting,
                value: value.to_string(),
                why: why.to_owned(),
            })
        };
        if !self.mix.is_empty() {
            let alone = [
                ("dataset", self.dataset.display().to_string()),
                ("manifest", self.manifest.clone()),
                ("filter", self.filter.clone()),
            ];
            if let Some((setting, value)) = alone.iter().find(|(_, value)| !value.is_empty()) {
                return refuse(setting, value, "belongs into one of the datasets of mix");
            }
        }
        let usable = |weights: &[f64]| {
            let each = weights.iter().all(|w| w.is_finite() && *w >= 0.0);
            each && weights.iter().sum::<f64>() > 0.0
        };
        let first: Vec<f64> = self.sources().iter().map(|source| source.weight).collect();
        if !usable(&first) {
            return refuse(
                "mix",
                &format!("{first:?}"),
                "needs weights of 0 or more, one of them positive",
            );
        }
        for change in &self.schedule {
            if !usable(&change.weights) || change.weights.len() != first.len() {
                return refuse(
                    "schedule",
                    &format!("{:?}", change.weights),
                    &format!(
                        "needs {} weights of 0 or more, one of them positive",
                        first.len()
                    ),
                );
            }
        }
        match self.schedule.is_sorted_by(|a, b| a.from_step < b.from_step) {
            true => Ok(()),
            false => refuse("schedule", &self.schedule.len(), "its steps must ascend"),
        }
    }

    /// Whether what only a server decides of a stream that it serves, is as nobody had set it.
    pub fn leaves_to_a_server(&self) -> bool {
        let of_server = |config: &Self| {
            let Self {
                filter,
                manifest,
                weigh,
                schedule,
                verify,
                ..
            } = config.clone();
            (filter, manifest, weigh, schedule, verify)
        };
        of_server(self) == of_server(&Self::default())
    }

    /// The datasets, one or several.
    pub fn sources(&self) -> Vec<Source> {
        match self.mix.is_empty() {
            true => vec![Source {
                dataset: self.dataset.clone(),
                manifest: self.manifest.clone(),
                filter: self.filter.clone(),
                ..Source::default()
            }],
            false => self.mix.clone(),
        }
    }

    /// Most images of a sequence, by either limit.
    pub(crate) fn sequence_images(&self) -> usize {
        let limits = [self.max_images, self.max_images_step / self.rows];
        let set = limits.into_iter().filter(|limit| *limit > 0);
        set.min().unwrap_or(self.context)
    }

    /// Hash of all that decides which sequences come in which order, of which a position speaks. Where the datasets lie,
    /// and which version of them it is, is told apart by the manifests.
    pub fn identity(&self) -> String {
        let unplaced = |source: Source| Source {
            dataset: PathBuf::new(),
            manifest: String::new(),
            ..source
        };
        let deciding = Self {
            dataset: PathBuf::new(),
            manifest: String::new(),
            filter: String::new(),
            mix: self.sources().into_iter().map(unplaced).collect(),
            max_images: self.sequence_images(),
            max_images_step: 0,
            // A schedule counts steps.
            rows: if self.schedule.is_empty() {
                0
            } else {
                self.rows
            },
            rank: 0,
            world_size: 0,
            on_corrupt: OnCorrupt::Stop,
            verify: Verify::Size,
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
            rows: 64,
            rank: 3,
            world_size: 4,
            dataset: "elsewhere".into(),
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

//! What a run is told: every default in one place, checked once.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use lcl_shard::flight::RemoteUrl;
use lcl_shard::{Part, Passes, PictureForm, StreamConfig};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::DeviceName;
use crate::loss::LossConfig;
use crate::model::ModelShape;
use crate::model::shape::Preset;
use crate::ops::{Compute, Precision};
use crate::optim::OptimizerConfig;

/// A configuration that cannot be run: a usage mistake.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{key} must be {rule}")]
    Value {
        key: &'static str,
        rule: &'static str,
    },
    #[error("data.{0}")]
    Stream(#[from] lcl_shard::ConfigError),
    #[error(
        "{key} is {ours} here and {theirs} in the checkpoint: resume without a configuration file, or change it on purpose by --set {key}=…"
    )]
    Changed {
        key: String,
        ours: String,
        theirs: String,
    },
}

/// Settings that may differ when a run goes on: they decide where and how fast, not what is learned.
const FREE_TO_CHANGE: [&str; 15] = [
    "out",
    "device",
    "recompute",
    "accumulate",
    "checkpoint_every",
    "keep_checkpoints",
    "data.dataset",
    "data.threads",
    "data.prefetch",
    "data.manifest",
    "data.on_corrupt",
    "data.verify",
    "remote.token_file",
    "remote.authority",
    "remote.retry_s",
];

/// One training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder that the run makes.
    pub out: PathBuf,
    /// Optimiser steps; the schedule ends with them.
    pub steps: u64,
    /// Of the initial weights and of the data's order.
    pub seed: u64,
    /// Where tensors live and are computed.
    #[serde(alias = "backend")]
    pub device: DeviceName,
    pub precision: Precision,
    /// Blocks of both towers keep their input only and are computed again for their gradients. LibTorch only.
    pub recompute: bool,
    /// Parts that a batch's rows are computed in, one after the other; the step is that of the whole batch.
    pub accumulate: usize,
    /// Steps between checkpoints. The last step always makes one.
    pub checkpoint_every: u64,
    /// Checkpoints kept, the latest.
    pub keep_checkpoints: usize,
    /// The stream; what follows from the model or the run is set there, see [`Config::stream`].
    pub data: StreamConfig,
    pub remote: RemoteConfig,
    pub model: ModelConfig,
    pub loss: LossConfig,
    pub optimizer: OptimizerConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            out: PathBuf::new(),
            steps: 1000,
            seed: 0,
            device: DeviceName::default(),
            precision: Precision::default(),
            recompute: false,
            accumulate: 1,
            checkpoint_every: 500,
            keep_checkpoints: 2,
            data: StreamConfig::default(),
            remote: RemoteConfig::default(),
            model: ModelConfig::default(),
            loss: LossConfig::default(),
            optimizer: OptimizerConfig::default(),
        }
    }
}

/// How a server of `data.dataset = "grpc://…"` is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteConfig {
    /// A file that holds its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// PEM of who signed its certificate; unset: those whom the system knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// For how long a server that is away is asked again.
    pub retry_s: f64,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            token_file: None,
            authority: None,
            retry_s: 300.0,
        }
    }
}

/// A named model, any of whose sizes may be given instead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    pub preset: Preset,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_width: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_layers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_heads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_width: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_layers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_heads: Option<usize>,
}

impl ModelConfig {
    pub fn shape(&self) -> ModelShape {
        let named = self.preset.shape();
        ModelShape {
            edge: self.edge.unwrap_or(named.edge),
            patch: self.patch.unwrap_or(named.patch),
            vision_width: self.vision_width.unwrap_or(named.vision_width),
            vision_layers: self.vision_layers.unwrap_or(named.vision_layers),
            vision_heads: self.vision_heads.unwrap_or(named.vision_heads),
            context: self.context.unwrap_or(named.context),
            text_width: self.text_width.unwrap_or(named.text_width),
            text_layers: self.text_layers.unwrap_or(named.text_layers),
            text_heads: self.text_heads.unwrap_or(named.text_heads),
        }
    }
}

impl Config {
    /// The stream that this run trains on: without end, all but what is held out, in the model's sizes.
    pub fn stream(&self) -> StreamConfig {
        let shape = self.model.shape();
        StreamConfig {
            part: Part::Train,
            passes: Passes::Endless,
            seed: self.seed,
            context: shape.context,
            edge: shape.edge,
            slots: shape.slots(),
            rank: 0,
            world_size: 1,
            ..self.data.clone()
        }
    }

    /// How the model is computed.
    pub fn compute(&self) -> Compute {
        Compute {
            precision: self.precision,
            recompute: self.recompute,
        }
    }

    /// The same with every setting of the stream as it is.
    pub fn resolved(&self) -> Self {
        Self {
            data: self.stream(),
            ..self.clone()
        }
    }

    /// A setting of the stream that was given though it follows from others.
    fn derived_twice(&self) -> Option<(&'static str, &'static str)> {
        type Of<'a> = &'a dyn Fn(&StreamConfig) -> String;
        let (derived, default) = (self.stream(), StreamConfig::default());
        let set = |given: Of<'_>| {
            let value = given(&self.data);
            value != given(&derived) && value != given(&default)
        };
        let settings: [(&str, &str, Of<'_>); 8] = [
            ("data.part", "train; eval measures the others", &|s| {
                format!("{:?}", s.part)
            }),
            ("data.passes", "endless; set steps", &|s| {
                format!("{:?}", s.passes)
            }),
            ("data.seed", "left out; set seed", &|s| s.seed.to_string()),
            ("data.context", "left out; set model.context", &|s| {
                s.context.to_string()
            }),
            ("data.edge", "left out; set model.edge", &|s| {
                s.edge.to_string()
            }),
            (
                "data.slots",
                "left out; it follows from model.edge and model.patch",
                &|s| s.slots.to_string(),
            ),
            ("data.rank", "left out: one process trains", &|s| {
                s.rank.to_string()
            }),
            ("data.world_size", "left out: one process trains", &|s| {
                s.world_size.to_string()
            }),
        ];
        settings
            .into_iter()
            .find(|(_, _, of)| set(*of))
            .map(|(key, rule, _)| (key, rule))
    }

    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let shape = self.model.shape();
        let divides =
            |part: usize, whole: usize| part > 0 && whole > 0 && whole.is_multiple_of(part);
        let unset = [
            ("out", self.out.as_os_str().is_empty()),
            (
                "data.dataset",
                self.data.dataset.as_os_str().is_empty() && self.data.mix.is_empty(),
            ),
        ];
        if let Some((key, _)) = unset.into_iter().find(|(_, unset)| *unset) {
            return Err(ConfigError::Missing(key));
        }
        // First, because what follows multiplies and divides by them.
        let sizes = [
            ("model.edge", shape.edge),
            ("model.patch", shape.patch),
            ("model.vision_width", shape.vision_width),
            ("model.vision_layers", shape.vision_layers),
            ("model.context", shape.context),
            ("model.text_width", shape.text_width),
            ("model.text_layers", shape.text_layers),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| !SIZES.contains(size)) {
            let rule = "from 1 to 65536";
            return Err(ConfigError::Value { key, rule });
        }
        if let Some((key, rule)) = self.derived_twice() {
            return Err(ConfigError::Value { key, rule });
        }
        let (optimizer, loss) = (&self.optimizer, &self.loss);
        let share = |beta: f32| (0.0..1.0).contains(&beta);
        let served = RemoteUrl::is_url(&self.data.dataset.to_string_lossy());
        let weight = |weight: f64| weight.is_finite() && weight >= 0.0;
        let rules = [
            ("steps", "at least 1", self.steps > 0),
            ("checkpoint_every", "at least 1", self.checkpoint_every > 0),
            ("keep_checkpoints", "at least 1", self.keep_checkpoints > 0),
            ("data.rows", "at least 1", self.data.rows > 0),
            (
                "accumulate",
                "a divisor of data.rows",
                divides(self.accumulate, self.data.rows),
            ),
            (
                "precision",
                "float32: this device has no mixed precision, libtorch-cpu and cuda:0 have",
                self.precision == Precision::Float32 || self.device.is_libtorch(),
            ),
            (
                "recompute",
                "false: this device keeps what it has computed, libtorch-cpu and cuda:0 need not",
                !self.recompute || self.device.is_libtorch(),
            ),
            (
                "data.filter, manifest, weigh, schedule or verify",
                "left out: a served stream has the server's",
                !served || self.data.leaves_to_a_server(),
            ),
            (
                "remote.retry_s",
                "from 0 to 86400 seconds",
                (0.0..=86_400.0).contains(&self.remote.retry_s),
            ),
            (
                "data.pictures",
                "\"pixels\": the trainer decodes nothing",
                self.data.pictures == PictureForm::Pixels,
            ),
            (
                "data.holdout",
                "in [0, 1)",
                (0.0..1.0).contains(&self.data.holdout),
            ),
            (
                "optimizer.lr",
                "positive and finite",
                optimizer.lr > 0.0 && optimizer.lr.is_finite(),
            ),
            ("optimizer.beta_1", "in [0, 1)", share(optimizer.beta_1)),
            ("optimizer.beta_2", "in [0, 1)", share(optimizer.beta_2)),
            (
                "optimizer.epsilon",
                "positive and finite",
                optimizer.epsilon > 0.0 && optimizer.epsilon.is_finite(),
            ),
            (
                "optimizer.weight_decay",
                "0 or more",
                weight(optimizer.weight_decay.into()),
            ),
            ("loss.contrastive", "0 or more", weight(loss.contrastive)),
            ("loss.generation", "0 or more", weight(loss.generation)),
            (
                "loss.contrastive or loss.generation",
                "more than 0",
                loss.contrastive + loss.generation > 0.0,
            ),
            (
                "optimizer.clip_norm",
                "positive",
                optimizer.clip_norm.is_none_or(|norm| norm > 0.0),
            ),
            (
                "model.patch",
                "a divisor of model.edge",
                divides(shape.patch, shape.edge),
            ),
            (
                "model.vision_heads",
                "a divisor of model.vision_width",
                divides(shape.vision_heads, shape.vision_width),
            ),
            (
                "model.text_heads",
                "a divisor of model.text_width",
                divides(shape.text_heads, shape.text_width),
            ),
            // What the kernel for packed rows takes.
            (
                "model.text_width / model.text_heads",
                "a multiple of 8 and at most 256 on cuda",
                !matches!(self.device, DeviceName::Cuda(_))
                    || (shape.text_width.is_multiple_of(8 * shape.text_heads.max(1))
                        && shape.text_width <= 256 * shape.text_heads),
            ),
            // BOS, BOI, the slots, EOI and one id to predict.
            (
                "model.context",
                "at least the slots of an image and 4",
                shape.context >= shape.slots() + 4,
            ),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((key, rule, _)) => Err(ConfigError::Value { key, rule }),
            None => Ok(self.stream().validate()?),
        }
    }

    /// Whether a run that `saved` began may go on with these settings; those of `overrides` were changed on purpose.
    ///
    /// # Errors
    /// [`ConfigError::Changed`] for the first setting that decides what is learned and differs.
    pub fn check_goes_on(&self, saved: &Self, overrides: &[String]) -> Result<(), ConfigError> {
        let (ours, theirs) = (self.leaves(), saved.leaves());
        let keys = ours.keys().chain(theirs.keys());
        let on_purpose: Vec<&str> = overrides
            .iter()
            .filter_map(|text| Some(text.split_once('=')?.0.trim()))
            .collect();
        let value = |leaves: &BTreeMap<String, String>, key: &str| {
            leaves.get(key).cloned().unwrap_or_else(|| "unset".into())
        };
        keys.filter(|key| !FREE_TO_CHANGE.contains(&key.as_str()))
            .filter(|key| !on_purpose.contains(&key.as_str()))
            .map(|key| (key, value(&ours, key), value(&theirs, key)))
            .find(|(_, ours, theirs)| ours != theirs)
            .map_or(Ok(()), |(key, ours, theirs)| {
                let key = key.clone();
                Err(ConfigError::Changed { key, ours, theirs })
            })
    }

    /// Every setting by its dotted key, as TOML writes it; a model is given by its sizes, however it was named.
    fn leaves(&self) -> BTreeMap<String, String> {
        let shape = self.model.shape();
        let resolved = Self {
            model: ModelConfig {
                preset: Preset::default(),
                edge: Some(shape.edge),
                patch: Some(shape.patch),
                vision_width: Some(shape.vision_width),
                vision_layers: Some(shape.vision_layers),
                vision_heads: Some(shape.vision_heads),
                context: Some(shape.context),
                text_width: Some(shape.text_width),
                text_layers: Some(shape.text_layers),
                text_heads: Some(shape.text_heads),
            },
            ..self.resolved()
        };
        let table = toml::Table::try_from(&resolved).expect("plain values and tables");
        let mut leaves = BTreeMap::new();
        let mut open = vec![(String::new(), toml::Value::Table(table))];
        while let Some((path, value)) = open.pop() {
            match value {
                toml::Value::Table(table) => open.extend(table.into_iter().map(|(key, value)| {
                    let path = match path.as_str() {
                        "" => key,
                        path => format!("{path}.{key}"),
                    };
                    (path, value)
                })),
                leaf => {
                    leaves.insert(path, leaf.to_string());
                }
            }
        }
        leaves
    }
}

/// Beyond, products of two of a model's sizes leave memory, and of four 64 bits.
const SIZES: RangeInclusive<usize> = 1..=65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use lcl_schemas::settings::resolve;

    fn overrides(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn any_size_of_a_named_model_can_be_overridden() {
        let set = overrides(&["model.preset=lcl_vit_b_32_mmc4", "model.context=512"]);
        let config: Config = resolve(None, &set).expect("valid");
        let expected = ModelShape {
            context: 512,
            ..Preset::B32Mmc4.shape()
        };
        assert_eq!(config.model.shape(), expected);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(resolve::<Config>(None, &overrides(&["optimizer.learning_rate=1"])).is_err());
        assert!(resolve::<Config>(None, &overrides(&["model.depth=1"])).is_err());
    }

    #[test]
    fn a_resolved_config_reads_back_as_itself() {
        let set = overrides(&[
            "out=/a",
            "data.dataset=/b",
            "optimizer.clip_norm=1.0",
            "model.edge=96",
        ]);
        let mut config: Config = resolve(None, &set).expect("valid");
        config.validate().expect("complete");
        for mixed in [false, true] {
            if mixed {
                config.data.dataset = PathBuf::new();
                config.data.mix = vec![lcl_shard::Source::default(); 2];
            }
            let text = toml::to_string(&config.resolved()).expect("serialisable");
            let read: Config = toml::from_str(&text).expect("valid");
            assert_eq!(read, config.resolved());
            read.validate().expect("as usable as it was");
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_usage_mistakes_by_their_key() {
        for (setting, key) in [
            ("optimizer.beta_2=1.0", "optimizer.beta_2"),
            ("optimizer.epsilon=0.0", "optimizer.epsilon"),
            ("optimizer.weight_decay=-1.0", "optimizer.weight_decay"),
            ("optimizer.lr=nan", "optimizer.lr"),
            ("optimizer.lr=inf", "optimizer.lr"),
            ("loss.contrastive=-0.1", "loss.contrastive"),
            ("model.vision_layers=0", "model.vision_layers"),
            ("model.patch=0", "model.patch"),
            ("model.edge=800000000", "model.edge"),
            ("data.lanes=0", "data.lanes"),
            ("data.bins=0", "data.bins"),
            ("data.edge=96", "data.edge"),
            ("data.part=all", "data.part"),
        ] {
            let set = overrides(&["out=/a", "data.dataset=/b", setting]);
            let config: Config = resolve(None, &set).expect("of the right type");
            let refused = config.validate().expect_err(setting).to_string();
            assert!(refused.contains(key), "{setting}: {refused}");
        }
    }

    #[test]
    fn a_filter_that_the_server_would_never_hear_of_is_refused() {
        let served = ["out=/a", "data.dataset=grpc://127.0.0.1:7070/train"];
        let config: Config = resolve(None, &overrides(&served)).expect("valid");
        config.validate().expect("complete");
        let set = [&served[..], &["data.filter=n_images >= 2"]].concat();
        let config: Config = resolve(None, &overrides(&set)).expect("of the right type");
        let refused = config.validate().expect_err("not sent").to_string();
        assert!(refused.contains("data.filter"), "{refused}");
    }

    #[test]
    fn a_run_goes_on_elsewhere_and_faster_but_not_differently() {
        let saved = Config::default();
        let with = |set: &[&str]| -> Config { resolve(None, &overrides(set)).expect("valid") };
        let goes_on = |set: &[&str]| with(set).check_goes_on(&saved, &[]);
        let free = ["out=/else", "data.threads=7", "checkpoint_every=3"];
        assert_eq!(goes_on(&free), Ok(()));
        // The same model by another name.
        assert_eq!(goes_on(&["model.edge=64"]), Ok(()));
        for (set, key) in [
            ("optimizer.lr=0.1", "optimizer.lr"),
            ("model.text_layers=7", "model.text_layers"),
            ("optimizer.clip_norm=1.0", "optimizer.clip_norm"),
            ("steps=7", "steps"),
        ] {
            let refused = goes_on(&[set]);
            assert!(
                matches!(&refused, Err(ConfigError::Changed { key: found, .. }) if found == key),
                "{refused:?}"
            );
            let on_purpose = with(&[set]).check_goes_on(&saved, &overrides(&[set]));
            assert_eq!(on_purpose, Ok(()));
        }
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_a_usage_mistake() {
        let set = overrides(&["out=/a", "data.dataset=/b", "model.text_heads=5"]);
        let config: Config = resolve(None, &set).expect("valid");
        assert!(matches!(
            config.validate(),
            Err(ConfigError::Value {
                key: "model.text_heads",
                ..
            })
        ));
    }
}

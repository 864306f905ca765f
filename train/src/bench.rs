//! How fast a model trains on a device, with made-up batches: time, work and memory of a step.

mod batch;
mod flops;

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{Device, FloatDType, Tensor};
use lcl_schemas::batch::Batch;
use serde::Serialize;
use thiserror::Error;

use crate::data::{DataError, Prepared};
use crate::device::{DeviceError, DeviceName};
use crate::init::fixed_model;
use crate::loss::{Counts, LossConfig};
use crate::model::ModelShape;
use crate::model::shape::Preset;
use crate::ops::{Compute, Precision};
use crate::optim::OptimizerConfig;
use crate::parity::vocabulary;
use crate::step::{Measured, StepError, Trainer};

/// Steps before the clock starts: allocators, caches and threads settle.
const WARM_UP: usize = 3;

/// A measurement that cannot be made.
#[derive(Debug, Error)]
pub enum BenchError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(
        "--context {context} cannot hold an image of {slots} slots and its text, or is beyond the model's {most}"
    )]
    Context {
        context: usize,
        slots: usize,
        most: usize,
    },
    #[error("--batch, --steps and --accumulate are at least 1, and --accumulate divides --batch")]
    Numbers,
    #[error(
        "{0} computes in float32 and keeps what it has computed: bfloat16 and --recompute need libtorch-cpu or cuda:0"
    )]
    Unsupported(DeviceName),
    #[error("{path}: {source}", path = path.display())]
    Save {
        path: PathBuf,
        source: safetensors::SafeTensorError,
    },
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Bench {
    pub model: Preset,
    /// B, rows of a step.
    pub batch: usize,
    /// T; the model's if unset.
    pub context: Option<usize>,
    /// Rows full of documents, with several images each, instead of a document and an image a row.
    pub packed: bool,
    pub steps: usize,
    pub device: DeviceName,
    pub precision: Precision,
    pub recompute: bool,
    pub accumulate: usize,
    /// Where to write the batch for others to compute with.
    pub save: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Benchmark {
    pub device: String,
    pub precision: Precision,
    pub rows: usize,
    pub context: usize,
    pub images: usize,
    /// Ids that are not padding.
    pub tokens: usize,
    /// Of the first step, with weights that any implementation can make: see `init::fixed`. Unweighted but for total.
    pub contrastive: f32,
    pub generation: f32,
    pub total: f32,
    pub grad_norm: f64,
    /// Of a step.
    pub seconds: Spread,
    pub images_per_second: f64,
    pub tokens_per_second: f64,
    /// Floating-point operations that the model needs for a step; what is computed again or for padding is not among
    /// them.
    pub flops: f64,
    /// Operations a second that a large matrix product reaches on the device in this precision.
    pub peak_flops_per_second: f64,
    /// What the step reaches of that.
    pub share_of_peak: f64,
    /// Of the device, or of the process where the device is the processor.
    pub peak_memory_bytes: u64,
}

/// Of several measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub fastest: f64,
    pub slowest: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            fastest: values[0],
            slowest: values[values.len() - 1],
        }
    }
}

impl Bench {
    /// Measures.
    pub fn run(&self) -> Result<Benchmark, BenchError> {
        let (shape, context) = self.check()?;
        let device = self.device.open()?;
        let batch = batch::made_up(
            &shape,
            &vocabulary(self.model),
            self.batch,
            context,
            self.packed,
        );
        if let Some(path) = &self.save {
            save(&batch, path)?;
        }
        let peak = matrix_product_peak(self.device, &device, self.precision);
        let (counts, first, seconds) = self.time(&batch, &shape, &device)?;
        let seconds = Spread::of(seconds);
        let flops = flops::of_step(&shape, &vocabulary(self.model), &batch, counts);
        let (images, tokens) = (first.images, first.tokens);
        Ok(Benchmark {
            device: self.device.to_string(),
            precision: self.precision,
            rows: self.batch,
            context,
            images,
            tokens,
            contrastive: first.contrastive,
            generation: first.generation,
            total: first.total,
            grad_norm: first.grad_norm,
            seconds,
            images_per_second: images as f64 / seconds.median,
            tokens_per_second: tokens as f64 / seconds.median,
            flops,
            peak_flops_per_second: peak,
            share_of_peak: flops / seconds.median / peak,
            peak_memory_bytes: peak_memory(&device, false),
        })
    }

    fn check(&self) -> Result<(ModelShape, usize), BenchError> {
        let shape = self.model.shape();
        let context = self.context.unwrap_or(shape.context);
        if context > shape.context || context < shape.slots() + 8 {
            return Err(BenchError::Context {
                context,
                slots: shape.slots(),
                most: shape.context,
            });
        }
        let divides = self.accumulate > 0 && self.batch.is_multiple_of(self.accumulate);
        if self.batch == 0 || self.steps == 0 || !divides {
            return Err(BenchError::Numbers);
        }
        if (self.recompute || self.precision != Precision::Float32) && !self.device.is_libtorch() {
            return Err(BenchError::Unsupported(self.device));
        }
        Ok((shape, context))
    }

    /// What the first step measured, and seconds of those after the warm-up.
    fn time(
        &self,
        batch: &Batch,
        shape: &ModelShape,
        device: &Device,
    ) -> Result<(Counts, Measured, Vec<f64>), BenchError> {
        let (vocabulary, device) = (vocabulary(self.model), device.clone().autodiff());
        let mut model = fixed_model(shape, vocabulary.size as usize, &device);
        model.compute = Compute {
            precision: self.precision,
            recompute: self.recompute,
        };
        let config = OptimizerConfig {
            clip_norm: Some(1.0),
            ..OptimizerConfig::default()
        };
        let mut trainer = Trainer::new(model, vocabulary, LossConfig::default(), config);
        let prepared = Prepared::of(batch, &vocabulary, shape, &device, self.accumulate)?;
        let first = trainer.step(&prepared, 1e-4)?.read()?;
        for _ in 1..WARM_UP {
            trainer.step(&prepared, 1e-4)?.read()?;
        }
        peak_memory(&device, true);
        let mut seconds = Vec::with_capacity(self.steps);
        let mut before = trainer.step(&prepared, 1e-4)?;
        let mut since = None::<Instant>;
        while seconds.len() < self.steps {
            // As in training: a step is read once the device has the next to do.
            let told = trainer.step(&prepared, 1e-4)?;
            std::mem::replace(&mut before, told).read()?;
            let now = Instant::now();
            seconds.extend(since.replace(now).map(|since| (now - since).as_secs_f64()));
        }
        before.read()?;
        Ok((first.counts, first, seconds))
    }
}

/// Operations a second of a large matrix product, the best of several.
fn matrix_product_peak(name: DeviceName, device: &Device, precision: Precision) -> f64 {
    let kind = match precision {
        Precision::Float32 => FloatDType::F32,
        Precision::Bfloat16 => FloatDType::BF16,
    };
    let (edge, products) = match (name, precision) {
        (DeviceName::Cuda(_) | DeviceName::BurnCuda(_), _) => (8192, 20),
        (_, Precision::Float32) => (1024, 4),
        // Processors without bfloat16 take a hundred times as long.
        (_, Precision::Bfloat16) => (256, 1),
    };
    // Small, so that powers of it stay finite.
    let matrix = Tensor::<2>::full([edge, edge], 1.0 / edge as f64, device).cast(kind);
    let run = || {
        let began = Instant::now();
        let power = (0..products).fold(matrix.clone(), |power, _| power.matmul(matrix.clone()));
        let corner = power.narrow(0, 0, 1).narrow(1, 0, 1).cast(FloatDType::F32);
        assert!(corner.into_scalar::<f32>().is_finite());
        began.elapsed().as_secs_f64()
    };
    run();
    let fastest = (0..5).map(|_| run()).fold(f64::INFINITY, f64::min);
    2.0 * (edge as f64).powi(3) * f64::from(products) / fastest
}

/// Of the GPU since the last `reset`; else of the process since it began.
fn peak_memory(device: &Device, reset: bool) -> u64 {
    #[cfg(feature = "tch")]
    if let Some(peak) = crate::ops::transfer::peak_memory(device, reset) {
        return peak;
    }
    let _ = (device, reset);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// `tokens`, `segments`, `positions` `[B, T]`, `first_slots`, `has_context` `[N]`, `pixels` `[N, S, S, 3]`.
fn save(batch: &Batch, path: &Path) -> Result<(), BenchError> {
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

    let bytes = |values: &[u32]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let (rows, images) = (vec![batch.rows, batch.context], batch.images());
    let flags: Vec<u8> = batch
        .has_context
        .iter()
        .map(|flag| u8::from(*flag))
        .collect();
    let pixels = vec![images, batch.edge, batch.edge, 3];
    let lists = [
        ("tokens", Dtype::U32, rows.clone(), bytes(&batch.tokens)),
        ("segments", Dtype::U32, rows.clone(), bytes(&batch.segments)),
        ("positions", Dtype::U32, rows, bytes(&batch.positions)),
        (
            "first_slots",
            Dtype::U32,
            vec![images],
            bytes(&batch.first_slots),
        ),
        ("has_context", Dtype::U8, vec![images], flags),
        ("pixels", Dtype::U8, pixels, batch.pixels().to_vec()),
    ];
    let views = lists.iter().map(|(name, kind, shape, bytes)| {
        TensorView::new(*kind, shape.clone(), bytes).map(|view| (*name, view))
    });
    views
        .collect::<Result<Vec<_>, _>>()
        .and_then(|views| serialize_to_file(views, None, path))
        .map_err(|source| BenchError::Save {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_model_is_measured() {
        let bench = Bench {
            model: Preset::ParityTiny,
            batch: 4,
            context: None,
            packed: true,
            steps: 3,
            device: DeviceName::Flex,
            precision: Precision::Float32,
            recompute: false,
            accumulate: 2,
            save: None,
        };
        let found = bench.run().expect("measured");
        assert!(found.total.is_finite() && found.images >= 4);
        assert!(found.seconds.fastest > 0.0 && found.seconds.fastest <= found.seconds.median);
        assert!(
            found.share_of_peak > 0.0 && found.share_of_peak < 1.0,
            "{found:?}"
        );
        assert!(found.peak_memory_bytes > 1 << 20);
        let unsupported = Bench {
            recompute: true,
            ..bench
        };
        assert!(matches!(unsupported.run(), Err(BenchError::Unsupported(_))));
    }
}

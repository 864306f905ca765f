//! Gradients to new weights: AdamW with and without decay, the learning rate's schedule, the temperature's limits.

#[cfg(feature = "tch")]
pub(crate) mod fused;

use std::f64::consts::PI;
use std::path::Path as FilePath;
#[cfg(feature = "tch")]
use std::sync::{Arc, Mutex};

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::{AdamWConfig, DynOptimizer, GradientsParams, ModuleOptimizer};
use burn::store::RecordError;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::model::Lcl;
use crate::names::{self, Path, host};

/// The inverse temperature stays in [1, 100].
const MOST_LOGIT_SCALE: f64 = 4.605_170_185_988_092;

/// The published recipe but for the warm-up, which is 2,000 steps there; only the learning rate depends on the data (3e-4
/// on MMC4, 5e-4 on LAION).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Steps of linear warm-up before the cosine.
    pub warmup: u64,
    pub beta_1: f32,
    pub beta_2: f32,
    pub epsilon: f32,
    pub weight_decay: f32,
    /// Largest global norm of the gradients; without it they are taken as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: 3e-4,
            warmup: 100,
            beta_1: 0.9,
            beta_2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.2,
            clip_norm: None,
        }
    }
}

impl OptimizerConfig {
    /// Linear warm-up that reaches `lr` in its last step, then a cosine to 0 over the rest of `steps`.
    pub fn lr_at(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup {
            return self.lr * (step + 1) as f64 / self.warmup as f64;
        }
        let done = (step - self.warmup) as f64 / steps.saturating_sub(self.warmup).max(1) as f64;
        0.5 * (1.0 + (PI * done.min(1.0)).cos()) * self.lr
    }
}

/// AdamW over a whole model, and who computes it. Both read and write the same record.
pub enum Optimizer {
    /// Burn, out of its tensor operations.
    Burn(ModuleOptimizer),
    /// LibTorch, in place; a step happens as its [`fused::Control`] has decided before.
    #[cfg(feature = "tch")]
    Fused(ModuleOptimizer, Arc<Mutex<fused::Control>>),
}

impl Optimizer {
    /// LibTorch's where `module` lives there. Decay leaves out what [`is_decayed`] leaves out.
    pub fn new<M: Module>(config: &OptimizerConfig, module: &M) -> Self {
        #[cfg(feature = "tch")]
        if module.devices().iter().any(crate::ops::on_libtorch) {
            return Self::fused(config, module);
        }
        Self::burn(config, module)
    }

    pub(crate) fn burn<M: Module>(config: &OptimizerConfig, module: &M) -> Self {
        let adamw = |weight_decay| {
            AdamWConfig::new()
                .with_beta_1(config.beta_1)
                .with_beta_2(config.beta_2)
                .with_epsilon(config.epsilon)
                .with_weight_decay(weight_decay)
        };
        let all = adamw(config.weight_decay).init();
        Self::Burn(without_decay(all, adamw(0.0).build(), module))
    }

    #[cfg(feature = "tch")]
    pub(crate) fn fused<M: Module>(config: &OptimizerConfig, module: &M) -> Self {
        let control = Arc::new(Mutex::new(fused::Control::default()));
        let adamw = |decay: f32| fused::Fused {
            rates: crate::ops::libtorch::Rates {
                lr: 0.0,
                beta_1: config.beta_1.into(),
                beta_2: config.beta_2.into(),
                decay: decay.into(),
                epsilon: config.epsilon.into(),
            },
            control: control.clone(),
        };
        let all = ModuleOptimizer::from(adamw(config.weight_decay));
        Self::Fused(without_decay(all, adamw(0.0), module), control)
    }

    fn inner(&self) -> &ModuleOptimizer {
        match self {
            Self::Burn(inner) => inner,
            #[cfg(feature = "tch")]
            Self::Fused(inner, _) => inner,
        }
    }

    /// Writes moments and numbers of steps.
    pub fn save(&self, path: &FilePath) -> Result<(), RecordError> {
        self.inner().save(path)
    }

    /// The same with what [`Optimizer::save`] wrote.
    pub fn load(self, path: &FilePath) -> Result<Self, RecordError> {
        Ok(match self {
            Self::Burn(inner) => Self::Burn(inner.load(path)?),
            #[cfg(feature = "tch")]
            Self::Fused(inner, control) => Self::Fused(inner.load(path)?, control),
        })
    }

    /// New weights at learning rate `lr`.
    pub fn step<M: Module>(&mut self, module: M, gradients: GradientsParams, lr: f64) -> M {
        match self {
            Self::Burn(inner) => inner.step(lr, module, gradients),
            #[cfg(feature = "tch")]
            Self::Fused(inner, _) => inner.step(lr, module, gradients),
        }
    }
}

/// `all`, but for parameters without decay.
fn without_decay<M: Module>(
    all: ModuleOptimizer,
    rest: impl DynOptimizer + 'static,
    module: &M,
) -> ModuleOptimizer {
    let kept = names::shapes(module)
        .into_iter()
        .filter(|(name, shape)| !is_decayed(name, shape))
        .map(|(name, _)| names::id(&name))
        .collect();
    all.with_group(ParamGroup::from_ids(kept), rest, None)
}

/// Whether weight decay applies: to matrices and up, but to no norm, bias or temperature.
///
/// The names are matched as loosely as in the published code ("ln" anywhere), to decay the same tensors.
pub fn is_decayed(name: &str, shape: &[usize]) -> bool {
    shape.len() >= 2
        && !["bn", "ln", "bias", names::LOGIT_SCALE]
            .iter()
            .any(|part| name.contains(part))
}

/// The model with its temperature in [1, 100].
pub fn clamp_temperature(mut model: Lcl) -> Lcl {
    model.logit_scale = model.logit_scale.map(|scale| {
        if !scale.is_autodiff() {
            return scale.clamp(0.0, MOST_LOGIT_SCALE);
        }
        // Outside of the graph: a parameter must stay a leaf.
        let clamped = scale.inner().clamp(0.0, MOST_LOGIT_SCALE);
        Tensor::from_inner(clamped).require_grad()
    });
    model
}

/// L2 norm of every gradient by name, in module order.
pub fn gradient_norms<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<(String, f64)> {
    let mut rows = RowSquares {
        path: Path::default(),
        gradients,
        names: Vec::new(),
        sums: Vec::new(),
    };
    module.visit(&mut rows);
    let RowSquares { names, sums, .. } = rows;
    let lengths: Vec<usize> = sums.iter().map(|sums| sums.dims()[0]).collect();
    if sums.is_empty() {
        return Vec::new();
    }
    // One copy to the host for all, summed there in f64: a running f32 sum over the 25 million squares of an embedding is
    // off by 3e-4.
    let all = host(Tensor::cat(sums, 0));
    let mut rest = all.as_slice();
    let norms = lengths.into_iter().map(|length| {
        let (of_tensor, others) = rest.split_at(length);
        rest = others;
        of_tensor.iter().copied().map(f64::from).sum::<f64>().sqrt()
    });
    names.into_iter().zip(norms).collect()
}

/// L2 norm of all gradients together.
pub fn global_norm(norms: &[(String, f64)]) -> f64 {
    norms
        .iter()
        .map(|(_, norm)| norm * norm)
        .sum::<f64>()
        .sqrt()
}

/// Scales gradients whose global norm is `norm` so that it is at most `most`.
pub fn clip<M: Module>(
    module: &M,
    gradients: GradientsParams,
    norm: f64,
    most: f64,
) -> GradientsParams {
    if norm <= most {
        return gradients;
    }
    let mut scale = Scale {
        gradients,
        factor: most / norm,
    };
    module.visit(&mut scale);
    scale.gradients
}

struct RowSquares<'a> {
    path: Path,
    gradients: &'a GradientsParams,
    names: Vec<String>,
    /// Sums of squares along the last dimension, flat.
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for RowSquares<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.names.push(self.path.name());
            self.sums
                .push(gradient.square().sum_dim(D - 1).reshape([-1]));
        }
    }
}

struct Scale {
    gradients: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients
                .register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::Preset;
    use burn::tensor::Device;

    #[test]
    fn learning_rate_warms_up_and_ends_at_zero() {
        let config = OptimizerConfig {
            warmup: 2000,
            ..OptimizerConfig::default()
        };
        let cases = [
            (0, 1.5e-7),
            (999, 1.5e-4),
            (1999, 3e-4),
            (2000, 3e-4),
            (51_000, 1.5e-4),
            (99_999, 7.7074e-14),
        ];
        for (step, expected) in cases {
            let lr = config.lr_at(step, 100_000);
            assert!((lr / expected - 1.0).abs() < 1e-4, "step {step}: {lr}");
        }
    }

    #[test]
    fn decay_takes_the_published_tensors() {
        let counts = |preset: Preset| {
            let model = Lcl::blank(&preset.shape(), 49_411, &Device::flex());
            let (mut decayed, mut kept) = ((0, 0), (0, 0));
            for (name, shape) in names::shapes(&model) {
                let group = if is_decayed(&name, &shape) {
                    &mut decayed
                } else {
                    &mut kept
                };
                group.0 += 1;
                group.1 += shape.iter().product::<usize>();
            }
            (decayed, kept)
        };
        assert_eq!(
            counts(Preset::B32Mmc4),
            ((107, 178_431_232), (211, 211_713))
        );
        let ((_, decayed), (_, kept)) = counts(Preset::B16Laion);
        assert_eq!((decayed, kept), (249_670_656, 253_441));
    }

    /// Gradients of one batch, and the model that they are of.
    #[cfg(feature = "tch")]
    fn gradients_of(model: &Lcl, number: u32) -> GradientsParams {
        use crate::data::Inputs;
        use crate::loss::{Counts, LossConfig, losses};
        use crate::samples::{IMAGE, packed, shape, vocabulary};

        let device = model.logit_scale.val().device();
        // One image: Burn's gradients of the class token and of its position then share memory.
        let document = [95, 1 + number, IMAGE, 2 + number, 96];
        let batch = packed(&[&[&document]], 64, number as usize);
        let inputs = Inputs::of(&batch, &vocabulary(), &shape(), &device).expect("valid");
        let losses = losses(
            model,
            &inputs,
            &LossConfig::default(),
            Counts::of(&inputs.plan),
        );
        GradientsParams::from_grads(losses.total.backward(), model)
    }

    #[cfg(feature = "tch")]
    fn step(optimizer: &mut Optimizer, model: Lcl, number: u32, most: f64) -> Lcl {
        let gradients = gradients_of(&model, number);
        let gradients = match optimizer {
            Optimizer::Burn(_) => {
                let norm = global_norm(&gradient_norms(&model, &gradients));
                clip(&model, gradients, norm, most)
            }
            Optimizer::Fused(_, control) => {
                let (_, norms) = fused::gradient_norms(&model, &gradients);
                let mut control = control.lock().expect("nobody panicked");
                control.decide(&norms.norm(), Some(most));
                gradients
            }
        };
        optimizer.step(model, gradients, 1e-3)
    }

    #[cfg(feature = "tch")]
    #[test]
    fn both_optimisers_make_the_same_steps_and_read_each_others_record() {
        use crate::device::DeviceName;
        use crate::samples::model;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let device = DeviceName::LibtorchCpu.open().expect("built").autodiff();
        let config = OptimizerConfig::default();
        let fresh = |fused: bool| match fused {
            true => Optimizer::fused(&config, &model(&device)),
            false => Optimizer::burn(&config, &model(&device)),
        };
        // Who makes the first two steps, and who goes on from their record.
        let ends =
            [(false, false), (true, true), (true, false), (false, true)].map(|(first, then)| {
                let mut trained = model(&device);
                let mut optimizer = fresh(first);
                for number in 0..2 {
                    trained = step(&mut optimizer, trained, number, 0.01);
                }
                let record = folder.path().join(format!("{first}-{then}.bpk"));
                optimizer.save(&record).expect("written");
                let mut optimizer = fresh(then).load(&record).expect("read");
                for number in 2..4 {
                    trained = step(&mut optimizer, trained, number, 0.01);
                }
                names::tensors(&trained)
            });
        let moved = ends[0].iter().zip(names::tensors(&model(&device)));
        assert!(moved.clone().any(|(end, start)| end.values != start.values));
        for end in &ends[1..] {
            for (found, expected) in end.iter().zip(&ends[0]) {
                for (a, b) in found.values.iter().zip(&expected.values) {
                    // Steps are 1e-3 a weight; where a gradient is all rounding, its sign may differ.
                    let tolerance = if found.name.contains("k_bias")
                        || found.name.contains("norm1_k.bias")
                        || found.name.contains("in_proj_bias")
                    {
                        1e-2
                    } else {
                        2e-5
                    };
                    assert!((a - b).abs() < tolerance, "{}: {a} is not {b}", found.name);
                }
            }
        }
    }
}

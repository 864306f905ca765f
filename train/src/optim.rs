//! Gradients to new weights: AdamW with and without decay, the learning rate's schedule, the temperature's limits.

use std::f64::consts::PI;

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
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

    /// AdamW whose decay leaves out what [`is_decayed`] leaves out.
    pub fn init<M: Module>(&self, module: &M) -> ModuleOptimizer {
        let adamw = |weight_decay| {
            AdamWConfig::new()
                .with_beta_1(self.beta_1)
                .with_beta_2(self.beta_2)
                .with_epsilon(self.epsilon)
                .with_weight_decay(weight_decay)
        };
        let kept = names::shapes(module)
            .into_iter()
            .filter(|(name, shape)| !is_decayed(name, shape))
            .map(|(name, _)| names::id(&name))
            .collect();
        adamw(self.weight_decay).init().with_group(
            ParamGroup::from_ids(kept),
            adamw(0.0).build(),
            None,
        )
    }
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
}

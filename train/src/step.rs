//! One step: a batch to new weights, and what it cost and gained.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use lcl_schemas::batch::Batch;
use lcl_schemas::vocabulary::Vocabulary;
use thiserror::Error;

use crate::data::{DataError, Inputs};
use crate::loss::{Counts, LossConfig, losses};
use crate::model::Lcl;
use crate::optim::{OptimizerConfig, clamp_temperature, clip, global_norm, gradient_norms};

/// A step that did not happen: the weights are those from before it.
#[derive(Debug, Error)]
pub enum StepError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the loss is not a number (contrastive {contrastive}, generation {generation})")]
    NotFinite { contrastive: f32, generation: f32 },
    #[error(
        "the gradients of the {names} are not numbers, though the loss is (contrastive {contrastive}, generation {generation})"
    )]
    GradientsNotFinite {
        names: String,
        contrastive: f32,
        generation: f32,
    },
}

/// What a step measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Unweighted.
    pub contrastive: f32,
    pub generation: f32,
    /// Weighted.
    pub total: f32,
    pub counts: Counts,
    pub images: usize,
    /// Ids that are not padding.
    pub tokens: usize,
    pub lr: f64,
    /// L2 norm of all gradients, before any clipping.
    pub grad_norm: f64,
    /// After the step.
    pub logit_scale: f32,
}

/// A model in training.
pub struct Trainer {
    pub model: Lcl,
    pub optimizer: ModuleOptimizer,
    pub vocabulary: Vocabulary,
    pub loss: LossConfig,
    pub config: OptimizerConfig,
    device: Device,
}

impl Trainer {
    /// `model` on a device with autodiff; `vocabulary` is the one it was made with.
    pub fn new(
        model: Lcl,
        vocabulary: Vocabulary,
        loss: LossConfig,
        config: OptimizerConfig,
    ) -> Self {
        let device = model.logit_scale.val().device();
        let optimizer = config.init(&model);
        Self {
            model,
            optimizer,
            vocabulary,
            loss,
            config,
            device,
        }
    }

    /// Forward, backward, AdamW at learning rate `lr`.
    pub fn step(&mut self, batch: &Batch, lr: f64) -> Result<Measured, StepError> {
        let inputs = Inputs::of(batch, &self.vocabulary, &self.model.shape, &self.device)?;
        let mut measured = self.learn(&inputs, lr)?;
        measured.tokens = batch
            .segments
            .iter()
            .filter(|segment| **segment != 0)
            .count();
        measured.images = batch.images();
        Ok(measured)
    }

    /// The same from tensors; `images` and `tokens` stay 0.
    pub fn learn(&mut self, inputs: &Inputs, lr: f64) -> Result<Measured, StepError> {
        let counts = Counts::of(&inputs.plan);
        let losses = losses(&self.model, inputs, &self.loss, counts);
        let scalar = |loss: &Tensor<1>| loss.clone().into_scalar::<f32>();
        let (contrastive, generation, total) = (
            scalar(&losses.contrastive),
            scalar(&losses.generation),
            scalar(&losses.total),
        );
        // Before the weights are touched, so that what is in memory is still good.
        if !total.is_finite() {
            return Err(StepError::NotFinite {
                contrastive,
                generation,
            });
        }
        let gradients = GradientsParams::from_grads(losses.total.backward(), &self.model);
        let norms = gradient_norms(&self.model, &gradients);
        let grad_norm = global_norm(&norms);
        if !grad_norm.is_finite() {
            return Err(StepError::GradientsNotFinite {
                names: not_finite(&norms),
                contrastive,
                generation,
            });
        }
        let gradients = match self.config.clip_norm {
            Some(most) => clip(&self.model, gradients, grad_norm, most),
            None => gradients,
        };
        let model = self.optimizer.step(lr, self.model.clone(), gradients);
        self.model = clamp_temperature(model);
        let logit_scale = scalar(&self.model.logit_scale.val());
        Ok(Measured {
            contrastive,
            generation,
            total,
            counts,
            images: 0,
            tokens: 0,
            lr,
            grad_norm,
            logit_scale,
        })
    }

    /// The model without autodiff.
    pub fn snapshot(&self) -> Lcl {
        self.model.valid()
    }
}

/// The first tensor whose gradient is not finite, and how many more there are.
fn not_finite(norms: &[(String, f64)]) -> String {
    let mut names = norms
        .iter()
        .filter(|(_, norm)| !norm.is_finite())
        .map(|(name, _)| name.as_str());
    let first = names.next().unwrap_or("whole model");
    match names.count() {
        0 => first.to_owned(),
        more => format!("{first} and {more} more tensors"),
    }
}

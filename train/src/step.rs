//! One step: a batch to new weights, and what it cost and gained.

#[cfg(feature = "tch")]
use std::sync::PoisonError;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use lcl_schemas::vocabulary::Vocabulary;
use thiserror::Error;

use crate::accumulate::gradients;
use crate::data::{DataError, Prepared};
use crate::loss::{Counts, LossConfig, Losses};
use crate::memory::{TooLittleMemory, guarded};
use crate::model::Lcl;
#[cfg(feature = "tch")]
use crate::ops::transfer::Late;
#[cfg(feature = "tch")]
use crate::optim::fused;
use crate::optim::{
    Optimizer, OptimizerConfig, clamp_temperature, clip, global_norm, gradient_norms,
};

/// A step that did not happen: the weights are those from before it.
#[derive(Debug, Error)]
pub enum StepError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Memory(#[from] TooLittleMemory),
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

/// A step that the device has been told to do. What it measures is read later, so that the device need not wait
/// for the host.
#[derive(Debug)]
pub struct Pending(Stage);

#[derive(Debug)]
enum Stage {
    /// Done, and checked before the weights were touched.
    Known(Measured),
    /// On its way. Numbers that are not finite change no weights there.
    #[cfg(feature = "tch")]
    Late {
        /// All but what the device has yet to say.
        known: Measured,
        /// Contrastive, generation, total, temperature, then the gradients' norms.
        values: Late,
        names: Vec<String>,
    },
}

impl Pending {
    /// Waits until the step is done.
    pub fn read(self) -> Result<Measured, StepError> {
        match self.0 {
            Stage::Known(measured) => Ok(measured),
            #[cfg(feature = "tch")]
            Stage::Late {
                known,
                values,
                names,
            } => {
                let values = values.read();
                let (numbers, norms) = values.split_at(4);
                let norms: Vec<(String, f64)> =
                    names.into_iter().zip(norms.iter().copied()).collect();
                let measured = Measured {
                    contrastive: numbers[0] as f32,
                    generation: numbers[1] as f32,
                    total: numbers[2] as f32,
                    logit_scale: numbers[3] as f32,
                    grad_norm: global_norm(&norms),
                    ..known
                };
                check(&measured, &norms)?;
                Ok(measured)
            }
        }
    }

    /// Whether the device has nothing left to do.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Stage::Known(_) => true,
            #[cfg(feature = "tch")]
            Stage::Late { values, .. } => values.is_there(),
        }
    }
}

/// A model in training.
pub struct Trainer {
    pub model: Lcl,
    pub optimizer: Optimizer,
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
        let optimizer = Optimizer::new(&config, &model);
        Self {
            model,
            optimizer,
            vocabulary,
            loss,
            config,
            device,
        }
    }

    /// Where the model is, with autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Forward, backward, AdamW at learning rate `lr`.
    pub fn step(&mut self, batch: &Prepared, lr: f64) -> Result<Pending, StepError> {
        guarded(|| self.learn(batch, lr))?
    }

    fn learn(&mut self, batch: &Prepared, lr: f64) -> Result<Pending, StepError> {
        let counts = Counts::of_all(&batch.parts);
        let (losses, gradients) = gradients(&self.model, &batch.parts, &self.loss, counts);
        let known = Measured {
            contrastive: 0.0,
            generation: 0.0,
            total: 0.0,
            counts,
            images: batch.images,
            tokens: batch.tokens,
            lr,
            grad_norm: 0.0,
            logit_scale: 0.0,
        };
        let stage = match &self.optimizer {
            Optimizer::Burn(_) => self.learn_now(losses, gradients, known)?,
            #[cfg(feature = "tch")]
            Optimizer::Fused(..) => self.learn_late(&losses, gradients, known),
        };
        Ok(Pending(stage))
    }

    /// Everything is read, and checked, before the weights change.
    fn learn_now(
        &mut self,
        losses: Losses,
        gradients: GradientsParams,
        known: Measured,
    ) -> Result<Stage, StepError> {
        let scalar = |loss: Tensor<1>| loss.into_scalar::<f32>();
        let norms = gradient_norms(&self.model, &gradients);
        let mut measured = Measured {
            contrastive: scalar(losses.contrastive),
            generation: scalar(losses.generation),
            total: scalar(losses.total),
            grad_norm: global_norm(&norms),
            ..known
        };
        check(&measured, &norms)?;
        let gradients = match self.config.clip_norm {
            Some(most) => clip(&self.model, gradients, measured.grad_norm, most),
            None => gradients,
        };
        self.update(gradients, known.lr);
        measured.logit_scale = scalar(self.model.logit_scale.val());
        Ok(Stage::Known(measured))
    }

    /// The device scales, checks and updates; nothing is waited for.
    #[cfg(feature = "tch")]
    fn learn_late(
        &mut self,
        losses: &Losses,
        gradients: GradientsParams,
        known: Measured,
    ) -> Stage {
        use crate::ops::libtorch::raw;

        let (names, norms) = fused::gradient_norms(&self.model, &gradients);
        let number = |loss: &Tensor<1>| raw(loss.clone()).to_kind(norms.kind());
        let (contrastive, generation, total) = (
            number(&losses.contrastive),
            number(&losses.generation),
            number(&losses.total),
        );
        if let Optimizer::Fused(_, control) = &self.optimizer {
            // A loss that is not finite has no finite gradients, but not the other way round.
            let norm = norms.norm() + total.sum(norms.kind()) * 0.0;
            control
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .decide(&norm, self.config.clip_norm);
        }
        self.update(gradients, known.lr);
        let temperature = number(&self.model.logit_scale.val());
        let values = tch::Tensor::cat(&[contrastive, generation, total, temperature, norms], 0);
        Stage::Late {
            known,
            values: Late::send(&values, &self.device),
            names,
        }
    }

    fn update(&mut self, gradients: GradientsParams, lr: f64) {
        let model = self.optimizer.step(self.model.clone(), gradients, lr);
        self.model = clamp_temperature(model);
    }
}

fn check(measured: &Measured, norms: &[(String, f64)]) -> Result<(), StepError> {
    let Measured {
        contrastive,
        generation,
        ..
    } = *measured;
    if !measured.total.is_finite() {
        return Err(StepError::NotFinite {
            contrastive,
            generation,
        });
    }
    if !measured.grad_norm.is_finite() {
        return Err(StepError::GradientsNotFinite {
            names: not_finite(norms),
            contrastive,
            generation,
        });
    }
    Ok(())
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

//! AdamW in place, a kernel a parameter, told by the device itself how to scale and whether to happen at all.
//!
//! Its state is Burn's [`AdamWState`], so that a record made by one is read by the other. Weights and moments change in
//! place: whoever holds a clone of the model sees its weights change.
#![expect(deprecated, reason = "Burn 0.22 is the last that has LibTorch")]

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::libtorch::TchTensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWState, AdaptiveMomentumState, GradientsParams, Optimizer};
use burn::tensor::{Device, Tensor};

use crate::names::Path;
use crate::ops::libtorch::{Rates, adamw, norms, raw};
use crate::ops::transfer::scalar;

/// AdamW of one group of parameters.
#[derive(Clone)]
pub(super) struct Fused {
    pub(super) rates: Rates,
    pub(super) control: Arc<Mutex<Control>>,
}

/// What all parameters share in one step.
#[derive(Debug, Default)]
pub struct Control {
    /// Gradients are divided by it, where they may have to be.
    scale: Option<TchTensor>,
    /// Where it is 1 nothing changes. A float32 scalar on the device, as is `scale`.
    skip: Option<TchTensor>,
    /// A step's number as the kernel wants it, made once for all parameters.
    step: Option<(usize, TchTensor)>,
}

impl Optimizer for Fused {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let mut momentum = match state {
            Some(state) => state.momentum,
            None => AdaptiveMomentumState::new(0, grad.zeros_like(), grad.zeros_like()),
        };
        momentum.time += 1;
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let step = control.step_tensor(momentum.time, &grad.device());
        let skip = control.skip.as_ref().expect("decided before a step");
        let rates = Rates { lr, ..self.rates };
        let moments = [momentum.moment_1.clone(), momentum.moment_2.clone()];
        let tensor = adamw(
            tensor,
            grad,
            moments,
            &step,
            rates,
            control.scale.as_ref(),
            skip,
        );
        (tensor, Some(AdamWState { momentum }))
    }

    fn to_device<const D: usize>(mut state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

impl Control {
    /// Decides the next step: gradients whose norm `[]` is more than `most` are scaled to it, and where it is not finite
    /// nothing happens.
    pub(crate) fn decide(&mut self, norm: &tch::Tensor, most: Option<f64>) {
        let single = |number: tch::Tensor| TchTensor::new(number.to_kind(tch::Kind::Float));
        self.scale = most.map(|most| single((norm / most).clamp_min(1.0)));
        self.skip = Some(single(norm.isfinite().logical_not()));
    }

    fn step_tensor(&mut self, time: usize, device: &Device) -> TchTensor {
        match &self.step {
            Some((made_for, step)) if *made_for == time => step.clone(),
            _ => {
                let step = TchTensor::new(scalar(time as f64, device));
                self.step = Some((time, step.clone()));
                step
            }
        }
    }
}

/// L2 norm of every gradient, in module order: `[n]` float64 on the device.
pub(crate) fn gradient_norms<M: Module>(
    module: &M,
    gradients: &GradientsParams,
) -> (Vec<String>, tch::Tensor) {
    let mut found = Found {
        path: Path::default(),
        gradients,
        names: Vec::new(),
        tensors: Vec::new(),
    };
    module.visit(&mut found);
    let norms = norms(&found.tensors);
    (found.names, norms)
}

struct Found<'a> {
    path: Path,
    gradients: &'a GradientsParams,
    names: Vec<String>,
    tensors: Vec<tch::Tensor>,
}

impl ModuleVisitor for Found<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.names.push(self.path.name());
            self.tensors.push(raw(gradient));
        }
    }
}

//! The operations by LibTorch's kernels, both ways, each one node of Burn's autodiff.
//!
//! Forward runs on detached inputs with LibTorch's own autograd on, Burn gets the detached result, and backward asks
//! LibTorch for the gradients of `sum(result · gradient)`. What the graph needs is LibTorch's choice of saved tensors, as
//! in PyTorch. An operation that is to be recomputed keeps its inputs only and runs forward again first.
//!
//! Burn-tch writes into tensors that nobody else holds. So whatever a graph here may read later is held, by its
//! [`TchTensor`], for as long as the graph.
#![expect(deprecated, reason = "Burn 0.22 is the last that has LibTorch")]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, LibTorch};
use burn::module::Param;
use burn::tensor::{Int, Tensor};
use tch::Kind;

pub(crate) use super::native::{Rates, norms};
use super::{Compute, EPSILON, Precision, Reach, native};
use crate::model::layers;

/// Targets whose logits exist at one time: 2,048 × 49,411 floats are 405 MB. The weight, 101 MB and more, passes through
/// the processor four times for each such chunk.
const TARGETS_AT_ONCE: i64 = 2048;

type Tracked = FloatTensor<Autodiff<LibTorch>>;

/// What is computed from which inputs.
#[derive(Clone, Debug)]
enum Kernel {
    /// x, weight and maybe bias.
    Linear(Precision),
    /// x, weight, bias.
    LayerNorm,
    /// q, k, v.
    Attention(Reach),
    /// x and the twelve weights, in the order of [`block`].
    Block {
        heads: i64,
        reach: Reach,
        compute: Compute,
    },
}

impl Kernel {
    fn run(&self, inputs: &[tch::Tensor]) -> tch::Tensor {
        match (self, inputs) {
            (Self::Linear(precision), [x, weight]) => product(x, weight, None, *precision),
            (Self::Linear(precision), [x, weight, bias]) => {
                product(x, weight, Some(bias), *precision)
            }
            (Self::LayerNorm, [x, weight, bias]) => norm(x, weight, bias).to_kind(x.kind()),
            (Self::Attention(reach), [q, k, v]) => attend([q, k, v], reach),
            (
                Self::Block {
                    heads,
                    reach,
                    compute,
                },
                [x, weights @ ..],
            ) => residual_block(x, weights, *heads, reach, compute.precision),
            _ => unreachable!("each kernel is made with its inputs"),
        }
    }

    fn recomputes(&self) -> bool {
        matches!(self, Self::Block { compute, .. } if compute.recompute)
    }
}

/// `x·Wᵀ + b`.
fn product(
    x: &tch::Tensor,
    weight: &tch::Tensor,
    bias: Option<&tch::Tensor>,
    precision: Precision,
) -> tch::Tensor {
    match precision {
        Precision::Float32 => x.linear(weight, bias),
        Precision::Bfloat16 => {
            let half = |tensor: &tch::Tensor| tensor.to_kind(Kind::BFloat16);
            half(x).linear(&half(weight), bias.map(half))
        }
    }
}

/// In float32.
fn norm(x: &tch::Tensor, weight: &tch::Tensor, bias: &tch::Tensor) -> tch::Tensor {
    let width = weight.size();
    x.to_kind(weight.kind())
        .layer_norm(width, Some(weight), Some(bias), EPSILON, true)
}

/// `[B, H, T, d]` each.
fn attend([q, k, v]: [&tch::Tensor; 3], reach: &Reach) -> tch::Tensor {
    let (mask, causal) = match reach {
        Reach::All => (None, false),
        Reach::Causal => (None, true),
        Reach::Bias(bias) => (Some(raw(Tensor::clone(bias)).to_kind(q.kind())), false),
        Reach::Segments(segments) => {
            let (starts, longest) = segments.bounds();
            let [rows, heads, tokens, width] = sizes(q);
            let flat = |x: &tch::Tensor| x.transpose(1, 2).reshape([rows * tokens, heads, width]);
            let [q, k, v] = [q, k, v].map(flat);
            let mixed = native::attention_by_segments([&q, &k, &v], starts, longest);
            return mixed.reshape([rows, tokens, heads, width]).transpose(1, 2);
        }
    };
    tch::Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, None, false)
}

fn sizes<const D: usize>(x: &tch::Tensor) -> [i64; D] {
    x.size().try_into().expect("the rank is known")
}

/// The residual stream keeps the type of `x`.
fn residual_block(
    x: &tch::Tensor,
    weights: &[tch::Tensor],
    heads: i64,
    reach: &Reach,
    precision: Precision,
) -> tch::Tensor {
    let [
        ln_1,
        ln_1_bias,
        in_proj,
        in_bias,
        out_proj,
        out_bias,
        ln_2,
        ln_2_bias,
        c_fc,
        c_fc_bias,
        c_proj,
        c_proj_bias,
    ] = weights
    else {
        unreachable!("a block has twelve weights");
    };
    let [rows, tokens, width] = sizes(x);
    let packed = product(&norm(x, ln_1, ln_1_bias), in_proj, Some(in_bias), precision);
    let packed = packed.reshape([rows, tokens, 3, heads, width / heads]);
    // One gradient of all three; three slices would each have one of zeros, as large.
    let parts = packed.permute([2, 0, 3, 1, 4]).unbind(0);
    let mixed = attend([&parts[0], &parts[1], &parts[2]], reach);
    let mixed = mixed.transpose(1, 2).reshape([rows, tokens, width]);
    let x = x + product(&mixed, out_proj, Some(out_bias), precision);
    let inside = product(&norm(&x, ln_2, ln_2_bias), c_fc, Some(c_fc_bias), precision);
    &x + product(&inside.gelu("none"), c_proj, Some(c_proj_bias), precision)
}

/// What backward needs.
#[derive(Clone, Debug)]
struct Saved {
    /// Detached, and asking for gradients where Burn does.
    leaves: Vec<TchTensor>,
    /// With its graph, unless it is made again.
    output: Option<TchTensor>,
}

impl<const N: usize> Backward<LibTorch, N> for Kernel {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<LibTorch>(&ops.node).tensor;
        let Saved { leaves, output } = ops.state;
        let inputs: Vec<tch::Tensor> = leaves.iter().map(shallow).collect();
        let output = match output {
            Some(output) => output.tensor,
            None => tch::with_grad(|| self.run(&inputs)),
        };
        let wanted: Vec<tch::Tensor> = inputs
            .into_iter()
            .filter(tch::Tensor::requires_grad)
            .collect();
        let found = native::gradients(&output, &gradient, &wanted);
        for (parent, gradient) in ops.parents.into_iter().flatten().zip(found) {
            if let Some(gradient) = gradient {
                grads.register::<LibTorch>(parent.id, TchTensor::new(gradient));
            }
        }
    }
}

fn shallow(tensor: &TchTensor) -> tch::Tensor {
    tensor.tensor.shallow_clone()
}

/// Runs a kernel as an operation of Burn's, tracked where one of its inputs is.
fn apply<const N: usize, const D: usize>(kernel: Kernel, inputs: [Operand; N]) -> Tensor<D> {
    let on_autodiff = inputs.iter().any(|input| input.on_autodiff);
    let inputs = inputs.map(|input| input.tensor);
    let plain = |kernel: &Kernel, inputs: [Tracked; N]| {
        let inputs = inputs.map(|input| input.into_primitive().tensor);
        TchTensor::new(tch::no_grad(|| kernel.run(&inputs)))
    };
    if !on_autodiff {
        return Tensor::from_primitive::<LibTorch>(plain(&kernel, inputs));
    }
    let nodes = inputs.each_ref().map(Tracked::node);
    let prepared = Backward::<LibTorch, N>::prepare::<NoCheckpointing>(kernel.clone(), nodes);
    let output = match prepared.compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => prepared.finish(plain(&kernel, inputs)),
        OpsKind::Tracked(prepared) => {
            let (saved, output) = forward(&kernel, inputs);
            prepared.finish(saved, output)
        }
    };
    Tensor::from_primitive::<Autodiff<LibTorch>>(output)
}

fn forward<const N: usize>(kernel: &Kernel, inputs: [Tracked; N]) -> (Saved, TchTensor) {
    let leaves = inputs.map(|input| {
        let tracked = input.is_tracked();
        let TchTensor { tensor, storage } = input.into_primitive();
        TchTensor::from_existing(tensor.detach().set_requires_grad(tracked), storage)
    });
    let leaves = Vec::from(leaves);
    let operands: Vec<tch::Tensor> = leaves.iter().map(shallow).collect();
    if kernel.recomputes() {
        let output = TchTensor::new(tch::no_grad(|| kernel.run(&operands)));
        return (
            Saved {
                leaves,
                output: None,
            },
            output,
        );
    }
    let output = TchTensor::new(tch::with_grad(|| kernel.run(&operands)));
    // One storage, counted twice: Burn must not write into what the graph may have saved.
    let given = TchTensor::from_existing(output.tensor.detach(), output.storage.clone());
    let output = Some(output);
    (Saved { leaves, output }, given)
}

/// A tensor of any rank on its way into a kernel.
struct Operand {
    tensor: Tracked,
    on_autodiff: bool,
}

fn operand<const D: usize>(tensor: Tensor<D>) -> Operand {
    let on_autodiff = tensor.is_autodiff();
    let tensor = if on_autodiff {
        tensor
            .try_into_primitive::<Autodiff<LibTorch>>()
            .expect("it is on LibTorch with autodiff")
    } else {
        Tracked::new(primitive(tensor))
    };
    Operand {
        tensor,
        on_autodiff,
    }
}

fn weight<const D: usize>(param: &Param<Tensor<D>>) -> Operand {
    operand(param.val())
}

/// The tensor itself, outside of Burn's graph.
fn primitive<const D: usize>(tensor: Tensor<D>) -> TchTensor {
    tensor
        .without_autodiff()
        .try_into_primitive::<LibTorch>()
        .expect("it is on LibTorch")
}

/// The same as tch has it.
pub(crate) fn raw<const D: usize>(tensor: Tensor<D>) -> tch::Tensor {
    primitive(tensor).tensor
}

pub(super) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    precision: Precision,
) -> Tensor<D> {
    let (x, weight) = (operand(x), operand(weight));
    match bias {
        Some(bias) => apply(Kernel::Linear(precision), [x, weight, operand(bias)]),
        None => apply(Kernel::Linear(precision), [x, weight]),
    }
}

pub(super) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
) -> Tensor<D> {
    apply(
        Kernel::LayerNorm,
        [operand(x), operand(weight), operand(bias)],
    )
}

pub(super) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, reach: &Reach) -> Tensor<4> {
    apply(
        Kernel::Attention(reach.clone()),
        [operand(q), operand(k), operand(v)],
    )
}

pub(super) fn block(
    block: &layers::Block,
    x: Tensor<3>,
    reach: &Reach,
    compute: Compute,
) -> Tensor<3> {
    let layers::Block {
        ln_1,
        attn,
        ln_2,
        mlp,
    } = block;
    let bias = |map: &layers::Linear| operand(map.bias().expect("maps of a block have a bias"));
    let kernel = Kernel::Block {
        heads: attn.heads as i64,
        reach: reach.clone(),
        compute,
    };
    let inputs = [
        operand(x),
        weight(&ln_1.weight),
        weight(&ln_1.bias),
        weight(&attn.in_proj_weight),
        weight(&attn.in_proj_bias),
        weight(&attn.out_proj.weight),
        bias(&attn.out_proj),
        weight(&ln_2.weight),
        weight(&ln_2.bias),
        weight(&mlp.c_fc.weight),
        bias(&mlp.c_fc),
        weight(&mlp.c_proj.weight),
        bias(&mlp.c_proj),
    ];
    apply(kernel, inputs)
}

/// Both gradients are known with the value; backward scales them.
#[derive(Debug)]
struct CrossEntropy;

impl Backward<LibTorch, 2> for CrossEntropy {
    type State = [TchTensor; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let scale = grads.consume::<LibTorch>(&ops.node).tensor;
        for (parent, known) in ops.parents.into_iter().zip(ops.state) {
            if let Some(parent) = parent {
                let gradient = known.tensor * &scale;
                grads.register::<LibTorch>(parent.id, TchTensor::new(gradient));
            }
        }
    }
}

pub(super) fn cross_entropy(
    x: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    precision: Precision,
) -> Tensor<1> {
    let targets = targets
        .without_autodiff()
        .try_into_primitive::<LibTorch>()
        .expect("it is on LibTorch")
        .tensor;
    let [x, weight] = [operand(x), operand(weight)];
    if !x.on_autodiff {
        let [x, weight] = [x, weight].map(|input| input.tensor.into_primitive().tensor);
        let (value, _) = tch::no_grad(|| chunked(&x, &weight, &targets, precision, false));
        return Tensor::from_primitive::<LibTorch>(TchTensor::new(value));
    }
    let nodes = [x.tensor.node(), weight.tensor.node()];
    let [x, weight] = [x, weight].map(|input| input.tensor.into_primitive().tensor);
    let prepared = CrossEntropy.prepare::<NoCheckpointing>(nodes);
    let output = match prepared.compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => {
            let (value, _) = tch::no_grad(|| chunked(&x, &weight, &targets, precision, false));
            prepared.finish(TchTensor::new(value))
        }
        OpsKind::Tracked(prepared) => {
            let (value, known) = tch::no_grad(|| chunked(&x, &weight, &targets, precision, true));
            let known = known.expect("they were asked for").map(TchTensor::new);
            prepared.finish(known, TchTensor::new(value))
        }
    };
    Tensor::from_primitive::<Autodiff<LibTorch>>(output)
}

/// Summed loss `[1]` and, if wanted, its gradients with respect to `x` `[n, W]` and `weight` `[V, W]`.
fn chunked(
    x: &tch::Tensor,
    weight: &tch::Tensor,
    targets: &tch::Tensor,
    precision: Precision,
    wants_gradients: bool,
) -> (tch::Tensor, Option<[tch::Tensor; 2]>) {
    let kind = match precision {
        Precision::Float32 => x.kind(),
        Precision::Bfloat16 => Kind::BFloat16,
    };
    let (x_half, weight_half) = (x.to_kind(kind), weight.to_kind(kind));
    let mut value = tch::Tensor::zeros([1], (weight.kind(), x.device()));
    let mut of_x = Vec::new();
    let mut of_weight = wants_gradients.then(|| weight.zeros_like());
    let count = x.size()[0];
    for start in (0..count).step_by(TARGETS_AT_ONCE as usize) {
        let length = TARGETS_AT_ONCE.min(count - start);
        let x = x_half.narrow(0, start, length);
        let target = targets.narrow(0, start, length).unsqueeze(1);
        let mut log = x.matmul(&weight_half.tr()).log_softmax(1, weight.kind());
        value -= log.gather(1, &target, false).sum(weight.kind());
        let Some(of_weight) = &mut of_weight else {
            continue;
        };
        let mut gradient = log.exp_();
        let minus_one = tch::Tensor::full([length, 1], -1.0, (weight.kind(), x.device()));
        let gradient = gradient.scatter_add_(1, &target, &minus_one).to_kind(kind);
        of_x.push(gradient.matmul(&weight_half).to_kind(weight.kind()));
        if kind == weight.kind() {
            let _ = of_weight.addmm_(&gradient.tr(), &x);
        } else {
            *of_weight += gradient.tr().matmul(&x);
        }
    }
    let known = of_weight.map(|of_weight| [tch::Tensor::cat(&of_x, 0), of_weight]);
    (value, known)
}

/// One AdamW step of a parameter, in place, its moments too, with the gradient divided by `scale`; see
/// [`native::adamw`].
pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &TchTensor,
    rates: Rates,
    scale: Option<&TchTensor>,
    skip: &TchTensor,
) -> Tensor<D> {
    let mut parameter = primitive(parameter);
    let gradient = raw(gradient);
    let [mut first, mut second] = moments.map(raw);
    native::adamw(
        &mut parameter.tensor,
        &gradient,
        [&mut first, &mut second],
        &step.tensor,
        rates,
        scale.map(|scale| &scale.tensor),
        &skip.tensor,
    );
    Tensor::from_primitive::<LibTorch>(parameter)
}

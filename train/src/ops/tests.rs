//! Every operation on every device against the same formulas in float64 on the host, values and gradients.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::*;
use crate::init::fixed_units;
use crate::model::layers::{Block, Transformer};
use crate::names::host;
use crate::samples::devices;

/// B, H, T, d.
const SIZES: [usize; 4] = [2, 2, 6, 8];
const WIDTH: usize = 8;

fn numbers(name: &str, count: usize) -> Vec<f64> {
    fixed_units(name, count)
        .map(|unit| f64::from(unit as f32))
        .collect()
}

/// A formula in float64, and the same by an operation, both from flat inputs to a flat output.
struct Case<'a> {
    name: &'a str,
    inputs: &'a [usize],
    formula: &'a dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    operation: &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>,
    /// Relative to the largest number.
    tolerance: f64,
}

impl Case<'_> {
    fn check(&self, device: &Device) {
        let inputs: Vec<Vec<f64>> = (self.inputs.iter().enumerate())
            .map(|(index, count)| numbers(&format!("{} {index}", self.name), *count))
            .collect();
        let expected = (self.formula)(&inputs);
        let weights = numbers("weights of the sum", expected.len());
        let sum = |inputs: &[Vec<f64>]| -> f64 {
            let values = (self.formula)(inputs);
            values
                .iter()
                .zip(&weights)
                .map(|(value, weight)| value * weight)
                .sum()
        };

        let device = device.clone().autodiff();
        let leaf = |values: &Vec<f64>| tensor(values, &device).require_grad();
        let leaves: Vec<Tensor<1>> = inputs.iter().map(leaf).collect();
        let output = (self.operation)(&leaves);
        self.close("value", &host(output.clone()), &expected, &device);
        let gradients = (output * tensor(&weights, &device)).sum().backward();
        for (index, leaf) in leaves.iter().enumerate() {
            let found = host(leaf.grad(&gradients).expect("a gradient"));
            let what = format!("gradient {index}");
            self.close(&what, &found, &slopes(&sum, &inputs, index), &device);
        }

        // Without autodiff the same.
        let plain: Vec<Tensor<1>> = leaves.into_iter().map(Tensor::inner).collect();
        self.close(
            "plain value",
            &host((self.operation)(&plain)),
            &expected,
            &device,
        );
    }

    #[track_caller]
    fn close(&self, what: &str, found: &[f32], expected: &[f64], device: &Device) {
        assert_eq!(found.len(), expected.len());
        let largest = expected
            .iter()
            .fold(1.0_f64, |most, value| most.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let off = (f64::from(*found) - expected).abs();
            assert!(
                off <= self.tolerance * largest,
                "{} on {device:?}: {what} {found} is not {expected}",
                self.name
            );
        }
    }
}

fn tensor(values: &[f64], device: &Device) -> Tensor<1> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Central differences.
fn slopes(of: &dyn Fn(&[Vec<f64>]) -> f64, inputs: &[Vec<f64>], index: usize) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let at = |place: usize, offset: f64| {
        let mut moved = inputs.to_vec();
        moved[index][place] += offset;
        of(&moved)
    };
    (0..inputs[index].len())
        .map(|place| (at(place, STEP) - at(place, -STEP)) / (2.0 * STEP))
        .collect()
}

fn linear_formula(x: &[f64], weight: &[f64], bias: Option<&[f64]>, input: usize) -> Vec<f64> {
    let output = weight.len() / input;
    let row = |row: &[f64]| -> Vec<f64> {
        let channel = |channel: usize| {
            let products = row
                .iter()
                .zip(&weight[channel * input..])
                .map(|(a, b)| a * b);
            products.sum::<f64>() + bias.map_or(0.0, |bias| bias[channel])
        };
        (0..output).map(channel).collect()
    };
    x.chunks(input).flat_map(row).collect()
}

fn norm_formula(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let width = weight.len();
    let row = |row: &[f64]| -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = (variance + EPSILON).sqrt();
        let channels = row.iter().zip(weight).zip(bias);
        channels
            .map(|((x, weight), bias)| (x - mean) / scale * weight + bias)
            .collect()
    };
    x.chunks(width).flat_map(row).collect()
}

/// `looks(b, i, j)`: whether token i of row b looks at token j. `[B, H, T, d]`.
fn attention_formula(
    [q, k, v]: [&[f64]; 3],
    [batch, heads, tokens, width]: [usize; 4],
    looks: &dyn Fn(usize, usize, usize) -> bool,
) -> Vec<f64> {
    let mut output = vec![0.0; q.len()];
    for head in 0..batch * heads {
        let of = |x: &[f64], token: usize| -> Vec<f64> {
            x[(head * tokens + token) * width..][..width].to_vec()
        };
        for i in 0..tokens {
            let seen: Vec<usize> = (0..tokens).filter(|j| looks(head / heads, i, *j)).collect();
            let score = |j: &usize| {
                let product: f64 = of(q, i).iter().zip(of(k, *j)).map(|(a, b)| a * b).sum();
                (product / (width as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = seen.iter().map(score).collect();
            let all: f64 = scores.iter().sum();
            for (j, score) in seen.into_iter().zip(scores) {
                for (channel, value) in of(v, j).into_iter().enumerate() {
                    output[(head * tokens + i) * width + channel] += score / all * value;
                }
            }
        }
    }
    output
}

/// By Simpson's rule.
fn erf(x: f64) -> f64 {
    const PIECES: usize = 64;
    let step = x / PIECES as f64;
    let at = |piece: usize| (-(step * piece as f64).powi(2)).exp();
    let inner: f64 = (1..PIECES)
        .map(|piece| at(piece) * if piece % 2 == 1 { 4.0 } else { 2.0 })
        .sum();
    (at(0) + inner + at(PIECES)) * step / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
}

/// x `[2, 5, 8]` and the twelve weights of a block with two heads, causal.
fn block_formula(inputs: &[Vec<f64>]) -> Vec<f64> {
    let [
        x,
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
    ] = inputs
    else {
        panic!("thirteen inputs");
    };
    let (batch, tokens, heads, width) = (2, 5, 2, WIDTH / 2);
    let packed = norm_formula(x, ln_1, ln_1_bias);
    let packed = linear_formula(&packed, in_proj, Some(in_bias), WIDTH);
    let place = |row: usize, token: usize, head: usize, channel: usize| {
        (row * tokens + token, head * width + channel)
    };
    let each = || {
        (0..batch).flat_map(move |row| {
            (0..heads).flat_map(move |head| {
                (0..tokens).flat_map(move |token| {
                    (0..width).map(move |channel| place(row, token, head, channel))
                })
            })
        })
    };
    let part = |part: usize| -> Vec<f64> {
        each()
            .map(|(token, channel)| packed[token * 3 * WIDTH + part * WIDTH + channel])
            .collect()
    };
    let [q, k, v] = [part(0), part(1), part(2)];
    let mixed = attention_formula([&q, &k, &v], [batch, heads, tokens, width], &|_, i, j| {
        j <= i
    });
    let mut merged = vec![0.0; mixed.len()];
    for ((token, channel), value) in each().zip(mixed) {
        merged[token * WIDTH + channel] = value;
    }
    let add =
        |x: &[f64], y: Vec<f64>| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x + y).collect() };
    let x = add(x, linear_formula(&merged, out_proj, Some(out_bias), WIDTH));
    let inside = norm_formula(&x, ln_2, ln_2_bias);
    let inside: Vec<f64> = linear_formula(&inside, c_fc, Some(c_fc_bias), WIDTH)
        .into_iter()
        .map(|x| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)))
        .collect();
    add(
        &x,
        linear_formula(&inside, c_proj, Some(c_proj_bias), 4 * WIDTH),
    )
}

/// A block with these weights.
fn block_of(inputs: &[Tensor<1>]) -> (Tensor<3>, Block) {
    let device = inputs[0].device();
    let mut block = Transformer::new(WIDTH, 1, 2, &device).resblocks.remove(0);
    let vector = |index: usize| Param::initialized(ParamId::new(), inputs[index].clone());
    let matrix = |index: usize, output: usize| {
        let tensor = inputs[index].clone();
        let input = tensor.dims()[0] / output;
        Param::initialized(ParamId::new(), tensor.reshape([output, input]))
    };
    block.ln_1.weight = vector(1);
    block.ln_1.bias = vector(2);
    block.attn.in_proj_weight = matrix(3, 3 * WIDTH);
    block.attn.in_proj_bias = vector(4);
    block.attn.out_proj.weight = matrix(5, WIDTH);
    block.attn.out_proj.bias = Some(vector(6));
    block.ln_2.weight = vector(7);
    block.ln_2.bias = vector(8);
    block.mlp.c_fc.weight = matrix(9, 4 * WIDTH);
    block.mlp.c_fc.bias = Some(vector(10));
    block.mlp.c_proj.weight = matrix(11, WIDTH);
    block.mlp.c_proj.bias = Some(vector(12));
    (inputs[0].clone().reshape([2, 5, WIDTH]), block)
}

const BLOCK_INPUTS: [usize; 13] = {
    let w = WIDTH;
    [
        2 * 5 * w,
        w,
        w,
        3 * w * w,
        3 * w,
        w * w,
        w,
        w,
        w,
        4 * w * w,
        4 * w,
        4 * w * w,
        w,
    ]
};

fn check_block(name: &str, compute: Compute, tolerance: f64, device: &Device) {
    Case {
        name,
        inputs: &BLOCK_INPUTS,
        formula: &block_formula,
        operation: &|inputs| {
            let (x, weights) = block_of(inputs);
            // On flex, too, a causal reach: made from segments it would be a bias.
            block(&weights, x, &Reach::Causal, compute).reshape([-1])
        },
        tolerance,
    }
    .check(device);
}

#[test]
fn a_linear_map_is_its_formula() {
    for device in devices() {
        Case {
            name: "linear",
            inputs: &[6 * WIDTH, 3 * WIDTH, 3],
            formula: &|x| linear_formula(&x[0], &x[1], Some(&x[2]), WIDTH),
            operation: &|x| {
                let weight = x[1].clone().reshape([3, WIDTH]);
                let rows = x[0].clone().reshape([2, 3, WIDTH]);
                linear(rows, weight, Some(x[2].clone()), Compute::default()).reshape([-1])
            },
            tolerance: 1e-5,
        }
        .check(&device);
    }
}

#[test]
fn a_layer_norm_is_its_formula() {
    for device in devices() {
        Case {
            name: "layer norm",
            inputs: &[6 * WIDTH, WIDTH, WIDTH],
            formula: &|x| norm_formula(&x[0], &x[1], &x[2]),
            operation: &|x| {
                let rows = x[0].clone().reshape([2, 3, WIDTH]);
                layer_norm(rows, x[1].clone(), x[2].clone()).reshape([-1])
            },
            tolerance: 1e-5,
        }
        .check(&device);
    }
}

/// Full, causal, and by segments; the second row holds two documents and padding.
fn check_attention(device: &Device, kind: FloatDType, tolerance: f64) {
    let segments = [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 0, 0];
    let [batch, heads, tokens, width] = SIZES;
    let count = batch * heads * tokens * width;
    let packed = Reach::within(&segments, batch, tokens, &device.clone().autodiff());
    type Looks<'a> = &'a dyn Fn(usize, usize, usize) -> bool;
    let cases: [(&str, &Reach, Looks<'_>); 3] = [
        ("full", &Reach::All, &|_, _, _| true),
        ("causal", &Reach::Causal, &|_, i, j| j <= i),
        ("by segments", &packed, &|b, i, j| {
            j <= i && segments[b * tokens + i] == segments[b * tokens + j]
        }),
    ];
    for (name, reach, looks) in cases {
        Case {
            name,
            inputs: &[count, count, count],
            formula: &|x| attention_formula([&x[0], &x[1], &x[2]], SIZES, looks),
            operation: &|x| {
                let part = |index: usize| x[index].clone().reshape(SIZES).cast(kind);
                let plain = reach.without_autodiff();
                let reach = if x[0].is_autodiff() { reach } else { &plain };
                let mixed = attention(part(0), part(1), part(2), reach);
                mixed.cast(FloatDType::F32).reshape([-1])
            },
            tolerance,
        }
        .check(device);
    }
}

#[test]
fn attention_is_its_formula_however_far_it_reaches() {
    for device in devices() {
        check_attention(&device, FloatDType::F32, 1e-5);
    }
}

#[cfg(feature = "tch")]
#[test]
fn attention_in_bfloat16_is_its_formula_to_its_precision() {
    for device in devices().iter().filter(|device| on_libtorch(device)) {
        check_attention(device, FloatDType::BF16, 3e-2);
    }
}

#[test]
fn cross_entropy_is_its_formula() {
    let (rows, ids, width) = (3, 5, 4);
    let targets = [1_i64, 4, 0];
    for device in devices() {
        let targets_there = indices(&targets, &device.clone().autodiff());
        Case {
            name: "cross-entropy",
            inputs: &[rows * width, ids * width],
            formula: &|x| {
                let logits = linear_formula(&x[0], &x[1], None, width);
                let loss = |(row, target): (&[f64], &i64)| {
                    row.iter().map(|logit| logit.exp()).sum::<f64>().ln() - row[*target as usize]
                };
                vec![logits.chunks(ids).zip(&targets).map(loss).sum()]
            },
            operation: &|x| {
                let (rows, weight) = (x[0].clone().reshape([rows, width]), x[1].clone());
                let weight = weight.reshape([ids, width]);
                let targets = targets_there.clone();
                let targets = if x[0].is_autodiff() {
                    targets
                } else {
                    targets.inner()
                };
                cross_entropy(rows, weight, targets, Compute::default())
            },
            tolerance: 1e-5,
        }
        .check(&device);
    }
}

/// Against log-softmax, which is one piece.
#[test]
fn cross_entropy_in_chunks_has_the_gradients_of_the_whole() {
    use burn::tensor::activation::log_softmax;

    let (rows, ids, width) = (2100, 50, 8);
    let targets: Vec<i64> = (0..rows as i64).map(|row| row * 7 % 50).collect();
    for device in devices() {
        let device = device.autodiff();
        let results = [true, false].map(|chunked| {
            let x = tensor(&numbers("x", rows * width), &device).require_grad();
            let weight = tensor(&numbers("weight", ids * width), &device).require_grad();
            let (x_there, weight_there) = (
                x.clone().reshape([rows, width]),
                weight.clone().reshape([ids, width]),
            );
            let there = indices(&targets, &device);
            let loss = if chunked {
                cross_entropy(x_there, weight_there, there, Compute::default())
            } else {
                let log = log_softmax(x_there.matmul(weight_there.transpose()), 1);
                log.gather(1, there.unsqueeze_dim::<2>(1)).sum().neg()
            };
            let gradients = loss.clone().mul_scalar(0.3).backward();
            let of = |leaf: Tensor<1>| host(leaf.grad(&gradients).expect("a gradient"));
            [host(loss), of(x), of(weight)].concat()
        });
        let [chunked, whole] = results;
        for (found, expected) in chunked.iter().zip(&whole) {
            let off = (found - expected).abs();
            assert!(
                off <= 2e-5 * expected.abs().max(1.0),
                "{found} is not {expected}"
            );
        }
    }
}

#[test]
fn a_block_is_its_formula() {
    for device in devices() {
        check_block("block", Compute::default(), 1e-5, &device);
    }
}

#[cfg(feature = "tch")]
#[test]
fn a_block_that_is_computed_again_has_the_same_gradients() {
    let compute = Compute {
        recompute: true,
        ..Compute::default()
    };
    for device in devices().iter().filter(|device| on_libtorch(device)) {
        check_block("recomputed block", compute, 1e-5, device);
    }
}

#[cfg(feature = "tch")]
#[test]
fn a_block_in_bfloat16_is_its_formula_to_its_precision() {
    let compute = Compute {
        precision: Precision::Bfloat16,
        recompute: false,
    };
    for device in devices().iter().filter(|device| on_libtorch(device)) {
        // Eight bits: 2^-8 a rounding.
        check_block("block in bfloat16", compute, 3e-2, device);
    }
}

/// As the published code's autocast keeps them.
#[cfg(feature = "tch")]
#[test]
fn in_bfloat16_the_encoders_stream_is_and_the_language_models_is_not() {
    use crate::data::Inputs;
    use crate::loss::forward;
    use crate::samples::{IMAGE, model, packed, shape, vocabulary};
    use burn::tensor::DType;

    for device in devices().iter().filter(|device| on_libtorch(device)) {
        let mut model = model(device);
        model.compute.precision = Precision::Bfloat16;
        let batch = packed(&[&[&[95, 3, IMAGE, 5, 96]]], 64, 0);
        let inputs = Inputs::of(&batch, &vocabulary(), &shape(), device).expect("valid");
        let pixels = inputs.pixels.clone().expect("an image");
        let patches = model.visual.forward(pixels, model.compute);
        assert_eq!(patches.dtype(), DType::BF16);
        let (pooled, hidden) = forward(&model, &inputs);
        assert_eq!(pooled.expect("an image").dtype(), DType::F32);
        assert_eq!(hidden.dtype(), DType::F32);
        assert_eq!(model.visual.conv1.weight.val().dtype(), DType::F32);
    }
}

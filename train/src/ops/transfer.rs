//! What goes between the host and LibTorch's devices, without either waiting for the other.
//!
//! A copy from ordinary memory to a GPU waits until everything told to the GPU before is done; one from pinned memory
//! is one more thing told to it.
#![expect(deprecated, reason = "Burn 0.22 is the last that has LibTorch")]

use burn::backend::libtorch::{LibTorchDevice, TchTensor};
use burn::backend::{DispatchDevice, LibTorch};
use burn::tensor::{Device, Int, Tensor};
use tch::Kind;

use super::native::{self, Event};

/// Where on LibTorch; none where it does not compute.
pub(crate) fn place(device: &Device) -> Option<LibTorchDevice> {
    match device.as_dispatch() {
        DispatchDevice::LibTorch(place) => Some(*place),
        DispatchDevice::Autodiff(inner) => match &**inner {
            DispatchDevice::LibTorch(place) => Some(*place),
            _ => None,
        },
        _ => None,
    }
}

/// The GPU's number.
fn gpu(device: &Device) -> Option<usize> {
    match place(device)? {
        LibTorchDevice::Cuda(index) => Some(index),
        _ => None,
    }
}

fn upload(host: tch::Tensor, place: LibTorchDevice) -> tch::Tensor {
    match place {
        LibTorchDevice::Cpu => host,
        place => {
            let (device, kind) = (place.into(), host.kind());
            native::pinned(&host).to_device_(device, kind, true, false)
        }
    }
}

fn wrapped<const D: usize, K>(tensor: Tensor<D, K>, device: &Device) -> Tensor<D, K>
where
    K: burn::tensor::kind::Autodiff,
{
    if device.is_autodiff() {
        Tensor::from_inner(tensor)
    } else {
        tensor
    }
}

pub(super) fn indices(values: &[i64], place: LibTorchDevice, device: &Device) -> Tensor<1, Int> {
    let indices = upload(tch::Tensor::from_slice(values), place);
    wrapped(
        Tensor::from_primitive::<LibTorch>(TchTensor::new(indices)),
        device,
    )
}

pub(super) fn pixels(
    bytes: &[u8],
    shape: [usize; 4],
    mean: [f32; 3],
    deviation: [f32; 3],
    place: LibTorchDevice,
    device: &Device,
) -> Tensor<4> {
    let host = tch::Tensor::from_data_size(bytes, &shape.map(|size| size as i64), Kind::Uint8);
    let channel = |values: [f32; 3]| upload(tch::Tensor::from_slice(&values), place);
    let mut pixels = upload(host, place).to_kind(Kind::Float);
    pixels /= 255.0;
    pixels -= channel(mean);
    pixels /= channel(deviation);
    let pixels = pixels.permute([0, 3, 1, 2]);
    wrapped(
        Tensor::from_primitive::<LibTorch>(TchTensor::new(pixels)),
        device,
    )
}

/// Where the segments of a batch begin in its flat rows, on a GPU.
#[derive(Clone, Debug)]
pub struct Segments {
    /// `[segments + 1]` int32, the last one the number of tokens.
    starts: TchTensor,
    /// Tokens of the longest.
    longest: i64,
}

impl Segments {
    /// `segments` `[B, T]`; none where the kernels that take them are missing.
    pub(super) fn of(segments: &[u32], context: usize, device: &Device) -> Option<Self> {
        let place = place(device)?;
        gpu(device)?;
        let starts = starts(segments, context);
        let longest = starts.windows(2).map(|pair| pair[1] - pair[0]).max();
        Some(Self {
            starts: TchTensor::new(upload(tch::Tensor::from_slice(&starts), place)),
            longest: longest.unwrap_or(0).into(),
        })
    }

    pub(super) fn bounds(&self) -> (&tch::Tensor, i64) {
        (&self.starts.tensor, self.longest)
    }
}

/// Every row begins one, and so does every change within a row.
fn starts(segments: &[u32], context: usize) -> Vec<i32> {
    let begins =
        |place: &usize| place.is_multiple_of(context) || segments[*place] != segments[place - 1];
    let starts = (0..segments.len()).filter(begins);
    starts
        .chain([segments.len()])
        .map(|place| place as i32)
        .collect()
}

/// Numbers on their way to the host, behind what makes them and before what the device is told afterwards.
#[derive(Debug)]
pub(crate) struct Late {
    values: tch::Tensor,
    arrived: Option<Event>,
}

impl Late {
    /// Sends a list.
    pub(crate) fn send(values: &tch::Tensor, device: &Device) -> Self {
        Self {
            values: values.to_device_(tch::Device::Cpu, Kind::Double, true, false),
            arrived: gpu(device).map(Event::record),
        }
    }

    /// Waits for them.
    pub(crate) fn read(self) -> Vec<f64> {
        if let Some(arrived) = &self.arrived {
            arrived.wait();
        }
        Vec::try_from(&self.values).expect("a list of float64")
    }

    /// Whether the device has nothing left to do that it was told before.
    pub(crate) fn is_there(&self) -> bool {
        self.arrived.as_ref().is_none_or(Event::is_past)
    }
}

/// A float32 on the device, without a copy.
pub(crate) fn scalar(value: f64, device: &Device) -> tch::Tensor {
    let place = place(device).expect("a device of LibTorch");
    tch::Tensor::full([0_i64; 0], value, (Kind::Float, place.into()))
}

/// The most bytes that tensors have held on a GPU since the last `reset`; none elsewhere.
pub(crate) fn peak_memory(device: &Device, reset: bool) -> Option<u64> {
    gpu(device).map(|index| native::peak_memory(index, reset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_documents_begin_segments() {
        let segments = [1, 1, 2, 2, 0, 0, 1, 1, 1, 1, 1, 1];
        assert_eq!(starts(&segments, 6), [0, 2, 4, 6, 12]);
    }
}

//! Where tensors live and are computed: a name to a device, or one sentence about what is missing.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A device by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// `flex`: pure Rust on the processor; needs nothing installed.
    #[default]
    Flex,
    /// `libtorch-cpu`: LibTorch on the processor.
    LibtorchCpu,
    /// `cuda:0`: LibTorch on an NVIDIA GPU.
    Cuda(usize),
    /// `burn-cuda:0`: Burn's own kernels on an NVIDIA GPU.
    BurnCuda(usize),
}

/// A device that cannot be used here.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    #[error("{0:?} is no device: flex, libtorch-cpu, cuda:0, cuda:1, … or burn-cuda:0")]
    Unknown(String),
    #[error(
        "{device} is not in this program: build it with `cargo build --release -p lcl-train --features {feature}`"
    )]
    NotBuilt {
        device: DeviceName,
        feature: &'static str,
    },
    #[error(
        "{device}: the LibTorch that was found has no CUDA: install the wheel for CUDA (`pip install torch==2.11.0`) and build again"
    )]
    WithoutCuda { device: DeviceName },
    #[error(
        "{device}: LibTorch sees no GPU: is there an NVIDIA driver (nvidia-smi), and does CUDA_VISIBLE_DEVICES leave one?"
    )]
    NoGpu { device: DeviceName },
    #[error("{device}: LibTorch sees {count} GPU(s), cuda:0 to cuda:{}", count - 1)]
    NoSuchGpu { device: DeviceName, count: usize },
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(name.to_owned());
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| unknown())?)),
            None => (name, None),
        };
        match (kind, index) {
            ("flex", None) => Ok(Self::Flex),
            ("libtorch-cpu", None) => Ok(Self::LibtorchCpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("burn-cuda", index) => Ok(Self::BurnCuda(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = DeviceError;

    fn try_from(name: String) -> Result<Self, DeviceError> {
        name.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::LibtorchCpu => f.write_str("libtorch-cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::BurnCuda(index) => write!(f, "burn-cuda:{index}"),
        }
    }
}

impl DeviceName {
    /// Whether LibTorch computes there.
    pub fn is_libtorch(self) -> bool {
        matches!(self, Self::LibtorchCpu | Self::Cuda(_))
    }

    /// The device, without autodiff.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            Self::LibtorchCpu | Self::Cuda(_) => libtorch(self),
            Self::BurnCuda(index) => burn_cuda(self, index),
        }
    }
}

#[cfg(feature = "tch")]
#[expect(deprecated, reason = "Burn 0.22 is the last that has LibTorch")]
fn libtorch(name: DeviceName) -> Result<Device, DeviceError> {
    use burn::backend::libtorch::LibTorchDevice;

    let DeviceName::Cuda(index) = name else {
        return Ok(Device::new(LibTorchDevice::Cpu));
    };
    if !tch::utils::has_cuda() {
        // The library is linked whether or not there is a driver; what is missing tells which it is.
        let linked = option_env!("LCL_LIBTORCH_CUDA").is_some();
        return Err(match linked {
            true => DeviceError::NoGpu { device: name },
            false => DeviceError::WithoutCuda { device: name },
        });
    }
    match tch::Cuda::device_count() as usize {
        0 => Err(DeviceError::NoGpu { device: name }),
        count if index >= count => Err(DeviceError::NoSuchGpu {
            device: name,
            count,
        }),
        _ => Ok(Device::new(LibTorchDevice::Cuda(index))),
    }
}

#[cfg(not(feature = "tch"))]
fn libtorch(device: DeviceName) -> Result<Device, DeviceError> {
    let feature = "tch";
    Err(DeviceError::NotBuilt { device, feature })
}

#[cfg(feature = "cuda")]
fn burn_cuda(_: DeviceName, index: usize) -> Result<Device, DeviceError> {
    Ok(Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn burn_cuda(device: DeviceName, _: usize) -> Result<Device, DeviceError> {
    let feature = "cuda";
    Err(DeviceError::NotBuilt { device, feature })
}

/// Devices of this program and machine with what they are, or why they are not usable.
pub fn list() -> Vec<(DeviceName, Result<&'static str, DeviceError>)> {
    let said = |name: DeviceName, what| (name, name.open().map(|_| what));
    let mut all = vec![
        said(DeviceName::Flex, "pure Rust on the processor"),
        said(DeviceName::LibtorchCpu, "LibTorch on the processor"),
    ];
    all.extend(
        (0..gpus().max(1)).map(|index| said(DeviceName::Cuda(index), "LibTorch on an NVIDIA GPU")),
    );
    let own = "Burn's own kernels on an NVIDIA GPU, if there is one";
    all.push(said(DeviceName::BurnCuda(0), own));
    all
}

#[cfg(feature = "tch")]
fn gpus() -> usize {
    tch::Cuda::device_count() as usize
}

#[cfg(not(feature = "tch"))]
fn gpus() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for name in ["flex", "libtorch-cpu", "cuda:1", "burn-cuda:0"] {
            let read: DeviceName = name.parse().expect(name);
            assert_eq!(read.to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceName::Cuda(0)));
        for name in ["", "cpu", "cuda:", "cuda:x", "flex:0"] {
            assert_eq!(
                name.parse::<DeviceName>(),
                Err(DeviceError::Unknown(name.to_owned()))
            );
        }
    }

    #[cfg(not(feature = "tch"))]
    #[test]
    fn a_device_that_is_not_in_the_program_says_how_to_get_it() {
        let refused = DeviceName::Cuda(0)
            .open()
            .expect_err("not built")
            .to_string();
        assert!(refused.contains("--features tch"), "{refused}");
    }
}

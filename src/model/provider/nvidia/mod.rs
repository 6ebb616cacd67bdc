// SPDX-License-Identifier: MPL-2.0
//! What the providers for NVIDIA's GPUs share.

#[allow(unsafe_code)]
mod driver;
mod fault;

use std::error::Error;

use ort::{
    ep::{self, ExecutionProviderDispatch},
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::Session,
};

use super::{Device, Facts, Memory, Precision, Setup};

pub use self::{driver::tensorrt_version, fault::explain};

/// What holds for all of them.
pub const FACTS: Facts = Facts {
    library: None,
    // The fastest first.
    precisions: [Precision::Fp16, Precision::Fp32, Precision::Int8],
    makes_half_floats: false,
    batch_size: 8,
    replays: true,
    builds_engines: false,
};

/// The GPU of that number.
///
/// # Errors
/// What is missing and what to do, as a part of a sentence.
pub fn device(number: u32) -> Result<Device, Box<dyn Error>> {
    let gpu = driver::gpu(number)?;
    let (major, minor) = gpu.capability;
    Ok(Device {
        kind: format!("{} {major}.{minor}", gpu.name),
        versions: format!("driver {}", gpu.driver),
        name: gpu.name,
    })
}

/// The provider of CUDA.
pub fn cuda(setup: &Setup, replay: bool) -> ExecutionProviderDispatch {
    ep::CUDA::default()
        .with_device_id(setup.device_id())
        .with_tf32(false)
        .with_cuda_graph(replay)
        .build()
        .error_on_failure()
}

/// Page-locked memory of the host, which the GPU copies from and to by itself; the ordinary one where ONNX Runtime has
/// none. For replays also memory of the GPU.
///
/// # Errors
/// When the GPU's memory is unavailable.
pub fn memory(session: &Session, setup: &Setup) -> ort::Result<Memory> {
    let memory = |place: AllocationDevice, kind| {
        let info = MemoryInfo::new(place, setup.device_id(), AllocatorType::Device, kind)?;
        Allocator::new(session, info)
    };
    let host = memory(AllocationDevice::CUDA_PINNED, MemoryType::CPUOutput);
    Ok(Memory {
        host: host.unwrap_or_default(),
        device: setup
            .replay
            .then(|| memory(AllocationDevice::CUDA, MemoryType::Default))
            .transpose()?,
    })
}

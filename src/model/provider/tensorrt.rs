// SPDX-License-Identifier: MPL-2.0
//! NVIDIA TensorRT; CUDA runs what it does not take.

use ort::{
    ep,
    session::{Session, builder::SessionBuilder},
};

use super::{Backend, Device, Library, Memory, Setup, nvidia};
use crate::model::precision::Precision;

pub struct TensorRt;

impl Backend for TensorRt {
    fn library(&self) -> Option<Library> {
        Some(Library {
            file: "libonnxruntime_providers_tensorrt.so",
            package: "the PyPI package onnxruntime-gpu",
        })
    }

    fn precisions(&self) -> [Precision; 3] {
        nvidia::PRECISIONS
    }

    fn makes_half_floats(&self) -> bool {
        true
    }

    fn batch_size(&self) -> usize {
        nvidia::BATCH_SIZE
    }

    fn replays(&self) -> bool {
        true
    }

    fn device(&self, number: u32) -> Result<Device, String> {
        nvidia::device(number)
    }

    fn register(&self, builder: SessionBuilder, setup: &Setup) -> ort::Result<SessionBuilder> {
        let mut tensorrt = ep::TensorRT::default()
            .with_device_id(setup.device_id())
            .with_fp16(setup.precision == Precision::Fp16)
            .with_int8(setup.precision == Precision::Int8)
            .with_cuda_graph(setup.replay);
        if let Some([least, usual, most]) = &setup.shapes {
            tensorrt = tensorrt
                .with_profile_min_shapes(least)
                .with_profile_opt_shapes(usual)
                .with_profile_max_shapes(most);
        }
        if let Some(folder) = &setup.engines {
            tensorrt = tensorrt
                .with_engine_cache(true)
                .with_engine_cache_path(folder)
                .with_timing_cache(true)
                .with_timing_cache_path(folder);
        }
        let tensorrt = tensorrt.build().error_on_failure();
        Ok(builder.with_execution_providers([tensorrt, nvidia::cuda(setup, false)])?)
    }

    fn memory(&self, session: &Session, setup: &Setup) -> ort::Result<Memory> {
        nvidia::memory(session, setup)
    }

    fn engines(&self) -> Option<String> {
        Some(nvidia::tensorrt_version())
    }

    fn explain(&self, message: &str) -> String {
        nvidia::explain(message)
    }
}

// SPDX-License-Identifier: MPL-2.0
//! NVIDIA TensorRT; CUDA runs what it does not take.

use std::error::Error;

use ort::{
    ep,
    session::{Session, builder::SessionBuilder},
};

use super::{Backend, Device, Facts, Library, Memory, Precision, Setup, nvidia};

pub struct TensorRt;

impl Backend for TensorRt {
    fn facts(&self) -> Facts {
        Facts {
            library: Some(Library {
                name: "onnxruntime_providers_tensorrt",
                package: "the PyPI package onnxruntime-gpu",
            }),
            makes_half_floats: true,
            builds_engines: true,
            ..nvidia::FACTS
        }
    }

    fn device(&self, number: u32) -> Result<Device, Box<dyn Error>> {
        let device = nvidia::device(number)?;
        let versions = format!("{}; {}", nvidia::tensorrt_version(), device.versions);
        Ok(Device { versions, ..device })
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

    fn explain(&self, message: &str) -> String {
        nvidia::explain(message)
    }
}

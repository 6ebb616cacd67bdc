// SPDX-License-Identifier: MPL-2.0
//! NVIDIA CUDA.

use std::error::Error;

use ort::session::{Session, builder::SessionBuilder};

use super::{Backend, Device, Facts, Library, Memory, Setup, nvidia};

pub struct Cuda;

impl Backend for Cuda {
    fn facts(&self) -> Facts {
        Facts {
            library: Some(Library {
                name: "onnxruntime_providers_cuda",
                package: "the PyPI package onnxruntime-gpu",
            }),
            ..nvidia::FACTS
        }
    }

    fn device(&self, number: u32) -> Result<Device, Box<dyn Error>> {
        nvidia::device(number)
    }

    fn register(&self, builder: SessionBuilder, setup: &Setup) -> ort::Result<SessionBuilder> {
        Ok(builder.with_execution_providers([nvidia::cuda(setup, setup.replay)])?)
    }

    fn memory(&self, session: &Session, setup: &Setup) -> ort::Result<Memory> {
        nvidia::memory(session, setup)
    }

    fn explain(&self, message: &str) -> String {
        nvidia::explain(message)
    }
}

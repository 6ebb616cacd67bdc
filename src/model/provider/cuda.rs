// SPDX-License-Identifier: MPL-2.0
//! NVIDIA CUDA.

use ort::session::{Session, builder::SessionBuilder};

use super::{Backend, Device, Library, Memory, Setup, nvidia};
use crate::model::precision::Precision;

pub struct Cuda;

impl Backend for Cuda {
    fn library(&self) -> Option<Library> {
        Some(Library {
            file: "libonnxruntime_providers_cuda.so",
            package: "the PyPI package onnxruntime-gpu",
        })
    }

    fn precisions(&self) -> [Precision; 3] {
        nvidia::PRECISIONS
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
        Ok(builder.with_execution_providers([nvidia::cuda(setup, setup.replay)])?)
    }

    fn memory(&self, session: &Session, setup: &Setup) -> ort::Result<Memory> {
        nvidia::memory(session, setup)
    }

    fn explain(&self, message: &str) -> String {
        nvidia::explain(message)
    }
}

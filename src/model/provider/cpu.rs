// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime's own CPU kernels.

use ort::session::{Session, builder::SessionBuilder};

use super::{Backend, Device, Memory, Setup, one_line};
use crate::model::precision::Precision;

pub struct Cpu;

/// What ONNX Runtime says when memory cannot be allocated: its arena, and C++.
const NO_MEMORY: [&str; 2] = [
    "Failed to allocate memory for requested buffer of size",
    "bad_alloc",
];

impl Backend for Cpu {
    fn precisions(&self) -> [Precision; 3] {
        [Precision::Int8, Precision::Fp32, Precision::Fp16]
    }

    fn batch_size(&self) -> usize {
        // Batches save no time here and cost memory.
        1
    }

    fn device(&self, _number: u32) -> Result<Device, String> {
        Ok(Device {
            name: "CPU".into(),
            kind: String::new(),
            driver: String::new(),
        })
    }

    fn register(&self, builder: SessionBuilder, _setup: &Setup) -> ort::Result<SessionBuilder> {
        Ok(builder)
    }

    fn memory(&self, _session: &Session, _setup: &Setup) -> ort::Result<Memory> {
        Ok(Memory::host())
    }

    fn explain(&self, message: &str) -> String {
        let message = one_line(message);
        if NO_MEMORY.iter().any(|phrase| message.contains(phrase)) {
            return format!(
                "the machine has no memory left; lower `batch-size`, end other programs, or choose a smaller model ({message})"
            );
        }
        message
    }
}

// SPDX-License-Identifier: MPL-2.0
//! ONNX Runtime's own CPU kernels.

use ort::session::builder::SessionBuilder;

use super::{Backend, Facts, Precision, Setup, one_line};

pub struct Cpu;

/// What ONNX Runtime says when memory cannot be allocated: its arena, and C++.
const NO_MEMORY: [&str; 2] = [
    "Failed to allocate memory for requested buffer of size",
    "bad_alloc",
];

impl Backend for Cpu {
    fn facts(&self) -> Facts {
        Facts {
            library: None,
            precisions: [Precision::Int8, Precision::Fp32, Precision::Fp16],
            makes_half_floats: false,
            // Batches save no time here and cost memory.
            batch_size: 1,
            replays: false,
            builds_engines: false,
        }
    }

    fn register(&self, builder: SessionBuilder, _setup: &Setup) -> ort::Result<SessionBuilder> {
        Ok(builder)
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

// SPDX-License-Identifier: MPL-2.0
//! Where the memory of a session's inputs and outputs is.

use ort::memory::Allocator;

/// Where the memory of a session's inputs and outputs is.
#[derive(Debug)]
pub struct Memory {
    /// What this program writes to and reads from.
    pub host: Allocator,
    /// What the session reads from and writes to, where that must stay at one address; otherwise ONNX Runtime copies
    /// to and from memory of its own.
    pub device: Option<Allocator>,
}

impl Memory {
    /// The CPU's.
    pub fn host() -> Self {
        Self {
            host: Allocator::default(),
            device: None,
        }
    }

    /// Whether the session's memory stays at one address.
    pub fn is_fixed(&self) -> bool {
        self.device.is_some()
    }
}

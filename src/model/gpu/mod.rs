// SPDX-License-Identifier: MPL-2.0
//! What only GPUs need: who the device is, what its errors mean, which nodes it left to the processor, and the
//! engines that TensorRT builds for it.

pub mod driver;
pub mod engines;
pub mod fault;
pub mod placement;
pub mod sessions;

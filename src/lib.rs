// SPDX-License-Identifier: MPL-2.0

pub mod fusion;
pub mod mel;
pub mod model;

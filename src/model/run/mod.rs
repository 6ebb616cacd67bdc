// SPDX-License-Identifier: MPL-2.0
//! Running a model: requests wait in the `queue`, the `worker` takes them as batches through the sessions' `binding`.

pub mod arrange;
pub mod batch;
pub mod binding;
pub mod layout;
pub mod queue;
mod timer;
pub mod worker;

// SPDX-License-Identifier: MPL-2.0
//! Which of a graph's nodes a provider left to the CPU.
#![cfg_attr(not(feature = "gpu"), allow(dead_code, unused_imports))]

use std::{collections::BTreeMap, ffi::CStr, ptr, slice};

use ort::{AsPointer, session::Session, sys};

/// The session's option without which ONNX Runtime does not remember where nodes went
/// (onnxruntime_session_options_config_keys.h).
pub const RECORD: &str = "session.record_ep_graph_assignment_info";

/// ONNX Runtime's name of the CPU as a provider.
const CPU: &str = "CPUExecutionProvider";

/// How many nodes run where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Nodes on the CPU, by operator.
    pub cpu: BTreeMap<String, usize>,
    /// Nodes elsewhere, all providers together.
    pub accelerator: usize,
}

impl Placement {
    /// Where the nodes of `session` went, which must have been made with [`RECORD`] set to 1.
    ///
    /// # Errors
    /// ONNX Runtime's.
    #[cfg(feature = "gpu")]
    pub fn of(session: &Session) -> ort::Result<Self> {
        let api = ort::api();
        let mut placement = Self::default();
        // SAFETY: the functions are those of ONNX Runtime 1.24 and newer, which `ort` checked for the feature `gpu`; what they point to
        // lives as long as the session, and lengths come with the pointers.
        unsafe {
            let (mut subgraphs, mut count) = (ptr::null(), 0);
            checked((api.Session_GetEpGraphAssignmentInfo)(
                session.ptr(),
                &mut subgraphs,
                &mut count,
            ))?;
            for &subgraph in parts(subgraphs, count) {
                let mut provider = ptr::null();
                checked((api.EpAssignedSubgraph_GetEpName)(subgraph, &mut provider))?;
                let (mut nodes, mut count) = (ptr::null(), 0);
                checked((api.EpAssignedSubgraph_GetNodes)(
                    subgraph, &mut nodes, &mut count,
                ))?;
                if text(provider) != CPU {
                    placement.accelerator += count;
                    continue;
                }
                for &node in parts(nodes, count) {
                    let mut operator = ptr::null();
                    checked((api.EpAssignedNode_GetOperatorType)(node, &mut operator))?;
                    *placement.cpu.entry(text(operator)).or_default() += 1;
                }
            }
        }
        Ok(placement)
    }

    /// ONNX Runtime tells from 1.24 on.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "gpu"))]
    pub fn of(_session: &Session) -> ort::Result<Self> {
        Err(ort::Error::new(
            "its nodes cannot be counted without the feature `gpu`",
        ))
    }

    /// How many nodes run on the CPU.
    pub fn cpu_nodes(&self) -> usize {
        self.cpu.values().sum()
    }
}

/// # Safety
/// `status` must be what a function of ONNX Runtime has just returned.
unsafe fn checked(status: sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: promised by the caller.
    unsafe { ort::Error::result_from_status(status) }
}

/// # Safety
/// `first` must point to `count` values that outlive `'a`, or `count` be 0.
unsafe fn parts<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(first, count) }
}

/// # Safety
/// `text` must be null or a string of C.
unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;
    use crate::model::runtime;

    #[test]
    fn the_cpu_s_nodes_are_counted_by_operator() {
        let runtime = runtime::of_this_tree();
        let session = Session::builder(&runtime.environment)
            .and_then(|builder| Ok(builder.with_config_entry(RECORD, "1")?))
            .and_then(|mut builder| {
                let model = "tests/data/models/audio.onnx";
                builder.commit_from_file(format!("{}/{model}", env!("CARGO_MANIFEST_DIR")))
            });
        let placement = Placement::of(&session.unwrap()).unwrap();
        let operators = [("Add", 1), ("Identity", 1), ("ReduceMean", 1), ("Slice", 1)];
        let cpu = operators
            .map(|(name, count)| (name.to_owned(), count))
            .into();
        let expected = Placement {
            cpu,
            accelerator: 0,
        };
        assert_eq!(placement, expected);
        assert_eq!(placement.cpu_nodes(), 4);
    }
}

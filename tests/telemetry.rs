// SPDX-License-Identifier: MPL-2.0

//! No process with the plugin asks for the network or writes outside of its folders, and in particular not ONNX Runtime.

mod common;
#[path = "common/trace.rs"]
mod trace;

use std::fs;

use common::place::Place;
use trace::{Trace, trace};

/// ONNX Runtime waits some nine seconds before it looks for its collector.
const LINE: &str = "videotestsrc is-live=true num-buffers=130 ! video/x-raw,framerate=10/1 ! frameclassify model=video
    ! fakesink";

/// Runs the line with `ORT_DISABLE_TELEMETRY` as it is given.
fn run(name: &str, line: &str, variable: Option<&str>) -> (Place, Trace) {
    let place = Place::new(name);
    let trace = trace(&place.folder, "gst-launch-1.0", |command| {
        command.args(line.split_whitespace()).envs(
            place
                .command("")
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        if let Some(value) = variable {
            command.env("ORT_DISABLE_TELEMETRY", value);
        }
    });
    assert!(trace.output.status.success(), "{trace:?}");
    (place, trace)
}

#[test]
fn a_pipeline_asks_for_no_network_and_writes_only_its_registry() {
    let (_, trace) = run("quiet", LINE, None);
    let none: [&str; 0] = [];
    assert_eq!(trace.sockets(), none);
    assert_eq!(trace.writes(), none);
    // A file of a fixed name in /tmp, which anybody may have put there.
    assert_eq!(trace.calls_with(|call| call.contains("/.ses\"")), none);
}

/// A choice of the user's is respected; and what the test above looks for can be seen.
#[test]
fn telemetry_can_be_asked_for() {
    let library = fs::read(Place::new("runtime").runtime).unwrap();
    let variable = b"ORT_DISABLE_TELEMETRY";
    if !library
        .windows(variable.len())
        .any(|window| window == variable)
    {
        return; // An ONNX Runtime without telemetry.
    }
    let (_, trace) = run("wanted", LINE, Some("0"));
    assert!(!trace.sockets().is_empty());
    let writes = trace.writes().concat();
    assert!(writes.contains("/cache/Microsoft/"), "{writes}");
    let temporary = trace.calls_with(|call| call.contains("/.ses\""));
    assert!(!temporary.is_empty());
}

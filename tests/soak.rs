// SPDX-License-Identifier: MPL-2.0

//! A few seconds of what `scripts/soak` does for minutes.

mod common;

use std::path::Path;
use std::process::Command;

/// What the soak prints with these arguments.
fn soak(args: &[&str]) -> String {
    let test = std::env::current_exe().unwrap();
    let debug = test.parent().and_then(Path::parent).unwrap();
    let output = Command::new(common::root().join("scripts/env"))
        .arg(debug.join("examples/soak"))
        .args(args)
        // So few stream hours say nothing of memory.
        .args(["--most-kib-per-hour", "1e9"])
        .env(
            "GST_INSTRUMENTS_MODEL_PATH",
            common::root().join("tests/data/models"),
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

#[test]
fn nothing_piles_up() {
    let text = soak(&["0.2"]);
    for part in [
        "descriptors",
        "rounds of seeks",
        "KiB of resident memory per stream hour",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn nothing_piles_up_in_live_streams() {
    let text = soak(&["0.2", "--live", "1"]);
    for part in ["3 live streams", "KiB of resident memory per stream hour"] {
        assert!(text.contains(part), "{text}");
    }
}

// SPDX-License-Identifier: MPL-2.0

//! A few seconds of what `scripts/soak` does for minutes.

mod common;

use std::path::Path;
use std::process::Command;

#[test]
fn nothing_piles_up() {
    let test = std::env::current_exe().unwrap();
    let debug = test.parent().and_then(Path::parent).unwrap();
    let output = Command::new(common::root().join("scripts/env"))
        .arg(debug.join("examples/soak"))
        // So few stream hours say nothing of memory.
        .args(["0.2", "--most-kib-per-hour", "1e9"])
        .env(
            "GST_INSTRUMENTS_MODEL_PATH",
            common::root().join("tests/data/models"),
        )
        .output()
        .unwrap();
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{text}\n{errors}");
    for part in [
        "descriptors",
        "rounds of seeks",
        "KiB of resident memory per stream hour",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

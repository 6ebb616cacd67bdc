// SPDX-License-Identifier: MPL-2.0

//! What fuzzers feed: functions over bytes, one for each reader of outside data and each state machine.
//!
//! A function panics when a promise is broken; every input must pass. `fuzz_targets/` runs them under cargo-fuzz,
//! and `tests/fuzz.rs` of the plugin includes this file to run them over the corpus on stable Rust.

mod card;
mod collector;
mod front_end;
mod labels;
mod onnx;
mod patcher;
mod picture;

use std::fs;
use std::path::{Path, PathBuf};

pub use card::card;
pub use collector::collector;
pub use front_end::front_end;
pub use labels::labels;
pub use onnx::onnx;
pub use patcher::patcher;
pub use picture::picture;

/// A file that exists as long as this does.
struct Scratch(PathBuf);

impl Scratch {
    /// A file of `bytes`; the process must not have two of one `name` at a time.
    fn new(name: &str, bytes: &[u8]) -> Self {
        let file = format!("instruments-fuzz-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        fs::write(&path, bytes).expect("the temporary folder can be written");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Asserts that an error is a sentence that names `path`.
fn assert_names(error: &gstinstruments::model::Error, path: &Path) {
    let text = error.to_string();
    let path = path.display().to_string();
    assert!(text.contains(&path), "{text} does not name {path}");
}

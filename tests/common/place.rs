// SPDX-License-Identifier: MPL-2.0

//! GStreamer's tools in an environment of the test's own.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::{folder, init, root};

/// Exit code of `timeout` when it had to end what it ran.
const TIMED_OUT: i32 = 124;

/// A place to run GStreamer's tools in, with this plugin and the few others that the tests need.
pub struct Place {
    pub folder: PathBuf,
    pub runtime: PathBuf,
    pub models: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Self {
        init();
        let folder = folder(name);
        // Cargo puts the plugin beside the tests.
        let tests = std::env::current_exe().unwrap();
        let plugin = tests.parent().unwrap().join("libgstinstruments.so");
        symlink(plugin, folder.join("libgstinstruments.so")).unwrap();
        let registry = gst::Registry::get();
        for name in ["coreelements", "videotestsrc"] {
            let file = registry.find_plugin(name).unwrap().filename().unwrap();
            symlink(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
        let runtime = PathBuf::from(std::env::var_os("ORT_DYLIB_PATH").unwrap());
        let models = root().join("tests/data/models");
        Self {
            folder,
            runtime,
            models,
        }
    }

    /// `tool` in this place, for at most 20 seconds.
    pub fn command(&self, tool: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["20", tool])
            .env("GST_PLUGIN_SYSTEM_PATH_1_0", &self.folder)
            .env_remove("GST_PLUGIN_PATH")
            .env_remove("GST_PLUGIN_PATH_1_0")
            .env("GST_REGISTRY_1_0", self.folder.join("registry.bin"))
            .env("GST_INSTRUMENTS_MODEL_PATH", &self.models)
            .env("ORT_DYLIB_PATH", &self.runtime)
            .env("LD_LIBRARY_PATH", &self.folder);
        command
    }

    /// Runs `tool` for at most 20 seconds: how it ended, and all that it printed.
    pub fn run(&self, tool: &str, arguments: &str) -> (Output, String) {
        let mut command = self.command(tool);
        output(command.args(arguments.split_whitespace()))
    }

    #[track_caller]
    pub fn assert_inspects(&self) {
        let (output, text) = self.run("gst-inspect-1.0", "instruments");
        assert!(output.status.success(), "{text}");
        for element in ["melspec:", "frameclassify:", "avfuse:"] {
            assert!(text.contains(element), "{text}");
        }
        let (output, text) = self.run("gst-inspect-1.0", "frameclassify");
        assert!(
            output.status.success() && text.contains("execution-provider"),
            "{text}"
        );
    }

    /// A pipeline with the default picture model fails at once and says `parts`.
    #[track_caller]
    pub fn assert_fails(&self, parts: &[&str]) {
        self.assert_fails_with("", parts);
    }

    /// [`assert_fails`](Self::assert_fails) with properties of frameclassify.
    #[track_caller]
    pub fn assert_fails_with(&self, properties: &str, parts: &[&str]) {
        let line = &format!("videotestsrc num-buffers=3 ! frameclassify {properties} ! fakesink");
        // In one of some thirty runs gst-launch-1.0 of GStreamer 1.22 does not end after an error while it
        // prerolls, also with `videotestsrc ! identity error-after=1 ! fakesink`: then it is run again.
        let (output, text) = (0..4)
            .map(|_| self.run("gst-launch-1.0", line))
            .find(|(output, _)| output.status.code() != Some(TIMED_OUT))
            .expect("gst-launch-1.0 ends in one of four runs");
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("ERROR: from element"), "{text}");
        for part in parts {
            assert!(text.contains(part), "{text}\ndoes not say {part}");
        }
    }
}

/// Runs `command`: how it ended, and all that it printed.
pub fn output(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

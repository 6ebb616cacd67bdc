// SPDX-License-Identifier: MPL-2.0

//! Musical-instrument tagging for GStreamer: the elements `melspec`, `frameclassify`, `avfuse`, `instrumenttagger` and
//! `tagtext`, and what they are made of.

#![deny(unsafe_code)]

pub mod elements;
pub mod fusion;
pub mod grid;
pub mod key_frames;
pub mod mel;
pub mod meta;
pub mod model;
pub mod text;

use std::sync::LazyLock;

use gst::glib;

static ONNX_RUNTIME: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "onnxruntime",
        gst::DebugColorFlags::empty(),
        Some("ONNX Runtime's own log"),
    )
});

/// Forwards a message of ONNX Runtime to the GStreamer log.
fn log(level: model::LogLevel, message: &str) {
    let level = match level {
        model::LogLevel::Fatal | model::LogLevel::Error => gst::DebugLevel::Error,
        model::LogLevel::Warning => gst::DebugLevel::Warning,
        model::LogLevel::Info => gst::DebugLevel::Info,
        model::LogLevel::Verbose => gst::DebugLevel::Debug,
    };
    gst::log_with_level!(ONNX_RUNTIME, level, "{message}");
}

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    meta::register();
    model::set_log(log, model::LogLevel::Warning);
    if let Some(directory) = plugin.filename().as_deref().and_then(|file| file.parent()) {
        model::set_plugin_dir(directory);
    }
    elements::melspec::register(plugin)?;
    elements::frameclassify::register(plugin)?;
    elements::avfuse::register(plugin)?;
    elements::tagtext::register(plugin)?;
    elements::instrumenttagger::register(plugin)
}

gst::plugin_define!(
    instruments,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);

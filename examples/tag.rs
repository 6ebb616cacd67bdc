// SPDX-License-Identifier: MPL-2.0

//! Prints which instruments are heard and seen in a file, each as soon as it is found: the elements in a Rust program.
//!
//! ```sh
//! cargo run --example tag -- examples/media/band.mp4
//! ```
//!
//! The command `instruments` does the same for many files and in many formats.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use gstinstruments::meta::Tags;

fn main() -> Result<()> {
    let file = std::env::args_os().nth(1).context("usage: tag FILE")?;
    setup()?;
    let pipeline = gst::parse::launch(
        "uridecodebin name=d
         d. ! queue ! frameclassify ! fuse.video
         d. ! queue ! melspec ! frameclassify ! fuse.audio
         avfuse name=fuse ! fakesink sync=false",
    )?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .ok()
        .context("not a pipeline")?;
    let uri = gst::glib::filename_to_uri(std::path::absolute(file)?, None)?;
    let decoder = pipeline.by_name("d").context("no decoder")?;
    decoder.set_property("uri", uri);

    let bus = pipeline.bus().context("no bus")?;
    pipeline.set_state(gst::State::Playing)?;
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Element(_) => {
                if let Some((tags, clip)) = Tags::from_message(&message) {
                    print(&tags, clip);
                }
            }
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => bail!("{}", error.error()),
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

fn print(tags: &Tags, clip: bool) {
    let start = tags.start.unwrap_or_default();
    let end = start + tags.duration.unwrap_or_default();
    let scores = tags.scores.iter();
    let scores: Vec<_> = scores
        .map(|(label, score)| format!("{label} {score:.2}"))
        .collect();
    println!(
        "{:>6.1} – {:>6.1} s  {}{}  {}",
        start.seconds_f64(),
        end.seconds_f64(),
        tags.source.name(),
        if clip { ", all of it" } else { "" },
        scores.join(", ")
    );
}

/// Starts GStreamer with the elements of this source tree, and unless the environment names others, with its models
/// and the ONNX Runtime that `scripts/setup` fetched.
fn setup() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (variable, path) in [
        ("GST_INSTRUMENTS_MODEL_PATH", root.join("models")),
        ("ORT_DYLIB_PATH", root.join(".runtime/libonnxruntime.so")),
    ] {
        if std::env::var_os(variable).is_none() && path.exists() {
            // SAFETY: no other thread is running yet.
            unsafe { std::env::set_var(variable, path) };
        }
    }
    gst::init().context("GStreamer cannot be started")?;
    gstinstruments::plugin_register_static().context("the elements cannot be registered")
}

// SPDX-License-Identifier: MPL-2.0

//! Tags the musical instruments in audio and video files: which are heard, which are seen, and when.
//!
//! ```sh
//! cargo run --release --example tag -- examples/media/band.mp4
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use gst::{glib, prelude::*};
use indicatif::{ProgressBar, ProgressStyle};

use printer::{Found, Printer, clock};

#[path = "tag/printer.rs"]
mod printer;

/// Tags the musical instruments in audio and video files: which are heard, which are seen, and when
#[derive(Parser)]
struct Args {
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// What the models run on
    #[arg(long, default_value = "auto", value_parser = ["auto", "cpu", "cuda", "tensorrt", "tensorrt-rtx"])]
    provider: String,
    /// What the models compute in
    #[arg(long, default_value = "auto", value_parser = ["auto", "fp32", "fp16", "int8"])]
    precision: String,
    /// Sound model, in place of the default
    #[arg(long, value_name = "NAME|PATH")]
    audio_model: Option<String>,
    /// Picture model, in place of the default
    #[arg(long, value_name = "NAME|PATH")]
    video_model: Option<String>,
    /// Fusion model, in place of the default; none: audio and video results alone
    #[arg(long, value_name = "NAME|PATH|none")]
    fusion_model: Option<String>,
    /// Leave out what is heard or what is seen
    #[arg(long, value_parser = ["audio", "video"])]
    without: Option<String>,
    /// Seconds of audio and video behind each result
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    window: u64,
    /// Seconds between results
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    stride: u64,
    /// Seconds between the pictures that are looked at
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: u64,
    /// Which sound is listened to: windows, or one or ten of the model's own length in the whole file
    #[arg(long, default_value = "sliding", value_parser = ["sliding", "central", "uniform", "ten"])]
    segmentation: String,
    /// What fills up sound that is too short for the model
    #[arg(long, default_value = "repeat", value_parser = ["repeat", "zero", "drop"])]
    partial: String,
    /// Pictures, spread evenly over the whole file, behind the result for all of it [default: all, and 20 where fused]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
    /// What to tag
    #[arg(value_name = "FILE|URI", required = true)]
    inputs: Vec<String>,
}

/// Positive decimal seconds as nanoseconds, the elements' unit of time.
fn seconds(text: &str) -> Result<u64> {
    let seconds: f64 = text.parse()?;
    if !(0.001..=86_400.0).contains(&seconds) {
        bail!("give a time from 0.001 to 86400 seconds");
    }
    Ok((seconds * 1e9) as u64)
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = setup() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let mut code = ExitCode::SUCCESS;
    for input in &args.inputs {
        if let Err(error) = tag(&args, input) {
            eprintln!("error: {input}: {error:#}");
            code = ExitCode::FAILURE;
        }
    }
    code
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

/// Tags one file or URI and prints the results as they come.
fn tag(args: &Args, input: &str) -> Result<()> {
    let uri = uri(input)?;
    let pipeline = pipeline(args, &uri)?;
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{bar:40} {percent:>3} % of {msg}, {eta} left",
    )?);
    let mut printer = Printer::new(args.json, input, &uri);
    let started = Instant::now();
    let result = run(&pipeline, &bar, |found| {
        bar.suspend(|| printer.result(found))
    });
    let duration = pipeline
        .query_position::<gst::ClockTime>()
        .unwrap_or_default();
    bar.finish_and_clear();
    pipeline.set_state(gst::State::Null)?;
    result?;
    printer.finish(duration.seconds_f64(), started.elapsed().as_secs_f64())
}

/// The URI of a file's path, or the input itself where it is a URI.
fn uri(input: &str) -> Result<String> {
    if input.contains("://") {
        return Ok(input.into());
    }
    let path = std::path::absolute(input)?;
    let metadata = path.metadata().context("cannot be opened")?;
    if metadata.is_dir() {
        bail!("is a directory: give the files in it");
    }
    Ok(glib::filename_to_uri(path, None)?.into())
}

impl Args {
    /// The elements behind the decoder's streams, by what these begin with.
    fn branches(&self) -> Result<Vec<(&'static str, String)>> {
        let segmentation = match self.segmentation.as_str() {
            "sliding" => format!(
                "patch-duration={} patch-interval={}",
                self.window, self.stride
            ),
            other => format!("segmentation={other}"),
        };
        let frames = self.frames.unwrap_or(0);
        let mut branches = vec![
            (
                "audio",
                format!(
                    "queue ! melspec partial={} {segmentation} ! frameclassify scheduling=sync {}",
                    self.partial,
                    self.inference(&self.audio_model)?
                ),
            ),
            (
                "video",
                format!(
                    "queue ! frameclassify scheduling=sync interval={} frames={frames} {}",
                    self.interval,
                    self.inference(&self.video_model)?
                ),
            ),
        ];
        branches.retain(|(source, _)| self.without.as_deref() != Some(source));
        Ok(branches)
    }

    /// A pipeline that joins the branches, unless they stay apart.
    fn fuse(&self) -> Result<Option<String>> {
        if self.fusion_model.as_deref() == Some("none") {
            return Ok(None);
        }
        let (window, stride) = (self.window, self.stride);
        let frames = self.frames.map(|frames| format!("frames={frames}"));
        Ok(Some(format!(
            "avfuse name=fuse window={window} stride={stride} {} {} ! fakesink sync=false",
            frames.unwrap_or_default(),
            self.inference(&self.fusion_model)?
        )))
    }

    /// The properties that all elements with a model have; every label is shown.
    fn inference(&self, model: &Option<String>) -> Result<String> {
        let model = match model {
            Some(model) => format!("model={}", model.to_value().serialize()?),
            None => String::new(),
        };
        let (provider, precision) = (&self.provider, &self.precision);
        Ok(format!(
            "threshold=0 max-tags=0 execution-provider={provider} precision={precision} {model}"
        ))
    }
}

/// The first audio and the first video stream through their taggers into avfuse; what these pass on is dropped.
fn pipeline(args: &Args, uri: &str) -> Result<gst::Pipeline> {
    let pipeline = match args.fuse()? {
        Some(fuse) => gst::parse::launch(&fuse)?
            .downcast()
            .map_err(|_| anyhow!("not a pipeline"))?,
        None => gst::Pipeline::new(),
    };
    let decoder = gst::ElementFactory::make("uridecodebin")
        .name("decoder")
        .property("uri", uri)
        .build()?;
    pipeline.add(&decoder)?;
    let branches = args.branches()?;

    let linked = std::sync::Arc::new(Mutex::new(Vec::new()));
    let weak = pipeline.downgrade();
    let known = linked.clone();
    decoder.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let media = caps.structure(0).map_or("", |caps| caps.name().as_str());
        let mut linked = known.lock().unwrap();
        let branch = branches
            .iter()
            .find(|(source, _)| media.starts_with(source) && !linked.contains(source));
        let attached = match branch {
            Some((source, description)) => {
                linked.push(*source);
                attach(&pipeline, pad, description, source)
            }
            None => attach(&pipeline, pad, "identity", ""),
        };
        if let Err(error) = attached {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("{error:#}"));
        }
    });
    let weak = pipeline.downgrade();
    decoder.connect_no_more_pads(move |_| {
        if linked.lock().unwrap().is_empty()
            && let Some(pipeline) = weak.upgrade()
        {
            gst::element_error!(
                pipeline,
                gst::StreamError::WrongType,
                ("has neither audio nor video")
            );
        }
    });
    Ok(pipeline)
}

/// Puts the described elements behind a decoder's new pad, and in front of avfuse's pad of the given name, if there is
/// one; otherwise what comes out is dropped.
fn attach(pipeline: &gst::Pipeline, pad: &gst::Pad, elements: &str, name: &str) -> Result<()> {
    let fuse = pipeline.by_name("fuse").filter(|_| !name.is_empty());
    let description = match fuse {
        Some(_) => elements.to_owned(),
        None => format!("{elements} ! fakesink sync=false async=false"),
    };
    let branch = gst::parse::bin_from_description(&description, true)?;
    pipeline.add(&branch)?;
    if let Some(fuse) = fuse {
        branch.link_pads(Some("src"), &fuse, Some(name))?;
    }
    branch.sync_state_with_parent()?;
    pad.link(&branch.static_pad("sink").context("no sink pad")?)?;
    Ok(())
}

/// How long a file may show neither audio nor video. decodebin sometimes keeps a demuxer's error to itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays the pipeline to its end and hands over each result.
fn run(
    pipeline: &gst::Pipeline,
    bar: &ProgressBar,
    mut result: impl FnMut(Found) -> Result<()>,
) -> Result<()> {
    let bus = pipeline.bus().context("no bus")?;
    let decoder = pipeline.by_name("decoder").context("no decoder")?;
    let mut undecodable = None::<String>;
    let begun = Instant::now();
    // A failure to start is reported on the bus like any other.
    let _ = pipeline.set_state(gst::State::Playing);
    loop {
        if let Some(duration) = pipeline.query_duration::<gst::ClockTime>() {
            bar.set_length(duration.mseconds());
            bar.set_message(clock(duration.seconds_f64()));
        }
        if let Some(position) = pipeline.query_position::<gst::ClockTime>() {
            bar.set_position(position.mseconds());
        }
        let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(200)) else {
            if decoder.num_src_pads() == 0 && begun.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                bail!("cannot be decoded: nothing has come out of it in {seconds} s");
            }
            continue;
        };
        match message.view() {
            gst::MessageView::Eos(_) => return Ok(()),
            gst::MessageView::Element(element) => {
                if let Some(found) = Found::new(&message) {
                    result(found)?;
                } else if element.has_name("missing-plugin") {
                    // GStreamer's words for what it lacks, e.g. "AV1 decoder".
                    undecodable = element
                        .structure()
                        .and_then(|fields| fields.get("name").ok());
                }
            }
            gst::MessageView::Error(error) => {
                let cause = error.error();
                let in_decoder = error
                    .src()
                    .is_some_and(|source| source.has_as_ancestor(&decoder));
                if let Some(missing) = undecodable {
                    bail!("cannot be decoded: GStreamer lacks its {missing}");
                } else if in_decoder && cause.is::<gst::ResourceError>() {
                    bail!("cannot be read: {cause}");
                } else if in_decoder {
                    bail!("cannot be decoded: {cause}");
                }
                bail!("{cause}");
            }
            _ => {}
        }
    }
}

// SPDX-License-Identifier: MPL-2.0

//! Many streams of 48 kHz stereo and 1080p25 in one process, as fast as they go: what one costs.
//!
//! ```sh
//! ORT_DYLIB_PATH=.runtime/libonnxruntime.so cargo bench --bench streams -- --streams 4 --seconds 10
//! ```
//!
//! Prints a JSON object. The sound and the pictures are in memory; with `--file` they are decoded instead.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use cpu_time::ProcessTime;
use gst::prelude::*;

const AUDIO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";
const VIDEO: &str = "video/x-raw,format=I420,width=1920,height=1080,framerate=25/1";

/// Buffers a second: 20 ms of sound, a picture.
const BUFFERS: [u64; 2] = [50, 25];

/// Bytes of such a buffer.
const SIZES: [usize; 2] = [960 * 4, 1920 * 1080 * 3 / 2];

/// Costs of tagging many streams in one process.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1)]
    streams: u64,
    /// Length of a stream; with a file, the file's
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Decode this file, of sound and pictures, for each stream
    #[arg(long)]
    file: Option<PathBuf>,
    /// Pass the file's streams encoded through instrumenttagger with this `decode`, or none: without it
    #[arg(long, requires = "file")]
    tagger: Option<String>,
    /// Sound model, or none
    #[arg(long, default_value = "ced-yt8m13")]
    audio_model: String,
    /// Picture model, or none
    #[arg(long, default_value = "efficientnet-lite-yt8m13")]
    video_model: String,
    /// Seconds between two mel patches
    #[arg(long, default_value_t = 1)]
    patch_interval: u64,
    /// Cargo says this to every bench
    #[arg(long)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    // SAFETY: no other thread of this process runs yet.
    unsafe { std::env::set_var("GST_INSTRUMENTS_MODEL_PATH", models) };
    gst::init().expect("GStreamer starts");
    gstinstruments::plugin_register_static().expect("the plugin can be registered");

    // Two in turns: of pictures that do not differ only the first would be analysed.
    let media = SIZES.map(|size| {
        let dark = noise(size).iter().map(|byte| byte / 2).collect();
        [noise(size), dark].map(gst::Buffer::from_slice)
    });
    let pipelines: Vec<gst::Pipeline> = (0..args.streams).map(|_| stream(&args, &media)).collect();
    // Loading the models is not a part of it.
    for pipeline in &pipelines {
        pipeline
            .set_state(gst::State::Ready)
            .expect("the models load");
    }
    let (begin, cpu) = (Instant::now(), ProcessTime::now());
    for pipeline in &pipelines {
        pipeline
            .set_state(gst::State::Playing)
            .expect("the pipeline starts");
    }
    for pipeline in &pipelines {
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = pipeline.bus().expect("a pipeline has a bus");
        let message = bus.timed_pop_filtered(gst::ClockTime::NONE, &wanted);
        let message = message.expect("the bus waits");
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }
    let (cpu, wall) = (cpu.elapsed(), begin.elapsed());
    let result = serde_json::json!({
        "streams": args.streams,
        "cpu": cpu.as_secs_f64() / (args.streams * args.seconds) as f64,
        "wall": wall.as_secs_f64(),
        "resident": resident(),
        "hears": stats(&pipelines[0], "hears"),
        "sees": stats(&pipelines[0], "sees"),
    });
    println!("{result}");
    for pipeline in &pipelines {
        pipeline
            .set_state(gst::State::Null)
            .expect("the pipeline stops");
    }
}

/// How many times the model ran, with how many inputs in the mean, and how many milliseconds its answers took.
fn stats(pipeline: &gst::Pipeline, name: &str) -> serde_json::Value {
    let Some(element) = pipeline.by_name(name) else {
        return serde_json::Value::Null;
    };
    let stats = element.property::<gst::Structure>("stats");
    // All streams share one session.
    let stats = stats
        .get::<gst::Structure>("session")
        .expect("it is in stats");
    let sizes = stats
        .get::<gst::Array>("batch-sizes")
        .expect("it is in stats");
    let runs: u64 = sizes
        .iter()
        .map(|runs| runs.get::<u64>().expect("a count"))
        .sum();
    let number = |field| stats.get::<u64>(field).expect("it is in stats") as f64;
    serde_json::json!({
        "runs": runs,
        "batch": number("inferences") / runs as f64,
        "mean": number("mean-latency") / 1e6,
        "p99": number("p99-latency") / 1e6,
    })
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(bytes)
    .collect()
}

/// One stream's taggers; its sources give `media` again and again, or it decodes the file.
fn stream(args: &Args, media: &[[gst::Buffer; 2]; 2]) -> gst::Pipeline {
    let classify = |model: &str, name: &str| {
        format!(
            "frameclassify model={model} name={name} threads=1 execution-provider=cpu scheduling=sync post-messages=false"
        )
    };
    let hears = match args.audio_model.as_str() {
        "none" => "identity".to_owned(),
        model => format!(
            "melspec patch-interval={} ! {}",
            args.patch_interval * 1_000_000_000,
            classify(model, "hears")
        ),
    };
    let sees = match args.video_model.as_str() {
        "none" => "identity".to_owned(),
        model => classify(model, "sees"),
    };
    let description = match (&args.file, &args.tagger) {
        (Some(file), Some(decode)) => passing(args, file, decode),
        (None, _) => format!(
            "appsrc name=audio format=time caps={AUDIO} ! {hears} ! fakesink sync=false \
             appsrc name=video format=time caps={VIDEO} ! {sees} ! fakesink sync=false"
        ),
        (Some(file), None) => format!(
            "filesrc location=\"{}\" ! decodebin name=decoder \
             decoder. ! queue ! audio/x-raw ! {hears} ! fakesink sync=false \
             decoder. ! queue ! video/x-raw ! {sees} ! fakesink sync=false",
            file.display()
        ),
    };
    let pipeline = gst::parse::launch(&description).expect("the elements are there");
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .expect("several elements");
    if args.file.is_none() {
        for ((name, buffers), rate) in ["audio", "video"].into_iter().zip(media).zip(BUFFERS) {
            let source = pipeline.by_name(name).and_downcast::<gst_app::AppSrc>();
            feed(
                &source.expect("it is an appsrc"),
                buffers.clone(),
                args.seconds,
                rate,
            );
        }
    }
    pipeline
}

/// Both streams of `file`, which are not decoded on their way to the sinks.
fn passing(args: &Args, file: &Path, decode: &str) -> String {
    let (video, audio, tagger) = match decode {
        "none" => ("", "", String::new()),
        _ => (
            "! tagger.video tagger.video_src",
            "! tagger.audio tagger.audio_src",
            format!(
                "instrumenttagger name=tagger decode={decode} audio-model={} video-model={} threads=1 \
                 execution-provider=cpu scheduling=sync patch-interval={}",
                args.audio_model,
                args.video_model,
                args.patch_interval * 1_000_000_000,
            ),
        ),
    };
    format!(
        "filesrc location=\"{}\" ! qtdemux name=d \
         d.video_0 ! queue {video} ! fakesink sync=false \
         d.audio_0 ! queue {audio} ! fakesink sync=false {tagger}",
        file.display()
    )
}

/// Has `source` give `buffers` for so many seconds, `rate` times a second, each for a second.
fn feed(source: &gst_app::AppSrc, buffers: [gst::Buffer; 2], seconds: u64, rate: u64) {
    let mut sent = 0;
    let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |source, _| {
        // A flow that ends is seen at the bus.
        let _ = if sent == seconds * rate {
            source.end_of_stream()
        } else {
            let mut buffer = buffers[(sent / rate % 2) as usize].copy();
            let writable = buffer.get_mut().expect("it is a copy");
            writable.set_pts(gst::ClockTime::SECOND * sent / rate);
            sent += 1;
            source.push_buffer(buffer)
        };
    });
    source.set_callbacks(callbacks.build());
}

/// Resident memory in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.expect("Linux tells") / 1024.0
}

// SPDX-License-Identifier: MPL-2.0

//! How long after a change in a live stream the right tag comes, and how late results are when many streams run.
//!
//! Plays the files one after the other in real time, again and again, as live streams of sound and pictures:
//!
//! ```sh
//! ORT_DYLIB_PATH=.runtime/libonnxruntime.so cargo bench --bench live -- Guitar=guitar.mp4 Piano=piano.mp4
//! ```
//!
//! Prints a Markdown table with a row for each of [`SETTINGS`]: the median and the longest time from a change to the
//! first result with the right instrument on top, by sound, by pictures and by both; changes that no such result
//! followed before the next one; and the CPU time of a second of stream.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Parser;
use cpu_time::ProcessTime;
use gst::prelude::*;
use gstinstruments::meta::{Source, Tags};

const AUDIO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";
const VIDEO: &str = "video/x-raw,format=I420,width=480,height=270,framerate=25/1";
const SOURCES: [Source; 3] = [Source::Audio, Source::Video, Source::Fused];

/// Properties of `melspec`, `frameclassify` of the pictures and `avfuse`.
const SETTINGS: [(&str, [&str; 3]); 5] = [
    ("the default", ["", "", ""]),
    ("a fused result each second", ["", "", "stride=1000000000"]),
    (
        "3 s of sound",
        [
            "patch-duration=3000000000",
            "",
            "window=3000000000 stride=1000000000",
        ],
    ),
    // What `low-delay` of instrumenttagger sets.
    (
        "`low-delay=true`",
        [
            "patch-duration=1500000000 patch-interval=250000000",
            "interval=500000000",
            "window=1500000000 stride=250000000",
        ],
    ),
    (
        "1 s of sound",
        [
            "patch-duration=1000000000 patch-interval=250000000",
            "interval=500000000",
            "window=1500000000 stride=250000000",
        ],
    ),
];

/// Delays of live tags.
#[derive(Parser)]
struct Args {
    /// What is played, with the instrument that is right
    #[arg(required = true, value_name = "LABEL=FILE", value_parser = clip)]
    clips: Vec<(String, PathBuf)>,
    /// Seconds of each file; not a multiple of the strides, so that changes come at all of their phases
    #[arg(long, default_value_t = 9.7)]
    seconds: f64,
    /// How often all files are played
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Streams at once, which start together
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Only the settings of this name
    #[arg(long)]
    only: Option<String>,
    /// Cargo says this to every bench
    #[arg(long)]
    bench: bool,
}

fn clip(text: &str) -> Result<(String, PathBuf)> {
    let (label, file) = text.split_once('=').context("LABEL=FILE is wanted")?;
    Ok((label.to_owned(), file.into()))
}

/// A file's sound and pictures, decoded: buffers with their time since its start.
struct Clip {
    label: String,
    media: [Vec<gst::Buffer>; 2],
}

/// A result that came at a running time.
struct Found {
    source: Source,
    time: gst::ClockTime,
    label: Option<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    // SAFETY: no other thread of this process runs yet.
    unsafe { std::env::set_var("GST_INSTRUMENTS_MODEL_PATH", models) };
    gst::init()?;
    gstinstruments::plugin_register_static()?;

    let length = gst::ClockTime::from_seconds_f64(args.seconds);
    let clips = args
        .clips
        .iter()
        .map(|(label, file)| decode(label, file, length))
        .collect::<Result<Vec<_>>>()?;
    let clips: Arc<[Clip]> = clips.into();
    println!("| settings | sound | pictures | both | CPU of a second, ms | latency p99, ms |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let settings = SETTINGS
        .iter()
        .filter(|(name, _)| args.only.as_ref().is_none_or(|only| only == name));
    for (name, properties) in settings {
        let cpu = ProcessTime::now();
        let (found, latencies) = play(&args, &clips, length, properties)?;
        let seconds = length.seconds_f64() * (clips.len() * args.rounds * args.streams) as f64;
        let labels: Vec<&str> = clips.iter().map(|clip| clip.label.as_str()).collect();
        let delays = SOURCES.map(|source| delays(&found, source, &labels, args.rounds, length));
        println!(
            "| {name} | {} | {:.1} | {} |",
            delays.join(" | "),
            cpu.elapsed().as_secs_f64() * 1e3 / seconds,
            latencies.map(|ms| format!("{ms:.0}")).join(", "),
        );
    }
    Ok(())
}

/// The first `length` of a file.
fn decode(label: &str, file: &Path, length: gst::ClockTime) -> Result<Clip> {
    let uri = gst::glib::filename_to_uri(file.canonicalize()?, None)?;
    let pipeline = gst::parse::launch(&format!(
        "uridecodebin uri={uri} name=decoder \
         decoder. ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! audioconvert ! audioresample ! {AUDIO} ! appsink name=audio sync=false \
         decoder. ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! videoconvertscale ! videorate ! {VIDEO} ! appsink name=video sync=false"
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = |name| {
        let element = pipeline.by_name(name).expect("it was named");
        element.downcast::<gst_app::AppSink>().expect("an appsink")
    };
    let sinks = ["audio", "video"].map(sink);
    pipeline.set_state(gst::State::Playing)?;
    let take = |sink: &gst_app::AppSink| {
        let samples = std::iter::from_fn(|| sink.pull_sample().ok());
        let buffers = samples.map(|sample| sample.buffer_owned().expect("it has a buffer"));
        buffers
            .take_while(|buffer| buffer.pts().is_some_and(|pts| pts < length))
            .collect::<Vec<_>>()
    };
    let media = [take(&sinks[0]), take(&sinks[1])];
    pipeline.set_state(gst::State::Null)?;
    for buffers in &media {
        let last = buffers.last().and_then(|buffer| buffer.pts());
        let end = last.with_context(|| format!("{} lacks a stream", file.display()))?;
        ensure!(
            end + gst::ClockTime::SECOND > length,
            "{} ends after {end}: --seconds is too long",
            file.display()
        );
    }
    Ok(Clip {
        label: label.to_owned(),
        media,
    })
}

/// Plays all clips in streams with the given properties: the results of the first stream, and the 99th percentiles of
/// the latencies of sound and pictures over all streams, in milliseconds.
fn play(
    args: &Args,
    clips: &Arc<[Clip]>,
    length: gst::ClockTime,
    [mel, pictures, fuse]: &[&str; 3],
) -> Result<(Vec<Found>, [f64; 2])> {
    let description = format!(
        "appsrc name=audio is-live=true format=time caps={AUDIO} ! queue ! melspec {mel} ! frameclassify name=hears threads=1 ! fuse.audio \
         appsrc name=video is-live=true format=time caps={VIDEO} ! queue ! frameclassify name=sees threads=1 {pictures} ! fuse.video \
         avfuse name=fuse threads=1 {fuse} ! fakesink sync=true async=false"
    );
    let pipelines = (0..args.streams)
        .map(|_| {
            let pipeline = gst::parse::launch(&description)?;
            Ok(pipeline.downcast::<gst::Pipeline>().unwrap())
        })
        .collect::<Result<Vec<_>>>()?;
    let found = Arc::new(Mutex::new(Vec::new()));
    let results = found.clone();
    let weak = pipelines[0].downgrade();
    let bus = pipelines[0].bus().expect("a pipeline has a bus");
    bus.set_sync_handler(move |_, message| {
        if let Some((tags, false)) = Tags::from_message(message)
            && let Some(time) = weak.upgrade().and_then(|p| p.current_running_time())
        {
            results.lock().unwrap().push(Found {
                source: tags.source,
                time,
                label: tags.scores.first().map(|(label, _)| label.clone()),
            });
        }
        gst::BusSyncReply::Pass
    });
    for pipeline in &pipelines {
        pipeline.set_state(gst::State::Playing)?;
    }
    let feeders: Vec<_> = pipelines
        .iter()
        .flat_map(|pipeline| [(pipeline, "audio", 0), (pipeline, "video", 1)])
        .map(|(pipeline, name, which)| {
            let source = pipeline.by_name(name).and_downcast().expect("an appsrc");
            let (pipeline, clips, rounds) = (pipeline.clone(), clips.clone(), args.rounds);
            std::thread::spawn(move || feed(&pipeline, &source, &clips, which, rounds, length))
        })
        .collect();
    for feeder in feeders {
        feeder.join().map_err(|_| anyhow!("a feeder failed"))?;
    }
    let mut latencies = [0.0; 2];
    for (pipeline, bus) in pipelines.iter().map(|p| (p, p.bus().unwrap())) {
        if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            bail!("{message:?}");
        }
        for (latency, name) in latencies.iter_mut().zip(["hears", "sees"]) {
            let element = pipeline.by_name(name).expect("it was named");
            let stats = element.property::<gst::Structure>("stats");
            *latency = f64::max(*latency, stats.get::<u64>("p99-latency")? as f64 / 1e6);
        }
        pipeline.set_state(gst::State::Null)?;
    }
    let found = std::mem::take(&mut *found.lock().unwrap());
    Ok((found, latencies))
}

/// Gives `source` one stream of all clips in real time, each buffer when it has been captured as a whole.
fn feed(
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    clips: &[Clip],
    which: usize,
    rounds: usize,
    length: gst::ClockTime,
) {
    let played = clips.iter().cycle().take(clips.len() * rounds);
    for (offset, clip) in (0..).map(|n| length * n).zip(played) {
        for buffer in &clip.media[which] {
            let start = buffer.pts().expect("decoded media has timestamps") + offset;
            let end = start + buffer.duration().unwrap_or_default();
            let now = pipeline.current_running_time().unwrap_or_default();
            std::thread::sleep(Duration::from(end.saturating_sub(now)));
            let mut buffer = buffer.copy();
            let writable = buffer.get_mut().expect("it is a copy");
            writable.set_pts(start);
            writable.set_dts(None);
            if source.push_buffer(buffer).is_err() {
                return;
            }
        }
    }
}

/// From the changes to the first right results of `source`: the median, the longest, and how many never came.
fn delays(
    found: &[Found],
    source: Source,
    labels: &[&str],
    rounds: usize,
    length: gst::ClockTime,
) -> String {
    // The first clip is no change.
    let changes = (1..labels.len() * rounds).map(|n| (length * n as u64, labels[n % labels.len()]));
    let delays = changes.clone().filter_map(|(change, label)| {
        found
            .iter()
            .filter(|found| found.source == source)
            .filter(|found| (change..change + length).contains(&found.time))
            .find(|found| found.label.as_deref() == Some(label))
            .map(|found| found.time - change)
    });
    let mut delays: Vec<_> = delays.collect();
    delays.sort();
    let (never, all) = (changes.count() - delays.len(), delays.len());
    match delays.last() {
        None => format!("never of {never}"),
        Some(longest) => format!(
            "{:.1} s, {:.1} s, {never} of {} never",
            delays[all / 2].seconds_f64(),
            longest.seconds_f64(),
            all + never
        ),
    }
}

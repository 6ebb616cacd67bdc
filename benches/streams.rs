// SPDX-License-Identifier: MPL-2.0

//! Many streams of 48 kHz stereo and 1080p25 in one process, as fast as they go: what one costs.
//!
//! ```sh
//! ORT_DYLIB_PATH=.runtime/libonnxruntime.so cargo bench --bench streams -- STREAMS SECONDS
//! ```
//!
//! Prints a JSON object. The sound and the pictures are in memory, so decoding is not counted.

use std::path::Path;
use std::time::Instant;

use cpu_time::ProcessTime;
use gst::prelude::*;

const AUDIO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";
const VIDEO: &str = "video/x-raw,format=I420,width=1920,height=1080,framerate=25/1";

/// Buffers a second: 20 ms of sound, a picture.
const BUFFERS: [u64; 2] = [50, 25];

/// Bytes of such a buffer.
const SIZES: [usize; 2] = [960 * 4, 1920 * 1080 * 3 / 2];

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let [streams, seconds] = numbers[..] else {
        panic!("give the number of streams and their length in seconds");
    };
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    // SAFETY: no other thread of this process runs yet.
    unsafe { std::env::set_var("GST_INSTRUMENTS_MODEL_PATH", models) };
    gst::init().expect("GStreamer starts");
    gstinstruments::plugin_register_static().expect("the plugin can be registered");

    let media = SIZES.map(|size| gst::Buffer::from_slice(noise(size)));
    let pipelines: Vec<gst::Pipeline> = (0..streams).map(|_| stream(&media, seconds)).collect();
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
    let of = |name: &str| {
        let element = pipelines[0].by_name(name).expect("it has this name");
        element.property::<gst::Structure>("stats").to_string()
    };
    let result = serde_json::json!({
        "streams": streams,
        "cpu": cpu.as_secs_f64() / (streams * seconds) as f64,
        "wall": wall.as_secs_f64(),
        "resident": resident(),
        "hears": of("hears"),
        "sees": of("sees"),
    });
    println!("{result}");
    for pipeline in &pipelines {
        pipeline
            .set_state(gst::State::Null)
            .expect("the pipeline stops");
    }
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

/// One stream's taggers; its sources give `media` again and again.
fn stream(media: &[gst::Buffer; 2], seconds: u64) -> gst::Pipeline {
    let classify =
        "frameclassify threads=1 execution-provider=cpu scheduling=sync post-messages=false";
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=audio format=time caps={AUDIO} ! melspec ! {classify} name=hears ! fakesink sync=false \
         appsrc name=video format=time caps={VIDEO} ! {classify} name=sees ! fakesink sync=false"
    ));
    let pipeline = pipeline.expect("the elements are there");
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .expect("several elements");
    for ((name, buffer), rate) in ["audio", "video"].into_iter().zip(media).zip(BUFFERS) {
        let source = pipeline.by_name(name).and_downcast::<gst_app::AppSrc>();
        let source = source.expect("it is an appsrc");
        let buffer = buffer.clone();
        let mut sent = 0;
        let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |source, _| {
            // A flow that ends is seen at the bus.
            let _ = if sent == seconds * rate {
                source.end_of_stream()
            } else {
                let mut buffer = buffer.copy();
                let writable = buffer.get_mut().expect("it is a copy");
                writable.set_pts(gst::ClockTime::SECOND * sent / rate);
                sent += 1;
                source.push_buffer(buffer)
            };
        });
        source.set_callbacks(callbacks.build());
    }
    pipeline
}

/// Resident memory in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.expect("Linux tells") / 1024.0
}

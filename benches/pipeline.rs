// SPDX-License-Identifier: MPL-2.0

//! What the elements cost in a pipeline, beside the work that they do:
//!
//! ```sh
//! ORT_DYLIB_PATH=.runtime/libonnxruntime.so cargo bench --bench pipeline
//! ```

mod common;

use std::hint::black_box;
use std::path::Path;

use common::Job;
use gst::prelude::*;
use gstinstruments::mel::{
    FrontEnd, Partial, PatchOptions, Patcher, Preset, SampleFormat, Segmentation, downmix,
};

const RATE: u32 = 48_000;

/// Long enough that starting a pipeline does not count.
const SECONDS: u32 = 120;

/// Bytes in a buffer of 1024 frames, S16 stereo.
const BUFFER: usize = 4 * 1024;

/// Pictures that one job classifies.
const PICTURES: usize = 20;

const AUDIO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";

/// The model's own size, so that nothing is scaled.
const PICTURE: &str = "video/x-raw,format=RGB,width=260,height=260,framerate=25/1";
const LARGE_PICTURE: &str = "video/x-raw,format=I420,width=1920,height=1080,framerate=25/1";

const CLASSIFY: &str = "frameclassify model=efficientnet-lite-yt8m13 precision=fp32 interval=0 threads=1 \
    execution-provider=cpu scheduling=sync post-messages=false";

fn main() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    // SAFETY: no other thread of this process runs yet.
    unsafe { std::env::set_var("GST_INSTRUMENTS_MODEL_PATH", models) };
    gst::init().expect("GStreamer starts");
    gstinstruments::plugin_register_static().expect("the plugin can be registered");

    let sound = sound();
    let buffers: Vec<gst::Buffer> = sound
        .chunks(BUFFER)
        .enumerate()
        .map(|(index, data)| {
            let samples = (index * BUFFER / 4) as u64;
            buffer(
                data.to_vec(),
                gst::ClockTime::SECOND * samples / u64::from(RATE),
            )
        })
        .collect();
    // Holds the model, so that no job loads it.
    let holder = gst::parse::bin_from_description(CLASSIFY, false).expect("the element is there");
    holder
        .set_state(gst::State::Ready)
        .expect("the model loads");
    common::main(vec![
        Job::new("mel", pure(sound)),
        Job::new("pipeline", pipeline(AUDIO, "identity", buffers.clone())),
        Job::new(
            "pipeline-melspec",
            pipeline(AUDIO, "melspec preset=choi partial=drop", buffers),
        ),
        Job::new(
            "frameclassify",
            pipeline(PICTURE, CLASSIFY, pictures(260 * 260 * 3)),
        ),
        Job::new(
            "frameclassify-1080p",
            pipeline(LARGE_PICTURE, CLASSIFY, pictures(1920 * 1080 * 3 / 2)),
        ),
    ]);
    holder
        .set_state(gst::State::Null)
        .expect("the model is closed");
}

fn pictures(bytes: usize) -> Vec<gst::Buffer> {
    (0..PICTURES)
        .map(|index| {
            // Every other one is darker: of pictures that do not differ only the first would be analysed.
            let pixels = (0..bytes).map(|n| (n * (index + 7) / 11) as u8 >> (index % 2));
            buffer(pixels.collect(), gst::ClockTime::SECOND / 25 * index as u64)
        })
        .collect()
}

/// White noise, S16 stereo.
fn sound() -> Vec<u8> {
    let mut state = 1u32;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) as i16 / 2).to_le_bytes()
    };
    (0..2 * RATE * SECONDS).flat_map(|_| sample()).collect()
}

fn buffer(data: Vec<u8>, timestamp: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(data);
    let writable = buffer.get_mut().expect("nobody else has it yet");
    writable.set_pts(timestamp);
    buffer
}

/// What `melspec` does, without it.
fn pure(sound: Vec<u8>) -> impl FnMut() {
    let options = PatchOptions {
        segmentation: Segmentation::Sliding,
        partial: Partial::Drop,
        interval: 1.0,
        content: None,
        total: None,
    };
    let mut patcher =
        Patcher::new(&FrontEnd::preset(Preset::Choi), RATE, options).expect("the preset is valid");
    let mut mono = Vec::new();
    move || {
        for buffer in sound.chunks(BUFFER) {
            downmix(buffer, SampleFormat::S16, 2, &mut mono);
            patcher.push(&mono, &mut |patch| {
                black_box(patch);
            });
        }
        patcher.reset();
    }
}

/// Runs `buffers` through `element` until the end of the stream, in one thread: what the threads of a pipeline
/// cost one another by waiting is not the element's.
fn pipeline(caps: &str, element: &str, buffers: Vec<gst::Buffer>) -> impl FnMut() {
    let description =
        format!("appsrc name=source format=time caps={caps} ! {element} ! fakesink sync=false");
    move || {
        let pipeline = gst::parse::launch(&description).expect("the elements are there");
        let pipeline = pipeline
            .downcast::<gst::Pipeline>()
            .expect("several elements");
        let source = pipeline.by_name("source").and_downcast::<gst_app::AppSrc>();
        let mut buffers = buffers.clone().into_iter();
        let feed = move |source: &gst_app::AppSrc, _| {
            let _ = match buffers.next() {
                Some(buffer) => source.push_buffer(buffer),
                None => source.end_of_stream(),
            };
        };
        let callbacks = gst_app::AppSrcCallbacks::builder().need_data(feed).build();
        source.expect("it is an appsrc").set_callbacks(callbacks);
        pipeline
            .set_state(gst::State::Playing)
            .expect("the pipeline starts");
        let bus = pipeline.bus().expect("a pipeline has a bus");
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::NONE, &wanted);
        let message = message.expect("the bus waits");
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
        pipeline
            .set_state(gst::State::Null)
            .expect("the pipeline stops");
    }
}

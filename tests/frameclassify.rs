// SPDX-License-Identifier: MPL-2.0

//! frameclassify on pictures and on mel patches, with the models of tests/data/models: `video` gives the mean of
//! red, green and blue (as Guitar, Piano and Drums), `audio` twice the mean of the first three bands.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Bench, Record, assert_untouched, buffer, launch, mel_patch, ms, play, rounded};
use gst::prelude::*;
use gstinstruments::meta::{self, Features, Kind, Source, Tags};

/// The model's own picture size, so that a picture of one colour stays exact.
const CAPS: &str = "video/x-raw,format=RGB,width=8,height=6,framerate=10/1";

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];
/// A score of its own for each channel: 0.8, 0.6, 0.4.
const ORANGE: [u8; 3] = [204, 153, 102];

/// A picture of one colour that lasts a tenth of a second.
fn picture(colour: [u8; 3], pts: impl Into<Option<gst::ClockTime>>) -> gst::Buffer {
    buffer(colour.repeat(8 * 6), pts, ms(100))
}

fn bench(properties: &str) -> Bench {
    Bench::new(
        &format!("frameclassify name=f model=video {properties}"),
        CAPS,
    )
}

/// The starts of the pictures that were analysed, in milliseconds.
fn starts(bench: &Bench) -> Vec<u64> {
    let outcome = bench.outcome();
    let windows = outcome.windows("f");
    let starts = windows.iter().map(|tags| tags.start.unwrap().mseconds());
    starts.collect()
}

#[test]
fn one_picture_each_second_in_every_format_and_size() {
    for (format, width, height) in [
        ("I420", 65, 49),
        ("NV12", 320, 240),
        ("RGB", 33, 17),
        ("RGBA", 64, 48),
        ("BGRx", 7, 5),
        ("YUY2", 51, 38),
        ("UYVY", 8, 6),
        ("Y444", 9, 30),
        ("P010_10LE", 130, 70),
        ("v210", 50, 20),
    ] {
        let outcome = play(&launch(&format!(
            "videotestsrc pattern=solid-color foreground-color=0xffcc9966 num-buffers=70
                ! video/x-raw,format={format},width={width},height={height},framerate=30/1
                ! frameclassify name=f model=video ! fakesink"
        )));
        let windows = outcome.windows("f");
        let times: Vec<_> = windows
            .iter()
            .map(|tags| (tags.start, tags.duration))
            .collect();
        let expected = [0, 1, 2].map(|second| (Some(ms(second * 1000)), Some(ms(1000))));
        assert_eq!(times, expected, "{format}");
        for tags in windows {
            assert_eq!(
                (tags.source, &*tags.sources),
                (Source::Video, &[Source::Video][..])
            );
            assert_eq!(tags.model, "video");
            let labels: Vec<_> = tags
                .scores
                .iter()
                .map(|(label, _)| label.as_str())
                .collect();
            assert_eq!(labels, ["Guitar", "Piano", "Drums"], "{format}");
            for ((_, score), expected) in tags.scores.iter().zip([0.8, 0.6, 0.4]) {
                // YUV with 8 bits and subsampled chroma rounds.
                assert!((score - expected).abs() < 0.02, "{format}: {tags:?}");
            }
        }
    }
}

#[test]
fn grey_pictures_are_as_bright_in_every_channel() {
    let caps = "video/x-raw,format=GRAY8,width=13,height=11,framerate=1/1";
    let mut bench = Bench::new("frameclassify name=f model=video", caps);
    let buffer = bench.pass(buffer(vec![153; 16 * 11], ms(0), ms(1000)));
    for (_, score) in &Tags::from_buffer(&buffer)[0].scores {
        assert!((score - 0.6).abs() < 0.01, "{score}");
    }
}

#[test]
fn only_the_centre_in_the_models_aspect_ratio_counts() {
    // The model takes 8 x 6 pixels, its card says crop, and of that 0.875: of 96 x 48 the 56 x 42 in the middle.
    let caps = "video/x-raw,format=RGB,width=96,height=48,framerate=1/1";
    let inside = |x: usize, y: usize, margin: usize| {
        (20 + margin..76 - margin).contains(&x) && (3 + margin..45 - margin).contains(&y)
    };
    let scores = |margin: usize| {
        let pixels = (0..48).flat_map(|y| (0..96).map(move |x| (x, y)));
        let pixels = pixels.flat_map(|(x, y)| if inside(x, y, margin) { RED } else { BLUE });
        let mut bench = Bench::new("frameclassify model=video threshold=0", caps);
        let buffer = bench.pass(buffer(pixels.collect(), ms(0), ms(1000)));
        let tags = Tags::from_buffer(&buffer).remove(0);
        let score = |label| tags.scores.iter().find(|(l, _)| l == label).unwrap().1;
        (score("Guitar"), score("Drums"))
    };
    let (red, blue) = scores(0);
    assert!(red > 0.995 && blue < 0.005, "{red} {blue}");
    // A frame of 3 pixels: 1 - 50 x 36 / (56 x 42) of the picture.
    let (red, blue) = scores(3);
    assert!(
        (red - 0.765).abs() < 0.03 && (blue - 0.235).abs() < 0.03,
        "{red} {blue}"
    );
}

#[test]
fn pictures_are_taken_on_the_grid_of_the_interval() {
    let taken = |properties: &str, times: &[u64]| {
        let mut bench = bench(properties);
        for &time in times {
            bench.pass(picture(RED, ms(time)));
        }
        starts(&bench)
    };
    // Late pictures don't move the grid.
    assert_eq!(
        taken("", &[0, 400, 900, 1100, 1900, 2000, 2900]),
        [0, 1100, 2000]
    );
    assert_eq!(
        taken("interval=250000000", &[0, 100, 200, 300, 400, 500, 600]),
        [0, 300, 500]
    );
    assert_eq!(taken("interval=0", &[0, 40, 80, 120]), [0, 40, 80, 120]);
    // The grid starts at the first picture, and again after jumps in both directions.
    assert_eq!(
        taken("", &[700, 1600, 1700, 9000, 9900, 10000, 3000, 3900, 4000]),
        [700, 1700, 9000, 10000, 3000, 4000]
    );
}

#[test]
fn streams_without_timestamps_are_timed_by_the_frame_rate() {
    let mut bench = bench("");
    for _ in 0..21 {
        bench.pass(picture(RED, None));
    }
    assert_eq!(starts(&bench), [0, 1000, 2000]);
}

#[test]
fn without_any_time_every_picture_counts() {
    let caps = "video/x-raw,format=RGB,width=8,height=6,framerate=0/1";
    let mut bench = Bench::new("frameclassify name=f model=video", caps);
    for colour in [RED, BLUE] {
        let buffer = bench.pass(picture(colour, None));
        let tags = &Tags::from_buffer(&buffer)[0];
        assert_eq!((tags.start, tags.fresh), (None, true));
    }
    bench.end();
    let outcome = bench.outcome();
    assert_eq!(outcome.windows("f").len(), 2);
    let clip = outcome.clip("f").unwrap();
    assert_eq!(rounded(clip), [("Guitar", 0.5), ("Drums", 0.5)]);
}

#[test]
fn tags_and_embedding_ride_on_the_picture_they_are_about() {
    let mut bench = bench("");
    let first = bench.pass(picture(ORANGE, ms(300)));
    let tags = Tags {
        source: Source::Video,
        model: "video".into(),
        sources: vec![Source::Video],
        start: Some(ms(300)),
        duration: Some(ms(1000)),
        media: 1.0,
        scores: [("Guitar", 0.8), ("Piano", 0.6), ("Drums", 0.4)]
            .map(|(label, score)| (label.to_owned(), score))
            .to_vec(),
        fresh: true,
    };
    assert_eq!(Tags::from_buffer(&first), std::slice::from_ref(&tags));
    let embedding = Features {
        // A picture of one colour says nothing.
        blank: true,
        still: true,
        ..common::embedding("test-video/1", &[0.8, 0.6, 0.4], ms(300), ms(1000))
    };
    assert_eq!(Features::from_buffer(&first), [embedding]);

    assert_eq!(bench.outcome().windows("f"), [&tags]);

    // The next ones repeat the tags, but not the embedding.
    let second = bench.pass(picture(RED, ms(400)));
    let repeated = Tags {
        fresh: false,
        ..tags
    };
    assert_eq!(Tags::from_buffer(&second), [repeated]);
    assert_eq!(Features::from_buffer(&second), []);
    assert!(bench.outcome().tags.is_empty());
}

#[test]
fn a_picture_of_one_colour_is_blank() {
    let mut bench = bench("interval=0");
    let blank = |buffer: &gst::Buffer| Features::from_buffer(buffer)[0].blank;
    assert!(blank(&bench.pass(picture([0; 3], ms(0)))));
    let halves = [RED.repeat(24), BLUE.repeat(24)].concat();
    assert!(!blank(&bench.pass(buffer(halves, ms(100), ms(100)))));
    assert!(blank(&bench.pass(picture(RED, ms(200)))));
}

#[test]
fn a_picture_that_does_not_change_is_still() {
    let mut bench = bench("interval=0");
    let mut still = |colours: [[u8; 3]; 2], time: u64| {
        let halves = colours.map(|colour| colour.repeat(24)).concat();
        let passed = bench.pass(buffer(halves, ms(time), ms(100)));
        Features::from_buffer(&passed)[0].still
    };
    // Nothing says of the first that it changes.
    let flags = [
        still([RED, BLUE], 0),
        still([RED, BLUE], 100),
        still([BLUE, RED], 200),
        still([BLUE, RED], 300),
    ];
    assert_eq!(flags, [true, true, false, true]);
}

#[test]
fn a_picture_that_does_not_change_is_analysed_once() {
    let mut bench = bench("interval=0");
    let halves = |colours: [[u8; 3]; 2], time: u64| {
        let pixels = colours.map(|colour| colour.repeat(24)).concat();
        buffer(pixels, ms(time), ms(100))
    };
    let mut results = Vec::new();
    for (colours, time) in [
        ([RED, BLUE], 0),
        ([RED, BLUE], 100),
        ([BLUE, ORANGE], 200),
        ([BLUE, ORANGE], 300),
        ([RED, BLUE], 400),
    ] {
        let passed = bench.pass(halves(colours, time));
        let tags = Tags::from_buffer(&passed).remove(0);
        assert_eq!((tags.start, tags.fresh), (Some(ms(time)), true));
        let embedding = Features::from_buffer(&passed).remove(0).data;
        results.push((tags.scores, embedding));
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[2], results[3]);
    assert_eq!(results[0], results[4]);
    assert_ne!(results[0], results[2]);
    assert_eq!(stat(&bench, "inferences"), 3);
}

#[test]
fn tags_need_not_be_repeated() {
    let mut bench = bench("repeat-tags=false");
    let tags = |buffer: &gst::Buffer| Tags::from_buffer(buffer).len();
    assert_eq!(tags(&bench.pass(picture(RED, ms(0)))), 1);
    assert_eq!(tags(&bench.pass(picture(RED, ms(100)))), 0);
}

#[test]
fn threshold_and_number_of_tags() {
    let scores = |properties: &str| {
        let buffer = bench(properties).pass(picture(ORANGE, ms(0)));
        let tags = Tags::from_buffer(&buffer).remove(0);
        let labels = tags.scores.iter().map(|(label, _)| label.clone());
        labels.collect::<Vec<_>>()
    };
    assert_eq!(scores(""), ["Guitar", "Piano", "Drums"]);
    assert_eq!(scores("threshold=0.5"), ["Guitar", "Piano"]);
    assert_eq!(scores("max-tags=1"), ["Guitar"]);
    assert_eq!(scores("max-tags=0"), ["Guitar", "Piano", "Drums"]);
    // Nothing is a result too.
    assert_eq!(scores("threshold=0.9"), [""; 0]);
}

#[test]
fn labels_from_a_file() {
    let file = common::folder("labels").join("labels.txt");
    std::fs::write(&file, "Rot\nGrün\nBlau\n").unwrap();
    let mut bench = bench(&format!("labels-file={}", file.display()));
    let buffer = bench.pass(picture(BLUE, ms(0)));
    assert_eq!(rounded(&Tags::from_buffer(&buffer)[0]), [("Blau", 1.0)]);
}

#[test]
fn activations() {
    // Softmax of 1, 0, 0: e / (e + 2). Sigmoid: 1 / (1 + e^-1) and 1/2.
    for (activation, expected) in [
        ("auto", [1.0, 0.0, 0.0]),
        ("none", [1.0, 0.0, 0.0]),
        ("softmax", [0.576, 0.212, 0.212]),
        ("sigmoid", [0.731, 0.5, 0.5]),
    ] {
        let mut bench = bench(&format!("threshold=0 activation={activation}"));
        let buffer = bench.pass(picture(RED, ms(0)));
        let tags = &Tags::from_buffer(&buffer)[0];
        let scores: Vec<_> = rounded(tags).iter().map(|(_, score)| *score).collect();
        assert_eq!(scores, expected, "{activation}");
    }
}

#[test]
fn a_model_by_its_path() {
    let path = common::root().join("tests/data/models/video.onnx");
    let mut bench = Bench::new(&format!("frameclassify model={}", path.display()), CAPS);
    let buffer = bench.pass(picture(RED, ms(0)));
    assert_eq!(rounded(&Tags::from_buffer(&buffer)[0]), [("Guitar", 1.0)]);
}

#[test]
fn active_provider_says_where_the_model_runs() {
    common::init();
    let element = gst::ElementFactory::make("frameclassify")
        .property("model", "video")
        .property_from_str("execution-provider", "cpu")
        .build()
        .unwrap();
    let active = || element.property::<Option<String>>("active-provider");
    assert_eq!(active(), None);
    element.set_state(gst::State::Ready).unwrap();
    assert_eq!(active().as_deref(), Some("cpu (fp32)"));
    element.set_state(gst::State::Null).unwrap();
    assert_eq!(active(), None);
}

#[test]
fn precision_chooses_among_the_files_of_a_name() {
    common::init();
    for (precision, active) in [("auto", "cpu (int8)"), ("fp32", "cpu (fp32)")] {
        let element = gst::ElementFactory::make("frameclassify")
            .property("model", "varied")
            .property_from_str("execution-provider", "cpu")
            .property_from_str("precision", precision)
            .build()
            .unwrap();
        element.set_state(gst::State::Ready).unwrap();
        let runs = element.property::<Option<String>>("active-provider");
        assert_eq!(runs.as_deref(), Some(active));
        element.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn messages_can_be_switched_off() {
    let mut bench = bench("post-messages=false");
    let buffer = bench.pass(picture(RED, ms(0)));
    assert_eq!(Tags::from_buffer(&buffer).len(), 1);
    bench.end();
    assert!(bench.outcome().tags.is_empty());
}

#[test]
fn the_clip_is_the_mean_of_its_pictures() {
    let mut bench = bench("threshold=0");
    for (time, colour) in [
        (0, RED),
        (500, ORANGE),
        (1000, BLUE),
        (2000, BLUE),
        (3000, ORANGE),
    ] {
        bench.pass(picture(colour, ms(time)));
    }
    bench.end();
    let outcome = bench.outcome();
    let clip = outcome.clip("f").unwrap();
    // Red, blue, blue and orange; the one at half a second was not taken.
    assert_eq!(
        rounded(clip),
        [("Drums", 0.6), ("Guitar", 0.45), ("Piano", 0.15)]
    );
    assert_eq!((clip.start, clip.duration), (Some(ms(0)), Some(ms(4000))));
}

#[test]
fn a_flush_forgets_everything() {
    let mut bench = bench("");
    bench.pass(picture(RED, ms(0)));
    bench.flush();
    // Not a second after the last picture, and yet a picture of its own.
    let buffer = bench.pass(picture(BLUE, ms(500)));
    assert_eq!(rounded(&Tags::from_buffer(&buffer)[0]), [("Drums", 1.0)]);
    bench.end();
    let outcome = bench.outcome();
    let clip = outcome.clip("f").unwrap();
    assert_eq!(rounded(clip), [("Drums", 1.0)]);
    assert_eq!(clip.start, Some(ms(500)));
}

#[test]
fn caps_may_change_in_mid_stream() {
    let mut bench = bench("");
    bench.pass(picture(RED, ms(0)));
    bench.set_caps("video/x-raw,format=BGRx,width=20,height=30,framerate=10/1");
    let blue = |time| buffer([255, 0, 0, 0].repeat(20 * 30), ms(time), ms(100));
    // The grid goes on, with the old tags until the next picture.
    let repeated = bench.pass(blue(500));
    assert_eq!(rounded(&Tags::from_buffer(&repeated)[0]), [("Guitar", 1.0)]);
    let fresh = bench.pass(blue(1000));
    assert_eq!(rounded(&Tags::from_buffer(&fresh)[0]), [("Drums", 1.0)]);
    assert_eq!(starts(&bench), [0, 1000]);
}

#[test]
fn media_passes_untouched_and_uncopied() {
    let mut bench = bench("");
    for time in [0, 100, 1000] {
        let mut original = picture(ORANGE, ms(time));
        let fields = original.get_mut().unwrap();
        fields.set_dts(ms(time + 7));
        fields.set_offset(time);
        fields.set_offset_end(time + 1);
        fields.set_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::MARKER);
        // The second reference is what another branch of a tee holds.
        let passed = bench.pass(original.clone());
        assert_untouched(&passed, &original);
        assert_eq!(Tags::from_buffer(&passed).len(), 1);
        assert_eq!(Tags::from_buffer(&original), []);
    }
}

fn stat_of(bench: &Bench, element: &str, field: &str) -> u64 {
    let stats = bench.element(element).property::<gst::Structure>("stats");
    stats.get(field).unwrap()
}

fn stat(bench: &Bench, field: &str) -> u64 {
    stat_of(bench, "f", field)
}

/// What all elements that share the model's session did.
fn session(bench: &Bench, element: &str) -> gst::Structure {
    let stats = bench.element(element).property::<gst::Structure>("stats");
    stats.get("session").unwrap()
}

#[test]
fn an_element_counts_its_own_inferences_and_its_session_all() {
    // A session of their own: no other test has these threads.
    let mut bench = Bench::new(
        "frameclassify name=every model=video threads=7 interval=0
            ! frameclassify name=some model=video threads=7",
        CAPS,
    );
    for (colour, time) in [(RED, 0), (BLUE, 100), (ORANGE, 1000)] {
        bench.pass(picture(colour, ms(time)));
    }
    assert_eq!(stat_of(&bench, "every", "inferences"), 3);
    assert_eq!(stat_of(&bench, "some", "inferences"), 2);
    for element in ["every", "some"] {
        let session = session(&bench, element);
        assert_eq!(session.get::<u64>("inferences"), Ok(5));
        let batches = session.get::<gst::Array>("batch-sizes").unwrap();
        assert_eq!(batches[0].get::<u64>(), Ok(5));
        assert!(session.get::<u64>("mean-latency").unwrap() > 0);
    }
}

#[test]
fn asynchronous_results_ride_on_later_buffers() {
    let mut bench = bench("scheduling=async repeat-tags=false threshold=0");
    let mut carried = Vec::new();
    for time in (0..1000).step_by(10) {
        let buffer = bench.pass(picture(ORANGE, ms(time)));
        carried.extend(Tags::from_buffer(&buffer));
        carried.extend(bench.metadata().0);
        assert!(Features::from_buffer(&buffer).len() == Tags::from_buffer(&buffer).len());
        std::thread::sleep(Duration::from_millis(5));
    }
    // What is under way at the end comes in an event, unless the model was faster than this buffer.
    let buffer = bench.pass(picture(BLUE, ms(1000)));
    carried.extend(Tags::from_buffer(&buffer));
    bench.end();
    carried.extend(bench.metadata().0);
    let starts: Vec<_> = carried.iter().map(|tags| tags.start.unwrap()).collect();
    assert_eq!(starts, [ms(0), ms(1000)]);
    assert_eq!(rounded(&carried[1])[0], ("Drums", 1.0));
    let outcome = bench.outcome();
    let clip = outcome.clip("f").unwrap();
    assert_eq!(
        rounded(clip),
        [("Drums", 0.7), ("Guitar", 0.4), ("Piano", 0.3)]
    );
}

#[test]
fn asynchronous_overruns_drop_the_older_request_and_count_it() {
    // Some tenths of a second a picture, so that thirty at once cannot all be taken.
    let mut bench = Bench::new(
        "frameclassify name=f model=slow scheduling=async interval=0",
        CAPS,
    );
    for index in 0..30 {
        bench.pass(picture(ORANGE, ms(index * 33)));
    }
    bench.end();
    let outcome = bench.outcome();
    let answered = outcome.windows("f");
    let dropped = stat(&bench, "dropped");
    assert!(dropped > 0);
    assert_eq!(answered.len() as u64 + dropped, 30);
    assert_eq!(stat(&bench, "inferences"), answered.len() as u64);
    // The newest is never the one that is dropped, and the order stays.
    let starts: Vec<_> = answered.iter().map(|tags| tags.start).collect();
    assert!(starts.is_sorted());
    assert_eq!(starts.last(), Some(&Some(ms(29 * 33))));
    assert!(stat(&bench, "p99-latency") >= stat(&bench, "mean-latency"));
    let session = session(&bench, "f");
    assert_eq!(
        session.get::<u64>("cpu-nodes"),
        Ok(0),
        "there is no GPU that they could fall back from"
    );
}

#[test]
fn a_slow_model_holds_nothing_up_and_what_it_misses_is_counted() {
    let mut bench = Bench::new(
        "frameclassify name=f model=slow threads=1 scheduling=async interval=0",
        CAPS,
    );
    assert_eq!(bench.latency(), ms(0));
    for time in (0..3000).step_by(100) {
        let buffer = bench.pass(picture(ORANGE, ms(time)));
        assert_eq!(Tags::from_buffer(&buffer), []);
    }
    assert_eq!(
        stat(&bench, "inferences"),
        0,
        "all media has passed before the first answer"
    );
    bench.end();
    // Of thirty pictures the first was with the model, and the last one waited.
    assert_eq!(starts(&bench), [0, 2900]);
    assert_eq!(
        (stat(&bench, "inferences"), stat(&bench, "dropped")),
        (2, 28)
    );
}

#[test]
fn only_a_live_pipeline_does_not_wait_for_results() {
    // The real model takes milliseconds; the time from a picture to the buffer with its tags.
    let delays = |live: bool| {
        let pipeline = launch(&format!(
            "videotestsrc is-live={live} num-buffers=16 ! video/x-raw,framerate=30/1
                ! frameclassify name=f interval=300000000 threshold=0 ! fakesink name=sink"
        ));
        let record = Record::of(&pipeline, "sink");
        let outcome = play(&pipeline);
        assert_eq!(outcome.windows("f").len(), 2);
        let mut delays = Vec::new();
        for buffer in record.buffers() {
            let tags = Tags::from_buffer(&buffer);
            let fresh = tags.iter().filter(|tags| tags.fresh);
            delays.extend(fresh.map(|tags| buffer.pts().unwrap() - tags.start.unwrap()));
        }
        delays
    };
    assert_eq!(delays(false), [ms(0), ms(0)]);
    assert!(delays(true).iter().all(|delay| *delay > ms(0)));
}

const AUDIO_CAPS: &str = "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved";

fn sound(patches: &[Features], pts: gst::ClockTime) -> gst::Buffer {
    let mut buffer = buffer(vec![0; 1600], pts, ms(100));
    Features::attach(patches, buffer.get_mut().unwrap());
    buffer
}

#[test]
fn mel_patches_become_tags_and_embeddings() {
    let mut bench = Bench::new(
        "frameclassify name=f model=audio threshold=0.25",
        AUDIO_CAPS,
    );
    let silent = bench.pass(sound(&[], ms(0)));
    assert_eq!(Tags::from_buffer(&silent), []);
    let patches = [
        mel_patch([0.125, 0.25, 0.375, -7.0], ms(10)),
        mel_patch([0.5, 0.0, 0.25, 5.0], ms(20)),
    ];
    let mut buffer = bench.pass(sound(&patches, ms(100)));
    let tags = Tags::from_buffer(&buffer);
    assert_eq!(tags.len(), 2);
    assert_eq!(
        rounded(&tags[0]),
        [("Drums", 0.75), ("Piano", 0.5), ("Guitar", 0.25)]
    );
    assert_eq!(rounded(&tags[1]), [("Guitar", 1.0), ("Drums", 0.5)]);
    assert_eq!(
        (tags[0].source, tags[0].start),
        (Source::Audio, Some(ms(10)))
    );
    assert_eq!(
        (tags[1].start, tags[1].duration),
        (Some(ms(20)), Some(ms(128)))
    );
    // The patches stay, the embeddings come after them.
    let features = Features::from_buffer(buffer.make_mut());
    assert_eq!(features[..2], patches);
    let expected = common::embedding("test-audio/1", &[0.125, 0.25, 0.375, -7.0], ms(10), ms(128));
    assert_eq!(features[2], expected);
    assert_eq!(features.len(), 4);
    bench.end();
    let outcome = bench.outcome();
    assert_eq!(
        rounded(outcome.clip("f").unwrap()),
        [("Guitar", 0.625), ("Drums", 0.625), ("Piano", 0.25)]
    );
    assert!(outcome.warnings.is_empty());
}

#[test]
fn patches_in_an_event_give_an_event() {
    let mut bench = Bench::new("frameclassify name=f model=audio", AUDIO_CAPS);
    bench.pass(sound(&[], ms(0)));
    bench.send(meta::event(&[], &[mel_patch([0.5, 0.0, 0.0, 1.0], ms(0))]));
    bench.end();
    let (tags, features) = bench.metadata();
    assert_eq!(tags.len(), 1);
    assert_eq!(rounded(&tags[0]), [("Guitar", 1.0)]);
    // melspec's own event passes, then comes the embedding.
    assert_eq!(features[0].kind, Kind::Mel);
    let expected = common::embedding("test-audio/1", &[0.5, 0.0, 0.0, 1.0], ms(0), ms(128));
    assert_eq!(features[1], expected);
    assert_eq!(
        rounded(bench.outcome().clip("f").unwrap()),
        [("Guitar", 1.0)]
    );
}

#[test]
fn audio_without_patches_is_warned_about() {
    let mut bench = Bench::new("frameclassify name=f model=audio", AUDIO_CAPS);
    bench.pass(sound(&[], ms(0)));
    bench.end();
    let outcome = bench.outcome();
    assert_eq!(outcome.warnings.len(), 1);
    assert!(
        outcome.warnings[0].contains("put melspec in front"),
        "{outcome:?}"
    );
    assert!(outcome.clip("f").is_none());
}

/// The error that `features` on audio lead to.
fn refused(features: Features) -> String {
    let mut bench = Bench::new("frameclassify name=f model=audio", AUDIO_CAPS);
    let pushed = bench.push(sound(&[features], ms(0)));
    assert_eq!(pushed, Err(gst::FlowError::Error));
    bench.outcome().error_text().to_owned()
}

#[test]
fn patches_of_another_front_end_are_refused() {
    let mut features = mel_patch([0.0; 4], ms(0));
    let fields = Arc::make_mut(&mut features.front_end);
    let hop = fields.iter_mut().find(|(key, _)| key == "hop");
    hop.unwrap().1 = "64".into();
    let error = refused(features);
    assert!(error.contains("hop is 64, the model's is 128"), "{error}");
}

#[test]
fn patches_of_another_shape_are_refused() {
    let mut features = mel_patch([0.0; 4], ms(0));
    features.dims = vec![4, 7];
    let error = refused(features);
    assert!(
        error.contains("4 bands x 8 frames") && error.contains("[4, 7]"),
        "{error}"
    );
}

// SPDX-License-Identifier: MPL-2.0

//! instrumenttagger: encoded and raw streams pass untouched, with the tags that avfuse gives of them.

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Outcome, Record, launch, matroska, play, rounded, stop};
use gst::prelude::*;
use gstinstruments::meta::{Source, Tags};

/// Six seconds of a picture, a key frame each second.
const PICTURES: &str = "videotestsrc num-buffers=60 pattern=spokes foreground-color=0xffcc9966
    ! video/x-raw,format=I420,width=64,height=48,framerate=10/1
    ! openh264enc gop-size=10 ! h264parse ! queue ! mux.";
/// Six seconds of noise.
const SOUND: &str =
    "audiotestsrc num-buffers=60 samplesperbuffer=1600 wave=white-noise ! audio/x-raw,rate=16000,channels=1
    ! flacenc ! flacparse ! queue ! mux.";
/// The models and windows of the tests.
const TAGGER: &str =
    "instrumenttagger name=tagger video-model=video audio-model=audio fusion-model=fusion
    threshold=0 window=2000000000 stride=2000000000";

/// Both streams of `file`, without and with the tagger: `through` and `on` are what stands before and after each queue.
fn streams(file: &Path, tagger: &str, video: (&str, &str), audio: (&str, &str)) -> gst::Pipeline {
    launch(&format!(
        "filesrc location={} ! matroskademux name=d
            d.video_0 ! queue {} {} fakesink name=video
            d.audio_0 ! queue {} {} fakesink name=audio {tagger}",
        file.display(),
        video.0,
        video.1,
        audio.0,
        audio.1,
    ))
}

/// Bytes, times and flags of what came to the sink.
fn packets(record: &Record) -> Vec<(Vec<u8>, [Option<gst::ClockTime>; 3], gst::BufferFlags)> {
    let buffers = record.buffers();
    let packet = |buffer: &gst::Buffer| {
        (
            buffer.map_readable().unwrap().to_vec(),
            [buffer.pts(), buffer.dts(), buffer.duration()],
            // Set by the sinks and queues that saw it first.
            buffer.flags() & !gst::BufferFlags::TAG_MEMORY,
        )
    };
    buffers.iter().map(packet).collect()
}

/// The fresh tags that came with buffers and in events.
fn fresh(record: &Record) -> Vec<Tags> {
    let buffers = record.buffers();
    let on_buffers = buffers.iter().flat_map(|buffer| Tags::from_buffer(buffer));
    on_buffers
        .filter(|tags| tags.fresh)
        .chain(record.event_tags())
        .collect()
}

fn passed(file: &Path, properties: &str) -> (Outcome, Record, Record) {
    let pipeline = streams(
        file,
        &format!("{TAGGER} {properties}"),
        ("! tagger.video tagger.video_src", "!"),
        ("! tagger.audio tagger.audio_src", "!"),
    );
    let records = (
        Record::of(&pipeline, "video"),
        Record::of(&pipeline, "audio"),
    );
    let outcome = play(&pipeline);
    (outcome, records.0, records.1)
}

#[test]
fn encoded_streams_pass_as_they_are_and_carry_what_avfuse_finds() {
    let file = matroska("encoded", &[PICTURES, SOUND]);
    let plain = streams(&file, "", ("!", ""), ("!", ""));
    let before = (Record::of(&plain, "video"), Record::of(&plain, "audio"));
    assert_eq!(play(&plain).error, None);

    let reference = launch(&format!(
        "uridecodebin uri=file://{} name=d
            d. ! queue ! frameclassify model=video ! fuse.video
            d. ! queue ! melspec ! frameclassify model=audio ! fuse.audio
            avfuse name=fuse model=fusion threshold=0 window=2000000000 stride=2000000000 ! fakesink name=sink",
        file.display()
    ));
    let reference = play(&reference);
    assert_eq!(reference.windows("fuse").len(), 3);

    let (outcome, video, audio) = passed(&file, "decode=all");
    assert_eq!(outcome.error, None);
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
    for (ours, theirs) in [(&video, &before.0), (&audio, &before.1)] {
        let (ours, theirs) = (packets(ours), packets(theirs));
        assert_eq!(ours.len(), theirs.len());
        for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours.0, theirs.0, "the bytes of packet {n}");
            assert_eq!((ours.1, ours.2), (theirs.1, theirs.2), "packet {n}");
        }
    }
    // Messages come in the bin's name; those of avfuse are the fused ones.
    let fused: Vec<_> = outcome
        .windows("tagger")
        .into_iter()
        .filter(|tags| tags.source == Source::Fused)
        .collect();
    let windows = reference.windows("fuse");
    assert_eq!(fused.len(), windows.len());
    for (ours, theirs) in fused.iter().zip(&windows) {
        assert_eq!((ours.start, ours.duration), (theirs.start, theirs.duration));
        assert_eq!(ours.sources, theirs.sources);
        assert_eq!(rounded(ours), rounded(theirs));
    }
    // Each result is fresh once on each stream.
    for record in [&video, &audio] {
        let starts: Vec<_> = fresh(record)
            .iter()
            .map(|tags| tags.start.unwrap())
            .collect();
        assert_eq!(
            starts,
            windows
                .iter()
                .map(|tags| tags.start.unwrap())
                .collect::<Vec<_>>()
        );
    }
    assert!(
        outcome
            .tags
            .iter()
            .any(|(_, tags, clip)| *clip && tags.source == Source::Fused)
    );
}

#[test]
fn key_frames_alone_are_decoded_and_say_the_same() {
    let file = matroska("keyframes", &[PICTURES]);
    let decoded = |properties: &str| {
        let pipeline = launch(&format!(
            "filesrc location={} ! matroskademux name=d d.video_0 ! queue ! tagger.video
                {TAGGER} {properties} interval=0 tagger.video_src ! fakesink name=video",
            file.display()
        ));
        let record = Record::of(&pipeline, "video");
        let outcome = play(&pipeline);
        assert_eq!(outcome.error, None);
        assert_eq!(record.buffers().len(), 60);
        let tags = outcome.windows("tagger").into_iter().cloned();
        let (seen, fused): (Vec<_>, Vec<_>) = tags.partition(|tags| tags.source == Source::Video);
        let fused: Vec<_> = fused
            .iter()
            .map(|tags| {
                (
                    tags.start,
                    tags.scores[0].0.clone(),
                    (tags.scores[0].1 * 10.0).round(),
                )
            })
            .collect();
        (seen.len(), fused)
    };
    let (pictures, all) = decoded("decode=all");
    assert_eq!(pictures, 60);
    let (pictures, some) = decoded("decode=keyframes");
    assert_eq!(pictures, 6);
    // The last window ends with the last picture that was decoded, 0.9 s earlier.
    assert_eq!((some.len(), all.len()), (3, 3));
    assert_eq!(some[..2], all[..2]);
    assert_eq!(some[2].1, all[2].1);
    // One a second is often enough for windows of two seconds: the first second shows it.
    assert_eq!(decoded("decode=auto").0, 10 + 5);
}

#[test]
fn raw_streams_pass_too() {
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=60 pattern=spokes foreground-color=0xffcc9966
            ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 ! tagger.video
            {TAGGER} source=any tagger.video_src ! fakesink name=video"
    ));
    let record = Record::of(&pipeline, "video");
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(record.buffers().len(), 60);
    let sources: Vec<_> = fresh(&record).iter().map(|tags| tags.source).collect();
    assert!(
        sources.contains(&Source::Video) && sources.contains(&Source::Fused),
        "{sources:?}"
    );
}

#[test]
fn media_that_nothing_decodes_passes_with_a_warning() {
    let pipeline = launch(&format!(
        "fakesrc num-buffers=50 sizetype=fixed filltype=zero ! application/x-instruments-unknown
            ! tagger.video {TAGGER} tagger.video_src ! fakesink name=video"
    ));
    let record = Record::of(&pipeline, "video");
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(record.buffers().len(), 50);
    assert!(
        outcome.warnings[0].starts_with("Tagging has stopped, the media passes on"),
        "{outcome:?}"
    );
}

#[test]
fn live_media_never_waits_for_a_model() {
    // `slow` takes far longer for each picture than a picture lasts.
    let pipeline = launch(&format!(
        "videotestsrc is-live=true num-buffers=40 ! video/x-raw,width=64,height=48,framerate=20/1
            ! tagger.video {} interval=0 tagger.video_src ! fakesink name=video",
        TAGGER.replace("video-model=video", "video-model=slow")
    ));
    let late = Arc::new(Mutex::new(Duration::ZERO));
    let pad = pipeline
        .by_name("video")
        .unwrap()
        .static_pad("sink")
        .unwrap();
    let (worst, last) = (late.clone(), Mutex::new(None::<Instant>));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let now = Instant::now();
        if let Some(before) = last.lock().unwrap().replace(now) {
            let mut worst = worst.lock().unwrap();
            *worst = worst.max(now - before);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    stop(&pipeline);
    // 50 ms apart; the bound is for loaded machines.
    assert!(*late.lock().unwrap() < Duration::from_secs(1), "{late:?}");
}

#[test]
fn pads_come_and_go() {
    let pipeline = launch(&format!("fakesink name=sink {TAGGER}"));
    let tagger = pipeline.by_name("tagger").unwrap();
    let inside = tagger.downcast_ref::<gst::Bin>().unwrap();
    let empty = inside.children().len();
    for _ in 0..2 {
        let pad = tagger.request_pad_simple("video").unwrap();
        assert!(tagger.static_pad("video_src").is_some());
        assert!(tagger.request_pad_simple("video").is_none());
        tagger.release_request_pad(&pad);
        assert!(tagger.static_pad("video_src").is_none());
        assert_eq!(inside.children().len(), empty);
    }
}

#[test]
fn properties_reach_the_elements_inside() {
    let pipeline = launch(
        "fakesink instrumenttagger name=tagger low-delay=true stride=700000000 threshold=0.6 threads=2 tag-lifetime=5",
    );
    let tagger = pipeline.by_name("tagger").unwrap();
    for pad in ["video", "audio"] {
        tagger.request_pad_simple(pad).unwrap();
    }
    let inside = tagger.downcast_ref::<gst::Bin>().unwrap();
    let seconds = |element: &str, property: &str| {
        let element = inside.by_name(element).unwrap();
        element.property::<u64>(property) as f64 / 1e9
    };
    // What is set after low-delay counts.
    assert_eq!(seconds("fuse", "stride"), 0.7);
    assert_eq!(seconds("fuse", "window"), 1.5);
    assert_eq!(seconds("melspec", "patch-duration"), 1.5);
    assert_eq!(seconds("classify-video", "interval"), 0.5);
    for name in ["classify-video", "classify-audio", "fuse"] {
        let element = inside.by_name(name).unwrap();
        assert_eq!(element.property::<f32>("threshold"), 0.6, "{name}");
        assert_eq!(element.property::<u32>("threads"), 2, "{name}");
        // Results on the buffers that pass are the bin's matter.
        assert_eq!(element.property::<u64>("tag-lifetime"), 0, "{name}");
    }
    tagger.set_property("low-delay", false);
    assert_eq!(seconds("fuse", "window"), 5.0);
    assert_eq!(seconds("melspec", "patch-duration"), 0.0);
    stop(&pipeline);
}

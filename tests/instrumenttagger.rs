// SPDX-License-Identifier: MPL-2.0

//! instrumenttagger: encoded and raw streams pass untouched, with the tags that avfuse gives of them.

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{PATIENCE, Record, folder, launch, matroska, play, root, rounded, stop};
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

/// The streams of a demuxer `d`, which a queue takes as far apart as they may be in the file.
const SEEN: &str = "d. ! video/x-h264 ! queue max-size-time=0 max-size-buffers=0";
const HEARD: &str = "d. ! audio/x-flac;audio/mpeg ! queue max-size-time=0 max-size-buffers=0";

/// A demuxer `d` of `file`, by what its name ends with.
fn demuxed(file: &Path) -> String {
    let demuxer = match file.extension().and_then(|name| name.to_str()) {
        Some("mp4") => "qtdemux",
        Some("ts") => "tsdemux",
        _ => "matroskademux",
    };
    format!("filesrc location={} ! {demuxer} name=d", file.display())
}

/// The bundled clip, of H.264 and AAC.
fn mp4() -> PathBuf {
    root().join("examples/media/band.mp4")
}

/// The bundled clip's streams in a transport stream, not encoded again; ends with the muxer's pad.
fn transport_stream() -> String {
    format!(
        "{} {SEEN} ! h264parse config-interval=1 ! video/x-h264,stream-format=byte-stream ! mux.
            {HEARD} ! aacparse ! audio/mpeg,stream-format=adts ! mux. mpegtsmux alignment=7 name=mux",
        demuxed(&mp4())
    )
}

/// Both streams of the demuxer `d` of `source`, through the tagger.
fn tagged(source: &str, properties: &str) -> gst::Pipeline {
    launch(&format!(
        "{source} {SEEN} ! tagger.video tagger.video_src ! fakesink async=false name=video
            {HEARD} ! tagger.audio tagger.audio_src ! fakesink async=false name=audio
            {TAGGER} {properties}"
    ))
}

type Packet = (Vec<u8>, [Option<gst::ClockTime>; 3], gst::BufferFlags);

/// Bytes, times and flags of what came to the sink.
fn packets(record: &Record) -> Vec<Packet> {
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

/// Fails unless the packets are the same.
fn assert_same(ours: &Record, theirs: &[Packet]) {
    let ours = packets(ours);
    assert_eq!(ours.len(), theirs.len());
    for (n, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!(ours.0 == theirs.0, "the bytes of packet {n}");
        assert_eq!((ours.1, ours.2), (theirs.1, theirs.2), "packet {n}");
    }
}

/// Keeps all but key frames from `decoder`, and tells it so: it puts each out at once.
fn key_frames_only(decoder: &gst::Element) {
    let pad = decoder.static_pad("sink").unwrap();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer))
                if buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) =>
            {
                return gst::PadProbeReturn::Handled;
            }
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Segment(segment) = event.view() {
                    let mut segment = segment.segment().clone();
                    segment.set_flags(segment.flags() | gst::SegmentFlags::TRICKMODE_KEY_UNITS);
                    *event = gst::event::Segment::new(&segment);
                }
            }
            _ => (),
        }
        gst::PadProbeReturn::Ok
    });
}

/// Compares what the tagger makes of `file` with the file and with avfuse behind decoders of all pictures, or of key
/// frames.
fn check_file(file: &Path, decode: &str) {
    let source = demuxed(file);
    let plain = launch(&format!(
        "{source} {SEEN} ! fakesink name=video {HEARD} ! fakesink name=audio"
    ));
    let before = (Record::of(&plain, "video"), Record::of(&plain, "audio"));
    assert_eq!(play(&plain).error, None);

    // avfuse does not wait for a branch that is not linked yet; a funnel counts as one that is.
    let reference = launch(&format!(
        "{source} {SEEN} ! h264parse ! avdec_h264 name=decoder ! funnel ! frameclassify model=video ! fuse.video
            {HEARD} ! decodebin ! funnel ! melspec ! frameclassify model=audio ! fuse.audio
            avfuse name=fuse model=fusion threshold=0 window=2000000000 stride=2000000000 ! fakesink name=sink"
    ));
    if decode == "keyframes" {
        key_frames_only(&reference.by_name("decoder").unwrap());
    }
    let reference = play(&reference);
    assert_eq!(reference.error, None);
    let windows = reference.windows("fuse");
    assert!(windows.len() > 2, "{reference:?}");

    let pipeline = tagged(&source, &format!("decode={decode}"));
    let (video, audio) = (
        Record::of(&pipeline, "video"),
        Record::of(&pipeline, "audio"),
    );
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
    assert_same(&video, &packets(&before.0));
    assert_same(&audio, &packets(&before.1));
    // Messages come in the bin's name; those of avfuse are the fused ones.
    let fused: Vec<_> = outcome
        .windows("tagger")
        .into_iter()
        .filter(|tags| tags.source == Source::Fused)
        .collect();
    assert_eq!(fused.len(), windows.len());
    for (ours, theirs) in fused.iter().zip(&windows) {
        assert_eq!((ours.start, ours.duration), (theirs.start, theirs.duration));
        assert_eq!(ours.sources, theirs.sources);
        assert_eq!(rounded(ours), rounded(theirs));
    }
    // Each result is fresh once on each stream, in the time base of that stream's buffers.
    for record in [&video, &audio] {
        let fresh = fresh(record);
        let apart = |tags: &[&Tags]| -> Vec<_> {
            let starts = tags.iter().map(|tags| tags.start.unwrap());
            starts.map(|start| start - tags[0].start.unwrap()).collect()
        };
        assert_eq!(apart(&fresh.iter().collect::<Vec<_>>()), apart(&windows));
        for (ours, theirs) in fresh.iter().zip(&windows) {
            assert_eq!(rounded(ours), rounded(theirs));
        }
    }
    assert!(
        outcome
            .tags
            .iter()
            .any(|(_, tags, clip)| *clip && tags.source == Source::Fused)
    );
}

#[test]
fn encoded_streams_pass_as_they_are_and_carry_what_avfuse_finds() {
    check_file(&matroska("encoded", &[PICTURES, SOUND]), "all");
}

#[test]
fn an_mp4_file_passes_as_it_is_with_the_same_tags() {
    check_file(&mp4(), "all");
    check_file(&mp4(), "keyframes");
}

#[test]
fn a_transport_stream_passes_as_it_is_with_the_same_tags() {
    let file = folder("ts").join("file.ts");
    let sink = format!(" ! filesink location={}", file.display());
    assert_eq!(play(&launch(&(transport_stream() + &sink))).error, None);
    check_file(&file, "all");
    check_file(&file, "keyframes");
}

/// Live: what comes from the demuxer is what comes to the sinks, and results of both streams ride on both.
#[test]
fn a_live_srt_stream_passes_as_it_is_with_tags() {
    let sender = launch(&format!(
        "{} ! srtsink uri=srt://127.0.0.1:7011?mode=listener",
        transport_stream()
    ));
    let pipeline = tagged("srtsrc uri=srt://127.0.0.1:7011 ! tsdemux name=d", "");
    let came = ["video", "audio"].map(|stream| {
        let tagger = pipeline.by_name("tagger").unwrap();
        let came = Record::at(&tagger.static_pad(stream).unwrap());
        (came, Record::of(&pipeline, stream))
    });
    sender.set_state(gst::State::Playing).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Two results of sound and pictures together on each stream.
    while !came.iter().all(|(_, left)| {
        let fresh = fresh(left);
        fresh.iter().filter(|tags| tags.sources.len() == 2).count() > 1
    }) {
        assert!(Instant::now() < deadline, "no tags");
        std::thread::sleep(Duration::from_millis(100));
    }
    stop(&sender);
    stop(&pipeline);
    for (came, left) in came {
        // The last packets may have been between the two when the pipeline stopped.
        let mut came = packets(&came);
        came.truncate(left.buffers().len());
        assert_same(&left, &came);
    }
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
    // One a second is often enough for windows of two seconds.
    assert_eq!(decoded("decode=auto").0, 6);
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
        outcome.warnings[0].starts_with("Tagging has stopped, the media continues without tags"),
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
    let inside: gst::Pipeline = tagger.property("analysis");
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
    let inside: gst::Pipeline = tagger.property("analysis");
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

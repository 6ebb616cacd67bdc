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

/// What `pipeline` says in a run to its end, and in another one.
fn twice(pipeline: &gst::Pipeline) -> [Vec<(Source, Option<gst::ClockTime>, String)>; 2] {
    [(), ()].map(|()| {
        let outcome = play(pipeline);
        assert_eq!(outcome.error, None);
        assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
        let windows = outcome.windows("tagger").into_iter();
        let mut all: Vec<_> = windows
            .map(|tags| (tags.source, tags.start, format!("{:?}", rounded(tags))))
            .collect();
        // Those of both streams come from threads of their own.
        all.sort_by_key(|&(source, start, _)| (source as u8, start));
        all
    })
}

#[test]
fn a_second_run_says_the_same() {
    let [first, second] = twice(&launch(&format!(
        "{} ! tagger.video {TAGGER} tagger.video_src ! fakesink",
        PICTURES.trim_end_matches("! queue ! mux.")
    )));
    assert_eq!(first.len(), 9, "{first:?}");
    assert_eq!(second, first);
}

#[test]
fn a_second_live_run_is_tagged() {
    let pipeline = launch(&format!(
        "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=20/1 ! tagger.video
            {TAGGER} window=500000000 stride=500000000 interval=100000000 tagger.video_src ! fakesink name=video"
    ));
    for _ in 0..2 {
        let record = Record::of(&pipeline, "video");
        pipeline.set_state(gst::State::Playing).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while fresh(&record).len() < 2 {
            assert!(Instant::now() < deadline, "no tags");
            std::thread::sleep(Duration::from_millis(20));
        }
        stop(&pipeline);
    }
}

/// The sound ends 1.5 s before the pictures: the muxer waits for its end, and the pictures for the muxer.
#[test]
fn streams_that_end_apart_reach_a_muxer() {
    let sound = SOUND.replace("num-buffers=60", "num-buffers=45");
    let file = matroska("apart", &[PICTURES, &sound]);
    let outcome = play(&launch(&format!(
        "filesrc location={} ! matroskademux name=d
            d. ! video/x-h264 ! queue ! tagger.video tagger.video_src ! queue ! mux.video_0
            d. ! audio/x-flac ! flacparse ! queue ! tagger.audio tagger.audio_src ! queue ! mux.audio_0
            {TAGGER} scheduling=auto matroskamux name=mux ! fakesink",
        file.display()
    )));
    assert_eq!(outcome.error, None);
    assert!(outcome.warnings.is_empty(), "{outcome:?}");
    assert!(outcome.clip("tagger").is_some());
}

#[test]
fn a_tagger_is_put_into_a_running_live_pipeline() {
    let pipeline = launch(
        "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=20/1 ! queue name=before
            ! fakesink name=sink",
    );
    let record = Record::of(&pipeline, "sink");
    pipeline.set_state(gst::State::Playing).unwrap();
    let passed = |more: usize| {
        let (before, since) = (record.buffers().len(), Instant::now());
        while record.buffers().len() < before + more {
            assert!(since.elapsed() < PATIENCE, "nothing passes");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    passed(3);
    let tagger = gst::ElementFactory::make("instrumenttagger")
        .property("video-model", "video")
        .property("fusion-model", "none")
        .property("interval", 100_000_000u64)
        .property("threshold", 0f32)
        .property_from_str("source", "video")
        .build()
        .unwrap();
    let element = |name: &str, pad: &str| pipeline.by_name(name).unwrap().static_pad(pad).unwrap();
    let (before, sink) = (element("before", "src"), element("sink", "sink"));
    for _ in 0..2 {
        pipeline.add(&tagger).unwrap();
        tagger.sync_state_with_parent().unwrap();
        let (done, is_done) = std::sync::mpsc::channel();
        let (own, sink) = (tagger.clone(), sink.clone());
        before.add_probe(gst::PadProbeType::IDLE, move |before, _| {
            before.unlink(&sink).unwrap();
            let pad = own.request_pad_simple("video").unwrap();
            own.static_pad("video_src").unwrap().link(&sink).unwrap();
            before.link(&pad).unwrap();
            let _ = done.send(());
            gst::PadProbeReturn::Remove
        });
        is_done.recv_timeout(PATIENCE).unwrap();
        let (count, since) = (fresh(&record).len(), Instant::now());
        while fresh(&record).len() < count + 2 {
            assert!(since.elapsed() < PATIENCE, "no tags");
            std::thread::sleep(Duration::from_millis(20));
        }
        // And out again.
        let (done, is_done) = std::sync::mpsc::channel();
        let (own, sink) = (tagger.clone(), element("sink", "sink"));
        before.add_probe(gst::PadProbeType::IDLE, move |before, _| {
            let pad = own.static_pad("video").unwrap();
            before.unlink(&pad).unwrap();
            own.release_request_pad(&pad);
            before.link(&sink).unwrap();
            let _ = done.send(());
            gst::PadProbeReturn::Remove
        });
        is_done.recv_timeout(PATIENCE).unwrap();
        pipeline.remove(&tagger).unwrap();
        tagger.set_state(gst::State::Null).unwrap();
        passed(3);
    }
    stop(&pipeline);
}

/// The key frames of the clip are 10 s apart.
#[test]
fn auto_says_what_all_says_where_key_frames_are_rare() {
    let windows = |decode: &str| -> Vec<_> {
        let outcome = play(&tagged(&demuxed(&mp4()), &format!("decode={decode}")));
        assert_eq!(outcome.error, None);
        let windows = outcome.windows("tagger").into_iter();
        let seen = windows.filter(|tags| tags.source != Source::Audio);
        let mut seen: Vec<_> = seen
            .map(|tags| {
                (
                    tags.source as u8,
                    tags.start,
                    format!("{:?}", rounded(tags)),
                )
            })
            .collect();
        seen.sort();
        seen
    };
    let all = windows("all");
    // A picture each second, and a result each two.
    assert!(all.len() >= 40, "{}", all.len());
    assert_eq!(windows("auto"), all);
}

/// How many pictures come out of the decoder of `encoder`'s 500 key frames in 20 s.
fn decoded(encoder: &str, properties: &str) -> usize {
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=500 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! {encoder}
            ! tagger.video {TAGGER} {properties} tagger.video_src ! fakesink name=video"
    ));
    let record = Record::of(&pipeline, "video");
    let count = Arc::new(Mutex::new(0));
    let inside: gst::Pipeline = pipeline.by_name("tagger").unwrap().property("analysis");
    let counter = count.clone();
    inside.connect_deep_element_added(move |_, _, element| {
        let decodes =
            |factory: gst::ElementFactory| factory.has_type(gst::ElementFactoryType::DECODER);
        // A decodebin counts as a decoder, but has no such pad.
        if element.factory().is_some_and(decodes)
            && let Some(pad) = element.static_pad("src")
        {
            let counter = counter.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                *counter.lock().unwrap() += 1;
                gst::PadProbeReturn::Ok
            });
        }
    });
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(record.buffers().len(), 500);
    let seen = outcome.windows("tagger").into_iter();
    let seen = seen.filter(|tags| tags.source == Source::Video).count();
    assert!((19..=21).contains(&seen), "{seen} results of pictures");
    let count = *count.lock().unwrap();
    assert!(count >= seen, "{count} pictures for {seen} results");
    count
}

#[test]
fn of_many_key_frames_one_an_interval_is_decoded() {
    for encoder in ["jpegenc", "openh264enc gop-size=1 ! h264parse"] {
        for decode in ["auto", "keyframes"] {
            let count = decoded(encoder, &format!("decode={decode}"));
            assert!(
                (19..=22).contains(&count),
                "{encoder}, {decode}: {count} pictures"
            );
        }
    }
    assert_eq!(decoded("jpegenc", "decode=all"), 500);
}

/// A parser guesses layer 1 from the gap in front of the sound, of which the first frame says layer 2.
#[test]
fn sound_that_begins_late_in_a_transport_stream_is_tagged() {
    let file = folder("late").join("file.ts");
    let outcome = play(&launch(&format!(
        "videotestsrc num-buffers=160 horizontal-speed=5 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1
                ! openh264enc gop-size=10 ! h264parse ! queue ! mux.
            audiotestsrc num-buffers=50 wave=white-noise samplesperbuffer=4410 timestamp-offset=8000000000
                ! audio/x-raw,rate=44100,channels=2 ! avenc_mp2 ! mpegaudioparse ! queue ! mux.
            mpegtsmux name=mux ! filesink location={}",
        file.display()
    )));
    assert_eq!(outcome.error, None);
    let outcome = play(&launch(&format!(
        "filesrc location={} ! tsdemux name=d
            d. ! video/x-h264 ! h264parse ! queue max-size-time=0 max-size-buffers=0 ! tagger.video
            d. ! audio/mpeg ! mpegaudioparse ! queue max-size-time=0 max-size-buffers=0 ! tagger.audio
            {TAGGER} scheduling=sync tagger.video_src ! fakesink async=false tagger.audio_src ! fakesink async=false",
        file.display()
    )));
    assert_eq!(outcome.error, None);
    assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
    let windows = outcome.windows("tagger");
    let heard = windows
        .iter()
        .filter(|tags| tags.source == Source::Audio)
        .count();
    let both = windows
        .iter()
        .filter(|tags| tags.sources.len() == 2)
        .count();
    assert!(
        heard >= 4 && both >= 2,
        "{heard} results of sound, {both} of both"
    );
}

/// As an application does that links pads as a demuxer adds them: the pictures play already, or have all passed.
#[test]
fn sound_that_is_linked_later_is_fused() {
    for pictures in [15, 100] {
        let pipeline = launch(&format!(
            "videotestsrc num-buffers={pictures} horizontal-speed=5 ! video/x-raw,format=I420,width=64,height=48,framerate=10/1
                ! tagger.video {TAGGER} scheduling=sync tagger.video_src ! fakesink name=video async=false
                audiotestsrc name=sound num-buffers=100 wave=white-noise samplesperbuffer=4410
                ! capsfilter name=heard caps=audio/x-raw,rate=44100"
        ));
        let by_name = |name: &str| pipeline.by_name(name).unwrap();
        let (tagger, sound, heard) = (by_name("tagger"), by_name("sound"), by_name("heard"));
        let audio = tagger.request_pad_simple("audio").unwrap();
        let sink = gst::ElementFactory::make("fakesink").property("async", false);
        let sink = sink.build().unwrap();
        pipeline.add(&sink).unwrap();
        tagger.link_pads(Some("audio_src"), &sink, None).unwrap();
        for element in [&sound, &heard] {
            element.set_locked_state(true);
        }
        let (sender, begun) = std::sync::mpsc::channel();
        let video = by_name("video").static_pad("sink").unwrap();
        video.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            // The test listens for the first alone.
            let _ = sender.send(());
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        begun.recv_timeout(Duration::from_secs(30)).unwrap();
        heard.static_pad("src").unwrap().link(&audio).unwrap();
        for element in [&heard, &sound] {
            element.set_locked_state(false);
            element.sync_state_with_parent().unwrap();
        }
        let outcome = common::wait(&pipeline);
        stop(&pipeline);
        assert_eq!(outcome.error, None);
        let windows = outcome.windows("tagger");
        let first = windows.iter().find(|tags| tags.sources.len() == 2);
        let first = first.unwrap_or_else(|| panic!("{pictures}: no result of both"));
        assert_eq!(first.start, Some(gst::ClockTime::ZERO), "{pictures}");
    }
}

/// gst-launch-1.0 ends at once after the end of the streams, while the element still looks whether the analysis ends too.
#[test]
fn a_process_that_ends_at_once_ends() {
    common::init();
    let tagger = format!("{TAGGER} scheduling=sync");
    let words = "videotestsrc num-buffers=20 ! video/x-raw,width=64,height=48,framerate=10/1 ! tagger.video
        tagger.video_src ! fakesink audiotestsrc num-buffers=20 ! tagger.audio tagger.audio_src ! fakesink";
    for run in 0..20 {
        let status = std::process::Command::new(root().join("scripts/env"))
            .args(["timeout", "30", "gst-launch-1.0", "-q"])
            .args(tagger.split_whitespace().chain(words.split_whitespace()))
            .status()
            .unwrap();
        assert!(status.success(), "run {run}: {status}");
    }
}

/// The numbers of `stats` for the stream `name`.
fn counts(tagger: &gst::Element, name: &str) -> [u64; 4] {
    let stats: gst::Structure = tagger.property("stats");
    let stream: gst::Structure = stats.get(name).unwrap();
    ["passed", "analysed", "dropped", "backlog"].map(|field| stream.get(field).unwrap())
}

#[test]
fn stats_count_what_passes() {
    let pipeline = tagged(&demuxed(&matroska("stats", &[PICTURES, SOUND])), "");
    let tagger = pipeline.by_name("tagger").unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let outcome = common::wait(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(counts(&tagger, "video"), [60, 60, 0, 0]);
    let [passed, analysed, dropped, _] = counts(&tagger, "audio");
    assert_eq!((analysed, dropped), (passed, 0));
    let age = |tagger: &gst::Element| {
        let stats: gst::Structure = tagger.property("stats");
        stats.get::<gst::ClockTime>("age").ok()
    };
    let before = age(&tagger).expect("a result came");
    std::thread::sleep(Duration::from_millis(50));
    assert!(age(&tagger).unwrap() >= before + gst::ClockTime::from_mseconds(50));
    // A start counts anew.
    stop(&pipeline);
    pipeline.set_state(gst::State::Paused).unwrap();
    assert_eq!(age(&tagger), None);
    stop(&pipeline);
}

#[test]
fn stats_count_what_a_slow_model_leaves_out() {
    let pipeline = launch(&format!(
        "videotestsrc is-live=true num-buffers=200 ! video/x-raw,format=I420,width=64,height=48,framerate=50/1
            ! openh264enc gop-size=1 ! h264parse ! tagger.video
            {} interval=0 decode=all tagger.video_src ! fakesink name=video",
        TAGGER.replace("video-model=video", "video-model=slow")
    ));
    let record = Record::of(&pipeline, "video");
    let tagger = pipeline.by_name("tagger").unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let outcome = common::wait(&pipeline);
    assert_eq!(outcome.error, None);
    let [passed, analysed, dropped, backlog] = counts(&tagger, "video");
    assert_eq!((passed, record.buffers().len()), (200, 200));
    assert_eq!(analysed + dropped, 200);
    assert!(dropped > 20, "{dropped} dropped");
    // Two seconds, and the units on their way.
    assert!(
        (1_000_000_000..3_000_000_000).contains(&backlog),
        "{backlog} ns wait"
    );
    stop(&pipeline);
}

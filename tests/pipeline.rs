// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines on files: the line of the README, seeking, playing again, media that stays what it was.

mod common;

use std::path::Path;

use common::{Outcome, Record, launch, matroska, ms, play, stop, wait};
use gst::prelude::*;
use gstinstruments::meta::{Source, Tags};

/// Six seconds of two colours side by side, which change places each second; their red, green and blue are 0.8, 0.6 and
/// 0.4 in the mean.
const PICTURES: &str = "videotestsrc num-buffers=6 pattern=blink foreground-color=0xfff0bd8a background-color=0xffa87542
    ! video/x-raw,width=32,height=48,framerate=1/1 ! halves.
    videotestsrc num-buffers=6 pattern=blink foreground-color=0xffa87542 background-color=0xfff0bd8a
    ! video/x-raw,width=32,height=48,framerate=1/1 ! halves.
    compositor name=halves sink_1::xpos=32
    ! video/x-raw,format=I420,width=64,height=48,framerate=10/1 ! jpegenc quality=95 ! mux.";
/// Six seconds of noise.
const SOUND: &str =
    "audiotestsrc num-buffers=60 samplesperbuffer=1600 wave=white-noise ! audio/x-raw,rate=16000,channels=1
    ! flacenc ! mux.";

/// The line of the README with the test models, windows of two seconds, and a sink for any machine.
fn line(file: &Path) -> String {
    format!(
        "uridecodebin uri=file://{} name=d
            d. ! queue ! frameclassify name=pictures model=video ! fuse.video
            d. ! queue ! melspec patch-interval=100000000 ! frameclassify name=sound model=audio threshold=0 ! fuse.audio
            avfuse name=fuse model=fusion window=2000000000 stride=2000000000 ! videoconvert ! fakesink name=sink",
        file.display()
    )
}

fn spans(outcome: &Outcome, element: &str) -> Vec<(u64, u64)> {
    let round = |time: gst::ClockTime| (time.seconds_f64() * 10.0).round() as u64;
    let windows = outcome.windows(element).into_iter();
    windows
        .map(|tags| (round(tags.start.unwrap()), round(tags.duration.unwrap())))
        .collect()
}

fn near(tags: &Tags, expected: &[(&str, f32)]) -> bool {
    tags.scores.len() == expected.len()
        && tags
            .scores
            .iter()
            .zip(expected)
            .all(|((label, score), (name, value))| label == name && (score - value).abs() < 0.05)
}

#[test]
fn a_file_with_both() {
    let pipeline = launch(&line(&matroska("both", &[PICTURES, SOUND])));
    let record = Record::of(&pipeline, "sink");
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    assert!(outcome.warnings.is_empty(), "{outcome:?}");
    // Tenths of a second.
    assert_eq!(spans(&outcome, "fuse"), [(0, 20), (20, 20), (40, 20)]);
    for tags in outcome.windows("fuse") {
        assert_eq!(tags.sources, [Source::Video, Source::Audio]);
    }
    let starts: Vec<_> = (0..6).map(|second| (second * 10, 10)).collect();
    assert_eq!(spans(&outcome, "pictures"), starts);
    let expected = [("Guitar", 0.8), ("Piano", 0.6), ("Drums", 0.4)];
    assert!(
        near(outcome.clip("pictures").unwrap(), &expected),
        "{outcome:?}"
    );
    assert_eq!(outcome.windows("sound").len(), 60);
    assert_eq!(record.buffers().len(), 60);
    // From the second on the pictures carry what was fused, and what frameclassify found.
    let last = record.buffers().pop().unwrap();
    let sources: Vec<_> = Tags::from_buffer(&last)
        .iter()
        .map(|tags| tags.source)
        .collect();
    assert_eq!(sources, [Source::Video, Source::Fused]);
}

#[test]
fn a_picture_that_stays_is_no_evidence_beside_sound() {
    // As the cover of an album over a song.
    let cover = PICTURES.replace("pattern=blink", "pattern=solid-color");
    let outcome = play(&launch(&line(&matroska("cover", &[&cover, SOUND]))));
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.windows("pictures").len(), 6);
    assert_eq!(spans(&outcome, "fuse"), [(0, 20), (20, 20), (40, 20)]);
    let clip = outcome.clip("fuse").unwrap();
    for tags in outcome.windows("fuse").into_iter().chain([clip]) {
        assert_eq!(tags.sources, [Source::Audio]);
    }
    // Without sound it is all that there is.
    let outcome = play(&launch(&line(&matroska("cover-alone", &[&cover]))));
    let clip = outcome.clip("fuse").unwrap();
    assert_eq!(clip.sources, [Source::Video]);
}

#[test]
fn a_file_without_sound() {
    let pipeline = launch(&line(&matroska("silent", &[PICTURES])));
    let record = Record::of(&pipeline, "sink");
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(spans(&outcome, "fuse"), [(0, 20), (20, 20), (40, 20)]);
    let expected = [("Guitar", 0.8), ("Piano", 0.6), ("Drums", 0.4)];
    for tags in outcome.windows("fuse") {
        assert_eq!(tags.sources, [Source::Video]);
        assert!(near(tags, &expected), "{tags:?}");
    }
    assert_eq!(record.buffers().len(), 60);
}

#[test]
fn a_file_without_pictures() {
    let outcome = play(&launch(&line(&matroska("blind", &[SOUND]))));
    assert_eq!(outcome.error, None);
    assert_eq!(spans(&outcome, "fuse"), [(0, 20), (20, 20), (40, 20)]);
    for tags in outcome.windows("fuse") {
        assert_eq!(tags.sources, [Source::Audio]);
    }
    assert!(outcome.windows("pictures").is_empty());
}

#[test]
fn a_seek_starts_anew() {
    let pipeline = launch(&line(&matroska("seek", &[PICTURES, SOUND])));
    pipeline.set_state(gst::State::Paused).unwrap();
    let (prerolled, _, _) = pipeline.state(ms(60_000));
    prerolled.unwrap();
    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
    pipeline.seek_simple(flags, ms(3000)).unwrap();
    let (prerolled, _, _) = pipeline.state(ms(60_000));
    prerolled.unwrap();
    // What was said before the seek.
    while pipeline.bus().unwrap().pop().is_some() {}
    let record = Record::of(&pipeline, "sink");
    pipeline.set_state(gst::State::Playing).unwrap();
    let outcome = wait(&pipeline);
    stop(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(spans(&outcome, "fuse"), [(30, 20), (40, 20)]);
    assert!(
        spans(&outcome, "pictures")
            .iter()
            .all(|(start, _)| *start >= 30)
    );
    let clip = outcome.clip("fuse").unwrap();
    assert_eq!(clip.start.unwrap().mseconds() / 100, 30);
    assert!(
        record
            .buffers()
            .iter()
            .all(|buffer| buffer.pts().unwrap() >= ms(3000))
    );
    assert_eq!(record.count(gst::EventType::Eos), 1);
}

#[test]
fn a_pipeline_plays_again() {
    let pipeline = launch(
        "videotestsrc num-buffers=90 pattern=smpte75 ! video/x-raw,framerate=30/1 ! frameclassify model=video ! fuse.video
            audiotestsrc num-buffers=150 samplesperbuffer=160 ! audio/x-raw,rate=8000
            ! melspec patch-interval=100000000 ! frameclassify model=audio ! fuse.audio
            avfuse name=fuse model=fusion window=2000000000 stride=1000000000 threshold=0 ! fakesink",
    );
    let tags = |outcome: Outcome| {
        assert_eq!(outcome.error, None);
        let windows = outcome.windows("fuse").into_iter().cloned();
        windows
            .chain(outcome.clip("fuse").cloned())
            .collect::<Vec<_>>()
    };
    let first = tags(play(&pipeline));
    assert_eq!(first.len(), 4);
    assert_eq!(tags(play(&pipeline)), first);
}

/// Timestamp, duration and bytes of each buffer.
fn media(record: &Record) -> Vec<(Option<gst::ClockTime>, Option<gst::ClockTime>, Vec<u8>)> {
    let buffers = record.buffers().into_iter();
    buffers
        .map(|buffer| {
            let bytes = buffer.map_readable().unwrap().to_vec();
            (buffer.pts(), buffer.duration(), bytes)
        })
        .collect()
}

#[test]
fn all_three_elements_leave_the_media_as_it_was() {
    let both = matroska("media", &[PICTURES, SOUND]);
    let run = |pictures: &str, sound: &str| {
        let pipeline = launch(&format!(
            "filesrc location={} ! matroskademux name=d
                d.video_0 ! queue ! jpegdec {pictures} ! fakesink name=pictures
                d.audio_0 ! queue ! flacparse ! flacdec {sound} ! fakesink name=sound",
            both.display()
        ));
        let (pictures, sound) = (
            Record::of(&pipeline, "pictures"),
            Record::of(&pipeline, "sound"),
        );
        assert_eq!(play(&pipeline).error, None);
        (media(&pictures), media(&sound))
    };
    let plain = run("", "");
    assert_eq!(plain.0.len(), 60);
    let tagged = run(
        "! frameclassify model=video interval=0 ! v.video avfuse name=v model=fusion",
        "! melspec patch-interval=50000000 ! frameclassify model=audio ! a.audio avfuse name=a model=fusion",
    );
    assert!(plain.0 == tagged.0);
    assert!(plain.1 == tagged.1);
}

#[test]
fn the_bundled_clip_with_the_default_models() {
    let clip = common::root().join("examples/media/band.mp4");
    let pipeline = launch(&format!(
        "uridecodebin uri=file://{} name=d
            d. ! queue ! frameclassify name=pictures threshold=0 ! fuse.video
            d. ! queue ! melspec ! frameclassify name=sound threshold=0 ! fuse.audio
            avfuse name=fuse threshold=0 max-tags=0 ! fakesink",
        clip.display()
    ));
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    for element in ["pictures", "sound", "fuse"] {
        assert!(outcome.clip(element).is_some(), "{element}");
    }
    let fused = outcome.clip("fuse").unwrap();
    assert_eq!(fused.scores.len(), 13);
    assert_eq!(fused.sources, [Source::Video, Source::Audio]);
    for (label, score) in &fused.scores {
        assert!((0.0..=1.0).contains(score), "{label}: {score}");
    }
}

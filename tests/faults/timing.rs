// SPDX-License-Identifier: MPL-2.0

//! Timestamps that should not be: the media passes untouched, nothing panics, and the work stays bounded.

use gst::prelude::*;

use crate::common::{Bench, Outcome, Record, assert_untouched, buffer, launch, ms, play};

const PICTURES: &str = "video/x-raw,format=RGB,width=8,height=6,framerate=10/1";
const SOUND: &str = "audio/x-raw,format=F32LE,rate=8000,channels=1,layout=interleaved";
const BOTH: &str =
    "appsrc name=video format=time max-bytes=0 caps=video/x-raw,format=RGB,width=8,height=6,framerate=10/1
        ! frameclassify model=video threshold=0 ! fuse.video
    appsrc name=audio format=time max-bytes=0 caps=audio/x-raw,format=F32LE,rate=8000,channels=1,layout=interleaved
        ! melspec patch-interval=200000000 ! frameclassify model=audio threshold=0 ! fuse.audio
    avfuse name=fuse model=fusion threshold=0 window=1000000000 stride=500000000 ! tee name=t
        t. ! queue ! fakesink name=sink t. ! queue ! tagtext ! fakesink async=false";

type Time = Option<gst::ClockTime>;

/// A tenth of a second of sound.
fn sound((pts, duration): (Time, Time)) -> gst::Buffer {
    let samples = (0..800).flat_map(|n| ((n as f32) * 0.3).sin().to_le_bytes());
    buffer(samples.collect(), pts, duration)
}

fn picture((pts, duration): (Time, Time)) -> gst::Buffer {
    buffer([204, 153, 102].repeat(8 * 6), pts, duration)
}

/// Passes `buffers` one by one; each comes out as it went in.
fn pass(bench: &mut Bench, buffers: Vec<gst::Buffer>) -> Outcome {
    for buffer in buffers {
        let passed = bench.pass(buffer.clone());
        assert_untouched(&passed, &buffer);
    }
    bench.end();
    let outcome = bench.outcome();
    assert_eq!(outcome.error, None);
    outcome
}

/// Buffers with these timestamps and durations pass through each element alone and through all of them together,
/// with at most `most` results of each.
#[track_caller]
fn holds(times: &[(Time, Time)], most: usize) {
    let mut bench = Bench::new("frameclassify name=f model=video threshold=0", PICTURES);
    let pictures: Vec<_> = times.iter().copied().map(picture).collect();
    let found = pass(&mut bench, pictures.clone()).windows("f").len();
    assert!((1..=most).contains(&found), "{found} results of pictures");

    let description =
        "melspec patch-interval=200000000 ! frameclassify name=f model=audio threshold=0";
    let mut bench = Bench::new(description, SOUND);
    let sounds: Vec<_> = times.iter().copied().map(sound).collect();
    let found = pass(&mut bench, sounds.clone()).windows("f").len();
    assert!(found <= most, "{found} results of sound");

    // As a source marks its first buffer.
    let mut pictures = pictures;
    pictures[0].make_mut().set_flags(gst::BufferFlags::DISCONT);
    let pipeline = launch(BOTH);
    let record = Record::of(&pipeline, "sink");
    for (name, buffers) in [("video", &pictures), ("audio", &sounds)] {
        let source = pipeline.by_name(name).unwrap();
        let source = source.downcast::<gst_app::AppSrc>().unwrap();
        for buffer in buffers {
            source.push_buffer(buffer.clone()).unwrap();
        }
        source.end_of_stream().unwrap();
    }
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    let found = outcome.windows("fuse").len();
    assert!(found <= most, "{found} fused results");
    let passed = record.buffers();
    assert_eq!(passed.len(), pictures.len());
    for (passed, picture) in passed.iter().zip(&pictures) {
        assert_untouched(passed, picture);
    }
}

/// `count` buffers of a tenth of a second in a row, from `start` on.
fn regular(start: gst::ClockTime, count: u64) -> impl Iterator<Item = (Time, Time)> {
    (0..count).map(move |n| (Some(start + ms(100) * n), Some(ms(100))))
}

#[test]
fn all_buffers_at_one_time() {
    holds(&[(Some(ms(500)), Some(ms(100))); 40], 40);
}

#[test]
fn a_jump_of_an_hour_forwards_and_back() {
    let hour = gst::ClockTime::from_seconds(3600);
    let times: Vec<_> = regular(ms(0), 20)
        .chain(regular(hour, 20))
        .chain(regular(ms(2000), 20))
        .collect();
    holds(&times, 60);
}

#[test]
fn a_jump_of_a_year() {
    let year = gst::ClockTime::from_seconds(365 * 24 * 3600);
    let times: Vec<_> = regular(ms(0), 20).chain(regular(year, 20)).collect();
    holds(&times, 40);
}

#[test]
fn timestamps_that_run_backwards() {
    let times: Vec<_> = (0..40)
        .rev()
        .map(|n| (Some(ms(100) * n), Some(ms(100))))
        .collect();
    holds(&times, 40);
}

#[test]
fn timestamps_at_the_end_of_time() {
    let last = gst::ClockTime::MAX - ms(1000);
    let times: Vec<_> = regular(ms(0), 5).chain(regular(last, 10)).collect();
    holds(&times, 30);
}

#[test]
fn durations_without_end() {
    let times: Vec<_> = (0..20)
        .map(|n| (Some(ms(100) * n), Some(gst::ClockTime::MAX)))
        .collect();
    holds(&times, 40);
}

#[test]
fn durations_of_nothing_and_none_at_all() {
    let times: Vec<_> = (0..40)
        .map(|n| {
            (
                Some(ms(100) * n),
                (n % 2 == 0).then_some(gst::ClockTime::ZERO),
            )
        })
        .collect();
    holds(&times, 40);
}

#[test]
fn timestamps_that_come_and_go() {
    let times: Vec<_> = (0..40)
        .map(|n| ((n % 3 == 0).then(|| ms(100) * n), Some(ms(100))))
        .collect();
    holds(&times, 60);
}

#[test]
fn timestamps_that_jitter_by_a_frame() {
    let times: Vec<_> = (0..60u64)
        .map(|n| {
            (
                Some(ms(100 * n + [0, 90, 10, 60][n as usize % 4])),
                Some(ms(100)),
            )
        })
        .collect();
    holds(&times, 60);
}

#[test]
fn every_buffer_is_marked_as_discontinuous() {
    let marked = |mut buffer: gst::Buffer| {
        let flags = gst::BufferFlags::DISCONT | gst::BufferFlags::CORRUPTED;
        buffer.get_mut().unwrap().set_flags(flags);
        buffer
    };
    let description =
        "melspec patch-interval=200000000 ! frameclassify name=f model=audio threshold=0";
    let mut bench = Bench::new(description, SOUND);
    let sounds = regular(ms(0), 40).map(sound).map(marked).collect();
    // Nothing is missing between them, so the windows go on.
    assert!(pass(&mut bench, sounds).windows("f").len() >= 18);
    let mut bench = Bench::new("frameclassify name=f model=video threshold=0", PICTURES);
    let pictures = regular(ms(0), 40).map(picture).map(marked).collect();
    assert_eq!(pass(&mut bench, pictures).windows("f").len(), 4);
}

#[test]
fn sound_of_no_samples_and_of_half_a_sample() {
    let description =
        "melspec patch-interval=200000000 ! frameclassify name=f model=audio threshold=0";
    let mut bench = Bench::new(description, SOUND);
    let mut sounds = vec![
        buffer(vec![], ms(0), ms(0)),
        buffer(vec![1; 3], ms(0), ms(0)),
    ];
    sounds.extend(regular(ms(0), 20).map(sound));
    sounds.push(buffer(vec![], None, None));
    assert!(pass(&mut bench, sounds).windows("f").len() >= 8);
}

#[test]
fn a_gap_of_a_year_is_no_year_of_silence() {
    let description =
        "melspec patch-interval=200000000 ! frameclassify name=f model=audio threshold=0";
    let mut bench = Bench::new(description, SOUND);
    for times in regular(ms(0), 10) {
        bench.pass(sound(times));
    }
    let year = gst::ClockTime::from_seconds(365 * 24 * 3600);
    bench.send(gst::event::Gap::builder(ms(1000)).duration(year).build());
    for times in regular(year + ms(1000), 10) {
        bench.pass(sound(times));
    }
    bench.end();
    let outcome = bench.outcome();
    assert_eq!(outcome.error, None);
    assert!(
        (8..=12).contains(&outcome.windows("f").len()),
        "{outcome:?}"
    );
}

#[test]
fn a_segment_in_bytes() {
    for (description, caps, make) in [
        (
            "frameclassify name=f model=video threshold=0",
            PICTURES,
            picture as fn((Time, Time)) -> gst::Buffer,
        ),
        (
            "melspec patch-interval=200000000 ! frameclassify name=f model=audio threshold=0",
            SOUND,
            sound,
        ),
    ] {
        let mut bench = Bench::new(description, caps);
        let segment = gst::FormattedSegment::<gst::format::Bytes>::new();
        bench.send(gst::event::Segment::new(&segment));
        let buffers = regular(ms(0), 20).map(make).collect();
        assert!(pass(&mut bench, buffers).windows("f").len() >= 2);
    }
}

#[test]
fn media_outside_of_the_segment_passes() {
    let mut bench = Bench::new("frameclassify name=f model=video threshold=0", PICTURES);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(ms(5000));
    segment.set_stop(ms(6000));
    bench.send(gst::event::Segment::new(&segment));
    let buffers = regular(ms(0), 100).map(picture).collect();
    assert!(pass(&mut bench, buffers).windows("f").len() <= 10);
}

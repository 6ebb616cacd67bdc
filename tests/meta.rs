// SPDX-License-Identifier: MPL-2.0

//! Tags and features come out of buffers, messages and events as they went in, also after converters.

mod common;

use gstinstruments::meta::{self, Features, Kind, Source, Tags};

fn tags() -> Tags {
    Tags {
        source: Source::Fused,
        model: "m".into(),
        sources: vec![Source::Video, Source::Audio],
        start: Some(gst::ClockTime::from_mseconds(1500)),
        duration: Some(gst::ClockTime::SECOND),
        media: 0.75,
        scores: vec![("Violin".into(), 0.75), ("Piano, upright".into(), 0.125)],
        fresh: false,
    }
}

fn features() -> Features {
    Features {
        id: "space/1".into(),
        kind: Kind::Embedding,
        dims: vec![3],
        data: [1.0, -2.5, f32::MIN_POSITIVE].into(),
        start: Some(gst::ClockTime::ZERO),
        duration: None,
        media: 0.5,
        blank: true,
        still: true,
        front_end: [
            ("rate".into(), "12000".into()),
            ("window".into(), "hann".into()),
        ]
        .into(),
    }
}

#[test]
fn buffers_carry_several_of_each() {
    common::init();
    let mut buffer = gst::Buffer::new();
    let other = Tags {
        scores: Vec::new(),
        start: None,
        fresh: true,
        ..tags()
    };
    let buffer = buffer.make_mut();
    assert_eq!(Tags::from_buffer(buffer), []);
    assert_eq!(Features::from_buffer(buffer), []);
    Tags::attach(&[tags()], buffer);
    Tags::attach(std::slice::from_ref(&other), buffer);
    Features::attach(&[features()], buffer);
    assert_eq!(Tags::from_buffer(buffer), [tags(), other]);
    assert_eq!(Features::from_buffer(buffer), [features()]);
}

#[test]
fn a_shallow_copy_shares_the_memory_and_leaves_the_original_alone() {
    common::init();
    let original = gst::Buffer::from_slice(vec![1u8; 4096]);
    let mut copy = original.clone();
    Tags::attach(&[tags()], copy.make_mut());
    assert_eq!(Tags::from_buffer(&original), []);
    assert_eq!(Tags::from_buffer(&copy), [tags()]);
    let address = |buffer: &gst::Buffer| buffer.map_readable().unwrap().as_ptr();
    assert_eq!(address(&original), address(&copy));
}

#[test]
fn events_and_messages() {
    common::init();
    let event = meta::event(&[tags()], &[features()]);
    assert!(event.is_serialized() && event.is_downstream());
    assert_eq!(
        meta::from_event(&event),
        Some((vec![tags()], vec![features()]))
    );
    assert_eq!(meta::from_event(&gst::event::Eos::new()), None);

    let element = gst::ElementFactory::make("identity").build().unwrap();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::SECOND);
    segment.set_time(gst::ClockTime::from_seconds(7));
    let message = tags().message(&element, segment.upcast_ref(), gst::ClockTime::NONE, true);
    // A message is always about a fresh result.
    let expected = Tags {
        fresh: true,
        ..tags()
    };
    assert_eq!(Tags::from_message(&message), Some((expected, true)));
    // The tags start half a second into the segment, which stands for what starts at 7 s.
    let time = |field| {
        message
            .structure()
            .unwrap()
            .get::<gst::ClockTime>(field)
            .ok()
    };
    assert_eq!(
        time("stream-time"),
        Some(gst::ClockTime::from_mseconds(7500))
    );
    assert_eq!(
        time("running-time"),
        Some(gst::ClockTime::from_mseconds(500))
    );
    assert_eq!(time("timestamp"), None);
}

fn survives(elements: &str, caps: &str, size: usize) {
    common::init();
    let mut harness = gst_check::Harness::new_parse(elements);
    harness.set_src_caps_str(caps);
    let mut buffer = gst::Buffer::with_size(size).unwrap();
    {
        let buffer = buffer.make_mut();
        buffer.set_pts(gst::ClockTime::ZERO);
        buffer.set_duration(gst::ClockTime::SECOND);
        Tags::attach(&[tags()], buffer);
        Features::attach(&[features()], buffer);
    }
    harness.push(buffer).unwrap();
    let buffer = harness.pull().unwrap();
    assert_eq!(Tags::from_buffer(&buffer), [tags()]);
    assert_eq!(Features::from_buffer(&buffer), [features()]);
}

#[test]
fn audio_converters_keep_them() {
    survives(
        "audioconvert ! audioresample ! capsfilter caps=audio/x-raw,format=F32LE,rate=16000,channels=1",
        "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved,channel-mask=(bitmask)3",
        48000 * 4,
    );
}

#[test]
fn video_converters_keep_them() {
    survives(
        "videoconvert ! videoscale ! capsfilter caps=video/x-raw,format=RGBA,width=32,height=16",
        "video/x-raw,format=I420,width=64,height=32,framerate=1/1",
        64 * 32 * 3 / 2,
    );
}

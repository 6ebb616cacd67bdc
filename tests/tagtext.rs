// SPDX-License-Identifier: MPL-2.0

//! `tagtext`: which text comes out of which tags, and when.

mod common;

use gst::prelude::*;
use gstinstruments::meta::{self, Source, Tags};

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

fn tags(source: Source, start: u64, fresh: bool) -> Tags {
    Tags {
        source,
        model: "m".into(),
        sources: vec![source],
        start: Some(start * SECOND),
        duration: Some(10 * SECOND),
        media: 1.0,
        scores: vec![("Violin".into(), 0.75), ("Piano".into(), 0.125)],
        fresh,
    }
}

fn buffer(time: u64, tags: &[Tags]) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(4).unwrap();
    let writable = buffer.make_mut();
    writable.set_pts(time * SECOND);
    writable.set_duration(SECOND);
    Tags::attach(tags, writable);
    buffer
}

/// A harness whose sink takes `caps`.
fn harness(caps: &str) -> gst_check::Harness {
    common::init();
    let mut harness = gst_check::Harness::new("tagtext");
    harness.set_sink_caps_str(caps);
    harness.set_src_caps_str("audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved");
    harness
}

fn text(buffer: &gst::Buffer) -> String {
    String::from_utf8(buffer.map_readable().unwrap().to_vec()).unwrap()
}

#[test]
fn fresh_tags_become_plain_text_for_as_long_as_they_are_the_latest() {
    let mut harness = harness("text/x-raw,format=utf8");
    harness
        .push(buffer(10, &[tags(Source::Fused, 0, true)]))
        .unwrap();
    harness
        .push(buffer(11, &[tags(Source::Fused, 0, false)]))
        .unwrap();
    harness
        .push(buffer(15, &[tags(Source::Fused, 5, true)]))
        .unwrap();
    assert_eq!(harness.buffers_received(), 2);
    let (first, second) = (harness.pull().unwrap(), harness.pull().unwrap());
    assert_eq!(text(&first), "Violin 75 %, Piano 12 %");
    assert_eq!(
        (first.pts(), first.duration()),
        (Some(10 * SECOND), Some(10 * SECOND))
    );
    // The second window ends five seconds after the first.
    assert_eq!(
        (second.pts(), second.duration()),
        (Some(15 * SECOND), Some(5 * SECOND))
    );
}

#[test]
fn whoever_takes_anything_gets_json_lines() {
    let mut harness = harness("ANY");
    harness
        .push(buffer(
            10,
            &[tags(Source::Audio, 2, true), tags(Source::Video, 3, true)],
        ))
        .unwrap();
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().name(), "application/x-json");
    let line = text(&harness.pull().unwrap());
    assert!(line.ends_with("}\n"), "{line}");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!({
        "source": "audio", "model": "m", "start": 2.0, "end": 12.0,
        "tags": [{"label": "Violin", "score": 0.75}, {"label": "Piano", "score": 0.125}],
    });
    assert_eq!(line, expected);
    assert!(text(&harness.pull().unwrap()).contains("\"video\""));
}

#[test]
fn one_source_can_be_chosen_and_buffers_without_text_become_gaps() {
    let mut harness = harness("text/x-raw,format=utf8");
    harness
        .element()
        .unwrap()
        .set_property_from_str("source", "fused");
    harness
        .push(buffer(0, &[tags(Source::Video, 0, true)]))
        .unwrap();
    harness.push(buffer(1, &[])).unwrap();
    assert_eq!(harness.buffers_received(), 0);
    let gaps: Vec<_> = std::iter::from_fn(|| harness.try_pull_event())
        .filter_map(|event| match event.view() {
            gst::EventView::Gap(gap) => Some(gap.get()),
            _ => None,
        })
        .collect();
    assert_eq!(
        gaps,
        [(gst::ClockTime::ZERO, Some(SECOND)), (SECOND, Some(SECOND))]
    );
}

#[test]
fn tags_that_came_in_an_event_follow_the_last_buffer() {
    let mut harness = harness("text/x-raw,format=utf8");
    harness.push(buffer(4, &[])).unwrap();
    assert!(harness.push_event(meta::event(&[tags(Source::Audio, 0, true)], &[])));
    let last = harness.pull().unwrap();
    assert_eq!(
        (text(&last).as_str(), last.pts()),
        ("Violin 75 %, Piano 12 %", Some(5 * SECOND))
    );
}

#[test]
fn a_sink_that_takes_neither_is_an_error() {
    let pipeline = common::launch(
        "audiotestsrc num-buffers=1 ! tagtext name=t ! capsfilter caps=text/x-raw,format=utf8 ! fakesink",
    );
    assert_eq!(common::play(&pipeline).error, None);
    let element = gst::parse::launch("tagtext ! capsfilter caps=video/x-raw");
    assert!(element.is_err(), "linked to what takes no text");
}

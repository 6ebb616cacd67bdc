// SPDX-License-Identifier: MPL-2.0

//! Tags as GStreamer's own analytics metadata, from GStreamer 1.24 on.

#![cfg(feature = "v1_24")]

mod common;

use std::process::Command;

use common::{Bench, buffer, mel_patch, ms, root};
use gst_analytics::prelude::*;
use gst_analytics::{AnalyticsClassificationMtd, AnalyticsRelationMeta};
use gstinstruments::meta::{Features, Source, Tags};

const AUDIO: &str = "audio/x-raw,format=F32LE,rate=8000,channels=1,layout=interleaved";

fn tags(scores: &[(&str, f32)]) -> Tags {
    Tags {
        source: Source::Audio,
        model: "m".into(),
        sources: vec![Source::Audio],
        start: Some(ms(0)),
        duration: Some(ms(1000)),
        media: 1.0,
        scores: scores
            .iter()
            .map(|&(label, score)| (label.into(), score))
            .collect(),
        fresh: true,
    }
}

/// The labels and scores of each classification on `buffer`; `None` without a relation meta.
fn classifications(buffer: &gst::BufferRef) -> Option<Vec<Vec<(String, f32)>>> {
    let meta = buffer.meta::<AnalyticsRelationMeta>()?;
    let all = meta.iter::<AnalyticsClassificationMtd>();
    let pair = |(quark, level): (gst::glib::Quark, f32)| (quark.as_str().to_string(), level);
    Some(all.map(|mtd| mtd.iterate().map(pair).collect()).collect())
}

#[test]
fn each_result_is_a_classification_after_what_others_have_found() {
    common::init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.make_mut();
    AnalyticsRelationMeta::add(buffer)
        .add_one_cls_mtd(0.5, gst::glib::Quark::from_str("cat"))
        .unwrap();
    let (first, second) = (
        tags(&[("Violin", 0.75), ("Piano", 0.25)]),
        tags(&[("Drums", 1.0)]),
    );
    Tags::attach(std::slice::from_ref(&first), buffer);
    // Nothing reached the threshold.
    Tags::attach(&[second.clone(), tags(&[])], buffer);
    let expected = [
        vec![("cat".into(), 0.5)],
        first.scores,
        second.scores,
        vec![],
    ];
    assert_eq!(classifications(buffer).unwrap(), expected);
    assert_eq!(buffer.iter_meta::<AnalyticsRelationMeta>().count(), 1);
}

#[test]
fn sound_has_them_as_often_as_tags() {
    for (properties, repeated) in [("", true), ("repeat-tags=false", false)] {
        let mut bench = Bench::new(
            &format!("frameclassify model=audio threshold=0 {properties}"),
            AUDIO,
        );
        let second = |n: u64| buffer(vec![0; 32000], ms(n * 1000), ms(1000));
        let mut first = second(0);
        Features::attach(&[mel_patch([0.5, 0.0, 0.0, 0.0], ms(0))], first.make_mut());
        let first = bench.pass(first);
        let scores = Tags::from_buffer(&first)[0].scores.clone();
        assert!(!scores.is_empty());
        assert_eq!(classifications(&first), Some(vec![scores.clone()]));
        let expected = repeated.then(|| vec![scores]);
        assert_eq!(classifications(&bench.pass(second(1))), expected);
    }
}

#[test]
fn pictures_have_them() {
    let mut bench = Bench::new(
        "frameclassify model=video threshold=0",
        "video/x-raw,format=RGB,width=16,height=16,framerate=1/1",
    );
    let picture = bench.pass(buffer(vec![200; 16 * 16 * 3], ms(0), ms(1000)));
    let scores = Tags::from_buffer(&picture)[0].scores.clone();
    assert_eq!(classifications(&picture), Some(vec![scores]));
}

/// The programs of the examples, which read with GStreamer's own libraries, print what the custom meta says.
#[test]
fn python_and_c_read_them() {
    let env = |command: &[&str]| {
        let output = Command::new(root().join("scripts/env"))
            .args(command)
            .current_dir(root())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let clip = "examples/media/band.mp4";
    let python = env(&["examples/python/analytics.py", clip]);
    env(&[
        "sh",
        "-c",
        "cc examples/c/analytics.c -o target/analytics $(pkg-config --cflags --libs gstreamer-analytics-1.0)",
    ]);
    assert_eq!(env(&["target/analytics", clip]), python);
    let expected: Vec<String> = expected(clip);
    assert!(expected.iter().any(|line| line.contains("Guitar ")));
    assert_eq!(python.lines().collect::<Vec<_>>(), expected);
}

/// The lines that the examples should print, by the custom meta.
fn expected(clip: &str) -> Vec<String> {
    let pipeline = common::launch(&format!(
        "uridecodebin3 uri=file://{} ! melspec ! frameclassify ! fakesink name=sink",
        root().join(clip).display()
    ));
    let record = common::Record::of(&pipeline, "sink");
    assert_eq!(common::play(&pipeline).error, None);
    let mut lines = Vec::new();
    let mut latest = None;
    for buffer in record.buffers() {
        for tags in Tags::from_buffer(&buffer) {
            let scores = tags.scores.iter();
            let labels: Vec<_> = scores
                .map(|(label, score)| format!("{label} {score:.2}"))
                .collect();
            let labels = labels.join(", ");
            if latest.as_ref() != Some(&labels) {
                let pts = buffer.pts().unwrap().nseconds() as f64 / 1e9;
                lines.push(format!("{pts:.2} s: {labels}"));
                latest = Some(labels);
            }
        }
    }
    lines
}

/// Whether tags and their classifications are on the first buffer that has either behind `elements`.
fn kept(elements: &str, caps: &str, size: usize) -> (bool, bool) {
    let mut bench = Bench::new(elements, caps);
    for second in 0..4 {
        let mut buffer = buffer(vec![0; size], ms(second * 1000), ms(1000));
        Tags::attach(&[tags(&[("Violin", 0.75)])], buffer.make_mut());
        bench.push(buffer).unwrap();
    }
    bench.end();
    let mut found = (false, false);
    while let Some(buffer) = bench.pull() {
        found.0 |= !Tags::from_buffer(&buffer).is_empty();
        found.1 |= classifications(&buffer).is_some_and(|all| !all.is_empty());
    }
    found
}

/// What docs/metadata.md says of the elements that keep them: the custom meta always, the classifications as follows.
#[test]
fn what_keeps_them() {
    let stereo =
        "audio/x-raw,format=S16LE,rate=16000,channels=2,layout=interleaved,channel-mask=(bitmask)3";
    let video = "video/x-raw,format=I420,width=64,height=48,framerate=1/1";
    // Since GStreamer 1.28, elements that move pixels keep them.
    let moves_pixels = gst::version() >= (1, 27, 0, 0);
    for (elements, classifications) in [
        ("queue", true),
        ("volume volume=0.5", true),
        ("audiorate", true),
        ("audiobuffersplit", true),
        (
            "audioconvert ! capsfilter caps=audio/x-raw,format=F32LE,channels=1",
            false,
        ),
        (
            "audioresample ! capsfilter caps=audio/x-raw,rate=8000",
            false,
        ),
        ("flacenc", false),
        ("opusenc", false),
        ("audioconvert ! vorbisenc", false),
        ("audioconvert ! avenc_aac", false),
    ] {
        let found = kept(elements, stereo, 64000);
        assert_eq!(found, (true, classifications), "{elements}");
    }
    for (elements, classifications) in [
        ("queue", true),
        (
            "videoconvert ! capsfilter caps=video/x-raw,format=RGBA",
            true,
        ),
        (
            "videoscale ! capsfilter caps=video/x-raw,width=32,height=24",
            true,
        ),
        (
            "videorate ! capsfilter caps=video/x-raw,framerate=2/1",
            true,
        ),
        ("videobalance saturation=0", true),
        ("timeoverlay", true),
        ("openh264enc ! h264parse", true),
        ("vp8enc", true),
        ("jpegenc ! jpegdec", true),
        ("videocrop left=8", moves_pixels),
        ("videoflip method=clockwise", moves_pixels),
    ] {
        let found = kept(elements, video, 64 * 48 * 3 / 2);
        assert_eq!(found, (true, classifications), "{elements}");
    }
}

// SPDX-License-Identifier: MPL-2.0

//! `tagtext`: which text comes out of which tags, and when.

mod common;

use std::process::Command;

use common::{Record, folder, ms};
use gst::prelude::*;
use gstinstruments::meta::{self, Source, Tags};
use gstinstruments::text::KLV_KEY;
use serde_json::{Value, json};

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

const TEXT: &str = "text/x-raw,format=utf8";
const JSON: &str = "application/x-json";
const VTT: &str = "application/x-subtitle-vtt";

/// What was found in the ten seconds, or less at the start of the stream, until second `end`.
fn result(source: Source, end: u64, scores: &[(&str, f32)]) -> Tags {
    let start = end.saturating_sub(10);
    Tags {
        source,
        model: "m".into(),
        sources: vec![source],
        start: Some(start * SECOND),
        duration: Some((end - start) * SECOND),
        media: 1.0,
        scores: scores
            .iter()
            .map(|&(label, score)| (label.to_owned(), score))
            .collect(),
        fresh: true,
    }
}

fn tags(source: Source, end: u64) -> Tags {
    result(source, end, &[("Violin", 0.75), ("Piano", 0.125)])
}

/// A second of media at second `time` with `tags`.
fn buffer(time: u64, tags: &[Tags]) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(4).unwrap();
    let writable = buffer.make_mut();
    writable.set_pts(time * SECOND);
    writable.set_duration(SECOND);
    Tags::attach(tags, writable);
    buffer
}

/// A harness with `tagtext` of `properties` whose sink takes `caps`.
fn harness(properties: &str, caps: &str) -> gst_check::Harness {
    common::init();
    let mut harness = gst_check::Harness::new_parse(&format!("tagtext {properties}"));
    harness.set_live(false);
    harness.set_sink_caps_str(caps);
    harness.set_src_caps_str("audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved");
    harness
}

fn text(buffer: &gst::Buffer) -> String {
    String::from_utf8(buffer.map_readable().unwrap().to_vec()).unwrap()
}

/// The texts so far, with their seconds.
fn texts(harness: &mut gst_check::Harness) -> Vec<(u64, Option<u64>, String)> {
    let buffers = std::iter::from_fn(|| harness.try_pull());
    buffers
        .map(|buffer| {
            let seconds = |time: gst::ClockTime| time.seconds();
            let (pts, duration) = (buffer.pts().unwrap(), buffer.duration());
            (seconds(pts), duration.map(seconds), text(&buffer))
        })
        .collect()
}

/// The JSON objects so far.
fn objects(harness: &mut gst_check::Harness) -> Vec<Value> {
    let texts = texts(harness).into_iter();
    texts
        .map(|(_, _, line)| {
            assert!(line.ends_with("}\n"), "{line}");
            serde_json::from_str(&line).unwrap()
        })
        .collect()
}

fn labels(object: &Value) -> Vec<&str> {
    let tags = object["tags"].as_array().unwrap();
    tags.iter()
        .map(|tag| tag["label"].as_str().unwrap())
        .collect()
}

#[test]
fn plain_text_lasts_until_the_next_result_is_expected() {
    let mut harness = harness("", TEXT);
    for time in 5..21 {
        let fresh = time % 5 == 0;
        let last = tags(Source::Fused, time / 5 * 5);
        let tags = if fresh { last } else { last.repeated() };
        harness.push(buffer(time, &[tags])).unwrap();
    }
    let cue = |start| (start, Some(5), "Violin 75 %, Piano 12 %".to_owned());
    assert_eq!(texts(&mut harness), [cue(5), cue(10), cue(15), cue(20)]);
}

#[test]
fn a_result_before_its_time_waits_for_the_end_of_the_text_before() {
    let mut harness = harness("", TEXT);
    // The first window is not cut short, so that the next one is expected after ten seconds.
    for time in 10..24 {
        let label = format!("at {time}");
        let result = result(Source::Audio, time, &[(&label, 0.5)]);
        harness.push(buffer(time, &[result])).unwrap();
        // Nothing is sent ahead of its time: an overlay would hold up what comes behind it.
        let sent = texts(&mut harness);
        let expected = match time {
            10 => vec![(10, Some(10), "at 10 50 %".to_owned())],
            11..20 => vec![],
            _ => vec![(time, Some(1), format!("at {time} 50 %"))],
        };
        assert_eq!(sent, expected, "{time}");
    }
}

#[test]
fn whoever_takes_anything_gets_json_lines() {
    let mut harness = harness("", "ANY");
    let results = [tags(Source::Audio, 12), tags(Source::Video, 13)];
    harness.push(buffer(10, &results)).unwrap();
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().name(), JSON);
    let lines = objects(&mut harness);
    let expected = json!({
        "sequence": 0, "source": "audio", "model": "m", "sources": ["audio"], "media": 1.0,
        "start": 2.0, "end": 12.0, "running_time": 2.0,
        "tags": [{"label": "Violin", "score": 0.75}, {"label": "Piano", "score": 0.125}],
    });
    assert_eq!(lines[0], expected);
    assert_eq!(
        (&lines[1]["source"], &lines[1]["sequence"]),
        (&json!("video"), &json!(1))
    );
}

#[test]
fn stream_time_and_running_time_are_those_of_the_segment() {
    let mut harness = harness("", JSON);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(2 * SECOND);
    segment.set_stop(20 * SECOND);
    segment.set_time(100 * SECOND);
    segment.set_base(50 * SECOND);
    harness.push_event(gst::event::Segment::new(&segment));
    harness
        .push(buffer(12, &[tags(Source::Audio, 12)]))
        .unwrap();
    let line = &objects(&mut harness)[0];
    assert_eq!(
        [&line["start"], &line["end"], &line["running_time"]],
        [100.0, 110.0, 50.0]
    );
}

#[test]
fn one_source_can_be_chosen_and_buffers_without_text_become_gaps() {
    let mut harness = harness("source=fused", TEXT);
    harness.push(buffer(0, &[tags(Source::Video, 0)])).unwrap();
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
fn a_text_that_is_shown_has_one_source() {
    for (caps, expected) in [(TEXT, 6), (VTT, 6), (JSON, 14)] {
        let mut harness = harness("", caps);
        for time in 0..10 {
            let mut results = vec![result(Source::Video, time + 1, &[("Seen", 0.5)])];
            if time == 5 || time == 9 {
                results.push(result(Source::Fused, time, &[("Both", 0.5)]));
            }
            if time == 4 || time == 8 {
                results.push(result(Source::Audio, time, &[("Heard", 0.5)]));
            }
            harness.push(buffer(time, &results)).unwrap();
        }
        let texts = texts(&mut harness);
        // Seen at 0 to 3, heard from 4 on where nothing is fused, then fused.
        assert_eq!(texts.len(), expected, "{texts:?}");
        if caps == TEXT {
            let shown: Vec<_> = texts.iter().map(|(_, _, text)| &text[..4]).collect();
            assert_eq!(shown, ["Seen", "Seen", "Seen", "Seen", "Hear", "Both"]);
        }
        let mut end = 0;
        for (start, duration, text) in texts.iter().filter(|_| caps != JSON) {
            assert!(*start >= end, "{text} at {start} begins before {end}");
            end = start + duration.unwrap();
        }
    }
}

#[test]
fn the_last_result_is_within_the_texts_segment() {
    let mut harness = harness("", TEXT);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_stop(5 * SECOND);
    harness.push_event(gst::event::Segment::new(&segment));
    harness.push(buffer(4, &[])).unwrap();
    assert!(harness.push_event(meta::event(&[tags(Source::Audio, 5)], &[])));
    harness.push_event(gst::event::Eos::new());
    let last = harness.pull().unwrap();
    assert_eq!(
        (text(&last).as_str(), last.pts()),
        ("Violin 75 %, Piano 12 %", Some(5 * SECOND))
    );
    let segment = std::iter::from_fn(|| harness.try_pull_event())
        .filter_map(|event| match event.view() {
            gst::EventView::Segment(segment) => segment.segment().clone().downcast().ok(),
            _ => None,
        })
        .last();
    let segment: gst::FormattedSegment<gst::ClockTime> = segment.unwrap();
    // A sink drops what is outside.
    let clipped = segment.clip(
        last.pts(),
        last.pts().zip(last.duration()).map(|(p, d)| p + d),
    );
    assert_eq!(clipped.map(|(start, _)| start), Some(last.pts()));
}

#[test]
fn a_result_over_the_whole_stream_is_a_line_of_its_own() {
    let finish = |caps: &str| {
        let mut harness = harness("", caps);
        harness.push(buffer(0, &[tags(Source::Fused, 0)])).unwrap();
        let clip = result(Source::Fused, 10, &[("Drums", 0.5)]);
        assert!(harness.push_event(meta::clip_event(&clip)));
        harness
    };
    let lines = objects(&mut finish(JSON));
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["clip"], &lines[1]["clip"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(labels(&lines[1]), ["Drums"]);
    // Nobody is there any more to be shown it.
    assert_eq!(texts(&mut finish(TEXT)).len(), 1);
}

#[test]
fn the_elements_send_their_results_over_the_whole_stream() {
    let pipeline = common::launch(
        "videotestsrc num-buffers=3 ! video/x-raw,framerate=1/1 ! frameclassify model=video ! fuse.video \
            avfuse name=fuse model=fusion ! tagtext ! fakesink name=sink",
    );
    let record = Record::of(&pipeline, "sink");
    assert_eq!(common::play(&pipeline).error, None);
    let lines = record.buffers();
    let lines = lines
        .iter()
        .map(|buffer| serde_json::from_str(&text(buffer)).unwrap());
    let lines: Vec<Value> = lines.collect();
    let clips = lines.iter().filter(|line| line["clip"] == true);
    let clips: Vec<_> = clips.map(|line| (&line["source"], &line["end"])).collect();
    assert_eq!(
        clips,
        [
            (&json!("video"), &json!(3.0)),
            (&json!("fused"), &json!(3.0))
        ]
    );
}

#[test]
fn only_changes_are_written() {
    // Piano hovers at the threshold of 0.3, then comes in.
    let scores = [0.32, 0.28, 0.35, 0.31, 0.45, 0.32, 0.2, 0.35];
    let play = |properties: &str, caps: &str| {
        let mut harness = harness(properties, caps);
        for (time, &piano) in (1..).zip(&scores) {
            let result = result(Source::Audio, time, &[("Guitar", 0.9), ("Piano", piano)]);
            harness.push(buffer(time, &[result])).unwrap();
        }
        harness.push_event(gst::event::Eos::new());
        harness
    };
    let lines = objects(&mut play("only-changes=true", JSON));
    let found: Vec<_> = lines
        .iter()
        .map(|line| (line["end"].as_f64().unwrap(), labels(line)))
        .collect();
    assert_eq!(
        found,
        [
            (1.0, vec!["Guitar"]),
            (5.0, vec!["Guitar", "Piano"]),
            (7.0, vec!["Guitar"])
        ]
    );
    let shown = texts(&mut play("only-changes=true", TEXT));
    let guitar = "Guitar 90 %".to_owned();
    assert_eq!(
        shown,
        [
            (1, Some(4), guitar.clone()),
            (5, Some(2), "Guitar 90 %, Piano 45 %".to_owned()),
            (7, Some(2), guitar),
        ]
    );
    // Without a margin each crossing is a change.
    let lines = objects(&mut play("only-changes=true hysteresis=0", JSON));
    assert_eq!(lines.len(), 5);
}

#[test]
fn texts_may_have_the_time_that_they_are_about() {
    let mut harness = harness("timing=happened", TEXT);
    for time in [5, 10, 15] {
        harness
            .push(buffer(time, &[tags(Source::Fused, time)]))
            .unwrap();
    }
    let times: Vec<_> = texts(&mut harness)
        .into_iter()
        .map(|(start, length, _)| (start, length))
        .collect();
    assert_eq!(times, [(0, Some(5)), (5, Some(5)), (10, Some(5))]);
}

#[test]
fn webvtt_is_a_file_that_players_read() {
    let written = |results: &[u64]| {
        let mut harness = harness("timing=happened", VTT);
        for &time in results {
            harness
                .push(buffer(time, &[tags(Source::Fused, time)]))
                .unwrap();
        }
        harness.push_event(gst::event::Eos::new());
        let texts = texts(&mut harness);
        texts
            .into_iter()
            .map(|(_, _, text)| text)
            .collect::<String>()
    };
    assert_eq!(written(&[]), "WEBVTT\n\n");
    let file = written(&[5, 10]);
    let cues: Vec<_> = file
        .strip_prefix("WEBVTT\n\n")
        .unwrap()
        .split_terminator("\n\n")
        .collect();
    let times: Vec<_> = cues
        .iter()
        .map(|cue| cue.split_once('\n').unwrap().0)
        .collect();
    assert_eq!(
        times,
        [
            "00:00:00.000 --> 00:00:05.000",
            "00:00:05.000 --> 00:00:10.000"
        ]
    );
    // GStreamer's own parser finds the same cues.
    let path = folder("vtt").join("tags.vtt");
    std::fs::write(&path, &file).unwrap();
    let pipeline = common::launch(&format!(
        "filesrc location={} ! subparse ! fakesink name=sink sync=false",
        path.display()
    ));
    let record = Record::of(&pipeline, "sink");
    assert_eq!(common::play(&pipeline).error, None);
    let parsed: Vec<_> = record
        .buffers()
        .iter()
        .map(|buffer| (buffer.pts().unwrap(), buffer.duration().unwrap()))
        .collect();
    assert_eq!(
        parsed,
        [(gst::ClockTime::ZERO, 5 * SECOND), (5 * SECOND, 5 * SECOND)]
    );
}

#[test]
fn id3_is_timed_metadata() {
    let mut harness = harness("", "meta/x-id3,parsed=true");
    harness.push(buffer(5, &[tags(Source::Fused, 5)])).unwrap();
    let buffer = harness.pull().unwrap();
    assert_eq!((buffer.pts(), buffer.duration()), (Some(5 * SECOND), None));
    let bytes = buffer.map_readable().unwrap().to_vec();
    assert_eq!(&bytes[..5], b"ID3\x04\x00");
    let start = b"\x03instruments\x00";
    let at = bytes
        .windows(start.len())
        .position(|part| part == start)
        .unwrap();
    let json: Value = serde_json::from_slice(&bytes[at + start.len()..]).unwrap();
    assert_eq!(labels(&json), ["Violin", "Piano"]);
}

#[test]
fn another_program_reads_klv_from_a_transport_stream() {
    let file = folder("klv").join("tags.ts");
    let pipeline = common::launch(&format!(
        "appsrc name=src format=time caps=video/x-raw,format=GRAY8,width=2,height=2,framerate=1/1 ! tagtext format=klv fields=\"channel=7\" \
            ! mpegtsmux ! filesink location={}",
        file.display()
    ));
    let source = pipeline.by_name("src").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    for time in 0..12 {
        let results = [tags(Source::Fused, time)];
        let fresh = time % 5 == 0;
        let buffer = buffer(time, if fresh { &results } else { &[] });
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    assert_eq!(common::play(&pipeline).error, None);

    let run = |program: &str, arguments: &str| {
        let output = Command::new(program)
            .args(arguments.split_whitespace())
            .arg(&file)
            .args(if program == "ffmpeg" {
                &["-map", "0:d", "-c", "copy", "-f", "data", "-"][..]
            } else {
                &[]
            })
            .output()
            .unwrap_or_else(|err| panic!("{program}: {err}; scripts/setup installs it"));
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let about = run("ffprobe", "-v error -of json -show_streams -show_packets");
    let about: Value = serde_json::from_slice(&about).unwrap();
    assert_eq!(about["streams"][0]["codec_name"], "klv");
    let times = about["packets"].as_array().unwrap().iter();
    let times: Vec<f64> = times
        .map(|packet| packet["pts_time"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(
        times.iter().map(|time| time - times[0]).collect::<Vec<_>>(),
        [0.0, 5.0, 10.0]
    );

    let mut bytes = &run("ffmpeg", "-v error -i")[..];
    let mut ends = Vec::new();
    while !bytes.is_empty() {
        // A key, a length of two bytes after its own, a value.
        let (key, rest) = bytes.split_at(16);
        assert_eq!(key, KLV_KEY);
        let (length, rest) = match rest[0] {
            0x81 => (usize::from(rest[1]), &rest[2..]),
            0x82 => (usize::from(rest[1]) << 8 | usize::from(rest[2]), &rest[3..]),
            other => panic!("a length of {other}"),
        };
        let value: Value = serde_json::from_slice(&rest[..length]).unwrap();
        assert_eq!(value["channel"], 7);
        ends.push(value["end"].as_f64().unwrap());
        bytes = &rest[length..];
    }
    assert_eq!(ends, [0.0, 5.0, 10.0]);
}

/// Attaches a result about the last five seconds to a buffer of each second; every ten seconds play other instruments.
fn tag_each_second(pad: &gst::Pad) {
    let next = std::sync::atomic::AtomicU64::new(1);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer_mut().unwrap();
        let second = next.load(std::sync::atomic::Ordering::Relaxed);
        if buffer.pts() >= Some(second * SECOND) {
            next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let label = ["Guitar", "Trumpet", "Drums"][(second as usize / 10).min(2)];
            let mut tags = result(Source::Audio, second, &[(label, 0.9)]);
            // The clip's segment begins at 23.2 ms.
            let start = (second.saturating_sub(5) * SECOND).max(ms(24));
            tags.start = Some(start);
            tags.duration = Some(second * SECOND - start);
            Tags::attach(&[tags], buffer.make_mut());
        }
        gst::PadProbeReturn::Ok
    });
}

/// Texts of the bundled clip's sound, beside its pictures or its sound, in a file: each that is sent is in it, at its time.
fn assert_muxed(muxer: &str, format: &str, properties: &str, beside: &str) -> usize {
    let case = format!("{muxer} {format} {properties} beside {beside}");
    let file = folder("mux").join("file");
    // qtmux writes no media beyond its last text but one: the queue holds the media.
    let queue = match muxer {
        "mp4mux" | "qtmux" => "queue max-size-time=0 max-size-bytes=0 max-size-buffers=0",
        _ => "queue",
    };
    let media = match beside {
        "pictures" => format!("d.video_0 ! {queue} ! h264parse ! mux. d.audio_0 !"),
        _ => format!("d.audio_0 ! tee name=t t. ! {queue} ! aacparse ! mux. t. !"),
    };
    let pipeline = common::launch(&format!(
        "filesrc location={}/examples/media/band.mp4 ! qtdemux name=d {media} queue ! decodebin ! audioconvert name=c \
            ! tagtext name=text format={format} {properties} ! queue ! {muxer} name=mux ! filesink location={}",
        common::root().display(),
        file.display()
    ));
    let pad = |element: &str| {
        pipeline
            .by_name(element)
            .unwrap()
            .static_pad("src")
            .unwrap()
    };
    tag_each_second(&pad("c"));
    let sent = Record::at(&pad("text"));
    let begun = std::time::Instant::now();
    let outcome = common::play(&pipeline);
    assert_eq!(outcome.error, None, "{case}");
    assert!(begun.elapsed().as_secs() < 30, "{case}");

    let selected = if format == "text" { "s" } else { "d" };
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-of",
            "json",
            "-show_packets",
            "-select_streams",
            selected,
        ])
        .arg(&file)
        .output()
        .unwrap_or_else(|err| panic!("ffprobe: {err}; scripts/setup installs it"));
    let about: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let packets = about["packets"].as_array().unwrap().iter();
    // MP4 has a sample of no text, which is two bytes long, between texts.
    let packets = packets.filter(|packet| number(&packet["size"]) > 2.0);
    let times = packets.map(|packet| number(&packet["pts_time"]));
    let times: Vec<f64> = times.collect();
    let sent = sent
        .buffers()
        .into_iter()
        .map(|text| text.pts().unwrap().seconds_f64());
    let sent: Vec<f64> = sent.collect();
    assert_eq!(times.len(), sent.len(), "{case}: {times:?} of {sent:?}");
    // Transport streams begin at any time, the others at the pictures' or the sound's first.
    let shift = if selected == "d" {
        times[0] - sent[0]
    } else {
        0.0
    };
    for (time, sent) in times.iter().zip(&sent) {
        assert!(
            (time - shift - sent).abs() < 0.05,
            "{case}: {times:?} of {sent:?}"
        );
    }
    times.len()
}

#[test]
fn muxers_go_on_beside_texts_of_every_kind() {
    for (muxer, format) in [
        ("matroskamux", "text"),
        ("mp4mux", "text"),
        ("qtmux", "text"),
        ("mpegtsmux", "klv"),
        ("mpegtsmux", "id3"),
    ] {
        common::init();
        let taken = gst::ElementFactory::find(muxer).unwrap();
        let id3 = "meta/x-id3".parse::<gst::Caps>().unwrap();
        if format == "id3" && !taken.can_sink_any_caps(&id3) {
            // Before GStreamer 1.26.
            continue;
        }
        for timing in ["known", "happened"] {
            for (only_changes, count) in [(false, 29..=31), (true, 3..=3)] {
                for beside in ["pictures", "sound"] {
                    let properties = format!("timing={timing} only-changes={only_changes}");
                    let found = assert_muxed(muxer, format, &properties, beside);
                    assert!(
                        count.contains(&found),
                        "{muxer} {properties} {beside}: {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn each_source_has_changes_of_its_own() {
    for (caps, count) in [(JSON, 9), (TEXT, 3)] {
        let mut harness = harness("only-changes=true", caps);
        for time in 0..30 {
            let scene = ["Guitar", "Trumpet", "Drums"][time as usize / 10];
            let results = [
                result(Source::Audio, time, &[(scene, 0.9), ("Piano", 0.9)]),
                result(Source::Video, time, &[(scene, 0.9), ("Violin", 0.9)]),
                result(Source::Fused, time, &[(scene, 0.9)]),
            ];
            harness.push(buffer(time, &results)).unwrap();
        }
        harness.push_event(gst::event::Eos::new());
        let found = texts(&mut harness);
        // One a scene and source, of which text shows the fused one.
        assert_eq!(found.len(), count, "{found:?}");
        let starts: Vec<_> = found.iter().map(|text| text.0).collect();
        let scenes = [0, 10, 20].into_iter();
        let expected: Vec<_> = scenes.flat_map(|start| vec![start; count / 3]).collect();
        assert_eq!(starts, expected);
    }
}

#[test]
fn utc_and_timecode_are_those_of_the_start() {
    let mut harness = harness("", JSON);
    let mut buffer = buffer(12, &[tags(Source::Fused, 12)]);
    {
        let buffer = buffer.make_mut();
        let unix: gst::Caps = "timestamp/x-unix".parse().unwrap();
        let time = gst::ClockTime::from_seconds(1_764_115_212);
        gst::ReferenceTimestampMeta::add(buffer, &unix, time, gst::ClockTime::NONE);
        let timecode = gst_video::VideoTimeCode::new(
            gst::Fraction::new(25, 1),
            None,
            gst_video::VideoTimeCodeFlags::empty(),
            10,
            0,
            2,
            5,
            0,
        );
        gst_video::VideoTimeCodeMeta::add(buffer, &timecode.try_into().unwrap());
    }
    harness.push(buffer).unwrap();
    let line = &objects(&mut harness)[0];
    // The tags start ten seconds before the buffer.
    assert_eq!(line["utc"], "2025-11-26T00:00:02.000Z");
    assert_eq!(line["timecode"], "09:59:52:05");

    let mut buffer = self::buffer(0, &[tags(Source::Fused, 0)]);
    let ntp: gst::Caps = "timestamp/x-ntp".parse().unwrap();
    let time = gst::ClockTime::from_seconds(2_208_988_800 + 86_400);
    gst::ReferenceTimestampMeta::add(buffer.make_mut(), &ntp, time, gst::ClockTime::NONE);
    harness.push(buffer).unwrap();
    assert_eq!(objects(&mut harness)[0]["utc"], "1970-01-02T00:00:00.000Z");
}

#[test]
fn a_live_stream_has_the_clocks_time() {
    let pipeline = common::launch(
        "videotestsrc is-live=true num-buffers=20 ! video/x-raw,framerate=20/1 ! frameclassify model=video interval=200000000 \
            ! tagtext ! fakesink name=sink",
    );
    let record = Record::of(&pipeline, "sink");
    let seconds = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let before = seconds();
    assert_eq!(common::play(&pipeline).error, None);
    let after = seconds();
    let lines = record.buffers();
    let line: Value = serde_json::from_str(&text(&lines[lines.len() - 1])).unwrap();
    let utc = line["utc"].as_str().unwrap();
    let utc = gst::glib::DateTime::from_iso8601(utc, None)
        .unwrap()
        .to_unix() as u64;
    assert!(
        (before..=after + 1).contains(&utc),
        "{utc} is not between {before} and {after}"
    );
}

#[test]
fn fields_that_cannot_be_used_are_an_error() {
    for (fields, part) in [("source=7", "'source'"), ("=", "NAME=VALUE")] {
        let pipeline = common::launch("audiotestsrc num-buffers=1 ! tagtext name=t ! fakesink");
        pipeline
            .by_name("t")
            .unwrap()
            .set_property("fields", fields);
        let outcome = common::play(&pipeline);
        assert!(outcome.error_text().contains(part), "{outcome:?}");
    }
}

#[test]
fn a_sink_that_takes_no_text_is_an_error() {
    let pipeline = common::launch(
        "audiotestsrc num-buffers=1 ! tagtext name=t ! capsfilter caps=text/x-raw,format=utf8 ! fakesink",
    );
    assert_eq!(common::play(&pipeline).error, None);
    let element = gst::parse::launch("tagtext ! capsfilter caps=video/x-raw");
    assert!(element.is_err(), "linked to what takes no text");
    let pipeline = common::launch(
        "audiotestsrc num-buffers=1 ! tagtext format=klv ! capsfilter caps=application/x-json ! fakesink",
    );
    assert!(
        common::play(&pipeline)
            .error_text()
            .contains("tagtext produces meta/x-klv")
    );
}

#[test]
fn an_overlay_beside_the_pictures_does_not_stop_them() {
    let pipeline = common::launch(
        "appsrc name=src format=time max-bytes=0 caps=video/x-raw,format=AYUV,width=64,height=32,framerate=10/1 ! tee name=t \
            t. ! queue ! tagtext ! overlay.text_sink \
            t. ! queue ! overlay.video_sink textoverlay name=overlay ! fakesink name=sink sync=false",
    );
    let record = Record::of(&pipeline, "sink");
    let source = pipeline.by_name("src").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    for n in 0..400 {
        let mut buffer = common::buffer(vec![0; 64 * 32 * 4], ms(n * 100), ms(100));
        let second = n / 10;
        let mut results = Vec::new();
        if n % 10 == 0 && second > 0 {
            // Each second sound and pictures, each five both, about the ten seconds before.
            results.extend([Source::Audio, Source::Video].map(|source| tags(source, second)));
            if second % 5 == 0 {
                results.push(tags(Source::Fused, second));
            }
        }
        Tags::attach(&results, buffer.get_mut().unwrap());
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    assert_eq!(common::play(&pipeline).error, None);
    assert_eq!(record.buffers().len(), 400);
}

/// What happened to whom, and its seconds.
fn happened(objects: &[Value]) -> Vec<(String, u64, String, f64, f64)> {
    let happened = |object: &Value| {
        let text = |name: &str| object[name].as_str().unwrap().to_owned();
        let seconds = |name: &str| object[name].as_f64().unwrap();
        let id = object["id"].as_u64().unwrap();
        (
            text("event"),
            id,
            text("label"),
            seconds("start"),
            seconds("end"),
        )
    };
    objects.iter().map(happened).collect()
}

fn event(
    kind: &str,
    id: u64,
    label: &str,
    start: f64,
    end: f64,
) -> (String, u64, String, f64, f64) {
    (kind.into(), id, label.into(), start, end)
}

#[test]
fn events_are_written_in_place_of_results() {
    let mut harness = harness("events=true fields=\"channel=7\"", JSON);
    let plays = |time, tags: &[(&str, f32)]| buffer(time, &[result(Source::Fused, time, tags)]);
    harness.push(plays(10, &[("Violin", 0.75)])).unwrap();
    harness.push(plays(15, &[("Violin", 0.75)])).unwrap();
    harness.push(buffer(16, &[])).unwrap();
    // Pictures alone say nothing beside the fusion.
    let seen = result(Source::Video, 17, &[("Drums", 0.9)]);
    harness.push(buffer(17, &[seen])).unwrap();
    harness.push(plays(20, &[("Piano", 0.5)])).unwrap();
    let mut whole = result(Source::Fused, 20, &[("Violin", 0.6)]);
    whole.start = Some(gst::ClockTime::ZERO);
    harness.push_event(meta::clip_event(&whole));
    harness.push_event(gst::event::Eos::new());
    let lines = objects(&mut harness);
    assert_eq!(
        happened(&lines),
        [
            event("new", 0, "Violin", 0.0, 10.0),
            event("end", 0, "Violin", 0.0, 15.0),
            event("new", 1, "Piano", 10.0, 20.0),
            event("end", 1, "Piano", 10.0, 20.0),
        ]
    );
    let numbers: Vec<_> = lines.iter().map(|line| line["sequence"].clone()).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let end = &lines[1];
    assert_eq!(end["channel"], 7);
    assert_eq!((&end["best"], &end["mean"]), (&json!(0.75), &json!(0.75)));
    assert_eq!(end["sources"], json!(["fused"]));
}

#[test]
fn a_seek_ends_what_played() {
    let mut harness = harness("events=true", JSON);
    let plays = |time| buffer(time, &[result(Source::Audio, time, &[("Violin", 0.75)])]);
    harness.push(plays(10)).unwrap();
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    harness.push_event(gst::event::Segment::new(&segment));
    harness.push(plays(12)).unwrap();
    harness.push_event(gst::event::Eos::new());
    let lines = objects(&mut harness);
    assert_eq!(
        happened(&lines),
        [
            event("new", 0, "Violin", 0.0, 10.0),
            event("end", 0, "Violin", 0.0, 10.0),
            event("new", 1, "Violin", 2.0, 12.0),
            event("end", 1, "Violin", 2.0, 12.0),
        ]
    );
}

#[test]
fn events_are_not_for_texts_that_are_shown() {
    let pipeline =
        common::launch("audiotestsrc num-buffers=1 ! tagtext events=true format=webvtt ! fakesink");
    let outcome = common::play(&pipeline);
    let (_, error) = outcome.error.unwrap();
    let expected = "events=true needs format=json, id3 or klv";
    assert!(error.starts_with(expected), "{error}");
}

// SPDX-License-Identifier: MPL-2.0

//! frameclassify while streams change, jump, follow one another and stop, and while its model changes; with the
//! models of tests/data/models, where `inverse` gives 1 less what `video` gives.

mod common;

use std::time::{Duration, Instant};

use common::{
    Bench, PATIENCE, Record, assert_untouched, buffer, launch, mel_patch, ms, play, rounded,
};
use gst::prelude::*;
use gst_video::VideoBufferFlags;
use gst_video::prelude::*;
use gstinstruments::meta::{self, Features, Tags};

const CAPS: &str = "video/x-raw,format=RGB,width=8,height=6,framerate=10/1";
const AUDIO_CAPS: &str = "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved";

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

/// A picture of one colour that lasts a tenth of a second.
fn picture(colour: [u8; 3], pts: impl Into<Option<gst::ClockTime>>) -> gst::Buffer {
    buffer(colour.repeat(8 * 6), pts, ms(100))
}

fn bench(properties: &str) -> Bench {
    Bench::new(&format!("frameclassify name=f {properties}"), CAPS)
}

/// The first label of each of the tags on `buffer`.
fn labels(buffer: &gst::BufferRef) -> Vec<String> {
    let best = |tags: &Tags| tags.scores.first().map(|(label, _)| label.clone());
    Tags::from_buffer(buffer).iter().filter_map(best).collect()
}

/// The starts of the pictures that were analysed, in milliseconds.
fn starts(bench: &Bench) -> Vec<u64> {
    let outcome = bench.outcome();
    let windows = outcome.windows("f");
    windows
        .iter()
        .map(|tags| tags.start.unwrap().mseconds())
        .collect()
}

fn segment(rate: f64) -> gst::Event {
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(rate);
    if rate < 0.0 {
        segment.set_stop(ms(100_000));
    }
    gst::event::Segment::new(&segment)
}

/// A mel patch whose first band is `value` and whose others are zero.
fn patch(value: f32, start: gst::ClockTime) -> Features {
    mel_patch([value, 0.0, 0.0, 0.0], start)
}

// Interlaced video.

#[test]
fn interlaced_video_is_tagged_as_progressive_and_untouched() {
    // Orange, whose tags are 0.8, 0.6, 0.4, in the field that is read; the other one is black.
    let line = |y: usize| {
        if y.is_multiple_of(2) {
            [204, 153, 102]
        } else {
            [0; 3]
        }
    };
    let woven: Vec<u8> = (0..48).flat_map(|y| line(y).repeat(64)).collect();
    let field: Vec<u8> = [204, 153, 102].repeat(64 * 24);
    let both = [field.clone(), vec![0; field.len()]].concat();
    let plain: Vec<u8> = [204, 153, 102].repeat(64 * 48);
    let none = VideoBufferFlags::empty();
    for (caps, mode, pixels, flags) in [
        ("video/x-raw", "progressive", &plain, none),
        ("video/x-raw", "interleaved", &woven, none),
        ("video/x-raw", "mixed", &woven, VideoBufferFlags::INTERLACED),
        ("video/x-raw", "mixed", &plain, none),
        ("video/x-raw", "fields", &both, none),
        (
            "video/x-raw(format:Interlaced)",
            "alternate",
            &field,
            VideoBufferFlags::TOP_FIELD,
        ),
    ] {
        let caps =
            format!("{caps},format=RGB,width=64,height=48,framerate=25/1,interlace-mode={mode}");
        let mut bench = Bench::new("frameclassify name=f model=video", &caps);
        let mut original = buffer(pixels.clone(), ms(0), ms(40));
        original.get_mut().unwrap().set_video_flags(flags);
        let passed = bench.pass(original.clone());
        assert_untouched(&passed, &original);
        let tags = Tags::from_buffer(&passed).remove(0);
        let expected = [("Guitar", 0.8), ("Piano", 0.6), ("Drums", 0.4)];
        for ((label, score), expected) in rounded(&tags).into_iter().zip(expected) {
            // Scaling rounds.
            let close = (score - expected.1).abs() < 0.01;
            assert!(label == expected.0 && close, "{mode}: {tags:?}");
        }
        assert_eq!(tags.scores.len(), 3, "{mode}");
    }
}

#[test]
fn a_stream_may_turn_interlaced_in_the_middle() {
    let mut bench = bench("model=video interval=0");
    assert_eq!(labels(&bench.pass(picture(RED, ms(0)))), ["Guitar"]);
    for mode in ["interleaved", "mixed", "progressive"] {
        bench.set_caps(&format!("{CAPS},interlace-mode={mode}"));
        assert_eq!(
            labels(&bench.pass(picture(BLUE, ms(100)))),
            ["Drums"],
            "{mode}"
        );
    }
}

// Times.

#[test]
fn the_longest_interval_takes_one_picture() {
    let mut bench = bench("model=video interval=18446744073709551615");
    for time in [0, 1000, 100_000] {
        bench.pass(picture(RED, ms(time)));
    }
    bench.pass(picture(RED, gst::ClockTime::MAX));
    bench.end();
    assert_eq!(starts(&bench)[0], 0);
}

#[test]
fn reverse_playback_takes_a_picture_each_interval() {
    let mut bench = bench("model=video");
    bench.send(segment(-1.0));
    for time in (0..50).rev() {
        bench.pass(picture(RED, ms(time * 100)));
    }
    assert_eq!(starts(&bench), [4900, 3900, 2900, 1900, 900, 0][..5]);
}

#[test]
fn tags_expire_when_the_signal_was_lost() {
    let mut bench = bench("model=video scheduling=async interval=3600000000000");
    bench.pass(picture(RED, ms(0)));
    let deadline = Instant::now() + PATIENCE;
    // The answer comes when it comes, on a buffer of the same time.
    while labels(&bench.pass(picture(RED, ms(100)))).is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    bench
        .element("f")
        .set_property("tag-lifetime", 5_000_000_000u64);
    // It is about an hour from 0 on.
    assert_eq!(labels(&bench.pass(picture(RED, ms(3_604_000)))), ["Guitar"]);
    assert!(labels(&bench.pass(picture(RED, ms(3_606_000)))).len() <= 1);
}

#[test]
fn the_default_lifetime_is_the_tagged_time() {
    // Sound has patches once and then no more.
    let mut bench = Bench::new("frameclassify name=f model=audio", AUDIO_CAPS);
    let sound = |patches: &[Features], time| {
        let mut buffer = buffer(vec![0; 1600], ms(time), ms(100));
        Features::attach(patches, buffer.get_mut().unwrap());
        buffer
    };
    let mut long = patch(0.5, ms(0));
    long.duration = Some(ms(3000));
    bench.pass(sound(&[long], 3000));
    assert_eq!(labels(&bench.pass(sound(&[], 6000))), ["Guitar"]);
    assert_eq!(labels(&bench.pass(sound(&[], 6100))), [""; 0]);
    bench
        .element("f")
        .set_property("tag-lifetime", 4_000_000_000u64);
    assert_eq!(labels(&bench.pass(sound(&[], 7000))), ["Guitar"]);
    assert_eq!(labels(&bench.pass(sound(&[], 7100))), [""; 0]);
}

// Streams that follow one another.

#[test]
fn a_stream_that_follows_without_an_end_is_another_one() {
    let mut bench = bench("model=video");
    bench.pass(picture(RED, ms(0)));
    bench.pass(picture(RED, ms(1000)));
    // Sticky events may come twice: this is still the same stream.
    let again = gst::event::StreamStart::new("one");
    bench.send(again.clone());
    bench.send(again);
    let outcome = bench.outcome();
    let clips: Vec<_> = outcome.tags.iter().filter(|(_, _, clip)| *clip).collect();
    assert_eq!(clips.len(), 1, "{outcome:?}");
    assert_eq!(rounded(&clips[0].1), [("Guitar", 1.0)]);
    assert_eq!(clips[0].1.duration, Some(ms(2000)));
    // The old grid would let these pass, with the old tags.
    bench.send(segment(1.0));
    assert_eq!(labels(&bench.pass(picture(BLUE, ms(1500)))), ["Drums"]);
    bench.end();
    let outcome = bench.outcome();
    let clip = outcome.clip("f").unwrap();
    assert_eq!(
        (rounded(clip), clip.start),
        (vec![("Drums", 1.0)], Some(ms(1500)))
    );
}

#[test]
fn concat_gives_a_result_for_each_stream() {
    let source = |colour| {
        format!(
            "videotestsrc pattern=solid-color foreground-color={colour} num-buffers=5
                ! video/x-raw,format=RGB,width=8,height=6,framerate=5/1 ! c. "
        )
    };
    let pipeline = launch(&format!(
        "{} {} concat name=c ! frameclassify name=f model=video ! fakesink",
        source("0xffff0000"),
        source("0xff0000ff")
    ));
    let outcome = play(&pipeline);
    let clips = outcome.tags.iter().filter(|(_, _, clip)| *clip);
    let clips: Vec<_> = clips.map(|(_, tags, _)| rounded(tags)).collect();
    assert_eq!(clips, [[("Guitar", 1.0)], [("Drums", 1.0)]]);
}

#[test]
fn requests_under_way_stay_in_their_stream() {
    let mut bench = bench("model=slow threads=1 scheduling=async interval=0");
    bench.pass(picture(RED, ms(0)));
    bench.pass(picture(RED, ms(100)));
    bench.send(gst::event::StreamStart::new("two"));
    bench.send(segment(1.0));
    bench.pass(picture(BLUE, ms(0)));
    bench.end();
    let (tags, _) = bench.metadata();
    assert_eq!(tags.len(), 1);
    assert_eq!(rounded(&tags[0]), [("Drums", 1.0)]);
    assert_eq!(
        rounded(bench.outcome().clip("f").unwrap()),
        [("Drums", 1.0)]
    );
}

// Waiting.

#[test]
fn an_event_with_patches_holds_up_nothing_when_asynchronous() {
    let stats = |bench: &Bench| bench.element("f").property::<gst::Structure>("stats");
    let inferences = |bench: &Bench| stats(bench).get::<u64>("inferences").unwrap();
    let description = "frameclassify name=f model=slow-audio threads=1";
    let mut bench = Bench::new(&format!("{description} scheduling=async"), AUDIO_CAPS);
    bench.pass(buffer(vec![0; 1600], ms(0), ms(100)));
    bench.send(meta::event(&[], &[patch(0.5, ms(0))]));
    assert_eq!(inferences(&bench), 0);
    bench.end();
    let (tags, _) = bench.metadata();
    assert_eq!(rounded(&tags[0]), [("Guitar", 1.0)]);
    assert_eq!(inferences(&bench), 1);
    // A stream that waits has its tags right behind the event.
    let mut bench = Bench::new(description, AUDIO_CAPS);
    bench.pass(buffer(vec![0; 1600], ms(0), ms(100)));
    bench.send(meta::event(&[], &[patch(0.5, ms(0))]));
    assert_eq!(bench.metadata().0.len(), 1);
}

/// Plays a model that never ends until it runs; then `interrupt` has to return, long before the model's time limit.
fn assert_interrupts(scheduling: &str, interrupt: impl FnOnce(&gst::Pipeline)) {
    let pipeline = launch(&format!(
        "videotestsrc ! video/x-raw,format=RGB,width=8,height=6,framerate=10/1
            ! frameclassify name=f model=endless scheduling={scheduling} ! fakesink"
    ));
    let element = pipeline.by_name("f").unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let pad = element.static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        sender.send(()).unwrap();
        gst::PadProbeReturn::Remove
    });
    pipeline.set_state(gst::State::Paused).unwrap();
    receiver.recv().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    interrupt(&pipeline);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    common::stop(&pipeline);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let error = pipeline
        .bus()
        .unwrap()
        .pop_filtered(&[gst::MessageType::Error]);
    assert!(error.is_none(), "{error:?}");
}

#[test]
fn a_seek_does_not_wait_for_an_inference() {
    for scheduling in ["sync", "async"] {
        assert_interrupts(scheduling, |pipeline| {
            let flags = gst::SeekFlags::FLUSH;
            pipeline.seek_simple(flags, gst::ClockTime::ZERO).unwrap();
            let stats = pipeline
                .by_name("f")
                .unwrap()
                .property::<gst::Structure>("stats");
            assert!(stats.get::<u64>("dropped").unwrap() >= 1, "{stats}");
        });
    }
}

#[test]
fn stopping_does_not_wait_for_an_inference() {
    for scheduling in ["sync", "async"] {
        assert_interrupts(scheduling, |pipeline| {
            pipeline.set_state(gst::State::Null).unwrap();
        });
    }
}

// Models.

#[test]
fn a_model_set_in_ready_is_the_one_that_runs() {
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=1 ! {CAPS} ! frameclassify name=f model=video ! fakesink"
    ));
    pipeline.set_state(gst::State::Ready).unwrap();
    let element = pipeline.by_name("f").unwrap();
    element.set_property("model", "inverse");
    let outcome = play(&pipeline);
    assert_eq!(outcome.windows("f")[0].model, "inverse");
    // So are the labels, and what cannot be opened keeps it from starting.
    let file = common::folder("labels").join("labels.txt");
    std::fs::write(&file, "a\nb\nc\n").unwrap();
    pipeline.set_state(gst::State::Ready).unwrap();
    element.set_property("labels-file", file.to_str().unwrap());
    let outcome = play(&pipeline);
    assert!("abc".contains(&outcome.windows("f")[0].scores[0].0));
    pipeline.set_state(gst::State::Ready).unwrap();
    element.set_property("model", "nowhere");
    let outcome = play(&pipeline);
    assert!(
        outcome.error_text().contains("`nowhere` was not found"),
        "{outcome:?}"
    );
}

#[test]
fn properties_say_when_they_can_change() {
    common::init();
    let element = gst::ElementFactory::make("frameclassify").build().unwrap();
    let flags = |name: &str| element.find_property(name).unwrap().flags();
    for name in [
        "batch-size",
        "frames",
        "scheduling",
        "labels-file",
        "execution-provider",
        "device",
        "precision",
        "engine-cache",
        "threads",
    ] {
        assert!(
            flags(name).contains(gst::PARAM_FLAG_MUTABLE_READY),
            "{name}"
        );
    }
    for name in [
        "model",
        "interval",
        "activation",
        "threshold",
        "max-tags",
        "repeat-tags",
        "tag-lifetime",
        "post-messages",
        "reload",
    ] {
        assert!(
            flags(name).contains(gst::PARAM_FLAG_MUTABLE_PLAYING),
            "{name}"
        );
    }
}

#[test]
fn the_default_model_is_open_in_ready_where_the_media_is_known() {
    for (line, active) in [
        ("videotestsrc ! frameclassify name=f ! fakesink", true),
        (
            "audiotestsrc ! melspec ! queue ! frameclassify name=f ! fakesink",
            true,
        ),
        // Either may come.
        ("queue ! frameclassify name=f ! fakesink", false),
        ("queue ! frameclassify name=f ! videoscale ! fakesink", true),
    ] {
        let pipeline = launch(line);
        pipeline.set_state(gst::State::Ready).unwrap();
        let element = pipeline.by_name("f").unwrap();
        let provider = element.property::<Option<String>>("active-provider");
        assert_eq!(provider.is_some(), active, "{line}");
        common::stop(&pipeline);
    }
}

#[test]
fn a_default_model_that_cannot_be_opened_is_an_error_once_media_comes() {
    let element = "frameclassify labels-file=/nowhere/labels.txt";
    let idle = launch(&format!("queue ! {element} ! videoscale ! fakesink"));
    idle.set_state(gst::State::Paused).unwrap();
    let error = [gst::MessageType::Error];
    assert!(idle.bus().unwrap().pop_filtered(&error).is_none());
    common::stop(&idle);
    let outcome = play(&launch(&format!("videotestsrc ! {element} ! fakesink")));
    assert!(
        outcome.error_text().contains("/nowhere/labels.txt"),
        "{outcome:?}"
    );
}

/// A source of video, live or not, that frameclassify knows nothing of before the caps come.
fn unknown(live: bool) -> gst::Pipeline {
    let pipeline = launch(&format!(
        "videotestsrc name=src is-live={live} num-buffers=40 ! video/x-raw,width=64,height=48,framerate=20/1 ! identity name=i
            frameclassify name=f interval=0 ! fakesink name=sink sync=false"
    ));
    let [identity, element] = ["i", "f"].map(|name| pipeline.by_name(name).unwrap());
    pipeline.set_state(gst::State::Ready).unwrap();
    let src = identity.static_pad("src").unwrap();
    // Linked when the first buffer comes, as what decodebin finds.
    src.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, move |src, _| {
        let _ = src.link(&element.static_pad("sink").unwrap());
        gst::PadProbeReturn::Remove
    });
    pipeline
}

#[test]
fn media_whose_model_is_not_open_yet_waits_unless_it_is_live() {
    let record = |pipeline: &gst::Pipeline| {
        let element = pipeline.by_name("f").unwrap();
        assert_eq!(element.property::<Option<String>>("active-provider"), None);
        let record = Record::of(pipeline, "sink");
        let outcome = play(pipeline);
        assert!(outcome.error.is_none(), "{outcome:?}");
        record.buffers()
    };
    let pipeline = unknown(false);
    let buffers = record(&pipeline);
    assert!(buffers.len() >= 39, "{}", buffers.len());
    assert!(
        buffers
            .iter()
            .all(|buffer| !Tags::from_buffer(buffer).is_empty())
    );
    let pipeline = unknown(true);
    let buffers = record(&pipeline);
    assert!(buffers.len() >= 39, "{}", buffers.len());
    assert_eq!(Tags::from_buffer(&buffers[0]), []);
}

/// Passes pictures, all of them red, until `done`; media must never stop.
#[track_caller]
fn pass_until(bench: &mut Bench, from: u64, done: impl Fn(&gst::Buffer) -> bool) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    for time in (from..).step_by(100) {
        if done(&bench.pass(picture(RED, ms(time)))) {
            return time;
        }
        assert!(Instant::now() < deadline, "{:?}", bench.outcome());
        std::thread::sleep(Duration::from_millis(2));
    }
    unreachable!()
}

#[test]
fn another_model_takes_over_while_media_passes() {
    let mut bench = bench("model=video interval=0 threshold=0.5");
    assert_eq!(labels(&bench.pass(picture(RED, ms(0)))), ["Guitar"]);
    bench.element("f").set_property("model", "inverse");
    let names = |buffer: &gst::Buffer| Tags::from_buffer(buffer)[0].model.clone();
    let swapped = pass_until(&mut bench, 100, |buffer| names(buffer) == "inverse");
    let last = bench.pass(picture(RED, ms(swapped + 100)));
    assert_eq!(
        rounded(&Tags::from_buffer(&last)[0]),
        [("Piano", 1.0), ("Drums", 1.0)]
    );
    bench.end();
    let outcome = bench.outcome();
    assert!(
        outcome.error.is_none() && outcome.warnings.is_empty(),
        "{outcome:?}"
    );
    // Every picture has a result of one of them, and each has one for what it saw of the stream.
    let models: Vec<_> = outcome
        .windows("f")
        .iter()
        .map(|tags| tags.model.clone())
        .collect();
    assert_eq!(models.len() as u64, swapped / 100 + 2);
    let clips = outcome.tags.iter().filter(|(_, _, clip)| *clip);
    let clips: Vec<_> = clips
        .map(|(_, tags, _)| (tags.model.as_str(), tags.start))
        .collect();
    assert_eq!(
        clips,
        [("video", Some(ms(0))), ("inverse", Some(ms(swapped)))]
    );
}

#[test]
fn a_bad_model_is_a_warning_and_the_old_one_stays() {
    for bad in ["nowhere", "audio", "truncated", "no-card"] {
        let mut bench = bench("model=video interval=0");
        bench.pass(picture(RED, ms(0)));
        let element = bench.element("f");
        element.set_property("model", bad);
        pass_until(&mut bench, 100, |_| {
            element.property::<Option<String>>("model").as_deref() == Some("video")
        });
        assert_eq!(labels(&bench.pass(picture(BLUE, ms(60_000)))), ["Drums"]);
        let outcome = bench.outcome();
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert_eq!(outcome.warnings.len(), 1, "{outcome:?}");
        let warning = &outcome.warnings[0];
        assert!(
            warning.contains(bad) && warning.contains("video stays"),
            "{warning}"
        );
    }
}

#[test]
fn a_model_for_other_patches_is_a_bad_one() {
    let mut bench = Bench::new("frameclassify name=f model=audio", AUDIO_CAPS);
    let sound = |time| {
        let mut buffer = buffer(vec![0; 1600], ms(time), ms(100));
        Features::attach(&[patch(0.5, ms(time))], buffer.get_mut().unwrap());
        buffer
    };
    bench.pass(sound(0));
    let element = bench.element("f");
    element.set_property("model", "ced-yt8m13");
    let deadline = Instant::now() + PATIENCE;
    while element.property::<Option<String>>("model").as_deref() != Some("audio") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    let outcome = bench.outcome();
    assert!(
        outcome.warnings[0].contains("bands is 4, the model's is 64"),
        "{outcome:?}"
    );
    assert_eq!(labels(&bench.pass(sound(100))), ["Guitar"]);
    // One that takes the same patches is as good as the first.
    element.set_property("model", "audio-single");
    while Tags::from_buffer(&bench.pass(sound(200)))[0].model != "audio-single" {
        assert!(Instant::now() < deadline);
    }
}

/// Sets a model that opens and then fails on what passes.
fn swap_for_a_model_that_fails(bad: &str, scheduling: &str) {
    let properties = format!("model=audio scheduling={scheduling} threshold=0.1");
    let mut bench = Bench::new(&format!("frameclassify name=f {properties}"), AUDIO_CAPS);
    // Of silence there is no logarithm, and this index is beyond the table.
    let value = if bad == "nan" { 0.5 } else { 8.0 };
    let mut time = 0;
    let mut pass = |bench: &mut Bench| {
        let mut sound = buffer(vec![0; 1600], ms(time), ms(100));
        Features::attach(&[patch(value, ms(time))], sound.get_mut().unwrap());
        time += 100;
        bench.pass(sound)
    };
    pass(&mut bench);
    let element = bench.element("f");
    let deadline = Instant::now() + PATIENCE;
    let model = || element.property::<Option<String>>("model");
    // Twice: the second time the old model has run in between.
    for _ in 0..2 {
        element.set_property("model", bad);
        while model().as_deref() != Some("audio") {
            assert!(Instant::now() < deadline, "{bad} stays");
            pass(&mut bench);
            std::thread::sleep(Duration::from_millis(5));
        }
        for _ in 0..3 {
            let tags = Tags::from_buffer(&pass(&mut bench));
            assert_eq!(tags[0].model, "audio");
        }
        let outcome = bench.outcome();
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert_eq!(outcome.warnings.len(), 1, "{outcome:?}");
        let warning = &outcome.warnings[0];
        let parts = [
            format!("The model {bad} cannot be used, audio stays in use"),
            format!("the model `{bad}` "),
        ];
        assert!(parts.iter().all(|part| warning.contains(part)), "{warning}");
        let windows = outcome.windows("f");
        assert!(
            windows.iter().all(|tags| tags.model == "audio"),
            "{outcome:?}"
        );
    }
    bench.end();
    let outcome = bench.outcome();
    assert_eq!(outcome.clip("f").unwrap().model, "audio");
}

#[test]
fn a_new_model_that_fails_at_its_first_run_gives_way_to_the_old_one() {
    for bad in ["nan", "fails"] {
        for scheduling in ["sync", "async"] {
            swap_for_a_model_that_fails(bad, scheduling);
        }
    }
}

#[test]
fn a_new_model_that_has_worked_and_fails_later_is_an_error() {
    let mut bench = Bench::new("frameclassify name=f model=audio", AUDIO_CAPS);
    let sound = |value, time| {
        let mut sound = buffer(vec![0; 1600], ms(time), ms(100));
        Features::attach(&[mel_patch([value; 4], ms(time))], sound.get_mut().unwrap());
        sound
    };
    bench.pass(sound(1.0, 0));
    bench.element("f").set_property("model", "nan");
    let deadline = Instant::now() + PATIENCE;
    let mut time = 100;
    while Tags::from_buffer(&bench.pass(sound(1.0, time)))[0].model != "nan" {
        assert!(Instant::now() < deadline);
        time += 100;
    }
    assert!(bench.push(sound(-1.0, time + 100)).is_err());
    let outcome = bench.outcome();
    assert!(
        outcome.error_text().contains("the model `nan` gave NaN"),
        "{outcome:?}"
    );
    assert!(outcome.warnings.is_empty(), "{outcome:?}");
}

#[test]
fn a_file_that_was_replaced_is_loaded_again() {
    let models = common::root().join("tests/data/models");
    let file = common::folder("reload").join("model.onnx");
    std::fs::copy(models.join("video.onnx"), &file).unwrap();
    let mut bench = bench(&format!(
        "model={} interval=0 threshold=0.5",
        file.display()
    ));
    assert_eq!(labels(&bench.pass(picture(RED, ms(0)))), ["Guitar"]);
    // Written and then renamed, so that it is never half a model.
    let new = file.with_extension("new");
    std::fs::copy(models.join("inverse.onnx"), &new).unwrap();
    std::fs::rename(&new, &file).unwrap();
    bench.pass(picture(RED, ms(100)));
    let element = bench.element("f");
    element.set_property("reload", true);
    assert!(!element.property::<bool>("reload"));
    pass_until(&mut bench, 200, |buffer| labels(buffer) == ["Piano"]);
}

// SPDX-License-Identifier: MPL-2.0

//! The life of a pipeline: states in every order, seeks, removals and ends at any time.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::common::{PATIENCE, Record, buffer, launch, ms, play, stop, wait};

/// All elements, fed without end as fast as they take it.
const ENDLESS: &str = "videotestsrc ! video/x-raw,width=64,height=48,framerate=10/1 ! frameclassify name=pictures model=video ! fuse.video
    audiotestsrc ! audio/x-raw,rate=8000 ! melspec name=mel ! frameclassify name=sound model=audio ! fuse.audio
    avfuse name=fuse model=fusion ! tee name=t t. ! queue ! fakesink t. ! queue ! tagtext name=text ! fakesink async=false";

/// The names of the elements whose errors wait on the bus.
fn errors(pipeline: &gst::Pipeline) -> Vec<String> {
    let bus = pipeline.bus().unwrap();
    bus.iter_filtered(&[gst::MessageType::Error])
        .map(|message| {
            message
                .src()
                .map(|src| src.name().to_string())
                .unwrap_or_default()
        })
        .collect()
}

#[test]
fn states_in_every_order() {
    use gst::State::{Null, Paused, Playing, Ready};
    let states = [Null, Ready, Paused, Playing];
    let pipeline = launch(ENDLESS);
    for first in states {
        for second in states {
            for third in states {
                for state in [first, second, third] {
                    pipeline.set_state(state).unwrap();
                }
                // Now and then it gets as far as it was told to.
                if third == Playing {
                    let (reached, _, _) = pipeline.state(ms(20_000));
                    reached.unwrap();
                }
            }
        }
        stop(&pipeline);
    }
    assert_eq!(errors(&pipeline), [""; 0]);
}

#[test]
fn a_stream_that_ends_before_it_begins() {
    let outcome = play(&launch(
        "videotestsrc num-buffers=0 ! frameclassify model=video ! fuse.video
            audiotestsrc num-buffers=0 ! melspec ! frameclassify model=audio ! fuse.audio
            avfuse name=fuse model=fusion ! tagtext ! fakesink",
    ));
    assert_eq!(outcome.error, None);
    assert!(outcome.tags.is_empty(), "{outcome:?}");
}

#[test]
fn an_end_that_the_application_sends() {
    let pipeline = launch(ENDLESS);
    pipeline.set_state(gst::State::Playing).unwrap();
    let (playing, _, _) = pipeline.state(ms(20_000));
    playing.unwrap();
    assert!(pipeline.send_event(gst::event::Eos::new()));
    let outcome = wait(&pipeline);
    stop(&pipeline);
    assert_eq!(outcome.error, None);
    for element in ["pictures", "sound", "fuse"] {
        assert!(outcome.clip(element).is_some(), "{element}: {outcome:?}");
    }
}

#[test]
fn an_error_downstream_is_the_only_one() {
    let pipeline = launch(
        "videotestsrc ! video/x-raw,framerate=10/1 ! frameclassify model=video ! fuse.video
            audiotestsrc ! melspec ! frameclassify model=audio ! fuse.audio
            avfuse name=fuse model=fusion ! identity name=bad error-after=20 ! fakesink",
    );
    let _ = pipeline.set_state(gst::State::Playing);
    let outcome = wait(&pipeline);
    assert_eq!(outcome.error.as_ref().unwrap().0, "bad", "{outcome:?}");
    stop(&pipeline);
    let repeated: Vec<_> = errors(&pipeline)
        .into_iter()
        .filter(|name| {
            ["frameclassify", "melspec", "fuse"]
                .iter()
                .any(|ours| name.starts_with(ours))
        })
        .collect();
    assert_eq!(repeated, [""; 0], "they repeat an error that is not theirs");
}

#[test]
fn a_link_that_is_cut_is_an_error_of_the_source() {
    let pipeline = launch(
        "videotestsrc name=source ! video/x-raw,framerate=10/1 ! frameclassify name=f model=video ! fakesink",
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    let (playing, _, _) = pipeline.state(ms(20_000));
    playing.unwrap();
    let pad = pipeline.by_name("f").unwrap().static_pad("src").unwrap();
    pad.unlink(&pad.peer().unwrap()).unwrap();
    let outcome = wait(&pipeline);
    stop(&pipeline);
    let (element, text) = outcome.error.unwrap();
    assert_eq!(element, "source", "{text}");
}

#[test]
fn an_element_can_be_taken_out_while_media_flows() {
    let pipeline = launch(
        "videotestsrc name=source num-buffers=200 ! queue name=before ! frameclassify name=f model=video
            ! identity name=after sleep-time=1000 ! fakesink name=sink",
    );
    let record = Record::of(&pipeline, "sink");
    let element = |name: &str| pipeline.by_name(name).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (playing, _, _) = pipeline.state(ms(20_000));
    playing.unwrap();
    let (before, f, after) = (element("before"), element("f"), element("after"));
    let (done, is_done) = std::sync::mpsc::channel();
    let pad = before.static_pad("src").unwrap();
    let owner = pipeline.clone();
    pad.add_probe(gst::PadProbeType::IDLE, move |_, _| {
        gst::Element::unlink_many([&before, &f, &after]);
        owner.remove(&f).unwrap();
        f.set_state(gst::State::Null).unwrap();
        before.link(&after).unwrap();
        let _ = done.send(());
        gst::PadProbeReturn::Remove
    });
    is_done
        .recv_timeout(Duration::from_secs(20))
        .expect("the element is out");
    let outcome = wait(&pipeline);
    stop(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(record.buffers().len(), 200);
}

#[test]
fn a_pad_of_avfuse_is_released_and_asked_for_again_while_media_flows() {
    let pipeline = launch(
        "videotestsrc num-buffers=300 ! video/x-raw,framerate=30/1 ! frameclassify model=video ! fuse.video
            audiotestsrc is-live=true ! melspec ! frameclassify name=sound model=audio ! fuse.audio
            avfuse name=fuse model=fusion ! identity sleep-time=1000 ! fakesink name=sink",
    );
    let record = Record::of(&pipeline, "sink");
    pipeline.set_state(gst::State::Playing).unwrap();
    let (fuse, sound) = (
        pipeline.by_name("fuse").unwrap(),
        pipeline.by_name("sound").unwrap(),
    );
    let from = sound.static_pad("src").unwrap();
    for _ in 0..5 {
        let (done, is_done) = std::sync::mpsc::channel();
        let fuse = fuse.clone();
        from.add_probe(gst::PadProbeType::IDLE, move |from, _| {
            if let Some(pad) = from.peer() {
                from.unlink(&pad).unwrap();
                fuse.release_request_pad(&pad);
            }
            let pad = fuse
                .request_pad_simple("audio")
                .expect("a pad after the release");
            from.link(&pad).unwrap();
            let _ = done.send(());
            gst::PadProbeReturn::Remove
        });
        is_done
            .recv_timeout(Duration::from_secs(20))
            .expect("a new pad");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The sound is live and has no end of its own.
    let source = pipeline
        .iterate_sources()
        .find(|e| e.name().starts_with("audiotestsrc"));
    source.unwrap().send_event(gst::event::Eos::new());
    let outcome = wait(&pipeline);
    stop(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(record.buffers().len(), 300);
}

#[test]
fn seeks_while_a_model_runs() {
    // An inference of `slow` takes some tenths of a second.
    let pipeline = launch(
        "videotestsrc num-buffers=300 ! video/x-raw,framerate=30/1 ! frameclassify name=f model=slow ! fakesink",
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    let (playing, _, _) = pipeline.state(ms(20_000));
    playing.unwrap();
    for n in 0..8 {
        let asked = Instant::now();
        pipeline
            .seek_simple(gst::SeekFlags::FLUSH, ms(1000 * n))
            .unwrap();
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "seek {n} took {:?}",
            asked.elapsed()
        );
        std::thread::sleep(Duration::from_millis(30));
    }
    stop(&pipeline);
    assert_eq!(errors(&pipeline), [""; 0]);
}

#[test]
fn one_of_two_that_share_a_model_is_stopped() {
    let line = |buffers: i32| {
        launch(&format!(
            "videotestsrc num-buffers={buffers} ! video/x-raw,framerate=1/1 ! frameclassify name=f model=video ! fakesink"
        ))
    };
    let (stays, goes) = (line(500), line(-1));
    goes.set_state(gst::State::Playing).unwrap();
    stays.set_state(gst::State::Playing).unwrap();
    stop(&goes);
    let outcome = wait(&stays);
    stop(&stays);
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.windows("f").len(), 500);
}

/// The caps of `pictures` and `sounds`.
const CAPS: [&str; 2] = [
    "video/x-raw,format=GRAY8,width=8,height=6,framerate=10/1",
    "audio/x-raw,format=U8,rate=480,channels=1,layout=interleaved",
];

/// A source pad of the application's own, linked to `sink`.
fn source(sink: &gst::Pad) -> gst::Pad {
    let source = gst::Pad::new(gst::PadDirection::Src);
    source.set_active(true).unwrap();
    source.link(sink).unwrap();
    source
}

/// Begins a stream of `caps` at running time `start`.
fn begin(source: &gst::Pad, caps: &str, start: gst::ClockTime) {
    source.push_event(gst::event::StreamStart::new(&format!("stream-{start}")));
    source.push_event(gst::event::Caps::new(&caps.parse().unwrap()));
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_base(start);
    source.push_event(gst::event::Segment::new(&segment));
}

/// Sends these tenths of a second of a stream, at most to the first refusal.
fn send(
    source: &gst::Pad,
    mut tenths: std::ops::Range<u64>,
) -> Result<gst::FlowSuccess, gst::FlowError> {
    tenths.try_fold(gst::FlowSuccess::Ok, |_, n| {
        source.push(buffer(vec![7; 48], ms(100 * n), ms(100)))
    })
}

/// The result of `work` in a thread of its own; panics when that takes too long.
fn within_patience<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).expect("it does not hang")
}

#[test]
fn a_stream_follows_on_a_pad_that_had_ended_while_the_other_goes_on() {
    let pipeline = launch("avfuse name=fuse model=fusion ! fakesink name=sink async=false");
    let record = Record::of(&pipeline, "sink");
    let fuse = pipeline.by_name("fuse").unwrap();
    let [video, audio] =
        ["video", "audio"].map(|name| source(&fuse.request_pad_simple(name).unwrap()));
    pipeline.set_state(gst::State::Playing).unwrap();
    within_patience(move || {
        begin(&video, CAPS[0], ms(0));
        begin(&audio, CAPS[1], ms(0));
        let (reached, is_reached) = std::sync::mpsc::channel();
        let (follow, they_follow) = std::sync::mpsc::channel();
        let sounds = std::thread::spawn(move || {
            send(&audio, 0..30).unwrap();
            reached.send(()).unwrap();
            // Otherwise the sound, too, may have ended when the pictures go on.
            they_follow.recv().unwrap();
            send(&audio, 30..60).unwrap();
            assert!(audio.push_event(gst::event::Eos::new()));
        });
        send(&video, 0..20).unwrap();
        assert!(video.push_event(gst::event::Eos::new()));
        // The sound gets this far only when the pictures have ended.
        is_reached.recv().unwrap();
        begin(&video, CAPS[0], ms(4000));
        send(&video, 0..1).unwrap();
        follow.send(()).unwrap();
        send(&video, 1..20).unwrap();
        assert!(video.push_event(gst::event::Eos::new()));
        sounds.join().unwrap();
    });
    assert_eq!(wait(&pipeline).error, None);
    stop(&pipeline);
    assert_eq!(record.buffers().len(), 40);
}

#[test]
fn a_stream_that_goes_on_after_the_end_of_all_is_refused() {
    let pipeline = launch(
        "videotestsrc num-buffers=20 ! fuse.video avfuse name=fuse model=fusion ! fakesink async=false",
    );
    let fuse = pipeline.by_name("fuse").unwrap();
    let audio = source(&fuse.request_pad_simple("audio").unwrap());
    pipeline.set_state(gst::State::Paused).unwrap();
    // A stream that brings no segment for long is ended.
    audio.push_event(gst::event::StreamStart::new("sound"));
    audio.push_event(gst::event::Caps::new(&CAPS[1].parse().unwrap()));
    pipeline.set_state(gst::State::Playing).unwrap();
    assert_eq!(wait(&pipeline).error, None);
    let sent = within_patience(move || {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        audio.push_event(gst::event::Segment::new(&segment));
        send(&audio, 0..40)
    });
    // GStreamer's base class refuses it up to 1.24 at least, and takes it in 1.26.
    if gst::version() < (1, 25, 0, 0) {
        assert_eq!(sent, Err(gst::FlowError::Eos));
    }
    stop(&pipeline);
}

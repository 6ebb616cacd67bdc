// SPDX-License-Identifier: MPL-2.0

//! The life of a pipeline: states in every order, seeks, removals and ends at any time.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::common::{Record, launch, ms, play, stop, wait};

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

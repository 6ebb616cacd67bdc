// SPDX-License-Identifier: MPL-2.0

//! The instruments as tags of the stream: events, files, and what other programs see of them.

mod common;

use std::process::Command;

use common::{Bench, Record, buffer, folder, launch, mel_patch, ms, play, root, stop};
use gst::prelude::*;
use gstinstruments::meta::{Features, Instruments};

const AUDIO: &str = "audio/x-raw,format=F32LE,rate=8000,channels=1,layout=interleaved";

/// Title, keywords and instruments of an event.
type Named = (Option<String>, Vec<String>, Vec<String>);

fn named(event: &gst::Event) -> Option<Named> {
    let gst::EventView::Tag(event) = event.view() else {
        return None;
    };
    let list = event.tag();
    assert_eq!(list.scope(), gst::TagScope::Stream);
    let keywords = list.iter_tag::<gst::tags::Keywords>();
    let instruments = list.iter_tag::<Instruments>();
    let title = list.get::<gst::tags::Title>();
    Some((
        title.map(|title| title.get().to_owned()),
        keywords.map(|value| value.get().to_owned()).collect(),
        instruments.map(|value| value.get().to_owned()).collect(),
    ))
}

fn expected(title: Option<&str>, keywords: &[&str], instruments: &[&str]) -> Named {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    (
        title.map(str::to_owned),
        owned(keywords),
        owned(instruments),
    )
}

/// Seconds of sound in which each has the band with its instrument that `bands` say, through frameclassify.
fn tagged(properties: &str, bands: &[usize]) -> Vec<Named> {
    let mut bench = Bench::new(&format!("frameclassify model=audio {properties}"), AUDIO);
    let mut list = gst::TagList::new();
    {
        let list = list.make_mut();
        list.add::<gst::tags::Title>(&"A concert", gst::TagMergeMode::Append);
        list.add::<gst::tags::Keywords>(&"live", gst::TagMergeMode::Append);
    }
    bench.send(gst::event::Tag::new(list));
    for (second, &band) in bands.iter().enumerate() {
        let start = ms(second as u64 * 1000);
        let mut buffer = buffer(vec![0; 32000], start, ms(1000));
        let mut values = [0.0; 4];
        values[band] = 0.4;
        Features::attach(&[mel_patch(values, start)], buffer.make_mut());
        bench.pass(buffer);
    }
    bench.end();
    bench.events().iter().filter_map(named).collect()
}

#[test]
fn an_event_at_the_end_and_on_changes_keeps_the_streams_own_tags() {
    let title = Some("A concert");
    let own = expected(title, &["live"], &[]);
    let both = expected(title, &["live", "Guitar", "Piano"], &["Guitar", "Piano"]);
    let changes = [
        own.clone(),
        expected(title, &["live", "Guitar"], &["Guitar"]),
        expected(title, &["live", "Piano"], &["Piano"]),
        both.clone(),
    ];
    let played = [0, 0, 1, 1];
    assert_eq!(tagged("", &played), [own.clone(), both]);
    assert_eq!(tagged("stream-tags=changes", &played), changes);
    assert_eq!(
        tagged("stream-tags=never", &played),
        std::slice::from_ref(&own)
    );
    // Without an instrument there is no event.
    assert_eq!(tagged("threshold=0.9", &played), [own]);
}

#[test]
fn fused_instruments_replace_those_of_the_pictures() {
    let pipeline = launch(
        "videotestsrc num-buffers=20 pattern=spokes foreground-color=0xffff0000
            ! video/x-raw,width=64,height=48,framerate=10/1 ! frameclassify model=video threshold=0.1 ! fuse.video
        avfuse name=fuse model=fusion threshold=0 max-tags=2 window=1000000000 ! fakesink name=sink",
    );
    let record = Record::of(&pipeline, "sink");
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    let clip = outcome
        .clip("fuse")
        .unwrap_or_else(|| panic!("{outcome:?}"));
    let clip = clip.scores.iter();
    let labels: Vec<_> = clip.map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels[0], "Guitar");
    assert_eq!(labels.len(), 2);
    let events: Vec<_> = record.events().iter().filter_map(named).collect();
    assert!(events.contains(&expected(None, &["Guitar"], &["Guitar"])));
    assert_eq!(events.last(), Some(&expected(None, &labels, &labels)));
}

/// What gst-discoverer-1.0 prints of `file`.
fn discovered(file: &std::path::Path) -> String {
    let output = Command::new("gst-discoverer-1.0")
        .args(["-v".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_programs_find_them_in_a_file() {
    let folder = folder("file");
    let (plain, tagged) = (folder.join("plain.mp4"), folder.join("tagged.mp4"));
    let clip = format!(
        "filesrc location={} ! qtdemux name=d",
        root().join("examples/media/band.mp4").display()
    );
    let mux =
        |file: &std::path::Path| format!("mp4mux name=mux ! filesink location={}", file.display());
    let outcome = play(&launch(&format!(
        "{clip} d.video_0 ! queue ! mux.video_0 d.audio_0 ! queue ! mux.audio_0 {}",
        mux(&plain)
    )));
    assert_eq!(outcome.error, None);
    assert!(!discovered(&plain).contains("keywords"));
    let outcome = play(&launch(&format!(
        "{clip} d.video_0 ! queue ! tagger.video tagger.video_src ! queue ! mux.video_0
            d.audio_0 ! queue ! tagger.audio tagger.audio_src ! queue ! mux.audio_0
            instrumenttagger name=tagger {}",
        mux(&tagged)
    )));
    assert_eq!(outcome.error, None);
    let clip = outcome.tags.iter().rfind(|(_, _, clip)| *clip).unwrap();
    let labels: Vec<_> = clip
        .1
        .scores
        .iter()
        .map(|(label, _)| label.as_str())
        .collect();
    let line = format!("keywords: {}\n", labels.join(", "));
    assert!(!labels.is_empty());
    let found = discovered(&tagged);
    assert!(found.contains(&line), "no {line} in\n{found}");
}

/// Players read messages, which the sinks post.
#[test]
fn the_sink_posts_them() {
    let pipeline = launch(
        "videotestsrc num-buffers=3 pattern=solid-color foreground-color=0xffff0000
            ! video/x-raw,width=64,height=48,framerate=1/1 ! frameclassify model=video ! fakesink",
    );
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let wanted = [gst::MessageType::Tag, gst::MessageType::Eos];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted);
    let message = message.expect("a message");
    let gst::MessageView::Tag(tag) = message.view() else {
        panic!("{message:?}");
    };
    let instruments = tag.tags().get::<Instruments>();
    assert_eq!(instruments.unwrap().get(), "Guitar");
    stop(&pipeline);
}

// SPDX-License-Identifier: MPL-2.0

//! avfuse with embeddings made by hand and the model `fusion` of tests/data/models, whose tags are the mean of the
//! pictures' embeddings plus the first three values of the sound's, each if it is there.

mod common;

use std::time::{Duration, Instant};

use common::{
    Outcome, PATIENCE, Record, assert_untouched, buffer, embedding, launch, ms, play, rounded, stop,
};
use gst::prelude::*;
use gstinstruments::meta::{self, Features, Source, Tags};

const VIDEO: &str = "appsrc name=video format=time max-bytes=0 caps=video/x-raw,format=GRAY8,width=8,height=6,framerate=1/1";
const AUDIO: &str = "appsrc name=audio format=time max-bytes=0 caps=audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved";
const FUSE: &str =
    "avfuse name=fuse model=fusion threshold=0 max-tags=0 window=4000000000 stride=2000000000";

/// What an appsrc sends.
#[derive(Clone)]
enum Item {
    Buffer(gst::Buffer),
    Event(gst::Event),
}

/// The picture of second `n`: its embedding is n/32, 1/2, 0.
fn picture(n: u64) -> Item {
    let mut buffer = buffer(vec![n as u8; 48], ms(n * 1000), ms(1000));
    let values = [n as f32 / 32.0, 0.5, 0.0];
    let embedding = embedding("test-video/1", &values, ms(n * 1000), ms(1000));
    Features::attach(&[embedding], buffer.get_mut().unwrap());
    Item::Buffer(buffer)
}

/// The embedding of the last two seconds of sound before second `n`: n/32, 0, 1/4 and a value that no tag takes.
fn heard(n: u64) -> Features {
    let start = n.saturating_sub(2) * 1000;
    let values = [n as f32 / 32.0, 0.0, 0.25, 9.0];
    embedding("test-audio/1", &values, ms(start), ms(n * 1000 - start))
}

/// Half a second of sound, number `n`, with an embedding at the end of each second.
fn sound(n: u64) -> Item {
    let mut buffer = buffer(vec![n as u8; 8000], ms(n * 500), ms(500));
    if n % 2 == 1 {
        Features::attach(&[heard(n / 2 + 1)], buffer.get_mut().unwrap());
    }
    Item::Buffer(buffer)
}

/// A second without anything.
fn gap(second: u64) -> Item {
    let gap = gst::event::Gap::builder(ms(second * 1000));
    Item::Event(gap.duration(ms(1000)).build())
}

fn pictures(seconds: std::ops::Range<u64>) -> Vec<Item> {
    seconds.map(picture).collect()
}

fn sounds(seconds: std::ops::Range<u64>) -> Vec<Item> {
    (seconds.start * 2..seconds.end * 2).map(sound).collect()
}

/// Hands `items` and the end of the stream to the appsrc `name`.
fn feed(pipeline: &gst::Pipeline, name: &str, items: &[Item]) {
    let source = pipeline.by_name(name).unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    for item in items {
        match item {
            Item::Buffer(buffer) => drop(source.push_buffer(buffer.clone()).unwrap()),
            Item::Event(event) => assert!(source.send_event(event.clone())),
        }
    }
    source.end_of_stream().unwrap();
}

/// Plays `items` through the pipeline, in which the appsrcs are called `video` and `audio`, the sink `sink`.
fn run(description: &str, items: &[(&str, Vec<Item>)]) -> (Outcome, Record) {
    let pipeline = launch(description);
    let record = Record::of(&pipeline, "sink");
    for (name, items) in items {
        feed(&pipeline, name, items);
    }
    (play(&pipeline), record)
}

/// Both modalities through avfuse with more `properties`.
fn fuse(properties: &str, video: Vec<Item>, audio: Vec<Item>) -> (Outcome, Record) {
    run(
        &format!(
            "{VIDEO} ! fuse.video {AUDIO} ! fuse.audio {FUSE} {properties} ! fakesink name=sink"
        ),
        &[("video", video), ("audio", audio)],
    )
}

/// A 32nd of the mean, by their seconds after `start`, of what was heard before second `end` and side by side before that.
fn mean_heard(start: u64, mut end: u64) -> f32 {
    let (mut sum, mut time) = (0, 0);
    while end > start {
        let length = (end - start).min(2);
        sum += end * length;
        time += length;
        end = end.saturating_sub(2);
    }
    (sum as f64 / time as f64 / 32.0) as f32
}

/// A window from `start` to `end` seconds that had the pictures and the sound as said.
fn window(start: u64, end: u64, pictures: &[u64], heard: Option<u64>) -> Tags {
    let mean = pictures.iter().sum::<u64>() as f32 / pictures.len().max(1) as f32;
    let mut scores = vec![(
        "Guitar".to_owned(),
        mean / 32.0 + heard.map_or(0.0, |end| mean_heard(start, end)),
    )];
    scores.push((
        "Piano".to_owned(),
        if pictures.is_empty() { 0.0 } else { 0.5 },
    ));
    scores.push(("Drums".to_owned(), if heard.is_some() { 0.25 } else { 0.0 }));
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let seen = (!pictures.is_empty()).then_some(Source::Video);
    Tags {
        source: Source::Fused,
        model: "fusion".into(),
        sources: seen
            .into_iter()
            .chain(heard.map(|_| Source::Audio))
            .collect(),
        start: Some(ms(start * 1000)),
        duration: Some(ms((end - start) * 1000)),
        media: 1.0,
        scores,
        fresh: true,
    }
}

/// The windows over ten seconds of both.
fn both() -> Vec<Tags> {
    vec![
        window(0, 2, &[0, 1], Some(2)),
        window(0, 4, &[0, 1, 2, 3], Some(4)),
        window(2, 6, &[2, 3, 4, 5], Some(6)),
        window(4, 8, &[4, 5, 6, 7], Some(8)),
        window(6, 10, &[6, 7, 8, 9], Some(10)),
    ]
}

#[track_caller]
fn assert_windows(outcome: &Outcome, expected: &[Tags]) {
    assert_eq!(outcome.error, None);
    let windows: Vec<_> = outcome.windows("fuse").into_iter().cloned().collect();
    assert_eq!(windows, expected);
}

#[test]
fn windows_of_both_modalities() {
    let (outcome, record) = fuse("", pictures(0..10), sounds(0..10));
    assert_windows(&outcome, &both());
    // The clip has all ten pictures (4.5 on average) and the mean of the sounds by length: the first is about
    // 1 s, the nine after it about 2 s each.
    let clip = outcome.clip("fuse").unwrap();
    let sound = (1.0 + 2.0 * (2..=10).sum::<u32>() as f32) / 19.0;
    let mean = (4.5 + sound) / 32.0;
    assert_eq!(clip.scores[0], ("Piano".into(), 0.5));
    assert!((clip.scores[1].1 - mean).abs() < 1e-6, "{clip:?}");
    assert_eq!((clip.start, clip.duration), (Some(ms(0)), Some(ms(10_000))));
    assert_eq!(clip.sources, [Source::Video, Source::Audio]);

    // A window rides on the first picture after it, and is repeated until the next; the last comes before EOS.
    let buffers = record.buffers();
    assert_eq!(buffers.len(), 10);
    for (second, buffer) in buffers.iter().enumerate() {
        let expected = (second >= 2).then(|| Tags {
            fresh: second % 2 == 0,
            ..both().swap_remove(second / 2 - 1)
        });
        assert_eq!(
            Tags::from_buffer(buffer),
            Vec::from_iter(expected),
            "{second}"
        );
    }
    assert_eq!(record.event_tags(), both()[4..]);
    assert_eq!(record.events().last().unwrap().type_(), gst::EventType::Eos);
}

#[test]
fn the_order_of_the_pads_does_not_matter() {
    let (outcome, record) = run(
        &format!("{AUDIO} ! fuse.audio {VIDEO} ! fuse.video {FUSE} ! fakesink name=sink"),
        &[("video", pictures(0..10)), ("audio", sounds(0..10))],
    );
    assert_windows(&outcome, &both());
    assert_eq!(record.buffers()[0].size(), 48);
}

#[test]
fn at_most_so_many_pictures_spread_over_the_window() {
    let (outcome, _) = fuse("frames=2", pictures(0..10), sounds(0..10));
    // The middles of the halves.
    let expected = [
        window(0, 2, &[0, 1], Some(2)),
        window(0, 4, &[1, 3], Some(4)),
        window(2, 6, &[3, 5], Some(6)),
        window(4, 8, &[5, 7], Some(8)),
        window(6, 10, &[7, 9], Some(10)),
    ];
    assert_windows(&outcome, &expected);
}

#[test]
fn windows_need_not_overlap_and_the_last_may_be_shorter() {
    let properties = "window=3000000000 stride=3000000000";
    let (outcome, _) = fuse(properties, pictures(0..8), sounds(0..8));
    let expected = [
        window(0, 3, &[0, 1, 2], Some(3)),
        window(3, 6, &[3, 4, 5], Some(6)),
        // Two seconds are left: a window ends with the stream.
        window(5, 8, &[5, 6, 7], Some(8)),
    ];
    assert_windows(&outcome, &expected);
    let (outcome, _) = fuse(properties, pictures(0..7), sounds(0..7));
    let one_left = window(4, 7, &[4, 5, 6], Some(7));
    assert_windows(&outcome, &[&expected[..2], &[one_left]].concat());
    // Shorter than any window: a result all the same.
    let (outcome, _) = fuse(properties, pictures(0..1), sounds(0..1));
    assert_windows(&outcome, &[window(0, 1, &[0], Some(1))]);
}

#[test]
fn video_alone() {
    let expected = [
        window(0, 2, &[0, 1], None),
        window(0, 4, &[0, 1, 2, 3], None),
        window(2, 6, &[2, 3, 4, 5], None),
        window(4, 8, &[4, 5, 6, 7], None),
        window(6, 10, &[6, 7, 8, 9], None),
    ];
    for audio in [
        // No pad; a pad without a branch; a branch that nothing is linked to, as when a file has no sound; an empty one.
        "",
        "identity ! fuse.audio",
        "queue ! melspec ! frameclassify model=audio ! fuse.audio",
        &format!("{AUDIO} ! queue ! fuse.audio"),
    ] {
        let mut items = vec![("video", pictures(0..10))];
        items.extend(audio.contains("appsrc").then_some(("audio", Vec::new())));
        let description = format!("{VIDEO} ! fuse.video {audio} {FUSE} ! fakesink name=sink");
        let (outcome, record) = run(&description, &items);
        assert_windows(&outcome, &expected);
        assert_eq!(record.buffers().len(), 10, "{audio}");
        assert_eq!(outcome.clip("fuse").unwrap().sources, [Source::Video]);
    }
}

#[test]
fn audio_alone() {
    let expected: Vec<_> = [(0, 2), (0, 4), (2, 6), (4, 8), (6, 10)]
        .map(|(start, end)| window(start, end, &[], Some(end)))
        .to_vec();
    let caps = |record: &Record| {
        let events = record.events();
        let mut caps = events.iter().filter_map(|event| match event.view() {
            gst::EventView::Caps(caps) => Some(caps.caps().to_string()),
            _ => None,
        });
        caps.next()
    };
    let audio = [("audio", sounds(0..10))];
    let description = format!("{AUDIO} ! fuse.audio {FUSE} ! fakesink name=sink");
    let (outcome, record) = run(&description, &audio);
    assert_windows(&outcome, &expected);
    assert_eq!(record.buffers().len(), 20);
    assert!(caps(&record).unwrap().starts_with("audio/x-raw"));

    // With a branch for pictures that never come, what is downstream expects pictures: the tags come in events.
    let description = format!(
        "{AUDIO} ! fuse.audio queue ! frameclassify model=video ! fuse.video {FUSE} ! fakesink name=sink"
    );
    let (outcome, record) = run(&description, &audio);
    assert_windows(&outcome, &expected);
    assert_eq!((record.buffers().len(), caps(&record)), (0, None));
}

#[test]
fn video_that_ends_early() {
    let (outcome, record) = fuse("", pictures(0..4), sounds(0..10));
    let expected = [
        window(0, 2, &[0, 1], Some(2)),
        window(0, 4, &[0, 1, 2, 3], Some(4)),
        window(2, 6, &[2, 3], Some(6)),
        window(4, 8, &[], Some(8)),
        window(6, 10, &[], Some(10)),
    ];
    assert_windows(&outcome, &expected);
    assert_eq!(record.buffers().len(), 4);
    // What no picture can take along comes in events, before the end.
    assert_eq!(record.event_tags(), expected[1..]);
    assert_eq!(record.count(gst::EventType::Eos), 1);
}

#[test]
fn audio_that_ends_early() {
    let (outcome, record) = fuse("", pictures(0..10), sounds(0..4));
    let expected = [
        window(0, 2, &[0, 1], Some(2)),
        window(0, 4, &[0, 1, 2, 3], Some(4)),
        // The sound of seconds 2 to 4 is part of this one.
        window(2, 6, &[2, 3, 4, 5], Some(4)),
        window(4, 8, &[4, 5, 6, 7], None),
        window(6, 10, &[6, 7, 8, 9], None),
    ];
    assert_windows(&outcome, &expected);
    assert_eq!(record.buffers().len(), 10);
}

#[test]
fn an_embedding_in_an_event_counts() {
    // melspec and frameclassify send what the end of a short stream completes in an event.
    let audio = vec![
        Item::Buffer(buffer(vec![0; 8000], ms(0), ms(500))),
        Item::Event(meta::event(&[], &[heard(1)])),
    ];
    let (outcome, _) = fuse("", pictures(0..1), audio);
    assert_windows(&outcome, &[window(0, 1, &[0], Some(1))]);
}

#[test]
fn gaps_in_the_sound_do_not_stop_the_pictures() {
    let audio = [sounds(0..3), (3..9).map(gap).collect(), sounds(9..10)].concat();
    let (outcome, record) = fuse("", pictures(0..10), audio);
    let expected = [
        window(0, 2, &[0, 1], Some(2)),
        window(0, 4, &[0, 1, 2, 3], Some(3)),
        window(2, 6, &[2, 3, 4, 5], Some(3)),
        window(4, 8, &[4, 5, 6, 7], None),
        Tags {
            start: Some(ms(6000)),
            duration: Some(ms(4000)),
            // Of its sound, only the last two seconds.
            ..window(8, 10, &[6, 7, 8, 9], Some(10))
        },
    ];
    assert_windows(&outcome, &expected);
    assert_eq!(record.buffers().len(), 10);
}

#[test]
fn gaps_in_the_pictures_stay_gaps() {
    let video = [pictures(0..3), (3..9).map(gap).collect(), pictures(9..10)].concat();
    let (outcome, record) = fuse("", video, sounds(0..10));
    let expected = [
        window(0, 2, &[0, 1], Some(2)),
        window(0, 4, &[0, 1, 2], Some(4)),
        window(2, 6, &[2], Some(6)),
        window(4, 8, &[], Some(8)),
        window(6, 10, &[9], Some(10)),
    ];
    assert_windows(&outcome, &expected);
    assert_eq!(record.buffers().len(), 4);
    assert_eq!(record.count(gst::EventType::Gap), 6);
}

#[test]
fn running_time_counts_not_timestamps() {
    // Pictures whose segment starts at 100 s: second n of running time is timestamp 100 + n.
    common::init();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(ms(100_000));
    segment.set_time(ms(7000));
    let mut video = vec![Item::Event(gst::event::Segment::new(&segment))];
    video.extend(pictures(0..10).into_iter().map(|item| match item {
        Item::Buffer(mut buffer) => {
            let mut features = Features::from_buffer(&buffer);
            let later = features[0].start.unwrap() + ms(100_000);
            features[0].start = Some(later);
            let mut copy = gst::Buffer::with_size(48).unwrap();
            copy.get_mut().unwrap().set_pts(later);
            copy.get_mut().unwrap().set_duration(ms(1000));
            Features::attach(&features, copy.get_mut().unwrap());
            buffer = copy;
            Item::Buffer(buffer)
        }
        event => event,
    }));
    let (outcome, record) = fuse("", video, sounds(0..10));
    let shifted = both().into_iter().map(|tags| Tags {
        start: tags.start.map(|start| start + ms(100_000)),
        ..tags
    });
    assert_windows(&outcome, &shifted.collect::<Vec<_>>());
    // The pictures' segment goes on.
    let mut segments = record
        .events()
        .into_iter()
        .filter_map(|event| match event.view() {
            gst::EventView::Segment(segment) => segment
                .segment()
                .downcast_ref::<gst::ClockTime>()
                .map(|s| (s.start(), s.time())),
            _ => None,
        });
    assert_eq!(
        segments.next_back(),
        Some((Some(ms(100_000)), Some(ms(7000))))
    );
}

#[test]
fn the_media_passes_untouched() {
    let video = pictures(0..5).into_iter().map(|item| match item {
        Item::Buffer(mut buffer) => {
            // appsrc would set it on the first, which would not be the same any more.
            let flags = gst::BufferFlags::DISCONT;
            buffer.get_mut().unwrap().set_flags(flags);
            Item::Buffer(buffer)
        }
        event => event,
    });
    let video: Vec<_> = video.collect();
    let mut tags = gst::TagList::new();
    tags.make_mut()
        .add::<gst::tags::Title>(&"a title", gst::TagMergeMode::Append);
    let items = [
        vec![Item::Event(gst::event::Tag::new(tags.clone()))],
        video.clone(),
    ]
    .concat();
    let (_, record) = fuse("stream-tags=never", items, sounds(0..5));
    for (passed, original) in record.buffers().iter().zip(&video) {
        let Item::Buffer(original) = original else {
            continue;
        };
        assert_untouched(passed, original);
        assert_eq!(Tags::from_buffer(original), []);
    }
    let events = record.events();
    let titles = events.iter().filter_map(|event| match event.view() {
        gst::EventView::Tag(tag) => tag.tag().get::<gst::tags::Title>(),
        _ => None,
    });
    let titles: Vec<_> = titles.map(|title| title.get().to_owned()).collect();
    assert_eq!(titles, ["a title"]);
    let caps = events.iter().filter_map(|event| match event.view() {
        gst::EventView::Caps(caps) => Some(caps.caps().to_string()),
        _ => None,
    });
    let caps: Vec<_> = caps.collect();
    assert_eq!(caps.len(), 1);
    assert!(caps[0].contains("GRAY8"), "{caps:?}");
}

#[test]
fn upstream_negotiates_with_what_is_downstream() {
    let pipeline = launch(&format!(
        "videotestsrc num-buffers=2 ! fuse.video audiotestsrc num-buffers=2 ! fuse.audio
            {FUSE} ! video/x-raw,format=NV12,width=34,height=18 ! fakesink name=sink"
    ));
    let record = Record::of(&pipeline, "sink");
    assert_eq!(play(&pipeline).error, None);
    assert_eq!(record.buffers()[0].size(), 36 * 18 + 36 * 9);
}

#[test]
fn allocation_queries_of_the_media_go_downstream() {
    common::init();
    let caps: gst::Caps = "video/x-raw,format=GRAY8,width=8,height=6,framerate=1/1"
        .parse()
        .unwrap();
    // What downstream proposes: no pool, one that may grow, one of three buffers.
    for (pools, expected) in [
        (vec![], (false, 48, 3, 0)),
        (vec![(100, 2, 0)], (true, 100, 5, 0)),
        (vec![(100, 2, 3)], (false, 100, 5, 0)),
    ] {
        let pipeline = launch(&format!(
            "{VIDEO} ! fuse.video {AUDIO} ! fuse.audio {FUSE} ! fakesink name=sink"
        ));
        let sink = pipeline.by_name("sink").unwrap();
        let sink = sink.static_pad("sink").unwrap();
        sink.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
            let query = info.query_mut().map(|query| query.view_mut());
            if let Some(gst::QueryViewMut::Allocation(query)) = query {
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                for &(size, min, max) in &pools {
                    query.add_allocation_pool(Some(&gst::BufferPool::new()), size, min, max);
                }
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Paused).unwrap();
        let fuse = pipeline.by_name("fuse").unwrap();
        let ask = |pad: &str| {
            let mut query = gst::query::Allocation::new(Some(&caps), true);
            let pad = fuse.static_pad(pad).unwrap();
            pad.query(&mut query).then_some(query)
        };
        let answer = ask("video").unwrap();
        let meta = answer.find_allocation_meta::<gst_video::VideoMeta>();
        assert!(meta.is_some());
        // Those that wait in avfuse must not be the last of a pool.
        let (pool, size, min, max) = answer.allocation_pools().next().unwrap();
        assert_eq!((pool.is_some(), size, min, max), expected);
        assert!(ask("audio").is_none());
        stop(&pipeline);
    }
}

#[test]
fn embeddings_that_the_model_was_not_trained_on_are_an_error() {
    let mut wrong = buffer(vec![0; 48], ms(0), ms(1000));
    let other = embedding("other/7", &[0.0; 5], ms(0), ms(1000));
    Features::attach(&[other], wrong.get_mut().unwrap());
    let (outcome, _) = fuse("", vec![Item::Buffer(wrong)], sounds(0..10));
    let error = outcome.error_text();
    for part in [
        "video embeddings",
        "test-video/1 (3 values)",
        "other/7 (5 values)",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn there_is_one_pad_of_each_kind() {
    common::init();
    let fuse = gst::ElementFactory::make("avfuse").build().unwrap();
    let video = fuse.request_pad_simple("video").unwrap();
    assert!(fuse.request_pad_simple("video").is_none());
    assert!(fuse.request_pad_simple("audio").is_some());
    fuse.release_request_pad(&video);
    assert!(fuse.request_pad_simple("video").is_some());
}

#[test]
fn messages_and_repeated_tags_can_be_switched_off() {
    let properties = "post-messages=false repeat-tags=false";
    let (outcome, record) = fuse(properties, pictures(0..10), sounds(0..10));
    assert!(outcome.tags.is_empty());
    let buffers = record.buffers();
    let counts = buffers.iter().map(|buffer| Tags::from_buffer(buffer).len());
    assert_eq!(counts.collect::<Vec<_>>(), [0, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
}

#[test]
fn threshold_and_number_of_tags() {
    let labels = |properties: &str| {
        let (outcome, _) = fuse(properties, pictures(0..2), sounds(0..2));
        let tags = outcome.windows("fuse")[0].clone();
        rounded(&tags)
            .iter()
            .map(|(label, _)| label.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(labels(""), ["Piano", "Drums", "Guitar"]);
    assert_eq!(labels("threshold=0.25"), ["Piano", "Drums"]);
    assert_eq!(labels("max-tags=1"), ["Piano"]);
}

/// Waits until the sink of `record` has `count` buffers, and says how long that took.
fn wait_for(record: &Record, count: usize) -> Duration {
    let start = Instant::now();
    while record.buffers().len() < count {
        assert!(
            start.elapsed() < PATIENCE,
            "{} buffers",
            record.buffers().len()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// In a live pipeline the queues hold what waits for the other branch.
const LIVE_FUSE: &str =
    "avfuse name=fuse model=fusion threshold=0 window=400000000 stride=200000000";

#[test]
fn a_silent_modality_does_not_hold_up_a_live_one() {
    // A live source that never says anything; pictures come for a second.
    for (media, silent, pad, other) in [
        (
            "videotestsrc is-live=true ! video/x-raw,framerate=30/1 ! frameclassify model=video interval=100000000",
            AUDIO,
            "video",
            "audio",
        ),
        (
            "audiotestsrc is-live=true samplesperbuffer=800 ! audio/x-raw,rate=8000 ! melspec patch-interval=100000000
                ! frameclassify model=audio",
            VIDEO,
            "audio",
            "video",
        ),
    ] {
        let pipeline = launch(&format!(
            "{media} ! queue ! fuse.{pad} {silent} is-live=true ! queue ! fuse.{other} {LIVE_FUSE} ! fakesink name=sink sync=true"
        ));
        let record = Record::of(&pipeline, "sink");
        pipeline.set_state(gst::State::Playing).unwrap();
        if pad == "video" {
            wait_for(&record, 30);
            let buffers = record.buffers();
            let fused = buffers.iter().flat_map(|buffer| Tags::from_buffer(buffer));
            let fused: Vec<_> = fused.filter(|tags| tags.fresh && tags.source == Source::Fused).collect();
            assert!(!fused.is_empty());
            assert!(fused.iter().all(|tags| tags.sources == [Source::Video]), "{fused:?}");
        } else {
            // Nothing to ride on, so the tags come as messages.
            let bus = pipeline.bus().unwrap();
            let deadline = Instant::now() + PATIENCE;
            let tags = loop {
                assert!(Instant::now() < deadline);
                let Some(message) = bus.timed_pop(ms(1000)) else { continue };
                assert_ne!(message.type_(), gst::MessageType::Error, "{message:?}");
                if let Some((tags, _)) = Tags::from_message(&message)
                    && tags.source == Source::Fused
                {
                    break tags;
                }
            };
            assert_eq!(tags.sources, [Source::Audio]);
        }
        stop(&pipeline);
    }
}

#[test]
fn sound_that_comes_late_does_not_hold_up_live_pictures() {
    // The sound is a second behind, and says so in no latency query.
    let pipeline = launch(&format!(
        "videotestsrc is-live=true num-buffers=60 horizontal-speed=20 ! video/x-raw,framerate=30/1 ! frameclassify model=video interval=100000000 ! queue ! fuse.video
            audiotestsrc is-live=true num-buffers=20 samplesperbuffer=800 timestamp-offset=-1000000000 ! audio/x-raw,rate=8000
            ! melspec patch-interval=100000000 ! frameclassify model=audio ! queue ! fuse.audio
            {LIVE_FUSE} ! fakesink name=sink sync=true"
    ));
    let record = Record::of(&pipeline, "sink");
    let outcome = play(&pipeline);
    assert_eq!(outcome.error, None);
    assert_eq!(record.buffers().len(), 60);
    assert!(
        outcome
            .clip("fuse")
            .unwrap()
            .sources
            .contains(&Source::Video)
    );
}

/// A window of which `media` had media.
fn partly(media: f32, window: Tags) -> Tags {
    Tags { media, ..window }
}

#[test]
fn a_window_with_media_in_less_than_half_of_it_gives_no_result() {
    let with_gaps = |pass: fn(std::ops::Range<u64>) -> Vec<Item>| {
        [pass(0..5), (5..10).map(gap).collect(), pass(10..14)].concat()
    };
    let (outcome, _) = fuse("", with_gaps(pictures), with_gaps(sounds));
    let expected = [
        window(0, 2, &[0, 1], Some(2)),
        window(0, 4, &[0, 1, 2, 3], Some(4)),
        partly(0.75, window(2, 6, &[2, 3, 4], Some(5))),
        // 4 to 8 had one second, 6 to 10 none.
        partly(0.5, window(8, 12, &[10, 11], Some(12))),
        window(10, 14, &[10, 11, 12, 13], Some(14)),
    ];
    assert_eq!(outcome.error, None);
    let found = outcome.windows("fuse");
    let spans = |tags: &Tags| (tags.start, tags.duration, tags.media);
    assert_eq!(
        found.iter().map(|tags| spans(tags)).collect::<Vec<_>>(),
        expected.iter().map(spans).collect::<Vec<_>>()
    );
    let clip = outcome.clip("fuse").unwrap();
    assert!((clip.media - 9.0 / 14.0).abs() < 1e-6, "{clip:?}");
}

#[test]
fn what_says_nothing_counts_as_absent() {
    let change = |items: Vec<Item>, change: fn(&mut Features)| -> Vec<Item> {
        let change = |item| match item {
            Item::Buffer(buffer) => {
                let mut features = Features::from_buffer(&buffer);
                features.iter_mut().for_each(change);
                let bytes = buffer.map_readable().unwrap().to_vec();
                let mut copy = common::buffer(bytes, buffer.pts(), buffer.duration());
                Features::attach(&features, copy.get_mut().unwrap());
                Item::Buffer(copy)
            }
            event => event,
        };
        items.into_iter().map(change).collect()
    };
    let silent = change(sounds(0..4), |features| features.blank = true);
    let (outcome, _) = fuse("", pictures(0..4), silent.clone());
    let seen = [
        window(0, 2, &[0, 1], None),
        window(0, 4, &[0, 1, 2, 3], None),
    ];
    assert_windows(&outcome, &seen);
    assert_eq!(outcome.clip("fuse").unwrap().sources, [Source::Video]);

    let black = change(pictures(0..4), |features| features.blank = true);
    let (outcome, _) = fuse("", black, sounds(0..4));
    let heard = vec![window(0, 2, &[], Some(2)), window(0, 4, &[], Some(4))];
    assert_windows(&outcome, &heard);

    // One picture all the time is no evidence beside sound, but it is without.
    let still = |seconds| change(pictures(0..seconds), |features| features.still = true);
    let (outcome, _) = fuse("", still(6), sounds(0..6));
    let stays = [heard.clone(), vec![window(2, 6, &[], Some(6))]].concat();
    assert_windows(&outcome, &stays);
    assert_eq!(outcome.clip("fuse").unwrap().sources, [Source::Audio]);
    let (outcome, _) = fuse("", still(4), silent);
    assert_windows(&outcome, &seen);

    // A short stream's only picture does not say whether it stays; before the end nothing says how long the stream is.
    let both = [Source::Video, Source::Audio];
    for (seconds, shown) in [(1, &[0][..]), (4, &[0, 1, 2, 3])] {
        let (outcome, _) = fuse("", still(seconds), sounds(0..4));
        let short = [window(0, 2, &[], Some(2)), window(0, 4, shown, Some(4))];
        assert_windows(&outcome, &short);
        assert_eq!(outcome.clip("fuse").unwrap().sources, both);
    }
    let (outcome, _) = fuse("", still(1), sounds(0..31));
    assert_eq!(outcome.clip("fuse").unwrap().sources, [Source::Audio]);

    let mostly_gap = change(sounds(0..4), |features| features.media = 0.4);
    let (outcome, _) = fuse("", pictures(0..4), mostly_gap);
    assert_windows(&outcome, &seen);
}

/// Seconds 4 to 8 of sound, whose patches begin with second 4.
fn more_sound() -> Vec<Item> {
    (8..16)
        .map(|n| match n {
            9 | 13 => Item::Buffer(buffer(vec![n as u8; 8000], ms(n * 500), ms(500))),
            n => sound(n),
        })
        .collect()
}

#[test]
fn streams_that_follow_one_another_have_results_of_their_own() {
    let begin = |name: &str| vec![Item::Event(gst::event::StreamStart::new(name))];
    let spans = |outcome: &Outcome, clips: bool| -> Vec<[u64; 2]> {
        let tags = outcome.tags.iter().filter(|(_, _, clip)| *clip == clips);
        tags.map(|(_, tags, _)| {
            let start = tags.start.unwrap();
            [start, start + tags.duration.unwrap()].map(gst::ClockTime::seconds)
        })
        .collect()
    };
    common::init();
    let video = [pictures(0..4), begin("v2"), pictures(4..8)].concat();
    let audio = [sounds(0..4), begin("a2"), more_sound()].concat();
    let (outcome, record) = fuse("", video.clone(), audio);
    assert_windows(
        &outcome,
        &[
            window(0, 2, &[0, 1], Some(2)),
            window(0, 4, &[0, 1, 2, 3], Some(4)),
            window(4, 6, &[4, 5], Some(6)),
            window(4, 8, &[4, 5, 6, 7], Some(8)),
        ],
    );
    assert_eq!(spans(&outcome, true), [[0, 4], [4, 8]]);
    let second = &outcome.tags.iter().filter(|(_, _, clip)| *clip).nth(1);
    let (_, second, _) = second.unwrap();
    // Pictures 4 to 7, and the sound before seconds 6 and 8.
    assert!(
        second
            .scores
            .contains(&("Guitar".into(), (5.5 + 7.0) / 32.0)),
        "{second:?}"
    );
    // Nothing of the first stream rides on the second.
    let buffers = record.buffers();
    assert_eq!(buffers.len(), 8);
    assert_eq!(Tags::from_buffer(&buffers[4]), []);

    // The sound may be one stream under several.
    let (outcome, _) = fuse("", video, sounds(0..8));
    assert_eq!(spans(&outcome, true).len(), 2);
    assert_eq!(spans(&outcome, true)[0], [0, 4]);

    // Or several under one of the pictures.
    let audio = [sounds(0..4), begin("a2"), more_sound()].concat();
    let (outcome, _) = fuse("", pictures(0..8), audio);
    assert_eq!(spans(&outcome, true), [[0, 8]]);
    assert_eq!(spans(&outcome, false).last(), Some(&[4, 8]));
}

#[test]
fn reverse_playback_has_windows_in_the_medias_time() {
    common::init();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(-1.0);
    segment.set_stop(ms(10_000));
    segment.set_position(ms(10_000));
    let mut video = vec![Item::Event(gst::event::Segment::new(&segment))];
    video.extend((0..10).rev().map(picture));
    let (outcome, record) = run(
        &format!("{VIDEO} ! fuse.video {FUSE} ! fakesink name=sink"),
        &[("video", video)],
    );
    assert_windows(
        &outcome,
        &[
            window(8, 10, &[9, 8], None),
            window(6, 10, &[9, 8, 7, 6], None),
            window(4, 8, &[7, 6, 5, 4], None),
            window(2, 6, &[5, 4, 3, 2], None),
            window(0, 4, &[3, 2, 1, 0], None),
        ],
    );
    assert_eq!(record.buffers().len(), 10);
}

#[test]
fn tags_expire() {
    let with_tags = |properties: &str| -> Vec<u64> {
        let mut video = pictures(0..2);
        video.extend((2..12).map(|n| {
            let buffer = buffer(vec![0; 48], ms(n * 1000), ms(1000));
            Item::Buffer(buffer)
        }));
        let (outcome, record) = run(
            &format!("{VIDEO} ! fuse.video {FUSE} {properties} ! fakesink name=sink"),
            &[("video", video)],
        );
        // The second is about four seconds with pictures in the first two.
        assert_windows(
            &outcome,
            &[window(0, 2, &[0, 1], None), window(0, 4, &[0, 1], None)],
        );
        let buffers = record.buffers().into_iter();
        let tagged = buffers.filter(|buffer| !Tags::from_buffer(buffer).is_empty());
        tagged
            .map(|buffer| buffer.pts().unwrap().seconds())
            .collect()
    };
    assert_eq!(with_tags(""), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(with_tags("tag-lifetime=1000000000"), [2, 3, 4, 5]);
    let all: Vec<u64> = (2..12).collect();
    assert_eq!(with_tags("tag-lifetime=18446744073709551615"), all);
}

#[test]
fn a_stream_is_seekable_where_its_media_is() {
    for expected in [true, false] {
        let pipeline = launch(&format!(
            "{VIDEO} ! fuse.video {AUDIO} ! fuse.audio {FUSE} ! fakesink"
        ));
        let source = pipeline.by_name("video").unwrap();
        let source = source.static_pad("src").unwrap();
        source.add_probe(gst::PadProbeType::QUERY_UPSTREAM, move |_, info| {
            let query = info.query_mut().map(|query| query.view_mut());
            if let Some(gst::QueryViewMut::Seeking(query)) = query {
                query.set(expected, ms(0), ms(9000));
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Paused).unwrap();
        let fuse = pipeline.by_name("fuse").unwrap();
        let mut query = gst::query::Seeking::new(gst::Format::Time);
        assert!(fuse.static_pad("src").unwrap().query(&mut query));
        assert_eq!(query.result().0, expected);
        stop(&pipeline);
    }
}

#[test]
fn joining_two_live_streams_takes_time() {
    for (audio, expected) in [
        ("", 0),
        ("audiotestsrc is-live=true ! queue ! fuse.audio", 250),
    ] {
        let pipeline = launch(&format!(
            "videotestsrc is-live=true ! video/x-raw,framerate=30/1 ! queue ! fuse.video {audio} {FUSE} ! fakesink"
        ));
        pipeline.set_state(gst::State::Playing).unwrap();
        let (_, state, _) = pipeline.state(ms(10_000));
        assert_eq!(state, gst::State::Playing);
        let fuse = pipeline.by_name("fuse").unwrap();
        let pads = fuse.sink_pads();
        let upstream = pads.into_iter().map(|pad| {
            let mut query = gst::query::Latency::new();
            assert!(pad.peer_query(&mut query));
            query.result().1
        });
        let upstream = upstream.max().unwrap();
        let mut query = gst::query::Latency::new();
        assert!(fuse.static_pad("src").unwrap().query(&mut query));
        assert_eq!(query.result().1 - upstream, ms(expected), "{audio}");
        stop(&pipeline);
    }
}

#[test]
fn a_pad_is_freed_with_its_element() {
    common::init();
    let fuse = gst::ElementFactory::make("avfuse").build().unwrap();
    let pads = ["video", "audio"].map(|name| fuse.request_pad_simple(name).unwrap());
    assert_eq!(pads.each_ref().map(|pad| pad.name()), ["video", "audio"]);
    let weak = pads.each_ref().map(|pad| pad.downgrade());
    let [video, audio] = pads;
    fuse.release_request_pad(&video);
    drop(video);
    assert!(weak[0].upgrade().is_none());
    drop(audio);
    assert!(weak[1].upgrade().is_some());
    drop(fuse);
    assert!(weak[1].upgrade().is_none());
}

#[test]
fn a_pad_that_is_fed_late_takes_part_from_then_on() {
    let pipeline = launch(&format!(
        "{VIDEO} ! fuse.video queue name=late max-size-time=0 ! fuse.audio {FUSE} ! fakesink name=sink"
    ));
    let record = Record::of(&pipeline, "sink");
    let source = pipeline.by_name("video").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    let push = |source: &gst_app::AppSrc, items: Vec<Item>| {
        for item in items {
            if let Item::Buffer(buffer) = item {
                source.push_buffer(buffer).unwrap();
            }
        }
    };
    push(&source, pictures(0..4));
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for(&record, 4);
    let audio = gst::parse::launch(AUDIO).unwrap();
    let audio = audio.downcast::<gst_app::AppSrc>().unwrap();
    pipeline.add(&audio).unwrap();
    audio.link(&pipeline.by_name("late").unwrap()).unwrap();
    push(&audio, sounds(0..8));
    audio.end_of_stream().unwrap();
    audio.sync_state_with_parent().unwrap();
    // The pad waits for pictures again once sound has come.
    let deadline = Instant::now() + PATIENCE;
    let level = || {
        pipeline
            .by_name("late")
            .unwrap()
            .property::<u32>("current-level-buffers")
    };
    while level() < 10 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    push(&source, pictures(4..8));
    source.end_of_stream().unwrap();
    let outcome = common::wait(&pipeline);
    stop(&pipeline);
    assert_windows(
        &outcome,
        &[
            window(0, 2, &[0, 1], None),
            window(0, 4, &[0, 1, 2, 3], Some(4)),
            window(2, 6, &[2, 3, 4, 5], Some(6)),
            window(4, 8, &[4, 5, 6, 7], Some(8)),
        ],
    );
    assert_eq!(record.buffers().len(), 8);
}

#[test]
fn a_stream_that_the_collection_names_is_waited_for() {
    let pipeline = launch(&format!(
        "{VIDEO} ! fuse.video queue name=late max-size-time=0 ! fuse.audio {FUSE} ! fakesink name=sink"
    ));
    let record = Record::of(&pipeline, "sink");
    let stream = |kind| gst::Stream::new(None, None, kind, gst::StreamFlags::empty());
    let collection = gst::StreamCollection::builder(None)
        .stream(stream(gst::StreamType::VIDEO))
        .stream(stream(gst::StreamType::AUDIO))
        .build();
    // As demuxers do, before the segment.
    let collection = gst::event::StreamCollection::new(&collection);
    let source = pipeline.by_name("video").unwrap();
    let source = source.static_pad("src").unwrap();
    source.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let event = info.event().map(|event| event.type_());
        if event == Some(gst::EventType::Caps) {
            assert!(pad.push_event(collection.clone()));
            return gst::PadProbeReturn::Remove;
        }
        gst::PadProbeReturn::Ok
    });
    feed(&pipeline, "video", &pictures(0..4));
    pipeline.set_state(gst::State::Playing).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(record.buffers().len(), 0);
    let audio = gst::parse::launch(AUDIO).unwrap();
    pipeline.add(&audio).unwrap();
    audio.link(&pipeline.by_name("late").unwrap()).unwrap();
    feed(&pipeline, "audio", &sounds(0..4));
    audio.sync_state_with_parent().unwrap();
    let outcome = common::wait(&pipeline);
    stop(&pipeline);
    assert_windows(
        &outcome,
        &[
            window(0, 2, &[0, 1], Some(2)),
            window(0, 4, &[0, 1, 2, 3], Some(4)),
        ],
    );
}

#[test]
fn a_pad_that_is_linked_and_silent_lets_pictures_through_without_a_clock() {
    let pipeline = launch(&format!(
        "{VIDEO} ! fuse.video {AUDIO} ! queue ! fuse.audio {FUSE} ! fakesink name=sink sync=false"
    ));
    pipeline.use_clock(gst::Clock::NONE);
    let record = Record::of(&pipeline, "sink");
    feed(&pipeline, "video", &pictures(0..10));
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for(&record, 10);
    stop(&pipeline);
}

#[test]
fn properties_of_the_model_and_the_windows_change_in_ready_only() {
    common::init();
    let fuse = gst::ElementFactory::make("avfuse").build().unwrap();
    for (name, expected) in [
        ("model", true),
        ("window", true),
        ("threads", true),
        ("threshold", false),
        ("tag-lifetime", false),
    ] {
        let flags = fuse.find_property(name).unwrap().flags();
        let ready_only = flags.contains(gst::PARAM_FLAG_MUTABLE_READY);
        assert_eq!(ready_only, expected, "{name}");
    }
}

#[test]
fn a_flush_and_a_stop_end_a_run_of_the_model() {
    // The model turns for ever on pictures that are not black.
    let pipeline = launch(&format!(
        "{VIDEO} ! fuse.video avfuse name=fuse model=fusion-endless window=2000000000 stride=2000000000 ! fakesink name=sink"
    ));
    let record = Record::of(&pipeline, "sink");
    let source = pipeline.by_name("video").unwrap();
    let source = source.downcast::<gst_app::AppSrc>().unwrap();
    let push = |items: Vec<Item>| {
        for item in items {
            if let Item::Buffer(buffer) = item {
                source.push_buffer(buffer).unwrap();
            }
        }
    };
    let quickly = |start: Instant| assert!(start.elapsed() < Duration::from_secs(2));
    push(pictures(0..4));
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for(&record, 2);
    // The third picture waits for the window of the first two.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(record.buffers().len(), 2);
    let pad = pipeline
        .by_name("fuse")
        .unwrap()
        .static_pad("video")
        .unwrap();
    let start = Instant::now();
    assert!(pad.send_event(gst::event::FlushStart::new()));
    quickly(start);
    assert!(pad.send_event(gst::event::FlushStop::new(true)));
    stop(&pipeline);

    pipeline.set_state(gst::State::Paused).unwrap();
    push(pictures(0..4));
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for(&record, 4);
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    stop(&pipeline);
    quickly(start);
}

#[test]
fn a_jump_of_time_costs_nothing_however_long_the_windows_are() {
    const YEARS: u64 = 30 * 365 * 24 * 3600;
    for window in [
        4_000_000_000,
        3_600_000_000_000,
        YEARS * 1_000_000_000,
        u64::MAX,
    ] {
        for jump in [3600, YEARS] {
            for audio in ["audio", "none"] {
                let items = [
                    ("video", [pictures(0..4), pictures(jump..jump + 4)].concat()),
                    ("audio", [sounds(0..4), sounds(jump..jump + 4)].concat()),
                ];
                let fuse = format!(
                    "{VIDEO} ! fuse.video avfuse name=fuse model=fusion window={window} stride=100000000 ! fakesink name=sink"
                );
                let start = Instant::now();
                let (outcome, record) = match audio {
                    "none" => run(&fuse, &items[..1]),
                    _ => run(&format!("{AUDIO} ! fuse.audio {fuse}"), &items),
                };
                let case = format!("{window} {jump} {audio}");
                assert!(start.elapsed() < Duration::from_secs(5), "{case}");
                assert_eq!(
                    (outcome.error.as_ref(), record.buffers().len()),
                    (None, 8),
                    "{case}"
                );
                // The last picture before the jump counts until the next, for half a window or 30 s; a stride later
                // there is nothing more to say.
                let longest = 3000 + (window / 2_000_000).min(30_000) + 100;
                let windows = outcome.windows("fuse");
                let most = longest / 100 + 40;
                assert!(
                    (70..=most).contains(&(windows.len() as u64)),
                    "{case}: {}",
                    windows.len()
                );
                for tags in windows {
                    let end = (tags.start.unwrap() + tags.duration.unwrap()).mseconds();
                    let again = jump * 1000;
                    assert!(
                        end <= longest || (again..=again + 4000).contains(&end),
                        "{case}: {tags:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn windows_that_are_due_by_the_million_are_not_waited_for() {
    for (end, count) in [
        ("stop", 4),
        ("flush", 4),
        ("stop at the end of the stream", 1),
    ] {
        let pipeline = launch(&format!(
            "{VIDEO} ! fuse.video
                avfuse name=fuse model=fusion window=3600000000000 stride=1000000 ! fakesink name=sink"
        ));
        let record = Record::of(&pipeline, "sink");
        // Pictures of half an hour each; the windows of one alone are due at its end.
        let pictures: Vec<_> = (0..count)
            .map(|number| {
                let (start, duration) = (ms(number * 1_800_000), ms(1_800_000));
                let mut buffer = buffer(vec![number as u8; 48], start, duration);
                let embedding = embedding("test-video/1", &[0.5; 3], start, duration);
                Features::attach(&[embedding], buffer.get_mut().unwrap());
                Item::Buffer(buffer)
            })
            .collect();
        feed(&pipeline, "video", &pictures);
        pipeline.set_state(gst::State::Playing).unwrap();
        wait_for(&record, 1);
        std::thread::sleep(Duration::from_millis(300));
        let message = pipeline
            .bus()
            .unwrap()
            .pop_filtered(&[gst::MessageType::Eos]);
        assert!(
            message.is_none() && record.buffers().len() <= 2,
            "{end}: it is over"
        );
        let start = Instant::now();
        if end == "flush" {
            let pad = pipeline.by_name("fuse").unwrap();
            let pad = pad.static_pad("video").unwrap();
            assert!(pad.send_event(gst::event::FlushStart::new()));
            assert!(pad.send_event(gst::event::FlushStop::new(true)));
        }
        stop(&pipeline);
        assert!(start.elapsed() < Duration::from_secs(1), "{end}");
    }
}

#[test]
fn sound_is_analysed_to_its_end() {
    // In patches of 128 ms and windows of a second, side by side.
    for (samples, ends) in [
        (8000, vec![1000]),
        (8720, vec![1000]),
        (8800, vec![1000, 1100]),
        (9600, vec![1000, 1200]),
        (16000, vec![1000, 2000]),
        (19200, vec![1000, 2000, 2400]),
        (4000, vec![500]),
    ] {
        let pipeline = launch(&format!(
            "audiotestsrc samplesperbuffer=80 num-buffers={} wave=pink-noise ! audio/x-raw,rate=8000
                ! melspec patch-interval=128000000 ! frameclassify model=audio ! fuse.audio
                avfuse name=fuse model=fusion threshold=0 window=1000000000 stride=1000000000 ! fakesink",
            samples / 80
        ));
        let outcome = play(&pipeline);
        assert_eq!(outcome.error, None);
        let end = |tags: &Tags| (tags.start.unwrap() + tags.duration.unwrap()).mseconds();
        let found: Vec<_> = outcome.windows("fuse").into_iter().map(end).collect();
        assert_eq!(found, ends, "{samples} samples");
        // A patch ends with its last frame, and less than half of one is left out.
        let clip = end(outcome.clip("fuse").unwrap());
        assert!((samples / 8 - 64..=samples / 8).contains(&clip), "{clip}");
    }
}

#[test]
fn fields_of_pictures_pass_too() {
    let fields = VIDEO.replace(
        "caps=video/x-raw,format=GRAY8,width=8,height=6,framerate=1/1",
        r#"caps="video/x-raw(format:Interlaced),format=GRAY8,width=8,height=12,framerate=1/1,interlace-mode=alternate""#,
    );
    let (outcome, record) = run(
        &format!("{fields} ! fuse.video {FUSE} ! fakesink name=sink"),
        &[("video", pictures(0..4))],
    );
    assert_eq!(outcome.error, None);
    assert_eq!(record.buffers().len(), 4);
    assert!(!outcome.windows("fuse").is_empty());
}

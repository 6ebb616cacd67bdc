// SPDX-License-Identifier: MPL-2.0

//! What holds for every report, whatever the models say: random results are written in every format, read back by other
//! means than those that wrote them, and compared with one another.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::render;
use crate::args::Format;
use crate::report::{Report, Source, Window};
use crate::segments::Settings;

const LABELS: [&str; 5] = [
    "Guitar",
    "Drum & <bass>",
    "a \"b\",c",
    "Flöte",
    "Organ (pipe)",
];

/// Seconds that rounding may change.
const ROUNDING: f64 = 2e-3;

fn settings() -> impl Strategy<Value = Settings> {
    (0.05..1.0f32, 0.1..10.0, 1.0..4.0).prop_map(|(threshold, stride, strides)| Settings {
        threshold,
        stride,
        window: stride * strides,
    })
}

fn duration() -> impl Strategy<Value = f64> {
    // Also a jump of thirty years.
    prop_oneof![8 => 1.0..120.0, 1 => 0.0..0.1, 1 => 3600.0..100_000.0, 1 => Just(946_728_000.25)]
}

fn score() -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f32]
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    let all = [Source::Video, Source::Audio];
    select(vec![all.to_vec(), vec![Source::Audio], vec![Source::Video]])
}

/// Results anywhere, of any length, that have nothing to do with one another.
fn anything(duration: f64, settings: Settings) -> impl Strategy<Value = Vec<Window>> {
    let source = select(vec![Source::Audio, Source::Video, Source::Fused]);
    let scores = prop::collection::vec(score(), LABELS.len());
    let length = 0.0..2.0 * settings.window;
    let one = (source, sources(), 0.0..1.2, length, scores).prop_map(
        move |(source, sources, share, length, scores)| {
            let start = share * duration.min(200.0);
            window(source, sources, start, start + length, &scores)
        },
    );
    prop::collection::vec(one, 0..40)
}

fn window(source: Source, sources: Vec<Source>, start: f64, end: f64, scores: &[f32]) -> Window {
    let sources = match source {
        Source::Fused => sources,
        own => vec![own],
    };
    let labels = LABELS.iter().map(|label| label.to_string());
    Window {
        source,
        model: "m".into(),
        sources,
        start,
        end,
        scores: labels.zip(scores.iter().copied()).collect(),
    }
}

/// Results as the elements have them: of patches and pictures side by side and of overlapping windows, of instruments
/// that change now and then. Some lanes are missing.
fn stream(duration: f64, settings: Settings) -> impl Strategy<Value = Vec<Window>> {
    let lane = prop::collection::vec((0..LABELS.len(), score(), 1.0..20.0), 1..12);
    let lanes = prop::collection::vec(prop::option::of(lane), 3);
    (lanes, sources()).prop_map(move |(lanes, sources)| {
        let mut windows = Vec::new();
        let kinds = [Source::Audio, Source::Video, Source::Fused];
        for (source, lane) in kinds.into_iter().zip(lanes) {
            let until = duration.min(200.0);
            let (mut step, mut time) = (0.0, 0.0);
            let scenes: Vec<_> = lane.into_iter().flatten().collect();
            while time < until && !scenes.is_empty() {
                step += 1.0;
                let (start, end) = match source {
                    Source::Audio => (time, time + settings.window / 2.0),
                    Source::Video => (time, time + 1.0),
                    Source::Fused => {
                        let end = step * settings.stride;
                        ((end - settings.window).max(0.0), end)
                    }
                };
                let mut at = 0.0;
                let middle = (start + end) / 2.0;
                let scene = scenes.iter().cycle().take(1000).find(|(_, _, length)| {
                    at += length;
                    at > middle
                });
                let mut scores = [0.01; LABELS.len()];
                if let Some((label, score, _)) = scene {
                    scores[*label] = *score;
                }
                windows.push(window(source, sources.clone(), start, end, &scores));
                time = if source == Source::Fused {
                    end
                } else {
                    end.max(time + 0.1)
                };
            }
        }
        windows
    })
}

fn report() -> impl Strategy<Value = (Report, Settings)> {
    let rates = vec![None, Some((25, 1)), Some((30_000, 1001)), Some((0, 1))];
    let starts = vec![None, Some(0.0), Some(36_000.04)];
    (
        duration(),
        settings(),
        any::<bool>(),
        select(rates),
        select(starts),
    )
        .prop_flat_map(
            |(duration, settings, has_video, frame_rate, start_timecode)| {
                let windows = prop_oneof![
                    anything(duration, settings).boxed(),
                    stream(duration, settings).boxed()
                ];
                windows.prop_map(move |windows| {
                    let report = Report {
                        name: "dir/a & b.mp4".into(),
                        uri: "file:///a,%20b.mp4".into(),
                        duration,
                        elapsed: 1.0,
                        windows,
                        frame_rate,
                        start_timecode,
                        has_video,
                        ..Report::default()
                    };
                    (report, settings)
                })
            },
        )
}

/// A segment as the JSON lines have it.
#[derive(Debug)]
struct Read {
    label: String,
    start: f64,
    end: f64,
    source: String,
    score: f64,
    heard: Option<f64>,
    seen: Option<f64>,
}

/// The segments and the line about the file.
fn json(text: &str) -> (Vec<Read>, Value) {
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let file = lines.pop().unwrap();
    let read = |line: &Value| Read {
        label: line["label"].as_str().unwrap().into(),
        start: line["start"].as_f64().unwrap(),
        end: line["end"].as_f64().unwrap(),
        source: line["source"].as_str().unwrap().into(),
        score: line["score"].as_f64().unwrap(),
        heard: line["heard"].as_f64(),
        seen: line["seen"].as_f64(),
    };
    (lines.iter().map(read).collect(), file)
}

fn check_json(report: &Report, settings: &Settings, segments: &[Read], file: &Value) {
    let duration = file["duration"].as_f64().unwrap();
    let mut until = BTreeMap::<&str, f64>::new();
    let mut sums = BTreeMap::<&str, f64>::new();
    for segment in segments {
        let &Read {
            ref label,
            start,
            end,
            ..
        } = segment;
        assert!(
            0.0 <= start && start < end && end <= duration,
            "{segment:?}"
        );
        let last = until.insert(label, end).unwrap_or(0.0);
        assert!(last <= start, "{label} twice at {start}");
        *sums.entry(label).or_default() += end - start;
        check_source(segment, f64::from(settings.threshold));
    }
    let totals = file["instruments"].as_array().unwrap();
    assert_eq!(totals.len(), sums.len());
    for total in totals {
        let (label, time) = (
            total["label"].as_str().unwrap(),
            total["time"].as_f64().unwrap(),
        );
        assert!(
            (time - sums[label]).abs() < ROUNDING,
            "{total} is not {}",
            sums[label]
        );
        assert!(time <= duration + ROUNDING, "{total} of {duration}");
    }
    let of_sound = |window: &Window| window.sources == [Source::Audio];
    if report.windows.iter().all(of_sound) {
        assert!(
            segments.iter().all(|segment| segment.source == "audio"),
            "{segments:?}"
        );
    }
    assert_eq!(
        file.get("offset").is_some(),
        report.start_timecode == Some(36_000.04)
    );
}

/// What the source says and what the scores say are the same.
fn check_source(segment: &Read, threshold: f64) {
    let &Read { heard, seen, .. } = segment;
    let strongest = heard.unwrap_or(0.0).max(seen.unwrap_or(0.0));
    let level = (0.6 * threshold).min(strongest / 2.0);
    let counts = |score: Option<f64>| score.is_none_or(|score| score >= level - 1e-3);
    let slight = |score: Option<f64>| score.is_none_or(|score| score <= level + 1e-3);
    match segment.source.as_str() {
        "fused" => assert!(counts(heard) && counts(seen), "{segment:?}"),
        "audio" => assert!(slight(seen), "{segment:?}"),
        "video" => assert!(slight(heard), "{segment:?}"),
        other => panic!("{other}"),
    }
    assert!(
        segment.source != "fused" || heard.is_some() == seen.is_some(),
        "{segment:?}"
    );
}

fn check_csv(text: &str, segments: &[Read]) {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let lines: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(lines.len(), segments.len());
    for (line, segment) in lines.iter().zip(segments) {
        let number = |index: usize| line[index].parse::<f64>().ok();
        assert_eq!(
            (&line[0], &line[3], &line[4]),
            ("file:///a,%20b.mp4", &*segment.label, &*segment.source)
        );
        let numbers = [1, 2, 5, 6, 7].map(number);
        let expected = [
            Some(segment.start),
            Some(segment.end),
            Some(segment.score),
            segment.heard,
            segment.seen,
        ];
        assert_eq!(numbers, expected);
    }
}

/// Cues of `start --> end` lines and the one line of text that follows each; in seconds.
fn check_cues(text: &str, point: char, segments: &[Read], duration: f64) {
    let time = |text: &str| {
        let (clock, thousandths) = text.split_once(point).unwrap();
        assert_eq!(thousandths.len(), 3, "{text}");
        let of_60 = clock.split(':').map(|part| part.parse::<u64>().unwrap());
        let seconds = of_60.fold(0, |sum, part| 60 * sum + part);
        seconds as f64 + thousandths.parse::<f64>().unwrap() / 1e3
    };
    let mut lines = text.lines();
    let mut until = 0.0;
    let mut sums = BTreeMap::<String, f64>::new();
    while let Some(line) = lines.next() {
        let Some((start, end)) = line.split_once(" --> ") else {
            continue;
        };
        let (start, end) = (time(start), time(end));
        assert!(
            until <= start && start < end && end <= duration + 2e-6,
            "{line} after {until} of {duration}"
        );
        until = end;
        let words = lines.next().unwrap();
        let words = words
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        let names = words.split(", ").map(|name| {
            name.trim_end_matches(" (heard)")
                .trim_end_matches(" (seen)")
                .to_owned()
        });
        let names: BTreeSet<_> = names.collect();
        let middle = (start + end) / 2.0;
        let playing = segments
            .iter()
            .filter(|segment| segment.start <= middle && middle <= segment.end);
        assert_eq!(
            names,
            playing.map(|segment| segment.label.clone()).collect(),
            "{line}"
        );
        for name in names {
            *sums.entry(name).or_default() += end - start;
        }
    }
    for (label, sum) in sums {
        let own = segments.iter().filter(|segment| segment.label == label);
        let expected: f64 = own.map(|segment| segment.end - segment.start).sum();
        assert!(
            (sum - expected).abs() < ROUNDING,
            "{label}: {sum} s of {expected}"
        );
    }
    let last = segments
        .iter()
        .map(|segment| segment.end)
        .fold(0.0, f64::max);
    assert!(
        (until - last).abs() < ROUNDING,
        "the last cue ends at {until}, not at {last}"
    );
}

/// The table's rows have the same instruments and seconds as its last line.
fn check_table(text: &str, segments: &[Read], duration: f64) {
    let time = |text: &str| {
        let of_60 = text.split(':').map(|part| part.parse::<u64>().unwrap());
        of_60.fold(0, |sum, part| 60 * sum + part)
    };
    let mut until = 0;
    let mut sums = BTreeMap::<&str, u64>::new();
    let (mut heard, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let is_row = |line: &&str| {
        line.contains(" – ") && line.starts_with(|first: char| first.is_ascii_digit())
    };
    for row in text.lines().filter(is_row) {
        let (start, rest) = row.split_once(" – ").unwrap();
        let (end, rest) = rest.split_once(' ').unwrap();
        let (start, end) = (time(start), time(end));
        assert_eq!(start, until, "{text}");
        until = end;
        let [all, row_heard, row_seen] = cells(rest);
        assert!(
            row_heard
                .iter()
                .chain(&row_seen)
                .all(|label| all.contains(label)),
            "{row}"
        );
        heard.extend(row_heard);
        seen.extend(row_seen);
        for label in all {
            *sums.entry(label).or_default() += end - start;
        }
    }
    assert_eq!(
        until,
        if duration > 0.0 {
            duration.round() as u64
        } else {
            0
        }
    );
    let all = text.lines().find_map(|line| line.strip_prefix("in all "));
    let all = all.map(str::trim).filter(|all| !all.is_empty());
    let totals = all.iter().flat_map(|all| all.split(", ")).map(|total| {
        let (label, length) = total.rsplit_once(' ').unwrap();
        (label, time(length))
    });
    assert_eq!(totals.collect::<BTreeMap<_, _>>(), sums, "{text}");
    let of = |lane: fn(&Read) -> bool| -> BTreeSet<&str> {
        segments
            .iter()
            .filter(|segment| lane(segment))
            .map(|segment| segment.label.as_str())
            .collect()
    };
    assert_eq!(
        heard,
        of(|segment| segment.source != "video" && segment.heard.is_some()),
        "{text}"
    );
    assert_eq!(
        seen,
        of(|segment| segment.source != "audio" && segment.seen.is_some()),
        "{text}"
    );
}

/// The labels in the three cells of a row: `label 90 %, label 80 %` or a dash.
fn cells(mut text: &str) -> [Vec<&str>; 3] {
    [(); 3].map(|()| {
        let mut labels = Vec::new();
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('–') {
            text = rest;
            return labels;
        }
        loop {
            let end = text.find(" %").unwrap();
            labels.push(text[..end].rsplit_once(' ').unwrap().0);
            text = &text[end + 2..];
            match text.strip_prefix(", ") {
                Some(rest) => text = rest,
                None => return labels,
            }
        }
    })
}

fn check_otio(text: &str, report: &Report, segments: &[Read]) {
    let timeline: Value = serde_json::from_str(text).unwrap();
    let track = &timeline["tracks"]["children"][0];
    assert_eq!(track["kind"] == "Video", report.is_video());
    let clip = &track["children"][0];
    let range = |range: &Value| {
        let (start, length) = (&range["start_time"], &range["duration"]);
        assert_eq!(start["rate"], length["rate"]);
        let [start, length] = [start, length].map(|time| time["value"].as_f64().unwrap());
        (
            start,
            start + length,
            range["start_time"]["rate"].as_f64().unwrap(),
        )
    };
    let (start, end, rate) = range(&clip["source_range"]);
    assert_eq!(
        rate,
        match report.frame_rate {
            Some((25, 1)) if report.is_video() => 25.0,
            Some((30_000, 1001)) if report.is_video() => 30_000.0 / 1001.0,
            _ => 50.0,
        }
    );
    assert!((start / rate - report.start_timecode.unwrap_or(0.0)).abs() <= 0.5 / rate);
    assert!(((end - start) / rate - report.duration).abs() <= 0.5 / rate + 1e-6);
    let markers = clip["markers"].as_array().unwrap();
    assert_eq!(markers.len(), segments.len());
    for (marker, segment) in markers.iter().zip(segments) {
        let (from, to, own) = range(&marker["marked_range"]);
        assert!(
            own == rate && start <= from && from <= to && to <= end,
            "{marker} of {end}"
        );
        assert!(from < to || start == end, "{marker}");
        assert!(
            ((from - start) / rate - segment.start).abs() <= 1.5 / rate,
            "{marker} at {}",
            segment.start
        );
        assert_eq!(marker["name"], segment.label.as_str());
        assert!(marker["comment"].as_str().unwrap().contains(" %"));
    }
}

fn check_svg(text: &str, segments: &[Read], duration: f64) {
    let picture = roxmltree::Document::parse(text).unwrap();
    let root = picture.root_element();
    let size = root.attribute("viewBox").unwrap().split(' ').skip(2);
    let size: Vec<f64> = size.map(|size| size.parse().unwrap()).collect();
    let rects = root.descendants().filter(|node| node.has_tag_name("rect"));
    let mut bars = 0;
    for rect in rects.filter(|rect| rect.attribute("x").is_some()) {
        let [x, y, width, height] = ["x", "y", "width", "height"]
            .map(|name| rect.attribute(name).unwrap().parse::<f64>().unwrap());
        assert!(
            x >= 0.0 && y >= 0.0 && width > 0.0 && height > 0.0,
            "{rect:?}"
        );
        assert!(x + width <= size[0] && y + height <= size[1], "{rect:?}");
        bars += usize::from(rect.has_children());
    }
    assert_eq!(bars, segments.len());
    assert!(
        root.descendants().count() < 200 + 12 * segments.len(),
        "{duration} s"
    );
}

fn check_html(text: &str, segments: &[Read], duration: f64) {
    let number = |text: &str, before: &str, after: &str| {
        let from = text.find(before).unwrap() + before.len();
        let length = text[from..].find(after).unwrap();
        text[from..from + length].parse::<f64>().unwrap()
    };
    let bars = text
        .split("<i class=\"")
        .skip(1)
        .filter(|bar| bar.contains("data-tip"));
    let bars: Vec<_> = bars.filter(|bar| bar.contains("style=\"left:")).collect();
    for (class, hidden) in [("result", ""), ("heard", "video"), ("seen", "audio")] {
        let own = bars.iter().filter(|bar| bar.starts_with(class)).count();
        let expected = segments.iter().filter(|segment| segment.source != hidden);
        assert_eq!(own, expected.count(), "{class}");
    }
    for bar in bars {
        let (left, width) = (number(bar, "left:", "%"), number(bar, "width:", "%"));
        assert!(
            left >= 0.0 && width >= 0.0 && left + width <= 100.001,
            "{bar}"
        );
    }
    let data = text.split("id=\"data\">").nth(1).unwrap();
    let data: Value = serde_json::from_str(data.split("</script>").next().unwrap()).unwrap();
    let points = data["points"].as_array().unwrap();
    let times: Vec<f64> = points
        .iter()
        .map(|point| point[0].as_f64().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(
        times
            .iter()
            .all(|time| (0.0..=duration + 0.01).contains(time)),
        "{times:?} of {duration}"
    );
    for path in text.split("<path d=\"M").skip(1) {
        let points = path.split("Z\"").next().unwrap().split('L');
        for point in points {
            let (x, y) = point.split_once(' ').unwrap();
            let [x, y] = [x, y].map(|number| number.parse::<f64>().unwrap());
            assert!(
                (0.0..=1000.0).contains(&x) && (0.0..=100.0).contains(&y),
                "{point}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_report_never_contradicts_itself((report, settings) in report()) {
        let of = |format| render(format, &report, &settings, false);
        let (segments, file) = json(&of(Format::Jsonl));
        check_json(&report, &settings, &segments, &file);
        check_csv(&of(Format::Csv), &segments);
        check_table(&of(Format::Table), &segments, report.duration);
        check_cues(&of(Format::Vtt), '.', &segments, report.duration);
        check_cues(&of(Format::Srt), ',', &segments, report.duration);
        check_otio(&of(Format::Otio), &report, &segments);
        check_svg(&of(Format::Svg), &segments, report.duration);
        check_html(&of(Format::Html), &segments, report.duration);
        let windows = render(Format::Jsonl, &report, &settings, true);
        for line in windows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let [start, end] = ["start", "end"].map(|name| line[name].as_f64().unwrap());
            prop_assert!(0.0 <= start && start <= end && end <= report.duration + 1e-4, "{}", line);
        }
    }
}

// SPDX-License-Identifier: MPL-2.0

//! OpenTimelineIO: a timeline with the input as its one clip, and a marker for each segment.

use serde_json::{Value, json};

use super::Found;
use crate::report::{Report, Source, rounded};
use crate::segments::Segment;

/// Units of a second of what has no pictures, or none at a regular rate: a rate of time codes, which edit lists and Final
/// Cut's XML require.
const RATE: f64 = 50.0;

/// The input's own time, in which editors find it: from its time code on, in its pictures.
struct Ruler {
    /// Units of a second.
    rate: f64,
    /// Units from 0 to the input's start, and from there to its end.
    start: f64,
    length: f64,
}

impl Ruler {
    fn new(report: &Report) -> Self {
        let rate = report
            .frame_rate
            .filter(|(number, of)| *number > 0 && *of > 0);
        let rate = rate.filter(|_| report.is_video());
        let rate = rate.map_or(RATE, |(number, of)| f64::from(number) / f64::from(of));
        Self {
            rate,
            start: (report.start_timecode.unwrap_or(0.0) * rate).round(),
            length: (report.duration * rate).round(),
        }
    }

    fn range(&self, start: f64, length: f64) -> Value {
        let time = |value: f64| json!({"OTIO_SCHEMA": "RationalTime.1", "rate": self.rate, "value": value});
        json!({
            "OTIO_SCHEMA": "TimeRange.1",
            "start_time": time(self.start + start),
            "duration": time(length),
        })
    }

    fn whole(&self) -> Value {
        self.range(0.0, self.length)
    }

    /// Of at least one unit inside the input, if that has one.
    fn segment(&self, segment: &Segment) -> Value {
        let unit = |time: f64| (time * self.rate).round().min(self.length);
        let start = unit(segment.start).min((self.length - 1.0).max(0.0));
        self.range(start, (unit(segment.end) - start).max(1.0).min(self.length))
    }
}

pub fn render(found: &Found) -> String {
    let report = found.report;
    let ruler = Ruler::new(report);
    let markers: Vec<_> = found
        .segments
        .iter()
        .map(|segment| {
            json!({
                "OTIO_SCHEMA": "Marker.2",
                "name": segment.label,
                "comment": comment(segment),
                "color": match segment.source {
                    Source::Fused => "PURPLE",
                    Source::Audio => "CYAN",
                    Source::Video => "ORANGE",
                },
                "marked_range": ruler.segment(segment),
                "metadata": {"instruments": {
                    "source": segment.source.name(),
                    "score": rounded(segment.score.into()),
                    "heard": segment.heard.map(|score| rounded(score.into())),
                    "seen": segment.seen.map(|score| rounded(score.into())),
                }},
            })
        })
        .collect();
    let clip = json!({
        "OTIO_SCHEMA": "Clip.2",
        "name": report.name,
        "source_range": ruler.whole(),
        "markers": markers,
        "active_media_reference_key": "DEFAULT_MEDIA",
        "media_references": {"DEFAULT_MEDIA": {
            "OTIO_SCHEMA": "ExternalReference.1",
            "target_url": report.uri,
            "available_range": ruler.whole(),
        }},
    });
    let timeline = json!({
        "OTIO_SCHEMA": "Timeline.1",
        "name": report.name,
        "tracks": {
            "OTIO_SCHEMA": "Stack.1",
            "name": "tracks",
            "children": [{
                "OTIO_SCHEMA": "Track.1",
                "name": "media",
                "kind": if report.is_video() { "Video" } else { "Audio" },
                "children": [clip],
            }],
        },
    });
    format!("{timeline:#}\n")
}

/// The scores in words, e.g. `90 %: heard 93 %, seen 94 %`.
fn comment(segment: &Segment) -> String {
    let percent = |score: f32| format!("{:.0} %", 100.0 * score);
    let lane = |name: &str, score: Option<f32>| Some(format!("{name} {}", percent(score?)));
    let lanes = [lane("heard", segment.heard), lane("seen", segment.seen)];
    let lanes: Vec<_> = lanes.into_iter().flatten().collect();
    let score = percent(segment.score);
    match lanes.is_empty() {
        true => score,
        false => format!("{score}: {}", lanes.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::formats::render;
    use crate::segments::tests::{SETTINGS, window};

    fn report() -> Report {
        Report {
            uri: "file:///a.mp4".into(),
            duration: 30.0,
            windows: vec![window(Source::Audio, 5.0, 12.5, &[("Flute", 0.8)])],
            ..Report::default()
        }
    }

    /// The one track of a report's timeline.
    fn track(report: &Report) -> Value {
        let text = render(Format::Otio, report, &SETTINGS, false);
        let mut timeline: Value = serde_json::from_str(&text).unwrap();
        timeline["tracks"]["children"][0].take()
    }

    /// Start, length and rate of a range.
    fn numbers(range: &Value) -> [f64; 3] {
        let (start, length) = (&range["start_time"], &range["duration"]);
        assert_eq!(start["rate"], length["rate"]);
        [&start["value"], &length["value"], &start["rate"]].map(|value| value.as_f64().unwrap())
    }

    #[test]
    fn a_segment_is_a_marker() {
        let track = track(&report());
        assert_eq!(track["kind"], "Audio");
        let clip = &track["children"][0];
        let media = &clip["media_references"]["DEFAULT_MEDIA"];
        assert_eq!(media["target_url"], "file:///a.mp4");
        assert_eq!(numbers(&media["available_range"]), [0.0, 1500.0, 50.0]);
        let marker = &clip["markers"][0];
        assert_eq!(marker["name"], "Flute");
        assert_eq!(numbers(&marker["marked_range"]), [250.0, 375.0, 50.0]);
        assert_eq!(marker["color"], "CYAN");
        assert_eq!(marker["comment"], "80 %: heard 80 %");
    }

    #[test]
    fn pictures_give_the_rate_and_a_time_code_the_start() {
        let track = track(&Report {
            frame_rate: Some((30_000, 1001)),
            start_timecode: Some(3600.0),
            has_video: true,
            ..report()
        });
        assert_eq!(track["kind"], "Video");
        let clip = &track["children"][0];
        let rate = 30_000.0 / 1001.0;
        // 3600 s are 107,892.1 pictures, 30 s are 899.1; 5 and 12.5 s are 149.9 and 374.6.
        let whole = [107_892.0, 899.0, rate];
        assert_eq!(numbers(&clip["source_range"]), whole);
        let media = &clip["media_references"]["DEFAULT_MEDIA"];
        assert_eq!(numbers(&media["available_range"]), whole);
        let marker = &clip["markers"][0]["marked_range"];
        assert_eq!(numbers(marker), [108_042.0, 225.0, rate]);
    }
}

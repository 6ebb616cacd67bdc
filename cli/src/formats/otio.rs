// SPDX-License-Identifier: MPL-2.0

//! OpenTimelineIO: a timeline with the input as its one clip, and a marker for each segment.

use serde_json::{Value, json};

use super::Found;
use crate::report::{Source, rounded};

/// Ticks of a second in the file.
const RATE: f64 = 1000.0;

pub fn render(found: &Found) -> String {
    let report = found.report;
    let markers: Vec<_> = found
        .segments
        .iter()
        .map(|segment| {
            json!({
                "OTIO_SCHEMA": "Marker.2",
                "name": segment.label,
                "color": match segment.source {
                    Source::Fused => "PURPLE",
                    Source::Audio => "CYAN",
                    Source::Video => "ORANGE",
                },
                "marked_range": range(segment.start, segment.end),
                "metadata": {"instruments": {
                    "source": segment.source.name(),
                    "score": rounded(segment.score.into()),
                    "heard": segment.heard.map(|score| rounded(score.into())),
                    "seen": segment.seen.map(|score| rounded(score.into())),
                }},
            })
        })
        .collect();
    let whole = range(0.0, report.duration);
    let clip = json!({
        "OTIO_SCHEMA": "Clip.2",
        "name": report.name,
        "source_range": whole,
        "markers": markers,
        "active_media_reference_key": "DEFAULT_MEDIA",
        "media_references": {"DEFAULT_MEDIA": {
            "OTIO_SCHEMA": "ExternalReference.1",
            "target_url": report.uri,
            "available_range": whole,
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
                "kind": "Video",
                "children": [clip],
            }],
        },
    });
    format!("{timeline:#}\n")
}

fn range(start: f64, end: f64) -> Value {
    let time = |seconds: f64| json!({"OTIO_SCHEMA": "RationalTime.1", "rate": RATE, "value": (seconds * RATE).round()});
    json!({"OTIO_SCHEMA": "TimeRange.1", "start_time": time(start), "duration": time(end - start)})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::formats::render;
    use crate::report::Report;
    use crate::segments::tests::{SETTINGS, window};

    #[test]
    fn a_segment_is_a_marker() {
        let report = Report {
            uri: "file:///a.mp4".into(),
            duration: 30.0,
            windows: vec![window(Source::Audio, 5.0, 12.5, &[("Flute", 0.8)])],
            ..Report::default()
        };
        let text = render(Format::Otio, &report, &SETTINGS, false);
        let timeline: Value = serde_json::from_str(&text).unwrap();
        let clip = &timeline["tracks"]["children"][0]["children"][0];
        assert_eq!(
            clip["media_references"]["DEFAULT_MEDIA"]["target_url"],
            "file:///a.mp4"
        );
        let marker = &clip["markers"][0];
        assert_eq!(marker["name"], "Flute");
        assert_eq!(marker["marked_range"]["start_time"]["value"], 5000.0);
        assert_eq!(marker["marked_range"]["duration"]["value"], 7500.0);
        assert_eq!(marker["color"], "CYAN");
    }
}

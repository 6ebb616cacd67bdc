// SPDX-License-Identifier: MPL-2.0

//! JSON lines: one for each segment or window, and at the end one for the whole input.

use serde_json::{Value, json};

use super::Found;
use crate::kind::Kind;
use crate::report::{Report, Scores, Window, rounded};
use crate::segments::totals;

pub fn render(found: &Found) -> String {
    let report = found.report;
    let mut lines = Vec::new();
    if found.windows {
        lines.extend(report.windows.iter().map(|result| window(report, result)));
        lines.extend(report.clip.iter().map(|result| clip(report, result)));
    } else {
        lines.extend(found.segments.iter().map(|segment| {
            json!({
                "uri": report.uri,
                "type": "segment",
                "start": rounded(segment.start),
                "end": rounded(segment.end),
                "label": segment.label,
                "source": segment.source.name(),
                "score": rounded(segment.score.into()),
                "heard": segment.heard.map(|score| rounded(score.into())),
                "seen": segment.seen.map(|score| rounded(score.into())),
            })
        }));
        lines.push(file(found));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The line about the whole input; it stands last, so that an output with it is complete.
fn file(found: &Found) -> Value {
    let report = found.report;
    let instruments: Vec<_> = totals(found.segments)
        .into_iter()
        .map(|total| {
            json!({
                "label": total.label,
                "time": rounded(total.time),
                "score": rounded(total.score.into()),
            })
        })
        .collect();
    let mut line = json!({
        "uri": report.uri,
        "type": "file",
        "duration": rounded(report.duration),
        "elapsed": rounded(report.elapsed),
        "instruments": instruments,
    });
    if let Some(offset) = report.start_timecode.filter(|offset| *offset != 0.0) {
        line["offset"] = rounded(offset).into();
    }
    if !report.notes.is_empty() {
        line["notes"] = report.notes.clone().into();
    }
    if report.interrupted {
        line["interrupted"] = true.into();
    }
    line
}

/// The line about an input that could not be tagged.
pub fn failure(uri: &str, cause: &str, kind: Kind) -> String {
    format!(
        "{}\n",
        json!({"uri": uri, "type": "file", "error": cause, "kind": kind.name()})
    )
}

fn window(report: &Report, window: &Window) -> Value {
    let (start, end) = report.inside(window);
    let sources = window.sources.iter().map(|source| source.name());
    json!({
        "uri": report.uri,
        "source": window.source.name(),
        "sources": sources.collect::<Vec<_>>(),
        "model": window.model,
        "start": rounded(start),
        "end": rounded(end),
        "tags": tags(&window.scores),
    })
}

fn clip(report: &Report, result: &Window) -> Value {
    let mut line = window(report, result);
    line["clip"] = true.into();
    line["duration"] = rounded(report.duration).into();
    line["elapsed"] = rounded(report.elapsed).into();
    line
}

fn tags(scores: &Scores) -> Value {
    scores
        .iter()
        .map(|(label, score)| json!({"label": label, "score": rounded((*score).into())}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::formats::render;
    use crate::report::Source;
    use crate::segments::tests::{SETTINGS, window};

    #[test]
    fn segments_come_before_the_line_about_the_file() {
        let report = Report {
            uri: "file:///a.mp4".into(),
            duration: 30.0,
            elapsed: 1.5,
            windows: vec![window(Source::Audio, 0.0, 30.0, &[("Flute", 0.8)])],
            notes: vec!["note".into()],
            start_timecode: Some(36_000.04),
            ..Report::default()
        };
        let text = render(Format::Jsonl, &report, &SETTINGS, false);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["label"], "Flute");
        assert_eq!(lines[0]["source"], "audio");
        assert_eq!(lines[0]["seen"], Value::Null);
        assert_eq!(lines[1]["type"], "file");
        assert_eq!(lines[1]["instruments"][0]["label"], "Flute");
        assert_eq!(lines[1]["notes"][0], "note");
        assert_eq!(lines[1]["offset"], 36_000.04);
    }

    #[test]
    fn windows_say_what_they_are_based_on_and_end_with_the_input() {
        let report = Report {
            duration: 9.5,
            windows: vec![window(Source::Fused, 0.0, 10.0, &[("Flute", 0.8)])],
            start_timecode: Some(0.0),
            ..Report::default()
        };
        let text = render(Format::Jsonl, &report, &SETTINGS, true);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["sources"], json!(["video", "audio"]));
        assert_eq!(line["end"], 9.5);
        // An offset of 0 is none.
        let text = render(Format::Jsonl, &report, &SETTINGS, false);
        assert!(!text.contains("offset"), "{text}");
    }
}

// SPDX-License-Identifier: MPL-2.0

//! Comma-separated values (RFC 4180), one segment or one score a line.

use super::Found;
use crate::report::rounded;

pub fn head(windows: bool) -> &'static str {
    if windows {
        "uri,source,model,start,end,instrument,score\n"
    } else {
        "uri,start,end,instrument,source,score,heard,seen\n"
    }
}

pub fn render(found: &Found) -> String {
    let uri = field(&found.report.uri);
    let mut text = String::new();
    if found.windows {
        for window in &found.report.windows {
            let (start, end) = found.report.inside(window);
            for (label, score) in &window.scores {
                text += &format!(
                    "{uri},{},{},{},{},{},{}\n",
                    window.source.name(),
                    field(&window.model),
                    rounded(start),
                    rounded(end),
                    field(label),
                    rounded((*score).into())
                );
            }
        }
        return text;
    }
    for segment in found.segments {
        let optional = |score: Option<f32>| {
            score.map_or(String::new(), |score| rounded(score.into()).to_string())
        };
        text += &format!(
            "{uri},{},{},{},{},{},{},{}\n",
            rounded(segment.start),
            rounded(segment.end),
            field(&segment.label),
            segment.source.name(),
            rounded(segment.score.into()),
            optional(segment.heard),
            optional(segment.seen)
        );
    }
    text
}

/// A value, quoted where it needs to be.
pub fn field(value: &str) -> String {
    if value.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use crate::args::Format;
    use crate::formats::render;
    use crate::report::{Report, Source};
    use crate::segments::tests::{SETTINGS, window};

    #[test]
    fn a_segment_is_a_line_with_what_was_heard_and_seen() {
        let report = Report {
            uri: "file:///a,\"b\".mp4".into(),
            duration: 10.0,
            windows: vec![
                window(
                    Source::Fused,
                    0.0,
                    10.0,
                    &[("Guitar", 0.75), ("Drums", 0.1)],
                ),
                window(Source::Audio, 0.0, 10.0, &[("Guitar", 0.5)]),
            ],
            ..Report::default()
        };
        assert_eq!(
            render(Format::Csv, &report, &SETTINGS, false),
            "\"file:///a,\"\"b\"\".mp4\",0,10,Guitar,audio,0.75,0.5,\n"
        );
        let windows = render(Format::Csv, &report, &SETTINGS, true);
        assert_eq!(windows.lines().count(), 3);
        assert!(
            windows
                .lines()
                .nth(1)
                .unwrap()
                .ends_with(",fused,m,0,10,Drums,0.1"),
            "{windows}"
        );
    }
}

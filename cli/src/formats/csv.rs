// SPDX-License-Identifier: MPL-2.0

//! Comma-separated values (RFC 4180), one segment or one score a line.

use csv::{QuoteStyle, Terminator, WriterBuilder};

use super::Found;
use crate::report::rounded;
use crate::visible::visible;

pub fn head(windows: bool) -> &'static str {
    if windows {
        "uri,source,model,start,end,instrument,score\n"
    } else {
        "uri,start,end,instrument,source,score,heard,seen\n"
    }
}

pub fn render(found: &Found) -> String {
    let uri = found.report.uri.as_str();
    let mut text = String::new();
    if found.windows {
        for window in &found.report.windows {
            let (start, end) = found.report.inside(window);
            for (label, score) in &window.scores {
                text += &line([
                    uri,
                    window.source.name(),
                    &window.model,
                    &rounded(start).to_string(),
                    &rounded(end).to_string(),
                    label,
                    &rounded((*score).into()).to_string(),
                ]);
            }
        }
        return text;
    }
    for segment in found.segments {
        let optional = |score: Option<f32>| {
            score.map_or(String::new(), |score| rounded(score.into()).to_string())
        };
        text += &line([
            uri,
            &rounded(segment.start).to_string(),
            &rounded(segment.end).to_string(),
            &segment.label,
            segment.source.name(),
            &rounded(segment.score.into()).to_string(),
            &optional(segment.heard),
            &optional(segment.seen),
        ]);
    }
    text
}

/// A line of these values. Control characters are written out, and what spreadsheets take for a formula begins with an
/// apostrophe, so that they take it for text.
pub fn line<const N: usize>(values: [&str; N]) -> String {
    let mut writer = WriterBuilder::new()
        .quote_style(QuoteStyle::Necessary)
        .terminator(Terminator::Any(b'\n'))
        .from_writer(Vec::new());
    let values = values.map(|value| {
        let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
        let formula = formula && value.parse::<f64>().is_err();
        let apostrophe = if formula { "'" } else { "" };
        format!("{apostrophe}{}", visible(value))
    });
    writer.write_record(&values).expect("memory takes all");
    let line = writer.into_inner().expect("memory takes all");
    String::from_utf8(line).expect("made of strings")
}

#[cfg(test)]
mod tests {
    use super::line;
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

    #[test]
    fn formulas_and_control_characters_are_made_harmless() {
        for (value, cell) in [
            ("=1+1", "'=1+1"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-1+1", "'-1+1"),
            ("\t=1", r"'\t=1"),
            ("\r=1", r"'\r=1"),
            ("a=1", "a=1"),
            ("-0.5", "-0.5"),
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("a\nb", r"a\nb"),
            ("a,\"b\"", r#""a,""b""""#),
            ("Größe", "Größe"),
        ] {
            assert_eq!(line([value, "", value]), format!("{cell},,{cell}\n"));
        }
    }
}

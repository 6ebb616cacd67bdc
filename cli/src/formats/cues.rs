// SPDX-License-Identifier: MPL-2.0

//! Subtitles: WebVTT and SubRip. A cue is a time in which the same instruments play; cues never overlap.

use super::Found;
use crate::report::Source;
use crate::segments::{Row, Segment, rows};
use crate::visible::visible;

pub fn vtt(found: &Found) -> String {
    let mut text = "WEBVTT\n".to_owned();
    for (row, words) in cues(found) {
        let (start, end) = (time(row.start, '.'), time(row.end, '.'));
        text += &format!("\n{start} --> {end}\n{}\n", escape(&words));
    }
    text
}

/// Without a cue, a single empty line: players refuse empty files.
pub fn srt(found: &Found) -> String {
    let cues = cues(found);
    if cues.is_empty() {
        return "\n".into();
    }
    let mut text = String::new();
    for (index, (row, words)) in cues.into_iter().enumerate() {
        let (start, end) = (time(row.start, ','), time(row.end, ','));
        text += &format!("{}\n{start} --> {end}\n{words}\n\n", index + 1);
    }
    text
}

/// The rows in which something plays, with its names.
fn cues<'a>(found: &Found<'a>) -> Vec<(Row<'a>, String)> {
    let name = |segment: &&Segment| match segment.source {
        Source::Audio if found.report.is_video() => format!("{} (heard)", visible(&segment.label)),
        Source::Video => format!("{} (seen)", visible(&segment.label)),
        _ => visible(&segment.label).into(),
    };
    let words = |row: Row<'a>| {
        let names: Vec<_> = row.playing.iter().map(name).collect();
        (!names.is_empty()).then(|| (row, names.join(", ")))
    };
    let rows = rows(found.segments, found.report.duration);
    rows.into_iter().filter_map(words).collect()
}

/// Hours, minutes, seconds and whole milliseconds, of which the end of an input may have a part more.
fn time(seconds: f64, point: char) -> String {
    let milliseconds = (seconds * 1e3 + 1e-3) as u64;
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    format!(
        "{:02}:{:02}:{:02}{point}{rest:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// WebVTT takes `<` and `&` for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::args::Format;
    use crate::formats::render;
    use crate::report::{Report, Source};
    use crate::segments::tests::{SETTINGS, window};

    fn report() -> Report {
        Report {
            duration: 3700.0,
            has_video: true,
            windows: vec![
                window(Source::Fused, 0.0, 10.0, &[("Drum & <bass>", 0.9)]),
                window(Source::Audio, 3690.0, 3700.0, &[("Flute", 0.8)]),
            ],
            ..Report::default()
        }
    }

    #[test]
    fn webvtt() {
        assert_eq!(
            render(Format::Vtt, &report(), &SETTINGS, false),
            "WEBVTT\n\n00:00:00.000 --> 00:00:10.000\nDrum &amp; &lt;bass&gt;\n\n01:01:30.000 --> 01:01:40.000\nFlute (heard)\n"
        );
    }

    #[test]
    fn subrip() {
        assert_eq!(
            render(Format::Srt, &report(), &SETTINGS, false),
            "1\n00:00:00,000 --> 00:00:10,000\nDrum & <bass>\n\n2\n01:01:30,000 --> 01:01:40,000\nFlute (heard)\n\n"
        );
    }

    #[test]
    fn what_is_only_heard_needs_no_mention_where_there_is_nothing_to_see() {
        let report = Report {
            has_video: false,
            ..report()
        };
        let text = render(Format::Vtt, &report, &SETTINGS, false);
        assert!(text.ends_with("\nFlute\n"), "{text}");
    }

    #[test]
    fn without_cues_no_file_is_empty() {
        let report = Report::default();
        let of = |format| render(format, &report, &SETTINGS, false);
        assert_eq!(
            (of(Format::Vtt), of(Format::Srt)),
            ("WEBVTT\n".into(), "\n".into())
        );
    }
}

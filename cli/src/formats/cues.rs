// SPDX-License-Identifier: MPL-2.0

//! Subtitles: WebVTT and SubRip. A cue is a time in which the same instruments play; cues never overlap.

use super::Found;
use crate::segments::{Row, rows};
use crate::visible::visible;

pub fn vtt(found: &Found) -> String {
    let mut text = "WEBVTT\n".to_owned();
    for (row, words) in cues(found) {
        let (start, end) = (time(row.start, '.'), time(row.end, '.'));
        text += &format!("\n{start} --> {end}\n{}\n", escape(&words));
    }
    text
}

pub fn srt(found: &Found) -> String {
    let mut text = String::new();
    for (index, (row, words)) in cues(found).into_iter().enumerate() {
        let (start, end) = (time(row.start, ','), time(row.end, ','));
        text += &format!("{}\n{start} --> {end}\n{words}\n\n", index + 1);
    }
    text
}

fn cues(found: &Found) -> Vec<(Row, String)> {
    let rows = rows(found.segments, found.report.duration, found.settings);
    let words = |row: Row| {
        let words = [
            (&row.both, ""),
            (&row.only_heard, " (heard)"),
            (&row.only_seen, " (seen)"),
        ]
        .into_iter()
        .flat_map(|(scores, how)| {
            scores
                .iter()
                .map(move |(label, _)| format!("{}{how}", visible(label)))
        });
        let words = words.collect::<Vec<_>>().join(", ");
        (!words.is_empty()).then_some((row, words))
    };
    rows.into_iter().filter_map(words).collect()
}

/// Hours, minutes, seconds and milliseconds.
fn time(seconds: f64, point: char) -> String {
    let milliseconds = (seconds * 1e3).round() as u64;
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
}

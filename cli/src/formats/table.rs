// SPDX-License-Identifier: MPL-2.0

//! A table for people.

use super::Found;
use crate::report::{Report, Scores, Source, Window, clock};
use crate::segments::{Segment, Total, rows, totals};
use crate::visible::visible;

/// Scores below this are not shown in the table of windows.
const LEAST: f32 = 0.1;

pub fn render(found: &Found) -> String {
    let report = found.report;
    let mut text = format!("{}\n", visible(&report.name));
    if found.windows {
        text += &line("time", "audio", "video", "both");
        for (time, cells) in windows(report) {
            text += &line(&range(time), &cells[0], &cells[1], &cells[2]);
        }
    } else {
        text += &line("time", "instruments", "heard", "seen");
        let rows = rows(found.segments, report.duration);
        for row in rows.iter().filter(|row| row.end > row.start) {
            let all = named(&row.playing, |segment| Some(segment.score));
            let heard = named(&row.playing, |s| s.heard.filter(|_| s.is_heard()));
            let seen = named(&row.playing, |s| s.seen.filter(|_| s.is_seen()));
            text += &line(&range((row.start, row.end)), &all, &heard, &seen);
        }
        let totals = totals(found.segments);
        if !totals.is_empty() {
            let time =
                |total: &Total| format!("{} {}", visible(&total.label), clock(total.shown as f64));
            let totals: Vec<_> = totals.iter().map(time).collect();
            text += &format!("{:<15} {}\n", "in all", totals.join(", "));
        }
    }
    for note in &report.notes {
        text += &format!("note: {}\n", visible(note));
    }
    if report.interrupted {
        text += &format!("interrupted at {}\n", clock(report.duration));
    }
    let (duration, elapsed) = (report.duration, report.elapsed);
    text += &format!(
        "{duration:.1} s tagged in {elapsed:.1} s: {:.1} times real time\n\n",
        duration / elapsed
    );
    text
}

fn line(time: &str, first: &str, second: &str, third: &str) -> String {
    let line = format!("{time:<15} {first:<32} {second:<32} {third}");
    format!("{}\n", line.trim_end())
}

fn range((start, end): (f64, f64)) -> String {
    format!("{} – {}", clock(start), clock(end))
}

/// Segments with the scores that they have.
fn named(segments: &[&Segment], score: impl Fn(&Segment) -> Option<f32>) -> String {
    let scored = |segment: &&Segment| Some((segment.label.clone(), score(segment)?));
    cell(&segments.iter().filter_map(scored).collect())
}

/// The times of the fused results with what sound, pictures and both say; without a fusion, of all results.
fn windows(report: &Report) -> Vec<((f64, f64), [String; 3])> {
    let of = |source| report.windows.iter().filter(move |w| w.source == source);
    let none = || cell(&Scores::new());
    if of(Source::Fused).next().is_some() {
        let cells = |fused: &Window| {
            let scores = [&heard(report, fused), &seen(report, fused), &fused.scores];
            (report.inside(fused), scores.map(best))
        };
        return of(Source::Fused).map(cells).collect();
    }
    let heard = of(Source::Audio).map(|w| (report.inside(w), [best(&w.scores), none(), none()]));
    let seen = of(Source::Video).map(|w| (report.inside(w), [none(), best(&w.scores), none()]));
    let mut all: Vec<_> = heard.chain(seen).collect();
    all.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    all
}

/// What the audio model said last before this fused result.
fn heard(report: &Report, fused: &Window) -> Scores {
    let mut audio = report
        .windows
        .iter()
        .filter(|window| window.source == Source::Audio);
    let last = audio.rfind(|window| window.end <= fused.end + 0.1 && window.end > fused.start);
    last.map_or_else(Vec::new, |window| window.scores.clone())
}

/// The mean of what the picture model said of this fused result's pictures.
fn seen(report: &Report, fused: &Window) -> Scores {
    let in_window = |window: &&Window| {
        window.source == Source::Video && window.start < fused.end && window.end > fused.start
    };
    let pictures: Vec<_> = report.windows.iter().filter(in_window).collect();
    let Some(first) = pictures.first() else {
        return Vec::new();
    };
    let mean = |label: &String| {
        let sum: f32 = pictures.iter().map(|picture| picture.score(label)).sum();
        (label.clone(), sum / pictures.len() as f32)
    };
    let mut means: Scores = first.scores.iter().map(|(label, _)| mean(label)).collect();
    means.sort_by(|a, b| b.1.total_cmp(&a.1));
    means
}

/// The two best labels that have at least 10 %.
fn best(scores: &Scores) -> String {
    let likely = scores.iter().filter(|(_, score)| *score >= LEAST).take(2);
    cell(&likely.cloned().collect())
}

/// A table's cell, e.g. `Guitar 91 %, Banjo 12 %`.
fn cell(scores: &Scores) -> String {
    let named: Vec<_> = scores
        .iter()
        .map(|(label, score)| format!("{} {:.0} %", visible(label), 100.0 * score))
        .collect();
    if named.is_empty() {
        "–".into()
    } else {
        named.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::formats::render;
    use crate::segments::tests::{SETTINGS, perfect, window};

    fn report() -> Report {
        let label = |time: f64| if time < 15.0 { "Guitar" } else { "Trumpet" };
        let mut windows = perfect(Source::Fused, 30.0, label);
        windows.extend(perfect(Source::Audio, 30.0, |time| {
            if time < 15.0 { "Guitar" } else { "Drums" }
        }));
        windows.push(window(Source::Video, 20.0, 21.0, &[("Trumpet", 0.9)]));
        Report {
            name: "a.mp4".into(),
            duration: 30.0,
            elapsed: 2.0,
            windows,
            notes: vec!["two audio streams".into()],
            ..Report::default()
        }
    }

    #[test]
    fn rows_are_segments_and_the_sum_agrees_with_them() {
        let text = render(Format::Table, &report(), &SETTINGS, false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "a.mp4");
        assert!(lines[2].starts_with("0:00 – 0:15     Guitar "), "{text}");
        assert!(lines[3].starts_with("0:15 – 0:30     Trumpet "), "{text}");
        // The fusion says nothing of drums; neither is heard or seen there what it says.
        assert!(!text.contains("Drums"), "{text}");
        assert!(lines[4].starts_with("in all          "), "{text}");
        assert!(
            lines[4].contains("Guitar 0:15") && lines[4].contains("Trumpet 0:15"),
            "{text}"
        );
        assert_eq!(lines[5], "note: two audio streams");
        assert_eq!(lines[6], "30.0 s tagged in 2.0 s: 15.0 times real time");
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        let mut report = report();
        report.name = "a\u{1b}]0;title\u{7}\n.mp4".into();
        report.notes = vec!["b\r\u{9b}2J".into()];
        for window in &mut report.windows {
            for (label, _) in &mut window.scores {
                *label += "\u{8}";
            }
        }
        for format in [
            Format::Table,
            Format::Csv,
            Format::Svg,
            Format::Html,
            Format::Vtt,
            Format::Srt,
        ] {
            for windows in [false, true] {
                let text = render(format, &report, &SETTINGS, windows);
                let sent = text
                    .chars()
                    .find(|letter| letter.is_control() && *letter != '\n');
                assert_eq!(sent, None, "{format:?}: {text}");
                assert!(text.contains(r"\u{8}"), "{format:?}: {text}");
            }
        }
        let text = render(Format::Table, &report, &SETTINGS, false);
        assert_eq!(text.lines().next().unwrap(), r"a\u{1b}]0;title\u{7}\n.mp4");
        assert!(text.contains("note: b\\r\\u{9b}2J\n"), "{text}");
    }

    #[test]
    fn what_was_interrupted_at_its_start_has_no_rows() {
        let report = Report {
            name: "a.mp4".into(),
            elapsed: 0.1,
            interrupted: true,
            ..Report::default()
        };
        let text = render(Format::Table, &report, &SETTINGS, false);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("time "), "{text}");
        assert_eq!(lines[2], "interrupted at 0:00", "{text}");
    }

    #[test]
    fn windows_are_shown_as_they_are() {
        let text = render(Format::Table, &report(), &SETTINGS, true);
        let line = text
            .lines()
            .find(|line| line.starts_with("0:10 – 0:20"))
            .unwrap();
        let columns: Vec<_> = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        let expected = [
            "0:10 – 0:20",
            "Guitar 50 %, Drums 50 %",
            "–",
            "Guitar 50 %, Trumpet 50 %",
        ];
        assert_eq!(columns, expected);
    }
}

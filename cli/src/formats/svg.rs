// SPDX-License-Identifier: MPL-2.0

//! A plot of the timeline: a lane an instrument, with what is heard, what is seen, and what is both.

use std::fmt::Write;

use super::Found;
use crate::report::{Source, clock};
use crate::visible::visible;

/// In pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 56.0;
const LANE: f64 = 40.0;
const FOOT: f64 = 64.0;

/// Seconds between two labels of the axis, the first with which there are at most [`LABELS`].
const STEPS: [f64; 14] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
];
const LABELS: f64 = 10.0;

/// Of each source: its colour, and where in a lane its bars are.
fn look(source: Source) -> (&'static str, f64, f64) {
    match source {
        Source::Audio => ("#0e9488", 4.0, 7.0),
        Source::Fused => ("#5b54e0", 13.0, 14.0),
        Source::Video => ("#d97706", 29.0, 7.0),
    }
}

/// `scale` pixels for each of the plot.
pub fn render(found: &Found, scale: f64) -> String {
    let report = found.report;
    let mut labels: Vec<&str> = Vec::new();
    for segment in found.segments {
        if !labels.contains(&segment.label.as_str()) {
            labels.push(&segment.label);
        }
    }
    let duration = report.duration.max(1e-3);
    let x = |seconds: f64| LEFT + seconds / duration * (WIDTH - LEFT - RIGHT);
    let bottom = TOP + LANE * labels.len().max(1) as f64;
    let height = bottom + FOOT;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="13" fill="#1c1d22">
<rect width="100%" height="100%" fill="#fbfbfd"/>
<text x="24" y="30" font-size="17" font-weight="600">{}</text>
"##,
        WIDTH * scale,
        height * scale,
        escape(&report.name)
    );
    let mut line = |text: std::fmt::Arguments| writeln!(svg, "{text}").expect("a string takes all");
    let step = STEPS.iter().find(|step| duration / **step <= LABELS);
    let step = step.copied().unwrap_or(duration / LABELS);
    for tick in (0..)
        .map(|n| f64::from(n) * step)
        .take_while(|tick| *tick <= duration)
    {
        let (x, time) = (x(tick), clock(tick));
        line(format_args!(
            r##"<path d="M{x:.1} {TOP}V{bottom}" stroke="#e3e4ea"/><text x="{x:.1}" y="{}" fill="#6b6e7b" font-size="11" text-anchor="middle">{time}</text>"##,
            bottom + 18.0
        ));
    }
    for (lane, label) in labels.iter().enumerate() {
        let top = TOP + LANE * lane as f64;
        line(format_args!(
            r##"<path d="M24 {top}H{}" stroke="#e3e4ea"/><text x="{}" y="{}" text-anchor="end">{}</text>"##,
            WIDTH - RIGHT,
            LEFT - 12.0,
            top + 25.0,
            escape(label)
        ));
        for segment in found
            .segments
            .iter()
            .filter(|segment| segment.label == *label)
        {
            let (colour, y, height) = look(segment.source);
            let (from, to) = (x(segment.start), x(segment.end));
            // What is too short to be seen has one pixel, also at the end.
            let from = from.min(WIDTH - RIGHT - 1.0);
            line(format_args!(
                r##"<rect x="{from:.1}" y="{:.1}" width="{:.1}" height="{height}" rx="3" fill="{colour}"><title>{} – {}: {} {:.0} %</title></rect>"##,
                top + y,
                (to - from).max(1.0),
                clock(segment.start),
                clock(segment.end),
                escape(label),
                segment.score * 100.0
            ));
        }
    }
    if labels.is_empty() {
        line(format_args!(
            r##"<text x="{LEFT}" y="{}" fill="#6b6e7b">no instruments</text>"##,
            TOP + 25.0
        ));
    }
    for (number, (source, text)) in [
        (Source::Fused, "heard and seen"),
        (Source::Audio, "only heard"),
        (Source::Video, "only seen"),
    ]
    .into_iter()
    .enumerate()
    {
        let (x, y) = (LEFT + 150.0 * number as f64, bottom + 44.0);
        line(format_args!(
            r##"<rect x="{x}" y="{}" width="18" height="8" rx="3" fill="{}"/><text x="{}" y="{y}" fill="#6b6e7b">{text}</text>"##,
            y - 9.0,
            look(source).0,
            x + 26.0
        ));
    }
    svg + "</svg>\n"
}

/// Text as XML has it.
fn escape(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use crate::args::Format;
    use crate::formats::render;
    use crate::report::{Report, Source};
    use crate::segments::tests::{SETTINGS, window};

    #[test]
    fn a_segment_is_a_bar_at_its_time_in_the_lane_of_its_instrument() {
        let report = Report {
            name: "a & b.mp4".into(),
            duration: 40.0,
            windows: vec![
                window(Source::Audio, 0.0, 10.0, &[("Flute", 0.8)]),
                window(Source::Video, 30.0, 40.0, &[("Organ", 0.9)]),
            ],
            ..Report::default()
        };
        let svg = render(Format::Svg, &report, &SETTINGS, false);
        assert!(svg.contains("a &amp; b.mp4"));
        let bars: Vec<&str> = svg
            .lines()
            .filter(|line| line.contains("<title>"))
            .collect();
        assert_eq!(bars.len(), 2);
        // A quarter of 786 pixels each.
        assert!(
            bars[0].contains(r#"x="150.0" y="60.0" width="196.5""#),
            "{}",
            bars[0]
        );
        assert!(bars[0].contains("0:00 – 0:10: Flute 80 %"), "{}", bars[0]);
        assert!(
            bars[1].contains(r#"x="739.5" y="125.0" width="196.5""#),
            "{}",
            bars[1]
        );
        let nothing = render(Format::Svg, &Report::default(), &SETTINGS, false);
        assert!(nothing.contains("no instruments"));
    }
}

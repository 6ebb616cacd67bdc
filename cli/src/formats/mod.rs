// SPDX-License-Identifier: MPL-2.0

//! How a report is written. Each module makes a text of a report and knows no GStreamer.

pub mod csv;
pub mod cues;
pub mod html;
pub mod jsonl;
pub mod otio;
#[cfg(test)]
mod properties;
pub mod svg;
pub mod table;

use crate::args::Format;
use crate::report::Report;
use crate::segments::{Segment, Settings, segments};

/// What a format is made of.
pub struct Found<'a> {
    pub report: &'a Report,
    pub segments: &'a [Segment],
    pub settings: &'a Settings,
    /// Whether the results for each window are asked for.
    pub windows: bool,
}

/// The text of one report in the given format; a page's player finds the input at its URI.
pub fn render(format: Format, report: &Report, settings: &Settings, windows: bool) -> String {
    render_with(format, report, settings, windows, &report.uri)
}

/// [`render`] where a page's player finds the input at `media`.
pub fn render_with(
    format: Format,
    report: &Report,
    settings: &Settings,
    windows: bool,
    media: &str,
) -> String {
    let segments = segments(report, settings);
    let found = Found {
        report,
        segments: &segments,
        settings,
        windows,
    };
    match format {
        Format::Table => table::render(&found),
        Format::Jsonl => jsonl::render(&found),
        Format::Csv => csv::render(&found),
        Format::Vtt => cues::vtt(&found),
        Format::Srt => cues::srt(&found),
        Format::Otio => otio::render(&found),
        Format::Svg => svg::render(&found, 1.0),
        // What `png` makes a picture of.
        Format::Png => svg::render(&found, 2.0),
        Format::Html => html::render(&found, media),
    }
}

/// What stands before the first report.
pub fn head(format: Format, windows: bool) -> &'static str {
    match format {
        Format::Csv => csv::head(windows),
        _ => "",
    }
}

// SPDX-License-Identifier: MPL-2.0
//! WebVTT (W3C).

use super::Span;

/// The header of a file.
pub const HEADER: &str = "WEBVTT\n\n";

/// A cue whose text is `json`, which must be a single line.
pub fn cue(span: Span, json: &str) -> String {
    // A cue's text must not contain an arrow. In JSON it can only be in a string, where it may be escaped.
    let text = json.replace("-->", "--\\u003e");
    format!("{} --> {}\n{text}\n\n", time(span.start), time(span.end))
}

/// A WebVTT timestamp: `HH:MM:SS.mmm`.
fn time(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{milliseconds:03}",
        seconds % 60
    )
}

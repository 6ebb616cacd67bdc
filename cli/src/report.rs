// SPDX-License-Identifier: MPL-2.0

//! What is known of an input when it has been tagged. Knows no GStreamer.

pub use gstinstruments::meta::Source;

/// Labels and their scores, best first.
pub type Scores = Vec<(String, f32)>;

/// A model's result for some time of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub source: Source,
    pub model: String,
    /// What it is based on: of the fusion, the sound, the pictures or both.
    pub sources: Vec<Source>,
    /// Seconds.
    pub start: f64,
    pub end: f64,
    pub scores: Scores,
}

impl Window {
    pub fn centre(&self) -> f64 {
        (self.start + self.end) / 2.0
    }

    /// The label's score; 0 for a label that the result lacks.
    pub fn score(&self, label: &str) -> f32 {
        let found = self.scores.iter().find(|(own, _)| own == label);
        found.map_or(0.0, |(_, score)| *score)
    }
}

/// A small copy of an analysed picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Seconds.
    pub time: f64,
    pub jpeg: Vec<u8>,
}

/// A tagged input.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// As the user named it, without a password.
    pub name: String,
    /// Without a password.
    pub uri: String,
    /// Length of what was tagged, in seconds.
    pub duration: f64,
    /// Pictures per second, as a fraction, where they are known and regular.
    pub frame_rate: Option<(i32, i32)>,
    /// Where the input's own time starts, in seconds: its time code or its first time stamp. All other times count from
    /// there.
    pub start_timecode: Option<f64>,
    /// Whether it has pictures, other than a cover.
    pub has_video: bool,
    /// What it took, in seconds.
    pub elapsed: f64,
    /// The results over time, in the order in which they came.
    pub windows: Vec<Window>,
    /// The models' results for the whole input, one a source.
    pub clip: Vec<Window>,
    /// What the user should know, each a sentence.
    pub notes: Vec<String>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Pictures spread over it and its mel spectrogram (a JPEG), where the format shows them.
    pub pictures: Vec<Picture>,
    pub spectrogram: Option<Vec<u8>>,
}

impl Report {
    /// The part of a result's time that lies in the input.
    pub fn inside(&self, window: &Window) -> (f64, f64) {
        let start = window.start.min(self.duration);
        (start, window.end.min(self.duration).max(start))
    }

    /// Whether there is something to see.
    pub fn is_video(&self) -> bool {
        let seen = |window: &Window| window.source == Source::Video;
        self.has_video || self.windows.iter().any(seen)
    }
}

/// Whole seconds, as [`clock`] shows them.
pub fn seconds(time: f64) -> u64 {
    time.round() as u64
}

/// Seconds as minutes and seconds, e.g. `1:05`.
pub fn clock(time: f64) -> String {
    let seconds = seconds(time);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// To four decimals.
pub fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

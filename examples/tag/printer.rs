// SPDX-License-Identifier: MPL-2.0

//! What comes out of the tagger: a table, or JSON lines.

use std::collections::HashMap;
use std::io::{Write, stdout};

use anyhow::Result;
use gstinstruments::meta::{Source, Tags};
use serde_json::json;

/// Labels and their probabilities, best first.
pub type Scores = Vec<(String, f32)>;

/// A model's result, in the stream time of its file.
pub struct Found {
    source: Source,
    model: String,
    /// Seconds.
    start: f64,
    end: f64,
    scores: Scores,
    /// Whether this is the result over the whole stream.
    clip: bool,
}

impl Found {
    /// What an element message holds, if it is a result.
    pub fn new(message: &gst::MessageRef) -> Option<Self> {
        let (tags, clip) = Tags::from_message(message)?;
        let stream_time = message.structure()?.get::<gst::ClockTime>("stream-time");
        let start = stream_time.ok().or(tags.start).unwrap_or_default();
        let start = start.seconds_f64();
        let end = start + tags.duration.unwrap_or_default().seconds_f64();
        Some(Self {
            source: tags.source,
            model: tags.model,
            start,
            end,
            scores: tags.scores,
            clip,
        })
    }
}

/// Prints results to standard output, as JSON lines or as a table with a row for each fused result.
pub struct Printer<'a> {
    json: bool,
    input: &'a str,
    uri: &'a str,
    /// Whether the table has its head.
    headed: bool,
    /// Results of audio and video that rows to come may show.
    recent: Vec<Found>,
    /// Results over the whole stream.
    clip: Vec<Found>,
}

impl<'a> Printer<'a> {
    /// For the results of one input.
    pub fn new(json: bool, input: &'a str, uri: &'a str) -> Self {
        Self {
            json,
            input,
            uri,
            headed: false,
            recent: Vec::new(),
            clip: Vec::new(),
        }
    }

    /// Takes a result as it comes.
    pub fn result(&mut self, found: Found) -> Result<()> {
        if found.clip {
            self.clip.push(found);
        } else if self.json {
            self.line(&found, None)?;
        } else if found.source != Source::Fused {
            self.recent.push(found);
        } else {
            self.recent.retain(|earlier| earlier.end > found.start);
            let range = format!("{} – {}", clock(found.start), clock(found.end));
            self.row(
                &range,
                &self.heard(&found),
                &self.seen(&found),
                &found.scores,
            )?;
        }
        Ok(())
    }

    /// What the audio model said last before this fused result.
    fn heard(&self, fused: &Found) -> Scores {
        let mut audio = self
            .recent
            .iter()
            .filter(|found| found.source == Source::Audio);
        let last = audio.rfind(|found| found.end <= fused.end + 0.1);
        last.map_or_else(Vec::new, |found| found.scores.clone())
    }

    /// The mean of what the picture model said of this fused result's pictures.
    fn seen(&self, fused: &Found) -> Scores {
        let in_window = |found: &&Found| found.source == Source::Video && found.start < fused.end;
        let pictures: Vec<_> = self.recent.iter().filter(in_window).collect();
        let mut sums = HashMap::<&str, f32>::new();
        for (label, score) in pictures.iter().flat_map(|found| &found.scores) {
            *sums.entry(label).or_default() += score;
        }
        let mean = |(label, sum): (&str, f32)| (label.to_owned(), sum / pictures.len() as f32);
        let mut means: Scores = sums.into_iter().map(mean).collect();
        means.sort_by(|a, b| b.1.total_cmp(&a.1));
        means
    }

    /// The results over the whole stream, `duration` seconds long and tagged in `elapsed` seconds.
    pub fn finish(mut self, duration: f64, elapsed: f64) -> Result<()> {
        if self.json {
            return self
                .clip
                .iter()
                .try_for_each(|found| self.line(found, Some((duration, elapsed))));
        }
        let [audio, video, both] = [Source::Audio, Source::Video, Source::Fused].map(|source| {
            let of_source = |found: &&Found| found.source == source;
            self.clip
                .iter()
                .find(of_source)
                .map_or_else(Vec::new, |found| found.scores.clone())
        });
        self.row("all of it", &audio, &video, &both)?;
        let speed = duration / elapsed;
        Ok(writeln!(
            stdout(),
            "{duration:.1} s tagged in {elapsed:.1} s: {speed:.1} times real time\n"
        )?)
    }

    fn line(&self, found: &Found, clip: Option<(f64, f64)>) -> Result<()> {
        let tag = |(label, score): &(String, f32)| json!({"label": label, "score": rounded((*score).into())});
        let mut line = json!({
            "uri": self.uri,
            "source": found.source.name(),
            "model": found.model,
            "start": rounded(found.start),
            "end": rounded(found.end),
            "tags": found.scores.iter().map(tag).collect::<Vec<_>>(),
        });
        if let Some((duration, elapsed)) = clip {
            line["clip"] = true.into();
            line["duration"] = rounded(duration).into();
            line["elapsed"] = rounded(elapsed).into();
        }
        Ok(writeln!(stdout(), "{line}")?)
    }

    fn row(&mut self, range: &str, audio: &Scores, video: &Scores, both: &Scores) -> Result<()> {
        if !self.headed {
            self.headed = true;
            writeln!(stdout(), "{}", self.input)?;
            writeln!(
                stdout(),
                "{:<15} {:<32} {:<32} both",
                "time",
                "audio",
                "video"
            )?;
        }
        let [audio, video, both] = [audio, video, both].map(cell);
        Ok(writeln!(
            stdout(),
            "{range:<15} {audio:<32} {video:<32} {both}"
        )?)
    }
}

/// A table's cell: the two best labels that have at least 10 %, e.g. `Guitar 91 %, Banjo 12 %`.
fn cell(scores: &Scores) -> String {
    let likely = scores.iter().filter(|(_, score)| *score >= 0.1).take(2);
    let named: Vec<_> = likely
        .map(|(label, score)| format!("{label} {:.0} %", 100.0 * score))
        .collect();
    if named.is_empty() {
        "–".into()
    } else {
        named.join(", ")
    }
}

/// Seconds as minutes and seconds, e.g. `1:05`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// To four decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

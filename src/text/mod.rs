// SPDX-License-Identifier: MPL-2.0

//! Tags as text and timed metadata. Independent of GStreamer.
//!
//! A [`Record`] is one result with its times; [`Record::write`] writes it in a [`Format`]. [`Cues`] places the texts of
//! one stream so that they never overlap; [`Changes`] finds the results whose labels differ from those shown, and
//! [`Events`] when an instrument begins and ends.

#![deny(missing_docs)]

mod changes;
mod cues;
mod events;
mod id3;
mod klv;
mod utc;
mod vtt;

use serde_json::{Map, Value, json};

pub use changes::Changes;
pub use cues::{Cues, Span};
pub use events::{Event, Events, Kind};
pub use klv::KEY as KLV_KEY;
pub use utc::rfc3339;

/// Nanoseconds between results after which nothing goes on: results arrive only with media.
pub const PAUSE: u64 = 1_000_000_000;

/// Output format of a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object, followed by a line feed.
    Json,
    /// The labels with their scores, e.g. `Violin 82 %, Piano 31 %`.
    Text,
    /// A WebVTT cue with the JSON object as its text.
    WebVtt,
    /// An ID3v2.4 tag with the JSON object in a TXXX frame called `instruments`.
    Id3,
    /// A KLV packet (SMPTE 336M) with the JSON object as its value and [`KLV_KEY`] as its key.
    Klv,
}

/// One result; times are in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Number of the result in its stream, from 0.
    pub sequence: u64,
    /// `audio`, `video` or `fused`.
    pub source: String,
    /// Name of the model.
    pub model: String,
    /// The modalities that the result is based on.
    pub sources: Vec<String>,
    /// Start of the analysed time, as stream time (position in the media).
    pub start: Option<u64>,
    /// Start of the analysed time, as running time (time since playback began).
    pub running_time: Option<u64>,
    /// Length of the analysed time.
    pub duration: Option<u64>,
    /// Share of the analysed time that had media, from 0 to 1.
    pub media: f32,
    /// Whether this is the result for the whole stream.
    pub clip: bool,
    /// `start` as nanoseconds since 1970-01-01 (UTC).
    pub utc: Option<u64>,
    /// `start` as SMPTE time code.
    pub timecode: Option<String>,
    /// Labels with their scores from 0 to 1, highest score first.
    pub tags: Vec<(String, f32)>,
    /// What happened to an instrument, in a record that is about one: its time is the record's, and its score the only
    /// tag.
    pub event: Option<Event>,
    /// Constant members that the user adds to each result.
    pub fields: Map<String, Value>,
}

/// The names of a JSON object's members, except those of [`Record::fields`].
pub const NAMES: [&str; 17] = [
    "sequence",
    "event",
    "id",
    "label",
    "best",
    "mean",
    "source",
    "model",
    "sources",
    "start",
    "end",
    "running_time",
    "media",
    "clip",
    "utc",
    "timecode",
    "tags",
];

impl Record {
    /// End of the analysed time, as stream time.
    fn end(&self) -> Option<u64> {
        let (start, duration) = self.start.zip(self.duration)?;
        Some(start.saturating_add(duration))
    }

    /// The record as a JSON object: times in seconds, `utc` in RFC 3339. Members whose value is unknown are omitted.
    pub fn json(&self) -> Value {
        let seconds = |time: u64| time as f64 / 1e9;
        let tags: Vec<_> = self
            .tags
            .iter()
            .map(|(label, score)| json!({"label": label, "score": score}))
            .collect();
        let event = self.event.as_ref();
        let mut object = self.fields.clone();
        let members = [
            ("sequence", Some(json!(self.sequence))),
            ("event", event.map(|event| json!(event.kind.name()))),
            ("id", event.map(|event| json!(event.id))),
            ("label", event.map(|event| json!(event.label))),
            ("best", event.map(|event| json!(event.best))),
            ("mean", event.map(|event| json!(event.mean))),
            ("source", Some(json!(self.source))),
            ("model", Some(json!(self.model))),
            ("sources", Some(json!(self.sources))),
            ("start", self.start.map(|time| json!(seconds(time)))),
            ("end", self.end().map(|time| json!(seconds(time)))),
            (
                "running_time",
                self.running_time.map(|time| json!(seconds(time))),
            ),
            ("media", Some(json!(self.media))),
            ("clip", self.clip.then_some(Value::Bool(true))),
            ("utc", self.utc.map(|time| json!(rfc3339(time)))),
            (
                "timecode",
                self.timecode.as_ref().map(|timecode| json!(timecode)),
            ),
            ("tags", Some(json!(tags))),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
        Value::Object(object)
    }

    /// The labels with their scores, e.g. `Violin 82 %, Piano 31 %`; empty if there are no labels.
    pub fn plain(&self) -> String {
        let labels: Vec<_> = self
            .tags
            .iter()
            .map(|(label, score)| format!("{label} {:.0} %", 100.0 * score))
            .collect();
        labels.join(", ")
    }

    /// The record in `format`; `cue` is the stream time of the WebVTT cue, which the other formats ignore. `None` for
    /// plain text without labels.
    pub fn write(&self, format: Format, cue: Span) -> Option<Vec<u8>> {
        let json = || self.json().to_string();
        match format {
            Format::Json => Some(format!("{}\n", json()).into_bytes()),
            Format::Text => Some(self.plain().into_bytes()).filter(|text| !text.is_empty()),
            Format::WebVtt => Some(vtt::cue(cue, &json()).into_bytes()),
            Format::Id3 => Some(id3::tag("instruments", &json())),
            Format::Klv => Some(klv::packet(json().as_bytes())),
        }
    }
}

impl Format {
    /// Text at the start of a stream; empty for formats without a header.
    pub fn header(self) -> &'static str {
        match self {
            Format::WebVtt => vtt::HEADER,
            _ => "",
        }
    }

    /// Whether texts have a duration and are shown one at a time; results in the other formats have only a start.
    pub fn is_cue(self) -> bool {
        matches!(self, Format::Text | Format::WebVtt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            sequence: 7,
            source: "fused".into(),
            model: "m".into(),
            sources: vec!["video".into()],
            start: Some(1_500_000_000),
            running_time: Some(500_000_000),
            duration: Some(1_000_000_000),
            media: 0.5,
            clip: false,
            event: None,
            utc: Some(1_764_115_200_250_000_000),
            timecode: Some("10:00:01:12".into()),
            tags: vec![("Violin".into(), 0.75), ("Piano --> grand".into(), 0.125)],
            fields: Map::from_iter([("channel".to_owned(), json!(7))]),
        }
    }

    const CUE: Span = Span {
        start: 3_600_000_000_000,
        end: 3_661_500_000_000,
    };

    #[test]
    fn json_has_every_member_that_is_known() {
        let expected = json!({
            "sequence": 7, "source": "fused", "model": "m", "sources": ["video"],
            "start": 1.5, "end": 2.5, "running_time": 0.5, "media": 0.5,
            "utc": "2025-11-26T00:00:00.250Z", "timecode": "10:00:01:12", "channel": 7,
            "tags": [{"label": "Violin", "score": 0.75}, {"label": "Piano --> grand", "score": 0.125}],
        });
        assert_eq!(record().json(), expected);
        for name in record().json().as_object().unwrap().keys() {
            assert!(
                NAMES.contains(&name.as_str()) || name == "channel",
                "{name}"
            );
        }
        let bare = Record {
            clip: true,
            ..Record::default()
        };
        let expected = json!({
            "sequence": 0, "source": "", "model": "", "sources": [], "media": 0.0, "clip": true, "tags": [],
        });
        assert_eq!(bare.json(), expected);
    }

    #[test]
    fn plain_text_is_the_labels() {
        let text = record().write(Format::Text, CUE).unwrap();
        assert_eq!(text, b"Violin 75 %, Piano --> grand 12 %");
        let silent = Record {
            tags: Vec::new(),
            ..record()
        };
        assert_eq!(silent.write(Format::Text, CUE), None);
    }

    #[test]
    fn a_cue_holds_the_same_json() {
        let text = String::from_utf8(record().write(Format::WebVtt, CUE).unwrap()).unwrap();
        let (times, rest) = text.split_once('\n').unwrap();
        assert_eq!(times, "01:00:00.000 --> 01:01:01.500");
        let json = rest.strip_suffix("\n\n").unwrap();
        // An arrow would end the cue's text.
        assert!(!json.contains("-->"), "{json}");
        assert_eq!(
            serde_json::from_str::<Value>(json).unwrap(),
            record().json()
        );
    }
}

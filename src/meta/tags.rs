// SPDX-License-Identifier: MPL-2.0

use gst::prelude::*;

pub(super) const FIELD: &str = "tags";

/// Where tags come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The sound alone.
    Audio,
    /// The picture alone.
    Video,
    /// The late fusion of both.
    Fused,
}

impl Source {
    /// The name in structures and messages.
    pub fn name(self) -> &'static str {
        match self {
            Source::Audio => "audio",
            Source::Video => "video",
            Source::Fused => "fused",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Source::Audio, Source::Video, Source::Fused]
            .into_iter()
            .find(|source| source.name() == name)
    }
}

/// The result of one analysis: labels with their scores, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Tags {
    /// Where they come from.
    pub source: Source,
    /// Name of the model.
    pub model: String,
    /// What the result is based on: for fused tags the modalities that were present.
    pub sources: Vec<Source>,
    /// Start of the tagged time, in the time base of the buffers' timestamps.
    pub start: Option<gst::ClockTime>,
    /// Length of the tagged time.
    pub duration: Option<gst::ClockTime>,
    /// Labels with their scores from 0 to 1, best first; empty when nothing reached the threshold.
    pub scores: Vec<(String, f32)>,
    /// Whether this is the first buffer that carries this result.
    pub fresh: bool,
}

impl Tags {
    /// The same, for a buffer after the first.
    pub fn repeated(&self) -> Self {
        Self {
            fresh: false,
            ..self.clone()
        }
    }

    /// Attaches `tags` to `buffer`, after those that it already carries.
    pub fn attach(tags: &[Tags], buffer: &mut gst::BufferRef) {
        super::attach(
            buffer,
            super::TAGS_META,
            FIELD,
            tags.iter().map(Self::to_structure),
        );
    }

    /// All tags on `buffer`.
    pub fn from_buffer(buffer: &gst::BufferRef) -> Vec<Tags> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, super::TAGS_META).ok();
        from_structure(meta.as_ref().map(|meta| meta.structure()))
    }

    /// The element message that announces these tags, which a buffer with timestamp `timestamp`
    /// carries in `segment`; `clip` says that they are about the whole stream.
    ///
    /// Its `stream-time` and `running-time` are those at which the tagged time starts.
    pub fn message(
        &self,
        element: &impl IsA<gst::Object>,
        segment: &gst::Segment,
        timestamp: Option<gst::ClockTime>,
        clip: bool,
    ) -> gst::Message {
        let mut structure = self.to_structure();
        structure.set_name(super::TAGS_MESSAGE);
        structure.remove_field("fresh");
        structure.set("clip", clip);
        structure.set_if_some("timestamp", timestamp);
        if let Some(segment) = segment.downcast_ref::<gst::ClockTime>() {
            structure.set_if_some("stream-time", segment.to_stream_time(self.start));
            structure.set_if_some("running-time", segment.to_running_time(self.start));
        }
        gst::message::Element::builder(structure)
            .src(element)
            .build()
    }

    /// Reads what [`message`](Self::message) made: the tags, and whether they are the clip's.
    pub fn from_message(message: &gst::MessageRef) -> Option<(Tags, bool)> {
        let structure = message
            .structure()
            .filter(|s| s.name() == super::TAGS_MESSAGE)?;
        Some((
            Tags::from_structure(structure)?,
            structure.get("clip").ok()?,
        ))
    }

    pub(super) fn to_structure(&self) -> gst::Structure {
        gst::Structure::builder("tags")
            .field("source", self.source.name())
            .field("model", &self.model)
            .field(
                "sources",
                gst::Array::new(self.sources.iter().map(|source| source.name())),
            )
            .field_if_some("start", self.start)
            .field_if_some("duration", self.duration)
            .field(
                "labels",
                gst::Array::new(self.scores.iter().map(|(label, _)| label)),
            )
            .field(
                "scores",
                gst::Array::new(self.scores.iter().map(|&(_, score)| f64::from(score))),
            )
            .field("fresh", self.fresh)
            .build()
    }

    fn from_structure(structure: &gst::StructureRef) -> Option<Self> {
        let labels = structure.get::<gst::Array>("labels").ok()?;
        let scores = structure.get::<gst::Array>("scores").ok()?;
        Some(Tags {
            source: Source::from_name(structure.get("source").ok()?)?,
            model: structure.get("model").ok()?,
            sources: structure
                .get::<gst::Array>("sources")
                .ok()?
                .iter()
                .filter_map(|value| Source::from_name(value.get().ok()?))
                .collect(),
            start: structure.get("start").ok(),
            duration: structure.get("duration").ok(),
            scores: labels
                .iter()
                .zip(scores.iter())
                .filter_map(|(label, score)| {
                    Some((label.get().ok()?, score.get::<f64>().ok()? as f32))
                })
                .collect(),
            fresh: structure.get("fresh").unwrap_or(true),
        })
    }
}

pub(super) fn from_structure(structure: Option<&gst::StructureRef>) -> Vec<Tags> {
    super::list(structure, FIELD)
        .filter_map(Tags::from_structure)
        .collect()
}

/// What a model made of some time: one score a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Scores from 0 to 1, in the order of the labels.
    pub scores: Vec<f32>,
    /// The modalities that it is based on.
    pub sources: Vec<Source>,
    /// Start of the time, in the time base of the buffers' timestamps.
    pub start: Option<gst::ClockTime>,
    /// Length of the time.
    pub duration: Option<gst::ClockTime>,
}

impl Analysis {
    /// The `most` best labels (0: all) whose scores reach `threshold`, as tags from `source` and `model`.
    pub fn tags(
        &self,
        source: Source,
        model: &str,
        labels: &[String],
        threshold: f32,
        most: u32,
    ) -> Tags {
        let scores = labels.iter().cloned().zip(self.scores.iter().copied());
        let mut scores: Vec<_> = scores.filter(|&(_, score)| score >= threshold).collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        if most > 0 {
            scores.truncate(most as usize);
        }
        Tags {
            source,
            model: model.to_owned(),
            sources: self.sources.clone(),
            start: self.start,
            duration: self.duration,
            scores,
            fresh: true,
        }
    }
}

/// The mean of a stream's analyses, weighted by the time that each describes.
#[derive(Debug, Clone, Default)]
pub struct Clip {
    sums: Vec<f64>,
    weight: f64,
    sources: Vec<Source>,
    start: Option<gst::ClockTime>,
    end: Option<gst::ClockTime>,
}

impl Clip {
    /// Adds one analysis; one of unknown length weighs as much as one of a second.
    pub fn add(&mut self, analysis: &Analysis) {
        let weight = analysis
            .duration
            .map_or(1.0, |duration| duration.seconds_f64().max(1e-3));
        self.sums.resize(analysis.scores.len(), 0.0);
        for (sum, &score) in self.sums.iter_mut().zip(&analysis.scores) {
            *sum += f64::from(score) * weight;
        }
        self.weight += weight;
        for &source in &analysis.sources {
            if !self.sources.contains(&source) {
                self.sources.push(source);
            }
        }
        let duration = analysis.duration.unwrap_or_default();
        let end = analysis.start.map(|start| start.saturating_add(duration));
        self.start = self.start.into_iter().chain(analysis.start).min();
        self.end = self.end.max(end);
    }

    /// The mean over all of the time, based on every modality that any analysis had; `None` before the first.
    pub fn mean(&self) -> Option<Analysis> {
        (self.weight > 0.0).then(|| Analysis {
            scores: self
                .sums
                .iter()
                .map(|sum| (sum / self.weight) as f32)
                .collect(),
            sources: self.sources.clone(),
            start: self.start,
            duration: self.end.zip(self.start).map(|(end, start)| end - start),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis(scores: &[f32], sources: &[Source], start: u64, duration: u64) -> Analysis {
        Analysis {
            scores: scores.to_vec(),
            sources: sources.to_vec(),
            start: Some(gst::ClockTime::from_seconds(start)),
            duration: Some(gst::ClockTime::from_seconds(duration)),
        }
    }

    #[test]
    fn tags_are_sorted_cut_and_filtered() {
        let labels = ["a", "b", "c", "d"].map(String::from);
        let analysis = analysis(&[0.1, 0.5, 0.3, 0.09], &[Source::Audio], 0, 1);
        let tags = |most| analysis.tags(Source::Audio, "m", &labels, 0.1, most).scores;
        assert_eq!(tags(2), [("b".into(), 0.5), ("c".into(), 0.3)]);
        assert_eq!(tags(9).len(), 3);
        assert_eq!(tags(0).len(), 3);
    }

    #[test]
    fn clip_weighs_by_duration_and_joins_the_sources() {
        let mut clip = Clip::default();
        assert_eq!(clip.mean(), None);
        clip.add(&analysis(&[1.0, 0.0], &[Source::Video], 1, 3));
        clip.add(&analysis(
            &[0.0, 1.0],
            &[Source::Video, Source::Audio],
            4,
            1,
        ));
        let expected = analysis(&[0.75, 0.25], &[Source::Video, Source::Audio], 1, 4);
        assert_eq!(clip.mean(), Some(expected));
    }
}

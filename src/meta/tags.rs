// SPDX-License-Identifier: MPL-2.0

use gst::prelude::*;

pub(super) const FIELD: &str = "tags";

/// Where tags come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The sound only.
    Audio,
    /// The pictures only.
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
    /// The modality of the model.
    pub source: Source,
    /// Name of the model.
    pub model: String,
    /// The modalities that the result is based on: for fused tags those that were present.
    pub sources: Vec<Source>,
    /// Start of the tagged time, in the time base of the buffers' timestamps.
    pub start: Option<gst::ClockTime>,
    /// Length of the tagged time.
    pub duration: Option<gst::ClockTime>,
    /// Share of the tagged time that had media, from 0 to 1; the rest was gaps.
    pub media: f32,
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

    /// Attaches `tags` to `buffer`, after those that it already carries; from GStreamer 1.24 on also as one
    /// `GstAnalyticsClsMtd` each.
    pub fn attach(tags: &[Tags], buffer: &mut gst::BufferRef) {
        #[cfg(feature = "v1_24")]
        super::analytics::attach(tags, buffer);
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

    /// The element message that announces these tags, which are on a buffer with timestamp `timestamp`
    /// in `segment`; `clip`: they are the result for the whole stream.
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

    /// The tags in a message made by [`message`](Self::message), and whether they are the result for the whole stream.
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
            .field("media", f64::from(self.media))
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

    pub(super) fn from_structure(structure: &gst::StructureRef) -> Option<Self> {
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
            media: structure
                .get::<f64>("media")
                .map_or(1.0, |media| media as f32),
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

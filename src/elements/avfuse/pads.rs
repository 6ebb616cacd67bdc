// SPDX-License-Identifier: MPL-2.0

//! The sink pads of `avfuse`, and what comes in on them.

use gst::prelude::*;
use gst_base::AggregatorPad;
use gst_base::prelude::*;

use crate::fusion::Source;

/// The sink pads there are.
#[derive(Debug, Clone, Default)]
pub struct Pads {
    pub video: Option<AggregatorPad>,
    pub audio: Option<AggregatorPad>,
}

impl Pads {
    /// The pad of `template`, unless there is one already.
    pub fn create(&mut self, template: &gst::PadTemplate) -> Option<AggregatorPad> {
        let name = template.name_template();
        let slot = if name == "video" {
            &mut self.video
        } else {
            &mut self.audio
        };
        if slot.is_some() {
            return None;
        }
        let pad = gst::PadBuilder::<AggregatorPad>::from_template(template)
            .name(name)
            .build();
        Some(slot.insert(pad).clone())
    }

    pub fn remove(&mut self, pad: &gst::Pad) {
        for slot in [&mut self.video, &mut self.audio] {
            slot.take_if(|own| own.upcast_ref::<gst::Pad>() == pad);
        }
    }

    pub fn all(&self) -> impl Iterator<Item = AggregatorPad> {
        [self.video.clone(), self.audio.clone()]
            .into_iter()
            .flatten()
    }

    /// Whether video and whether audio may still come.
    pub fn going(&self) -> (bool, bool) {
        let going = |pad: &AggregatorPad| !pad.is_eos();
        (
            self.video.as_ref().is_some_and(going),
            self.audio.as_ref().is_some_and(going),
        )
    }

    /// What comes on `pad`.
    pub fn source(&self, pad: &AggregatorPad) -> Source {
        if self.video.as_ref() == Some(pad) {
            Source::Video
        } else {
            Source::Audio
        }
    }

    /// The segment of the media that goes on.
    pub fn segment(&self) -> gst::FormattedSegment<gst::ClockTime> {
        let media = self.media();
        let segment = media.and_then(|(media, _)| media.segment().downcast().ok());
        segment.unwrap_or_default()
    }

    /// The pad whose media goes on, and the other one.
    pub fn media(&self) -> Option<(AggregatorPad, Option<AggregatorPad>)> {
        match self {
            Pads {
                video: Some(video),
                audio,
            } => Some((video.clone(), audio.clone())),
            Pads { video: None, audio } => audio.clone().map(|audio| (audio, None)),
        }
    }

    pub fn is_media(&self, pad: &AggregatorPad) -> bool {
        self.media().is_some_and(|(media, _)| media == *pad)
    }
}

/// The templates of the pads.
pub fn templates() -> Vec<gst::PadTemplate> {
    use gst::{PadDirection::*, PadPresence::*};
    let video = gst_video::VideoCapsBuilder::new().build();
    let audio = gst_audio::AudioCapsBuilder::new().build();
    let mut both = video.clone();
    both.merge(audio.clone());
    let template = |name, direction, presence, caps: &gst::Caps| {
        let kind = AggregatorPad::static_type();
        gst::PadTemplate::with_gtype(name, direction, presence, caps, kind)
            .expect("a valid pad template")
    };
    vec![
        template("video", Sink, Request, &video),
        template("audio", Sink, Request, &audio),
        template("src", Src, Always, &both),
    ]
}

/// Answers what `pad` takes: for media that goes on to `downstream` what is taken there, otherwise everything.
pub fn answer_caps(
    pad: &AggregatorPad,
    downstream: Option<gst::Pad>,
    query: &mut gst::query::Caps,
) {
    let template = pad.pad_template_caps();
    let caps = match downstream {
        Some(downstream) => downstream.peer_query_caps(Some(&template)),
        None => template,
    };
    let caps = match query.filter() {
        Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
        None => caps,
    };
    query.set_result(&caps);
}

/// Whether data can come to `pad` from a source.
pub fn is_fed(pad: &gst::Pad) -> bool {
    pad.peer().is_some_and(|peer| {
        let upstream: Vec<gst::Pad> = peer
            .iterate_internal_links()
            .into_iter()
            .flatten()
            .collect();
        upstream.is_empty() || upstream.iter().any(is_fed)
    })
}

/// Whether `buffer` stands for a gap event: the base class makes empty buffers of them.
pub fn is_gap(buffer: &gst::BufferRef) -> bool {
    buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP)
}

/// Running time of `time` on `pad`, 0 before the segment's start; `None` where the segment is not in time.
pub fn running_time(pad: &AggregatorPad, time: Option<gst::ClockTime>) -> Option<gst::ClockTime> {
    let segment = pad.segment().downcast::<gst::ClockTime>().ok()?;
    let time = segment.to_running_time_full(time)?;
    Some(time.positive().unwrap_or_default())
}

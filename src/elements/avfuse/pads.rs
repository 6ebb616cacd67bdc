// SPDX-License-Identifier: MPL-2.0

//! The sink pads of `avfuse`, and what comes in on them.

use gst::prelude::*;
use gst_base::AggregatorPad;
use gst_base::prelude::*;

use crate::elements::video_caps;
use crate::fusion::{Source, Span};

/// Buffers that `avfuse` holds of the media while it waits for the other modality: in a live pipeline the base class
/// queues two a pad, and one is being worked on.
const HELD: u32 = 3;

/// The sink pads that were requested.
#[derive(Debug, Clone, Default)]
pub struct Pads {
    pub video: Option<AggregatorPad>,
    pub audio: Option<AggregatorPad>,
}

impl Pads {
    /// Where the pad of `template` belongs.
    pub fn slot(&mut self, template: &gst::PadTemplate) -> &mut Option<AggregatorPad> {
        if template.name_template() == "video" {
            &mut self.video
        } else {
            &mut self.audio
        }
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
    pub fn going(&self) -> [bool; 2] {
        [&self.video, &self.audio].map(|pad| pad.as_ref().is_some_and(|pad| !pad.is_eos()))
    }

    /// What comes on `pad`.
    pub fn source(&self, pad: &AggregatorPad) -> Source {
        if self.video.as_ref() == Some(pad) {
            Source::Video
        } else {
            Source::Audio
        }
    }

    /// The pad whose media is forwarded, and the other one.
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
    let video = video_caps();
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

/// Answers what upstream asks about memory for media that goes on to `downstream`: its answer, with more buffers, and
/// without a pool of a fixed size, which those that wait here would empty.
pub fn answer_allocation(downstream: &gst::Pad, query: &mut gst::query::Allocation) -> bool {
    if !downstream.peer_query(query) {
        return false;
    }
    let pools: Vec<_> = query.allocation_pools().collect();
    for (index, (pool, size, min, max)) in (0..).zip(&pools) {
        let pool = pool.as_ref().filter(|_| *max == 0);
        query.set_nth_allocation_pool(index, pool, *size, min.saturating_add(HELD), 0);
    }
    if pools.is_empty() {
        let size = query.get().0.and_then(|caps| {
            let info = gst_video::VideoInfo::from_caps(caps).ok()?;
            u32::try_from(info.size()).ok()
        });
        if let Some(size) = size {
            query.add_allocation_pool(gst::BufferPool::NONE, size, HELD, 0);
        }
    }
    true
}

/// Whether `buffer` stands for a gap event: the base class makes empty buffers of them.
pub fn is_gap_event(buffer: &gst::BufferRef) -> bool {
    buffer.size() == 0 && is_gap(buffer)
}

/// Whether `buffer` only fills a gap.
pub fn is_gap(buffer: &gst::BufferRef) -> bool {
    buffer.flags().contains(gst::BufferFlags::GAP)
}

/// The running time from `start` on for `duration` on `pad`, from 0 on, in whichever direction it plays; `None` where
/// the segment is not in time.
pub fn running(
    pad: &AggregatorPad,
    start: Option<gst::ClockTime>,
    duration: Option<gst::ClockTime>,
) -> Option<Span> {
    let segment = pad.segment().downcast::<gst::ClockTime>().ok()?;
    let start = start?;
    let running = |time: gst::ClockTime| {
        let time = segment.to_running_time_full(Some(time))?;
        Some(time.positive().unwrap_or_default().nseconds())
    };
    let one = running(start)?;
    let end = start.saturating_add(duration.unwrap_or_default());
    let other = running(end).unwrap_or(one);
    Some(Span {
        start: one.min(other),
        end: one.max(other),
    })
}

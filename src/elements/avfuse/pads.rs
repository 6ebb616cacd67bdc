// SPDX-License-Identifier: MPL-2.0

//! The sink pads of `avfuse`, and what comes in on them.

use gst::prelude::*;
use gst_base::prelude::*;

/// The sink pads there are.
#[derive(Debug, Clone, Default)]
pub struct Pads {
    pub video: Option<gst_base::AggregatorPad>,
    pub audio: Option<gst_base::AggregatorPad>,
}

impl Pads {
    /// The pad whose media goes on, and the other one.
    pub fn media(&self) -> Option<(gst_base::AggregatorPad, Option<gst_base::AggregatorPad>)> {
        match self {
            Pads {
                video: Some(video),
                audio,
            } => Some((video.clone(), audio.clone())),
            Pads { video: None, audio } => audio.clone().map(|audio| (audio, None)),
        }
    }

    pub fn is_media(&self, pad: &gst_base::AggregatorPad) -> bool {
        self.media().is_some_and(|(media, _)| media == *pad)
    }
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
pub fn running_time(
    pad: &gst_base::AggregatorPad,
    time: Option<gst::ClockTime>,
) -> Option<gst::ClockTime> {
    let segment = pad.segment().downcast::<gst::ClockTime>().ok()?;
    let time = segment.to_running_time_full(time)?;
    Some(time.positive().unwrap_or_default())
}

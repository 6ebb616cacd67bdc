// SPDX-License-Identifier: MPL-2.0

//! What a running stream needs: the embeddings so far, and how far each modality has come.

use super::settings::Settings;
use crate::elements::analysis::Analysis;
use crate::fusion::{Collector, Config, Fusion, Source, Span, Whole, Window};
use crate::meta::{self, Features, Tags};
use crate::model;

/// A mel patch is complete this long after the audio it covers, at the most: half an FFT, the
/// resampler's delay, and the rounding of timestamps.
const PATCH_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(100);

pub struct State {
    pub collector: Collector,
    /// How far each modality has come, as running time.
    video: Option<gst::ClockTime>,
    audio: Option<gst::ClockTime>,
    /// The end of the longest modality so far, as running time.
    end: gst::ClockTime,
    pub last: Option<Tags>,
    pub whole: Whole,
    /// Events that came before the first buffer.
    pub early: Vec<gst::Event>,
}

impl State {
    /// For a fusion model of so many `frames`; `None`: as many as `settings` say.
    pub fn new(settings: &Settings, frames: Option<usize>) -> Self {
        let frames = frames.unwrap_or(settings.frames as usize);
        Self {
            collector: Collector::new(Config {
                frames,
                window: settings.window,
                stride: settings.stride,
            }),
            video: None,
            audio: None,
            end: gst::ClockTime::ZERO,
            last: None,
            whole: Whole::new(frames),
            early: Vec::new(),
        }
    }

    /// How far `source` has come.
    pub fn position(&self, source: Source) -> Option<gst::ClockTime> {
        match source {
            Source::Video => self.video,
            Source::Audio => self.audio,
        }
    }

    /// A buffer of `source` came that lasts from `start` to `end`.
    pub fn advance(&mut self, source: Source, start: gst::ClockTime, end: gst::ClockTime) {
        // A picture is there from its start on, sound up to the end of its buffer.
        match source {
            Source::Video => self.video = Some(start),
            Source::Audio => self.audio = Some(end),
        };
        self.end = self.end.max(end);
    }

    /// Takes an embedding of `source` that begins at running time `start`.
    pub fn collect(&mut self, source: Source, start: gst::ClockTime, features: &Features) {
        let span = Span {
            start: start.nseconds(),
            end: (start + features.duration.unwrap_or_default()).nseconds(),
        };
        self.collector.push(source, span, features.data.clone());
        self.whole.push(source, span, features.data.clone());
    }

    /// The windows for which all is there that will come: from both modalities if both are
    /// going on, from the one that is otherwise, from the one that is ahead if the other is `late`.
    pub fn due(&mut self, video_going: bool, audio_going: bool, late: bool) -> Vec<Window> {
        let heard = self.audio.map(|audio| audio.saturating_sub(PATCH_DELAY));
        let now = match (video_going, audio_going) {
            (true, true) if late => self.video.max(heard),
            (true, true) => self.video.zip(heard).map(|(video, heard)| video.min(heard)),
            (true, false) => self.video,
            (false, true) => heard,
            (false, false) => Some(self.end),
        };
        let Some(now) = now else { return Vec::new() };
        std::iter::from_fn(|| self.collector.due(now.nseconds())).collect()
    }

    /// The windows that are left at the end of the stream.
    pub fn finish(&mut self) -> Vec<Window> {
        let mut windows = self.due(false, false, false);
        windows.extend(self.collector.finish(self.end.nseconds()));
        windows
    }
}

/// What the model makes of `window`, in the time base of `segment`.
pub fn analyse(
    fusion: &Fusion,
    window: &Window,
    segment: &gst::FormattedSegment<gst::ClockTime>,
) -> Result<Analysis, model::Error> {
    let mut scores = fusion.run(window)?;
    fusion.model().card().activation.apply(&mut scores);
    let start = gst::ClockTime::from_nseconds(window.span.start);
    let end = gst::ClockTime::from_nseconds(window.span.end);
    let heard = window.audio.is_some().then_some(meta::Source::Audio);
    let seen = (!window.video.is_empty()).then_some(meta::Source::Video);
    Ok(Analysis {
        scores,
        sources: seen.into_iter().chain(heard).collect(),
        start: segment.position_from_running_time(start),
        duration: Some(end - start),
        media: 1.0,
    })
}

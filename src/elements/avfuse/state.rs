// SPDX-License-Identifier: MPL-2.0

//! What a running stream needs: the embeddings so far, and how far each modality has come.

use super::settings::Settings;
use crate::fusion::{Collector, Config, Source, Window};
use crate::meta::{Clip, Tags};

/// A mel patch is complete this long after the audio it covers, at the most: half an FFT, the
/// resampler's delay, and the rounding of timestamps.
const PATCH_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(100);

pub struct State {
    pub collector: Collector,
    /// How far each modality has come, as running time.
    video: Option<gst::ClockTime>,
    audio: Option<gst::ClockTime>,
    pub last: Option<Tags>,
    pub clip: Clip,
    /// Events that came before the first buffer.
    pub early: Vec<gst::Event>,
}

impl State {
    pub fn new(settings: &Settings) -> Self {
        Self {
            collector: Collector::new(Config {
                frames: settings.frames as usize,
                window: settings.window,
                stride: settings.stride,
            }),
            video: None,
            audio: None,
            last: None,
            clip: Clip::default(),
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

    /// `source` has come as far as `time`.
    pub fn advance(&mut self, source: Source, time: gst::ClockTime) {
        let position = match source {
            Source::Video => &mut self.video,
            Source::Audio => &mut self.audio,
        };
        *position = Some(time);
    }

    /// The windows for which all is there that will come: from both modalities if both are
    /// `going` on, from the one that is otherwise.
    pub fn due(&mut self, video_going: bool, audio_going: bool) -> Vec<Window> {
        let heard = self.audio.map(|audio| audio.saturating_sub(PATCH_DELAY));
        let now = match (video_going, audio_going) {
            (true, true) => self.video.zip(heard).map(|(video, heard)| video.min(heard)),
            (true, false) => self.video,
            (false, true) => heard,
            (false, false) => self.video.max(self.audio),
        };
        let Some(now) = now else { return Vec::new() };
        std::iter::from_fn(|| self.collector.due(now.nseconds())).collect()
    }

    /// The windows that are left at the end of the stream.
    pub fn finish(&mut self) -> Vec<Window> {
        let mut windows = self.due(false, false);
        let end = self.video.max(self.audio).unwrap_or_default();
        windows.extend(self.collector.finish(end.nseconds()));
        windows
    }
}

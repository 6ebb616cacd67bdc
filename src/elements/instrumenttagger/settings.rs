// SPDX-License-Identifier: MPL-2.0

//! What the user sets of `instrumenttagger`, beside [`Inference`](crate::elements::inference::Inference), and which
//! elements inside take it.

use super::{Decode, Riding};
use crate::elements::avfuse::{DEFAULT_FUSION_MODEL, DEFAULT_STRIDE, DEFAULT_WINDOW};
use crate::elements::frameclassify::{
    DEFAULT_AUDIO_MODEL, DEFAULT_INTERVAL, DEFAULT_VIDEO_MODEL, Scheduling,
};
use crate::elements::melspec::{DEFAULT_PATCH_INTERVAL, Partial, Segmentation};

/// Names of the elements inside.
pub const FUSE: &str = "fuse";
pub const MELSPEC: &str = "melspec";
pub const CLASSIFY_AUDIO: &str = "classify-audio";
pub const CLASSIFY_VIDEO: &str = "classify-video";

/// Properties that elements inside take, with their names there.
pub const FORWARDED: [(&str, &[&str], &str); 11] = [
    ("audio-model", &[CLASSIFY_AUDIO], "model"),
    ("video-model", &[CLASSIFY_VIDEO], "model"),
    ("fusion-model", &[FUSE], "model"),
    ("window", &[FUSE], "window"),
    ("stride", &[FUSE], "stride"),
    ("interval", &[CLASSIFY_VIDEO], "interval"),
    ("patch-interval", &[MELSPEC], "patch-interval"),
    ("patch-duration", &[MELSPEC], "patch-duration"),
    ("segmentation", &[MELSPEC], "segmentation"),
    ("partial", &[MELSPEC], "partial"),
    ("frames", &[CLASSIFY_VIDEO], "frames"),
];

/// The elements that run a model, which take the properties of `Inference` but for [`OWN`].
pub const MODELS: &[&str] = &[CLASSIFY_AUDIO, CLASSIFY_VIDEO, FUSE];

/// Properties of `Inference` that are about the buffers that pass and the messages of the element itself.
pub const OWN: [&str; 4] = [
    "repeat-tags",
    "tag-lifetime",
    "post-messages",
    "stream-tags",
];

/// The properties that `low-delay` sets.
pub const PACE: [&str; 5] = [
    "window",
    "stride",
    "interval",
    "patch-interval",
    "patch-duration",
];

/// The values of the properties; times are in nanoseconds.
#[derive(Debug, Clone)]
pub struct Settings {
    pub audio_model: String,
    pub video_model: String,
    pub fusion_model: String,
    pub low_delay: bool,
    pub window: u64,
    pub stride: u64,
    pub interval: u64,
    pub frames: u32,
    pub patch_interval: u64,
    pub patch_duration: u64,
    pub segmentation: Segmentation,
    pub partial: Partial,
    pub decode: Decode,
    pub source: Riding,
    pub scheduling: Scheduling,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            audio_model: DEFAULT_AUDIO_MODEL.into(),
            video_model: DEFAULT_VIDEO_MODEL.into(),
            fusion_model: DEFAULT_FUSION_MODEL.into(),
            low_delay: false,
            window: DEFAULT_WINDOW,
            stride: DEFAULT_STRIDE,
            interval: DEFAULT_INTERVAL,
            frames: 0,
            patch_interval: DEFAULT_PATCH_INTERVAL,
            patch_duration: 0,
            segmentation: Segmentation::default(),
            partial: Partial::default(),
            decode: Decode::default(),
            source: Riding::default(),
            scheduling: Scheduling::default(),
        }
    }
}

impl Settings {
    /// Whether sound and pictures are not fused.
    pub fn is_unfused(&self) -> bool {
        self.fusion_model == "none"
    }

    /// Sets the properties of [`PACE`] to what suits `low_delay`: measured in `docs/live.md`.
    pub fn set_low_delay(&mut self, low_delay: bool) {
        let usual = Self::default();
        self.low_delay = low_delay;
        (self.window, self.stride, self.interval) = match low_delay {
            true => (1_500_000_000, 250_000_000, 500_000_000),
            false => (usual.window, usual.stride, usual.interval),
        };
        (self.patch_interval, self.patch_duration) = match low_delay {
            true => (250_000_000, 1_500_000_000),
            false => (usual.patch_interval, usual.patch_duration),
        };
    }
}

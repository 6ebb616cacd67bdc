// SPDX-License-Identifier: MPL-2.0

//! What the user sets of `frameclassify`, beside [`Inference`](crate::elements::inference::Inference).

use super::{Activation, Scheduling};

pub const DEFAULT_AUDIO_MODEL: &str = "ced-yt8m13";
pub const DEFAULT_VIDEO_MODEL: &str = "efficientnet-lite-yt8m13";
/// The paper's one frame a second.
pub const DEFAULT_INTERVAL: u64 = 1_000_000_000;
/// Maximum number of pictures whose results are kept until the end of the stream.
pub const MAX_FRAMES: u32 = 10_000;

/// The values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub model: Option<String>,
    pub batch_size: u32,
    pub interval: u64,
    pub frames: u32,
    pub activation: Activation,
    pub scheduling: Scheduling,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            batch_size: 0,
            interval: DEFAULT_INTERVAL,
            frames: 0,
            activation: Activation::default(),
            scheduling: Scheduling::default(),
        }
    }
}

// SPDX-License-Identifier: MPL-2.0

//! What the user sets of `avfuse`, beside [`Inference`](crate::elements::inference::Inference).

pub const DEFAULT_MODEL: &str = "fusion-yt8m13";
pub const DEFAULT_WINDOW: u64 = 5_000_000_000;
pub const DEFAULT_STRIDE: u64 = 5_000_000_000;
/// The paper's k for YouTube-8M.
pub const DEFAULT_FRAMES: u32 = 20;

/// The values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub model: String,
    pub window: u64,
    pub stride: u64,
    pub frames: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.to_owned(),
            window: DEFAULT_WINDOW,
            stride: DEFAULT_STRIDE,
            frames: DEFAULT_FRAMES,
        }
    }
}

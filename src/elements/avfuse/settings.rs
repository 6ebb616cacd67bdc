// SPDX-License-Identifier: MPL-2.0

//! What the user sets of `avfuse`.

use std::path::PathBuf;

use crate::elements::frameclassify::ExecutionProvider;
use crate::meta::{Analysis, Source, Tags};
use crate::model::{self, Card};

pub const DEFAULT_MODEL: &str = "fusion-yt8m13";
pub const DEFAULT_WINDOW: u64 = 10_000_000_000;
pub const DEFAULT_STRIDE: u64 = 5_000_000_000;
/// The paper's k for YouTube-8M.
pub const DEFAULT_FRAMES: u32 = 20;
pub const DEFAULT_THRESHOLD: f32 = 0.25;
pub const DEFAULT_MAX_TAGS: u32 = 3;

/// The values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub model: String,
    pub labels_file: Option<String>,
    pub execution_provider: ExecutionProvider,
    pub device: u32,
    pub threads: u32,
    pub window: u64,
    pub stride: u64,
    pub frames: u32,
    pub threshold: f32,
    pub max_tags: u32,
    pub repeat_tags: bool,
    pub post_messages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.to_owned(),
            labels_file: None,
            execution_provider: ExecutionProvider::default(),
            device: 0,
            threads: 0,
            window: DEFAULT_WINDOW,
            stride: DEFAULT_STRIDE,
            frames: DEFAULT_FRAMES,
            threshold: DEFAULT_THRESHOLD,
            max_tags: DEFAULT_MAX_TAGS,
            repeat_tags: true,
            post_messages: true,
        }
    }
}

impl Settings {
    /// The tags that follow from `analysis` by the model of `card`.
    pub fn tags(&self, analysis: &Analysis, card: &Card) -> Tags {
        analysis.tags(
            Source::Fused,
            &card.name,
            &card.labels,
            self.threshold,
            self.max_tags,
        )
    }

    /// How the model is to be run.
    pub fn options(&self) -> model::Options {
        model::Options {
            provider: self.execution_provider.into(),
            device: self.device,
            threads: self.threads,
            batch_size: 1,
            labels_file: self.labels_file.as_ref().map(PathBuf::from),
        }
    }
}

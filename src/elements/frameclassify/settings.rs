// SPDX-License-Identifier: MPL-2.0

//! What the user sets of `frameclassify`.

use std::path::PathBuf;

use super::{Activation, ExecutionProvider, Scheduling};
use crate::meta::{Analysis, Source, Tags};
use crate::model::{self, Card};

pub const DEFAULT_AUDIO_MODEL: &str = "choi-yt8m13";
pub const DEFAULT_VIDEO_MODEL: &str = "efficientnet-lite-yt8m13";
/// The paper's one frame a second.
pub const DEFAULT_INTERVAL: u64 = 1_000_000_000;

pub const DEFAULT_THRESHOLD: f32 = 0.25;
pub const DEFAULT_MAX_TAGS: u32 = 3;

/// The values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub model: Option<String>,
    pub labels_file: Option<String>,
    pub execution_provider: ExecutionProvider,
    pub device: u32,
    pub threads: u32,
    pub batch_size: u32,
    pub interval: u64,
    pub threshold: f32,
    pub max_tags: u32,
    pub activation: Activation,
    pub scheduling: Scheduling,
    pub repeat_tags: bool,
    pub post_messages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            labels_file: None,
            execution_provider: ExecutionProvider::default(),
            device: 0,
            threads: 0,
            batch_size: 0,
            interval: DEFAULT_INTERVAL,
            threshold: DEFAULT_THRESHOLD,
            max_tags: DEFAULT_MAX_TAGS,
            activation: Activation::default(),
            scheduling: Scheduling::default(),
            repeat_tags: true,
            post_messages: true,
        }
    }
}

impl Settings {
    /// The tags that follow from `analysis` by the model of `card`.
    pub fn tags(&self, analysis: &Analysis, source: Source, card: &Card) -> Tags {
        analysis.tags(
            source,
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
            batch_size: self.batch_size as usize,
            labels_file: self.labels_file.as_ref().map(PathBuf::from),
        }
    }
}

// SPDX-License-Identifier: MPL-2.0
//! Inputs and outputs of one inference.

use std::{fmt, sync::Arc};

/// The input of one inference.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// RGB, `[height, width, 3]`, row-major.
    Frame(Vec<u8>),
    /// The compressed mel spectrogram of a patch, `[bands, frames]`, row-major.
    Mel(Arc<[f32]>),
    /// Embeddings of both modalities.
    Fusion {
        /// Picture embeddings, `[k, size]`, k ≥ 1; zeros when there are none.
        video: Vec<f32>,
        /// The audio embedding, `[size]`; zeros when there is none.
        audio: Vec<f32>,
        /// 1 for a modality that is present and 0 for one that is missing: video, audio.
        present: [f32; 2],
    },
}

impl Input {
    /// The lengths that items of one batch must share.
    pub(super) fn lengths(&self) -> [usize; 2] {
        match self {
            Self::Frame(frame) => [frame.len(), 0],
            Self::Mel(mel) => [mel.len(), 0],
            Self::Fusion { video, audio, .. } => [video.len(), audio.len()],
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "a picture of {} bytes", frame.len()),
            Self::Mel(mel) => write!(f, "a mel patch of {} values", mel.len()),
            Self::Fusion { video, audio, .. } => write!(
                f,
                "picture embeddings of {} values and an audio embedding of {} values",
                video.len(),
                audio.len()
            ),
        }
    }
}

/// The output of one inference; all values are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// One value per label, before the card's [`Activation`](super::Activation).
    pub tags: Vec<f32>,
    /// The embedding, if the card names its space.
    pub embedding: Option<Arc<[f32]>>,
}

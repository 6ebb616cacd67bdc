// SPDX-License-Identifier: MPL-2.0
//! A model's card: its description of itself, read by `fields` and checked against the graph by `verify`.

mod fields;
pub mod file;
mod graph;
pub mod layout;
mod verify;

use std::sync::Arc;

use super::provider::Precision;
use crate::mel::FrontEnd;

pub use self::{
    fields::{Fields, labels, sidecar},
    graph::{Element, Graph, Port},
    layout::Layout,
    verify::verify,
};

/// The largest number of values of one input: a picture of 4729 by 4729 pixels, or 16384 bands by 4096 frames. It is
/// far above what models need, and checked before memory is taken.
pub const MAX_VALUES: usize = 1 << 26;

/// A model's description of itself, checked against its graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// The model's name, e.g. `ced-yt8m13`.
    pub name: String,
    /// The kind of input.
    pub modality: Modality,
    /// One label for each value of the output `tags`, in their order.
    pub labels: Arc<[String]>,
    /// The function to apply to the output `tags`.
    pub activation: Activation,
    /// The space of its output `embedding`, if it has one.
    pub embedding: Option<Space>,
    /// Number format that the model computes in.
    pub precision: Precision,
    /// The licence of the weights.
    pub licence: String,
    /// The training material.
    pub provenance: String,
    /// Measured accuracy.
    pub metrics: String,
}

/// The input of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Modality {
    /// Patches of a mel spectrogram, float32 `[1, bands, frames]`.
    Audio {
        /// The front end of the patches, of the longest ones if their length may vary.
        front_end: FrontEnd,
        /// Minimum frames in a patch; equal to the front end's if all patches have the same length.
        min_frames: usize,
    },
    /// Pictures, uint8 RGB `[height, width, 3]`.
    Video {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// How a picture of another shape is fitted.
        fit: Fit,
        /// Central fraction of each side that is kept after fitting, in (0, 1].
        crop_fraction: f64,
    },
    /// Embeddings of pictures and sound.
    Fusion {
        /// The space of the picture embeddings.
        video: Space,
        /// The space of the audio embedding.
        audio: Space,
        /// How many picture embeddings it takes; `None`: any number.
        frames: Option<usize>,
    },
}

/// A space of embeddings: vectors are comparable only if the ids are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// For example `choi-yt8m13/1`.
    pub id: String,
    /// Values in a vector.
    pub size: usize,
}

/// The function that turns the output `tags` into probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// None: the output contains probabilities.
    None,
    /// Exponentials that sum to 1: exactly one label applies.
    Softmax,
    /// The logistic function of each value: any number of labels apply.
    Sigmoid,
}

impl Activation {
    /// Turns a model's output into probabilities, in place.
    pub fn apply(self, tags: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Sigmoid => tags
                .iter_mut()
                .for_each(|tag| *tag = 1.0 / (1.0 + (-*tag).exp())),
            Self::Softmax => {
                let largest = tags.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                tags.iter_mut()
                    .for_each(|tag| *tag = (*tag - largest).exp());
                let sum: f32 = tags.iter().sum();
                tags.iter_mut().for_each(|tag| *tag /= sum);
            }
        }
    }
}

/// How a picture is fitted into a model's input of another aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The whole picture is scaled to the input's shape.
    Stretch,
    /// The largest central part with the input's aspect ratio is used.
    Crop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_as_defined_and_large_values_do_not_overflow() {
        let applied = |activation: Activation, mut tags: [f32; 2]| {
            activation.apply(&mut tags);
            tags
        };
        assert_eq!(applied(Activation::None, [3.0, -1.0]), [3.0, -1.0]);
        assert_eq!(applied(Activation::Softmax, [1000.0, 1000.0]), [0.5, 0.5]);
        assert_eq!(applied(Activation::Sigmoid, [0.0, -1000.0]), [0.5, 0.0]);
        // 1 / (1 + 1/3) and 1 / 4.
        let [a, b] = applied(Activation::Softmax, [3f32.ln(), 0.0]);
        assert!((a - 0.75).abs() < 1e-6 && (b - 0.25).abs() < 1e-6);
        assert!((applied(Activation::Sigmoid, [3f32.ln(), 0.0])[0] - 0.75).abs() < 1e-6);
    }
}

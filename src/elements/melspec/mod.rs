// SPDX-License-Identifier: MPL-2.0

//! `melspec`: mel spectrogram patches of an audio stream, as metadata.

use gst::glib;
use gst::prelude::*;

use crate::mel;

mod downmix;
mod front_end;
mod imp;
mod state;

glib::wrapper! {
    /// The element; see the module's documentation of `imp`.
    pub struct MelSpec(ObjectSubclass<imp::MelSpec>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// A front end by the name of the network that made it known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstMelSpecPreset")]
pub enum Preset {
    /// What the model downstream was trained on; Choi's where there is none.
    #[default]
    #[enum_value(name = "Auto: what the model downstream was trained on, else choi")]
    Auto,
    /// Choi et al. 2016, and the paper's Xception.
    #[enum_value(name = "Choi: 12 kHz, 96 bands, patches of 29.12 s")]
    Choi,
    /// Han et al. 2016.
    #[enum_value(name = "Han: 22.05 kHz, 128 bands, patches of 1 s")]
    Han,
    /// YAMNet.
    #[enum_value(name = "YAMNet: 16 kHz, 64 HTK bands, patches of 0.96 s")]
    Yamnet,
    /// MusiCNN.
    #[enum_value(name = "MusiCNN: 16 kHz, 96 bands, patches of 3 s", nick = "musicnn")]
    Musicnn,
    /// CED.
    #[enum_value(name = "CED: 16 kHz, 64 HTK bands, patches of 10.08 s", nick = "ced")]
    Ced,
    /// What the other properties say, and Choi's where they say nothing.
    #[enum_value(name = "Custom: what the other properties say, choi where they say nothing")]
    Custom,
}

/// Which parts of the stream become patches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstMelSpecSegmentation")]
pub enum Segmentation {
    /// A patch each `patch-interval`.
    #[default]
    #[enum_value(name = "Sliding: a patch each patch-interval")]
    Sliding,
    /// The paper's CC.
    #[enum_value(name = "Central: one patch, from the middle of the stream (the paper's CC)")]
    Central,
    /// The paper's UC.
    #[enum_value(
        name = "Uniform: one patch, joined from the middles of ten equal parts (the paper's UC)"
    )]
    Uniform,
    /// The paper's Han.
    #[enum_value(name = "Ten: ten patches, spread evenly over the stream (Han et al.)")]
    Ten,
}

/// What happens to a window that the start or the end of the stream cuts short.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstMelSpecPartial")]
pub enum Partial {
    /// It gives no patch.
    #[enum_value(name = "Drop: it gives no patch")]
    Drop,
    /// Silence fills the patch.
    #[enum_value(name = "Zero: silence fills the patch")]
    Zero,
    /// The audio is repeated until the patch is full.
    #[default]
    #[enum_value(name = "Repeat: the audio is repeated until the patch is full")]
    Repeat,
}

impl From<Segmentation> for mel::Segmentation {
    fn from(segmentation: Segmentation) -> Self {
        match segmentation {
            Segmentation::Sliding => Self::Sliding,
            Segmentation::Central => Self::Central,
            Segmentation::Uniform => Self::Uniform,
            Segmentation::Ten => Self::Ten,
        }
    }
}

impl From<Partial> for mel::Partial {
    fn from(partial: Partial) -> Self {
        match partial {
            Partial::Drop => Self::Drop,
            Partial::Zero => Self::Zero,
            Partial::Repeat => Self::Repeat,
        }
    }
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "melspec",
        gst::Rank::NONE,
        MelSpec::static_type(),
    )
}

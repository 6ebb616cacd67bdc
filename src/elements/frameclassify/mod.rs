// SPDX-License-Identifier: MPL-2.0

//! `frameclassify`: tags and embeddings of pictures or mel patches, as metadata.

use gst::glib;
use gst::prelude::*;

use crate::elements::is_live;

mod imp;
mod picture;
mod requests;
mod results;
mod settings;
mod signal;
mod state;
mod tagger;

pub(crate) use self::settings::DEFAULT_INTERVAL;
pub use self::settings::{DEFAULT_AUDIO_MODEL, DEFAULT_VIDEO_MODEL, MAX_FRAMES};

/// What `fuzz/` feeds; no part of the API.
#[doc(hidden)]
pub mod internals {
    pub use super::picture::Picture;
}

glib::wrapper! {
    /// The element; see the module's documentation of `imp`.
    pub struct FrameClassify(ObjectSubclass<imp::FrameClassify>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// How a model's raw outputs become scores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstFrameClassifyActivation")]
pub enum Activation {
    /// What the model's card says.
    #[default]
    #[enum_value(name = "Auto: as in the model's card")]
    Auto,
    /// One label is right.
    #[enum_value(name = "Softmax: exactly one label applies")]
    Softmax,
    /// Any number of labels are right.
    #[enum_value(name = "Sigmoid: any number of labels apply")]
    Sigmoid,
    /// The outputs are scores already.
    #[enum_value(name = "None: the outputs are scores already")]
    None,
}

/// Whether media waits for results.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstFrameClassifyScheduling")]
pub enum Scheduling {
    /// `Async` in a live pipeline, else `Sync`.
    #[default]
    #[enum_value(name = "Auto: async in a live pipeline, else sync")]
    Auto,
    /// A buffer waits for its result.
    #[enum_value(name = "Sync: a buffer waits for its result")]
    Sync,
    /// Results ride on later buffers.
    #[enum_value(name = "Async: media never waits, results are attached to later buffers")]
    Async,
}

impl Scheduling {
    /// Whether media that comes in on the sink pad `pad` waits for results.
    pub(crate) fn waits(self, pad: &impl IsA<gst::Pad>) -> bool {
        match self {
            Self::Sync => true,
            Self::Async => false,
            Self::Auto => !is_live(pad),
        }
    }
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "frameclassify",
        gst::Rank::NONE,
        FrameClassify::static_type(),
    )
}

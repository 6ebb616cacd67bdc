// SPDX-License-Identifier: MPL-2.0

//! `melspec`: mel spectrogram patches of an audio stream, as metadata.

use gst::glib;
use gst::prelude::*;

use crate::elements::property_enum;
use crate::mel;
use crate::mel::parameters::{cuts, presets};

mod downmix;
mod front_end;
mod imp;
mod state;

pub(crate) use self::imp::{DEFAULT_PATCH_INTERVAL, MAX_TIME};

glib::wrapper! {
    /// The element; see the module's documentation of `imp`.
    pub struct MelSpec(ObjectSubclass<imp::MelSpec>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

macro_rules! preset {
    ($($variant:ident = $name:literal, $label:literal;)+) => {
        /// A front end by the name of the network that made it known.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
        #[enum_type(name = "GstMelSpecPreset")]
        pub enum Preset {
            /// What the model downstream was trained on; Choi's where there is none.
            #[default]
            #[enum_value(name = "What the model downstream was trained on, else choi")]
            Auto,
            $(#[doc = $label] #[enum_value(name = $label, nick = $name)] $variant,)+
            /// What the other properties say, and Choi's where they say nothing.
            #[enum_value(name = "choi, with the other properties that are set")]
            Custom,
        }

        impl Preset {
            /// The front end of that name, if it names one.
            fn named(self) -> Option<mel::Preset> {
                match self {
                    Self::Auto | Self::Custom => None,
                    $(Self::$variant => Some(mel::Preset::$variant),)+
                }
            }
        }
    };
}
presets!(preset);

cuts!(property_enum);

impl Default for Segmentation {
    fn default() -> Self {
        Self::Sliding
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self::Repeat
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

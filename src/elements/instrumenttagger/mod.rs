// SPDX-License-Identifier: MPL-2.0

//! `instrumenttagger`: instrument tags for streams that pass through untouched, encoded or raw.

use gst::glib;
use gst::prelude::*;

mod analysis;
mod branch;
mod decode;
mod imp;
mod results;
mod settings;
mod tap;

pub use results::Riding;

/// Which pictures of an encoded video are decoded for the analysis.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstInstrumentsDecode")]
pub enum Decode {
    /// Key frames where they are frequent enough for the window, else all pictures.
    #[default]
    #[enum_value(name = "Auto: key frames if there is one every half window, else all pictures")]
    Auto,
    /// Key frames only.
    #[enum_value(name = "Key frames only")]
    Keyframes,
    /// All pictures.
    #[enum_value(name = "All pictures")]
    All,
}

glib::wrapper! {
    /// The element; see the documentation of the module `imp`.
    pub struct InstrumentTagger(ObjectSubclass<imp::InstrumentTagger>)
        @extends gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "instrumenttagger",
        gst::Rank::NONE,
        InstrumentTagger::static_type(),
    )
}

// SPDX-License-Identifier: MPL-2.0

//! `avfuse`: tags from the late fusion of what was seen and what was heard.

use gst::glib;
use gst::prelude::*;

mod absence;
mod flow;
mod imp;
mod pads;
mod settings;
mod state;

pub use self::settings::DEFAULT_MODEL as DEFAULT_FUSION_MODEL;
pub(crate) use self::settings::{DEFAULT_FRAMES, DEFAULT_STRIDE, DEFAULT_WINDOW};

glib::wrapper! {
    /// The element; see the module's documentation of `imp`.
    pub struct AvFuse(ObjectSubclass<imp::AvFuse>)
        @extends gst_base::Aggregator, gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "avfuse",
        gst::Rank::NONE,
        AvFuse::static_type(),
    )
}

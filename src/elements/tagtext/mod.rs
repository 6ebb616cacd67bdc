// SPDX-License-Identifier: MPL-2.0

//! `tagtext`: the tags on buffers as a text stream.

use gst::glib;
use gst::prelude::*;

mod imp;

glib::wrapper! {
    /// The element; see the module's documentation of `imp`.
    pub struct TagText(ObjectSubclass<imp::TagText>) @extends gst::Element, gst::Object;
}

/// Which tags become text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstTagTextSource")]
pub enum Source {
    /// All of them.
    #[default]
    #[enum_value(name = "Any: all of them")]
    Any,
    /// What was heard.
    #[enum_value(name = "Audio: what was heard")]
    Audio,
    /// What was seen.
    #[enum_value(name = "Video: what was seen")]
    Video,
    /// What both together say.
    #[enum_value(name = "Fused: what both together say")]
    Fused,
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "tagtext",
        gst::Rank::NONE,
        TagText::static_type(),
    )
}

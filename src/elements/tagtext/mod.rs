// SPDX-License-Identifier: MPL-2.0

//! `tagtext`: the tags on buffers as a stream of text or timed metadata.

use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;
mod state;

glib::wrapper! {
    /// The element; see the module's documentation of `imp`.
    pub struct TagText(ObjectSubclass<imp::TagText>) @extends gst::Element, gst::Object;
}

/// Which tags become text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstTagTextSource")]
pub enum Source {
    /// All of them; plain text and WebVTT show one at a time: fused tags, or else those of the sound.
    #[default]
    #[enum_value(
        name = "Any: all; text and webvtt show fused tags if available, else those of the sound"
    )]
    Any,
    /// What was heard.
    #[enum_value(name = "Audio: instruments that are heard")]
    Audio,
    /// What was seen.
    #[enum_value(name = "Video: instruments that are seen")]
    Video,
    /// What both together say.
    #[enum_value(name = "Fused: results of sound and pictures together")]
    Fused,
}

/// How tags are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstTagTextFormat")]
pub enum Format {
    /// The first that the element downstream takes.
    #[default]
    #[enum_value(name = "Auto: the first format that the element downstream accepts")]
    Auto,
    /// `application/x-json`.
    #[enum_value(name = "JSON: one object per line")]
    Json,
    /// `text/x-raw, format=utf8`.
    #[enum_value(name = "Text: labels with their scores")]
    Text,
    /// `application/x-subtitle-vtt`.
    #[enum_value(name = "WebVTT: cues with a JSON object", nick = "webvtt")]
    WebVtt,
    /// `meta/x-id3, parsed=true`.
    #[enum_value(name = "ID3: timed metadata with a JSON object")]
    Id3,
    /// `meta/x-klv, parsed=true`.
    #[enum_value(name = "KLV: timed metadata with a JSON object")]
    Klv,
}

/// Which time a text has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstTagTextTiming")]
pub enum Timing {
    /// When the result was known.
    #[default]
    #[enum_value(name = "Known: when the result was ready")]
    Known,
    /// The time that the result is about.
    #[enum_value(name = "Happened: the analysed time")]
    Happened,
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

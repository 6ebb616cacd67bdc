// SPDX-License-Identifier: MPL-2.0

//! `tagtext`: converts the tags on buffers to a stream of text or timed metadata.

use gst::glib;
use gst::prelude::*;

mod imp;
mod settings;
mod state;

glib::wrapper! {
    /// The element; see the documentation of the module `imp`.
    pub struct TagText(ObjectSubclass<imp::TagText>) @extends gst::Element, gst::Object;
}

/// Which tags become text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstTagTextSource")]
pub enum Source {
    /// All tags. Plain text and WebVTT show one source at a time: fused tags if available, else those of the sound,
    /// else those of the pictures.
    #[default]
    #[enum_value(
        name = "Any: all; text and webvtt show fused tags if available, else those of the sound"
    )]
    Any,
    /// Instruments that are heard.
    #[enum_value(name = "Audio: instruments that are heard")]
    Audio,
    /// Instruments that are seen.
    #[enum_value(name = "Video: instruments that are seen")]
    Video,
    /// Results of sound and pictures together.
    #[enum_value(name = "Fused: results of sound and pictures together")]
    Fused,
}

/// Output format of the tags.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstTagTextFormat")]
pub enum Format {
    /// The first format that the element downstream accepts.
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

/// Timestamps of the texts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstTagTextTiming")]
pub enum Timing {
    /// The time when the result was ready.
    #[default]
    #[enum_value(name = "Known: when the result was ready")]
    Known,
    /// The analysed time.
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

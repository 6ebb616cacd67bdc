// SPDX-License-Identifier: MPL-2.0

//! The elements: each translates between GStreamer and the pure modules.

mod analysis;
pub mod avfuse;
pub mod frameclassify;
mod inference;
pub mod instrumenttagger;
pub mod melspec;
pub mod tagtext;

use std::sync::atomic::{AtomicU32, Ordering};

use gst::prelude::*;

use crate::mel::FrontEnd;

/// Name of the query by which `melspec` asks downstream for the front end that a model was
/// trained on; the answer has the card's front-end keys as string fields.
pub(crate) const FRONT_END_QUERY: &str = "instruments-front-end";

/// The field of the answer with the frames of the shortest patch that the model takes; `patch-frames` are the longest's.
pub(crate) const MIN_FRAMES: &str = "min-patch-frames";

/// Declares the type of a property with the values of an enum that knows no GStreamer, from the table of that enum.
macro_rules! property_enum {
    ($module:ident $type:ident, $property:literal, $doc:literal:
        $($variant:ident = $name:literal, $label:literal;)+) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, gst::glib::Enum)]
        #[enum_type(name = $property)]
        pub enum $type {
            $(#[doc = $label] #[enum_value(name = $label, nick = $name)] $variant),+
        }

        impl From<$type> for $crate::$module::$type {
            fn from(value: $type) -> Self {
                match value { $($type::$variant => Self::$variant),+ }
            }
        }
    };
}
pub(crate) use property_enum;

/// Nanoseconds to seconds.
pub(crate) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Whether what comes to the sink pad `pad` is live, by a latency query.
pub(crate) fn is_live(pad: &impl IsA<gst::Pad>) -> bool {
    let mut query = gst::query::Latency::new();
    pad.peer_query(&mut query) && query.result().0
}

/// The phase of an element's analysis in a live pipeline, as a share of its interval: 0 for the first element of the
/// process. Streams that start together would otherwise need the model at the same moments.
pub(crate) fn phase() -> f64 {
    static ELEMENTS: AtomicU32 = AtomicU32::new(0);
    // Multiples of the golden ratio, modulo 1, are spread evenly however many there are.
    const GOLDEN_RATIO: u32 = 0x9e37_79b9;
    let number = ELEMENTS.fetch_add(1, Ordering::Relaxed);
    f64::from(number.wrapping_mul(GOLDEN_RATIO)) / 2f64.powi(32)
}

/// Raw video of any format and interlace mode.
pub(crate) fn video_caps() -> gst::Caps {
    let mut caps = gst_video::VideoCapsBuilder::new().build();
    // One field a buffer.
    let fields = gst_video::VideoCapsBuilder::new()
        .features([gst_video::CAPS_FEATURE_FORMAT_INTERLACED])
        .field("interlace-mode", "alternate");
    caps.merge(fields.build());
    caps
}

/// The templates of the pads `sink` and `src`, which are always there.
pub(crate) fn always_pads(sink: &gst::Caps, src: &gst::Caps) -> Vec<gst::PadTemplate> {
    use gst::{PadDirection::*, PadPresence::Always, PadTemplate};
    let template = |name, direction, caps| {
        PadTemplate::new(name, direction, Always, caps).expect("a valid pad template")
    };
    vec![template("sink", Sink, sink), template("src", Src, src)]
}

/// What the user sees of a model's error.
pub(crate) fn model_error(err: &crate::model::Error) -> gst::ErrorMessage {
    gst::error_msg!(gst::LibraryError::Init, ("{}", err))
}

/// What an audio model was trained on.
pub(crate) struct Trained {
    /// Its patches are the longest.
    pub front_end: FrontEnd,
    /// Frames in the shortest patch.
    pub min_frames: usize,
}

impl Trained {
    /// Whether the model takes patches of `frames` frames.
    pub fn takes(&self, frames: usize) -> bool {
        (self.min_frames..=self.front_end.patch_frames).contains(&frames)
    }

    /// The parameters of `front_end` that differ from the model's, as part of a sentence; `None` when all are the same.
    pub fn contradictions(&self, front_end: &FrontEnd) -> Option<String> {
        let differences: Vec<_> = front_end
            .differences(&self.front_end)
            .into_iter()
            .filter(|(name, ..)| *name != "patch-frames" || !self.takes(front_end.patch_frames))
            .map(|(name, ours, theirs)| format!("{name} is {ours}, the model's is {theirs}"))
            .collect();
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

// SPDX-License-Identifier: MPL-2.0

//! The instruments of a stream as its tags, for players, muxers and `gst-discoverer-1.0`.

use gst::TagMergeMode::Append;
use gst::glib::{self, gstr};
use gst::prelude::*;
use gst::tags::{self, Keywords};

/// The tag `instruments`: a list of strings, highest score first. Readers of a single string get the list joined with
/// ", " (`gst_tag_merge_strings_with_comma`).
pub enum Instruments {}

impl<'a> tags::Tag<'a> for Instruments {
    type TagType = &'a str;
    const TAG_NAME: &'static glib::GStr = gstr!("instruments");
}

impl tags::CustomTag<'_> for Instruments {
    const FLAG: gst::TagFlag = gst::TagFlag::Meta;
    const NICK: &'static glib::GStr = gstr!("musical instruments");
    const DESCRIPTION: &'static glib::GStr =
        gstr!("musical instruments in the stream, the most certain first");

    fn merge_func(src: &glib::Value) -> glib::Value {
        tags::merge_strings_with_comma(src)
    }
}

/// Makes the tag known to GStreamer.
pub(super) fn register() {
    if !tags::tag_exists(<Instruments as tags::Tag>::TAG_NAME) {
        tags::register::<Instruments>();
    }
}

/// The tag event of the stream that comes in on `sink`, with `labels` as `keywords` and as `instruments`. It replaces
/// the stream's own event, so it has the stream's other tags too, except those that a similar element added.
pub fn stream_tags<'a>(sink: &gst::Pad, labels: impl IntoIterator<Item = &'a str>) -> gst::Event {
    let mut list = (0..)
        .map_while(|index| sink.sticky_event::<gst::event::Tag>(index))
        .map(|event| event.tag_owned())
        .find(|list| list.scope() == gst::TagScope::Stream)
        .unwrap_or_default();
    let tags = list.make_mut();
    let of = |tags: &gst::TagListRef| -> Vec<String> {
        let named = tags.iter_tag::<Instruments>();
        named.map(|value| value.get().to_owned()).collect()
    };
    let named = of(tags);
    let keywords: Vec<_> = tags
        .iter_tag::<Keywords>()
        .map(|value| value.get().to_owned())
        .filter(|keyword| !named.contains(keyword))
        .collect();
    tags.remove::<Keywords>();
    tags.remove::<Instruments>();
    for keyword in &keywords {
        tags.add::<Keywords>(&keyword.as_str(), Append);
    }
    for label in labels {
        if !keywords.iter().any(|keyword| keyword == label) {
            tags.add::<Keywords>(&label, Append);
        }
        tags.add::<Instruments>(&label, Append);
    }
    gst::event::Tag::new(list)
}

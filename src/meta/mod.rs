// SPDX-License-Identifier: MPL-2.0

//! What rides on buffers, events and the bus.
//!
//! [`Tags`] (an analysis result) and [`Features`] (a mel patch or an embedding) are written to and
//! read from `GstStructure`s here and nowhere else, so every field name exists once. On buffers
//! they are `GstCustomMeta`s without meta tags, which converters and encoders keep. What has no
//! buffer to ride on (a result that the end of a stream completes) travels in a serialised
//! downstream event with the same structures.

#![deny(missing_docs)]

#[cfg(feature = "v1_24")]
mod analytics;
mod features;
mod stream_tags;
mod tags;
#[cfg(feature = "v1_26")]
mod tensors;

pub use features::{Features, Kind};
pub use stream_tags::{Instruments, stream_tags};
pub use tags::{Source, Tags};

/// Name of the `GstCustomMeta` that holds [`Tags`].
pub const TAGS_META: &str = "InstrumentTagsMeta";
/// Name of the `GstCustomMeta` that holds [`Features`].
pub const FEATURES_META: &str = "InstrumentFeaturesMeta";
/// Name of the element message that announces [`Tags`].
pub const TAGS_MESSAGE: &str = "instrument-tags";
/// Name of the element message that announces [`Features`].
pub const FEATURES_MESSAGE: &str = "instrument-features";
/// Name of the downstream event that carries metadata without a buffer.
pub const EVENT: &str = "instrument-metadata";
/// The field of that event with the result over the whole stream.
const CLIP: &str = "clip";

/// Registers both metas and the tag; called once, when the plugin is loaded.
pub fn register() {
    stream_tags::register();
    for name in [TAGS_META, FEATURES_META] {
        if !gst::meta::CustomMeta::is_registered(name) {
            gst::meta::CustomMeta::register_simple(name);
        }
    }
}

/// Adds `items` to the list in field `field` of `buffer`'s custom meta `meta`, which is created when missing.
fn attach(
    buffer: &mut gst::BufferRef,
    meta: &str,
    field: &str,
    items: impl Iterator<Item = gst::Structure>,
) {
    let present = gst::meta::CustomMeta::from_buffer(buffer, meta).ok();
    let present = list(present.as_ref().map(|meta| meta.structure()), field);
    let all: Vec<_> = present
        .map(|structure| structure.to_owned())
        .chain(items)
        .collect();
    if all.is_empty() {
        return;
    }
    let value = gst::Array::new(all);
    if let Ok(mut meta) = gst::meta::CustomMeta::from_mut_buffer(buffer, meta) {
        meta.mut_structure().set(field, value);
    } else {
        gst::meta::CustomMeta::add(buffer, meta)
            .expect("the plugin registers its metas when it is loaded")
            .mut_structure()
            .set(field, value);
    }
}

/// The structures in the list `field` of `structure`; empty without such a list.
fn list<'a>(
    structure: Option<&'a gst::StructureRef>,
    field: &str,
) -> impl Iterator<Item = &'a gst::StructureRef> {
    let array = structure.and_then(|structure| structure.get::<gst::ArrayRef>(field).ok());
    let values = array.map_or(&[][..], |array| array.as_slice());
    values.iter().filter_map(|value| value.get().ok())
}

/// A serialised downstream event that carries `tags` and `features` in place of a buffer.
pub fn event(tags: &[Tags], features: &[Features]) -> gst::Event {
    gst::event::CustomDownstream::new(
        gst::Structure::builder(EVENT)
            .field(
                tags::FIELD,
                gst::Array::new(tags.iter().map(Tags::to_structure)),
            )
            .field(
                features::FIELD,
                gst::Array::new(features.iter().map(Features::to_structure)),
            )
            .build(),
    )
}

/// A serialised downstream event with the result over the whole stream, at its end.
pub fn clip_event(tags: &Tags) -> gst::Event {
    let list = gst::Array::new([tags.to_structure()]);
    let structure = gst::Structure::builder(EVENT).field(CLIP, list).build();
    gst::event::CustomDownstream::new(structure)
}

/// The content of an event made by [`clip_event`]; `None` for every other event.
pub fn clip_from_event(event: &gst::EventRef) -> Option<Tags> {
    let structure = event.structure().filter(|s| s.name() == EVENT)?;
    list(Some(structure), CLIP).find_map(Tags::from_structure)
}

/// The content of an event made by [`event`]; `None` for every other event.
pub fn from_event(event: &gst::EventRef) -> Option<(Vec<Tags>, Vec<Features>)> {
    let structure = event.structure().filter(|s| s.name() == EVENT)?;
    Some((
        tags::from_structure(Some(structure)),
        features::from_structure(Some(structure)),
    ))
}

// SPDX-License-Identifier: MPL-2.0

//! Tags as GStreamer's own analytics metadata, from GStreamer 1.24 on.

use gst::glib::Quark;
use gst_analytics::AnalyticsRelationMeta;
use gst_analytics::prelude::*;

use super::Tags;

/// Adds one classification for each of `tags`, in their order, to `buffer`'s relation meta, which is created when missing.
pub(super) fn attach(tags: &[Tags], buffer: &mut gst::BufferRef) {
    if tags.is_empty() {
        return;
    }
    if buffer.meta::<AnalyticsRelationMeta>().is_none() {
        AnalyticsRelationMeta::add(buffer);
    }
    let mut meta = buffer
        .meta_mut::<AnalyticsRelationMeta>()
        .expect("it was there or was added");
    for tags in tags {
        let (quarks, scores): (Vec<_>, Vec<_>) = tags
            .scores
            .iter()
            .map(|(label, score)| (Quark::from_str(label), *score))
            .unzip();
        meta.add_cls_mtd(&scores, &quarks)
            .expect("a buffer has room for fewer than 2³² results");
    }
}

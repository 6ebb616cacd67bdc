// SPDX-License-Identifier: MPL-2.0

//! The streams of the bin, and what happens when a buffer or the end of one passes.

use std::sync::atomic::Ordering;

use gst::glib;
use gst::subclass::prelude::*;

use super::branch::{Branch, Passing};
use super::imp::InstrumentTagger;
use crate::meta::{Source, Tags};

/// The two streams there may be, and what is common to them.
#[derive(Default)]
pub struct Streams {
    pub video: Option<Branch>,
    pub audio: Option<Branch>,
    /// The ends of streams that wait for the analysis, and whose they are.
    pub held: Vec<(Source, gst::Event)>,
    /// Whether the analysis has ended.
    pub ended: bool,
    /// Whether a part of the analysis that both share failed.
    pub failed: bool,
}

impl Streams {
    pub fn slot(&mut self, source: Source) -> &mut Option<Branch> {
        match source {
            Source::Audio => &mut self.audio,
            _ => &mut self.video,
        }
    }

    /// Forgets what belongs to the run before.
    pub fn restart(&mut self) {
        self.held.clear();
        (self.ended, self.failed) = (false, false);
        self.branches().for_each(Branch::restart);
    }

    pub fn branches(&self) -> impl Iterator<Item = &Branch> {
        self.video.iter().chain(&self.audio)
    }
}

/// The modality beside `source`.
pub fn other(source: Source) -> Source {
    match source {
        Source::Audio => Source::Video,
        _ => Source::Audio,
    }
}

/// What a branch asks of the bin about one stream.
pub struct Stream {
    pub tagger: glib::WeakRef<super::InstrumentTagger>,
    pub source: Source,
}

impl Stream {
    fn branch(&self, imp: &InstrumentTagger) -> Option<Branch> {
        imp.streams.lock().unwrap().slot(self.source).clone()
    }
}

impl Passing for Stream {
    fn begins(&self) -> bool {
        let Some(tagger) = self.tagger.upgrade() else {
            return false;
        };
        let imp = tagger.imp();
        imp.streaming.store(true, Ordering::Relaxed);
        self.branch(imp)
            .is_some_and(|branch| imp.is_live(&branch.sink))
    }

    fn pass(&self, buffer: &mut gst::Buffer) {
        let Some(tagger) = self.tagger.upgrade() else {
            return;
        };
        let imp = tagger.imp();
        let named = imp.settings.lock().unwrap().source.named();
        let (repeat, when) = {
            let inference = imp.inference.lock().unwrap();
            let repeat = inference.repeat_tags.then_some(inference.tag_lifetime);
            (repeat, inference.stream_tags)
        };
        let Some(branch) = self.branch(imp) else {
            return;
        };
        let tags = branch.results.lock().unwrap().next(buffer.pts(), repeat);
        if let Some(latest) = tags.iter().rfind(|tags| tags.fresh && tags.source == named) {
            branch.push_stream_tags(when, latest, false);
        }
        if !tags.is_empty() {
            Tags::attach(&tags, buffer.make_mut());
        }
    }

    fn holds_end(&self, end: &gst::Event) -> bool {
        let Some(tagger) = self.tagger.upgrade() else {
            return false;
        };
        let imp = tagger.imp();
        let Some(branch) = self.branch(imp) else {
            return false;
        };
        let live = imp.is_live(&branch.sink);
        {
            let mut streams = imp.streams.lock().unwrap();
            if !live && !streams.ended {
                streams.held.push((self.source, end.clone()));
                return true;
            }
        }
        branch.push_rest(imp.inference.lock().unwrap().stream_tags);
        false
    }
}

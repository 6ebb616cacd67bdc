// SPDX-License-Identifier: MPL-2.0

//! One stream through the element: what comes in on `sink` leaves on `src` in the same thread, with the tags that are
//! known by then, and a copy goes to the analysis.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::branch::{Admission, Branch};
use super::results::Results;
use crate::elements::inference::StreamTags;
use crate::grid::Grid;
use crate::meta::{self, Source, Tags};

/// The pads of one stream, and what belongs to them.
pub struct Tap {
    pub source: Source,
    pub sink: gst::Pad,
    pub src: gst::Pad,
    pub results: Mutex<Results>,
    branch: Mutex<Option<Arc<Branch>>>,
    flow: Mutex<Flow>,
    counts: Counts,
}

/// What is known of the stream in this run.
#[derive(Default)]
struct Flow {
    /// Whether media must not wait; unknown before the first buffer.
    live: Option<bool>,
    /// The format of pictures that are not encoded: of these, the analysis gets those that it needs.
    raw: Option<RawVideo>,
    /// The end of the stream, while it waits for the analysis.
    end: Option<gst::Event>,
}

#[derive(Default)]
struct RawVideo {
    grid: Grid,
    /// Whether a copy of the memory costs no more than reading it.
    is_mapped: bool,
}

/// Counts of buffers since the element started.
#[derive(Default)]
struct Counts {
    passed: AtomicU64,
    analysed: AtomicU64,
    dropped: AtomicU64,
}

impl Tap {
    pub fn new(source: Source, sink: gst::Pad, src: gst::Pad) -> Self {
        Self {
            source,
            sink,
            src,
            results: Mutex::default(),
            branch: Mutex::default(),
            flow: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub fn branch(&self) -> Option<Arc<Branch>> {
        self.branch.lock().unwrap().clone()
    }

    pub fn set_branch(&self, branch: Option<Arc<Branch>>) {
        *self.branch.lock().unwrap() = branch;
    }

    /// Forgets what belongs to the run before.
    pub fn restart(&self) {
        *self.results.lock().unwrap() = Results::default();
        *self.flow.lock().unwrap() = Flow::default();
        let Counts {
            passed,
            analysed,
            dropped,
        } = &self.counts;
        for count in [passed, analysed, dropped] {
            count.store(0, Relaxed);
        }
    }

    /// Whether the stream is live, which `find_out` says once a run.
    pub fn is_live(&self, find_out: impl FnOnce() -> bool) -> bool {
        let known = self.flow.lock().unwrap().live;
        known.unwrap_or_else(|| {
            let live = find_out();
            self.flow.lock().unwrap().live = Some(live);
            live
        })
    }

    /// Hands a copy of `buffer` to the analysis, if it needs it: pictures that are not encoded one per `interval`.
    pub fn feed(&self, buffer: &gst::Buffer, interval: u64, live: bool, other: Option<&Branch>) {
        self.counts.passed.fetch_add(1, Relaxed);
        let Some(branch) = self.branch() else { return };
        // The memory is shared, the rest is not: some parsers set timestamps on buffers that others hold too.
        let mut copy = buffer.copy();
        {
            let mut flow = self.flow.lock().unwrap();
            if let Some(raw) = &mut flow.raw {
                let reverse = self.results.lock().unwrap().segment.rate() < 0.0;
                let time = buffer.pts().map(gst::ClockTime::nseconds);
                if !raw.grid.takes(time, interval, reverse) {
                    return;
                }
                // A camera has few buffers, which it needs again.
                if live
                    && raw.is_mapped
                    && let Ok(own) = buffer.copy_deep()
                {
                    copy = own;
                }
            }
        }
        self.catch_up(&branch);
        let count = match branch.push(copy, live, other) {
            Admission::Analysed => &self.counts.analysed,
            Admission::Dropped => &self.counts.dropped,
            Admission::Closed => return,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Hands the serialised `event` to the analysis, and notes what it says about the stream.
    pub fn feed_event(&self, event: &gst::Event) {
        match event.view() {
            gst::EventView::StreamStart(_) => self.results.lock().unwrap().clear(),
            gst::EventView::Caps(caps) => {
                let caps = caps.caps();
                let raw = caps
                    .structure(0)
                    .is_some_and(|caps| caps.name() == "video/x-raw");
                self.flow.lock().unwrap().raw = raw.then(|| RawVideo {
                    is_mapped: gst_video::VideoInfo::from_caps(caps).is_ok()
                        && caps.features(0).is_none_or(|features| {
                            features.is_equal(&gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY)
                        }),
                    ..RawVideo::default()
                });
            }
            gst::EventView::Segment(segment) => {
                if let Some(segment) = segment.segment().downcast_ref() {
                    self.results.lock().unwrap().segment = segment.clone();
                }
            }
            _ => (),
        }
        let Some(branch) = self.branch() else { return };
        if event.type_() == gst::EventType::Eos {
            self.catch_up(&branch);
        }
        if !branch.is_fresh() || event.type_() == gst::EventType::StreamStart {
            branch.push_event(event.clone());
        }
    }

    /// Hands the analysis the events of a stream that began before it.
    fn catch_up(&self, branch: &Branch) {
        if branch.is_fresh() {
            self.sink.sticky_events_foreach(|event| {
                if event.type_() != gst::EventType::Eos {
                    branch.push_event(event.clone());
                }
                std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
            });
        }
    }

    /// Puts the tags on `buffer` that it carries; returns the last fresh ones of `named`. `repeat`: see [`Results::next`].
    pub fn attach(
        &self,
        buffer: &mut gst::Buffer,
        named: Source,
        repeat: Option<u64>,
    ) -> Option<Tags> {
        let tags = self.results.lock().unwrap().next(buffer.pts(), repeat);
        if !tags.is_empty() {
            Tags::attach(&tags, buffer.make_mut());
        }
        let fresh = |tags: &Tags| tags.fresh && tags.source == named;
        tags.into_iter().rfind(fresh)
    }

    /// Keeps the end of the stream until [`release_end`](Self::release_end).
    pub fn hold_end(&self, end: gst::Event) {
        self.flow.lock().unwrap().end = Some(end);
    }

    pub fn holds_end(&self) -> bool {
        self.flow.lock().unwrap().end.is_some()
    }

    /// Forgets the end that waits, after a flush.
    pub fn drop_end(&self) {
        self.flow.lock().unwrap().end = None;
    }

    /// Sends the end on that waits, after what no buffer has carried; `when` is about tag events.
    pub fn release_end(&self, when: StreamTags) {
        // Whatever else passes comes before or after it.
        let _lock = self.sink.stream_lock();
        let end = self.flow.lock().unwrap().end.take();
        if let Some(end) = end {
            self.push_rest(when);
            self.src.push_event(end);
        }
    }

    /// Sends on what no buffer has carried, at the end of the stream.
    pub fn push_rest(&self, when: StreamTags) {
        let (rest, clip) = {
            let mut results = self.results.lock().unwrap();
            (results.rest(), results.clip.take())
        };
        if !rest.is_empty() {
            self.src.push_event(meta::event(&rest, &[]));
        }
        if let Some(clip) = clip {
            self.push_stream_tags(when, &clip, true);
        }
    }

    /// Sends the tag event on that `tags` ask for by `when`; `clip` says that they are about the whole stream.
    pub fn push_stream_tags(&self, when: StreamTags, tags: &Tags, clip: bool) {
        let event = {
            let mut results = self.results.lock().unwrap();
            results.named.event(when, &self.sink, tags, clip)
        };
        if let Some(event) = event {
            self.src.push_event(event);
        }
    }

    /// A flush ended: nothing of before counts.
    pub fn flushed(&self) {
        self.results.lock().unwrap().clear();
        let mut flow = self.flow.lock().unwrap();
        flow.end = None;
        if let Some(raw) = &mut flow.raw {
            raw.grid.restart();
        }
    }

    /// Counts of this run, as fields of `stats`.
    pub fn stats(&self) -> gst::Structure {
        let count = |count: &AtomicU64| count.load(Relaxed);
        let backlog = self
            .branch()
            .map_or(gst::ClockTime::ZERO, |branch| branch.backlog());
        gst::Structure::builder(self.source.name())
            .field("passed", count(&self.counts.passed))
            .field("analysed", count(&self.counts.analysed))
            .field("dropped", count(&self.counts.dropped))
            .field("backlog", backlog)
            .build()
    }
}

// SPDX-License-Identifier: MPL-2.0

//! How data flows through `avfuse`: it reads both modalities side by side, has the windows fused that are complete, and
//! sends the media on.

use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad};

use super::imp::{AvFuse, CAT, Flow};
use super::pads::{is_gap, is_gap_event, running};
use super::state::{State, analyse};
use crate::elements::inference::{Latest, Named, StreamTags};
use crate::elements::model_error;
use crate::fusion::{Skipped, Window};
use crate::meta::{self, Features, Kind, Source, Tags};
use crate::model;

impl AvFuse {
    /// Takes what has come, and sends at most one buffer of the media on; `timeout`: in a live pipeline its time has
    /// come, whatever is missing.
    pub(super) fn pass(&self, timeout: bool) -> Flow<gst::FlowSuccess> {
        let pads = self.pads.lock().unwrap().clone();
        let Some((media, other)) = pads.media() else {
            return Err(gst::FlowError::Eos);
        };
        if media.is_eos() {
            return self.outlast(other, timeout);
        }
        let Some(buffer) = media.peek_buffer() else {
            // The media is late: what the other pad brings would only pile up.
            if let Some(other) = other
                && self.may_pass(&other, timeout)?
                && let Some(buffer) = other.pop_buffer()
            {
                self.read(&other, &buffer)?;
                let tags = self.fuse_due(timeout, None)?;
                self.push_tags(tags);
            }
            return wait(timeout);
        };
        let now = running(&media, buffer.pts(), None).map(|span| span.start);
        if let Some((other, now)) = other.zip(now) {
            self.catch_up(&other, now, timeout)?;
        }
        drop(buffer);
        let source = self.source(&media);
        let now = now.unwrap_or_default();
        if self.with_state(|state| state.is_ahead(source))? {
            gst::debug!(CAT, imp = self, "The media's next stream ends the clip");
            self.end_clip()?;
            self.with_state(|state| state.follow(Some(source), now))?;
        } else {
            self.with_state(|state| state.settle(now))?;
        }
        let Some(buffer) = media.pop_buffer() else {
            return Ok(gst::FlowSuccess::Ok);
        };
        self.with_state(|state| {
            state.segment = media.segment().downcast().unwrap_or_default();
        })?;
        self.read(&media, &buffer)?;
        self.forward(buffer, timeout)
    }

    /// Whether `other` may be read on while the media is late: beyond the media's stream only when its time has come.
    fn may_pass(&self, other: &AggregatorPad, timeout: bool) -> Flow<bool> {
        let source = self.source(other);
        self.with_state(|state| {
            if timeout {
                state.settle(state.position(source).unwrap_or(0));
            }
            timeout || !state.is_ahead(source)
        })
    }

    /// Reads the other modality up to running time `now`.
    fn catch_up(&self, other: &AggregatorPad, now: u64, timeout: bool) -> Flow<()> {
        let source = self.source(other);
        let behind =
            || self.with_state(|state| state.position(source).is_none_or(|time| time <= now));
        while behind()? {
            let Some(buffer) = other.pop_buffer() else {
                if other.is_eos() || timeout {
                    break;
                }
                return Err(AGGREGATOR_FLOW_NEED_DATA);
            };
            self.read(other, &buffer)?;
            if buffer.pts().is_none() {
                // Without timestamps nothing says how far it is.
                break;
            }
        }
        Ok(())
    }

    /// After the end of the media: what the other modality still brings, and the end.
    fn outlast(&self, other: Option<AggregatorPad>, timeout: bool) -> Flow<gst::FlowSuccess> {
        if let Some(other) = other.filter(|other| !other.is_eos()) {
            let Some(buffer) = other.pop_buffer() else {
                return wait(timeout);
            };
            self.read(&other, &buffer)?;
            let tags = self.fuse_due(false, None)?;
            self.push_tags(tags);
            return Ok(gst::FlowSuccess::Ok);
        }
        self.end_clip()?;
        if self.with_state(|state| state.follow(None, 0))? {
            self.end_clip()?;
        }
        Err(gst::FlowError::Eos)
    }

    /// What is left of a clip, and the result for all of it.
    fn end_clip(&self) -> Flow<()> {
        let tags = self.fuse_all(None, State::last)?;
        self.push_tags(tags);
        if let Some(whole) = self.with_state(|state| state.whole())?
            && let Some(clip) = self.fuse(&whole, None, true)?
        {
            self.push_event(meta::clip_event(&clip));
        }
        self.with_state(|state| state.named = Named::default())?;
        Ok(())
    }

    /// Sends a media buffer on, with the tags of the windows that have ended.
    fn forward(&self, mut buffer: gst::Buffer, timeout: bool) -> Flow<gst::FlowSuccess> {
        let fresh = self.fuse_due(timeout, buffer.pts())?;
        if is_gap_event(&buffer) {
            // The base class makes empty buffers of gap events; downstream gets the event back.
            self.push_tags(fresh);
            if let Some(pts) = buffer.pts() {
                self.push_event(
                    gst::event::Gap::builder(pts)
                        .duration(buffer.duration())
                        .build(),
                );
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        if !fresh.is_empty() {
            Tags::attach(&fresh, buffer.make_mut());
        } else if let Some(latest) = self.latest(buffer.pts())? {
            Tags::attach(&[latest], buffer.make_mut());
        }
        if let Some(pts) = buffer.pts() {
            let end = pts.saturating_add(buffer.duration().unwrap_or_default());
            self.obj().set_position(end);
        }
        let finished = self.obj().finish_buffer(buffer)?;
        for event in self.with_state(|state| std::mem::take(&mut state.early))? {
            self.push_event(event);
        }
        Ok(finished)
    }

    /// The latest tags, for a buffer without any of its own at `position`.
    fn latest(&self, position: Option<gst::ClockTime>) -> Flow<Option<Tags>> {
        let (repeat, lifetime) = {
            let inference = self.inference.lock().unwrap();
            (inference.repeat_tags, inference.tag_lifetime)
        };
        self.with_state(|state| {
            let latest = state.latest.as_ref().filter(|_| repeat)?;
            latest.at(position, lifetime)
        })
    }

    /// Takes the embeddings that `buffer` carries, and its time.
    fn read(&self, pad: &AggregatorPad, buffer: &gst::BufferRef) -> Flow<()> {
        let source = self.source(pad);
        if let Some(span) = running(pad, buffer.pts(), buffer.duration()) {
            let is_media = self.pads.lock().unwrap().is_media(pad);
            let begins_anew =
                self.with_state(|state| state.advance(source, span, is_gap(buffer), is_media))?;
            if begins_anew {
                gst::debug!(
                    CAT,
                    obj = pad,
                    "A jump back to {}: windows begin anew",
                    time(span.start)
                );
            }
        }
        let mut embeddings = Features::of_kind(buffer, Kind::Embedding);
        if embeddings.is_empty()
            && let Some(fusion) = &*self.fusion.lock().unwrap()
        {
            embeddings.extend(Features::of_tensor(buffer, &fusion.space(source).id));
        }
        self.collect(pad, &embeddings)
    }

    pub(super) fn collect(&self, pad: &AggregatorPad, features: &[Features]) -> Flow<()> {
        let source = self.source(pad);
        let fusion = self.fusion.lock().unwrap().clone();
        for features in features
            .iter()
            .filter(|features| features.kind == Kind::Embedding)
        {
            if let Some(fusion) = &fusion
                && let Err(err) = fusion.check(source, &features.id, features.data.len())
            {
                return Err(self.fail(&err));
            }
            if features.blank || features.media < 0.5 {
                // Silence, a black picture or a gap is no evidence: the modality counts as absent.
                gst::log!(
                    CAT,
                    obj = pad,
                    "The embedding at {} is left out: blank {}, media {}",
                    features.start.display(),
                    features.blank,
                    features.media
                );
                continue;
            }
            let Some(span) = running(pad, features.start, features.duration) else {
                gst::debug!(
                    CAT,
                    imp = self,
                    "An embedding without a running time is left out"
                );
                continue;
            };
            let (values, still) = (features.data.clone(), features.still);
            self.with_state(|state| state.collect(source, span, values, still))?;
        }
        Ok(())
    }

    /// The tags of the windows for which everything has come that will.
    fn fuse_due(&self, timeout: bool, timestamp: Option<gst::ClockTime>) -> Flow<Vec<Tags>> {
        let going = self.pads.lock().unwrap().going();
        gst::trace!(CAT, imp = self, "Going {going:?}, timeout {timeout}");
        // A timestamp that is far ahead ends no window before its time.
        let late = timeout.then(|| {
            let now = self.obj().current_running_time();
            now.map_or(u64::MAX, |now| now.nseconds())
        });
        self.fuse_all(timestamp, |state| state.due(going, late))
    }

    /// The tags of the windows that `next` gives, until there are no more or a flush or the end of the element's work
    /// cancels that.
    fn fuse_all(
        &self,
        timestamp: Option<gst::ClockTime>,
        next: impl Fn(&mut State) -> Option<Window>,
    ) -> Flow<Vec<Tags>> {
        let mut fused = Vec::new();
        loop {
            let (window, skipped) = self.with_state(|state| (next(state), state.skipped()))?;
            if let Some(Skipped { ends, reason }) = skipped {
                gst::debug!(
                    CAT,
                    imp = self,
                    "The windows that end from {} to {} are skipped: {reason:?}",
                    time(ends.start),
                    time(ends.end)
                );
            }
            let Some(window) = window else { break };
            let Some(tags) = self.fuse(&window, timestamp, false)? else {
                break;
            };
            fused.push(tags);
        }
        Ok(fused)
    }

    /// Runs the model over `window` and announces the result; `clip` says that it is about the whole stream. A flush or
    /// the end of the element's work cancels that: then there is none.
    fn fuse(
        &self,
        window: &Window,
        timestamp: Option<gst::ClockTime>,
        clip: bool,
    ) -> Flow<Option<Tags>> {
        let fusion = self.fusion.lock().unwrap().clone();
        let fusion = fusion.ok_or(gst::FlowError::Flushing)?;
        let inference = self.inference.lock().unwrap().clone();
        let (segment, frames) = self.with_state(|state| (state.segment.clone(), state.frames()))?;
        // No lock is held while the model runs.
        let analysis = match analyse(&fusion, window, frames, &segment) {
            Err(model::Error::Cancelled { .. }) => {
                gst::debug!(
                    CAT,
                    imp = self,
                    "The window that ends at {} is cancelled",
                    time(window.span.end)
                );
                return Ok(None);
            }
            result => result.map_err(|err| self.fail(&err))?,
        };
        let tags = inference.tags(&analysis, Source::Fused, fusion.model().card());
        gst::debug!(
            CAT,
            imp = self,
            "{} to {}: {} pictures, sound {}, media {}: {:?}",
            time(window.span.start),
            time(window.span.end),
            window.video.len(),
            window.audio.is_some(),
            window.media,
            tags.scores
        );
        if !clip {
            self.with_state(|state| state.latest = Some(Latest::new(&tags, timestamp)))?;
        }
        if inference.post_messages {
            let element = self.obj();
            let message = tags.message(&*element, segment.upcast_ref(), timestamp, clip);
            // Without a bus there is no reader.
            let _ = element.post_message(message);
        }
        self.push_stream_tags(inference.stream_tags, &tags, clip)?;
        Ok(Some(tags))
    }

    fn push_stream_tags(&self, when: StreamTags, tags: &Tags, clip: bool) -> Flow<()> {
        let media = self.pads.lock().unwrap().media();
        if let Some((media, _)) = media
            && let Some(event) =
                self.with_state(|state| state.named.event(when, media.upcast_ref(), tags, clip))?
        {
            self.push_event(event);
        }
        Ok(())
    }

    fn fail(&self, err: &model::Error) -> gst::FlowError {
        self.post_error_message(model_error(err));
        gst::FlowError::Error
    }

    /// Sends tags that no buffer can take along downstream in an event.
    fn push_tags(&self, tags: Vec<Tags>) {
        if !tags.is_empty() {
            self.push_event(meta::event(&tags, &[]));
        }
    }

    /// Sends `event` downstream. Before the base class has sent the events that start a stream, it waits
    /// for these if it tells of the stream, and is of no use to anybody otherwise.
    pub(super) fn push_event(&self, event: gst::Event) {
        let src_pad = self.obj().src_pad().clone();
        if src_pad.sticky_event::<gst::event::Segment>(0).is_some() {
            src_pad.push_event(event);
        } else if event.is_sticky()
            && let Some(state) = self.state.lock().unwrap().as_mut()
        {
            state.early.push(event);
        }
    }
}

/// Running time for a debug log.
fn time(nanoseconds: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(nanoseconds.min(gst::ClockTime::MAX.nseconds()))
}

/// Has the base class wait for data, unless its deadline has passed.
fn wait(timeout: bool) -> Flow<gst::FlowSuccess> {
    if timeout {
        Ok(gst::FlowSuccess::Ok)
    } else {
        Err(AGGREGATOR_FLOW_NEED_DATA)
    }
}

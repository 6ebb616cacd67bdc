// SPDX-License-Identifier: MPL-2.0

//! What the decoders of the analysis decode: the pictures that are needed, on as many threads as allowed.

use std::sync::Mutex;

use gst::prelude::*;

use super::Decode;
use crate::key_frames::{KeyFrames, Unit};

/// How the analysis decodes. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Decoding {
    pub mode: Decode,
    /// Time between pictures that are needed.
    pub interval: u64,
    /// How far apart key frames may be with [`Decode::Auto`] where only these are decoded.
    pub longest: u64,
    /// Threads of a decoder; 0: as many as it likes.
    pub threads: u32,
}

/// Limits `element`, if it is a decoder, to the threads and the units that `decoding` needs.
pub fn tune(element: &gst::Element, decoding: Decoding) {
    let Some(factory) = element.factory() else {
        return;
    };
    if !factory.has_type(gst::ElementFactoryType::DECODER) {
        return;
    }
    if decoding.threads > 0
        && let Some(property) = element.find_property("max-threads")
        && property.value_type() == i32::static_type()
    {
        element.set_property("max-threads", decoding.threads as i32);
    }
    let pictures = gst::ElementFactoryType::MEDIA_VIDEO | gst::ElementFactoryType::MEDIA_IMAGE;
    if decoding.mode != Decode::All && factory.has_type(pictures) {
        thin_out(element, decoding);
    }
}

/// What the probe in front of a decoder keeps.
struct State {
    key_frames: KeyFrames<gst::Buffer>,
    /// The segment event as it came.
    segment: Option<gst::Event>,
    /// Whether the decoder was told that only key frames follow.
    marked: bool,
    /// The last key frame that was decoded.
    key_frame: Option<gst::Buffer>,
    /// Whether what comes was held back here before.
    replaying: bool,
}

/// Has only those units that [`KeyFrames`] chooses decoded.
///
/// While these are key frames alone, the segment says so (`TRICKMODE_KEY_UNITS`): a decoder then puts out each at once
/// instead of waiting for the pictures that follow.
fn thin_out(decoder: &gst::Element, decoding: Decoding) {
    let Some(pad) = decoder.static_pad("sink") else {
        return;
    };
    let longest = (decoding.mode == Decode::Auto).then_some(decoding.longest);
    let state = Mutex::new(State {
        key_frames: KeyFrames::new(decoding.interval, longest),
        segment: None,
        marked: false,
        key_frame: None,
        replaying: false,
    });
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(kinds, move |pad, info| {
        let lock = || state.lock().unwrap();
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                let original = event.clone();
                match original.view() {
                    gst::EventView::FlushStop(_) => lock().key_frames.reset(),
                    gst::EventView::Segment(segment) => {
                        let mut state = lock();
                        state.marked = state.key_frames.key_frames_only();
                        if state.marked {
                            *event = marked(segment);
                        }
                        state.segment = Some(original);
                    }
                    gst::EventView::Eos(_) => {
                        let rest = lock().key_frames.finish();
                        // What fails to decode is on the bus.
                        let _ = replay(pad, &state, rest);
                    }
                    _ => (),
                }
                gst::PadProbeReturn::Ok
            }
            Some(gst::PadProbeData::Buffer(buffer)) if !lock().replaying => {
                let buffer = buffer.clone();
                let own = buffer.as_ptr();
                let unit = Unit {
                    time: buffer.pts().or(buffer.dts()).map(gst::ClockTime::nseconds),
                    // Headers are needed whatever comes after them.
                    delta: is_delta(&buffer) && !buffer.flags().contains(gst::BufferFlags::HEADER),
                };
                let mut chosen = lock().key_frames.push(unit, buffer.clone());
                let passes = chosen.pop_if(|last| last.as_ptr() == own).is_some();
                // What was held back goes first, through this same pad.
                match replay(pad, &state, chosen) {
                    Ok(_) if passes => {
                        if !unit.delta {
                            lock().key_frame = Some(buffer);
                        }
                        gst::PadProbeReturn::Ok
                    }
                    flow => {
                        info.data = None;
                        info.flow_res = flow;
                        // Not `Drop`, for which older GStreamer releases complain on stderr.
                        gst::PadProbeReturn::Handled
                    }
                }
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Hands `held` to the decoder behind `pad`, which is told first if more than key frames follow, or no longer.
fn replay(
    pad: &gst::Pad,
    state: &Mutex<State>,
    mut held: Vec<gst::Buffer>,
) -> Result<gst::FlowSuccess, gst::FlowError> {
    let (segment, key_frame) = {
        let state = state.lock().unwrap();
        let only = state.key_frames.key_frames_only();
        let changed = state.marked != only;
        (
            state.segment.clone().filter(|_| changed),
            state.key_frame.clone().filter(|_| changed && !only),
        )
    };
    if let Some(segment) = segment {
        // It comes through the probe again, and is marked there.
        pad.send_event(segment);
    }
    if let Some(mut key_frame) = key_frame
        && held.first().is_none_or(is_delta)
    {
        // Decoders of key frames alone forget each: what refers to it needs it again, but nobody sees it twice.
        key_frame
            .make_mut()
            .set_flags(gst::BufferFlags::DECODE_ONLY);
        held.insert(0, key_frame);
    }
    state.lock().unwrap().replaying = true;
    let flow = held
        .into_iter()
        .try_for_each(|buffer| pad.chain(buffer).map(drop));
    state.lock().unwrap().replaying = false;
    flow.map(|()| gst::FlowSuccess::Ok)
}

fn is_delta(unit: &gst::Buffer) -> bool {
    unit.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

/// The segment event that says that only key frames follow.
fn marked(event: &gst::event::Segment) -> gst::Event {
    let mut segment = event.segment().clone();
    segment.set_flags(segment.flags() | gst::SegmentFlags::TRICKMODE_KEY_UNITS);
    gst::event::Segment::builder(&segment)
        .seqnum(event.seqnum())
        .build()
}

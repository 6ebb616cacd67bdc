// SPDX-License-Identifier: MPL-2.0

//! From when to when an input is, by what passes: containers begin at any time, and few know how long they are.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;

/// Nanoseconds of stream time from the first to the last sample that is presented.
#[derive(Clone, Default)]
pub struct Extent(Arc<Mutex<Passed>>);

/// What has passed. Times are in nanoseconds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Passed {
    pub start: Option<u64>,
    pub end: Option<u64>,
    pub buffers: u64,
    /// Whether there are pictures.
    pub has_video: bool,
    /// Pictures a second, as a fraction.
    pub frame_rate: Option<(i32, i32)>,
}

impl Passed {
    /// How long it is, in seconds.
    pub fn duration(&self) -> Option<f64> {
        let (start, end) = self.start.zip(self.end)?;
        Some(end.saturating_sub(start) as f64 / 1e9)
    }

    /// When it begins, in seconds.
    pub fn offset(&self) -> f64 {
        self.start.unwrap_or_default() as f64 / 1e9
    }

    /// `time` in seconds from the start.
    pub fn relative(&self, time: f64) -> f64 {
        (time - self.offset()).max(0.0)
    }
}

impl Extent {
    pub fn get(&self) -> Passed {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what comes to `sink`.
    pub fn watch(&self, sink: &gst::Pad) {
        let own = self.clone();
        let is_video = sink.name() == "video";
        let last = Mutex::new(None::<gst::ClockTime>);
        sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let mut passed = own.0.lock().unwrap_or_else(PoisonError::into_inner);
            passed.buffers += 1;
            passed.has_video |= is_video;
            let segment = pad
                .sticky_event::<gst::event::Segment>(0)
                .and_then(|event| event.segment().downcast_ref::<gst::ClockTime>().cloned());
            let time = info
                .buffer()
                .and_then(|buffer| buffer.pts().or(buffer.dts()));
            let Some((segment, pts)) = segment.zip(time) else {
                return gst::PadProbeReturn::Ok;
            };
            let rate = frame_rate(pad);
            passed.frame_rate = rate.or(passed.frame_rate);
            // Without a duration: until the next, which is as far away as the last.
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let usual = rate.and_then(|(numerator, denominator)| {
                gst::ClockTime::SECOND.mul_div_floor(denominator as u64, numerator as u64)
            });
            let apart = last.replace(pts).and_then(|last| pts.checked_sub(last));
            let duration = info.buffer().and_then(|buffer| buffer.duration());
            let duration = duration
                .or(usual)
                .or_else(|| samples(pad, info.buffer()?))
                .or(apart.filter(|apart| *apart < gst::ClockTime::SECOND))
                .unwrap_or_default();
            if let Some((start, end)) = segment.clip(pts, pts.saturating_add(duration)) {
                let time = |time: Option<gst::ClockTime>| {
                    segment.to_stream_time(time).map(gst::ClockTime::nseconds)
                };
                let (start, end) = (time(start), time(end));
                passed.start = passed.start.into_iter().chain(start).min();
                passed.end = passed.end.max(end);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// How long raw sound is, by its size.
fn samples(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let info = gst_audio::AudioInfo::from_caps(&*pad.current_caps()?).ok()?;
    // Encoded sound has no frames.
    let frames = (buffer.size() as u64).checked_div(u64::from(info.bpf()))?;
    gst::ClockTime::SECOND.mul_div_floor(frames, u64::from(info.rate()))
}

fn frame_rate(pad: &gst::Pad) -> Option<(i32, i32)> {
    let caps = pad.current_caps()?;
    let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
    (rate.numer() > 0 && rate.denom() > 0).then(|| (rate.numer(), rate.denom()))
}

// SPDX-License-Identifier: MPL-2.0

//! Which units of an encoded video go to its decoder.

use std::sync::Mutex;

use gst::prelude::*;

use super::Decode;

/// Chooses the units of one encoded video that are decoded. Times are nanoseconds.
#[derive(Debug, Clone)]
pub struct KeyFrames {
    decode: Decode,
    /// Longest time between key frames with which `Decode::Auto` takes key frames only.
    longest: u64,
    last_key: Option<u64>,
    /// Whether the units since the last key frame were dropped.
    dropping: bool,
    /// Whether key frames were found to be too rare.
    rare: bool,
}

impl KeyFrames {
    /// `longest` is the time without a key frame after which [`Decode::Auto`] decodes all pictures.
    pub fn new(decode: Decode, longest: u64) -> Self {
        Self {
            decode,
            longest,
            last_key: None,
            dropping: decode == Decode::Keyframes,
            rare: false,
        }
    }

    /// Whether the unit at `time` is decoded; `is_key` says that it needs no other unit.
    ///
    /// [`Decode::Auto`] decodes all pictures until two key frames have been close enough, and again from the key frame
    /// on that came too late: a decoder needs every unit since one.
    pub fn take(&mut self, time: Option<u64>, is_key: bool) -> bool {
        if is_key {
            let apart = time
                .zip(self.last_key)
                .map(|(time, last)| time.saturating_sub(last));
            self.rare |= apart.is_some_and(|apart| apart > self.longest);
            self.dropping = match self.decode {
                Decode::All => false,
                Decode::Keyframes => true,
                Decode::Auto => apart.is_some() && !self.rare,
            };
            self.last_key = time.or(self.last_key);
        }
        is_key || !self.dropping
    }

    /// Whether the units between key frames are dropped at present.
    pub fn key_frames_only(&self) -> bool {
        self.dropping
    }
}

/// Drops the units that are not decoded in front of `decoder`, a video decoder.
///
/// While only key frames are decoded, the segment says so (`TRICKMODE_KEY_UNITS`): a decoder then puts out each key
/// frame at once instead of waiting for the pictures that follow.
pub fn thin_out(decoder: &gst::Element, key_frames: KeyFrames) {
    let Some(pad) = decoder.static_pad("sink") else {
        return;
    };
    let state = Mutex::new((key_frames, None::<gst::Event>));
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        let mut guard = state.lock().unwrap();
        let (key_frames, segment) = &mut *guard;
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                let time = buffer.dts_or_pts().map(gst::ClockTime::nseconds);
                let before = key_frames.key_frames_only();
                if !key_frames.take(time, is_key) {
                    // Not `Drop`, for which older GStreamer releases complain on stderr.
                    return gst::PadProbeReturn::Handled;
                }
                if before != key_frames.key_frames_only()
                    && let Some(event) = segment.clone()
                {
                    // It comes back here, and is marked.
                    drop(guard);
                    pad.send_event(event);
                }
            }
            Some(gst::PadProbeData::Event(event)) => {
                let original = event.clone();
                if let gst::EventView::Segment(view) = original.view() {
                    if key_frames.key_frames_only() {
                        *event = marked(view);
                    }
                    *segment = Some(original);
                }
            }
            _ => (),
        }
        gst::PadProbeReturn::Ok
    });
}

/// The segment event that says that only key frames follow.
fn marked(event: &gst::event::Segment) -> gst::Event {
    let mut segment = event.segment().clone();
    segment.set_flags(segment.flags() | gst::SegmentFlags::TRICKMODE_KEY_UNITS);
    gst::event::Segment::builder(&segment)
        .seqnum(event.seqnum())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of 60 s of units, five a second with a key frame each `gop` units, are decoded.
    fn decoded(decode: Decode, gop: u64) -> usize {
        let mut key_frames = KeyFrames::new(decode, 5 * SECOND);
        (0..300)
            .filter(|n| key_frames.take(Some(n * SECOND / 5), n % gop == 0))
            .count()
    }

    #[test]
    fn key_frames_only_where_they_are_frequent() {
        assert_eq!(decoded(Decode::All, 10), 300);
        assert_eq!(decoded(Decode::Keyframes, 10), 30);
        assert_eq!(decoded(Decode::Keyframes, 100), 3);
        // The group before the second key frame, then key frames.
        assert_eq!(decoded(Decode::Auto, 10), 10 + 29);
        // A key frame each 20 s.
        assert_eq!(decoded(Decode::Auto, 100), 300);
    }

    #[test]
    fn a_unit_needs_no_time() {
        let mut key_frames = KeyFrames::new(Decode::Keyframes, SECOND);
        assert!(!key_frames.take(Some(0), false));
        assert!(key_frames.take(Some(1), true));
        assert!(!key_frames.take(Some(2), false));
        assert!(!key_frames.take(None, false));
    }
}

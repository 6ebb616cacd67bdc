// SPDX-License-Identifier: MPL-2.0

//! Pads that nothing comes to, or not yet. The base class waits for each pad that has not ended, so such a pad is ended,
//! and begins again when something comes after all.

use gst::prelude::*;
use gst_base::AggregatorPad;
use gst_base::subclass::prelude::*;

use super::imp::{AvFuse, CAT};
use crate::fusion::Source;

/// A pad whose segment comes this long after the other's, or later, is ended until it comes.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// The stream of a pad that nothing comes to.
const ABSENT: &str = "avfuse-absent";

/// What is known about the pads, each by its modality.
#[derive(Default)]
pub struct Absence {
    /// Whether a segment came, which data follows.
    begun: [bool; 2],
    /// Whether the pad was ended here.
    ended: [bool; 2],
    /// Whether a stream collection names a stream of the modality, so that it will come.
    expected: [bool; 2],
    /// Ends the pad that has begun nothing.
    timer: Option<gst::SingleShotClockId>,
}

impl Drop for Absence {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.unschedule();
        }
    }
}

/// Whether `event` begins the stream of a pad that nothing comes to.
pub fn is_absent(event: &gst::event::StreamStart) -> bool {
    event.stream_id() == ABSENT
}

impl AvFuse {
    /// Sees each event that comes to `pad` before it is queued.
    pub(super) fn watch(&self, pad: &AggregatorPad, event: &gst::Event) {
        match event.view() {
            gst::EventView::FlushStart(_) => self.cancel(),
            gst::EventView::FlushStop(_) => self.resume(),
            gst::EventView::StreamCollection(event) => {
                let mut absence = self.absence.lock().unwrap();
                for stream in &event.stream_collection() {
                    if stream.stream_type().contains(gst::StreamType::VIDEO) {
                        absence.expected[Source::Video as usize] = true;
                    }
                    if stream.stream_type().contains(gst::StreamType::AUDIO) {
                        absence.expected[Source::Audio as usize] = true;
                    }
                }
            }
            gst::EventView::Segment(_) => {
                self.begin(pad);
                self.look_after_others(pad);
            }
            _ => (),
        }
    }

    /// Data comes to `pad`, after all if it was ended.
    fn begin(&self, pad: &AggregatorPad) {
        let index = self.source(pad) as usize;
        let revived = {
            let mut absence = self.absence.lock().unwrap();
            absence.begun[index] = true;
            std::mem::take(&mut absence.ended[index])
        };
        if revived {
            gst::info!(CAT, obj = pad, "Data arrives late");
            // The base class forgets the end of a pad when a stream starts, unless all pads had ended: then it refuses
            // what comes.
            pad.send_event(gst::event::StreamStart::new(ABSENT));
        }
    }

    /// `pad` will bring data: ends the other pad if nothing feeds it, and later if nothing comes. In a gst-launch line
    /// both branches are there, whether or not the file has both modalities.
    fn look_after_others(&self, pad: &AggregatorPad) {
        let pads = self.pads.lock().unwrap().clone();
        let Some(other) = pads.all().find(|other| other != pad) else {
            return;
        };
        let index = pads.source(&other) as usize;
        {
            let mut absence = self.absence.lock().unwrap();
            if absence.begun[index] || absence.ended[index] {
                return;
            }
            if absence.expected[index] || is_fed(other.upcast_ref()) {
                if absence.timer.is_none() {
                    absence.timer = self.end_later(&other);
                }
                return;
            }
        }
        self.end(&other);
    }

    fn end_later(&self, pad: &AggregatorPad) -> Option<gst::SingleShotClockId> {
        let clock = gst::SystemClock::obtain();
        let timer = clock.new_single_shot_id(clock.time() + PATIENCE);
        let (element, pad) = (self.obj().downgrade(), pad.downgrade());
        let armed = timer.wait_async(move |_, time, _| {
            if let Some((element, pad)) = element.upgrade().zip(pad.upgrade())
                && time.is_some()
            {
                element.imp().end(&pad);
            }
        });
        armed.is_ok().then_some(timer)
    }

    fn end(&self, pad: &AggregatorPad) {
        // A segment that comes now comes before or after both events.
        let _lock = pad.stream_lock();
        let index = self.source(pad) as usize;
        {
            let mut absence = self.absence.lock().unwrap();
            if absence.begun[index] || std::mem::replace(&mut absence.ended[index], true) {
                return;
            }
        }
        gst::info!(
            CAT,
            obj = pad,
            "No data arrives, continuing without this pad"
        );
        pad.send_event(gst::event::StreamStart::new(ABSENT));
        pad.send_event(gst::event::Eos::new());
        // The pad itself takes what comes.
        pad.unset_pad_flags(gst::PadFlags::EOS);
    }
}

/// Whether data can come to `pad` from a source.
fn is_fed(pad: &gst::Pad) -> bool {
    pad.peer().is_some_and(|peer| {
        // A pad without a parent is an application's own; the bindings panic at its missing iterator.
        if peer.parent().is_none() {
            return true;
        }
        let upstream: Vec<gst::Pad> = peer
            .iterate_internal_links()
            .into_iter()
            .flatten()
            .collect();
        upstream.is_empty() || upstream.iter().any(is_fed)
    })
}

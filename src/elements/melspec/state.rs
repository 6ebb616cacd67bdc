// SPDX-License-Identifier: MPL-2.0

//! What a running stream needs: where its samples are in time, and the patches that are ready.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_audio::AudioInfo;

use super::downmix::Downmix;
use super::imp::{CAT, MelSpec};
use crate::mel::{FrontEnd, Patch, Patcher};
use crate::meta::{Features, Kind};

/// Timestamps may be this far from the sample count before samples count as missing: more than the rounding of
/// containers, less than a buffer.
const JUMP: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// The same for buffers that neither say that they are discontinuous nor follow a gap event.
const UNFLAGGED_JUMP: gst::ClockTime = gst::ClockTime::SECOND;

/// Sound whose samples are all within this is silence: -70 dB of full scale. Dither and the noise of codecs are below
/// -80 dB, a quiet room is above -65 dB.
const SILENCE: f32 = 3.162e-4;

pub struct State {
    info: AudioInfo,
    downmix: Downmix,
    patcher: Patcher,
    bands: usize,
    /// The front end's parameters, which ride along with each patch.
    fields: Arc<[(String, String)]>,
    /// Whether patches have their places in the whole stream, so that its duration and the position in it matter.
    whole_stream: bool,
    /// A timestamp and the number of the patcher's sample at that time; unset before the first timestamp.
    anchor: Option<(gst::ClockTime, u64)>,
    /// A gap event came since the last buffer.
    after_gap: bool,
    /// Another stream begins.
    outdated: bool,
    mono: Vec<f32>,
    /// The number of the patcher's sample after the last one that is not silent.
    loud: u64,
    /// Patches that no buffer has taken along yet.
    ready: Vec<Features>,
}

impl State {
    /// The analysis of a stream described by `info` with `patcher`, which makes patches by `front_end`.
    pub fn new(
        info: AudioInfo,
        patcher: Patcher,
        front_end: &FrontEnd,
        whole_stream: bool,
    ) -> Self {
        let fields = front_end.fields().into_iter();
        Self {
            downmix: Downmix::new(info.clone()),
            info,
            patcher,
            bands: front_end.bands,
            fields: fields.map(|(key, value)| (key.to_owned(), value)).collect(),
            whole_stream,
            anchor: None,
            after_gap: false,
            outdated: false,
            mono: Vec::new(),
            loud: 0,
            ready: Vec::new(),
        }
    }

    /// The same with `ready` patches.
    pub fn with_ready(self, ready: Vec<Features>) -> Self {
        Self { ready, ..self }
    }

    pub fn rate(&self) -> u32 {
        self.info.rate()
    }

    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// The stream continues in another format, at the same rate.
    pub fn set_info(&mut self, info: AudioInfo) {
        self.downmix = Downmix::new(info.clone());
        self.info = info;
    }

    /// Whether the patcher is that of a stream that is over.
    pub fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// The patches since the last call.
    pub fn take_ready(&mut self) -> Vec<Features> {
        std::mem::take(&mut self.ready)
    }

    /// Analyses the samples of `buffer`, unless they are played backwards.
    pub fn push(
        &mut self,
        imp: &MelSpec,
        buffer: &gst::BufferRef,
        segment: &gst::Segment,
    ) -> Result<(), String> {
        if segment.rate() < 0.0 {
            gst::log!(
                CAT,
                imp = imp,
                "{buffer:?} is played backwards: it passes unanalysed"
            );
            return Ok(());
        }
        let mut mono = std::mem::take(&mut self.mono);
        let mixed = self.downmix.mix(buffer, &mut mono);
        if mixed.is_ok() {
            let flagged = buffer.flags().contains(gst::BufferFlags::DISCONT)
                || std::mem::take(&mut self.after_gap);
            if let Some(timestamp) = buffer.pts() {
                self.follow(
                    imp,
                    timestamp,
                    if flagged { JUMP } else { UNFLAGGED_JUMP },
                    segment,
                );
            }
            if let Some(last) = mono.iter().rposition(|sample| sample.abs() > SILENCE) {
                self.loud = self.patcher.position() + last as u64 + 1;
            }
            self.analyse(|patcher, emit| patcher.push(&mono, emit));
        }
        self.mono = mono;
        mixed
    }

    /// There is no media until `end`.
    ///
    /// What the next buffer's timestamp says counts; but windows that cannot span the gap end now.
    pub fn gap(&mut self, end: gst::ClockTime) {
        self.after_gap = true;
        if self.anchor.is_some() {
            let missing = samples(end.saturating_sub(self.expected()), self.rate());
            if self.patcher.ends_windows(missing) {
                self.analyse(|patcher, emit| patcher.gap(missing, emit));
                // The next timestamp decides where the sound continues.
                self.anchor = None;
            }
        }
    }

    /// Finds where the next sample is in time, by a timestamp that may be off by `tolerance`.
    fn follow(
        &mut self,
        imp: &MelSpec,
        timestamp: gst::ClockTime,
        tolerance: gst::ClockTime,
        segment: &gst::Segment,
    ) {
        let expected = self.expected();
        if self.anchor.is_some() && timestamp > expected.saturating_add(tolerance) {
            gst::debug!(CAT, imp = imp, "nothing from {expected} to {timestamp}");
            let missing = samples(timestamp - expected, self.rate());
            self.analyse(|patcher, emit| patcher.gap(missing, emit));
        }
        if self.anchor.is_some() && expected > timestamp.saturating_add(tolerance) {
            gst::debug!(
                CAT,
                imp = imp,
                "a jump back from {expected} to {timestamp}: the windows end"
            );
            self.end();
        }
        if self.anchor.is_none() {
            self.locate(timestamp, segment);
        }
    }

    /// The first timestamp of the stream, or after a jump.
    fn locate(&mut self, timestamp: gst::ClockTime, segment: &gst::Segment) {
        let segment = segment.downcast_ref::<gst::ClockTime>();
        if self.whole_stream
            && let Some(time) = segment.and_then(|segment| segment.to_stream_time(timestamp))
        {
            let before = samples(time, self.rate()).saturating_sub(self.patcher.position());
            if before > samples(JUMP, self.rate()) {
                self.analyse(|patcher, emit| patcher.gap(before, emit));
            }
        }
        self.anchor = Some((timestamp, self.patcher.position()));
    }

    /// The timestamp that the next sample has if nothing is missing.
    fn expected(&self) -> gst::ClockTime {
        self.time(self.patcher.position())
    }

    /// The timestamp of the patcher's sample number `sample`.
    fn time(&self, sample: u64) -> gst::ClockTime {
        let (timestamp, anchor) = self.anchor.unwrap_or_default();
        match sample.checked_sub(anchor) {
            Some(after) => timestamp.saturating_add(duration(after, self.rate())),
            None => timestamp.saturating_sub(duration(anchor - sample, self.rate())),
        }
    }

    /// The stream is over, and another may follow.
    pub fn end_stream(&mut self) {
        self.end();
        self.outdated = self.whole_stream;
    }

    /// Ends the windows: the stream is over, or the next sample does not follow the last.
    pub fn end(&mut self) {
        self.analyse(|patcher, emit| patcher.finish(emit));
        self.loud = 0;
        self.anchor = None;
        self.after_gap = false;
    }

    /// Forgets everything: what comes next is another part of the stream.
    pub fn restart(&mut self) {
        self.patcher.reset();
        self.loud = 0;
        self.anchor = None;
        self.after_gap = false;
        self.ready.clear();
    }

    /// Ends the stream, for the patches that are left.
    pub fn finish(mut self) -> Vec<Features> {
        self.end();
        self.ready
    }

    /// Keeps the patches that `work` makes.
    fn analyse(&mut self, work: impl FnOnce(&mut Patcher, &mut dyn FnMut(Patch))) {
        let mut patches = Vec::new();
        work(&mut self.patcher, &mut |patch| patches.push(patch));
        for patch in patches {
            let start = self.time(patch.start);
            self.ready.push(Features {
                id: "mel".to_owned(),
                kind: Kind::Mel,
                dims: [self.bands, patch.data.len() / self.bands]
                    .map(|size| size as u32)
                    .to_vec(),
                start: Some(start),
                duration: Some(self.time(patch.end).saturating_sub(start)),
                media: patch.media as f32,
                blank: self.loud <= patch.start,
                still: false,
                data: patch.data,
                front_end: self.fields.clone(),
            });
        }
    }
}

/// The duration of `samples` at `rate`.
fn duration(samples: u64, rate: u32) -> gst::ClockTime {
    gst::ClockTime::SECOND
        .mul_div_round(samples, u64::from(rate))
        .unwrap_or(gst::ClockTime::MAX)
}

/// The samples in `duration` at `rate`.
pub fn samples(duration: gst::ClockTime, rate: u32) -> u64 {
    duration
        .nseconds()
        .mul_div_round(u64::from(rate), gst::ClockTime::SECOND.nseconds())
        .expect("a patcher's rate is below 1 GHz")
}

// SPDX-License-Identifier: MPL-2.0

//! Patches of a stream.

use std::ops::Range;
use std::sync::Arc;

use super::parameters::cuts;
use super::pool::Pool;
use super::resample::Resampler;
use super::run::{MAX_POSITION, Run, rescale};
use super::segment::{Excerpt, Sliding, Spread, Timing};
use super::simd::{LANES, dispatch, multiply_add};
use super::spectrogram::Spectrogram;
use super::{FrontEnd, FrontEndError};

macro_rules! cut {
    ($module:ident $type:ident, $property:literal, $doc:literal: $($variant:ident = $name:literal, $label:literal;)+) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $(#[doc = concat!($label, ".")] $variant),+ }
    };
}
cuts!(cut);

/// How a stream is cut into patches.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchOptions {
    /// Which parts become patches.
    pub segmentation: Segmentation,
    /// How windows that the start or the end of the stream cuts short become patches.
    pub partial: Partial,
    /// Seconds between two sliding patches, from a hop to [`MAX_INTERVAL`].
    pub interval: f64,
    /// Seconds of audio in a patch, at most and by default the whole patch. Silence fills the rest of
    /// the patch with [`Partial::Zero`], otherwise the audio repeats.
    pub content: Option<f64>,
    /// Input samples in the whole stream, required for all segmentations but the sliding one.
    pub total: Option<u64>,
}

/// A part of the mel spectrogram, as a model takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// `[bands, patch_frames]`, row-major; [`Patcher::with_min_frames`] allows fewer frames.
    pub data: Arc<[f32]>,
    /// Number of the first analysed input sample of the stream.
    pub start: u64,
    /// Number of the input sample after the last analysed one.
    pub end: u64,
    /// Share of these samples that were present in the stream, [`LEAST_MEDIA`] to 1; the rest was gaps.
    pub media: f64,
}

/// Longest [`PatchOptions::interval`] in seconds: a day.
pub const MAX_INTERVAL: f64 = 86_400.0;

/// A patch is made only if at least this share of its samples was present.
pub const LEAST_MEDIA: f64 = 0.5;

/// A sliding window spans gaps of at most this many seconds, and at most half of its own length. Longer ones end it.
const MAX_SPANNED_GAP: f64 = 1.0;

/// Number of input samples per processing step.
const PIECE: usize = 4096;

const ZEROS: [f32; PIECE] = [0.0; PIECE];

const INPUT_RATES: std::ops::RangeInclusive<u32> = 1000..=1_536_000;

/// Turns a stream of mono samples into patches.
///
/// The patches do not depend on how the stream is cut into calls of [`Patcher::push`], to the last bit.
/// Memory is allocated only by [`Patcher::new`] and for the first patches: the memory of a dropped patch is reused.
pub struct Patcher {
    front_end: FrontEnd,
    partial: Partial,
    /// Frames of audio in a patch; the rest is filling.
    content: usize,
    /// Fewest frames of a patch whose audio repeats.
    min_frames: usize,
    input_rate: u32,
    timing: Timing,
    plan: Plan,
    resampler: Resampler,
    spectrogram: Spectrogram,
    pool: Pool,
    run: Run,
    /// Longest gap in input samples that a window spans.
    spanned_gap: u64,
    piece: Vec<f32>,
    samples: Vec<f32>,
}

enum Plan {
    Sliding(Sliding),
    Spread(Spread),
    Excerpt { excerpt: Excerpt, done: bool },
}

impl Patcher {
    /// A patcher for streams of `input_rate` Hz, from 1,000 to 1,536,000.
    ///
    /// Allocates memory for a patch, for as many compressed frames, for the filters of the resampler and, with
    /// [`PadMode::Reflect`](super::PadMode::Reflect), for the samples of a patch.
    ///
    /// # Errors
    /// Those of [`FrontEnd::validate`], an option out of range, or an unknown length of the stream. Errors
    /// name the parameter or option, its value, and what it must be.
    pub fn new(
        front_end: &FrontEnd,
        input_rate: u32,
        options: PatchOptions,
    ) -> Result<Self, FrontEndError> {
        front_end.validate()?;
        if !INPUT_RATES.contains(&input_rate) {
            let must = format!(
                "must be {} to {} Hz",
                INPUT_RATES.start(),
                INPUT_RATES.end()
            );
            return Err(FrontEndError::value(
                "The input's sample rate",
                input_rate,
                must,
            ));
        }
        let rate = f64::from(front_end.rate);
        let hop = front_end.hop as f64 / rate;
        if !(hop..=MAX_INTERVAL).contains(&options.interval) {
            let must = format!("must be from a hop ({hop} s) to {MAX_INTERVAL} s");
            return Err(FrontEndError::value(
                "The patch interval",
                options.interval,
                must,
            ));
        }
        let content = match options.content {
            None => front_end.patch_frames,
            Some(seconds) if seconds > 0.0 => {
                ((seconds / hop).round() as usize).clamp(1, front_end.patch_frames)
            }
            Some(seconds) => {
                let must = "must be above 0 s";
                return Err(FrontEndError::value("The audio in a patch", seconds, must));
            }
        };
        let timing = Timing::new(front_end);
        let frames = content as u64;
        let total = || -> Result<u64, FrontEndError> {
            let total = options.total.ok_or(FrontEndError::UnknownLength)?;
            Ok(rescale(total.min(MAX_POSITION), input_rate, front_end.rate))
        };
        let excerpt = |uniform| -> Result<Plan, FrontEndError> {
            Ok(Plan::Excerpt {
                excerpt: Excerpt::new(timing, frames, uniform, total()?),
                done: false,
            })
        };
        let plan = match options.segmentation {
            Segmentation::Sliding => {
                let interval = options.interval * rate;
                Plan::Sliding(Sliding::new(timing, interval, frames, options.partial))
            }
            Segmentation::Central => excerpt(false)?,
            Segmentation::Uniform => excerpt(true)?,
            Segmentation::Ten => Plan::Spread(Spread::new(timing, frames, total()?)),
        };
        // What a piece becomes at most; decimation gives less than a piece more at a time.
        let samples = rescale(PIECE as u64, input_rate, front_end.rate) as usize + PIECE;
        let spanned_gap = MAX_SPANNED_GAP.min(content as f64 * hop / 2.0);
        Ok(Self {
            partial: options.partial,
            content,
            min_frames: front_end.patch_frames,
            input_rate,
            timing,
            plan,
            resampler: Resampler::new(input_rate, front_end.rate, PIECE),
            spectrogram: Spectrogram::new(front_end, content, samples),
            pool: Pool::new(front_end.bands * front_end.patch_frames),
            front_end: front_end.clone(),
            run: Run::new(input_rate, front_end.rate),
            spanned_gap: (spanned_gap * f64::from(input_rate)) as u64,
            piece: Vec::with_capacity(PIECE),
            samples: Vec::with_capacity(samples),
        })
    }

    /// Delays sliding patches by `phase`, a share of the interval in [0, 1): patchers that start together then make
    /// their patches at different times. The first patch has more audio in return.
    pub fn with_phase(mut self, phase: f64) -> Self {
        if let Plan::Sliding(sliding) = &mut self.plan {
            sliding.set_phase(phase);
        }
        self
    }

    /// For models that take patches of any length from `frames` on: with [`Partial::Repeat`], audio that is shorter than a
    /// patch makes a patch of its own length, and repeats only up to `frames`.
    pub fn with_min_frames(self, frames: usize) -> Self {
        Self {
            min_frames: frames.min(self.front_end.patch_frames),
            ..self
        }
    }

    /// Takes any number of samples, the next of the stream, with a full scale of -1 to 1; calls `emit` with each patch
    /// that they complete, in the order of their ends.
    ///
    /// Samples that are not finite count as 0.
    pub fn push(&mut self, mono: &[f32], emit: &mut dyn FnMut(Patch)) {
        for piece in mono.chunks(PIECE) {
            self.run.advance(piece.len() as u64);
            self.samples.clear();
            if all_finite(piece) {
                self.resampler.process(piece, &mut self.samples);
            } else {
                self.piece.clear();
                let finite = piece.iter().map(|&x| if x.is_finite() { x } else { 0.0 });
                self.piece.extend(finite);
                self.resampler.process(&self.piece, &mut self.samples);
            }
            self.analyse(emit);
        }
    }

    /// Skips the next `samples` samples of the stream, which are missing: they were lost, or playback starts later.
    ///
    /// Sliding windows span short gaps: the samples before and after are joined, and [`Patch::media`] gives the share
    /// that was present. A gap that [ends windows](Self::ends_windows) ends the window, and a new one starts after it.
    /// The other segmentations take the same parts as without the gap, as far as these are present.
    pub fn gap(&mut self, samples: u64, emit: &mut dyn FnMut(Patch)) {
        if let Plan::Sliding(_) = self.plan
            && !self.ends_windows(samples)
            && self.run.has_input()
        {
            let oldest = self.spectrogram.oldest();
            self.run.join(samples, oldest);
            return;
        }
        self.end_run(emit);
        let position = self.position().saturating_add(samples);
        self.resampler.reset();
        let mut lead = 0;
        match &mut self.plan {
            Plan::Sliding(sliding) => {
                self.spectrogram.reset();
                sliding.reset();
            }
            Plan::Spread(spread) => {
                self.spectrogram.reset();
                lead = spread.resume(rescale(position, self.input_rate, self.front_end.rate));
            }
            Plan::Excerpt { .. } => (),
        }
        self.run.begin(position, lead);
    }

    /// Whether a gap of `samples` is too long for a sliding window to span: more than a second, or than half of the
    /// window.
    pub fn ends_windows(&self, samples: u64) -> bool {
        samples > self.spanned_gap
    }

    /// Number of the next input sample, gaps included.
    pub fn position(&self) -> u64 {
        self.run.position()
    }

    /// Ends the stream: calls `emit` with the patches that were waiting for its end, and resets.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Patch)) {
        self.end_run(emit);
        match &self.plan {
            Plan::Sliding(_) => (),
            Plan::Spread(_) => self.finish_spread(emit),
            Plan::Excerpt { done, .. } if !done => self.finish_excerpt(emit),
            Plan::Excerpt { .. } => (),
        }
        self.reset();
    }

    /// Analyses the remaining samples of the resampler, and makes the patches that the end of the samples completes.
    fn end_run(&mut self, emit: &mut dyn FnMut(Patch)) {
        self.samples.clear();
        self.resampler.finish(&mut self.samples);
        self.analyse(emit);
        if !self.timing.is_frame(self.spectrogram.pushed()) {
            return;
        }
        match &self.plan {
            Plan::Sliding(_) => self.finish_sliding(emit),
            Plan::Spread(_) => {
                self.spectrogram.pad();
                self.spread(emit);
            }
            Plan::Excerpt { .. } => (),
        }
    }

    /// Forgets the stream so far.
    pub fn reset(&mut self) {
        self.resampler.reset();
        self.spectrogram.reset();
        self.run.begin(0, 0);
        match &mut self.plan {
            Plan::Sliding(sliding) => sliding.reset(),
            Plan::Spread(spread) => spread.reset(),
            Plan::Excerpt { excerpt, done } => {
                excerpt.reset();
                *done = false;
            }
        }
    }

    /// Turns `samples` into frames and patches.
    fn analyse(&mut self, emit: &mut dyn FnMut(Patch)) {
        let (position, skipped) = self.run.resampled(self.samples.len());
        match &mut self.plan {
            Plan::Sliding(_) => {
                self.spectrogram.push(&self.samples);
                self.slide(u64::MAX, emit);
            }
            Plan::Spread(spread) => {
                if spread.due().is_some() {
                    self.spectrogram.push(&self.samples[skipped..]);
                    self.spread(emit);
                }
            }
            Plan::Excerpt { done: true, .. } => (),
            Plan::Excerpt { excerpt, .. } => {
                let spectrogram = &mut self.spectrogram;
                let frames = self.content as u64;
                let complete = excerpt.take(&self.samples, position, |samples| {
                    spectrogram.push(samples);
                    spectrogram.advance(frames);
                });
                if complete {
                    self.finish_excerpt(emit);
                }
            }
        }
    }

    /// Emits the sliding patches that are due within the first `end` samples.
    fn slide(&mut self, end: u64, emit: &mut dyn FnMut(Patch)) {
        while let Plan::Sliding(sliding) = &mut self.plan
            && sliding.is_due_within(end)
            && self.spectrogram.advance(sliding.due())
        {
            sliding.step();
            self.emit_last(emit);
        }
    }

    /// Emits the patches spread over the stream that are due.
    fn spread(&mut self, emit: &mut dyn FnMut(Patch)) {
        while let Plan::Spread(spread) = &mut self.plan
            && let Some(due) = spread.due()
            && self.spectrogram.advance(due)
        {
            spread.step();
            self.emit_last(emit);
        }
    }

    /// Makes a patch of the last samples if the stream contained none of the patches.
    fn finish_spread(&mut self, emit: &mut dyn FnMut(Patch)) {
        if let Plan::Spread(spread) = &self.plan
            && spread.is_unmade()
            && self.partial != Partial::Drop
            && self.timing.is_frame(self.spectrogram.pushed())
        {
            self.spectrogram.advance(u64::MAX);
            self.emit_last(emit);
        }
    }

    fn finish_sliding(&mut self, emit: &mut dyn FnMut(Patch)) {
        self.spectrogram.pad();
        let samples = self.spectrogram.pushed();
        self.slide(samples, emit);
        if let Plan::Sliding(sliding) = &self.plan
            && sliding.wants_last(samples)
        {
            self.spectrogram.advance(u64::MAX);
            self.emit_last(emit);
        }
    }

    /// Ends the excerpt, which is complete or all that the stream has of it.
    fn finish_excerpt(&mut self, emit: &mut dyn FnMut(Patch)) {
        let Plan::Excerpt { excerpt, done } = &mut self.plan else {
            return;
        };
        *done = true;
        let missing = excerpt.missing();
        if !self.timing.is_frame(excerpt.taken()) || (missing > 0 && self.partial == Partial::Drop)
        {
            return;
        }
        let (span, media) = (excerpt.span(), excerpt.media());
        let frames = self.content as u64;
        if self.partial == Partial::Zero {
            for begin in (0..missing).step_by(PIECE) {
                let count = (missing - begin).min(PIECE as u64);
                self.spectrogram.push(&ZEROS[..count as usize]);
                self.spectrogram.advance(frames);
            }
        }
        self.spectrogram.pad();
        self.spectrogram.advance(frames);
        let to_input = |sample| rescale(sample, self.front_end.rate, self.input_rate);
        let span = to_input(span.start)..to_input(span.end).min(self.position());
        self.emit(span, media, emit);
    }

    /// Emits the patch of the last frames.
    fn emit_last(&mut self, emit: &mut dyn FnMut(Patch)) {
        let (span, media) = self.run.span(self.spectrogram.signal());
        self.emit(span, media, emit);
    }

    /// Emits the patch of the last frames, which are about the input samples in `span`, if enough of these were there.
    fn emit(&mut self, span: Range<u64>, media: f64, emit: &mut dyn FnMut(Patch)) {
        if media < LEAST_MEDIA {
            return;
        }
        let filling = (self.partial == Partial::Zero).then(|| self.spectrogram.silence());
        let most = self.front_end.patch_frames;
        let columns = match self.partial {
            Partial::Repeat => self.spectrogram.held().clamp(self.min_frames, most),
            Partial::Zero | Partial::Drop => most,
        };
        let range = self
            .front_end
            .top_db
            .filter(|_| self.front_end.compression.is_db())
            .map(|top_db| top_db as f32);
        let spectrogram = &mut self.spectrogram;
        let mut read = |data: &mut [f32]| spectrogram.read(columns, filling, range, data);
        let data = if columns == most {
            self.pool.take(read)
        } else {
            // At the start or the end of a stream: too rare to keep memory for each length.
            let mut data = vec![0.0; self.front_end.bands * columns];
            read(&mut data);
            data.into()
        };
        emit(Patch {
            data,
            start: span.start,
            end: span.end,
            media,
        });
    }
}

dispatch! {
    fn all_finite(values: &[f32]) -> bool = all_lanes_finite
}

#[inline(always)]
fn all_lanes_finite<const FMA: bool>(values: &[f32]) -> bool {
    let (lanes, rest) = values.as_chunks::<LANES>();
    // Nothing times zero is zero, other than of what is not finite.
    let mut sum = [0.0; LANES];
    for values in lanes {
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum = multiply_add::<FMA>(*value, 0.0, *sum);
        }
    }
    sum == [0.0; LANES] && rest.iter().all(|value| value.is_finite())
}

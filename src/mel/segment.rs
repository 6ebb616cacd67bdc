// SPDX-License-Identifier: MPL-2.0

//! Which frames of a stream make a patch, and which samples an excerpt consists of.
//!
//! Samples here are the front end's, after resampling.

use std::ops::Range;

use super::{FrontEnd, Partial};

/// Parts that uniform segmentation joins (the paper's UC), and patches of ten (Han's).
const PARTS: u64 = 10;

/// Seconds at the end of a stream that make one more sliding patch.
const LEAST_REST: f64 = 0.1;

/// How the frames of a front end lie in time.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    hop: u64,
    /// Samples of the shortest signal that is analysed: a window or, where frames are not centred, an FFT.
    least: u64,
    /// Samples from a frame's time to the last that it needs.
    reach: u64,
    center: bool,
    /// Samples of a second.
    rate: f64,
}

impl Timing {
    pub fn new(front_end: &FrontEnd) -> Self {
        let (reach, least) = match front_end.center {
            true => (front_end.fft_size / 2, front_end.window_size),
            false => (front_end.fft_size, front_end.fft_size),
        };
        Self {
            hop: front_end.hop as u64,
            least: least as u64,
            reach: reach as u64,
            center: front_end.center,
            rate: f64::from(front_end.rate),
        }
    }

    /// Frames that are complete when `samples` are known; none if that is too short a signal.
    pub fn frames(&self, samples: u64) -> u64 {
        if samples < self.reach.max(self.least) {
            return 0;
        }
        (samples - self.reach) / self.hop + 1
    }

    /// Whether a signal of `samples` is long enough to be analysed: it then has a frame.
    pub fn is_frame(&self, samples: u64) -> bool {
        samples >= self.least
    }

    /// Length of a signal that alone gives `frames` frames.
    fn excerpt(&self, frames: u64) -> u64 {
        let between = (frames - 1) * self.hop;
        match self.center {
            true => between.max(self.least),
            false => between + self.reach,
        }
    }
}

/// When patches of a sliding window are due.
#[derive(Debug, Clone)]
pub struct Sliding {
    timing: Timing,
    /// Samples between patches.
    interval: f64,
    /// Samples by which patches are later than a multiple of the interval.
    delay: f64,
    /// Frames of audio in a patch.
    content: u64,
    whole_only: bool,
    /// The next patch is due this many intervals after the first whole window or, where windows need
    /// not be whole, after the start.
    next: u64,
    made_one: bool,
}

impl Sliding {
    /// Patches of `content` frames, `interval` samples apart.
    pub fn new(timing: Timing, interval: f64, content: u64, partial: Partial) -> Self {
        let mut sliding = Self {
            timing,
            interval,
            delay: 0.0,
            content,
            whole_only: partial == Partial::Drop,
            next: 0,
            made_one: false,
        };
        sliding.reset();
        sliding
    }

    /// Patches are later by `phase`, a share of the interval below 1.
    pub fn set_phase(&mut self, phase: f64) {
        self.delay = phase * self.interval;
        self.reset();
    }

    /// Restarts.
    pub fn reset(&mut self) {
        // A window that need not be whole has nothing in it at the start.
        self.next = u64::from(!self.whole_only);
        self.made_one = false;
        self.skip_empty();
    }

    /// The number of frames with which the next patch is due.
    pub fn due(&self) -> u64 {
        if self.whole_only {
            self.content + (self.time() / self.timing.hop as f64).round() as u64
        } else {
            self.timing.frames(self.time() as u64)
        }
    }

    /// The patch that was due was made.
    pub fn step(&mut self) {
        self.made_one = true;
        self.next += 1;
        self.skip_empty();
    }

    /// Whether the next patch is due at or before the end of a stream of `samples`.
    pub fn is_due_within(&self, samples: u64) -> bool {
        self.whole_only || self.time() <= samples as f64
    }

    /// Whether the end of a stream of `samples` makes one more patch after those that were due: of a tenth of a second,
    /// which is more than codecs pad, or of half an interval.
    pub fn wants_last(&self, samples: u64) -> bool {
        let since_last = samples as f64 - (self.time() - self.interval);
        let least = (self.interval / 2.0).min(self.timing.rate * LEAST_REST);
        !self.whole_only && (!self.made_one || since_last >= least)
    }

    fn time(&self) -> f64 {
        self.next as f64 * self.interval + self.delay
    }

    fn skip_empty(&mut self) {
        while self.due() == 0 {
            self.next += 1;
        }
    }
}

/// When patches that are spread over the whole signal are due.
#[derive(Debug, Clone)]
pub struct Spread {
    timing: Timing,
    /// Frames of a patch.
    content: u64,
    /// The first frame of each patch, in order.
    first: Vec<u64>,
    /// Number of the next patch.
    next: usize,
    /// The frame of the signal that is the spectrogram's first.
    base: u64,
    made_one: bool,
}

impl Spread {
    /// [`PARTS`] patches of `content` frames, spread evenly over a signal of `total` samples; one where it is no longer.
    pub fn new(timing: Timing, content: u64, total: u64) -> Self {
        let spare = total.saturating_sub(timing.excerpt(content));
        let parts = if spare == 0 { 1 } else { PARTS };
        let first = |part| middle(spare, part, parts) / timing.hop;
        Self {
            timing,
            content,
            first: (0..parts).map(first).collect(),
            next: 0,
            base: 0,
            made_one: false,
        }
    }

    /// Restarts.
    pub fn reset(&mut self) {
        (self.next, self.base, self.made_one) = (0, 0, false);
    }

    /// The signal continues at sample `position` in a spectrogram of its own: patches that begin before are left out.
    ///
    /// Returns the number of samples to skip, so that the frames are those of the whole signal.
    pub fn resume(&mut self, position: u64) -> u64 {
        self.base = position.div_ceil(self.timing.hop);
        let before = self.first.iter().take_while(|first| **first < self.base);
        self.next = self.next.max(before.count());
        self.base * self.timing.hop - position
    }

    /// The number of frames with which the next patch is due; `None` after the last.
    pub fn due(&self) -> Option<u64> {
        let first = self.first.get(self.next)?;
        Some(first - self.base + self.content)
    }

    /// The patch that was due was made.
    pub fn step(&mut self) {
        self.next += 1;
        self.made_one = true;
    }

    /// Whether no patch was made.
    pub fn is_unmade(&self) -> bool {
        !self.made_one
    }
}

/// The middle of part number `part` of `parts` equal parts of `length`.
fn middle(length: u64, part: u64, parts: u64) -> u64 {
    (u128::from(length) * u128::from(2 * part + 1) / u128::from(2 * parts)) as u64
}

/// The pieces of a signal that are joined to one excerpt, and how far they got.
#[derive(Debug, Clone)]
pub struct Excerpt {
    pieces: Vec<Range<u64>>,
    /// Length of the whole excerpt; the pieces are shorter where the signal is.
    length: u64,
    taken: u64,
    /// From the first to the last sample taken.
    span: Range<u64>,
}

impl Excerpt {
    /// The excerpt of a signal of `total` samples that gives `frames` frames.
    ///
    /// The signal is cut into equal parts, one or [`PARTS`]; each gives its middle.
    pub fn new(timing: Timing, frames: u64, uniform: bool, total: u64) -> Self {
        let length = timing.excerpt(frames);
        let parts = if uniform { PARTS } else { 1 };
        let spare = total.saturating_sub(length);
        let pieces = match spare {
            0 => std::iter::once(0..total).collect(),
            _ => (0..parts)
                .map(|part| {
                    let before = middle(spare, part, parts);
                    before + part * length / parts..before + (part + 1) * length / parts
                })
                .collect(),
        };
        Self {
            pieces,
            length,
            taken: 0,
            span: 0..0,
        }
    }

    /// Restarts.
    pub fn reset(&mut self) {
        self.taken = 0;
    }

    /// Calls `each` with what belongs to the excerpt of `samples`, the first of which is number `position`
    /// of the signal. True when that is the end of the last piece.
    pub fn take(&mut self, samples: &[f32], position: u64, mut each: impl FnMut(&[f32])) -> bool {
        let end = position + samples.len() as u64;
        for piece in &self.pieces {
            let (begin, end) = (piece.start.max(position), piece.end.min(end));
            if begin < end {
                each(&samples[(begin - position) as usize..(end - position) as usize]);
                if self.taken == 0 {
                    self.span.start = begin;
                }
                self.span.end = end;
                self.taken += end - begin;
            }
        }
        self.pieces
            .last()
            .is_some_and(|last| position < last.end && last.end <= end)
    }

    /// Samples taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Samples that the excerpt lacks.
    pub fn missing(&self) -> u64 {
        self.length.saturating_sub(self.taken)
    }

    /// From the first to the last sample of the signal that was taken.
    pub fn span(&self) -> Range<u64> {
        self.span.clone()
    }

    /// The part of the pieces that was taken, 0 to 1.
    pub fn media(&self) -> f64 {
        let wanted: u64 = self
            .pieces
            .iter()
            .map(|piece| piece.end - piece.start)
            .sum();
        self.taken as f64 / wanted.max(1) as f64
    }
}

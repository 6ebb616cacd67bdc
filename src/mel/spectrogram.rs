// SPDX-License-Identifier: MPL-2.0

//! From samples to compressed mel frames; the last ones are kept.

use std::ops::Range;

use super::compress::Compressor;
use super::filter_bank::FilterBank;
use super::mirror::Mirror;
use super::power::PowerSpectra;
use super::queue::Queue;
use super::simd::{LANES, Lanes, dispatch};
use super::{FrontEnd, PadMode, Window};

/// A streaming mel spectrogram: `librosa.feature.melspectrogram` and the logarithm of its values, without
/// the clamp to `top_db`.
pub struct Spectrogram {
    fft_size: usize,
    hop: usize,
    /// Zeros before and after the signal.
    padding: usize,
    transform: PowerSpectra,
    filter_bank: FilterBank,
    compressor: Compressor,
    power: u32,

    queue: Queue,
    /// Frames that are transformed, but not in `ring` yet.
    waiting: usize,
    /// Their spectra side by side, `[bins][LANES]`.
    spectra: Vec<Lanes>,
    mel: Vec<Lanes>,
    /// The last `capacity` frames, `[bands][capacity]`; frame `n` is at `n % capacity`.
    ring: Vec<f32>,
    /// The largest value of each of those frames.
    maxima: Vec<f32>,
    capacity: usize,
    frames: u64,
    /// Samples so far.
    pushed: u64,
    ended: bool,
    /// Where the signal of a patch is mirrored around its ends.
    mirror: Option<Mirror>,
    /// The frames of a patch that the mirror made, and their values, `[frames][bands]`.
    mirrored: Vec<usize>,
    mirrored_values: Vec<f32>,
}

impl Spectrogram {
    /// A spectrogram of a valid `front_end` that keeps `capacity` frames and takes pieces of `piece` samples.
    pub fn new(front_end: &FrontEnd, capacity: usize, piece: usize) -> Self {
        let fft_size = front_end.fft_size;
        let filter_bank = FilterBank::new(front_end);
        let mut spectrogram = Self {
            fft_size,
            hop: front_end.hop,
            padding: if front_end.center { fft_size / 2 } else { 0 },
            transform: PowerSpectra::new(&window(front_end)),
            spectra: vec![[0.0; LANES]; filter_bank.bins().len()],
            filter_bank,
            compressor: Compressor::new(front_end),
            power: front_end.power,
            queue: Queue::new(fft_size, piece.max(fft_size)),
            mel: vec![[0.0; LANES]; front_end.bands],
            waiting: 0,
            ring: vec![0.0; front_end.bands * capacity],
            maxima: vec![0.0; capacity],
            capacity,
            frames: 0,
            pushed: 0,
            ended: false,
            mirror: (front_end.center && front_end.pad_mode == PadMode::Reflect)
                .then(|| Mirror::new(front_end, capacity, piece)),
            mirrored: Vec::new(),
            mirrored_values: Vec::new(),
        };
        spectrogram.reset();
        spectrogram
    }

    /// Adds `samples`; [`Self::advance`] turns them into frames.
    pub fn push(&mut self, samples: &[f32]) {
        self.queue.push(samples);
        self.pushed += samples.len() as u64;
        if let Some(mirror) = &mut self.mirror {
            mirror.push(samples);
        }
    }

    /// Ends the signal: adds the padding that its last frames need.
    pub fn pad(&mut self) {
        self.ended = true;
        self.queue.push_zeros(self.padding);
    }

    /// Computes frames from the queued samples until there are `until` frames in total; true when that is reached.
    pub fn advance(&mut self, until: u64) -> bool {
        while self.frames < until {
            if self.queue.samples().len() < self.fft_size {
                return false;
            }
            let frame = &self.queue.samples()[..self.fft_size];
            self.transform.transform(frame, self.waiting);
            self.queue.pop(self.hop);
            self.frames += 1;
            self.waiting += 1;
            // Frames that go into the ring together must not overtake one another there.
            if self.waiting == LANES.min(self.capacity) {
                self.store();
            }
        }
        true
    }

    /// Samples of the signal so far.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many of the last frames [`read`](Self::read) copies.
    pub fn held(&self) -> usize {
        self.frames.min(self.capacity as u64) as usize
    }

    /// The first sample of the last frames, at most `capacity`.
    pub fn oldest(&self) -> u64 {
        self.frames.saturating_sub(self.capacity as u64) * self.hop as u64
    }

    /// The samples that the last frames, at most `capacity`, are about. There must be a frame.
    pub fn signal(&self) -> Range<u64> {
        let start = self.oldest();
        let last = (self.frames - 1) * self.hop as u64;
        let reach = (self.fft_size - self.padding) as u64;
        let end = match self.mirror {
            None => last + reach,
            // All of the signal, if the last frame is its last.
            Some(_) if self.ended && self.pushed < last + self.hop as u64 => self.pushed,
            // A signal that gives these frames alone, if it is long enough to be mirrored.
            Some(_) => last.max(start + reach).min(self.pushed),
        };
        start..end
    }

    /// Copies the last frames, at most `capacity`, to `data`, `[bands, columns]`: after them they repeat, or
    /// `filling` follows. No value is left further than `range` below the largest.
    pub fn read(
        &mut self,
        columns: usize,
        filling: Option<f32>,
        range: Option<f32>,
        data: &mut [f32],
    ) {
        self.store();
        let count = self.held();
        let first = ((self.frames - count as u64) % self.capacity as u64) as usize;
        self.mirror(count);
        let until_wrap = count.min(self.capacity - first);
        // Until the ring is full, its frames are at its front.
        let filling_shows = filling.filter(|_| count < columns);
        let lowest = range.map(|range| {
            let highest = self.highest(first, count).into_iter().chain(filling_shows);
            highest.fold(f32::MIN, f32::max) - range
        });
        let rows = self.ring.chunks_exact(self.capacity);
        for (band, (row, data)) in rows.zip(data.chunks_exact_mut(columns)).enumerate() {
            data[..until_wrap].copy_from_slice(&row[first..first + until_wrap]);
            data[until_wrap..count].copy_from_slice(&row[..count - until_wrap]);
            let values = self.mirrored_values.chunks_exact(self.mel.len());
            for (&frame, values) in self.mirrored.iter().zip(values) {
                data[frame] = values[band];
            }
            match filling {
                Some(value) => data[count..].fill(value),
                None => {
                    for begin in (count..columns).step_by(count) {
                        data.copy_within(..count.min(columns - begin), begin);
                    }
                }
            }
            if let Some(lowest) = lowest {
                raise(data, lowest);
            }
        }
    }

    /// What silence gives.
    pub fn silence(&self) -> f32 {
        self.compressor.silence()
    }

    /// Forgets all samples and frames.
    pub fn reset(&mut self) {
        self.queue.clear();
        self.queue.push_zeros(self.padding);
        self.waiting = 0;
        self.frames = 0;
        self.pushed = 0;
        self.ended = false;
        if let Some(mirror) = &mut self.mirror {
            mirror.reset();
        }
    }

    /// Makes the frames of the last `count` that reach beyond the ends of [`Self::signal`], if that is mirrored.
    fn mirror(&mut self, count: usize) {
        self.mirrored.clear();
        self.mirrored_values.clear();
        if self.mirror.is_none() {
            return;
        }
        let signal = self.signal();
        let Some(mut mirror) = self.mirror.take() else {
            return;
        };
        let length = signal.end - signal.start;
        let reaching = (0..count).filter(|&frame| mirror.reaches_out(frame, length));
        self.mirrored.extend(reaching);
        for first in (0..self.mirrored.len()).step_by(LANES) {
            let lanes = (self.mirrored.len() - first).min(LANES);
            for lane in 0..lanes {
                let frame = mirror.frame(self.mirrored[first + lane], &signal);
                self.transform.transform(frame, lane);
            }
            self.compress();
            for lane in 0..lanes {
                let values = self.mel.iter().map(|values| values[lane]);
                self.mirrored_values.extend(values);
            }
        }
        self.mirror = Some(mirror);
    }

    /// The largest value of the last `count` frames, of which the ring has the first at `first`.
    fn highest(&self, first: usize, count: usize) -> Option<f32> {
        if self.mirrored.is_empty() {
            return self.maxima[..count].iter().copied().reduce(f32::max);
        }
        let within = (0..count).filter(|frame| self.mirrored.binary_search(frame).is_err());
        let within = within.map(|frame| self.maxima[(first + frame) % self.capacity]);
        let mirrored = self.mirrored_values.iter().copied();
        within.chain(mirrored).reduce(f32::max)
    }

    /// Puts the frames that wait into the ring.
    fn store(&mut self) {
        if self.waiting == 0 {
            return;
        }
        self.compress();
        let first = (self.frames - self.waiting as u64) % self.capacity as u64;
        let first = first as usize;
        let rows = self.ring.chunks_exact_mut(self.capacity).zip(&self.mel);
        if self.waiting == LANES && first + LANES <= self.capacity {
            for (row, values) in rows {
                row[first..first + LANES].copy_from_slice(values);
            }
        } else {
            for (row, values) in rows {
                put(&values[..self.waiting], first, row);
            }
        }
        let maxima = &maxima(&self.mel)[..self.waiting];
        put(maxima, first, &mut self.maxima);
        self.waiting = 0;
    }

    /// Makes `mel` of the frames that were transformed last.
    fn compress(&mut self) {
        let bins = self.filter_bank.bins();
        self.transform.side_by_side(bins, &mut self.spectra);
        if self.power == 1 {
            for values in &mut self.spectra {
                *values = values.map(f32::sqrt);
            }
        }
        self.filter_bank.apply(&self.spectra, &mut self.mel);
        self.compressor.apply(&mut self.mel);
    }
}

/// Puts `values` into `ring` from position `first` on.
fn put(values: &[f32], first: usize, ring: &mut [f32]) {
    let until_wrap = values.len().min(ring.len() - first);
    let (before, after) = values.split_at(until_wrap);
    ring[first..first + until_wrap].copy_from_slice(before);
    ring[..after.len()].copy_from_slice(after);
}

dispatch! {
    /// The largest value in each lane.
    fn maxima(mel: &[Lanes]) -> Lanes = maxima_of_lanes
}

#[inline(always)]
fn maxima_of_lanes<const FMA: bool>(mel: &[Lanes]) -> Lanes {
    let mut maxima = [f32::MIN; LANES];
    for values in mel {
        for (maximum, &value) in maxima.iter_mut().zip(values) {
            *maximum = if value > *maximum { value } else { *maximum };
        }
    }
    maxima
}

dispatch! {
    /// Raises `values` to `lowest` at least.
    fn raise(values: &mut [f32], lowest: f32) = raise_all
}

#[inline(always)]
fn raise_all<const FMA: bool>(values: &mut [f32], lowest: f32) {
    for value in values {
        *value = value.max(lowest);
    }
}

/// The window, in the middle of the FFT's frame.
fn window(front_end: &FrontEnd) -> Vec<f32> {
    let size = front_end.window_size;
    let begin = (front_end.fft_size - size) / 2;
    let mut window = vec![0.0; front_end.fft_size];
    for (index, value) in window[begin..begin + size].iter_mut().enumerate() {
        let phase = std::f64::consts::TAU * index as f64 / size as f64;
        *value = match front_end.window {
            Window::Hann => (0.5 - 0.5 * phase.cos()) as f32,
        };
    }
    window
}

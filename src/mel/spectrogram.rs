// SPDX-License-Identifier: MPL-2.0

//! From samples to compressed mel frames; the last ones are kept.

use super::compress::Compressor;
use super::filter_bank::FilterBank;
use super::power::PowerSpectra;
use super::queue::Queue;
use super::simd::{LANES, Lanes, dispatch};
use super::{FrontEnd, Window};

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
        };
        spectrogram.reset();
        spectrogram
    }

    /// Frames computed so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Adds `samples`; [`Self::advance`] turns them into frames.
    pub fn push(&mut self, samples: &[f32]) {
        self.queue.push(samples);
    }

    /// Adds the zeros after the end of the signal.
    pub fn pad(&mut self) {
        self.queue.push_zeros(self.padding);
    }

    /// Computes frames from the samples at hand, at most up to `until` of them in all.
    ///
    /// True when there are `until` frames.
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
        let count = self.frames.min(self.capacity as u64);
        let first = ((self.frames - count) % self.capacity as u64) as usize;
        let count = count as usize;
        let until_wrap = count.min(self.capacity - first);
        // Until the ring is full, its frames are at its front.
        let filling_shows = filling.filter(|_| count < columns);
        let maxima = self.maxima[..count].iter().chain(&filling_shows);
        let lowest = range.map(|range| maxima.copied().fold(f32::MIN, f32::max) - range);
        let rows = self.ring.chunks_exact(self.capacity);
        for (row, data) in rows.zip(data.chunks_exact_mut(columns)) {
            data[..until_wrap].copy_from_slice(&row[first..first + until_wrap]);
            data[until_wrap..count].copy_from_slice(&row[..count - until_wrap]);
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
    }

    /// Puts the frames that wait into the ring.
    fn store(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let bins = self.filter_bank.bins();
        self.transform.side_by_side(bins, &mut self.spectra);
        if self.power == 1 {
            for values in &mut self.spectra {
                *values = values.map(f32::sqrt);
            }
        }
        self.filter_bank.apply(&self.spectra, &mut self.mel);
        self.compressor.apply(&mut self.mel);
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

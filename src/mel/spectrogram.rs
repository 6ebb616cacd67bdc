// SPDX-License-Identifier: MPL-2.0

//! From samples to compressed mel frames; the last ones are kept.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::compress::Compressor;
use super::filter_bank::FilterBank;
use super::queue::Queue;
use super::simd::{LANES, Lanes, dispatch, multiply_add};
use super::{FrontEnd, Window};

/// A streaming mel spectrogram: `librosa.feature.melspectrogram` and the logarithm of its values, without
/// the clamp to `top_db`.
pub struct Spectrogram {
    fft_size: usize,
    hop: usize,
    /// Zeros before and after the signal.
    padding: usize,
    window: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    filter_bank: FilterBank,
    compressor: Compressor,
    power: u32,

    queue: Queue,
    windowed: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// Spectra of the frames that are not in `ring` yet, side by side: `[bins][LANES]`.
    spectra: Vec<Lanes>,
    mel: Vec<Lanes>,
    waiting: usize,
    /// The last `capacity` frames, `[bands][capacity]`; frame `n` is at `n % capacity`.
    ring: Vec<f32>,
    capacity: usize,
    frames: u64,
}

impl Spectrogram {
    /// A spectrogram of a valid `front_end` that keeps `capacity` frames and takes pieces of `piece` samples.
    pub fn new(front_end: &FrontEnd, capacity: usize, piece: usize) -> Self {
        let fft_size = front_end.fft_size;
        let fft = RealFftPlanner::new().plan_fft_forward(fft_size);
        let filter_bank = FilterBank::new(front_end);
        let mut spectrogram = Self {
            fft_size,
            hop: front_end.hop,
            padding: if front_end.center { fft_size / 2 } else { 0 },
            window: window(front_end),
            windowed: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
            spectra: vec![[0.0; LANES]; filter_bank.bins().len()],
            filter_bank,
            compressor: Compressor::new(front_end),
            power: front_end.power,
            queue: Queue::new(fft_size, piece.max(fft_size)),
            mel: vec![[0.0; LANES]; front_end.bands],
            waiting: 0,
            ring: vec![0.0; front_end.bands * capacity],
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
            self.transform();
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

    /// Appends the last frames, at most `capacity`, to `data`, `[bands, columns]`: after them they repeat,
    /// or `filling` follows.
    pub fn read(&mut self, columns: usize, filling: Option<f32>, data: &mut Vec<f32>) {
        self.store();
        let count = self.frames.min(self.capacity as u64);
        let first = ((self.frames - count) % self.capacity as u64) as usize;
        let count = count as usize;
        let until_wrap = count.min(self.capacity - first);
        for row in self.ring.chunks_exact(self.capacity) {
            let begin = data.len();
            data.extend_from_slice(&row[first..first + until_wrap]);
            data.extend_from_slice(&row[..count - until_wrap]);
            match filling {
                Some(value) => data.resize(begin + columns, value),
                None => {
                    while data.len() < begin + columns {
                        let missing = begin + columns - data.len();
                        data.extend_from_within(begin..begin + count.min(missing));
                    }
                }
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

    /// The spectrum of the frame at the queue's front, into lane `waiting`.
    fn transform(&mut self) {
        let samples = &self.queue.samples()[..self.fft_size];
        multiply(samples, &self.window, &mut self.windowed);
        self.fft
            .process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch)
            .expect("the slices were made by the plan");
        let spectrum = &self.spectrum[self.filter_bank.bins()];
        squares(spectrum, &mut self.spectra, self.waiting);
    }

    /// Puts the frames that wait into the ring.
    fn store(&mut self) {
        if self.waiting == 0 {
            return;
        }
        if self.power == 1 {
            for values in &mut self.spectra {
                *values = values.map(f32::sqrt);
            }
        }
        self.filter_bank.apply(&self.spectra, &mut self.mel);
        self.compressor.apply(&mut self.mel);
        let first = (self.frames - self.waiting as u64) % self.capacity as u64;
        let first = first as usize;
        let until_wrap = self.waiting.min(self.capacity - first);
        for (row, values) in self.ring.chunks_exact_mut(self.capacity).zip(&self.mel) {
            let (before, after) = values[..self.waiting].split_at(until_wrap);
            row[first..first + before.len()].copy_from_slice(before);
            row[..after.len()].copy_from_slice(after);
        }
        self.waiting = 0;
    }
}

dispatch! {
    fn multiply(samples: &[f32], window: &[f32], product: &mut [f32]) = multiply_all
}

#[inline(always)]
fn multiply_all<const FMA: bool>(samples: &[f32], window: &[f32], product: &mut [f32]) {
    for ((product, sample), window) in product.iter_mut().zip(samples).zip(window) {
        *product = sample * window;
    }
}

dispatch! {
    /// The squared magnitudes of a spectrum `[bins]`, into one lane.
    fn squares(spectrum: &[Complex<f32>], spectra: &mut [Lanes], lane: usize) = squares_of_all
}

#[inline(always)]
fn squares_of_all<const FMA: bool>(spectrum: &[Complex<f32>], spectra: &mut [Lanes], lane: usize) {
    let lane = lane % LANES;
    for (values, bin) in spectra.iter_mut().zip(spectrum) {
        values[lane] = multiply_add::<FMA>(bin.re, bin.re, bin.im * bin.im);
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

// SPDX-License-Identifier: MPL-2.0

//! Division of the sample rate by two, close to the new Nyquist frequency.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::filter::Filter;
use super::sinc;
use crate::mel::queue::Queue;
use crate::mel::simd::{dispatch, multiply_add};

/// A streaming sharp filter that keeps every other sample: output sample `n` is at input sample `2 n`.
///
/// It filters blocks by FFT (overlap-save). With even input samples as the real parts `z` of complex ones
/// and odd samples as the imaginary parts, and with the taps so, too, in `a`, an output sample is the real part
/// of the sum of `conj(a[m]) z[n + m]`: no spectral separation is needed.
pub struct Decimator {
    taps: usize,
    /// The conjugate of the spectrum of `a`, and the scale of the inverse FFT: `[block]`.
    response: Vec<Complex<f32>>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    block: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// Output samples that a block gives.
    outputs: usize,
    queue: Queue,
    /// Input samples seen.
    seen: u64,
    /// Output samples made.
    made: u64,
}

impl Decimator {
    /// A filter that passes frequencies below `pass`, in cycles an input sample, and stops those above 0.25.
    ///
    /// `piece` is the most input samples at a time.
    pub fn new(pass: f64, piece: usize) -> Self {
        let stop = 0.25;
        let side = sinc::taps(pass, stop) / 2;
        let taps = 2 * side + 1;
        let filter = sinc::filter(taps, side as f64, (side + 1) as f64, (pass + stop) / 2.0);
        // About half a block is new: less than one buffer of most streams, so patches are hardly late.
        let length = taps.next_power_of_two();
        let mut planner = FftPlanner::new();
        let forward = planner.plan_fft_forward(length);
        let inverse = planner.plan_fft_inverse(length);
        let scratch = forward
            .get_inplace_scratch_len()
            .max(inverse.get_inplace_scratch_len());
        let mut scratch = vec![Complex::default(); scratch];
        let mut response = vec![Complex::default(); length];
        for (value, taps) in response.iter_mut().zip(filter.chunks(2)) {
            *value = Complex::new(taps[0], taps.get(1).copied().unwrap_or(0.0)) / length as f32;
        }
        forward.process_with_scratch(&mut response, &mut scratch);
        for value in &mut response {
            *value = value.conj();
        }
        let mut decimator = Self {
            taps,
            response,
            block: vec![Complex::default(); length],
            scratch,
            forward,
            inverse,
            outputs: (2 * length - taps) / 2 + 1,
            queue: Queue::new(2 * length, piece.max(2 * length)),
            seen: 0,
            made: 0,
        };
        decimator.reset();
        decimator
    }

    /// Filters the block at the queue's front.
    fn filter(&mut self, output: &mut Vec<f32>) {
        let samples = self.queue.samples().as_chunks().0;
        for (value, &[even, odd]) in self.block.iter_mut().zip(samples) {
            *value = Complex::new(even, odd);
        }
        self.forward
            .process_with_scratch(&mut self.block, &mut self.scratch);
        multiply(&mut self.block, &self.response);
        self.inverse
            .process_with_scratch(&mut self.block, &mut self.scratch);
        output.extend(self.block[..self.outputs].iter().map(|value| value.re));
        self.queue.pop(2 * self.outputs);
        self.made += self.outputs as u64;
    }
}

impl Filter for Decimator {
    fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        self.queue.push(input);
        while self.queue.samples().len() >= 2 * self.block.len() {
            self.filter(output);
        }
    }

    fn finish(&mut self, output: &mut Vec<f32>) {
        let length = self.seen.div_ceil(2);
        while self.made < length {
            let missing = (2 * self.block.len()).saturating_sub(self.queue.samples().len());
            self.queue.push_zeros(missing);
            self.filter(output);
        }
        output.truncate(output.len() - (self.made - length) as usize);
        self.made = length;
    }

    fn reset(&mut self) {
        self.queue.clear();
        // The first window is around input sample 0.
        self.queue.push_zeros(self.taps / 2);
        (self.seen, self.made) = (0, 0);
    }
}

dispatch! {
    /// Multiplies the spectrum `block` by `response`.
    fn multiply(block: &mut [Complex<f32>], response: &[Complex<f32>]) = multiply_all
}

#[inline(always)]
fn multiply_all<const FMA: bool>(block: &mut [Complex<f32>], response: &[Complex<f32>]) {
    for (a, b) in block.iter_mut().zip(response) {
        *a = Complex::new(
            multiply_add::<FMA>(a.re, b.re, -(a.im * b.im)),
            multiply_add::<FMA>(a.re, b.im, a.im * b.re),
        );
    }
}

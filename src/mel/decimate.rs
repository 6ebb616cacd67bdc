// SPDX-License-Identifier: MPL-2.0

//! Division of the sample rate by a power of two.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::queue::Queue;
use super::simd::{dispatch, multiply_add};
use super::sinc;

/// A streaming filter that keeps one of `factor` samples: output sample `n` is at input sample `factor * n`.
///
/// It filters blocks by FFT (overlap-save). With even input samples as the real parts `z` of complex ones
/// and odd samples as the imaginary parts, and with the taps so, too, in `a`, an output sample is the real part
/// of the sum of `conj(a[m]) z[n + m]`: nothing has to be told apart. Of the filtered spectrum, the parts that
/// alias come together before the inverse FFT, which is that much shorter.
pub struct Decimator {
    factor: usize,
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
    /// A filter that passes frequencies below `pass` and stops those above `stop`, in cycles an input sample.
    ///
    /// `factor` is a power of two, 2 or above; `piece` the most input samples at a time.
    pub fn new(factor: usize, pass: f64, stop: f64, piece: usize) -> Self {
        let side = sinc::taps(pass, stop) / 2;
        let taps = 2 * side + 1;
        let filter = sinc::filter(taps, side as f64, (side + 1) as f64, (pass + stop) / 2.0);
        // About half a block is new: less than one buffer of most streams, so patches are hardly late.
        let short = (2 * taps.div_ceil(factor)).next_power_of_two();
        let long = short * factor / 2;
        let mut planner = FftPlanner::new();
        let forward = planner.plan_fft_forward(long);
        let inverse = planner.plan_fft_inverse(short);
        let scratch = forward
            .get_inplace_scratch_len()
            .max(inverse.get_inplace_scratch_len());
        let mut scratch = vec![Complex::default(); scratch];
        let mut response = vec![Complex::default(); long];
        for (value, taps) in response.iter_mut().zip(filter.chunks(2)) {
            *value = Complex::new(taps[0], taps.get(1).copied().unwrap_or(0.0)) / long as f32;
        }
        forward.process_with_scratch(&mut response, &mut scratch);
        for value in &mut response {
            *value = value.conj();
        }
        let mut decimator = Self {
            factor,
            taps,
            response,
            block: vec![Complex::default(); long],
            scratch,
            forward,
            inverse,
            outputs: (2 * long - taps) / factor + 1,
            queue: Queue::new(2 * long, piece.max(2 * long)),
            seen: 0,
            made: 0,
        };
        decimator.reset();
        decimator
    }

    /// Appends to `output` what `input` completes.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        self.queue.push(input);
        while self.queue.samples().len() >= 2 * self.block.len() {
            self.filter(output);
        }
    }

    /// Appends the rest to `output`, as if silence followed.
    pub fn finish(&mut self, output: &mut Vec<f32>) {
        let length = self.seen.div_ceil(self.factor as u64);
        while self.made < length {
            let missing = (2 * self.block.len()).saturating_sub(self.queue.samples().len());
            self.queue.push_zeros(missing);
            self.filter(output);
        }
        output.truncate(output.len() - (self.made - length) as usize);
        self.made = length;
    }

    /// Forgets the signal so far.
    pub fn reset(&mut self) {
        self.queue.clear();
        // The first window is around input sample 0.
        self.queue.push_zeros(self.taps / 2);
        (self.seen, self.made) = (0, 0);
    }

    /// Filters the block at the queue's front.
    fn filter(&mut self, output: &mut Vec<f32>) {
        for (value, [even, odd]) in self
            .block
            .iter_mut()
            .zip(self.queue.samples().as_chunks().0)
        {
            *value = Complex::new(*even, *odd);
        }
        self.forward
            .process_with_scratch(&mut self.block, &mut self.scratch);
        let short = 2 * self.block.len() / self.factor;
        fold(&mut self.block, &self.response, short);
        let folded = &mut self.block[..short];
        self.inverse.process_with_scratch(folded, &mut self.scratch);
        output.extend(folded[..self.outputs].iter().map(|value| value.re));
        self.queue.pop(self.outputs * self.factor);
        self.made += self.outputs as u64;
    }
}

dispatch! {
    /// Multiplies the spectrum `block` by `response` and adds what aliases to its first `short` values.
    fn fold(block: &mut [Complex<f32>], response: &[Complex<f32>], short: usize) = fold_all
}

#[inline(always)]
fn fold_all<const FMA: bool>(block: &mut [Complex<f32>], response: &[Complex<f32>], short: usize) {
    for (a, b) in block.iter_mut().zip(response) {
        *a = Complex::new(
            multiply_add::<FMA>(a.re, b.re, -(a.im * b.im)),
            multiply_add::<FMA>(a.re, b.im, a.im * b.re),
        );
    }
    let (folded, rest) = block.split_at_mut(short);
    for part in rest.chunks_exact(short) {
        for (sum, value) in folded.iter_mut().zip(part) {
            *sum += value;
        }
    }
}

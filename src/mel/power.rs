// SPDX-License-Identifier: MPL-2.0

//! Power spectra of real frames.

use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::simd::{LANES, Lanes, dispatch, multiply_add};

/// Windows frames of a real signal and squares the magnitudes of their spectra.
///
/// A frame of `n` samples is transformed as `n / 2` complex ones, its even samples being real and its odd
/// ones imaginary. Their spectra overlap; squaring separates them, so that the
/// spectrum of the frame is never stored.
pub struct PowerSpectra {
    /// Half the window, `[frame]`: the other factor of telling apart.
    window: Vec<f32>,
    fft: Arc<dyn Fft<f32>>,
    /// `-i exp(-i TAU k / frame)` for the bins `k` below the middle.
    twiddles: Vec<Complex<f32>>,
    /// The transformed frame and its first value again, `[frame / 2 + 1]`.
    mixed: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// `[LANES][frame / 2 + 1]`
    powers: Vec<f32>,
    /// Powers of four frames side by side, four times.
    fours: Vec<f32>,
}

impl PowerSpectra {
    /// Spectra of frames that are as long as `window`, an even number of samples.
    pub fn new(window: &[f32]) -> Self {
        let frame = window.len();
        let bins = frame / 2 + 1;
        let fft = FftPlanner::new().plan_fft_forward(frame / 2);
        let twiddles = (0..bins / 2).map(|bin| {
            let (sin, cos) = (TAU * bin as f64 / frame as f64).sin_cos();
            Complex::new(-sin as f32, -cos as f32)
        });
        Self {
            window: window.iter().map(|value| value / 2.0).collect(),
            twiddles: twiddles.collect(),
            mixed: vec![Complex::default(); bins],
            scratch: vec![Complex::default(); fft.get_inplace_scratch_len()],
            powers: vec![0.0; LANES * bins],
            fours: vec![0.0; LANES * bins],
            fft,
        }
    }

    /// Transforms `frame`, which becomes number `lane` of those that are side by side.
    pub fn transform(&mut self, frame: &[f32], lane: usize) {
        let bins = self.mixed.len();
        multiply(frame, &self.window, &mut self.mixed);
        self.fft
            .process_with_scratch(&mut self.mixed[..bins - 1], &mut self.scratch);
        self.mixed[bins - 1] = self.mixed[0];
        let powers = &mut self.powers[lane * bins..][..bins];
        let (low, rest) = powers.split_at_mut(bins / 2);
        let (middle, high) = rest.split_at_mut(bins % 2);
        square(&self.mixed, &self.twiddles, low, high);
        for (middle, value) in middle.iter_mut().zip(&self.mixed[bins / 2..]) {
            *middle = 4.0 * value.norm_sqr();
        }
    }

    /// Puts `bins` of the last [`LANES`] frames side by side into `spectra`.
    pub fn side_by_side(&mut self, bins: Range<usize>, spectra: &mut [Lanes]) {
        let length = self.mixed.len();
        let row = |frame: usize| &self.powers[frame * length..][bins.clone()];
        let count = 4 * bins.len();
        for (first, fours) in self.fours.chunks_exact_mut(count).take(4).enumerate() {
            interleave([first, first + 4, first + 8, first + 12].map(row), fours);
        }
        let fours = std::array::from_fn(|first| &self.fours[first * count..][..count]);
        interleave(fours, spectra.as_flattened_mut());
    }
}

dispatch! {
    fn multiply(samples: &[f32], window: &[f32], product: &mut [Complex<f32>]) = multiply_all
}

#[inline(always)]
fn multiply_all<const FMA: bool>(samples: &[f32], window: &[f32], product: &mut [Complex<f32>]) {
    let pairs = samples.as_chunks().0.iter().zip(window.as_chunks().0);
    for (product, ([even, odd], [even_weight, odd_weight])) in product.iter_mut().zip(pairs) {
        *product = Complex::new(even * even_weight, odd * odd_weight);
    }
}

dispatch! {
    /// The squared magnitudes of the spectrum in `mixed`: of its bins below the middle, and of those above.
    fn square(mixed: &[Complex<f32>], twiddles: &[Complex<f32>], low: &mut [f32], high: &mut [f32]) = square_all
}

#[inline(always)]
fn square_all<const FMA: bool>(
    mixed: &[Complex<f32>],
    twiddles: &[Complex<f32>],
    low: &mut [f32],
    high: &mut [f32],
) {
    let half = twiddles.len();
    // The compiler has to see that all have this length.
    let (low, high) = (&mut low[..half], &mut high[..half]);
    let front = &mixed[..half];
    let back = &mixed[mixed.len() - half..][..half];
    for bin in 0..half {
        let mirrored = half - 1 - bin;
        let (a, b, twiddle) = (front[bin], back[mirrored], twiddles[bin]);
        // Twice the spectra of the even samples and, turned by the twiddle, of the odd ones.
        let even = Complex::new(a.re + b.re, a.im - b.im);
        let odd = Complex::new(a.re - b.re, a.im + b.im);
        let odd = Complex::new(
            multiply_add::<FMA>(twiddle.re, odd.re, -(twiddle.im * odd.im)),
            multiply_add::<FMA>(twiddle.re, odd.im, twiddle.im * odd.re),
        );
        low[bin] = norm::<FMA>(even + odd);
        high[mirrored] = norm::<FMA>(even - odd);
    }
}

#[inline(always)]
fn norm<const FMA: bool>(value: Complex<f32>) -> f32 {
    multiply_add::<FMA>(value.re, value.re, value.im * value.im)
}

dispatch! {
    /// The first values of all rows, then the second ones, and so on.
    fn interleave(rows: [&[f32]; 4], interleaved: &mut [f32]) = interleave_all
}

#[inline(always)]
fn interleave_all<const FMA: bool>(rows: [&[f32]; 4], interleaved: &mut [f32]) {
    let columns = interleaved.as_chunks_mut().0;
    let count = columns.len();
    let [a, b, c, d] = rows.map(|row| &row[..count]);
    for index in 0..count {
        columns[index] = [a[index], b[index], c[index], d[index]];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_definition() {
        for size in [2, 4, 6, 10, 16, 64, 98, 400] {
            let window: Vec<f32> = (0..size).map(|n| 1.0 + 0.1 * (n as f32).cos()).collect();
            let frames: Vec<Vec<f32>> = (0..LANES)
                .map(|lane| (0..size).map(|n| ((n * n + lane) as f32).sin()).collect())
                .collect();
            let mut spectra = PowerSpectra::new(&window);
            for (lane, frame) in frames.iter().enumerate() {
                spectra.transform(frame, lane);
            }
            let bins = size / 4..size / 2 + 1;
            let mut powers = vec![[0.0; LANES]; bins.len()];
            spectra.side_by_side(bins.clone(), &mut powers);
            for (bin, powers) in bins.zip(&powers) {
                for (power, frame) in powers.iter().zip(&frames) {
                    let mut expected = Complex::new(0.0, 0.0);
                    for (n, (value, weight)) in frame.iter().zip(&window).enumerate() {
                        let turn = (bin * n) as f64 / size as f64;
                        let value = f64::from(*value) * f64::from(*weight);
                        expected += Complex::from_polar(value, -TAU * turn);
                    }
                    let difference = f64::from(*power) - expected.norm_sqr();
                    assert!(
                        difference.abs() < 1e-6 * (size * size) as f64,
                        "{size} {bin}"
                    );
                }
            }
        }
    }
}

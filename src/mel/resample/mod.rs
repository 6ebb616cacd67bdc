// SPDX-License-Identifier: MPL-2.0

//! Resampling with windowed-sinc filters.

mod decimate;
mod filter;
mod halve;
mod polyphase;
mod sinc;

use super::simd::LANES;
use decimate::Decimator;
use filter::Filter;
use halve::Halver;
use polyphase::Polyphase;

/// Part of the lower of the two Nyquist frequencies that passes unattenuated.
const PASS_BAND: f64 = 0.9;

/// A streaming resampler without delay: output sample `n` is the signal at the time of input sample
/// `n * input_rate / output_rate`.
///
/// | input rate / output rate | filters |
/// | --- | --- |
/// | below 1 | polyphase |
/// | 1 | none |
/// | above 1 | halvers down to less than 4, polyphase to 2 where that is left, decimator |
///
/// Only the decimator is sharp. What those before it leave to alias stays above the output's Nyquist frequency,
/// where it removes it.
pub struct Resampler {
    /// Each filter, and what it made of the last piece.
    stages: Vec<(Box<dyn Filter>, Vec<f32>)>,
}

impl Resampler {
    /// A resampler for pieces of at most `piece` samples.
    pub fn new(input_rate: u32, output_rate: u32, mut piece: usize) -> Self {
        let mut resampler = Self { stages: Vec::new() };
        let output = f64::from(output_rate);
        let nyquist = output / 2.0;
        let mut rate = f64::from(input_rate);
        let mut halved = 1;
        while rate >= 4.0 * output {
            let halver = Halver::new(piece);
            piece = piece / 2 + LANES;
            resampler.add(halver, piece);
            rate /= 2.0;
            halved *= 2;
        }
        if rate < output {
            let (up, down) = reduce(output_rate.into(), input_rate.into());
            let polyphase = Polyphase::new(up, down, PASS_BAND / 2.0, 0.5, piece);
            resampler.add(polyphase, piece * up as usize / down as usize + 1);
        } else if rate > output {
            if rate != 2.0 * output {
                let (up, down) = reduce(2 * halved * u64::from(output_rate), input_rate.into());
                let (pass, stop) = (PASS_BAND * nyquist / rate, (2.0 * output - nyquist) / rate);
                let polyphase = Polyphase::new(up, down, pass, stop, piece);
                piece = piece * up as usize / down as usize + 1;
                resampler.add(polyphase, piece);
            }
            resampler.add(Decimator::new(PASS_BAND / 4.0, piece), piece);
        }
        resampler
    }

    /// Adds a filter that makes at most `most` samples of a piece.
    fn add(&mut self, filter: impl Filter + 'static, most: usize) {
        self.stages
            .push((Box::new(filter), Vec::with_capacity(most)));
    }

    /// Resamples `input`, appending to `output` what it completes.
    pub fn process<'a>(&'a mut self, mut input: &'a [f32], output: &mut Vec<f32>) {
        for (filter, made) in &mut self.stages {
            made.clear();
            filter.process(input, made);
            input = made;
        }
        output.extend_from_slice(input);
    }

    /// Appends the rest to `output`, as if silence followed.
    pub fn finish(&mut self, output: &mut Vec<f32>) {
        let mut input = [].as_slice();
        for (filter, made) in &mut self.stages {
            made.clear();
            filter.process(input, made);
            filter.finish(made);
            input = made;
        }
        output.extend_from_slice(input);
    }

    /// Forgets the signal so far.
    pub fn reset(&mut self) {
        for (filter, _) in &mut self.stages {
            filter.reset();
        }
    }
}

/// The fraction `a / b` in lowest terms.
fn reduce(a: u64, b: u64) -> (u64, u64) {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (a / divisor, b / divisor)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const INPUT_RATES: [u32; 13] = [
        8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 47999, 48000, 96000, 176400, 192000,
    ];
    const OUTPUT_RATES: [u32; 3] = [12000, 16000, 22050];

    /// A quarter of a second of a sine of amplitude 1.
    fn sine(frequency: f64, rate: u32) -> Vec<f32> {
        let step = TAU * frequency / f64::from(rate);
        (0..rate / 4)
            .map(|n| (step * f64::from(n)).sin() as f32)
            .collect()
    }

    fn resample(input: &[f32], input_rate: u32, output_rate: u32) -> Vec<f32> {
        let mut resampler = Resampler::new(input_rate, output_rate, 4096);
        let mut output = Vec::new();
        for piece in input.chunks(4096) {
            resampler.process(piece, &mut output);
        }
        resampler.finish(&mut output);
        output
    }

    /// The largest absolute value, the ends left out.
    fn peak(values: impl ExactSizeIterator<Item = f32>) -> f32 {
        let ends = values.len() / 5;
        values
            .map(f32::abs)
            .skip(ends)
            .take(3 * ends)
            .fold(0.0, f32::max)
    }

    /// Calls `check` for all pairs of rates.
    fn for_all_rates(check: impl Fn(u32, u32)) {
        for input_rate in INPUT_RATES {
            for output_rate in OUTPUT_RATES {
                check(input_rate, output_rate);
            }
        }
    }

    #[test]
    fn what_passes_is_unchanged_and_in_time() {
        for_all_rates(|from, to| {
            let nyquist = f64::from(from.min(to)) / 2.0;
            for part in [0.01, 0.3, 0.6, 0.8, 0.85, 0.9] {
                let output = resample(&sine(part * nyquist, from), from, to);
                let expected = sine(part * nyquist, to);
                let difference = peak(output.iter().zip(&expected).map(|(a, b)| a - b));
                // 0.1 dB would be 1.2e-2; this bound is for images and delay, too.
                assert!(difference < 4e-4, "{from} to {to} Hz, {part}: {difference}");
            }
        });
    }

    #[test]
    fn what_would_alias_is_80_db_down() {
        for_all_rates(|from, to| {
            let (lowest, highest) = (f64::from(to) / 2.0, f64::from(from) / 2.0);
            if lowest >= highest {
                return;
            }
            for step in 0..40 {
                let frequency = lowest + (highest - lowest) * f64::from(step) / 40.0;
                let output = resample(&sine(frequency, from), from, to);
                let alias = peak(output.into_iter());
                assert!(alias < 1e-4, "{from} to {to} Hz, {frequency} Hz: {alias}");
            }
        });
    }

    #[test]
    fn the_length_follows_the_ratio() {
        for_all_rates(|from, to| {
            for length in [0, 1, 1000, 12345] {
                let expected = (length as f64 * f64::from(to) / f64::from(from)).ceil();
                let made = resample(&vec![0.5; length], from, to).len() as f64;
                assert!(
                    (made - expected).abs() <= 1.0,
                    "{length}: {from} to {to} Hz: {made}"
                );
            }
        });
    }
}

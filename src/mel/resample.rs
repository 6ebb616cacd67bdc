// SPDX-License-Identifier: MPL-2.0

//! Resampling with windowed-sinc filters.

use super::decimate::Decimator;
use super::polyphase::Polyphase;

/// Part of the lower of the two Nyquist frequencies that passes unattenuated.
const PASS_BAND: f64 = 0.9;

/// A streaming resampler without delay: output sample `n` is the signal at the time of input sample
/// `n * input_rate / output_rate`.
pub struct Resampler {
    /// To twice the output's rate, or up to the output's.
    polyphase: Option<Polyphase>,
    decimator: Option<Decimator>,
    /// What passes between the two.
    between: Vec<f32>,
}

impl Resampler {
    /// A resampler for pieces of at most `piece` samples.
    pub fn new(input_rate: u32, output_rate: u32, piece: usize) -> Self {
        let (input, output) = (f64::from(input_rate), f64::from(output_rate));
        let nyquist = output / 2.0;
        let pass = PASS_BAND * nyquist;
        let factor = input_rate / output_rate;
        let (mut polyphase, mut decimator) = (None, None);
        let mut between = Vec::new();
        if input_rate < output_rate {
            let (up, down) = reduce(output_rate.into(), input_rate.into());
            let filter = Polyphase::new(up, down, PASS_BAND / 2.0, 0.5, piece);
            polyphase = Some(filter);
        } else if input_rate.is_multiple_of(output_rate) && factor.is_power_of_two() {
            if factor > 1 {
                let (pass, stop) = (pass / input, nyquist / input);
                decimator = Some(Decimator::new(factor as usize, pass, stop, piece));
            }
        } else {
            // The filter at an odd ratio is the slow one. It need not be sharp: what it leaves to alias
            // stays above the output's Nyquist frequency, where the next filter removes it.
            let (up, down) = reduce(2 * u64::from(output_rate), input_rate.into());
            let stop = 2.0 * output - nyquist;
            let filter = Polyphase::new(up, down, pass / input, stop / input, piece);
            polyphase = Some(filter);
            let piece = piece * up as usize / down as usize + 1;
            let (pass, stop) = (pass / (2.0 * output), nyquist / (2.0 * output));
            decimator = Some(Decimator::new(2, pass, stop, piece));
            between.reserve(piece);
        }
        Self {
            polyphase,
            decimator,
            between,
        }
    }

    /// Resamples `input`, appending to `output` what it completes.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        match (&mut self.polyphase, &mut self.decimator) {
            (None, None) => output.extend_from_slice(input),
            (Some(polyphase), None) => polyphase.process(input, output),
            (None, Some(decimator)) => decimator.process(input, output),
            (Some(polyphase), Some(decimator)) => {
                self.between.clear();
                polyphase.process(input, &mut self.between);
                decimator.process(&self.between, output);
            }
        }
    }

    /// Appends the rest to `output`, as if silence followed.
    pub fn finish(&mut self, output: &mut Vec<f32>) {
        self.between.clear();
        match (&mut self.polyphase, &mut self.decimator) {
            (Some(polyphase), None) => polyphase.finish(output),
            (polyphase, Some(decimator)) => {
                if let Some(polyphase) = polyphase {
                    polyphase.finish(&mut self.between);
                }
                decimator.process(&self.between, output);
                decimator.finish(output);
            }
            (None, None) => (),
        }
    }

    /// Forgets the signal so far.
    pub fn reset(&mut self) {
        if let Some(polyphase) = &mut self.polyphase {
            polyphase.reset();
        }
        if let Some(decimator) = &mut self.decimator {
            decimator.reset();
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

    const INPUT_RATES: [u32; 12] = [
        8000, 11025, 12000, 16000, 22050, 32000, 44100, 47999, 48000, 96000, 176400, 192000,
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

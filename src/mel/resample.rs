// SPDX-License-Identifier: MPL-2.0

//! Resampling with windowed-sinc filters.

use super::queue::Queue;
use super::simd::{LANES, dispatch, multiply_add};
use super::sinc;

/// Part of the lower of the two Nyquist frequencies that passes unattenuated.
const PASS_BAND: f64 = 0.9;

/// Filters kept for the positions of output samples between input samples. Ratios that have more positions
/// interpolate between two filters; the error, (pi / 512)^2 / 8, is 106 dB below the signal.
const MAX_PHASES: u64 = 512;

/// A streaming resampler without delay: output sample `n` is the signal at the time of input sample
/// `n * input_rate / output_rate`.
pub struct Resampler {
    stages: Vec<Stage>,
    /// What passes between two stages.
    between: [Vec<f32>; 2],
}

impl Resampler {
    /// A resampler for pieces of at most `piece` samples.
    pub fn new(input_rate: u32, output_rate: u32, piece: usize) -> Self {
        let mut stages = Vec::new();
        let target = f64::from(output_rate);
        let (mut rate, mut piece) = (f64::from(input_rate), piece);
        let mut halvings = 0;
        // Halving first lets short filters do the work at high rates: what they leave to alias stays
        // above the target's Nyquist frequency, where the last filter removes it.
        while rate >= 2.5 * target {
            let (pass, stop) = (PASS_BAND * target / 2.0, (rate - target) / 2.0);
            stages.push(Stage::new(1, 2, pass / rate, stop / rate, piece));
            rate /= 2.0;
            piece = piece.div_ceil(2) + 1;
            halvings += 1;
        }
        let (up, down) = reduce(u64::from(output_rate) << halvings, u64::from(input_rate));
        if up != down {
            let nyquist = target.min(rate) / 2.0;
            let pass = PASS_BAND * nyquist;
            stages.push(Stage::new(up, down, pass / rate, nyquist / rate, piece));
        }
        Self {
            stages,
            between: Default::default(),
        }
    }

    /// Resamples `input`, appending to `output` what it completes.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.run(
            output,
            |stage, samples, output| stage.process(samples, output),
            input,
        );
    }

    /// Appends the rest to `output`, as if silence followed.
    pub fn finish(&mut self, output: &mut Vec<f32>) {
        self.run(
            output,
            |stage, samples, output| {
                stage.process(samples, output);
                stage.finish(output);
            },
            &[],
        );
    }

    /// Forgets the signal so far.
    pub fn reset(&mut self) {
        self.stages.iter_mut().for_each(Stage::reset);
    }

    /// Runs `step` on each stage, its input being the output of the one before.
    fn run(
        &mut self,
        output: &mut Vec<f32>,
        step: impl Fn(&mut Stage, &[f32], &mut Vec<f32>),
        input: &[f32],
    ) {
        let Some((last, stages)) = self.stages.split_last_mut() else {
            output.extend_from_slice(input);
            return;
        };
        let [from, to] = &mut self.between;
        from.clear();
        let mut input = input;
        for stage in stages {
            to.clear();
            step(stage, input, to);
            std::mem::swap(from, to);
            input = from;
        }
        step(last, input, output);
    }
}

/// One polyphase filter: rate times `up / down`.
struct Stage {
    up: u64,
    down: u64,
    taps: usize,
    /// `[phases + 1][taps]`: filter `n` is for an output sample that is `n / phases` after an input sample.
    filters: Vec<f32>,
    phases: u64,
    queue: Queue,
    /// Input samples seen.
    seen: u64,
    /// Output samples made.
    made: u64,
    /// Position of the next output sample after the queue's first window, in `1 / up` of an input sample.
    phase: u64,
}

impl Stage {
    /// A filter that passes frequencies below `pass` and stops those above `stop`, in cycles an input sample.
    fn new(up: u64, down: u64, pass: f64, stop: f64, piece: usize) -> Self {
        let taps = sinc::taps(pass, stop).next_multiple_of(LANES);
        let phases = up.min(MAX_PHASES);
        let mut stage = Self {
            up,
            down,
            taps,
            filters: sinc::filters(phases, taps, (pass + stop) / 2.0),
            phases,
            queue: Queue::new(taps + down.div_ceil(up) as usize, piece.max(taps)),
            seen: 0,
            made: 0,
            phase: 0,
        };
        stage.reset();
        stage
    }

    fn reset(&mut self) {
        self.queue.clear();
        // The first window is around input sample 0.
        self.queue.push_zeros(self.taps / 2 - 1);
        (self.seen, self.made, self.phase) = (0, 0, 0);
    }

    fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        self.queue.push(input);
        filter(self, u64::MAX, output);
    }

    fn finish(&mut self, output: &mut Vec<f32>) {
        self.queue.push_zeros(self.taps / 2);
        let length = (u128::from(self.seen) * u128::from(self.up)).div_ceil(self.down.into());
        filter(self, length as u64, output);
    }
}

dispatch! {
    /// Makes what output samples the stage's queue allows, at most up to `until` in all.
    fn filter(stage: &mut Stage, until: u64, output: &mut Vec<f32>) = filter_lanes
}

#[inline(always)]
fn filter_lanes<const FMA: bool>(stage: &mut Stage, until: u64, output: &mut Vec<f32>) {
    let samples = stage.queue.samples();
    let taps = stage.taps;
    let filter = |index: u64| &stage.filters[index as usize * taps..][..taps];
    let (mut begin, mut phase) = (0, stage.phase);
    while stage.made < until && begin + taps <= samples.len() {
        let window = &samples[begin..begin + taps];
        output.push(if stage.phases == stage.up {
            dot::<FMA>(window, filter(phase))
        } else {
            let position = phase * stage.phases;
            let (index, fraction) = (position / stage.up, position % stage.up);
            let before = dot::<FMA>(window, filter(index));
            let after = dot::<FMA>(window, filter(index + 1));
            before + fraction as f32 / stage.up as f32 * (after - before)
        });
        stage.made += 1;
        phase += stage.down;
        begin += (phase / stage.up) as usize;
        phase %= stage.up;
    }
    // A step may lead past the samples at hand: the rest of it stays in the phase.
    let at_hand = begin.min(samples.len());
    stage.phase = phase + (begin - at_hand) as u64 * stage.up;
    stage.queue.pop(at_hand);
}

/// The sum of the products of two slices whose length is a multiple of [`LANES`].
#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sum = [0.0; LANES];
    for (a, b) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            sum[lane] = multiply_add::<FMA>(a[lane], b[lane], sum[lane]);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sum[lane] += sum[lane + width];
        }
    }
    sum[0]
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

    #[test]
    fn both_dot_products_agree() {
        let a: Vec<f32> = (0..96).map(|n| (n as f32).sin()).collect();
        let b: Vec<f32> = (0..96).map(|n| (n as f32).cos()).collect();
        let expected: f64 = a
            .iter()
            .zip(&b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum();
        for sum in [dot::<false>(&a, &b), dot::<true>(&a, &b)] {
            assert!((f64::from(sum) - expected).abs() < 1e-5);
        }
    }
}

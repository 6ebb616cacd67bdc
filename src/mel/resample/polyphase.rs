// SPDX-License-Identifier: MPL-2.0

//! Resampling by a ratio of whole numbers.

use super::filter::Filter;
use super::sinc;
use crate::mel::queue::Queue;
use crate::mel::simd::{dispatch, multiply_add};

/// Filters kept for the positions of output samples between input samples. Ratios that have more positions
/// interpolate between two filters; the error, (pi / 512)^2 / 8, is 106 dB below the signal.
const MAX_PHASES: u64 = 512;

/// Products that are summed side by side.
const WIDTH: usize = 8;

/// A streaming polyphase filter: output sample `n` is at input sample `n * down / up`.
pub struct Polyphase {
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

impl Polyphase {
    /// A filter that passes frequencies below `pass` and stops those above `stop`, in cycles an input sample.
    pub fn new(up: u64, down: u64, pass: f64, stop: f64, piece: usize) -> Self {
        let taps = sinc::taps(pass, stop).next_multiple_of(WIDTH);
        let half = taps / 2;
        let phases = up.min(MAX_PHASES);
        let filters = (0..=phases).flat_map(|phase| {
            let center = (half - 1) as f64 + phase as f64 / phases as f64;
            sinc::filter(taps, center, half as f64, (pass + stop) / 2.0)
        });
        let mut polyphase = Self {
            up,
            down,
            taps,
            filters: filters.collect(),
            phases,
            queue: Queue::new(taps + down.div_ceil(up) as usize, piece.max(taps)),
            seen: 0,
            made: 0,
            phase: 0,
        };
        polyphase.reset();
        polyphase
    }
}

impl Filter for Polyphase {
    fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        self.queue.push(input);
        run(self, u64::MAX, output);
    }

    fn finish(&mut self, output: &mut Vec<f32>) {
        self.queue.push_zeros(self.taps / 2);
        let length = (u128::from(self.seen) * u128::from(self.up)).div_ceil(self.down.into());
        run(self, length as u64, output);
    }

    fn reset(&mut self) {
        self.queue.clear();
        // The first window is around input sample 0.
        self.queue.push_zeros(self.taps / 2 - 1);
        (self.seen, self.made, self.phase) = (0, 0, 0);
    }
}

dispatch! {
    /// Makes what output samples the queue allows, at most up to `until` in all.
    fn run(polyphase: &mut Polyphase, until: u64, output: &mut Vec<f32>) = run_all
}

#[inline(always)]
fn run_all<const FMA: bool>(polyphase: &mut Polyphase, until: u64, output: &mut Vec<f32>) {
    let &mut Polyphase {
        up,
        down,
        taps,
        phases,
        mut phase,
        ..
    } = polyphase;
    let filters = polyphase.filters.as_slice();
    let samples = polyphase.queue.samples();
    let mut begin = (phase / up) as usize;
    phase %= up;
    let (step, phase_step) = ((down / up) as usize, down % up);
    // Output samples until a window would reach past the queued samples.
    let possible = match samples.len().checked_sub(begin + taps) {
        Some(spare) => ((spare as u64 + 1) * up - phase).div_ceil(down),
        None => 0,
    };
    let count = possible.min(until - polyphase.made);
    let made = output.len();
    output.resize(made + count as usize, 0.0);
    // A closure here would not be compiled for the instruction set that was chosen.
    for value in &mut output[made..] {
        let window = &samples[begin..begin + taps];
        *value = if phases == up {
            dot::<FMA>(window, filter(filters, phase, taps))
        } else {
            let position = phase * phases;
            let (index, fraction) = (position / up, position % up);
            let before = dot::<FMA>(window, filter(filters, index, taps));
            let after = dot::<FMA>(window, filter(filters, index + 1, taps));
            before + fraction as f32 / up as f32 * (after - before)
        };
        begin += step;
        phase += phase_step;
        if phase >= up {
            phase -= up;
            begin += 1;
        }
    }
    // The next window may begin past the queued samples: the phase keeps the remaining distance.
    let at_hand = begin.min(samples.len());
    polyphase.phase = phase + (begin - at_hand) as u64 * up;
    polyphase.made += count;
    polyphase.queue.pop(at_hand);
}

/// Filter number `index` of `filters`.
#[inline(always)]
fn filter(filters: &[f32], index: u64, taps: usize) -> &[f32] {
    &filters[index as usize * taps..][..taps]
}

/// The sum of the products of two slices whose length is a multiple of [`WIDTH`].
#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.as_chunks::<WIDTH>().0, b.as_chunks::<WIDTH>().0);
    let b = &b[..a.len()];
    let mut sum = [0.0; WIDTH];
    // A zipped iterator is set up by a call of its own here, once for each output sample.
    for index in 0..a.len() {
        for lane in 0..WIDTH {
            sum[lane] = multiply_add::<FMA>(a[index][lane], b[index][lane], sum[lane]);
        }
    }
    let mut half = [0.0; WIDTH / 2];
    for lane in 0..WIDTH / 2 {
        half[lane] = sum[lane] + sum[lane + WIDTH / 2];
    }
    (half[0] + half[2]) + (half[1] + half[3])
}

#[cfg(test)]
mod tests {
    use super::*;

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

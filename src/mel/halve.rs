// SPDX-License-Identifier: MPL-2.0

//! Halving of the sample rate.

use super::queue::Queue;
use super::simd::{LANES, Lanes, dispatch, multiply_add};
use super::sinc;

/// A streaming filter that keeps every other sample: output sample `n` is at input sample `2 n`.
///
/// It makes [`LANES`] output samples at a time, so they come a little after what they need.
pub struct Halver {
    /// The filter's taps for samples `2 n`, and for those between.
    even_taps: Vec<f32>,
    odd_taps: Vec<f32>,
    even: Queue,
    odd: Queue,
    /// A sample that waits for the next one.
    single: Option<f32>,
    /// Input samples seen.
    seen: u64,
    /// Output samples made.
    made: u64,
}

impl Halver {
    /// A filter that passes frequencies below `pass` and stops those above `stop`, in cycles an input sample.
    pub fn new(pass: f64, stop: f64, piece: usize) -> Self {
        // An even number of taps on both sides of the middle one.
        let side = (sinc::taps(pass, stop) / 2).next_multiple_of(2);
        let half = (side + 1) as f64;
        let taps = sinc::filter(2 * side + 1, side as f64, half, (pass + stop) / 2.0);
        let queue = || Queue::new(side + 1 + LANES, piece.max(2 * side) / 2 + LANES);
        let mut halver = Self {
            even_taps: taps.iter().copied().step_by(2).collect(),
            odd_taps: taps.iter().copied().skip(1).step_by(2).collect(),
            even: queue(),
            odd: queue(),
            single: None,
            seen: 0,
            made: 0,
        };
        halver.reset();
        halver
    }

    /// Appends to `output` what `input` completes.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        let mut input = input;
        if let (Some(even), [odd, rest @ ..]) = (self.single, input) {
            self.even.push(&[even]);
            self.odd.push(&[*odd]);
            self.single = None;
            input = rest;
        }
        let (pairs, rest) = input.as_chunks();
        self.even.extend(pairs.iter().map(|&[even, _]| even));
        self.odd.extend(pairs.iter().map(|&[_, odd]| odd));
        self.single = self.single.or(rest.first().copied());
        self.filter(output);
    }

    /// Appends the rest to `output`, as if silence followed.
    pub fn finish(&mut self, output: &mut Vec<f32>) {
        let missing = (self.seen.div_ceil(2) - self.made) as usize;
        let length = output.len() + missing;
        self.even.push(self.single.as_slice());
        self.even.push_zeros(self.even_taps.len() + LANES);
        self.odd.push_zeros(self.even_taps.len() + LANES);
        self.filter(output);
        output.truncate(length);
    }

    /// Forgets the signal so far.
    pub fn reset(&mut self) {
        self.even.clear();
        self.odd.clear();
        // The first window is around input sample 0.
        self.even.push_zeros(self.even_taps.len() / 2);
        self.odd.push_zeros(self.odd_taps.len() / 2);
        self.single = None;
        (self.seen, self.made) = (0, 0);
    }

    fn filter(&mut self, output: &mut Vec<f32>) {
        let before = output.len();
        let samples = [self.even.samples(), self.odd.samples()];
        filter(samples, [&self.even_taps, &self.odd_taps], output);
        let made = output.len() - before;
        self.even.pop(made);
        self.odd.pop(made);
        self.made += made as u64;
    }
}

dispatch! {
    /// Makes as many blocks of [`LANES`] output samples as even and odd `samples` allow.
    fn filter(samples: [&[f32]; 2], taps: [&[f32]; 2], output: &mut Vec<f32>) = filter_blocks
}

#[inline(always)]
fn filter_blocks<const FMA: bool>(samples: [&[f32]; 2], taps: [&[f32]; 2], output: &mut Vec<f32>) {
    /// Blocks that share the reading of the taps.
    const TOGETHER: usize = 4;
    let possible = samples[0].len().min(samples[1].len() + 1);
    let mut left = (possible + 1).saturating_sub(taps[0].len()) / LANES;
    let mut begin = 0;
    while left > 0 {
        let rest = samples.map(|samples| &samples[begin..]);
        let blocks = if left >= TOGETHER {
            output.extend_from_slice(block::<FMA, TOGETHER>(rest, taps).as_flattened());
            TOGETHER
        } else {
            output.extend_from_slice(block::<FMA, 1>(rest, taps).as_flattened());
            1
        };
        begin += blocks * LANES;
        left -= blocks;
    }
}

/// The first `N` blocks of output samples.
#[inline(always)]
fn block<const FMA: bool, const N: usize>(samples: [&[f32]; 2], taps: [&[f32]; 2]) -> [Lanes; N] {
    let mut sums = [[0.0; LANES]; N];
    for (samples, taps) in samples.into_iter().zip(taps) {
        for (&tap, samples) in taps.iter().zip(samples.windows(N * LANES)) {
            for (sum, samples) in sums.iter_mut().zip(samples.as_chunks::<LANES>().0) {
                for lane in 0..LANES {
                    sum[lane] = multiply_add::<FMA>(tap, samples[lane], sum[lane]);
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_together_equal_blocks_alone_and_the_definition() {
        let even: Vec<f32> = (0..90).map(|n| (n as f32).sin()).collect();
        let odd: Vec<f32> = (0..90).map(|n| (n as f32 * 0.7).cos()).collect();
        let taps: Vec<f32> = (0..21).map(|n| (n as f32 * 0.3).sin()).collect();
        let (samples, taps) = ([&even[..], &odd[..]], [&taps[..11], &taps[11..]]);
        let together = block::<true, 2>(samples, taps);
        let alone = samples.map(|samples| &samples[LANES..]);
        assert_eq!(together[1], block::<true, 1>(alone, taps)[0]);
        let portable = block::<false, 2>(samples, taps);
        for n in 0..2 * LANES {
            let sum = |i: usize| -> f32 {
                let products = taps[i].iter().zip(&samples[i][n..]).map(|(a, b)| a * b);
                products.sum()
            };
            let expected = sum(0) + sum(1);
            assert!((together[n / LANES][n % LANES] - expected).abs() < 1e-5);
            assert!((portable[n / LANES][n % LANES] - expected).abs() < 1e-5);
        }
    }
}

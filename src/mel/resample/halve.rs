// SPDX-License-Identifier: MPL-2.0

//! Division of the sample rate by two, far below the new Nyquist frequency.

use super::filter::Filter;
use super::sinc;
use crate::mel::queue::Queue;
use crate::mel::simd::{LANES, Lanes, dispatch, multiply_add};

/// Taps on each side of the center that are not zero. Of the 24 taps that [`sinc::taps`] asks for between 1/8 and
/// 3/8, one is missing.
const SIDES: usize = 6;

/// A streaming half-band filter that keeps every other sample: output sample `n` is at input sample `2 n`.
///
/// It passes frequencies below 1/8 and stops those above 3/8 cycles an input sample, so that nothing aliases to
/// where it passes. It is symmetric, and every other tap is zero: the center meets even samples, all others odd ones.
pub struct Halver {
    center: f32,
    /// The taps at distances 1, 3, 5 … from the center.
    sides: [f32; SIDES],
    /// Even and odd samples from the first that the next windows need.
    even: Queue,
    odd: Queue,
    /// An even sample without the odd one that follows it.
    single: Option<f32>,
    /// Input samples seen.
    seen: u64,
    /// Output samples made.
    made: u64,
}

impl Halver {
    /// A filter for pieces of at most `piece` samples.
    pub fn new(piece: usize) -> Self {
        let half = 2 * SIDES;
        let filter = sinc::filter(2 * half - 1, (half - 1) as f64, half as f64, 0.25);
        let queue = || Queue::new(half + LANES, piece.max(half + LANES));
        let mut halver = Self {
            center: filter[half - 1],
            sides: std::array::from_fn(|side| filter[half + 2 * side]),
            even: queue(),
            odd: queue(),
            single: None,
            seen: 0,
            made: 0,
        };
        halver.reset();
        halver
    }
}

impl Filter for Halver {
    fn process(&mut self, mut input: &[f32], output: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        if let (Some(even), Some((&odd, rest))) = (self.single, input.split_first()) {
            self.even.push(&[even]);
            self.odd.push(&[odd]);
            self.single = None;
            input = rest;
        }
        let (pairs, rest) = input.as_chunks();
        self.even.extend(pairs.iter().map(|&[even, _]| even));
        self.odd.extend(pairs.iter().map(|&[_, odd]| odd));
        self.single = self.single.or(rest.first().copied());

        let odd = self.odd.samples().len();
        let count = (odd + 1).saturating_sub(2 * SIDES) / LANES * LANES;
        let made = output.len();
        output.resize(made + count, 0.0);
        filter(self, output[made..].as_chunks_mut().0);
        self.even.pop(count);
        self.odd.pop(count);
        self.made += count as u64;
    }

    fn finish(&mut self, output: &mut Vec<f32>) {
        let length = self.seen.div_ceil(2);
        let silence = [0.0; 2 * LANES];
        while self.made < length {
            self.process(&silence, output);
        }
        output.truncate(output.len() - (self.made - length) as usize);
    }

    fn reset(&mut self) {
        // The first window is around input sample 0.
        for queue in [&mut self.even, &mut self.odd] {
            queue.clear();
            queue.push_zeros(SIDES);
        }
        (self.single, self.seen, self.made) = (None, 0, 0);
    }
}

dispatch! {
    /// The output samples of the windows from the first on.
    fn filter(halver: &Halver, output: &mut [Lanes]) = filter_lanes
}

#[inline(always)]
fn filter_lanes<const FMA: bool>(halver: &Halver, output: &mut [Lanes]) {
    let even = halver.even.samples().windows(SIDES + LANES).step_by(LANES);
    let odd = halver
        .odd
        .samples()
        .windows(2 * SIDES + LANES - 1)
        .step_by(LANES);
    for ((sum, even), odd) in output.iter_mut().zip(even).zip(odd) {
        for lane in 0..LANES {
            sum[lane] = halver.center * even[SIDES + lane];
        }
        for distance in 0..SIDES {
            for lane in 0..LANES {
                let sides = odd[SIDES - 1 - distance + lane] + odd[SIDES + distance + lane];
                sum[lane] = multiply_add::<FMA>(halver.sides[distance], sides, sum[lane]);
            }
        }
    }
}

// SPDX-License-Identifier: MPL-2.0

//! Design of the resampler's filters.

use std::f64::consts::{PI, TAU};

/// dB by which frequencies in the stop band are attenuated: what is asked is 80.
const ATTENUATION: f64 = 86.0;

/// Length of a filter that passes frequencies below `pass` and stops those above `stop`, in cycles a sample.
///
/// Kaiser's formula.
pub fn taps(pass: f64, stop: f64) -> usize {
    ((ATTENUATION - 8.0) / (2.285 * TAU * (stop - pass))).ceil() as usize + 1
}

/// Kaiser-windowed low-pass filters with unit gain at 0 Hz, `[phases + 1][taps]`.
///
/// `cutoff` is in cycles a sample. Filter `n` is centred `n / phases` after tap `taps / 2 - 1`.
pub fn filters(phases: u64, taps: usize, cutoff: f64) -> Vec<f32> {
    let beta = 0.1102 * (ATTENUATION - 8.7);
    let half = taps as f64 / 2.0;
    let mut filters = Vec::with_capacity((phases as usize + 1) * taps);
    for phase in 0..=phases {
        let center = half - 1.0 + phase as f64 / phases as f64;
        let filter: Vec<f64> = (0..taps)
            .map(|tap| {
                let time = tap as f64 - center;
                let edge = (1.0 - (time / half).powi(2)).max(0.0).sqrt();
                sinc(2.0 * cutoff * time) * bessel_i0(beta * edge)
            })
            .collect();
        let gain: f64 = filter.iter().sum();
        filters.extend(filter.iter().map(|value| (value / gain) as f32));
    }
    filters
}

fn sinc(x: f64) -> f64 {
    let x = PI * x;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1.. {
        term *= (x / (2.0 * f64::from(n))).powi(2);
        sum += term;
        if term < sum * f64::EPSILON {
            break;
        }
    }
    sum
}

// SPDX-License-Identifier: MPL-2.0

//! Design of the resampler's filters.

use std::f64::consts::{PI, TAU};

/// dB by which one filter attenuates its stop band: aliases are then 80 dB down, also where those of several bands
/// and stages add up.
const ATTENUATION: f64 = 90.0;

/// Length of a filter that passes frequencies below `pass` and stops those above `stop`, in cycles a sample.
///
/// Kaiser's formula.
pub fn taps(pass: f64, stop: f64) -> usize {
    ((ATTENUATION - 8.0) / (2.285 * TAU * (stop - pass))).ceil() as usize + 1
}

/// A Kaiser-windowed low-pass filter around tap number `center`, with unit gain in its pass band.
///
/// `cutoff` is in cycles a sample; beyond `half` taps from the center the filter is zero. The gain is that of the
/// continuous filter: above 0.5 cycles the taps let images pass, so that their sum depends on `center`, as it must.
pub fn filter(taps: usize, center: f64, half: f64, cutoff: f64) -> Vec<f32> {
    let beta = 0.1102 * (ATTENUATION - 8.7);
    let gain = 2.0 * cutoff / bessel_i0(beta);
    (0..taps)
        .map(|tap| {
            let time = tap as f64 - center;
            let edge = (1.0 - (time / half).powi(2)).max(0.0).sqrt();
            (gain * sinc(2.0 * cutoff * time) * bessel_i0(beta * edge)) as f32
        })
        .collect()
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

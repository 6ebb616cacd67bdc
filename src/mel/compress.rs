// SPDX-License-Identifier: MPL-2.0

//! Compression of mel values.

use super::simd::{LANES, Lanes, dispatch, multiply_add};
use super::{Compression, FrontEnd};

/// `gain * ln(max(floor, offset + scale * x)) + bias`, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Compressor {
    log: bool,
    floor: f32,
    offset: f32,
    scale: f32,
    gain: f32,
    bias: f32,
}

impl Compressor {
    /// The compression of `front_end`, without the clamp to `top_db`, which needs a whole patch.
    pub fn new(front_end: &FrontEnd) -> Self {
        use std::f64::consts::LN_10;
        let gain = match front_end.compression {
            Compression::None | Compression::Ln => 1.0,
            Compression::PowerDb => 10.0 / LN_10,
            Compression::AmplitudeDb => 20.0 / LN_10,
            Compression::Log10 => 1.0 / LN_10,
        };
        let linear = Self {
            log: front_end.compression != Compression::None,
            // What is 0 to librosa's ln and log10 (minus infinity) is finite here.
            floor: f32::MIN_POSITIVE,
            offset: 0.0,
            scale: 1.0,
            gain: gain as f32,
            bias: 0.0,
        };
        if front_end.compression.is_db() {
            // librosa floors the reference at amin, too.
            let reference = front_end.reference.max(front_end.amin);
            Self {
                floor: front_end.amin as f32,
                bias: (-gain * reference.ln()) as f32,
                ..linear
            }
        } else if front_end.compression.is_log() {
            Self {
                offset: front_end.offset as f32,
                scale: front_end.scale as f32,
                ..linear
            }
        } else {
            linear
        }
    }

    /// Compresses `mel` in place.
    pub fn apply(&self, mel: &mut [Lanes]) {
        if self.log {
            compress(*self, mel);
        }
    }

    /// What silence is compressed to.
    pub fn silence(&self) -> f32 {
        let mut mel = [[0.0; LANES]];
        self.apply(&mut mel);
        mel[0][0]
    }
}

dispatch! {
    fn compress(compressor: Compressor, mel: &mut [Lanes]) = compress_lanes
}

#[inline(always)]
fn compress_lanes<const FMA: bool>(compressor: Compressor, mel: &mut [Lanes]) {
    let Compressor {
        floor,
        offset,
        scale,
        gain,
        bias,
        ..
    } = compressor;
    for values in mel {
        for value in values {
            let x = multiply_add::<FMA>(*value, scale, offset);
            // Within what ln can take, whatever the signal was.
            let x = if x > floor { x } else { floor };
            let x = if x < f32::MAX { x } else { f32::MAX };
            *value = multiply_add::<FMA>(ln::<FMA>(x), gain, bias);
        }
    }
}

/// The natural logarithm of a normal, positive number; off by less than 2e-7 of the result or, near 1, 2e-7.
///
/// Method and coefficients are those of `logf` in the Cephes library (S. Moshier), free of branches.
#[inline(always)]
fn ln<const FMA: bool>(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    /// ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Bits of the square root of 1/2: mantissas are taken from there up to the square root of 2.
    const ROOT_HALF: i32 = 0x3f35_04f3;

    let bits = x.to_bits() as i32 - ROOT_HALF;
    let exponent = (bits >> 23) as f32;
    let mantissa = f32::from_bits(((bits & 0x7f_ffff) + ROOT_HALF) as u32) - 1.0;
    let square = mantissa * mantissa;
    let mut sum = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        sum = multiply_add::<FMA>(sum, mantissa, *coefficient);
    }
    let sum = multiply_add::<FMA>(exponent, LN_2_LOW, sum * mantissa * square);
    let sum = multiply_add::<FMA>(-0.5, square, sum);
    multiply_add::<FMA>(exponent, LN_2_HIGH, mantissa + sum)
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;

    #[test]
    fn the_logarithm_is_accurate_over_all_normal_numbers() {
        for bits in (f32::MIN_POSITIVE.to_bits()..=f32::MAX.to_bits()).step_by(997) {
            let x = f32::from_bits(bits);
            let expected = f64::from(x).ln();
            let tolerance = 2e-7 * expected.abs().max(1.0);
            for ln in [ln::<false>(x), ln::<true>(x)] {
                assert!(
                    (f64::from(ln) - expected).abs() < tolerance,
                    "ln {x} = {ln}"
                );
            }
        }
    }

    fn compress(front_end: &FrontEnd, value: f32) -> f32 {
        let mut mel = [[value; LANES]];
        Compressor::new(front_end).apply(&mut mel);
        assert_eq!(mel[0], [mel[0][0]; LANES]);
        mel[0][0]
    }

    #[test]
    fn each_compression_follows_its_formula() {
        let db = FrontEnd {
            reference: 100.0,
            ..FrontEnd::preset(Preset::Han)
        };
        let close = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-4, "{a} {b}");
        close(compress(&db, 5.0), 10.0 * 0.05f64.log10());
        close(compress(&db, 0.0), -120.0);
        close(
            compress(&FrontEnd::preset(Preset::Choi), 5.0),
            20.0 * 5f64.log10(),
        );
        close(
            Compressor::new(&FrontEnd::preset(Preset::Choi)).silence(),
            -100.0,
        );
        close(
            compress(&FrontEnd::preset(Preset::Yamnet), 5.0),
            5.001f64.ln(),
        );
        close(
            compress(&FrontEnd::preset(Preset::Musicnn), 5.0),
            50001f64.log10(),
        );
        let none = FrontEnd {
            compression: Compression::None,
            ..db
        };
        assert_eq!(compress(&none, 5.0), 5.0);
    }

    #[test]
    fn every_value_stays_finite() {
        for preset in [Preset::Choi, Preset::Yamnet] {
            for value in [0.0, f32::INFINITY, f32::NAN] {
                assert!(compress(&FrontEnd::preset(preset), value).is_finite());
            }
        }
    }
}

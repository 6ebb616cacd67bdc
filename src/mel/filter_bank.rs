// SPDX-License-Identifier: MPL-2.0

//! The mel filter bank, as `librosa.filters.mel` makes it.

use std::ops::Range;

use super::simd::{LANES, Lanes, dispatch, multiply_add};
use super::{FrontEnd, MelNorm, MelScale};

/// Triangular filters; only the weights that are not zero are kept.
pub struct FilterBank {
    /// For each band the first bin of `weights`, counted from `bins.start`, and the range of `weights`.
    bands: Vec<(usize, Range<usize>)>,
    weights: Vec<f32>,
    bins: Range<usize>,
}

impl FilterBank {
    /// The filters of `front_end`, computed in double precision.
    pub fn new(front_end: &FrontEnd) -> Self {
        let scale = front_end.mel_scale;
        let (lowest, highest) = (to_mel(front_end.fmin, scale), to_mel(front_end.fmax, scale));
        let step = (highest - lowest) / (front_end.bands + 1) as f64;
        let edges: Vec<f64> = (0..front_end.bands + 2)
            .map(|index| to_hz(lowest + index as f64 * step, scale))
            .collect();
        let bin_width = f64::from(front_end.rate) / front_end.fft_size as f64;

        let mut bands = Vec::new();
        let mut weights = Vec::new();
        for edges in edges.windows(3) {
            let norm = match front_end.mel_norm {
                MelNorm::Slaney => 2.0 / (edges[2] - edges[0]),
                MelNorm::None => 1.0,
            };
            let weight = |bin: usize| {
                let frequency = bin as f64 * bin_width;
                let rising = (frequency - edges[0]) / (edges[1] - edges[0]);
                let falling = (edges[2] - frequency) / (edges[2] - edges[1]);
                (norm * rising.min(falling).max(0.0)) as f32
            };
            let begin = weights.len();
            let mut first = None;
            // One more on each side than the edges say: they are rounded.
            let lowest = ((edges[0] / bin_width) as usize).saturating_sub(1);
            let highest = (edges[2] / bin_width) as usize + 1;
            for bin in lowest..=highest.min(front_end.fft_size / 2) {
                let weight = weight(bin);
                if weight > 0.0 {
                    first.get_or_insert(bin);
                    weights.push(weight);
                }
            }
            bands.push((first, begin..weights.len()));
        }

        let begin = bands.iter().find_map(|band| band.0).unwrap_or(0);
        let end = bands
            .iter()
            .filter_map(|(first, range)| Some(first.as_ref()? + range.len()))
            .max()
            .unwrap_or(begin);
        let bands = bands
            .into_iter()
            .map(|(first, range)| (first.map_or(0, |first| first - begin), range))
            .collect();
        Self {
            bands,
            weights,
            bins: begin..end,
        }
    }

    /// The bins of the spectrum that any filter uses.
    pub fn bins(&self) -> Range<usize> {
        self.bins.clone()
    }

    /// The mel values `[bands]` of the spectra `[bins]`, [`LANES`] frames side by side.
    pub fn apply(&self, spectra: &[Lanes], mel: &mut [Lanes]) {
        apply(self, spectra, mel);
    }
}

dispatch! {
    fn apply(bank: &FilterBank, spectra: &[Lanes], mel: &mut [Lanes]) = apply_lanes
}

#[inline(always)]
fn apply_lanes<const FMA: bool>(bank: &FilterBank, spectra: &[Lanes], mel: &mut [Lanes]) {
    for ((first, range), mel) in bank.bands.iter().zip(mel) {
        let weights = &bank.weights[range.clone()];
        let mut sum = [0.0; LANES];
        for (&weight, values) in weights.iter().zip(&spectra[*first..]) {
            for lane in 0..LANES {
                sum[lane] = multiply_add::<FMA>(weight, values[lane], sum[lane]);
            }
        }
        *mel = sum;
    }
}

/// Slaney's scale: 200/3 Hz a mel up to 1 kHz, then 27 mels for each factor of 6.4.
const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
const SLANEY_BREAK_HZ: f64 = 1000.0;
const SLANEY_BREAK_MEL: f64 = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL;
const SLANEY_RATIO: f64 = 6.4;
const SLANEY_STEPS: f64 = 27.0;

fn to_mel(hz: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Slaney if hz < SLANEY_BREAK_HZ => hz / SLANEY_HZ_PER_MEL,
        MelScale::Slaney => {
            SLANEY_BREAK_MEL + (hz / SLANEY_BREAK_HZ).ln() / SLANEY_RATIO.ln() * SLANEY_STEPS
        }
        MelScale::Htk => 2595.0 * (1.0 + hz / 700.0).log10(),
    }
}

fn to_hz(mel: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Slaney if mel < SLANEY_BREAK_MEL => mel * SLANEY_HZ_PER_MEL,
        MelScale::Slaney => {
            SLANEY_BREAK_HZ * SLANEY_RATIO.powf((mel - SLANEY_BREAK_MEL) / SLANEY_STEPS)
        }
        MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;

    #[test]
    fn known_points_of_the_scales() {
        assert_eq!(to_mel(200.0, MelScale::Slaney), 3.0);
        assert!((to_mel(6400.0, MelScale::Slaney) - 42.0).abs() < 1e-9);
        assert!((to_mel(1000.0, MelScale::Htk) - 999.99).abs() < 0.01);
        for scale in [MelScale::Slaney, MelScale::Htk] {
            for hz in [0.0, 440.0, 999.0, 1001.0, 11025.0] {
                assert!((to_hz(to_mel(hz, scale), scale) - hz).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn filters_have_unit_area_or_unit_peak() {
        let front_end = FrontEnd {
            fft_size: 8192,
            window_size: 8192,
            ..FrontEnd::preset(Preset::Choi)
        };
        let bank = FilterBank::new(&front_end);
        let bin_width = 12000.0 / 8192.0;
        for (_, range) in &bank.bands {
            let area: f32 = bank.weights[range.clone()].iter().sum::<f32>() * bin_width;
            assert!((area - 1.0).abs() < 0.01, "{area}");
        }
        let bank = FilterBank::new(&FrontEnd {
            mel_norm: MelNorm::None,
            ..front_end
        });
        for (_, range) in &bank.bands {
            let peak = bank.weights[range.clone()]
                .iter()
                .copied()
                .fold(0.0, f32::max);
            assert!((0.95..=1.0).contains(&peak), "{peak}");
        }
    }

    #[test]
    fn every_lane_is_the_weighted_sum_of_its_frame() {
        let bank = FilterBank::new(&FrontEnd::preset(Preset::Yamnet));
        assert_eq!(bank.bins(), 5..240);
        let spectra: Vec<Lanes> = (0..bank.bins().len())
            .map(|bin| std::array::from_fn(|lane| ((bin * 31 + lane * 17) % 101) as f32))
            .collect();
        let mut mel = vec![[0.0; LANES]; 64];
        bank.apply(&spectra, &mut mel);
        for ((first, range), mel) in bank.bands.iter().zip(mel) {
            for (lane, mel) in mel.into_iter().enumerate() {
                let expected: f32 = bank.weights[range.clone()]
                    .iter()
                    .zip(&spectra[*first..])
                    .map(|(weight, values)| weight * values[lane])
                    .sum();
                assert!((mel - expected).abs() <= 1e-4 * expected);
            }
        }
    }
}

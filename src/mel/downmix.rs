// SPDX-License-Identifier: MPL-2.0

//! Averaging of the channels, and what takes its place where they cancel each other.

use std::ops::Range;

use super::simd::dispatch;

/// Frames in which the same of two signals is used: 85 ms at 48 kHz.
const BLOCK: usize = 4096;
/// Frames at the start of a block whose energies count.
const PROBE: usize = 256;
/// The share of a block in the smoothed energies, which follow a change in about a second.
const SHARE: f32 = 0.125;
/// How many times the energy of the mean half the difference must have, as it has if the correlation of two equally loud
/// channels is below -0.6: ordinary stereo never has it.
const LOUDER: f32 = 4.0;

/// A format of interleaved little-endian samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleFormat {
    /// 16 bit signed integers.
    S16,
    /// 32 bit floats.
    F32,
}

/// Replaces the content of `mono` by the mean of the channels, one sample per frame of `data`; full scale is -1 to 1.
///
/// `data` are interleaved frames of `channels` samples. An incomplete last frame is ignored. Allocates only if the
/// capacity of `mono` is less than the number of frames.
///
/// # Panics
/// If `channels` is 0.
pub fn downmix(data: &[u8], format: SampleFormat, channels: usize, mono: &mut Vec<f32>) {
    match format {
        SampleFormat::S16 => s16(data, channels, mono),
        SampleFormat::F32 => f32(data, channels, mono),
    }
}

/// Replaces the content of `side` by half the difference of two channels, as [`downmix`] does with their mean.
pub fn difference(data: &[u8], format: SampleFormat, side: &mut Vec<f32>) {
    side.clear();
    match format {
        SampleFormat::S16 => {
            let value = |sample| f32::from(i16::from_le_bytes(sample));
            let frames = data.as_chunks().0.as_chunks::<2>().0;
            side.extend(
                frames
                    .iter()
                    .map(|&[left, right]| (value(left) - value(right)) / 65536.0),
            );
        }
        SampleFormat::F32 => {
            let value = f32::from_le_bytes;
            let frames = data.as_chunks().0.as_chunks::<2>().0;
            side.extend(
                frames
                    .iter()
                    .map(|&[left, right]| (value(left) - value(right)) / 2.0),
            );
        }
    }
}

/// Chooses between the mean of two channels and half their difference: where the phases of the channels are opposite, as
/// behind a cable of the wrong polarity, the mean is silent.
///
/// The choice holds for a block of 4096 frames and depends on the blocks before it alone, so that it does not depend on
/// how the stream is cut into buffers.
#[derive(Debug, Default, Clone)]
pub struct MidSide {
    /// Frames of the current block so far.
    frames: usize,
    /// Energies of the mean and of half the difference: of the current block, and smoothed over those before.
    block: [f32; 2],
    smooth: [f32; 2],
    is_side: bool,
    /// Half the difference of some frames; reused.
    difference: Vec<f32>,
}

impl MidSide {
    /// Replaces those samples of `mid`, the mean, for which half the difference is chosen. `side` puts half the
    /// difference for a range of these frames into a vector.
    pub fn choose(&mut self, mid: &mut [f32], mut side: impl FnMut(Range<usize>, &mut Vec<f32>)) {
        let mut done = 0;
        while done < mid.len() {
            let is_probe = self.frames < PROBE;
            let end = if is_probe { PROBE } else { BLOCK };
            let range = done..mid.len().min(done + end - self.frames);
            if is_probe || self.is_side {
                side(range.clone(), &mut self.difference);
                let mid = &mut mid[range.clone()];
                if is_probe {
                    self.block[0] = energy(self.block[0], mid);
                    self.block[1] = energy(self.block[1], &self.difference);
                }
                if self.is_side {
                    mid.copy_from_slice(&self.difference);
                }
            }
            self.frames += range.len();
            done = range.end;
            if self.frames == BLOCK {
                self.decide();
            }
        }
    }

    fn decide(&mut self) {
        self.frames = 0;
        for (smooth, block) in self.smooth.iter_mut().zip(&mut self.block) {
            let energy = std::mem::take(block);
            if energy.is_finite() {
                *smooth += SHARE * (energy - *smooth);
            }
        }
        let [mid, side] = self.smooth;
        let threshold = if self.is_side { mid } else { LOUDER * mid };
        self.is_side = side > threshold;
    }
}

/// `sum` and the squares of `samples`, one after the other, so that the result is the same wherever they are divided.
fn energy(sum: f32, samples: &[f32]) -> f32 {
    samples
        .iter()
        .fold(sum, |sum, sample| sum + sample * sample)
}

dispatch! {
    fn s16(data: &[u8], channels: usize, mono: &mut Vec<f32>) = s16_frames
}

#[inline(always)]
fn s16_frames<const FMA: bool>(data: &[u8], channels: usize, mono: &mut Vec<f32>) {
    let samples = data.as_chunks().0;
    mono.resize(samples.len() / channels, 0.0);
    let scale = 1.0 / (32768.0 * channels as f32);
    if channels == 2 {
        // Known to the compiler, so that it takes many frames at a time.
        for (mono, &[left, right]) in mono.iter_mut().zip(samples.as_chunks().0) {
            let sum = i32::from(i16::from_le_bytes(left)) + i32::from(i16::from_le_bytes(right));
            *mono = sum as f32 * scale;
        }
    } else {
        for (mono, frame) in mono.iter_mut().zip(samples.chunks_exact(channels)) {
            let mut sum = 0;
            for &sample in frame {
                sum += i32::from(i16::from_le_bytes(sample));
            }
            *mono = sum as f32 * scale;
        }
    }
}

dispatch! {
    fn f32(data: &[u8], channels: usize, mono: &mut Vec<f32>) = f32_frames
}

#[inline(always)]
fn f32_frames<const FMA: bool>(data: &[u8], channels: usize, mono: &mut Vec<f32>) {
    let samples = data.as_chunks().0;
    mono.resize(samples.len() / channels, 0.0);
    let scale = 1.0 / channels as f32;
    if channels == 2 {
        for (mono, &[left, right]) in mono.iter_mut().zip(samples.as_chunks().0) {
            *mono = (f32::from_le_bytes(left) + f32::from_le_bytes(right)) * scale;
        }
    } else {
        for (mono, frame) in mono.iter_mut().zip(samples.chunks_exact(channels)) {
            let mut sum = 0.0;
            for &sample in frame {
                sum += f32::from_le_bytes(sample);
            }
            *mono = sum * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 48_000;

    /// Two channels of noise, the right one with this gain, as the result is used.
    fn mix(cuts: &[usize], gain: impl Fn(usize) -> f32) -> (Vec<f32>, Vec<f32>) {
        let mut seed = 1u32;
        let mut noise = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let frames: Vec<[f32; 2]> = (0..6 * RATE)
            .map(|n| {
                let left = noise();
                [left, left * gain(n)]
            })
            .collect();
        let mut choice = MidSide::default();
        let (mut used, mut mean) = (Vec::new(), Vec::new());
        let mut rest = frames.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (part, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = more;
            let data: Vec<u8> = part
                .iter()
                .flatten()
                .flat_map(|s| s.to_le_bytes())
                .collect();
            let mut mono = Vec::new();
            downmix(&data, SampleFormat::F32, 2, &mut mono);
            mean.extend(&mono);
            choice.choose(&mut mono, |range, side| {
                difference(
                    &data[range.start * 8..range.end * 8],
                    SampleFormat::F32,
                    side,
                );
            });
            used.extend(mono);
        }
        (used, mean)
    }

    #[test]
    fn the_louder_of_mid_and_side() {
        let loud = |samples: &[f32]| energy(0.0, samples) / samples.len() as f32;
        // Ordinary stereo is untouched.
        for gain in [1.0, 0.5, 0.0, -0.25] {
            let (used, mean) = mix(&[1000], |_| gain);
            assert_eq!(used, mean, "{gain}");
        }
        for gain in [-1.0, -0.7] {
            let (used, mean) = mix(&[1000], |_| gain);
            assert!(loud(&used[BLOCK..]) > 0.2, "{gain}");
            assert!(loud(&mean) < 0.02, "{gain}");
        }
        // The choice follows a change, and back.
        let gain = |n: usize| {
            if (RATE..3 * RATE).contains(&n) {
                -1.0
            } else {
                1.0
            }
        };
        let (used, mean) = mix(&[1000], gain);
        assert_eq!(used[..RATE], mean[..RATE]);
        assert!(loud(&used[RATE * 5 / 2..3 * RATE]) > 0.3);
        assert_eq!(used[5 * RATE..], mean[5 * RATE..]);
    }

    #[test]
    fn the_choice_does_not_depend_on_the_buffers() {
        let gain = |n: usize| if n % 150_000 < 75_000 { -1.0 } else { 1.0 };
        let (whole, _) = mix(&[6 * RATE], gain);
        for cuts in [&[1][..], &[255, 257, 3], &[4096], &[10_000, 1]] {
            assert!(mix(cuts, gain).0 == whole, "{cuts:?}");
        }
    }
}

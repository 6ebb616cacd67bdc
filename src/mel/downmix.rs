// SPDX-License-Identifier: MPL-2.0

//! Averaging of the channels.

use super::simd::dispatch;

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

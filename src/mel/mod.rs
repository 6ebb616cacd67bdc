// SPDX-License-Identifier: MPL-2.0

//! Mel spectrogram patches of a stream of samples. Knows no GStreamer.
//!
//! ```text
//! samples --> Resampler --> Spectrogram (STFT, FilterBank, Compressor, the last frames) --> patches
//!                                 segment: which samples go in, and when a patch is due
//! ```
//!
//! [`FrontEnd`] holds the parameters, [`Patcher`] does the work.

#![deny(missing_docs)]
#![warn(clippy::unwrap_used)]

mod compress;
mod downmix;
mod filter_bank;
mod front_end;
mod mirror;
pub(crate) mod parameters;
mod patcher;
mod pool;
mod power;
mod queue;
mod resample;
mod run;
mod segment;
mod simd;
mod spectrogram;
mod text;
mod validate;

pub use downmix::{MidSide, SampleFormat, difference, downmix};
pub use front_end::{
    Compression, FrontEnd, FrontEndError, MelNorm, MelScale, PadMode, Preset, Window,
};
pub use patcher::{LEAST_MEDIA, MAX_INTERVAL, Partial, Patch, PatchOptions, Patcher, Segmentation};
pub use validate::{MAX_FFT_SIZE, MAX_PATCH_SAMPLES, MAX_PATCH_VALUES, MAX_RATE};

/// The instruction set that the inner loops use: `Portable`, `Avx2` or `Avx512`.
pub fn instruction_set() -> String {
    format!("{:?}", simd::level())
}

#[cfg(test)]
mod tests;

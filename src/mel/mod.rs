// SPDX-License-Identifier: MPL-2.0

//! Mel spectrogram patches of a stream of samples. Knows no GStreamer.
//!
//! ```text
//! samples --> Resampler --> Spectrogram (STFT, FilterBank, Compressor, the last frames) --> patches
//!                                 segment: which samples go in, and when a patch is due
//! ```
//!
//! [`FrontEnd`] holds the parameters, [`Patcher`] does the work.

mod compress;
mod fields;
mod filter_bank;
mod front_end;
mod halve;
mod patcher;
mod polyphase;
mod queue;
mod resample;
mod segment;
mod simd;
mod sinc;
mod spectrogram;
mod validate;

pub use front_end::{Compression, FrontEnd, FrontEndError, MelNorm, MelScale, Preset, Window};
pub use patcher::{Partial, Patch, PatchOptions, Patcher, Segmentation};

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: MPL-2.0

//! Choi's front end (12 kHz) and CED's (16 kHz) over 29.12 s of S16 stereo noise, with the mel module's resampler and with
//! rubato's:
//!
//! ```sh
//! cargo run --release --manifest-path benches/resamplers/Cargo.toml
//! ```

#[path = "../../common/mod.rs"]
mod common;
#[path = "../../../src/mel/mod.rs"]
#[allow(dead_code, unused_imports)]
mod mel;

use std::hint::black_box;

use common::Job;
use mel::{FrontEnd, Partial, PatchOptions, Patcher, Preset, SampleFormat, Segmentation, downmix};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

const SECONDS: f64 = 29.12;

/// Frames in a buffer, and in a block of rubato's FFTs: of 48 kHz to 12 kHz these pass 90 % of the new Nyquist frequency,
/// as the mel module's filters do. rubato's default, blocks of 256, passes less than 80 %.
const BUFFER: usize = 1024;

fn main() {
    common::main(vec![
        Job::new("own-48000-stereo", own(Preset::Choi, 48_000)),
        Job::new("rubato-48000-stereo", rubato(Preset::Choi, 48_000)),
        Job::new("own-44100-stereo", own(Preset::Choi, 44_100)),
        Job::new("rubato-44100-stereo", rubato(Preset::Choi, 44_100)),
        Job::new("own-48000-to-16000", own(Preset::Ced, 48_000)),
        Job::new("rubato-48000-to-16000", rubato(Preset::Ced, 48_000)),
        Job::new("own-44100-to-16000", own(Preset::Ced, 44_100)),
        Job::new("rubato-44100-to-16000", rubato(Preset::Ced, 44_100)),
    ]);
}

/// White noise as S16 stereo, by a linear congruential generator.
fn noise(rate: u32) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16).to_le_bytes()
    })
    .take(2 * (SECONDS * f64::from(rate)) as usize)
    .flat_map(|[low, high, ..]| [low, high])
    .collect()
}

fn patcher(preset: Preset, rate: u32) -> Patcher {
    let options = PatchOptions {
        segmentation: Segmentation::Sliding,
        partial: Partial::Drop,
        interval: SECONDS,
        content: None,
        total: None,
    };
    Patcher::new(&FrontEnd::preset(preset), rate, options).expect("the preset is valid")
}

/// The mel module alone.
fn own(preset: Preset, rate: u32) -> impl FnMut() {
    let bytes = noise(rate);
    let mut patcher = patcher(preset, rate);
    let mut mono = Vec::new();
    move || {
        for buffer in bytes.chunks_exact(4 * BUFFER) {
            downmix(buffer, SampleFormat::S16, 2, &mut mono);
            patcher.push(&mono, &mut |patch| {
                black_box(patch);
            });
        }
    }
}

/// rubato, and the mel module at the front end's rate.
fn rubato(preset: Preset, rate: u32) -> impl FnMut() {
    let bytes = noise(rate);
    let to = FrontEnd::preset(preset).rate;
    let mut patcher = patcher(preset, to);
    let window = WindowFunction::BlackmanHarris2;
    let (from, to) = (rate as usize, to as usize);
    let mut resampler = Fft::new_custom(from, to, BUFFER, 1, 1, window, FixedSync::Input)
        .expect("the rates are valid");
    let most = resampler.output_frames_max();
    let (mut mono, mut resampled) = (Vec::new(), vec![0.0; most]);
    let mut waiting = Vec::new();
    move || {
        for buffer in bytes.chunks_exact(4 * BUFFER) {
            downmix(buffer, SampleFormat::S16, 2, &mut mono);
            waiting.extend_from_slice(&mono);
            // Blocks that the rates divide are not as long as buffers.
            while waiting.len() >= resampler.input_frames_next() {
                let input = resampler.input_frames_next();
                let from = InterleavedSlice::new(&waiting[..input], 1, input);
                let to = InterleavedSlice::new_mut(&mut resampled, 1, most);
                let (read, made) = resampler
                    .process_into_buffer(
                        &from.expect("one channel"),
                        &mut to.expect("one channel"),
                        None,
                    )
                    .expect("the buffers are long enough");
                waiting.drain(..read);
                patcher.push(&resampled[..made], &mut |patch| {
                    black_box(patch);
                });
            }
        }
    }
}

// SPDX-License-Identifier: MPL-2.0

//! Choi's front end over 29.12 s of noise, a patch of his, beside the FFTs alone:
//!
//! ```sh
//! cargo bench --bench mel
//! ```

mod common;

use std::hint::black_box;

use common::Job;
use gstinstruments::mel::{
    FrontEnd, Partial, PatchOptions, Patcher, Preset, SampleFormat, Segmentation, downmix,
};

const SECONDS: f64 = 29.12;

/// Samples in a buffer of the streams.
const BUFFER: usize = 1024;

fn main() {
    common::main(vec![
        Job::new("fft", fft()),
        Job::new("mel", from_mono(SECONDS)),
        Job::new("mel-each-second", from_mono(1.0)),
        Job::new("mel-48000-stereo", from_stereo(48_000)),
        Job::new("mel-44100-stereo", from_stereo(44_100)),
    ]);
}

/// White noise from -0.5 to 0.5, by a linear congruential generator.
fn noise(samples: usize) -> Vec<f32> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    })
    .take(samples)
    .collect()
}

fn samples(rate: u32) -> usize {
    (SECONDS * f64::from(rate)) as usize
}

/// The FFTs that the front end cannot do without, by realfft.
fn fft() -> impl FnMut() {
    let front_end = FrontEnd::preset(Preset::Choi);
    let signal = noise(samples(front_end.rate));
    let fft = realfft::RealFftPlanner::<f32>::new().plan_fft_forward(front_end.fft_size);
    let (mut input, mut output) = (fft.make_input_vec(), fft.make_output_vec());
    let mut scratch = fft.make_scratch_vec();
    move || {
        for frame in signal.windows(front_end.fft_size).step_by(front_end.hop) {
            input.copy_from_slice(frame);
            fft.process_with_scratch(&mut input, &mut output, &mut scratch)
                .expect("the slices were made by the plan");
            black_box(&output);
        }
    }
}

fn patcher(rate: u32, interval: f64) -> Patcher {
    let options = PatchOptions {
        segmentation: Segmentation::Sliding,
        partial: Partial::Drop,
        interval,
        content: None,
        total: None,
    };
    Patcher::new(&FrontEnd::preset(Preset::Choi), rate, options).expect("the preset is valid")
}

/// From mono floats at the front end's rate, a patch each `interval` seconds.
fn from_mono(interval: f64) -> impl FnMut() {
    let rate = FrontEnd::preset(Preset::Choi).rate;
    let signal = noise(samples(rate));
    let mut patcher = patcher(rate, interval);
    move || {
        for buffer in signal.chunks(BUFFER) {
            patcher.push(buffer, &mut |patch| {
                black_box(patch);
            });
        }
    }
}

/// From S16 stereo at `rate`, one patch.
fn from_stereo(rate: u32) -> impl FnMut() {
    let bytes = noise(2 * samples(rate))
        .iter()
        .flat_map(|sample| ((sample * 32768.0) as i16).to_le_bytes())
        .collect::<Vec<u8>>();
    let mut patcher = patcher(rate, SECONDS);
    let mut mono = Vec::new();
    move || {
        for buffer in bytes.chunks(4 * BUFFER) {
            downmix(buffer, SampleFormat::S16, 2, &mut mono);
            patcher.push(&mono, &mut |patch| {
                black_box(patch);
            });
        }
    }
}

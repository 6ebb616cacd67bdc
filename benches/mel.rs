// SPDX-License-Identifier: MPL-2.0

//! Choi's front end over 29.12 s of audio, beside the FFTs alone, which nothing can be faster than:
//!
//! ```sh
//! cargo bench --bench mel
//! ```

use divan::{Bencher, black_box};
use gstinstruments::mel::{FrontEnd, Partial, PatchOptions, Patcher, Preset, Segmentation};

fn main() {
    divan::main();
}

/// Seconds of a patch of Choi's.
const SECONDS: f64 = 29.12;

/// White noise from -0.5 to 0.5, by a linear congruential generator.
fn noise(rate: u32) -> Vec<f32> {
    let mut state = 1u32;
    let length = (SECONDS * f64::from(rate)) as usize;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    })
    .take(length)
    .collect()
}

#[divan::bench]
fn fft_alone(bencher: Bencher) {
    let front_end = FrontEnd::preset(Preset::Choi);
    let signal = noise(front_end.rate);
    let fft = realfft::RealFftPlanner::<f32>::new().plan_fft_forward(front_end.fft_size);
    let (mut input, mut output) = (fft.make_input_vec(), fft.make_output_vec());
    let mut scratch = fft.make_scratch_vec();
    bencher.bench_local(|| {
        for frame in signal.windows(front_end.fft_size).step_by(front_end.hop) {
            input.copy_from_slice(frame);
            fft.process_with_scratch(&mut input, &mut output, &mut scratch)
                .expect("the slices were made by the plan");
            black_box(&output);
        }
    });
}

/// The whole front end, from streams of these rates in buffers of 1024 samples, a patch each second.
#[divan::bench(args = [12_000, 44_100, 48_000])]
fn choi(bencher: Bencher, rate: u32) {
    let signal = noise(rate);
    let options = PatchOptions {
        segmentation: Segmentation::Sliding,
        partial: Partial::Drop,
        interval: 1.0,
        content: None,
        total: None,
    };
    let mut patcher =
        Patcher::new(&FrontEnd::preset(Preset::Choi), rate, options).expect("the preset is valid");
    bencher.bench_local(|| {
        for buffer in signal.chunks(1024) {
            patcher.push(buffer, &mut |patch| {
                black_box(patch);
            });
        }
    });
}

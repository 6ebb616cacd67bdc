// SPDX-License-Identifier: MPL-2.0

//! What patches a stream gives.

use super::*;

/// Noise that is the same on every machine, -0.5 to 0.5.
fn noise(samples: usize) -> Vec<f32> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    })
    .take(samples)
    .collect()
}

fn sliding(partial: Partial, interval: f64) -> PatchOptions {
    PatchOptions {
        segmentation: Segmentation::Sliding,
        partial,
        interval,
        content: None,
        total: None,
    }
}

fn excerpt(segmentation: Segmentation, partial: Partial, total: usize) -> PatchOptions {
    PatchOptions {
        segmentation,
        total: Some(total as u64),
        ..sliding(partial, 1.0)
    }
}

fn run(patcher: &mut Patcher, samples: &[f32], chunk: usize) -> Vec<Patch> {
    let mut patches = Vec::new();
    for chunk in samples.chunks(chunk) {
        patcher.push(chunk, &mut |patch| patches.push(patch));
    }
    patcher.finish(&mut |patch| patches.push(patch));
    patches
}

fn patches(front_end: &FrontEnd, options: PatchOptions, samples: &[f32]) -> Vec<Patch> {
    let mut patcher = Patcher::new(front_end, front_end.rate, options).unwrap();
    run(&mut patcher, samples, samples.len().max(1))
}

fn spans(patches: &[Patch]) -> Vec<(u64, u64)> {
    patches
        .iter()
        .map(|patch| (patch.start, patch.end))
        .collect()
}

/// Han's front end: 1 s patches, so that tests are quick.
fn han() -> FrontEnd {
    FrontEnd::preset(Preset::Han)
}

#[test]
fn patches_do_not_depend_on_how_the_stream_is_cut() {
    for rate in [8000, 11025, 22050, 44100, 47999, 48000, 96000, 192000] {
        let samples = noise(rate as usize * 23 / 10);
        let total = samples.len();
        for options in [
            sliding(Partial::Repeat, 0.3),
            excerpt(Segmentation::Uniform, Partial::Zero, total),
        ] {
            let mut patcher = Patcher::new(&han(), rate, options).unwrap();
            let whole = run(&mut patcher, &samples, total);
            assert!(!whole.is_empty());
            for chunk in [1, 997, 48000] {
                // The same patcher again: finish() has reset it.
                assert!(
                    run(&mut patcher, &samples, chunk) == whole,
                    "{rate} Hz, {chunk}"
                );
            }
        }
    }
}

#[test]
fn sliding_patches_are_due_once_an_interval() {
    let front_end = FrontEnd::preset(Preset::Choi);
    let made = patches(
        &front_end,
        sliding(Partial::Repeat, 1.0),
        &noise(12000 * 1009 / 100),
    );
    assert_eq!(made.len(), 10);
    for (patch, second) in made.iter().zip(1..) {
        assert_eq!(patch.start, 0);
        assert!(patch.end <= second * 12000 && patch.end > second * 12000 - 256);
    }
    // A tenth of a second after the last patch there is one more.
    let made = patches(
        &front_end,
        sliding(Partial::Zero, 1.0),
        &noise(12000 * 101 / 10),
    );
    assert_eq!((made.len(), made[10].end), (11, 12000 * 101 / 10));
    // A stream that ends before the first interval.
    let made = patches(&front_end, sliding(Partial::Repeat, 5.0), &noise(3000));
    assert_eq!(spans(&made), [(0, 3000)]);
    // A stream that is shorter than a window.
    assert!(patches(&front_end, sliding(Partial::Repeat, 5.0), &noise(511)).is_empty());
}

#[test]
fn dropping_leaves_whole_windows() {
    let front_end = FrontEnd::preset(Preset::Choi);
    let window = 1365 * 256;
    let made = |samples| patches(&front_end, sliding(Partial::Drop, 1.0), &noise(samples));
    assert!(made(window - 1).is_empty());
    assert_eq!(spans(&made(window)), [(0, window as u64)]);
    // The first patch that is due an interval later starts at the frame nearest to 1 s.
    let expected = [(0, 1366 * 256), (47 * 256, 1413 * 256)];
    assert_eq!(spans(&made(window + 13000)), expected);
}

#[test]
fn short_content_repeats_or_silence_follows() {
    let mut front_end = han();
    let samples = noise(20 * 512);
    let repeated = &patches(&front_end, sliding(Partial::Repeat, 9.0), &samples)[0].data;
    let zero = &patches(&front_end, sliding(Partial::Zero, 9.0), &samples)[0].data;
    front_end.top_db = None;
    let unclamped = &patches(&front_end, sliding(Partial::Zero, 9.0), &samples)[0].data;
    let highest = zero.iter().copied().fold(f32::MIN, f32::max);
    for band in 0..front_end.bands {
        let row = |data: &[f32]| data[band * 43..][..43].to_vec();
        let (repeated, zero, unclamped) = (row(repeated), row(zero), row(unclamped));
        // 1 + samples / hop = 21 frames.
        assert_eq!(repeated[..21], repeated[21..42]);
        assert_eq!(repeated[42], repeated[0]);
        assert_eq!(repeated[..21], zero[..21]);
        assert_eq!(zero[21..], [highest - 80.0; 22]);
        assert!(unclamped[21..].iter().all(|db| (db + 100.0).abs() < 1e-4));
    }
}

#[test]
fn short_content_is_a_short_patch_for_models_of_any_length() {
    let rows = |partial, hops: usize, least: usize| {
        let samples = noise(hops * 512);
        let patcher = Patcher::new(&han(), 22050, sliding(partial, 9.0)).unwrap();
        let made = run(&mut patcher.with_min_frames(least), &samples, 1000);
        let frames = made[0].data.len() / han().bands;
        let rows = made[0].data.chunks_exact(frames);
        rows.map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let whole = rows(Partial::Repeat, 20, usize::MAX);
    // Hops, fewest frames, frames: 1 + hops are there.
    for (least, frames) in [(10, 21), (21, 21), (30, 30), (43, 43)] {
        let short = rows(Partial::Repeat, 20, least);
        for (short, whole) in short.iter().zip(&whole) {
            assert_eq!(short[..], whole[..frames], "{least}");
        }
    }
    assert_eq!(rows(Partial::Repeat, 100, 10)[0].len(), 43);
    assert_eq!(rows(Partial::Zero, 20, 10)[0].len(), 43);
}

#[test]
fn content_is_the_last_audio() {
    let samples = noise(22050 * 3);
    let whole = patches(&han(), sliding(Partial::Repeat, 1.0), &samples);
    let half = PatchOptions {
        content: Some(0.5),
        ..sliding(Partial::Repeat, 1.0)
    };
    let half = patches(&han(), half, &samples);
    assert_eq!(whole.len(), half.len());
    let (whole, half) = (&whole[2], &half[2]);
    // 0.5 s are 21.5 hops.
    assert_eq!((half.start, half.end), (whole.end - 22 * 512, whole.end));
    assert_eq!(half.data[..22], whole.data[43 - 22..43]);
    assert_eq!(half.data[22..43], half.data[..21]);
}

#[test]
fn the_central_patch_is_that_of_the_middle_alone() {
    let samples = noise(100_000);
    let length = 42 * 512;
    let first = (samples.len() - length) / 2;
    let middle = &samples[first..first + length];
    let options = excerpt(Segmentation::Central, Partial::Drop, samples.len());
    let made = patches(&han(), options, &samples);
    assert_eq!(spans(&made), [(first as u64, (first + length) as u64)]);
    assert_eq!(
        made[0].data,
        patches(&han(), sliding(Partial::Drop, 1.0), middle)[0].data
    );
}

#[test]
fn the_uniform_patch_is_that_of_ten_joined_middles() {
    let mut front_end = FrontEnd::preset(Preset::Choi);
    front_end.patch_frames = 101;
    let samples = noise(100_000);
    // Of each tenth, 10,000 samples, the middle 2,560.
    let parts = samples.chunks(10_000).map(|part| &part[3720..6280]);
    let joined: Vec<f32> = parts.flatten().copied().collect();
    let options = excerpt(Segmentation::Uniform, Partial::Drop, samples.len());
    let made = patches(&front_end, options, &samples);
    assert_eq!(spans(&made), [(3720, 96_280)]);
    assert_eq!(
        made[0].data,
        patches(&front_end, sliding(Partial::Drop, 1.0), &joined)[0].data
    );
}

#[test]
fn ten_patches_are_spread_evenly_over_the_stream() {
    let hop = 512;
    for (total, firsts) in [
        // 78,496 samples more than a patch: the middles of their tenths, 3,924 samples and so on, in hops.
        (100_000, [7, 22, 38, 53, 68, 84, 99, 114, 130, 145]),
        // One hop more than a patch.
        (43 * hop, [0; 10]),
    ] {
        let samples = noise(total);
        let at = |hops: usize| sliding(Partial::Drop, hops as f64 * hop as f64 / 22050.0);
        let all = patches(&han(), at(1), &samples);
        let ten = excerpt(Segmentation::Ten, Partial::Drop, total);
        let made = patches(&han(), ten.clone(), &samples);
        assert_eq!(made, firsts.map(|first| all[first].clone()));
        let mut patcher = Patcher::new(&han(), 22050, ten).unwrap();
        assert_eq!(run(&mut patcher, &samples, 333), made);
        assert_eq!(
            run(&mut patcher, &samples, 5000),
            made,
            "again, after the end"
        );
    }
}

#[test]
fn ten_patches_of_a_short_stream_are_one() {
    let samples = noise(12_345);
    let made =
        |partial, total| patches(&han(), excerpt(Segmentation::Ten, partial, total), &samples);
    assert!(made(Partial::Drop, 12_345).is_empty());
    for partial in [Partial::Zero, Partial::Repeat] {
        let expected = patches(&han(), sliding(partial, 9.0), &samples);
        assert_eq!(made(partial, 12_345), expected);
        // And of one that ends long before its announced length.
        assert_eq!(made(partial, 1_234_500), expected);
    }
}

#[test]
fn excerpts_of_short_streams() {
    let samples = noise(12_345);
    let padded = [samples.clone(), vec![0.0; 42 * 512 - samples.len()]].concat();
    for segmentation in [Segmentation::Central, Segmentation::Uniform] {
        let made = |partial| {
            patches(
                &han(),
                excerpt(segmentation, partial, samples.len()),
                &samples,
            )
        };
        assert!(made(Partial::Drop).is_empty());
        let expected = &patches(&han(), sliding(Partial::Drop, 1.0), &padded)[0].data;
        assert_eq!(&made(Partial::Zero)[0].data, expected);
        let expected = patches(&han(), sliding(Partial::Repeat, 9.0), &samples);
        assert_eq!(made(Partial::Repeat), expected);
        // A stream that ends before its announced length.
        let options = excerpt(segmentation, Partial::Repeat, 22050);
        let made = patches(&han(), options, &samples);
        assert_eq!((made.len(), made[0].end), (1, 12_345));
        // And nothing at all.
        assert!(patches(&han(), excerpt(segmentation, Partial::Zero, 0), &[]).is_empty());
    }
}

#[test]
fn every_input_rate_gives_the_same_picture() {
    let tones = |rate: u32| -> Vec<f32> {
        let tone = |n: u32, hz: f32| (std::f32::consts::TAU * hz * n as f32 / rate as f32).sin();
        (0..2 * rate)
            .map(|n| {
                [300.0, 1000.0, 3600.0]
                    .map(|hz| 0.2 * tone(n, hz))
                    .iter()
                    .sum()
            })
            .collect()
    };
    let front_end = FrontEnd {
        top_db: Some(40.0),
        ..FrontEnd::preset(Preset::Han)
    };
    let expected = &patches(&front_end, sliding(Partial::Repeat, 1.5), &tones(22050))[0];
    for rate in [8000, 11025, 44100, 48000, 192000] {
        let mut patcher = Patcher::new(&front_end, rate, sliding(Partial::Repeat, 1.5)).unwrap();
        let made = &run(&mut patcher, &tones(rate), 4800)[0];
        let difference = made
            .data
            .iter()
            .zip(expected.data.iter())
            .map(|(a, b)| (a - b).abs());
        assert!(difference.fold(0.0, f32::max) < 0.05, "{rate} Hz");
        let end = expected.end as f64 / 22050.0;
        assert!((made.end as f64 / f64::from(rate) - end).abs() < 2.0 / f64::from(rate));
    }
}

#[test]
fn samples_that_are_no_numbers_are_silence() {
    let mut samples = noise(22050);
    let mut silenced = samples.clone();
    samples[7000..7003].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    silenced[7000..7003].fill(0.0);
    let made = |samples: &[f32]| patches(&han(), sliding(Partial::Zero, 1.0), samples);
    assert_eq!(made(&samples), made(&silenced));
}

#[test]
fn a_phase_makes_all_sliding_patches_later() {
    let samples = noise(48_000);
    for (partial, ends) in [
        // Whole windows of 39 hops; windows up to the last frame that is complete after 0.65 s.
        (Partial::Drop, [8_640, 16_640, 24_640]),
        (Partial::Repeat, [10_080, 18_080, 26_080]),
    ] {
        let patcher = Patcher::new(&ced(), 16_000, sliding(partial, 0.5)).unwrap();
        let mut patcher = patcher.with_phase(0.3);
        let made = run(&mut patcher, &samples, 1000);
        let found: Vec<u64> = made.iter().take(3).map(|patch| patch.end).collect();
        assert_eq!(found, ends, "{partial:?}");
    }
}

#[test]
fn options_that_make_no_sense_are_named() {
    let error = |rate, options| match Patcher::new(&han(), rate, options) {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    };
    let central = PatchOptions {
        total: None,
        ..excerpt(Segmentation::Central, Partial::Drop, 0)
    };
    assert_eq!(
        error(48000, central),
        FrontEndError::UnknownLength.to_string()
    );
    let often = error(48000, sliding(Partial::Drop, 0.001));
    assert!(often.starts_with("The patch interval is 0.001, but must be from a hop (0.0232"));
    let slow = error(10, sliding(Partial::Drop, 1.0));
    assert!(slow.starts_with("The input's sample rate is 10, but must be 1000 to 1536000 Hz"));
}

/// CED's front end with patches of 0.4 s.
fn ced() -> FrontEnd {
    FrontEnd {
        patch_frames: 40,
        ..FrontEnd::preset(Preset::Ced)
    }
}

#[test]
fn a_mirrored_patch_is_that_of_its_sound_alone() {
    let samples = noise(48_000);
    let mut patcher = Patcher::new(&ced(), 16_000, sliding(Partial::Drop, 0.05)).unwrap();
    let made = run(&mut patcher, &samples, 48_000);
    // 39 hops each, 5 hops apart.
    assert_eq!(made[0].end, 39 * 160);
    assert_eq!(made[9].start, 9 * 5 * 160);
    for patch in &made {
        let alone = &samples[patch.start as usize..patch.end as usize];
        assert_eq!(
            run(&mut patcher, alone, alone.len())[0].data,
            patch.data,
            "{}",
            patch.start
        );
    }
    for chunk in [1, 997, 5000] {
        assert!(run(&mut patcher, &samples, chunk) == made, "{chunk}");
    }
}

#[test]
fn the_mirror_is_at_the_first_and_the_last_sample() {
    // 21 hops and a bit: the last frame is centred before the end.
    for length in [21 * 160 + 77, 39 * 160] {
        let samples = noise(length);
        let before = samples[1..257].iter().rev();
        let after = samples[length - 257..length - 1].iter().rev();
        let padded: Vec<f32> = before.chain(&samples).chain(after).copied().collect();
        let framed = FrontEnd {
            center: false,
            patch_frames: 1 + length / 160,
            ..ced()
        };
        let expected = &patches(&framed, sliding(Partial::Drop, 9.0), &padded)[0];
        for (segmentation, top_db) in [
            (Segmentation::Sliding, None),
            (Segmentation::Central, None),
            (Segmentation::Ten, Some(3.0)),
        ] {
            let front_end = FrontEnd {
                patch_frames: framed.patch_frames,
                top_db,
                ..ced()
            };
            // Of a stream that is a bit longer than a patch the excerpts leave that out.
            if length % 160 != 0 && segmentation != Segmentation::Sliding {
                continue;
            }
            let options = PatchOptions {
                interval: 9.0,
                ..excerpt(segmentation, Partial::Repeat, length)
            };
            let made = patches(&front_end, options, &samples);
            assert_eq!(spans(&made), [(0, length as u64)]);
            let highest = expected.data.iter().copied().fold(f32::MIN, f32::max);
            let clamped =
                |&value: &f32| value.max(top_db.map_or(f32::MIN, |db| highest - db as f32));
            assert!(
                made[0]
                    .data
                    .iter()
                    .copied()
                    .eq(expected.data.iter().map(clamped))
            );
        }
    }
}

#[test]
fn less_sound_than_an_fft_gives_no_patch() {
    // YAMNet's windows are 400 samples in FFTs of 512 that are not centred.
    let yamnet = FrontEnd::preset(Preset::Yamnet);
    for samples in [399, 400, 450, 511] {
        let samples = noise(samples);
        for partial in [Partial::Drop, Partial::Zero, Partial::Repeat] {
            assert!(patches(&yamnet, sliding(partial, 1.0), &samples).is_empty());
            for segmentation in [
                Segmentation::Central,
                Segmentation::Uniform,
                Segmentation::Ten,
            ] {
                let options = excerpt(segmentation, partial, samples.len());
                assert!(patches(&yamnet, options, &samples).is_empty());
            }
        }
    }
    let made = patches(&yamnet, sliding(Partial::Repeat, 1.0), &noise(512));
    assert_eq!(spans(&made), [(0, 512)]);
}

/// The patches of `samples` in pieces of `chunk`, after a gap before each of these samples.
fn run_with_gaps(
    patcher: &mut Patcher,
    samples: &[f32],
    gaps: &[(usize, u64)],
    chunk: usize,
) -> Vec<Patch> {
    let mut patches = Vec::new();
    let mut done = 0;
    for &(before, gap) in gaps {
        for piece in samples[done..before].chunks(chunk) {
            patcher.push(piece, &mut |patch| patches.push(patch));
        }
        patcher.gap(gap, &mut |patch| patches.push(patch));
        done = before;
    }
    patches.extend(run(patcher, &samples[done..], chunk));
    patches
}

#[test]
fn sliding_windows_span_short_gaps() {
    let samples = noise(3 * 22_050);
    for partial in [Partial::Drop, Partial::Repeat] {
        let mut patcher = Patcher::new(&han(), 22_050, sliding(partial, 0.25)).unwrap();
        let whole = run(&mut patcher, &samples, 999);
        let gaps = [(30_000, 5_000), (40_000, 2_000)];
        let made = run_with_gaps(&mut patcher, &samples, &gaps, 999);
        assert_eq!(made.len(), whole.len());
        for (made, whole) in made.iter().zip(&whole) {
            assert_eq!(made.data, whole.data);
            let before = |sample: u64| -> u64 {
                let passed = gaps.iter().filter(|(at, _)| sample >= *at as u64);
                passed.map(|(_, gap)| gap).sum()
            };
            let (start, end) = (
                whole.start + before(whole.start),
                whole.end + before(whole.end - 1),
            );
            assert_eq!((made.start, made.end), (start, end));
            let media = (whole.end - whole.start) as f64 / (end - start) as f64;
            assert!((made.media - media).abs() < 1e-9, "{} {media}", made.media);
        }
        assert!(made.iter().any(|patch| patch.media < 0.8));
        assert!(run_with_gaps(&mut patcher, &samples, &gaps, 50_000) == made);
    }
}

#[test]
fn long_gaps_end_sliding_windows() {
    let samples = noise(3 * 22_050);
    let options = sliding(Partial::Repeat, 0.3);
    let mut patcher = Patcher::new(&han(), 22_050, options.clone()).unwrap();
    // Half of a patch of 43 hops, and more than that.
    assert!(!patcher.ends_windows(11_000) && patcher.ends_windows(11_009));
    let made = run_with_gaps(&mut patcher, &samples, &[(30_000, 11_009)], 777);
    let mut expected = patches(&han(), options.clone(), &samples[..30_000]);
    expected.extend(
        patches(&han(), options, &samples[30_000..])
            .into_iter()
            .map(|patch| Patch {
                start: patch.start + 41_009,
                end: patch.end + 41_009,
                ..patch
            }),
    );
    assert!(made == expected);
    assert!(made.iter().all(|patch| patch.media == 1.0));
    // Of patches of 10 s, more than a second.
    let patcher = Patcher::new(
        &FrontEnd::preset(Preset::Ced),
        16_000,
        sliding(Partial::Drop, 1.0),
    );
    let patcher = patcher.unwrap();
    assert!(!patcher.ends_windows(16_000) && patcher.ends_windows(16_001));
}

#[test]
fn windows_that_are_mostly_gaps_give_no_patch() {
    let samples = noise(3 * 22_050);
    let mut patcher = Patcher::new(&han(), 22_050, sliding(Partial::Drop, 0.1)).unwrap();
    // 0.2 s of sound, 0.4 s of none, and so on; a patch of 1 s spans four to five such gaps.
    let gaps: Vec<_> = (1..10).map(|n| (n * 4_410, 8_820)).collect();
    let made = run_with_gaps(&mut patcher, &samples, &gaps, 999);
    // The last gap is before 39,690 of 66,150 samples: the last windows are whole ones.
    assert!(!made.is_empty() && made.len() < 12, "{}", made.len());
    assert!(made.iter().all(|patch| patch.media >= LEAST_MEDIA));
    assert!(made.iter().all(|patch| patch.end > 39_690 + 9 * 8_820));
}

#[test]
fn excerpts_are_at_their_place_in_the_stream() {
    let samples = noise(100_000);
    let made = |segmentation, partial, from: usize| {
        let options = excerpt(segmentation, partial, samples.len());
        let mut patcher = Patcher::new(&han(), 22_050, options).unwrap();
        let made = run_with_gaps(&mut patcher, &samples[from..], &[(0, from as u64)], 5_000);
        let again = run_with_gaps(&mut patcher, &samples[from..], &[(0, from as u64)], 333);
        assert!(made == again);
        made
    };
    let whole = made(Segmentation::Central, Partial::Drop, 0);
    // The middle patch is from 39,248 to 60,752.
    assert_eq!(spans(&whole), [(39_248, 60_752)]);
    for from in [1, 20_000, 39_248] {
        assert!(made(Segmentation::Central, Partial::Drop, from) == whole);
    }
    assert!(made(Segmentation::Central, Partial::Drop, 39_249).is_empty());
    // A part of it, as of a stream that is short.
    let part = made(Segmentation::Central, Partial::Repeat, 45_000);
    assert_eq!(spans(&part), [(45_000, 60_752)]);
    assert!((part[0].media - 15_752.0 / 21_504.0).abs() < 1e-9);
    let alone = patches(
        &han(),
        sliding(Partial::Repeat, 9.0),
        &samples[45_000..60_752],
    );
    assert_eq!(part[0].data, alone[0].data);
    // Less than half, and nothing.
    assert!(made(Segmentation::Central, Partial::Repeat, 55_000).is_empty());
    assert!(made(Segmentation::Central, Partial::Repeat, 70_000).is_empty());

    // Pieces 3 to 9 of ten: the third begins at 3,924 + 2 * 7,849 + 2 * 2,150 samples.
    let uniform = made(Segmentation::Uniform, Partial::Zero, 20_000);
    assert_eq!(uniform.len(), 1);
    assert!(
        (uniform[0].media - 0.8).abs() < 1e-3,
        "{}",
        uniform[0].media
    );
    assert!((23_900..24_000).contains(&uniform[0].start));
}

#[test]
fn ten_patches_are_at_their_places_in_the_stream() {
    let samples = noise(100_000);
    let ten = excerpt(Segmentation::Ten, Partial::Repeat, samples.len());
    let mut patcher = Patcher::new(&han(), 22_050, ten).unwrap();
    let whole = run(&mut patcher, &samples, 5_000);
    assert_eq!(whole.len(), 10);
    // They begin at frames 7, 22, 38 and so on: after 10,000 samples, frame 19.5, the first is over.
    for chunk in [333, 100_000] {
        let made = run_with_gaps(&mut patcher, &samples[10_000..], &[(0, 10_000)], chunk);
        assert!(made == whole[1..]);
        // Frames that cannot be made because of a gap: those of the patches that begin at 38, 53 and 68.
        let (before, gap) = (70 * 512, 10 * 512);
        let rest = [&samples[..before], &samples[before + gap..]].concat();
        let made = run_with_gaps(&mut patcher, &rest, &[(before, gap as u64)], chunk);
        assert_eq!(spans(&made), spans(&[&whole[..2], &whole[5..]].concat()));
        assert!(made[2..] == whole[5..]);
    }
    // The last one begins at frame 145.
    assert!(run_with_gaps(&mut patcher, &samples[95_000..], &[(0, 95_000)], 333).is_empty());
}

#[test]
fn the_largest_numbers_do_no_harm() {
    let options = PatchOptions {
        interval: MAX_INTERVAL,
        content: Some(f64::MAX),
        ..sliding(Partial::Repeat, 1.0)
    };
    let mut patcher = Patcher::new(&han(), 1_536_000, options).unwrap();
    let gaps = [(100, u64::MAX), (200, u64::MAX), (300, 1)];
    let made = run_with_gaps(&mut patcher, &noise(1_000_000), &gaps, 1_000_000);
    assert_eq!(made.len(), 1);
    for segmentation in [
        Segmentation::Central,
        Segmentation::Uniform,
        Segmentation::Ten,
    ] {
        let options = PatchOptions {
            total: Some(u64::MAX),
            ..excerpt(segmentation, Partial::Zero, 0)
        };
        let mut patcher = Patcher::new(&han(), 1000, options).unwrap();
        run_with_gaps(&mut patcher, &noise(10_000), &gaps, 1000);
    }
    let often = |interval| Patcher::new(&han(), 48_000, sliding(Partial::Drop, interval)).is_ok();
    assert!(often(MAX_INTERVAL) && !often(MAX_INTERVAL * 1.01) && !often(f64::NAN));
}

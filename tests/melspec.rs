// SPDX-License-Identifier: MPL-2.0

//! melspec: which patches come out of which stream, and that the audio passes untouched. The numbers in a patch are
//! the mel module's, which tests/mel_conformance.rs compares with librosa.

mod common;

use std::f64::consts::TAU;
use std::path::Path;

use common::{Bench, assert_untouched, buffer, launch, ms, play};
use gst::prelude::*;
use gstinstruments::mel::{
    Compression, FrontEnd, Partial, PatchOptions, Patcher, Preset, Segmentation,
};
use gstinstruments::meta::{Features, Kind};

/// A front end with patches of 8 frames, which stand for 128 ms.
const SMALL: &str =
    "melspec name=m preset=custom rate=8000 fft-size=256 window-size=256 hop=128 bands=4 fmax=4000
    compression=power-db amin=1e-10 patch-frames=8";
const CAPS: &str = "audio/x-raw,format=F32LE,rate=8000,channels=1,layout=interleaved";
const RATE: u64 = 8000;

/// The front end of [`SMALL`].
fn small() -> FrontEnd {
    FrontEnd {
        rate: 8000,
        fft_size: 256,
        window_size: 256,
        hop: 128,
        bands: 4,
        fmax: 4000.0,
        compression: Compression::PowerDb,
        amin: 1e-10,
        patch_frames: 8,
        ..FrontEnd::preset(Preset::Choi)
    }
}

fn bench(properties: &str) -> Bench {
    Bench::new(&format!("{SMALL} {properties}"), CAPS)
}

/// `samples` samples of a sweep, from sample `from` on.
fn sweep(from: u64, samples: u64) -> Vec<f32> {
    let seconds = |n: u64| n as f64 / RATE as f64;
    (from..from + samples)
        .map(|n| (0.5 * (TAU * (200.0 + 150.0 * seconds(n)) * seconds(n)).sin()) as f32)
        .collect()
}

fn bytes(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// A buffer at [`CAPS`] with `samples`.
fn sound(samples: &[f32], pts: impl Into<Option<gst::ClockTime>>) -> gst::Buffer {
    let duration = ms(samples.len() as u64 * 1000 / RATE);
    buffer(bytes(samples), pts, duration)
}

fn discont(mut buffer: gst::Buffer) -> gst::Buffer {
    buffer
        .get_mut()
        .unwrap()
        .set_flags(gst::BufferFlags::DISCONT);
    buffer
}

/// Start and end of each patch in milliseconds.
fn times(patches: &[Features]) -> Vec<(u64, u64)> {
    patches
        .iter()
        .map(|patch| {
            let start = patch.start.unwrap();
            (
                start.mseconds(),
                (start + patch.duration.unwrap()).mseconds(),
            )
        })
        .collect()
}

/// Passes `buffers` and ends the stream: the patches, on buffers and in events.
fn patches(bench: &mut Bench, buffers: impl IntoIterator<Item = gst::Buffer>) -> Vec<Features> {
    let mut patches = Vec::new();
    for buffer in buffers {
        let passed = bench.pass(buffer);
        patches.extend(bench.metadata().1);
        patches.extend(Features::from_buffer(&passed));
    }
    bench.end();
    patches.extend(bench.metadata().1);
    patches
}

/// The patches that the mel module makes of `samples`.
fn expected(samples: &[f32], rate: u32, options: PatchOptions) -> Vec<gstinstruments::mel::Patch> {
    let mut patcher = Patcher::new(&small(), rate, options).unwrap();
    let mut patches = Vec::new();
    patcher.push(samples, &mut |patch| patches.push(patch));
    patcher.finish(&mut |patch| patches.push(patch));
    patches
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

/// Writes one sample, in 128ths of full scale, in a raw format.
fn write(format: &str, value: i32, bytes: &mut Vec<u8>) {
    let scaled = |bits: u32| value << (bits - 8);
    match format {
        "S8" => bytes.push(value as u8),
        "U8" => bytes.push((value + 128) as u8),
        "S16LE" => bytes.extend((scaled(16) as i16).to_le_bytes()),
        "S16BE" => bytes.extend((scaled(16) as i16).to_be_bytes()),
        "S24LE" => bytes.extend(&scaled(24).to_le_bytes()[..3]),
        "S24_32BE" => bytes.extend(scaled(24).to_be_bytes()),
        "S32LE" => bytes.extend(scaled(32).to_le_bytes()),
        "F32LE" => bytes.extend((value as f32 / 128.0).to_le_bytes()),
        "F32BE" => bytes.extend((value as f32 / 128.0).to_be_bytes()),
        "F64LE" => bytes.extend((f64::from(value) / 128.0).to_le_bytes()),
        _ => panic!("{format}"),
    }
}

#[test]
fn patches_do_not_depend_on_the_buffers_nor_on_the_format() {
    const FRAMES: usize = 24_000;
    let mono: Vec<i32> = (0..FRAMES)
        .map(|n| (40.0 * (n as f64 * n as f64 * 1e-5).sin()) as i32 + n as i32 % 7)
        .collect();
    for (format, layout, channels, rate) in [
        ("S16LE", "interleaved", 2, 48_000),
        ("S16LE", "interleaved", 6, 8_000),
        ("S16BE", "interleaved", 1, 22_050),
        ("S24LE", "interleaved", 3, 44_100),
        ("S24_32BE", "interleaved", 2, 11_025),
        ("S32LE", "interleaved", 5, 32_000),
        ("F32LE", "interleaved", 1, 192_000),
        ("F32LE", "non-interleaved", 2, 16_000),
        ("F32BE", "interleaved", 4, 12_000),
        ("F64LE", "non-interleaved", 6, 96_000),
        ("F64LE", "interleaved", 2, 48_000),
        ("S8", "interleaved", 2, 8_000),
        ("U8", "non-interleaved", 3, 88_200),
    ] {
        let name = format!("{format} {layout} {channels} {rate}");
        // Each channel is another, their mean is `mono`.
        let sample = |frame: usize, channel: usize| {
            2 * mono[frame] + 2 * channel as i32 - (channels as i32 - 1)
        };
        let bytes = |frames: std::ops::Range<usize>| {
            let mut bytes = Vec::new();
            if layout == "interleaved" {
                for frame in frames {
                    (0..channels).for_each(|c| write(format, sample(frame, c), &mut bytes));
                }
            } else {
                for channel in 0..channels {
                    let frames = frames.clone();
                    frames.for_each(|frame| write(format, sample(frame, channel), &mut bytes));
                }
            }
            bytes
        };
        let mask = (1u64 << channels) - 1;
        let caps = format!(
            "audio/x-raw,format={format},rate={rate},channels={channels},layout={layout},channel-mask=(bitmask){mask:#x}"
        );
        let run = |size: usize| {
            let mut bench = Bench::new(&format!("{SMALL} patch-interval=20000000"), &caps);
            let info =
                gst_audio::AudioInfo::from_caps(&caps.parse::<gst::Caps>().unwrap()).unwrap();
            let buffers = (0..FRAMES).step_by(size).map(|from| {
                let frames = from..FRAMES.min(from + size);
                let length = frames.len();
                let time =
                    |n: usize| gst::ClockTime::from_nseconds(n as u64 * 1_000_000_000 / rate);
                let mut buffer = buffer(bytes(frames), time(from), time(length));
                let buffer_ref = buffer.get_mut().unwrap();
                gst_audio::AudioMeta::add(buffer_ref, &info, length, &[]).unwrap();
                buffer
            });
            patches(&mut bench, buffers)
        };
        let whole = run(FRAMES);
        let last = whole.last().unwrap();
        let end = (FRAMES as u64 * 1000 / rate) as i64;
        let last_end = (last.start.unwrap() + last.duration.unwrap()).mseconds() as i64;
        assert!(
            (end - last_end).abs() <= 20,
            "{name}: {last_end} of {end} ms"
        );
        for size in [1, 997, 4800] {
            assert!(run(size) == whole, "{name} in buffers of {size}");
        }
        let mono: Vec<_> = mono.iter().map(|&value| value as f32 / 64.0).collect();
        let expected = expected(&mono, rate as u32, sliding(Partial::Repeat, 0.02));
        assert_eq!(whole.len(), expected.len(), "{name}");
        for (ours, theirs) in whole.iter().zip(&expected) {
            let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-3;
            assert!(!ours.data.iter().zip(theirs.data.iter()).any(far), "{name}");
        }
    }
}

#[test]
fn a_patch_says_what_it_is() {
    let mut bench = bench("partial=drop patch-interval=128000000");
    let all = patches(&mut bench, [sound(&sweep(0, 2048), ms(500))]);
    let patch = &all[0];
    assert_eq!((patch.id.as_str(), patch.kind), ("mel", Kind::Mel));
    assert_eq!(patch.dims, [4, 8]);
    let fields = small().fields().into_iter();
    let fields: Vec<_> = fields.map(|(key, value)| (key.to_owned(), value)).collect();
    assert_eq!(*patch.front_end, fields);
    assert_eq!(times(&all), [(500, 628), (628, 756)]);
    let expected = expected(&sweep(0, 2048), 8000, sliding(Partial::Drop, 0.128));
    assert_eq!(*patch.data, *expected[0].data);
}

#[test]
fn a_patch_rides_on_the_buffer_that_completes_it() {
    let mut bench = bench("partial=drop patch-interval=128000000");
    // 100 ms a buffer: the patches are complete at 128 and 256 ms.
    let counts: Vec<_> = (0..3)
        .map(|index| {
            let buffer = bench.pass(sound(&sweep(index * 800, 800), ms(index * 100)));
            Features::from_buffer(&buffer).len()
        })
        .collect();
    assert_eq!(counts, [0, 1, 1]);
}

#[test]
fn a_patch_is_at_most_a_buffer_late() {
    for rate in [16_000, 44_100, 48_000] {
        for preset in ["choi", "han", "yamnet", "musicnn"] {
            let mut bench = Bench::new(
                &format!("melspec preset={preset} patch-interval=70000000 partial=repeat"),
                &format!("audio/x-raw,format=F32LE,rate={rate},channels=1,layout=interleaved"),
            );
            // Buffers of 20 ms, all of a piece.
            let mut patches = 0;
            for index in 0..200 {
                let samples = sweep(index * rate / 50, rate / 50);
                let buffer = bench.pass(sound(&samples, ms(20 * index)));
                for patch in Features::from_buffer(&buffer) {
                    let end = patch.start.unwrap() + patch.duration.unwrap();
                    let late = buffer.pts().unwrap().saturating_sub(end);
                    assert!(late <= ms(20), "{preset} at {rate} Hz: {late}");
                    patches += 1;
                }
            }
            // Four seconds, the first patch when there is one interval of sound.
            assert!(patches >= 55, "{preset} at {rate} Hz: {patches}");
        }
    }
}

#[test]
fn partial_says_what_becomes_of_the_first_and_the_last_window() {
    let run = |partial: &str, samples: u64| {
        let mut bench = bench(&format!("partial={partial} patch-interval=64000000"));
        let buffers = (0..samples / 80).map(|n| sound(&sweep(n * 80, 80), ms(n * 10)));
        patches(&mut bench, buffers)
    };
    // 260 ms, 17 frames: whole windows end with frames 8, 12 and 16 (of which the last is centred on 240 ms).
    let whole = [(0, 128), (64, 192), (128, 256)];
    assert_eq!(times(&run("drop", 2080)), whole);
    for partial in ["zero", "repeat"] {
        let expected = [&[(0, 64)], &whole[..]].concat();
        assert_eq!(times(&run(partial, 2080)), expected);
        // A last one for what is at least half an interval.
        assert_eq!(times(&run(partial, 2400))[4].1, 300);
    }
    // In the first one 64 ms of sound are 4 frames: again, or then silence, 80 dB below the maximum.
    let repeat = &run("repeat", 2080)[0].data;
    let zero = &run("zero", 2080)[0].data;
    let loudest = zero.iter().copied().fold(f32::MIN, f32::max);
    for band in 0..4 {
        let band = band * 8..band * 8 + 8;
        assert_eq!(repeat[band.clone()][..4], repeat[band.clone()][4..]);
        assert_eq!(zero[band.clone()][..4], repeat[band.clone()][..4]);
        assert_eq!(zero[band][4..], [loudest - 80.0; 4]);
    }
}

#[test]
fn a_stream_shorter_than_a_window_gives_its_patch_in_an_event() {
    let run = |partial: &str, samples: u64| {
        let mut bench = bench(&format!("partial={partial}"));
        let buffer = bench.pass(sound(&sweep(0, samples), ms(3000)));
        assert_eq!(Features::from_buffer(&buffer), []);
        bench.end();
        let events = bench.events();
        let position = |test: &dyn Fn(&gst::Event) -> bool| events.iter().position(test);
        let eos = position(&|event| event.type_() == gst::EventType::Eos).unwrap();
        let patch = position(&|event| gstinstruments::meta::from_event(event).is_some());
        assert!(patch.is_none_or(|patch| patch < eos));
        let found = patch.and_then(|patch| gstinstruments::meta::from_event(&events[patch]));
        found.map_or(Vec::new(), |(_, features)| features)
    };
    assert_eq!(times(&run("repeat", 400)), [(3000, 3050)]);
    assert_eq!(times(&run("zero", 400)), [(3000, 3050)]);
    assert_eq!(run("drop", 400), []);
    // Not even a frame.
    assert_eq!(run("repeat", 255), []);
}

#[test]
fn streams_without_timestamps_start_at_zero() {
    let mut bench = bench("partial=drop patch-interval=128000000");
    let buffers = (0..4).map(|n| sound(&sweep(n * 800, 800), None));
    let expected = [(0, 128), (128, 256), (256, 384)];
    assert_eq!(times(&patches(&mut bench, buffers)), expected);
}

#[test]
fn a_jump_ends_the_windows_and_starts_new_ones() {
    let run = |partial: &str, time: u64, says_so: bool| {
        let mut bench = bench(&format!("partial={partial} patch-interval=128000000"));
        let first = sound(&sweep(0, 3200), ms(0));
        let second = sound(&sweep(3200, 3200), ms(time));
        let second = if says_so { discont(second) } else { second };
        times(&patches(&mut bench, [first, second]))
    };
    let before = [(0, 128), (128, 256), (256, 384)];
    let went_on = [&before[..], &[(384, 512), (512, 640), (640, 768)]].concat();
    let jumped = |time| [&before[..], &before.map(|(a, b)| (a + time, b + time))].concat();
    // The stream says so, and it is more than a container's rounding.
    assert_eq!(run("drop", 700, true), jumped(700));
    assert_eq!(run("drop", 10_000, true), jumped(10_000));
    assert_eq!(run("drop", 100, true), jumped(100));
    assert_eq!(run("drop", 420, true), went_on);
    // It does not say so: only what cannot be rounding counts.
    assert_eq!(run("drop", 700, false), went_on);
    assert_eq!(run("drop", 2000, false), jumped(2000));
    // Where windows need not be whole, one ends with the sound before the jump.
    let mut bench = bench("partial=repeat patch-interval=256000000");
    let buffers = [
        sound(&sweep(0, 3200), ms(0)),
        discont(sound(&sweep(3200, 3200), ms(9000))),
    ];
    let times = times(&patches(&mut bench, buffers));
    assert_eq!((times[0], times[1].1), ((128, 256), 400));
    assert_eq!((times[2], times[3].1), ((9128, 9256), 9400));
}

#[test]
fn a_gap_is_the_same_as_an_event_and_as_a_jump() {
    /// How a container says that there is no sound for a while.
    #[derive(Clone, Copy, PartialEq)]
    enum Says {
        Timestamps,
        Event,
        Events,
    }
    let run = |says: Says, gap: u64| {
        let mut bench = bench("partial=drop patch-interval=16000000");
        let mut all = Features::from_buffer(&bench.pass(sound(&sweep(0, 2000), ms(0))));
        let event = |from: u64, length| {
            let event = gst::event::Gap::builder(ms(250 + from));
            event.duration(ms(length)).build()
        };
        match says {
            Says::Timestamps => (),
            Says::Event => assert!(bench.send(event(0, gap))),
            Says::Events => {
                bench.send(event(0, gap / 2));
                bench.send(event(gap / 2, gap - gap / 2));
            }
        }
        all.extend(bench.metadata().1);
        let rest = sound(&sweep(2000, 2000), ms(250 + gap));
        let rest = match says {
            Says::Timestamps => discont(rest),
            _ => rest,
        };
        all.extend(patches(&mut bench, [rest]));
        all
    };
    for gap in [10, 50, 64, 65, 100, 1000, 60_000] {
        let all = run(Says::Timestamps, gap);
        assert!(run(Says::Event, gap) == all, "{gap}");
        assert!(run(Says::Events, gap) == all, "{gap}");
    }
    // Less than what containers round: the samples are one after the other.
    let rounded = run(Says::Event, 10);
    assert!(rounded.iter().all(|patch| patch.media == 1.0));
    assert_eq!(times(&rounded).last(), Some(&(384, 500)));
    // At most half a patch: windows span it, and say how much of them there was. No silence is put in.
    let spanned = run(Says::Event, 50);
    let whole = expected(&sweep(0, 4000), 8000, sliding(Partial::Drop, 0.016));
    assert_eq!(spanned.len(), whole.len());
    for (spanned, whole) in spanned.iter().zip(&whole) {
        assert!(*spanned.data == *whole.data);
    }
    let across = &spanned[10];
    assert_eq!(times(std::slice::from_ref(across)), [(160, 160 + 128 + 50)]);
    assert!((across.media - 128.0 / 178.0).abs() < 1e-6);
    // A longer one ends the windows.
    for gap in [65, 1000] {
        let ended = run(Says::Event, gap);
        assert!(ended.iter().all(|patch| patch.media == 1.0));
        let times = times(&ended);
        let (before, after): (Vec<_>, Vec<_>) = times.iter().partition(|(start, _)| *start < 250);
        assert_eq!(before.last(), Some(&&(128, 250)));
        assert_eq!(after.first(), Some(&&(250 + gap, 378 + gap)));
    }
}

#[test]
fn gap_events_end_windows_before_the_sound_goes_on() {
    let mut bench = bench("partial=repeat patch-interval=1000000000");
    bench.pass(sound(&sweep(0, 800), ms(0)));
    bench.send(gst::event::Gap::builder(ms(100)).duration(ms(900)).build());
    assert_eq!(times(&bench.metadata().1), [(0, 100)]);
    // The largest times that there are.
    bench.pass(sound(&sweep(0, 800), ms(2000)));
    let largest = gst::ClockTime::from_nseconds(u64::MAX - 1);
    bench.send(gst::event::Gap::builder(largest).duration(largest).build());
    assert_eq!(times(&bench.metadata().1), [(2000, 2100)]);
    let last = discont(sound(
        &sweep(0, 800),
        gst::ClockTime::from_nseconds(u64::MAX - 10),
    ));
    assert_eq!(patches(&mut bench, [last]).len(), 1);
    assert_eq!(bench.outcome().error, None);
}

#[test]
fn another_stream_ends_the_windows() {
    let mut bench = bench("partial=drop patch-interval=128000000");
    let mut all = Features::from_buffer(&bench.pass(sound(&sweep(0, 1800), ms(0))));
    bench.send(gst::event::StreamStart::new("another"));
    all.extend(bench.metadata().1);
    // Its first sample would be the next one.
    all.extend(patches(&mut bench, [sound(&sweep(1800, 1800), ms(225))]));
    assert_eq!(times(&all), [(0, 128), (225, 353)]);
}

#[test]
fn what_is_played_backwards_is_not_analysed() {
    let mut bench = bench("partial=repeat patch-interval=128000000");
    bench.pass(sound(&sweep(0, 100), ms(900)));
    bench.flush();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(-1.0);
    segment.set_stop(ms(1000));
    bench.send(gst::event::Segment::new(&segment));
    let buffers = (0..10).map(|n| discont(sound(&sweep(0, 800), ms(900 - 100 * n))));
    assert_eq!(patches(&mut bench, buffers), []);
}

#[test]
fn sound_shorter_than_an_fft_gives_no_patch() {
    // 25 ms, the window, to 32 ms, the FFT of this front end, whose frames are not centred.
    for samples in [400, 450, 511] {
        for partial in ["drop", "zero", "repeat"] {
            let mut bench = Bench::new(
                &format!("melspec preset=yamnet partial={partial}"),
                "audio/x-raw,format=F32LE,rate=16000,channels=1,layout=interleaved",
            );
            assert_eq!(patches(&mut bench, [sound(&sweep(0, samples), ms(0))]), []);
            assert_eq!(bench.outcome().error, None);
        }
    }
}

#[test]
fn a_flush_forgets_what_was_before() {
    let mut bench = bench("patch-interval=128000000");
    bench.pass(sound(&sweep(0, 900), ms(0)));
    bench.flush();
    assert_eq!(bench.metadata().1, []);
    let all = patches(&mut bench, [sound(&sweep(0, 2048), ms(5000))]);
    assert_eq!(times(&all), [(5000, 5128), (5128, 5256)]);
    let expected = expected(&sweep(0, 2048), 8000, sliding(Partial::Repeat, 0.128));
    assert!(*all[0].data == *expected[0].data);
}

#[test]
fn windows_run_on_over_a_change_of_channels_and_format() {
    let stereo =
        "audio/x-raw,format=F64LE,rate=8000,channels=2,layout=interleaved,channel-mask=(bitmask)3";
    let mut changed = bench("patch-interval=32000000");
    let first = changed.pass(sound(&sweep(0, 1000), ms(0)));
    changed.set_caps(stereo);
    let rest = sweep(1000, 1400);
    let rest: Vec<_> = rest
        .iter()
        .flat_map(|&s| [f64::from(s) + 0.25, f64::from(s) - 0.25])
        .collect();
    let rest = rest.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut all = Features::from_buffer(&first);
    all.extend(patches(&mut changed, [buffer(rest, ms(125), ms(175))]));
    let same = patches(
        &mut bench("patch-interval=32000000"),
        [sound(&sweep(0, 2400), ms(0))],
    );
    assert_eq!(times(&all), times(&same));
    assert!(all == same);
}

#[test]
fn a_change_of_the_rate_ends_the_windows() {
    let mut bench = bench("patch-interval=128000000");
    let mut all = Features::from_buffer(&bench.pass(sound(&sweep(0, 1800), ms(0))));
    bench.set_caps("audio/x-raw,format=F32LE,rate=16000,channels=1,layout=interleaved");
    let rest = buffer(bytes(&sweep(0, 4096)), ms(225), ms(256));
    all.extend(patches(&mut bench, [rest]));
    // The last 97 ms at the old rate deserve a patch.
    assert_eq!(times(&all)[0], (0, 128));
    assert_eq!(times(&all)[1].1, 225);
    assert_eq!(times(&all)[2], (225, 353));
    assert_eq!(all.len(), 4);
}

#[test]
fn less_sound_in_a_patch() {
    let mut bench = bench("patch-duration=64000000 patch-interval=64000000 partial=repeat");
    let all = patches(&mut bench, [sound(&sweep(0, 2048), ms(0))]);
    let patch = all
        .iter()
        .find(|patch| patch.start == Some(ms(64)))
        .unwrap();
    assert_eq!(patch.duration, Some(ms(64)));
    for band in patch.data.chunks(8) {
        assert_eq!(band[..4], band[4..]);
    }
}

/// Writes `samples` as a WAV file, so that a stream knows its duration.
fn write_wav(path: &Path, samples: &[f32]) {
    let size = samples.len() as u32 * 4;
    let mut data = Vec::new();
    data.extend(b"RIFF");
    data.extend((36 + size).to_le_bytes());
    data.extend(b"WAVEfmt ");
    data.extend(16u32.to_le_bytes());
    data.extend([3u16, 1].map(u16::to_le_bytes).concat());
    data.extend([8000u32, 32000].map(u32::to_le_bytes).concat());
    data.extend([4u16, 32].map(u16::to_le_bytes).concat());
    data.extend(b"data");
    data.extend(size.to_le_bytes());
    data.extend(bytes(samples));
    std::fs::write(path, data).unwrap();
}

#[test]
fn central_and_uniform_segmentation() {
    let file = common::folder("segmentation").join("sweep.wav");
    write_wav(&file, &sweep(0, 8000));
    for (segmentation, option, start, end) in [
        // A patch takes 7 hops, 896 samples, of 8000.
        ("central", Segmentation::Central, 444, 556),
        // The middle of the first tenth is 44 samples, of 356 spare ones; of the last, too.
        ("uniform", Segmentation::Uniform, 44, 955),
    ] {
        let pipeline = launch(&format!(
            "filesrc location={} ! wavparse ! {SMALL} segmentation={segmentation} post-messages=true
                ! fakesink name=sink",
            file.display()
        ));
        let record = common::Record::of(&pipeline, "sink");
        let outcome = play(&pipeline);
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.features, 1);
        let buffers = record.buffers();
        let mut patches: Vec<_> = buffers
            .iter()
            .flat_map(|b| Features::from_buffer(b))
            .collect();
        let events = record.events();
        let events = events
            .iter()
            .filter_map(|event| gstinstruments::meta::from_event(event));
        patches.extend(events.flat_map(|(_, features)| features));
        assert_eq!(times(&patches), [(start, end)], "{segmentation}");
        let options = PatchOptions {
            segmentation: option,
            total: Some(8000),
            ..sliding(Partial::Repeat, 1.0)
        };
        let expected = expected(&sweep(0, 8000), 8000, options);
        assert!(*patches[0].data == *expected[0].data, "{segmentation}");
    }
}

/// [`bench`] in a stream that says that it lasts 1 s, which is 8000 samples.
fn bench_of_a_second(properties: &str) -> Bench {
    // Of the first caps the duration is not known.
    let caps = "audio/x-raw,format=F32LE,rate=16000,channels=1,layout=interleaved";
    let mut bench = Bench::new(&format!("{SMALL} {properties}"), caps);
    let sink = bench.element("m").static_pad("sink").unwrap();
    let upstream = sink.peer().unwrap();
    upstream.add_probe(gst::PadProbeType::QUERY_UPSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Query(query)) = &mut info.data
            && let gst::QueryViewMut::Duration(duration) = query.view_mut()
        {
            duration.set(gst::ClockTime::SECOND);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
    bench.set_caps(CAPS);
    bench
}

#[test]
fn a_seek_leaves_patches_at_their_places_in_the_stream() {
    // After a seek to `time`, to the end.
    let run = |segmentation: &str, time: u64| {
        let mut bench = bench_of_a_second(&format!("partial=drop segmentation={segmentation}"));
        bench.pass(sound(&sweep(0, 800), ms(0)));
        bench.send(gst::event::FlushStart::new());
        bench.send(gst::event::FlushStop::new(true));
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        // Timestamps need not be those of the stream.
        segment.set_start(ms(5000));
        segment.set_time(ms(time));
        bench.send(gst::event::Segment::new(&segment));
        let rest = (time / 100..10)
            .map(|n| sound(&sweep(n * 800, 800), ms(5000 + n * 100 - time)))
            .collect::<Vec<_>>();
        patches(&mut bench, rest)
    };
    // As central_and_uniform_segmentation has it.
    let whole = run("central", 0);
    assert_eq!(times(&whole), [(5444, 5556)]);
    let rest = run("central", 400);
    assert_eq!(times(&rest), [(5044, 5156)]);
    assert!(rest[0].data == whole[0].data);
    assert_eq!(run("central", 500), []);
    assert_eq!(run("uniform", 500), []);
    // Of ten patches, those that begin at 480 ms, 576 ms and so on; the one before begins at 384 ms.
    let (whole, rest) = (run("ten", 0), run("ten", 400));
    assert_eq!((whole.len(), rest.len()), (10, 5));
    for (whole, rest) in whole[5..].iter().zip(&rest) {
        assert_eq!(rest.start.map(|start| start + ms(400)), whole.start);
        assert!(rest.data == whole.data);
    }
}

#[test]
fn a_jump_leaves_patches_at_their_places_in_the_stream() {
    let run = |partial: &str, lacks: std::ops::Range<u64>| {
        let options = format!("segmentation=central partial={partial}");
        let mut bench = bench_of_a_second(&options);
        let buffers = (0..10).filter(|n| !lacks.contains(n));
        let buffers: Vec<_> = buffers
            .map(|n| {
                let buffer = sound(&sweep(n * 800, 800), ms(n * 100));
                if n == lacks.end {
                    discont(buffer)
                } else {
                    buffer
                }
            })
            .collect();
        patches(&mut bench, buffers)
    };
    let whole = run("drop", 0..0);
    assert_eq!(times(&whole), [(444, 556)]);
    assert!(run("drop", 1..3) == whole);
    assert!(run("drop", 6..9) == whole);
    assert_eq!(run("drop", 5..6), []);
    // Exactly half of it is there.
    let half = run("repeat", 5..6);
    assert_eq!(times(&half), [(444, 500)]);
    assert_eq!(half[0].media, 0.5);
    assert_eq!(run("repeat", 4..6), []);
}

#[test]
fn a_stream_that_follows_another_has_a_middle_of_its_own() {
    let mut bench = bench_of_a_second("segmentation=central partial=drop");
    let stream = || (0..10).map(|n| sound(&sweep(n * 800, 800), ms(n * 100)));
    let mut all = Vec::new();
    for buffer in stream() {
        all.extend(Features::from_buffer(&bench.pass(buffer)));
    }
    bench.send(gst::event::StreamStart::new("another"));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    bench.send(gst::event::Segment::new(&segment));
    all.extend(bench.metadata().1);
    all.extend(patches(&mut bench, stream()));
    assert_eq!(times(&all), [(444, 556), (444, 556)]);
    assert!(all[0].data == all[1].data);
}

#[test]
fn central_segmentation_of_a_stream_of_unknown_duration_is_an_error() {
    let mut bench = bench("segmentation=central");
    assert!(bench.push(sound(&sweep(0, 800), ms(0))).is_err());
    let outcome = bench.outcome();
    assert!(
        outcome.error_text().contains("need the stream's duration"),
        "{outcome:?}"
    );
}

#[test]
fn parameters_come_from_the_model_downstream() {
    let mut bench = Bench::new(
        "melspec ! frameclassify name=f model=audio threshold=0",
        CAPS,
    );
    let all = patches(&mut bench, [sound(&sweep(0, 8000), ms(0))]);
    let mel: Vec<_> = all.iter().filter(|f| f.kind == Kind::Mel).collect();
    assert_eq!(mel[0].dims, [4, 8]);
    let field = |key| {
        mel[0]
            .front_end
            .iter()
            .find(|(k, _)| k == key)
            .unwrap()
            .1
            .as_str()
    };
    assert_eq!((field("rate"), field("compression")), ("8000", "power-db"));
    // The embedding is the mean of each band over time.
    let embeddings: Vec<_> = all.iter().filter(|f| f.kind == Kind::Embedding).collect();
    assert_eq!(embeddings.len(), mel.len());
    for (embedding, mel) in embeddings.iter().zip(&mel) {
        assert_eq!(embedding.start, mel.start);
        for (value, band) in embedding.data.iter().zip(mel.data.chunks(8)) {
            assert!((value - band.iter().sum::<f32>() / 8.0).abs() < 1e-4);
        }
    }
}

#[test]
fn parameters_that_contradict_the_model_are_an_error_that_names_both() {
    let mut bench = Bench::new("melspec bands=64 hop=64 ! frameclassify model=audio", CAPS);
    assert!(bench.push(sound(&sweep(0, 800), ms(0))).is_err());
    let outcome = bench.outcome();
    let error = outcome.error_text();
    assert!(error.contains("bands is 64, the model's is 4"), "{error}");
    assert!(error.contains("hop is 64, the model's is 128"), "{error}");
}

#[test]
fn parameters_that_make_no_sense_are_an_error_that_names_them() {
    let mut bench = Bench::new("melspec preset=custom fmax=7000", CAPS);
    assert!(bench.push(sound(&sweep(0, 800), ms(0))).is_err());
    let outcome = bench.outcome();
    let error = outcome.error_text();
    assert!(error.contains("fmax") && error.contains("7000"), "{error}");
}

#[test]
fn a_mel_range_without_an_fft_bin_is_an_error() {
    for properties in [
        "fmin=100 fmax=101",
        "fmax=10",
        "fft-size=2 window-size=2 hop=1 bands=1",
    ] {
        let mut bench = Bench::new(&format!("melspec preset=custom {properties}"), CAPS);
        assert!(bench.push(sound(&sweep(0, 800), ms(0))).is_err());
        let outcome = bench.outcome();
        let error = outcome.error_text();
        assert!(error.contains("an FFT bin between"), "{error}");
    }
}

#[test]
fn a_preset_takes_the_length_of_a_patch_from_the_model() {
    // ced-yt8m13, whose patches are at most half as long as CED's.
    let frames = |samples| {
        let mut bench = Bench::new(
            "melspec preset=ced ! frameclassify",
            "audio/x-raw,format=F32LE,rate=16000,channels=1,layout=interleaved",
        );
        let all = patches(&mut bench, [sound(&sweep(0, samples), ms(0))]);
        assert_eq!(bench.outcome().error, None);
        let patch = all.iter().rfind(|patch| patch.id == "mel").unwrap();
        assert_eq!(patch.dims[0], 64);
        patch.dims[1]
    };
    assert_eq!(frames(90_000), 512);
    // What is shorter is not repeated, unless the model takes no patch as short.
    assert_eq!(frames(40_000), 251);
    assert_eq!(frames(8_000), 144);
}

#[test]
fn properties_say_when_they_can_change() {
    common::init();
    let element = gst::ElementFactory::make("melspec").build().unwrap();
    for property in element.list_properties() {
        let own = property.owner_type() == element.type_();
        let flags = property.flags();
        let playing = property.name() == "post-messages";
        let flag = |flag: gst::glib::ParamFlags| flags.contains(flag);
        assert!(
            !own || flag(gst::PARAM_FLAG_MUTABLE_PLAYING) == playing,
            "{}",
            property.name()
        );
        assert!(
            !own || flag(gst::PARAM_FLAG_MUTABLE_READY) != playing,
            "{}",
            property.name()
        );
    }
}

#[test]
fn presets() {
    for &(preset, name) in [
        &[(Preset::Choi, "auto"), (Preset::Choi, "custom")],
        Preset::ALL,
    ]
    .concat()
    .iter()
    {
        let mut bench = Bench::new(&format!("melspec preset={name}"), CAPS);
        let all = patches(&mut bench, [sound(&sweep(0, 2400), ms(0))]);
        let front_end = FrontEnd::preset(preset);
        let dims = [front_end.bands as u32, front_end.patch_frames as u32];
        assert_eq!(all[0].dims, dims, "{name}");
        let fields = all[0]
            .front_end
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()));
        assert_eq!(FrontEnd::from_fields(fields).unwrap(), front_end);
    }
}

#[test]
fn messages_are_posted_on_request() {
    let count = |properties: &str| {
        let mut bench = bench(&format!(
            "partial=drop patch-interval=128000000 {properties}"
        ));
        bench.pass(sound(&sweep(0, 4096), ms(0)));
        bench.end();
        bench.outcome().features
    };
    assert_eq!(count(""), 0);
    assert_eq!(count("post-messages=true"), 4);
}

#[test]
fn audio_passes_untouched_and_uncopied() {
    let mut bench = bench("patch-interval=20000000");
    for index in 0..4 {
        let mut original = sound(&sweep(index * 800, 800), ms(index * 100));
        let fields = original.get_mut().unwrap();
        fields.set_offset(index * 800);
        fields.set_offset_end(index * 800 + 800);
        fields.set_flags(gst::BufferFlags::MARKER);
        // The second reference is what another branch of a tee holds.
        let passed = bench.pass(original.clone());
        assert_untouched(&passed, &original);
        assert!(!Features::from_buffer(&passed).is_empty());
        assert_eq!(Features::from_buffer(&original), []);
    }
}

#[test]
fn silence_is_what_stays_below_a_level_not_only_zeros() {
    // -80 and -60 dB of full scale: dither, and a quiet room.
    let noise = |peak: f32| -> Vec<f32> {
        (0..2400_u32)
            .map(|n| peak * ((n.wrapping_mul(2_654_435_761) >> 16) as f32 / 32_768.0 - 1.0))
            .collect()
    };
    for (peak, expected) in [(0.0, true), (1e-4, true), (1e-3, false)] {
        let mut bench = bench("patch-interval=100000000 partial=drop");
        let made = patches(&mut bench, [sound(&noise(peak), ms(0))]);
        assert!(!made.is_empty());
        assert!(made.iter().all(|patch| patch.blank == expected), "{peak}");
    }
    // A sound of 20 ms makes the patches that begin before its end no silence.
    let mut samples = noise(1e-4);
    samples[400..560].fill(0.5);
    let mut bench = bench("patch-interval=20000000 partial=drop");
    let buffers = samples.chunks(80).enumerate();
    let buffers = buffers.map(|(n, samples)| sound(samples, ms(10 * n as u64)));
    let made = patches(&mut bench, buffers.collect::<Vec<_>>());
    for (patch, (start, _)) in made.iter().zip(times(&made)) {
        // A patch that ends before the sound may be made after it has begun.
        if start >= 70 {
            assert!(patch.blank, "from {start} ms");
        } else {
            let end = start + 128;
            assert_eq!(patch.blank, end < 50, "{start} to {end} ms");
        }
    }
    assert!(made.iter().any(|patch| patch.blank) && made.iter().any(|patch| !patch.blank));
}

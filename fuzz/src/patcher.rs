// SPDX-License-Identifier: MPL-2.0

use arbitrary::{Result, Unstructured};
use gstinstruments::mel::{
    Compression, FrontEnd, MelNorm, MelScale, Partial, Patch, PatchOptions, Patcher, Preset,
    Segmentation,
};

/// A stream in buffers of any sizes: the patches are those of the stream in one piece, to the last bit, and a
/// patcher that was reset is as good as new.
pub fn patcher(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured) -> Result<()> {
    let front_end = front_end(u)?;
    let rate = *u.choose(&[8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])?;
    let sound = sound(u)?;
    let options = options(u, &front_end, sound.len() as u64)?;
    let (Ok(mut whole), Ok(mut pieces)) = (
        Patcher::new(&front_end, rate, options.clone()),
        Patcher::new(&front_end, rate, options.clone()),
    ) else {
        return Ok(());
    };
    let expected = patches(&mut whole, [&sound[..]].into_iter());

    // A stream that breaks off before it, and its reset, leave nothing behind.
    if u.arbitrary()? {
        let (first, _) = sound.split_at(u.int_in_range(0..=sound.len())?);
        pieces.push(first, &mut |_| ());
        pieces.reset();
    }
    let mut sizes = Vec::new();
    let mut left = sound.len();
    while left > 0 {
        let most = *u.choose(&[1, 16, 480, 1024, 5000])?;
        // Without bytes left in the input, each number is the least of its range.
        let least = usize::from(u.is_empty()) * 700;
        let size = u.int_in_range(0..=most)?.max(least).min(left);
        left -= size;
        sizes.push(size);
    }
    let mut rest = &sound[..];
    let schedule = sizes.iter().map(|&size| {
        let (piece, after) = rest.split_at(size);
        rest = after;
        piece
    });
    let found = patches(&mut pieces, schedule);
    let bits = |patches: &[Patch]| -> Vec<(u64, u64, Vec<u32>)> {
        let values = |patch: &Patch| patch.data.iter().map(|value| value.to_bits()).collect();
        patches
            .iter()
            .map(|patch| (patch.start, patch.end, values(patch)))
            .collect()
    };
    assert!(
        bits(&expected) == bits(&found),
        "{} patches in one piece, {} in {sizes:?}: {front_end:?} {options:?} from {rate} Hz",
        expected.len(),
        found.len()
    );
    for patch in expected {
        assert!(patch.start <= patch.end && patch.end <= sound.len() as u64);
        assert!(patch.data.iter().all(|value| value.is_finite()));
    }
    Ok(())
}

fn patches<'a>(patcher: &mut Patcher, pieces: impl Iterator<Item = &'a [f32]>) -> Vec<Patch> {
    let mut patches = Vec::new();
    for piece in pieces {
        patcher.push(piece, &mut |patch| patches.push(patch));
    }
    patcher.finish(&mut |patch| patches.push(patch));
    patches
}

fn front_end(u: &mut Unstructured) -> Result<FrontEnd> {
    let fft_size = *u.choose(&[64, 100, 256, 512])?;
    let rate = *u.choose(&[8000, 12_000, 16_000])?;
    Ok(FrontEnd {
        rate,
        fft_size,
        window_size: u.int_in_range(1..=fft_size)?,
        hop: u.int_in_range(16..=fft_size)?,
        bands: u.int_in_range(1..=24)?,
        fmin: f64::from(u.int_in_range(0..=1000u32)?),
        fmax: f64::from(u.int_in_range(2000..=rate / 2)?),
        mel_scale: *u.choose(&[MelScale::Slaney, MelScale::Htk])?,
        mel_norm: *u.choose(&[MelNorm::Slaney, MelNorm::None])?,
        power: u.int_in_range(1..=2)?,
        compression: *u.choose(&[
            Compression::None,
            Compression::PowerDb,
            Compression::AmplitudeDb,
            Compression::Ln,
            Compression::Log10,
        ])?,
        offset: 0.001,
        top_db: u.arbitrary::<bool>()?.then_some(80.0),
        center: u.arbitrary()?,
        patch_frames: u.int_in_range(1..=40)?,
        ..FrontEnd::preset(Preset::Choi)
    })
}

fn options(u: &mut Unstructured, front_end: &FrontEnd, length: u64) -> Result<PatchOptions> {
    use Segmentation::{Central, Sliding, Ten, Uniform};
    let hop = front_end.hop as f64 / f64::from(front_end.rate);
    let total = match u.int_in_range(0..=3)? {
        0 => None,
        1 => Some(u.arbitrary()?),
        _ => Some(length),
    };
    Ok(PatchOptions {
        segmentation: *u.choose(&[Sliding, Sliding, Central, Uniform, Ten])?,
        partial: *u.choose(&[Partial::Drop, Partial::Zero, Partial::Repeat])?,
        interval: match u.int_in_range(0..=4)? {
            0 => u.arbitrary()?,
            _ => hop * f64::from(u.int_in_range(10..=400u32)?) / 10.0,
        },
        content: match u.int_in_range(0..=3)? {
            0 => Some(u.arbitrary()?),
            1 => Some(hop * f64::from(u.int_in_range(1..=50u32)?)),
            _ => None,
        },
        total,
    })
}

/// Noise, some of it silent and some of it no numbers.
fn sound(u: &mut Unstructured) -> Result<Vec<f32>> {
    let most = *u.choose(&[400, 4096, 12_000])?;
    let length = u.int_in_range(0..=most)?;
    let mut state = u.arbitrary::<u32>()? | 1;
    let broken = *u.choose(&[0.0, f32::NAN, f32::INFINITY])?;
    Ok((0..length)
        .map(|n| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            match n % 1000 {
                700.. => broken,
                _ => state as i32 as f32 / i32::MAX as f32,
            }
        })
        .collect())
}

// SPDX-License-Identifier: MPL-2.0

use arbitrary::{Result, Unstructured};
use gstinstruments::mel::{FrontEnd, Partial, PatchOptions, Patcher, Preset, Segmentation};

/// Larger front ends are only checked, since a run of one takes seconds.
const MOST_VALUES: usize = 1 << 16;

/// A preset's parameters with a few changed: what is accepted can be built and run, and gives finite patches.
pub fn front_end(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured) -> Result<()> {
    let preset = *u.choose(&[Preset::Choi, Preset::Han, Preset::Yamnet, Preset::Musicnn])?;
    let mut fields = FrontEnd::preset(preset).fields();
    for _ in 0..u.int_in_range(0..=6)? {
        let index = u.choose_index(fields.len())?;
        fields[index].1 = value(u)?;
    }
    let pairs = fields.iter().map(|(key, value)| (*key, value.as_str()));
    let Ok(front_end) = FrontEnd::from_fields(pairs) else {
        return Ok(());
    };
    let again = front_end.fields();
    let again = FrontEnd::from_fields(again.iter().map(|(key, value)| (*key, value.as_str())));
    assert_eq!(again.as_ref(), Ok(&front_end));
    let values = front_end.patch_frames.saturating_mul(front_end.bands);
    if front_end.fft_size > 8192 || values > MOST_VALUES {
        return Ok(());
    }
    let options = PatchOptions {
        segmentation: Segmentation::Sliding,
        partial: *u.choose(&[Partial::Drop, Partial::Zero, Partial::Repeat])?,
        interval: front_end.hop as f64 / f64::from(front_end.rate)
            * f64::from(u.int_in_range(1..=50u32)?),
        content: None,
        total: None,
    };
    let rate = u.int_in_range(1000..=192_000u32)?;
    let mut patcher = Patcher::new(&front_end, rate, options)
        .unwrap_or_else(|error| panic!("a valid front end was refused: {error}"));
    let count = u.int_in_range(0..=4000usize)?;
    let loudness = *u.choose(&[1.0, 0.0, 1e-30, f32::MAX])?;
    let sound: Vec<f32> = (0..count)
        .map(|n| (n as f32 * 0.7).sin() * loudness)
        .collect();
    let mut emit = |patch: gstinstruments::mel::Patch| {
        assert_eq!(patch.data.len(), values);
        assert!(patch.start <= patch.end && patch.end <= count as u64);
        let loud = loudness > 1.0;
        assert!(
            loud || patch.data.iter().all(|value| value.is_finite()),
            "{front_end:?}"
        );
    };
    patcher.push(&sound, &mut emit);
    patcher.finish(&mut emit);
    Ok(())
}

/// A value that some parameter may have, as text.
fn value(u: &mut Unstructured) -> Result<String> {
    let words = [
        "hann",
        "slaney",
        "htk",
        "none",
        "power-db",
        "amplitude-db",
        "ln",
        "log10",
        "true",
        "false",
        "NaN",
        "inf",
        "",
        "0",
        "-1",
        "-0",
        "1e-38",
        "1e-45",
        "3e38",
        "1e300",
    ];
    Ok(match u.int_in_range(0..=5)? {
        0 => (*u.choose(&words)?).to_owned(),
        1 => u.arbitrary::<u64>()?.to_string(),
        2 => u.arbitrary::<f64>()?.to_string(),
        3 => u.int_in_range(0..=16u32)?.to_string(),
        4 => (1u32 << u.int_in_range(0..=17)?).to_string(),
        _ => u.int_in_range(0..=24_000u32)?.to_string(),
    })
}

// SPDX-License-Identifier: MPL-2.0

use arbitrary::{Result, Unstructured};
use gstinstruments::fusion::{Collector, Config, Source, Span, Window};

/// Windows of a few embeddings: more of them means work without end.
const MOST_WINDOWS: usize = 10_000;

/// Embeddings at any times: windows come in order, are as long as asked for, hold something, and are finite in number.
pub fn collector(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured) -> Result<()> {
    let stride = length(u)?;
    let window = stride.max(1).saturating_mul(u.int_in_range(0..=100)?);
    let config = Config {
        window: window.saturating_add(u.int_in_range(0..=9)?),
        stride,
    };
    let mut collector = Collector::new(config);
    let mut last = 0;
    let mut windows = 0;
    let mut now = 0u64;
    while !u.is_empty() {
        // Mostly forwards, by a little.
        now = match u.int_in_range(0..=9)? {
            0 => u.arbitrary()?,
            1 => now.saturating_sub(u.int_in_range(0..=200)?),
            _ => now.saturating_add(u.int_in_range(0..=40)?),
        };
        match u.int_in_range(0..=7)? {
            0 => {
                windows = 0;
                last = 0;
                collector.reset();
            }
            1 => {
                while let Some(window) = collector.finish(now) {
                    check(&window, &config, now, last);
                    last = window.span.end;
                    windows += 1;
                    assert!(windows <= MOST_WINDOWS, "windows without end: {config:?}");
                }
                (windows, last) = (0, 0);
            }
            2 | 3 => {
                while let Some(window) = collector.due(now) {
                    check(&window, &config, now, last);
                    last = window.span.end;
                    windows += 1;
                    assert!(windows <= MOST_WINDOWS, "windows without end: {config:?}");
                }
            }
            _ => {
                let source = *u.choose(&[Source::Video, Source::Audio])?;
                let end = match u.int_in_range(0..=9)? {
                    0 => u.arbitrary()?,
                    1 => now,
                    _ => now.saturating_add(u.int_in_range(0..=60)?),
                };
                let span = Span { start: now, end };
                // Now and then media lacks its embedding, or an embedding its media.
                if u.ratio(9, 10)? {
                    collector.cover(span);
                }
                if u.ratio(9, 10)? {
                    collector.push(source, span, [1.0].into(), u.arbitrary()?);
                }
            }
        }
    }
    Ok(())
}

/// `now` is the time asked for, `last` the end of the window before.
fn check(window: &Window, config: &Config, now: u64, last: u64) {
    let Span { start, end } = window.span;
    assert!(start < end && end <= now, "{window:?} at {now}");
    assert!(
        end > last || last == 0,
        "{window:?} after one that ended at {last}"
    );
    assert!(
        end - start <= config.window.max(1),
        "{window:?} of {config:?}"
    );
    assert!((0.5..=1.0).contains(&window.media), "{window:?}");
    assert!(
        !window.video.is_empty() || window.audio.is_some(),
        "{window:?} is empty"
    );
    let audio = window.audio.iter().flat_map(|audio| audio.iter());
    assert!(
        audio.into_iter().all(|value| (value - 1.0).abs() < 1e-3),
        "{window:?}"
    );
}

/// A window's length or a stride.
fn length(u: &mut Unstructured) -> Result<u64> {
    match u.int_in_range(0..=9)? {
        0 => u.arbitrary(),
        _ => u.int_in_range(0..=100),
    }
}

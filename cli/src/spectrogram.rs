// SPDX-License-Identifier: MPL-2.0

//! A picture of the mel spectrogram of a whole input, from the patches that the sound model took. Knows no GStreamer.

use std::ops::Range;

/// Seconds of a column, until there are too many of them.
const COLUMN: f64 = 0.25;
/// Columns at most that are kept; then two become one.
const MOST_KEPT: usize = 2400;
/// Columns of the picture at most.
const MOST_COLUMNS: usize = 1200;
/// Lines of the picture for a band.
const LINES: usize = 2;
const QUALITY: u8 = 70;

/// Colours from quiet to loud (matplotlib's "magma", eight of its steps).
const COLOURS: [[u8; 3]; 8] = [
    [0, 0, 4],
    [35, 17, 81],
    [95, 24, 127],
    [152, 45, 128],
    [211, 67, 110],
    [248, 118, 92],
    [254, 186, 128],
    [252, 253, 191],
];

/// The mel bands over time, in a bounded number of columns.
#[derive(Debug, Clone)]
pub struct Spectrogram {
    bands: usize,
    /// Seconds of a column.
    column: f64,
    /// The sum of a column's frames, `[bands]`, and their count.
    columns: Vec<(Vec<f32>, u32)>,
    /// Seconds up to which frames came: patches overlap.
    until: f64,
}

impl Default for Spectrogram {
    fn default() -> Self {
        Self {
            bands: 0,
            column: COLUMN,
            columns: Vec::new(),
            until: 0.0,
        }
    }
}

impl Spectrogram {
    /// Adds a patch `[bands, frames]`, row-major, of which the frames in `time`, in seconds, are about the input; a frame
    /// is `hop` seconds after the one before.
    pub fn add(&mut self, data: &[f32], bands: usize, time: Range<f64>, hop: f64) {
        let frames = data.len() / bands.max(1);
        if bands == 0 || hop <= 0.0 || (self.bands != 0 && self.bands != bands) {
            return;
        }
        self.bands = bands;
        for frame in 0..frames {
            let at = time.start + frame as f64 * hop;
            if at >= time.end {
                break;
            }
            if at < self.until {
                continue;
            }
            while at >= self.column * MOST_KEPT as f64 {
                self.halve();
            }
            let column = (at / self.column) as usize;
            if column >= self.columns.len() {
                self.columns.resize(column + 1, (Vec::new(), 0));
            }
            let (sums, count) = &mut self.columns[column];
            sums.resize(bands, 0.0);
            for (band, sum) in sums.iter_mut().enumerate() {
                *sum += data[band * frames + frame];
            }
            *count += 1;
            self.until = at + hop / 2.0;
        }
    }

    /// Makes one column of two.
    fn halve(&mut self) {
        self.column *= 2.0;
        let pairs = self.columns.chunks_mut(2).map(|pair| match pair {
            [(sums, count), (next, more)] if *count > 0 && *more > 0 => {
                for (sum, next) in sums.iter_mut().zip(next) {
                    *sum += *next;
                }
                (std::mem::take(sums), *count + *more)
            }
            // At most one of them has something.
            pair => {
                let filled = pair.iter_mut().find(|(_, count)| *count > 0);
                filled.map(std::mem::take).unwrap_or_default()
            }
        });
        self.columns = pairs.collect();
    }

    /// A JPEG from the input's start to its `duration`, low bands at the bottom; `None` without any sound.
    pub fn jpeg(&self, duration: f64) -> Option<Vec<u8>> {
        let means: Vec<Option<Vec<f32>>> = self
            .columns
            .iter()
            .map(|(sums, count)| {
                (*count > 0).then(|| sums.iter().map(|sum| sum / *count as f32).collect())
            })
            .collect();
        let mut values: Vec<f32> = means
            .iter()
            .flatten()
            .flatten()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        if values.is_empty() {
            return None;
        }
        values.sort_by(f32::total_cmp);
        // A few outliers would leave the rest without contrast.
        let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
        let (low, high) = (at(0.05), at(0.995));
        let kept = ((duration / self.column).ceil() as usize).max(1);
        let (width, height) = (kept.min(MOST_COLUMNS), self.bands * LINES);
        let mut pixels = vec![0; width * height * 3];
        for x in 0..width {
            let column = means.get(x * kept / width).and_then(Option::as_ref);
            for y in 0..height {
                let band = self.bands - 1 - y / LINES;
                let level =
                    column.map_or(0.0, |column| (column[band] - low) / (high - low).max(1e-6));
                pixels[(y * width + x) * 3..][..3].copy_from_slice(&colour(level));
            }
        }
        jpeg(&pixels, width, height, QUALITY)
    }
}

fn colour(level: f32) -> [u8; 3] {
    let place = level.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let below = (place as usize).min(COLOURS.len() - 2);
    let share = place - below as f32;
    std::array::from_fn(|channel| {
        let [from, to] = [COLOURS[below][channel], COLOURS[below + 1][channel]].map(f32::from);
        (from + share * (to - from)) as u8
    })
}

/// RGB pixels, row-major, as a JPEG; `None` when they are too many for one.
pub fn jpeg(pixels: &[u8], width: usize, height: usize, quality: u8) -> Option<Vec<u8>> {
    let (wide, high) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    let mut data = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut data, quality);
    encoder
        .encode(pixels, wide, high, jpeg_encoder::ColorType::Rgb)
        .ok()?;
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_patches_count_once_and_padding_not_at_all() {
        let mut spectrogram = Spectrogram::default();
        // Two bands, frames each 0.1 s; the first patch has 10 frames but is about 0.5 s only.
        let patch = |value: f32| [vec![value; 10], vec![-value; 10]].concat();
        spectrogram.add(&patch(1.0), 2, 0.0..0.5, 0.1);
        spectrogram.add(&patch(3.0), 2, 0.22..1.22, 0.1);
        let means: Vec<_> = spectrogram
            .columns
            .iter()
            .map(|(sums, count)| sums[0] / *count as f32)
            .collect();
        let counts: Vec<_> = spectrogram
            .columns
            .iter()
            .map(|(_, count)| *count)
            .collect();
        assert_eq!(counts.iter().sum::<u32>(), 5 + 7, "{counts:?}");
        assert_eq!((means[0], means[1]), (1.0, 1.0));
        assert_eq!(means[2..], [3.0; 3]);
        assert_eq!(
            spectrogram.columns[3].0[1],
            -3.0 * spectrogram.columns[3].1 as f32
        );
    }

    #[test]
    fn the_picture_covers_the_input() {
        let mut spectrogram = Spectrogram::default();
        assert_eq!(spectrogram.jpeg(10.0), None);
        spectrogram.add(&[0.0, 1.0, 2.0, 3.0], 2, 0.0..1.0, 0.5);
        let jpeg = spectrogram.jpeg(10.0).unwrap();
        // Start of image, and the size in the frame header.
        assert_eq!(jpeg[..2], [0xff, 0xd8]);
        let frame = jpeg
            .windows(2)
            .position(|marker| marker == [0xff, 0xc0])
            .unwrap();
        let size = &jpeg[frame + 5..frame + 9];
        assert_eq!(size, [0, 4, 0, 40]);
    }

    #[test]
    fn a_long_input_and_a_jump_of_thirty_years_take_no_more_columns() {
        let mut spectrogram = Spectrogram::default();
        // A frame a second, as loud as it is late, for 2000 s; what is kept at first is 600 s.
        for second in 0..2000 {
            let start = f64::from(second);
            spectrogram.add(&[start as f32], 1, start..start + 1.0, 1.0);
        }
        assert_eq!((spectrogram.column, spectrogram.columns.len()), (1.0, 2000));
        assert!((0..2000).all(|second| spectrogram.columns[second] == (vec![second as f32], 1)));
        let later = 30.0 * 365.25 * 86_400.0;
        spectrogram.add(&[7.0], 1, later..later + 1.0, 1.0);
        assert!(spectrogram.columns.len() <= MOST_KEPT);
        let filled = || spectrogram.columns.iter().filter(|(_, count)| *count > 0);
        assert_eq!(filled().map(|(_, count)| count).sum::<u32>(), 2001);
        assert_eq!(filled().next_back().unwrap(), &(vec![7.0], 1));
        let sums: f32 = filled().map(|(sums, _)| sums[0]).sum();
        assert_eq!(sums, 1_999_000.0 + 7.0);
        assert!(spectrogram.jpeg(later + 1.0).is_some());
    }

    #[test]
    fn loud_is_bright() {
        let brightness = |level| {
            colour(level)
                .iter()
                .map(|channel| u32::from(*channel))
                .sum::<u32>()
        };
        assert!(
            (0..10)
                .all(|step| brightness(step as f32 / 10.0) < brightness((step + 1) as f32 / 10.0))
        );
        assert_eq!((colour(-1.0), colour(2.0)), (COLOURS[0], COLOURS[7]));
    }
}

// SPDX-License-Identifier: MPL-2.0

//! Checks of pictures before the model runs: whether they are blank, and whether they change.

/// Standard deviation of luma, of 255, up to which a picture says nothing: it is black, or of one
/// colour but for noise. Of 600 photographs of instruments the flattest has 18.
const BLANK: f64 = 4.0;

/// Blocks along each side of a picture over whose pixels luma is averaged before two pictures are compared.
const BLOCKS: usize = 28;

/// Difference of luma, of 255, up to which all blocks of a still picture stay. Photographs that were encoded as video
/// (H.264, VP8, MPEG-2, MPEG-4, Theora, JPEG, from 100 kbit/s on) stay within 6 from second to second; in 42 videos of
/// musicians some block changes by 16 at least.
const STILL: f32 = 8.0;

/// Luma of a pixel by the weights of BT.601, in units of 1/256.
fn luma(&[red, green, blue]: &[u8; 3]) -> u32 {
    77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue)
}

/// Whether RGB pixels are of one brightness: black, a test picture of one colour, a covered lens.
pub fn is_blank(rgb: &[u8]) -> bool {
    let (mut sum, mut squares) = (0u64, 0u64);
    for pixel in rgb.as_chunks().0 {
        let luma = u64::from(luma(pixel));
        sum += luma;
        squares += luma * luma;
    }
    let count = (rgb.len() / 3).max(1) as f64;
    let mean = sum as f64 / count;
    let variance = squares as f64 / count - mean * mean;
    variance.max(0.0).sqrt() <= BLANK * 256.0
}

/// Whether pictures change, by comparison with the last one that did.
#[derive(Debug, Default)]
pub struct Motion {
    /// The mean luma of each block of it, of 255; empty before the first picture.
    blocks: Vec<f32>,
    scene: u64,
}

impl Motion {
    /// Whether the next picture, RGB pixels in rows of `width`, equals the one before (true for the first picture), and a
    /// number that all pictures since the last change share, and no others.
    pub fn next(&mut self, rgb: &[u8], width: usize) -> (bool, u64) {
        let blocks = blocks(rgb, width);
        let is_first = self.blocks.is_empty();
        let mut pairs = self.blocks.iter().zip(&blocks);
        let moves = pairs.any(|(before, now)| (before - now).abs() > STILL);
        if is_first || moves {
            self.blocks = blocks;
            self.scene += 1;
        }
        (!moves, self.scene)
    }

    /// Forgets the pictures of another part of the stream.
    pub fn restart(&mut self) {
        self.blocks.clear();
    }
}

/// The mean luma of each block that has pixels, of 255, by rows.
fn blocks(rgb: &[u8], width: usize) -> Vec<f32> {
    let pixels = rgb.as_chunks().0;
    let (width, height) = (width.max(1), pixels.len().div_ceil(width.max(1)));
    let mut sums = vec![(0u64, 0u32); BLOCKS * BLOCKS];
    for (y, row) in pixels.chunks(width).enumerate() {
        let first = y * BLOCKS / height * BLOCKS;
        for (x, pixel) in row.iter().enumerate() {
            let (sum, count) = &mut sums[first + x * BLOCKS / width];
            *sum += u64::from(luma(pixel));
            *count += 1;
        }
    }
    let filled = sums.into_iter().filter(|&(_, count)| count > 0);
    filled
        .map(|(sum, count)| (sum as f64 / (256.0 * f64::from(count))) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_brightness_are_blank() {
        // Noise of -3 to 3 around black and grey.
        let noise = |level: u8| -> Vec<u8> {
            (0..3000u32)
                .map(|n| level + (n * 7919 % 101 % 7) as u8)
                .collect()
        };
        assert!(is_blank(&noise(0)) && is_blank(&noise(120)) && is_blank(&[]));
        assert!(is_blank(&[204, 153, 102].repeat(100)));
        // A dark scene, of 0 to 24: the deviation is 7.
        let dark: Vec<u8> = (0..3000u32).map(|n| (n / 3 % 25) as u8).collect();
        assert!(!is_blank(&dark));
        // A spot of a hundredth of the picture: 255 * sqrt(0.01 * 0.99) = 25.
        let mut spot = vec![0; 3000];
        spot[..30].fill(255);
        assert!(!is_blank(&spot));
    }

    /// A picture of 56 x 56 pixels, blocks of four, with `level` added to the block at column 3, row 5.
    fn picture(level: u8) -> Vec<u8> {
        let pixel = |x: usize, y: usize| {
            let base = (x + 2 * y) as u8;
            [if (x / 2, y / 2) == (3, 5) {
                base + level
            } else {
                base
            }; 3]
        };
        let pixels = (0..56).flat_map(|y| (0..56).map(move |x| (x, y)));
        pixels.flat_map(|(x, y)| pixel(x, y)).collect()
    }

    #[test]
    fn a_picture_moves_when_one_block_changes() {
        let mut motion = Motion::default();
        let levels = [0, 0, 7, 8, 9, 9, 2, 1, 0].into_iter();
        let found = levels.map(|level| motion.next(&picture(level), 56));
        let (still, scenes): (Vec<_>, Vec<_>) = found.unzip();
        // The first, and those within 8 of the last one that moved.
        let expected = [true, true, true, true, false, true, true, true, false];
        assert_eq!(still, expected);
        assert_eq!(scenes, [1, 1, 1, 1, 2, 2, 2, 2, 3]);
    }

    #[test]
    fn noise_is_no_motion() {
        let mut motion = Motion::default();
        for n in 0..9u32 {
            let mut noisy = picture(0);
            for (i, value) in noisy.iter_mut().enumerate() {
                *value += ((i as u32 + n) * 7919 % 101 % 7) as u8;
            }
            assert_eq!(motion.next(&noisy, 56), (true, 1), "{n}");
        }
    }

    #[test]
    fn pictures_of_any_size_are_compared() {
        for (width, height) in [(1, 1), (3, 2), (28, 28), (29, 31), (300, 1)] {
            let mut motion = Motion::default();
            let size = width * height * 3;
            assert_eq!(motion.next(&vec![9; size], width), (true, 1));
            assert_eq!(motion.next(&vec![9; size], width), (true, 1));
            assert_eq!(motion.next(&vec![200; size], width), (false, 2), "{width}");
        }
        assert_eq!(Motion::default().next(&[], 0), (true, 1));
    }
}

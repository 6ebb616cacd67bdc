// SPDX-License-Identifier: MPL-2.0

//! Frames that reach beyond the ends of a patch, where the patch is mirrored around its ends.

use std::ops::Range;

use super::FrontEnd;

/// The last samples of a stream, from which the frames at the ends of a patch are made.
///
/// Each patch is a signal of its own, padded as `torch.stft(center=True, pad_mode="reflect")` pads it. Frames that lie
/// within the patch are the stream's; only those that reach beyond its ends are made here.
pub struct Mirror {
    fft_size: usize,
    hop: usize,
    /// Sample `n` of the stream is at `n % history.len()`.
    history: Vec<f32>,
    /// Samples of the stream so far.
    pushed: u64,
    frame: Vec<f32>,
}

impl Mirror {
    /// A mirror for patches of up to `frames` frames, in a stream that arrives in pieces of at most `piece` samples.
    pub fn new(front_end: &FrontEnd, frames: usize, piece: usize) -> Self {
        let length = frames * front_end.hop + front_end.fft_size + piece;
        Self {
            fft_size: front_end.fft_size,
            hop: front_end.hop,
            history: vec![0.0; length],
            pushed: 0,
            frame: vec![0.0; front_end.fft_size],
        }
    }

    /// Adds the next samples of the stream, at most a piece.
    pub fn push(&mut self, samples: &[f32]) {
        let length = self.history.len();
        let first = (self.pushed % length as u64) as usize;
        let (before, after) = samples.split_at(samples.len().min(length - first));
        self.history[first..first + before.len()].copy_from_slice(before);
        self.history[..after.len()].copy_from_slice(after);
        self.pushed += samples.len() as u64;
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.pushed = 0;
    }

    /// Whether frame number `index` of a signal of `length` samples reaches beyond its ends.
    pub fn reaches_out(&self, index: usize, length: u64) -> bool {
        let time = (index * self.hop) as u64;
        let half = (self.fft_size / 2) as u64;
        time < half || time + half > length
    }

    /// The samples `[fft_size]` of frame number `index` of the part `signal` of the stream, mirrored around its ends.
    pub fn frame(&mut self, index: usize, signal: &Range<u64>) -> &[f32] {
        let length = (signal.end - signal.start) as i64;
        let first = (index * self.hop) as i64 - (self.fft_size / 2) as i64;
        for (value, position) in self.frame.iter_mut().zip(first..) {
            let sample = signal.start + mirrored(position, length) as u64;
            *value = self.history[(sample % self.history.len() as u64) as usize];
        }
        &self.frame
    }
}

/// The position within a signal of `length` samples that is met at `position`, wherever that is, when the signal is
/// mirrored around its first and its last sample again and again (`numpy.pad(mode="reflect")`).
fn mirrored(position: i64, length: i64) -> i64 {
    let period = (2 * (length - 1)).max(1);
    let position = position.rem_euclid(period);
    position.min(period - position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_numpy() {
        // numpy.pad(range(4), 7, mode="reflect")
        let expected = [1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2];
        let made: Vec<i64> = (-7..11).map(|position| mirrored(position, 4)).collect();
        assert_eq!(made, expected);
        assert_eq!(mirrored(-3, 1), 0);
    }
}

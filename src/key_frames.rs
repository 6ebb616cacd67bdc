// SPDX-License-Identifier: MPL-2.0

//! Which units of an encoded video stream are worth decoding when a picture each interval is enough. Knows no
//! GStreamer.

#![deny(missing_docs)]

use std::collections::VecDeque;

use crate::grid::Grid;

/// What is known of an encoded unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Presentation time in nanoseconds.
    pub time: Option<u64>,
    /// Whether other units are needed to decode it.
    pub delta: bool,
}

/// Passes key frames, at most one an interval, and drops the units between them; where the next key frame is further
/// than `longest` away, passes all of them.
///
/// Units are held back until it is known which it is, so at most `longest` of the encoded stream is in memory.
pub struct KeyFrames<T> {
    interval: u64,
    longest: Option<u64>,
    held: VecDeque<(Unit, T)>,
    /// The last key frame, passed or not.
    key: Option<u64>,
    grid: Grid,
    /// Whether everything up to the next key frame passes.
    open: bool,
    /// Whether there was more than one key frame.
    several: bool,
}

impl<T> KeyFrames<T> {
    /// For a picture each `interval` nanoseconds; without `longest`, units between key frames are always dropped.
    pub fn new(interval: u64, longest: Option<u64>) -> Self {
        Self {
            interval,
            longest,
            held: VecDeque::new(),
            key: None,
            grid: Grid::default(),
            open: false,
            several: false,
        }
    }

    /// Takes the next unit, in decoding order, and returns those that are to be decoded now.
    pub fn push(&mut self, unit: Unit, item: T) -> Vec<T> {
        let Some(time) = unit.time else {
            // Units without a time cannot be placed.
            self.open = true;
            return self.release(unit, item);
        };
        if !unit.delta {
            return self.push_key(unit, time, item);
        }
        if self.open {
            return self.release(unit, item);
        }
        let Some(longest) = self.longest else {
            return Vec::new();
        };
        let key = *self.key.get_or_insert(time);
        if time < key {
            // It refers to pictures before the key frame, which were not decoded.
            return Vec::new();
        }
        if time - key >= longest {
            self.open = true;
            return self.release(unit, item);
        }
        self.held.push_back((unit, item));
        Vec::new()
    }

    /// Returns what is decoded at the end of the stream: where there was one key frame only, the units after it, since a
    /// lone picture says little.
    pub fn finish(&mut self) -> Vec<T> {
        if self.several {
            self.held.clear();
        }
        self.open |= !self.held.is_empty();
        self.held.drain(..).map(|(_, item)| item).collect()
    }

    /// Whether only key frames pass at present.
    pub fn key_frames_only(&self) -> bool {
        !self.open
    }

    /// Forgets everything, as after a flush.
    pub fn reset(&mut self) {
        *self = Self::new(self.interval, self.longest);
    }

    fn push_key(&mut self, unit: Unit, time: u64, item: T) -> Vec<T> {
        // The one before was held back together with its units because no picture was due.
        self.held.clear();
        self.open = false;
        self.several = self.key.is_some();
        self.key = Some(time);
        if !self.grid.takes(Some(time), self.interval, false) {
            // Units that follow may be needed, and then this one is, too.
            if self.longest.is_some() {
                self.held.push_back((unit, item));
            }
            return Vec::new();
        }
        vec![item]
    }

    /// Everything that was held back, and `item`.
    fn release(&mut self, unit: Unit, item: T) -> Vec<T> {
        self.held.push_back((unit, item));
        self.held.drain(..).map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The indices of the units that pass, of (tenths of a second, whether it is a key frame).
    fn passed(longest: Option<u64>, units: &[(u64, bool)]) -> Vec<usize> {
        let mut key_frames = KeyFrames::new(SECOND, longest);
        let mut passed = Vec::new();
        for (index, &(time, key)) in units.iter().enumerate() {
            let unit = Unit {
                time: Some(time * SECOND / 10),
                delta: !key,
            };
            passed.extend(key_frames.push(unit, index));
        }
        passed
    }

    #[test]
    fn units_between_near_key_frames_are_dropped() {
        let units: Vec<_> = (0..100).map(|i| (i, i % 20 == 0)).collect();
        let keys = [0, 20, 40, 60, 80];
        assert_eq!(passed(Some(5 * SECOND), &units), keys);
        assert_eq!(passed(None, &units), keys);
    }

    #[test]
    fn a_long_group_of_pictures_is_decoded_in_full() {
        // Key frames at 0, 2, 9 and 11 s: the group from 2 to 9 s is longer than 5 s.
        let units: Vec<_> = (0..130)
            .map(|i| (i, [0, 20, 90, 110].contains(&i)))
            .collect();
        let mut expected = vec![0];
        expected.extend(20..=90);
        expected.push(110);
        assert_eq!(passed(Some(5 * SECOND), &units), expected);
        assert_eq!(passed(None, &units), [0, 20, 90, 110]);
    }

    #[test]
    fn of_a_stream_of_key_frames_one_an_interval_is_decoded() {
        let units: Vec<_> = (0..35).map(|i| (i, true)).collect();
        assert_eq!(passed(Some(5 * SECOND), &units), [0, 10, 20, 30]);
    }

    #[test]
    fn a_stream_without_key_frames_is_decoded_in_full() {
        let units: Vec<_> = (0..80).map(|i| (i, false)).collect();
        assert_eq!(passed(Some(5 * SECOND), &units), Vec::from_iter(0..80));
    }

    #[test]
    fn a_key_frame_that_is_not_due_is_decoded_when_its_group_is_long() {
        // Key frames at 0 and 0.5 s, and then none for 10 s.
        let mut units = vec![(0, true), (5, true)];
        units.extend((6..106).map(|i| (i, false)));
        let expected: Vec<_> = (0..102).collect();
        assert_eq!(passed(Some(5 * SECOND), &units), expected);
    }

    #[test]
    fn leading_pictures_of_an_open_group_are_dropped() {
        // The units at 1.8 and 1.9 s follow the key frame at 2 s in decoding order.
        let mut units = vec![(0, true), (10, false), (20, true), (18, false), (19, false)];
        units.extend((21..80).map(|i| (i, false)));
        let mut expected = vec![0, 2];
        expected.extend(5..64);
        assert_eq!(passed(Some(5 * SECOND), &units), expected);
    }

    #[test]
    fn a_stream_with_one_key_frame_is_decoded_at_its_end() {
        let rest = |keys: &[u64]| {
            let mut key_frames = KeyFrames::new(SECOND, Some(5 * SECOND));
            for time in 0..40 {
                let unit = Unit {
                    time: Some(time * SECOND / 10),
                    delta: !keys.contains(&time),
                };
                key_frames.push(unit, time);
            }
            key_frames.finish()
        };
        assert_eq!(rest(&[0]), Vec::from_iter(1..40));
        assert!(rest(&[0, 20]).is_empty());
    }

    #[test]
    fn units_without_times_are_decoded() {
        let mut key_frames = KeyFrames::new(SECOND, None);
        let unit = Unit {
            time: None,
            delta: true,
        };
        assert_eq!(key_frames.push(unit, 1), [1]);
    }
}

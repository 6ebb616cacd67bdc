// SPDX-License-Identifier: MPL-2.0

//! Which pictures of a stream are taken: one per interval. Knows no GStreamer; times are in nanoseconds.

#![deny(missing_docs)]

/// A grid that starts at the first picture's time, and restarts where the stream jumps.
#[derive(Debug, Default)]
pub struct Grid {
    /// Position of the next picture to take: its time in the direction of play.
    next: Option<i128>,
    /// The share of the interval after which the second picture comes; 0 for a whole one.
    phase: f64,
}

impl Grid {
    /// A grid whose second picture is due after the share `phase` of the interval, in [0, 1), where 0 is a whole interval:
    /// grids that start together then take their pictures at different times.
    pub fn with_phase(phase: f64) -> Self {
        Self {
            phase,
            ..Self::default()
        }
    }

    /// Restarts at the next picture.
    pub fn restart(&mut self) {
        self.next = None;
    }

    /// Whether to take the picture at `time` of a stream that plays backwards if `reverse`. A picture without a time is
    /// always taken.
    pub fn takes(&mut self, time: Option<u64>, interval: u64, reverse: bool) -> bool {
        let Some(time) = time else {
            self.next = None;
            return true;
        };
        let time = i128::from(time);
        let position = if reverse { -time } else { time };
        let interval = i128::from(interval);
        self.next = match self.next {
            Some(next) if (position..=position + interval).contains(&next) && next > position => {
                return false;
            }
            Some(next) if (next..next + interval).contains(&position) => Some(next + interval),
            _ if self.phase > 0.0 => Some(position + (interval as f64 * self.phase) as i128),
            _ => Some(position + interval),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1_000_000_000;

    /// Which of `times`, in milliseconds, are taken.
    fn taken(times: &[u64], interval: u64, reverse: bool) -> Vec<u64> {
        let mut grid = Grid::default();
        let time = |&ms: &u64| Some(ms * MILLISECOND);
        let takes = |ms: &&u64| grid.takes(time(ms), interval, reverse);
        times.iter().filter(takes).copied().collect()
    }

    #[test]
    fn one_picture_each_interval_in_both_directions() {
        let forward = [0, 400, 900, 1100, 1900, 2000, 2900];
        assert_eq!(taken(&forward, SECOND, false), [0, 1100, 2000]);
        let backward = [5000, 4600, 4001, 3900, 3100, 3000, 2100, 2000];
        assert_eq!(taken(&backward, SECOND, true), [5000, 3900, 3000, 2000]);
        // Jumps begin a new grid.
        assert_eq!(taken(&[0, 9000, 9900, 300], SECOND, false), [0, 9000, 300]);
        assert_eq!(
            taken(&[9000, 3000, 2100, 8000], SECOND, true),
            [9000, 3000, 8000]
        );
        assert_eq!(taken(&[0, 40, 80], 0, false), [0, 40, 80]);
        assert_eq!(taken(&[80, 40, 0], 0, true), [80, 40, 0]);
    }

    #[test]
    fn a_phase_moves_all_pictures_but_the_first() {
        let mut grid = Grid::with_phase(0.25);
        let mut take = |range: std::ops::RangeInclusive<u64>| -> Vec<u64> {
            let takes = |ms: &u64| grid.takes(Some(ms * MILLISECOND), SECOND, false);
            range.filter(takes).collect()
        };
        assert_eq!(take(0..=3000), [0, 250, 1250, 2250]);
        // After a jump too.
        assert_eq!(take(9000..=11000), [9000, 9250, 10250]);
    }

    #[test]
    fn the_longest_interval_takes_the_first_picture_alone() {
        assert_eq!(
            taken(&[0, 40, u64::MAX / MILLISECOND], u64::MAX, false),
            [0]
        );
        assert_eq!(taken(&[9_000, 40, 0], u64::MAX, true), [9_000]);
    }

    #[test]
    fn pictures_without_a_time_are_taken() {
        let mut grid = Grid::default();
        for _ in 0..3 {
            assert!(grid.takes(None, SECOND, false));
        }
    }
}

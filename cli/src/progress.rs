// SPDX-License-Identifier: MPL-2.0

//! One progress bar over all inputs.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of the bar.
const STEPS: u64 = 1000;

/// How much of all inputs is done, by their lengths in bytes. Inputs of unknown length count as much as the others do
/// on average.
pub struct Progress {
    bar: ProgressBar,
    weights: Vec<f64>,
    shares: Mutex<Vec<f64>>,
}

impl Progress {
    pub fn new(bytes: &[Option<u64>]) -> Self {
        let bar = ProgressBar::new(STEPS);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {percent:>3} % of {msg}, {eta} left")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            weights: weights(bytes),
            shares: Mutex::new(vec![0.0; bytes.len()]),
        }
    }

    /// Says how much of an input is done, from 0 to 1.
    pub fn set(&self, index: usize, share: f64) {
        let mut shares = self.shares.lock().unwrap();
        shares[index] = share;
        let done: f64 = shares
            .iter()
            .zip(&self.weights)
            .map(|(share, weight)| share * weight)
            .sum();
        let files = shares.iter().filter(|share| **share >= 1.0).count();
        self.bar.set_position((done * STEPS as f64) as u64);
        self.bar
            .set_message(format!("{} inputs ({files} done)", shares.len()));
    }

    /// Prints without disturbing the bar.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Shares of all, whose sum is 1.
fn weights(bytes: &[Option<u64>]) -> Vec<f64> {
    let known: Vec<_> = bytes
        .iter()
        .flatten()
        .map(|bytes| (*bytes).max(1) as f64)
        .collect();
    let mean = match known.len() {
        0 => 1.0,
        count => known.iter().sum::<f64>() / count as f64,
    };
    let weights = bytes
        .iter()
        .map(|bytes| bytes.map_or(mean, |bytes| bytes.max(1) as f64));
    let weights: Vec<_> = weights.collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_count_by_their_length() {
        assert_eq!(
            weights(&[Some(300), None, Some(100)]),
            [0.5, 1.0 / 3.0, 1.0 / 6.0]
        );
        assert_eq!(weights(&[None, None]), [0.5, 0.5]);
        let progress = Progress::new(&[Some(300), Some(100)]);
        progress.set(0, 1.0);
        progress.set(1, 0.5);
        assert_eq!(progress.bar.position(), 875);
    }
}

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
    state: Mutex<State>,
}

struct State {
    /// How much of each input is done, from 0 to 1.
    shares: Vec<f64>,
    /// The sum of the shares by their weights.
    done: f64,
    /// Inputs that are done.
    inputs: usize,
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
            state: Mutex::new(State {
                shares: vec![0.0; bytes.len()],
                done: 0.0,
                inputs: 0,
            }),
        }
    }

    /// Says how much of an input is done, from 0 to 1.
    pub fn set(&self, index: usize, share: f64) {
        let mut state = self.state.lock().unwrap();
        let before = std::mem::replace(&mut state.shares[index], share);
        state.done += (share - before) * self.weights[index];
        state.inputs += usize::from(share >= 1.0);
        state.inputs -= usize::from(before >= 1.0);
        self.bar
            .set_position((state.done * STEPS as f64).round() as u64);
        self.bar.set_message(format!(
            "{} inputs ({} done)",
            state.shares.len(),
            state.inputs
        ));
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
        progress.set(1, 1.0);
        assert_eq!(progress.bar.position(), STEPS);
        assert_eq!(progress.bar.message(), "2 inputs (2 done)");
    }

    #[test]
    fn many_inputs_cost_little() {
        const INPUTS: usize = 300_000;
        let progress = Progress::new(&vec![None; INPUTS]);
        let started = std::time::Instant::now();
        (0..INPUTS).for_each(|index| progress.set(index, 1.0));
        // A step that looked at all inputs would take minutes.
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
        assert_eq!(progress.bar.position(), STEPS);
    }
}

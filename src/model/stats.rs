// SPDX-License-Identifier: MPL-2.0
//! Counts and latencies of a model.

use std::time::Duration;

/// Number of latest latencies for the 99th percentile.
const RECENT: usize = 1024;

/// Counts and latencies since the model was opened, of all its users together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Inputs that were answered with a result.
    pub inferences: u64,
    /// Inputs that were answered with an error.
    pub failures: u64,
    /// Number of runs with one item, with two, and so on up to the batch size.
    pub batches: Vec<u64>,
    /// Mean time from an input's arrival to its answer.
    pub mean_latency: Duration,
    /// 99th percentile of that time over the latest 1024 answers.
    pub p99_latency: Duration,
    /// Nodes of the model that run on the CPU because the GPU provider does not support them.
    pub cpu_nodes: usize,
}

/// Collects [`Stats`].
#[derive(Debug)]
pub struct Recorder {
    inferences: u64,
    failures: u64,
    batches: Vec<u64>,
    total: Duration,
    recent: Vec<Duration>,
    next: usize,
}

impl Recorder {
    pub fn new(batch_size: usize) -> Self {
        Self {
            inferences: 0,
            failures: 0,
            batches: vec![0; batch_size],
            total: Duration::ZERO,
            recent: Vec::with_capacity(RECENT),
            next: 0,
        }
    }

    /// One run of the model with `size` items, from 1 to the batch size.
    pub fn batch(&mut self, size: usize) {
        self.batches[size - 1] += 1;
    }

    /// One answer.
    pub fn answer(&mut self, success: bool, latency: Duration) {
        if success {
            self.inferences += 1;
        } else {
            self.failures += 1;
        }
        self.total += latency;
        if self.recent.len() < RECENT {
            self.recent.push(latency);
        } else {
            self.recent[self.next] = latency;
        }
        self.next = (self.next + 1) % RECENT;
    }

    pub fn stats(&self) -> Stats {
        let answers = self.inferences + self.failures;
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100);
        Stats {
            inferences: self.inferences,
            failures: self.failures,
            batches: self.batches.clone(),
            mean_latency: self.total.div_f64((answers as f64).max(1.0)),
            p99_latency: sorted.get(rank.max(1) - 1).copied().unwrap_or_default(),
            cpu_nodes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_of_the_latest_answers_and_the_mean_of_all() {
        let mut recorder = Recorder::new(2);
        for milliseconds in 1..=100 {
            recorder.answer(true, Duration::from_millis(milliseconds));
        }
        let stats = recorder.stats();
        assert_eq!(stats.p99_latency, Duration::from_millis(99));
        assert_eq!(stats.mean_latency, Duration::from_micros(50_500));
        for _ in 0..RECENT {
            recorder.answer(false, Duration::from_millis(7));
        }
        let stats = recorder.stats();
        assert_eq!(stats.p99_latency, Duration::from_millis(7));
        assert_eq!((stats.inferences, stats.failures), (100, RECENT as u64));
    }

    #[test]
    fn nothing_done_is_all_zero() {
        assert_eq!(Recorder::new(0).stats(), Stats::default());
    }
}

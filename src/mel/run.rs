// SPDX-License-Identifier: MPL-2.0

//! How the samples that are analysed as one signal lie in a stream.

use std::ops::Range;

/// Positions beyond this one count as this one: two centuries at the highest rate.
pub const MAX_POSITION: u64 = 1 << 53;

/// A part of a stream that is analysed as one signal.
///
/// Input is counted at the stream's rate, samples at the front end's.
pub struct Run {
    input_rate: u32,
    rate: u32,
    /// Input so far.
    input: u64,
    /// Samples so far.
    samples: u64,
    /// Samples before the first that are not analysed.
    lead: u64,
    /// Positions in the stream, ascending: `(input of the run, its position in the stream)`. The first is the run's
    /// start, the others follow a gap.
    joins: Vec<(u64, u64)>,
}

impl Run {
    /// The run of a stream from its start.
    pub fn new(input_rate: u32, rate: u32) -> Self {
        Self {
            input_rate,
            rate,
            input: 0,
            samples: 0,
            lead: 0,
            joins: vec![(0, 0)],
        }
    }

    /// Restarts at `position` of the stream, without the first `lead` samples.
    pub fn begin(&mut self, position: u64, lead: u64) {
        (self.input, self.samples, self.lead) = (0, 0, lead);
        self.joins.clear();
        self.joins.push((0, position.min(MAX_POSITION)));
    }

    /// Counts `input` that came.
    pub fn advance(&mut self, input: u64) {
        self.input += input;
    }

    /// Whether any input came.
    pub fn has_input(&self) -> bool {
        self.input > 0
    }

    /// Counts `count` samples that the input became: the position of the first in the stream, at the front end's rate,
    /// and how many of them belong to the lead.
    pub fn resampled(&mut self, count: usize) -> (u64, usize) {
        let skipped = self.lead.saturating_sub(self.samples).min(count as u64);
        let start = rescale(self.joins[0].1, self.input_rate, self.rate);
        let position = start + self.samples;
        self.samples += count as u64;
        (position, skipped as usize)
    }

    /// The next input follows a gap of `gap`. No later patch begins before sample `oldest` of those analysed.
    pub fn join(&mut self, gap: u64, oldest: u64) {
        let oldest = self.input_of(oldest);
        let over = self
            .joins
            .iter()
            .take_while(|join| join.0 <= oldest)
            .count();
        self.joins.drain(..over.saturating_sub(1));
        let position = self.position().saturating_add(gap).min(MAX_POSITION);
        self.joins.push((self.input, position));
    }

    /// Position of the next input in the stream.
    pub fn position(&self) -> u64 {
        let (input, position) = self.joins[self.joins.len() - 1];
        position + (self.input - input)
    }

    /// The positions of `signal`, of the samples that are analysed, in the stream, and the share of them that the stream
    /// had.
    pub fn span(&self, signal: Range<u64>) -> (Range<u64>, f64) {
        let first = self.input_of(signal.start);
        let end = self.input_of(signal.end.min(self.samples.saturating_sub(self.lead)));
        let at = |input: u64, since: &(u64, u64)| since.1 + (input - since.0);
        let joins = || self.joins.iter().rev();
        let oldest = &self.joins[0];
        let start = at(
            first,
            joins().find(|join| join.0 <= first).unwrap_or(oldest),
        );
        let stop = at(end, joins().find(|join| join.0 < end).unwrap_or(oldest));
        let media = match stop - start {
            0 => 1.0,
            length => ((end - first) as f64 / length as f64).min(1.0),
        };
        (start..stop, media)
    }

    /// The input of a sample that is analysed.
    fn input_of(&self, sample: u64) -> u64 {
        rescale(sample + self.lead, self.rate, self.input_rate).min(self.input)
    }
}

/// The number of samples at rate `to` that `samples` at rate `from` become, rounded up.
pub fn rescale(samples: u64, from: u32, to: u32) -> u64 {
    (u128::from(samples) * u128::from(to)).div_ceil(from.into()) as u64
}

// SPDX-License-Identifier: MPL-2.0

//! Resampling with windowed-sinc filters.

use super::queue::Queue;
use super::simd::{LANES, dispatch, multiply_add};

/// dB by which aliases and images are attenuated: what is asked is 80.
const ATTENUATION: f64 = 86.0;

/// Part of the lower of the two Nyquist frequencies that passes unattenuated.
const PASS_BAND: f64 = 0.9;

/// Filters kept for the positions of output samples between input samples. Ratios that have more positions
/// interpolate between two filters; the error, (pi / 512)^2 / 8, is 106 dB below the signal.
const MAX_PHASES: u64 = 512;

/// A streaming resampler without delay: output sample `n` is the signal at the time of input sample
/// `n * input_rate / output_rate`.
pub struct Resampler {
    stages: Vec<Stage>,
    /// What passes between two stages.
    between: [Vec<f32>; 2],
}

impl Resampler {
    /// A resampler for pieces of at most `piece` samples.
    pub fn new(input_rate: u32, output_rate: u32, piece: usize) -> Self {
        let mut stages = Vec::new();
        let target = f64::from(output_rate);
        let (mut rate, mut piece) = (f64::from(input_rate), piece);
        let mut halvings = 0;
        // Halving first lets short filters do the work at high rates: what they leave to alias stays
        // above the target's Nyquist frequency, where the last filter removes it.
        while rate >= 2.5 * target {
            let (pass, stop) = (PASS_BAND * target / 2.0, (rate - target) / 2.0);
            stages.push(Stage::new(1, 2, pass / rate, stop / rate, piece));
            rate /= 2.0;
            piece = piece.div_ceil(2) + 1;
            halvings += 1;
        }
        let (up, down) = reduce(u64::from(output_rate) << halvings, u64::from(input_rate));
        if up != down {
            let nyquist = target.min(rate) / 2.0;
            let pass = PASS_BAND * nyquist;
            stages.push(Stage::new(up, down, pass / rate, nyquist / rate, piece));
        }
        Self {
            stages,
            between: Default::default(),
        }
    }

    /// Resamples `input`, appending to `output` what it completes.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.run(
            output,
            |stage, samples, output| stage.process(samples, output),
            input,
        );
    }

    /// Appends the rest to `output`, as if silence followed.
    pub fn finish(&mut self, output: &mut Vec<f32>) {
        self.run(
            output,
            |stage, samples, output| {
                stage.process(samples, output);
                stage.finish(output);
            },
            &[],
        );
    }

    /// Forgets the signal so far.
    pub fn reset(&mut self) {
        self.stages.iter_mut().for_each(Stage::reset);
    }

    /// Runs `step` on each stage, its input being the output of the one before.
    fn run(
        &mut self,
        output: &mut Vec<f32>,
        step: impl Fn(&mut Stage, &[f32], &mut Vec<f32>),
        input: &[f32],
    ) {
        let Some((last, stages)) = self.stages.split_last_mut() else {
            output.extend_from_slice(input);
            return;
        };
        let [from, to] = &mut self.between;
        from.clear();
        let mut input = input;
        for stage in stages {
            to.clear();
            step(stage, input, to);
            std::mem::swap(from, to);
            input = from;
        }
        step(last, input, output);
    }
}

/// One polyphase filter: rate times `up / down`.
struct Stage {
    up: u64,
    down: u64,
    taps: usize,
    /// `[phases + 1][taps]`: filter `n` is for an output sample that is `n / phases` after an input sample.
    filters: Vec<f32>,
    phases: u64,
    queue: Queue,
    /// Input samples seen.
    seen: u64,
    /// Output samples made.
    made: u64,
    /// Position of the next output sample after the queue's first window, in `1 / up` of an input sample.
    phase: u64,
}

impl Stage {
    /// A filter that passes frequencies below `pass` and stops those above `stop`, in cycles an input sample.
    fn new(up: u64, down: u64, pass: f64, stop: f64, piece: usize) -> Self {
        // Kaiser's formula for the length, rounded up to whole vectors.
        let width = std::f64::consts::TAU * (stop - pass);
        let taps = ((ATTENUATION - 8.0) / (2.285 * width)).ceil() as usize + 1;
        let taps = taps.next_multiple_of(LANES);
        let phases = up.min(MAX_PHASES);
        let mut stage = Self {
            up,
            down,
            taps,
            filters: filters(phases, taps, (pass + stop) / 2.0),
            phases,
            queue: Queue::new(taps + down.div_ceil(up) as usize, piece.max(taps)),
            seen: 0,
            made: 0,
            phase: 0,
        };
        stage.reset();
        stage
    }

    fn reset(&mut self) {
        self.queue.clear();
        // The first window is around input sample 0.
        self.queue.push_zeros(self.taps / 2 - 1);
        (self.seen, self.made, self.phase) = (0, 0, 0);
    }

    fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        self.queue.push(input);
        self.filter(u64::MAX, output);
    }

    fn finish(&mut self, output: &mut Vec<f32>) {
        self.queue.push_zeros(self.taps / 2);
        let length = (u128::from(self.seen) * u128::from(self.up)).div_ceil(self.down.into());
        self.filter(length as u64, output);
    }

    /// Makes what output samples the queue allows, at most up to `until` in all.
    fn filter(&mut self, until: u64, output: &mut Vec<f32>) {
        let samples = self.queue.samples();
        let mut begin = 0;
        while self.made < until && begin + self.taps <= samples.len() {
            let window = &samples[begin..begin + self.taps];
            output.push(self.interpolate(window));
            self.made += 1;
            self.phase += self.down;
            begin += (self.phase / self.up) as usize;
            self.phase %= self.up;
        }
        // A step may lead past the samples at hand: the rest of it stays in the phase.
        let at_hand = begin.min(samples.len());
        self.phase += (begin - at_hand) as u64 * self.up;
        self.queue.pop(at_hand);
    }

    /// The output sample at `phase`, from the samples around it.
    fn interpolate(&self, window: &[f32]) -> f32 {
        let filter = |phase: u64| {
            let begin = phase as usize * self.taps;
            &self.filters[begin..begin + self.taps]
        };
        if self.phases == self.up {
            return dot(window, filter(self.phase));
        }
        let position = self.phase * self.phases;
        let (index, fraction) = (position / self.up, position % self.up);
        let fraction = fraction as f32 / self.up as f32;
        let (before, after) = (dot(window, filter(index)), dot(window, filter(index + 1)));
        before + fraction * (after - before)
    }
}

dispatch! {
    /// The sum of the products of two slices whose length is a multiple of [`LANES`].
    fn dot(a: &[f32], b: &[f32]) -> f32 = dot_lanes
}

#[inline(always)]
fn dot_lanes<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sum = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sum[lane] = multiply_add::<FMA>(a[lane], b[lane], sum[lane]);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sum[lane] += sum[lane + width];
        }
    }
    sum[0]
}

/// Kaiser-windowed low-pass filters with unit gain at 0 Hz, `[phases + 1][taps]`.
///
/// `cutoff` is in cycles a sample. Filter `n` is centred `n / phases` after tap `taps / 2 - 1`.
fn filters(phases: u64, taps: usize, cutoff: f64) -> Vec<f32> {
    let beta = 0.1102 * (ATTENUATION - 8.7);
    let half = taps as f64 / 2.0;
    let mut filters = Vec::with_capacity((phases as usize + 1) * taps);
    for phase in 0..=phases {
        let center = half - 1.0 + phase as f64 / phases as f64;
        let filter: Vec<f64> = (0..taps)
            .map(|tap| {
                let time = tap as f64 - center;
                let edge = (1.0 - (time / half).powi(2)).max(0.0).sqrt();
                sinc(2.0 * cutoff * time) * bessel_i0(beta * edge)
            })
            .collect();
        let gain: f64 = filter.iter().sum();
        filters.extend(filter.iter().map(|value| (value / gain) as f32));
    }
    filters
}

fn sinc(x: f64) -> f64 {
    let x = std::f64::consts::PI * x;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

/// The modified Bessel function of the first kind and order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1.. {
        term *= (x / (2.0 * f64::from(n))).powi(2);
        sum += term;
        if term < sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// The fraction `a / b` in lowest terms.
fn reduce(a: u64, b: u64) -> (u64, u64) {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (a / divisor, b / divisor)
}

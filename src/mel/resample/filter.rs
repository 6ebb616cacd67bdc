// SPDX-License-Identifier: MPL-2.0

//! What a stage of the resampler does.

/// A streaming filter without delay: its output begins at the time at which its input does.
pub trait Filter: Send {
    /// Appends to `output` what `input` completes.
    fn process(&mut self, input: &[f32], output: &mut Vec<f32>);

    /// Appends the rest to `output`, as if silence followed.
    fn finish(&mut self, output: &mut Vec<f32>);

    /// Forgets the signal so far.
    fn reset(&mut self);
}

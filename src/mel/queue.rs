// SPDX-License-Identifier: MPL-2.0

//! Samples that wait until a window over them is complete.

/// A queue whose content is one slice; it does not allocate while its content and a piece pushed to it
/// stay within the capacity.
pub struct Queue {
    data: Vec<f32>,
    start: usize,
}

impl Queue {
    /// An empty queue for `content` samples and pieces of `piece`.
    pub fn new(content: usize, piece: usize) -> Self {
        // Twice the content, so that the content moves to the front at most once for as many samples.
        Self {
            data: Vec::with_capacity(2 * content + piece),
            start: 0,
        }
    }

    /// Adds `samples` at the end.
    pub fn push(&mut self, samples: &[f32]) {
        self.extend(samples.iter().copied());
    }

    /// Adds `samples` at the end.
    pub fn extend(&mut self, samples: impl ExactSizeIterator<Item = f32>) {
        self.make_room(samples.len());
        self.data.extend(samples);
    }

    /// Adds `count` zeros at the end.
    pub fn push_zeros(&mut self, count: usize) {
        self.make_room(count);
        self.data.resize(self.data.len() + count, 0.0);
    }

    /// The samples in the queue.
    pub fn samples(&self) -> &[f32] {
        &self.data[self.start..]
    }

    /// Drops `count` samples from the front.
    pub fn pop(&mut self, count: usize) {
        self.start += count;
    }

    /// Drops all samples.
    pub fn clear(&mut self) {
        self.data.clear();
        self.start = 0;
    }

    fn make_room(&mut self, count: usize) {
        if self.data.len() + count > self.data.capacity() {
            self.data.drain(..self.start);
            self.start = 0;
        }
    }
}

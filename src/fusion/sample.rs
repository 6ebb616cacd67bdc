// SPDX-License-Identifier: MPL-2.0
//! A few items of a stream of any length, spread evenly over it.

/// Items kept for each one that is picked at the end: enough to spread these evenly, and few, as streams may be live for
/// weeks.
const KEPT: usize = 4;

/// Picks items from a stream whose length is not known before its end, in bounded memory.
#[derive(Debug, Clone)]
pub struct Sample<T> {
    count: usize,
    limit: usize,
    /// One item of this many is kept; the value doubles when there are too many items.
    step: usize,
    seen: usize,
    kept: Vec<T>,
}

impl<T> Sample<T> {
    /// A sample of at most `count` items; 0 is taken as 1.
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        Self {
            count,
            limit: count.saturating_mul(KEPT),
            step: 1,
            seen: 0,
            kept: Vec::new(),
        }
    }

    /// Takes the next item of the stream.
    pub fn push(&mut self, item: T) {
        if self.seen.is_multiple_of(self.step) {
            self.kept.push(item);
        }
        self.seen += 1;
        if self.kept.len() > self.limit {
            let mut index = 0..;
            self.kept
                .retain(|_| index.next().is_some_and(|i: usize| i.is_multiple_of(2)));
            self.step *= 2;
        }
    }

    /// The items to choose from: all, or of more than four times `count` every second, of more than eight times `count`
    /// every fourth, and so on.
    pub fn kept(&self) -> &[T] {
        &self.kept
    }

    /// At most `count` of the [kept](Self::kept) items in order: of `n` items and `k` wanted, item
    /// `floor((2 i + 1) n / 2 k)` for each `i`.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        let count = self.kept.len().min(self.count);
        spread(self.kept.len(), count).map(|index| &self.kept[index])
    }
}

/// `count` indices spread evenly over `0..length`: the middle of each of `count` equal parts.
pub fn spread(length: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |part| (2 * part + 1) * length / (2 * count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: usize, length: usize) -> Vec<usize> {
        let mut sample = Sample::new(count);
        (0..length).for_each(|item| sample.push(item));
        assert!(sample.kept.len() <= sample.limit);
        sample.items().copied().collect()
    }

    #[test]
    fn items_are_the_middles_of_equal_parts() {
        assert!(items(4, 0).is_empty());
        assert_eq!(items(4, 3), [0, 1, 2]);
        assert_eq!(items(4, 5), [0, 1, 3, 4]);
        assert_eq!(items(4, 9), [1, 3, 5, 7]);
        assert_eq!(items(4, 16), [2, 6, 10, 14]);
        // Every second of 17, every 64th of 1,000.
        assert_eq!(items(4, 17), [2, 6, 10, 14]);
        assert_eq!(items(4, 1000), [128, 384, 640, 896]);
        assert_eq!(items(400, 800), Vec::from_iter((0..400).map(|i| 2 * i + 1)));
    }
}

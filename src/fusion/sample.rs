// SPDX-License-Identifier: MPL-2.0
//! A few items of a stream of any length, spread evenly over it.

/// Maximum number of items that are kept until the end, so that the picked ones are evenly spread.
const KEPT: usize = 600;

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
            limit: KEPT.max(2 * count),
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

    /// The latest of the [kept](Self::kept) items.
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.kept.last_mut()
    }

    /// The items to choose from: all, or of more than 600 (twice `count`, if that is more) every second, or fourth, and
    /// so on.
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
        assert_eq!(items(4, 600), [75, 225, 375, 525]);
        // Every second of 601, every fourth of 1,300.
        assert_eq!(items(4, 601), [74, 224, 376, 526]);
        assert_eq!(items(4, 1300), [160, 484, 812, 1136]);
        assert_eq!(items(400, 800), Vec::from_iter((0..400).map(|i| 2 * i + 1)));
    }
}

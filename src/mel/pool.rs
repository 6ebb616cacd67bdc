// SPDX-License-Identifier: MPL-2.0

//! Memory of patches, used again.

use std::sync::Arc;

/// Patches whose memory is kept; of a stream whose patches are held for longer, further ones are allocated.
const KEPT: usize = 4;

/// Allocates patches, and reuses the memory of earlier ones that are no longer held.
pub struct Pool {
    length: usize,
    kept: Vec<Arc<[f32]>>,
}

impl Pool {
    /// A pool of patches of `length` values.
    pub fn new(length: usize) -> Self {
        Self {
            length,
            kept: Vec::with_capacity(KEPT),
        }
    }

    /// A patch as `fill` makes it, which finds values of earlier ones there.
    pub fn take(&mut self, fill: impl FnOnce(&mut [f32])) -> Arc<[f32]> {
        let spent = |patch: &mut Arc<[f32]>| Arc::get_mut(patch).is_some();
        let mut patch = match self.kept.iter_mut().position(spent) {
            Some(index) => self.kept.swap_remove(index),
            None => {
                self.kept.truncate(KEPT - 1);
                std::iter::repeat_n(0.0, self.length).collect()
            }
        };
        fill(Arc::get_mut(&mut patch).expect("nobody else holds this patch"));
        self.kept.push(patch.clone());
        patch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_nobody_holds_it() {
        let mut pool = Pool::new(3);
        let first = pool.take(|values| values.fill(1.0));
        let second = pool.take(|values| values.fill(2.0));
        assert_eq!((&*first, &*second), (&[1.0; 3][..], &[2.0; 3][..]));
        let memory = first.as_ptr();
        drop(first);
        let third = pool.take(|values| values[0] = 3.0);
        assert_eq!((third.as_ptr(), &*third), (memory, &[3.0, 1.0, 1.0][..]));
    }

    #[test]
    fn patches_that_are_held_stay_as_they_are_and_little_is_kept() {
        let mut pool = Pool::new(1);
        let held: Vec<_> = (0..20)
            .map(|n| pool.take(|values| values[0] = n as f32))
            .collect();
        assert!(
            held.iter()
                .enumerate()
                .all(|(n, patch)| **patch == [n as f32])
        );
        let kept = held.iter().filter(|patch| Arc::strong_count(patch) > 1);
        assert_eq!(kept.count(), KEPT);
    }
}

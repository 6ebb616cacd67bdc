// SPDX-License-Identifier: MPL-2.0
//! The mean of embeddings.

use std::sync::Arc;

use super::Span;

/// The mean of embeddings, weighted by the time that each is about.
#[derive(Debug, Clone, Default)]
pub struct Mean {
    /// Each embedding times its length.
    sums: Vec<f64>,
    length: f64,
}

impl Mean {
    /// Adds an embedding of the same size as the others; one of no length counts as a nanosecond.
    pub fn add(&mut self, span: Span, embedding: &[f32]) {
        let length = span.length().max(1) as f64;
        self.sums.resize(embedding.len(), 0.0);
        for (sum, &value) in self.sums.iter_mut().zip(embedding) {
            *sum += f64::from(value) * length;
        }
        self.length += length;
    }

    /// The mean; `None` before the first embedding.
    pub fn get(&self) -> Option<Arc<[f32]>> {
        let mean = |sum: &f64| (sum / self.length) as f32;
        (self.length > 0.0).then(|| self.sums.iter().map(mean).collect())
    }
}

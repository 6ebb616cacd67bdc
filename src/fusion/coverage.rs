// SPDX-License-Identifier: MPL-2.0
//! Which time had media.

use super::Span;

/// Gaps of up to 2 ms are the rounding of timestamps: some containers count in milliseconds.
pub const ROUNDING: u64 = 2_000_000;

/// The time that media covers, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Coverage {
    /// The longest gap that counts as covered.
    rounding: u64,
    /// Sorted, without overlaps.
    spans: Vec<Span>,
}

impl Coverage {
    /// Nothing is covered; gaps of up to `rounding` will be.
    pub fn new(rounding: u64) -> Self {
        Self {
            rounding,
            spans: Vec::new(),
        }
    }

    /// Media covers `span`, too. Returns the nanoseconds that nothing covered before.
    pub fn add(&mut self, span: Span) -> u64 {
        if span.length() == 0 {
            return 0;
        }
        let before = |own: &Span| own.end.saturating_add(self.rounding) < span.start;
        let from = self.spans.partition_point(before);
        let until = |own: &Span| own.start <= span.end.saturating_add(self.rounding);
        let to = from + self.spans[from..].partition_point(until);
        let touched = &self.spans[from..to];
        let joined = Span {
            start: touched
                .first()
                .map_or(span.start, |own| own.start.min(span.start)),
            end: touched.last().map_or(span.end, |own| own.end.max(span.end)),
        };
        let covered: u64 = touched.iter().map(|own| own.length()).sum();
        self.spans.splice(from..to, [joined]);
        joined.length() - covered
    }

    /// The nanoseconds of `span` that media covers.
    pub fn covered(&self, span: Span) -> u64 {
        self.spans.iter().map(|own| own.within(span).length()).sum()
    }

    /// The start of the first media that ends at `time` or later.
    pub fn after(&self, time: u64) -> Option<u64> {
        let at = self.spans.partition_point(|own| own.end < time);
        self.spans.get(at).map(|own| own.start)
    }

    /// Forgets what ended before `time`.
    pub fn forget(&mut self, time: u64) {
        self.spans.retain(|span| span.end > time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn span(start: u64, end: u64) -> Span {
        Span {
            start: start * MS,
            end: end * MS,
        }
    }

    #[test]
    fn spans_join_in_any_order_over_rounding_only() {
        let mut coverage = Coverage::new(ROUNDING);
        assert_eq!(coverage.add(span(10, 20)), 10 * MS);
        assert_eq!(coverage.add(span(40, 50)), 10 * MS);
        assert_eq!(coverage.add(span(30, 39)), 10 * MS);
        assert_eq!(coverage.add(span(12, 18)), 0);
        assert_eq!(coverage.spans, [span(10, 20), span(30, 50)]);
        assert_eq!(coverage.add(span(15, 35)), 10 * MS);
        assert_eq!(coverage.spans, [span(10, 50)]);
        assert_eq!(coverage.add(span(53, 60)), 7 * MS);
        assert_eq!(coverage.spans.len(), 2);
    }

    #[test]
    fn what_is_inside_counts() {
        let mut coverage = Coverage::new(ROUNDING);
        coverage.add(span(0, 10));
        coverage.add(span(20, 40));
        assert_eq!(coverage.covered(span(5, 25)), 10 * MS);
        assert_eq!(coverage.covered(span(50, 60)), 0);
        assert_eq!(coverage.covered(span(5, 5)), 0);
        let after = |time| coverage.after(time * MS).map(|start| start / MS);
        assert_eq!([10, 11, 30, 40].map(after), [0, 20, 20, 20].map(Some));
        assert_eq!(after(41), None);
        coverage.forget(10 * MS);
        assert_eq!(coverage.spans, [span(20, 40)]);
    }
}

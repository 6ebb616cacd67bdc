// SPDX-License-Identifier: MPL-2.0
//! Finds the results whose labels differ from those shown.

/// Tracks the labels that are shown, with hysteresis: a label is added when its score reaches the threshold plus a
/// margin, and removed when its score falls below the threshold, so that scores near the threshold cause no changes. If
/// no shown label remains, the best one is added without the margin.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    shown: Vec<String>,
}

impl Changes {
    /// Updates the shown labels from a result, highest score first, and keeps only these in `tags`. Labels whose score
    /// is below `threshold` are removed. Returns whether the set of shown labels has changed.
    pub fn take(&mut self, tags: &mut Vec<(String, f32)>, threshold: f32, margin: f32) -> bool {
        let none_stays = !tags
            .iter()
            .any(|(label, score)| *score >= threshold && self.shown.contains(label));
        let mut best = none_stays;
        tags.retain(|(label, score)| {
            let is_best = std::mem::take(&mut best);
            let comes = is_best || *score >= threshold + margin;
            *score >= threshold && (comes || self.shown.contains(label))
        });
        let same = tags.len() == self.shown.len()
            && tags.iter().all(|(label, _)| self.shown.contains(label));
        self.shown = tags.iter().map(|(label, _)| label.clone()).collect();
        !same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hovers_at_the_threshold_changes_nothing() {
        let mut changes = Changes::default();
        let mut take = |tags: &[(&str, f32)]| {
            let tags = tags.iter().map(|&(label, score)| (label.to_owned(), score));
            let mut tags: Vec<_> = tags.collect();
            let changed = changes.take(&mut tags, 0.3, 0.1);
            let labels: Vec<_> = tags.into_iter().map(|(label, _)| label).collect();
            (changed, labels.join(" "))
        };
        let result = |changed, labels: &str| (changed, labels.to_owned());
        assert_eq!(take(&[]), result(false, ""));
        assert_eq!(take(&[("Guitar", 0.35)]), result(true, "Guitar"));
        assert_eq!(
            take(&[("Guitar", 0.9), ("Piano", 0.35)]),
            result(false, "Guitar")
        );
        assert_eq!(
            take(&[("Guitar", 0.9), ("Piano", 0.45)]),
            result(true, "Guitar Piano")
        );
        assert_eq!(
            take(&[("Piano", 0.8), ("Guitar", 0.31)]),
            result(false, "Piano Guitar")
        );
        assert_eq!(
            take(&[("Piano", 0.8), ("Guitar", 0.29)]),
            result(true, "Piano")
        );
        assert_eq!(take(&[("Drums", 0.32)]), result(true, "Drums"));
        assert_eq!(take(&[]), result(true, ""));
    }
}

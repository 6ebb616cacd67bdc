// SPDX-License-Identifier: MPL-2.0

//! What a model made of some time, and the mean over a whole stream.

use crate::meta::{Source, Tags};

/// What a model made of some time: one score a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Scores from 0 to 1, in the order of the labels.
    pub scores: Vec<f32>,
    /// The modalities that it is based on.
    pub sources: Vec<Source>,
    /// Start of the time, in the time base of the buffers' timestamps.
    pub start: Option<gst::ClockTime>,
    /// Length of the time.
    pub duration: Option<gst::ClockTime>,
    /// Share of the time that had media, from 0 to 1.
    pub media: f32,
}

impl Analysis {
    /// The `most` best labels (0: all) whose scores reach `threshold`, as tags from `source` and `model`.
    pub fn tags(
        &self,
        source: Source,
        model: &str,
        labels: &[String],
        threshold: f32,
        most: u32,
    ) -> Tags {
        let scores = labels.iter().cloned().zip(self.scores.iter().copied());
        let mut scores: Vec<_> = scores.filter(|&(_, score)| score >= threshold).collect();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        if most > 0 {
            scores.truncate(most as usize);
        }
        Tags {
            source,
            model: model.to_owned(),
            sources: self.sources.clone(),
            start: self.start,
            duration: self.duration,
            media: self.media,
            scores,
            fresh: true,
        }
    }
}

/// The mean of a stream's analyses, weighted by the time with media that each describes.
#[derive(Debug, Clone, Default)]
pub struct Clip {
    sums: Vec<f64>,
    weight: f64,
    /// Seconds that the analyses describe, with media or without.
    seconds: f64,
    sources: Vec<Source>,
    start: Option<gst::ClockTime>,
    end: Option<gst::ClockTime>,
}

impl Clip {
    /// Adds one analysis; one of unknown length weighs as much as one of a second.
    pub fn add(&mut self, analysis: &Analysis) {
        let seconds = analysis
            .duration
            .map_or(1.0, |duration| duration.seconds_f64().max(1e-3));
        let weight = seconds * f64::from(analysis.media);
        self.sums.resize(analysis.scores.len(), 0.0);
        for (sum, &score) in self.sums.iter_mut().zip(&analysis.scores) {
            *sum += f64::from(score) * weight;
        }
        self.weight += weight;
        self.seconds += seconds;
        for &source in &analysis.sources {
            if !self.sources.contains(&source) {
                self.sources.push(source);
            }
        }
        let duration = analysis.duration.unwrap_or_default();
        let end = analysis.start.map(|start| start.saturating_add(duration));
        self.start = self.start.into_iter().chain(analysis.start).min();
        self.end = self.end.max(end);
    }

    /// The mean over all of the time, based on every modality that any analysis had; `None` before the first.
    pub fn mean(&self) -> Option<Analysis> {
        (self.weight > 0.0).then(|| Analysis {
            scores: self
                .sums
                .iter()
                .map(|sum| (sum / self.weight) as f32)
                .collect(),
            sources: self.sources.clone(),
            start: self.start,
            duration: self
                .end
                .zip(self.start)
                .map(|(end, start)| end.saturating_sub(start)),
            media: (self.weight / self.seconds) as f32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis(scores: &[f32], sources: &[Source], start: u64, duration: u64) -> Analysis {
        Analysis {
            scores: scores.to_vec(),
            sources: sources.to_vec(),
            start: Some(gst::ClockTime::from_seconds(start)),
            duration: Some(gst::ClockTime::from_seconds(duration)),
            media: 1.0,
        }
    }

    #[test]
    fn tags_are_sorted_cut_and_filtered() {
        let labels = ["a", "b", "c", "d"].map(String::from);
        let analysis = analysis(&[0.1, 0.5, 0.3, 0.09], &[Source::Audio], 0, 1);
        let tags = |most| analysis.tags(Source::Audio, "m", &labels, 0.1, most).scores;
        assert_eq!(tags(2), [("b".into(), 0.5), ("c".into(), 0.3)]);
        assert_eq!(tags(9).len(), 3);
        assert_eq!(tags(0).len(), 3);
    }

    #[test]
    fn a_clip_weighs_by_time_with_media_and_joins_the_sources() {
        let mut clip = Clip::default();
        assert_eq!(clip.mean(), None);
        clip.add(&analysis(&[1.0, 0.0], &[Source::Video], 1, 3));
        clip.add(&analysis(
            &[0.0, 1.0],
            &[Source::Video, Source::Audio],
            4,
            1,
        ));
        let expected = analysis(&[0.75, 0.25], &[Source::Video, Source::Audio], 1, 4);
        assert_eq!(clip.mean(), Some(expected.clone()));
        // Of these four seconds one had media.
        clip.add(&Analysis {
            media: 0.25,
            ..analysis(&[0.0, 1.0], &[Source::Video], 5, 4)
        });
        let mean = clip.mean().unwrap();
        assert_eq!((mean.scores, mean.media), (vec![0.6, 0.4], 0.625));
    }
}

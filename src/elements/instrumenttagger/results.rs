// SPDX-License-Identifier: MPL-2.0

//! The results that wait for a buffer of one passing stream, and those that its buffers repeat.

use gst::glib;

use crate::meta::{Source, Tags};

/// Which results ride on the buffers that pass.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstInstrumentTaggerSource")]
pub enum Riding {
    /// Those of both modalities together.
    #[default]
    #[enum_value(name = "Fused results")]
    Fused,
    /// Those of the sound alone.
    #[enum_value(name = "Results of the sound alone")]
    Audio,
    /// Those of the pictures alone.
    #[enum_value(name = "Results of the pictures alone")]
    Video,
    /// All of them.
    #[enum_value(name = "All results")]
    Any,
}

impl Riding {
    /// Whether results of `source` ride on buffers.
    pub fn takes(self, source: Source) -> bool {
        match self {
            Self::Any => true,
            Self::Fused => source == Source::Fused,
            Self::Audio => source == Source::Audio,
            Self::Video => source == Source::Video,
        }
    }
}

/// A result, and the running time at which the time that it is about begins.
#[derive(Debug, Clone)]
pub struct Result {
    pub tags: Tags,
    pub running_time: Option<gst::ClockTime>,
}

/// The results for one passing stream.
#[derive(Debug, Default)]
pub struct Results {
    fresh: Vec<Result>,
    /// The latest of each source.
    last: Vec<Result>,
    pub segment: gst::FormattedSegment<gst::ClockTime>,
}

impl Results {
    /// Takes a result that the next buffer carries first.
    pub fn push(&mut self, result: Result) {
        self.last
            .retain(|last| last.tags.source != result.tags.source);
        self.last.push(result.clone());
        self.fresh.push(result);
    }

    /// The tags for the next buffer: the results since the one before, else the latest ones again if `repeat`.
    pub fn next(&mut self, repeat: bool) -> Vec<Tags> {
        let fresh = std::mem::take(&mut self.fresh);
        if !fresh.is_empty() {
            return self.in_stream(&fresh, true);
        }
        if repeat {
            self.in_stream(&self.last, false)
        } else {
            Vec::new()
        }
    }

    /// The results that no buffer has carried yet.
    pub fn rest(&mut self) -> Vec<Tags> {
        let fresh = std::mem::take(&mut self.fresh);
        self.in_stream(&fresh, true)
    }

    /// Forgets everything, after a flush and at the start of a stream.
    pub fn clear(&mut self) {
        self.fresh.clear();
        self.last.clear();
    }

    /// The tags with their start in the time base of this stream's timestamps.
    fn in_stream(&self, results: &[Result], fresh: bool) -> Vec<Tags> {
        let start = |result: &Result| self.segment.position_from_running_time(result.running_time);
        results
            .iter()
            .map(|result| Tags {
                start: start(result).or(result.tags.start),
                fresh,
                ..result.tags.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(source: Source, label: &str, running_time: u64) -> Result {
        Result {
            tags: Tags {
                source,
                model: "test".into(),
                sources: vec![source],
                start: Some(gst::ClockTime::ZERO),
                duration: Some(gst::ClockTime::SECOND),
                scores: vec![(label.into(), 0.5)],
                media: 1.0,
                fresh: true,
            },
            running_time: Some(gst::ClockTime::from_seconds(running_time)),
        }
    }

    #[test]
    fn each_result_is_fresh_once_and_repeated_until_the_next_of_its_source() {
        gst::init().unwrap();
        let mut results = Results::default();
        assert!(results.next(true).is_empty());
        results.push(result(Source::Fused, "a", 0));
        results.push(result(Source::Audio, "b", 0));
        let labels = |tags: Vec<Tags>| -> Vec<(String, bool)> {
            tags.into_iter()
                .map(|tags| (tags.scores[0].0.clone(), tags.fresh))
                .collect()
        };
        assert_eq!(
            labels(results.next(true)),
            [("a".into(), true), ("b".into(), true)]
        );
        assert_eq!(
            labels(results.next(true)),
            [("a".into(), false), ("b".into(), false)]
        );
        assert!(results.next(false).is_empty());
        results.push(result(Source::Fused, "c", 1));
        assert_eq!(labels(results.next(true)), [("c".into(), true)]);
        assert_eq!(
            labels(results.next(true)),
            [("b".into(), false), ("c".into(), false)]
        );
        results.clear();
        assert!(results.next(true).is_empty());
    }

    #[test]
    fn times_are_those_of_the_passing_stream() {
        gst::init().unwrap();
        let mut results = Results::default();
        results.segment.set_start(gst::ClockTime::from_seconds(100));
        results.push(result(Source::Fused, "a", 5));
        assert_eq!(
            results.next(true)[0].start,
            Some(gst::ClockTime::from_seconds(105))
        );
    }
}

// SPDX-License-Identifier: MPL-2.0

//! The results that wait for a buffer of one passing stream, and those that its buffers repeat.

use gst::glib;

use crate::elements::inference::{Latest, Named};
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
    #[enum_value(name = "Results of the sound only")]
    Audio,
    /// Those of the pictures alone.
    #[enum_value(name = "Results of the pictures only")]
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
            _ => source == self.named(),
        }
    }

    /// Whose results name the instruments in tag events.
    pub fn named(self) -> Source {
        match self {
            Self::Any | Self::Fused => Source::Fused,
            Self::Audio => Source::Audio,
            Self::Video => Source::Video,
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
#[derive(Default)]
pub struct Results {
    fresh: Vec<Result>,
    /// The latest of each source.
    latest: Vec<(Source, Latest)>,
    /// The result over the whole stream.
    pub clip: Option<Tags>,
    pub named: Named,
    pub segment: gst::FormattedSegment<gst::ClockTime>,
}

impl Results {
    /// Takes a result that the next buffer carries first.
    pub fn push(&mut self, result: Result) {
        self.fresh.push(result);
    }

    /// The tags for the buffer at `position`: the results since the one before, else the latest ones again until they
    /// expire; `repeat` is their lifetime in nanoseconds (0: see [`Latest::at`]), `None` for no repetition.
    pub fn next(&mut self, position: Option<gst::ClockTime>, repeat: Option<u64>) -> Vec<Tags> {
        let fresh = self.rest();
        if fresh.is_empty() {
            let latest = self.latest.iter();
            return repeat.map_or_else(Vec::new, |lifetime| {
                latest
                    .filter_map(|(_, latest)| latest.at(position, lifetime))
                    .collect()
            });
        }
        for tags in &fresh {
            self.latest.retain(|&(source, _)| source != tags.source);
            self.latest.push((tags.source, Latest::new(tags, position)));
        }
        fresh
    }

    /// The results that no buffer has carried yet, with their start in the time base of this stream's timestamps.
    pub fn rest(&mut self) -> Vec<Tags> {
        let start = |result: &Result| self.segment.position_from_running_time(result.running_time);
        std::mem::take(&mut self.fresh)
            .into_iter()
            .map(|result| Tags {
                start: start(&result).or(result.tags.start),
                ..result.tags
            })
            .collect()
    }

    /// Forgets everything, after a flush and at the start of a stream.
    pub fn clear(&mut self) {
        self.fresh.clear();
        self.latest.clear();
        (self.clip, self.named) = Default::default();
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
    fn each_result_is_fresh_once_and_repeated_until_the_next_of_its_source_or_its_end() {
        gst::init().unwrap();
        let mut results = Results::default();
        let second = |n| Some(gst::ClockTime::from_seconds(n));
        let labels = |tags: Vec<Tags>| -> Vec<(String, bool)> {
            tags.into_iter()
                .map(|tags| (tags.scores[0].0.clone(), tags.fresh))
                .collect()
        };
        assert!(results.next(second(0), Some(0)).is_empty());
        results.push(result(Source::Fused, "a", 0));
        results.push(result(Source::Audio, "b", 0));
        let expected = [("a".into(), true), ("b".into(), true)];
        assert_eq!(labels(results.next(second(1), Some(0))), expected);
        let expected = [("a".into(), false), ("b".into(), false)];
        assert_eq!(labels(results.next(second(1), Some(0))), expected);
        assert!(results.next(second(1), None).is_empty());
        results.push(result(Source::Fused, "c", 1));
        assert_eq!(
            labels(results.next(second(2), Some(0))),
            [("c".into(), true)]
        );
        let expected = [("b".into(), false), ("c".into(), false)];
        assert_eq!(labels(results.next(second(2), Some(0))), expected);
        // The second that `b` is about ended at 1 s, a lifetime before 2 s.
        assert_eq!(
            labels(results.next(second(3), Some(0))),
            [("c".into(), false)]
        );
        results.clear();
        assert!(results.next(second(3), Some(0)).is_empty());
    }

    #[test]
    fn times_are_those_of_the_passing_stream() {
        gst::init().unwrap();
        let mut results = Results::default();
        results.segment.set_start(gst::ClockTime::from_seconds(100));
        results.push(result(Source::Fused, "a", 5));
        let start = results.next(None, None)[0].start;
        assert_eq!(start, Some(gst::ClockTime::from_seconds(105)));
    }
}

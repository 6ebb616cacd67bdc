// SPDX-License-Identifier: MPL-2.0
//! The whole of a stream as one window, as the paper classifies a video: pictures spread evenly over it, and its sound.

use std::sync::Arc;

use super::{
    Sample, Source, Span, Window,
    coverage::{Coverage, ROUNDING},
    mean::Mean,
};

/// Media that comes this long after later media is not counted again; sound and pictures are closer together.
const DISORDER: u64 = 60_000_000_000;

/// Collects the embeddings of a whole stream in bounded memory.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Each with whether it is of a still picture.
    pictures: Sample<(Arc<[f32]>, bool)>,
    audio: Mean,
    span: Option<Span>,
    media: Coverage,
    /// Nanoseconds with media.
    covered: u64,
}

impl Whole {
    /// An empty collection of which at most `frames` pictures are used; 0 is taken as 1.
    pub fn new(frames: usize) -> Self {
        Self {
            pictures: Sample::new(frames),
            audio: Mean::default(),
            span: None,
            media: Coverage::new(ROUNDING),
            covered: 0,
        }
    }

    /// Media of any source covers `span`.
    pub fn cover(&mut self, span: Span) {
        self.covered = self.covered.saturating_add(self.media.add(span));
        self.media.forget(span.start.saturating_sub(DISORDER));
    }

    /// Takes an embedding; pictures come in the order of their times. `still`: of a picture that does not differ from
    /// the one before it.
    pub fn push(&mut self, source: Source, span: Span, embedding: Arc<[f32]>, still: bool) {
        self.span = Some(self.span.map_or(span, |all| Span {
            start: all.start.min(span.start),
            end: all.end.max(span.end),
        }));
        match source {
            Source::Video => {
                if let Some((_, before)) = self.pictures.last_mut().filter(|_| !still) {
                    *before = false;
                }
                self.pictures.push((embedding, still));
            }
            Source::Audio => self.audio.add(span, &embedding),
        }
    }

    /// The window over all of it: pictures for [`Fusion::run`](super::Fusion::run) to spread, and the mean of the audio
    /// embeddings, weighted by their lengths; still pictures as in a [`Window`]. `None` before the first embedding.
    pub fn window(&self) -> Option<Window> {
        let span = self.span?;
        let audio = self.audio.get();
        let kept = self.pictures.kept().iter();
        let counted = kept.filter(|(_, still)| !still || audio.is_none());
        Some(Window {
            span,
            media: (self.covered as f64 / span.length().max(1) as f64).min(1.0) as f32,
            video: counted.map(|(picture, _)| picture.clone()).collect(),
            audio,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span { start, end }
    }

    #[test]
    fn pictures_come_in_order_in_bounded_number() {
        let mut whole = Whole::new(4);
        for time in 0..1000 {
            whole.push(
                Source::Video,
                span(time, time + 1),
                [time as f32].into(),
                false,
            );
        }
        let window = whole.window().unwrap();
        assert_eq!((window.span, window.audio), (span(0, 1000), None));
        let times: Vec<f32> = window.video.iter().map(|picture| picture[0]).collect();
        assert!(times.into_iter().eq((0..500).map(|n| 2.0 * n as f32)));
    }

    #[test]
    fn sound_is_the_mean_by_length() {
        let mut whole = Whole::new(4);
        assert_eq!(whole.window(), None);
        whole.push(Source::Audio, span(10, 40), [1.0, 0.0].into(), false);
        whole.push(Source::Audio, span(40, 50), [0.0, 1.0].into(), false);
        let window = whole.window().unwrap();
        assert_eq!(window.span, span(10, 50));
        assert_eq!(window.audio.as_deref(), Some(&[0.75, 0.25][..]));
        assert!(window.video.is_empty());
    }

    #[test]
    fn a_picture_that_stays_counts_without_sound_only() {
        let mut whole = Whole::new(4);
        for time in 0..100 {
            whole.push(Source::Video, span(time, time + 1), [1.0].into(), true);
        }
        assert_eq!(whole.window().unwrap().video.len(), 100);
        whole.push(Source::Audio, span(0, 100), [1.0].into(), false);
        assert!(whole.window().unwrap().video.is_empty());
        // Another follows: the end of the first and the beginning of the second count.
        whole.push(Source::Video, span(100, 101), [2.0].into(), false);
        whole.push(Source::Video, span(101, 102), [2.0].into(), true);
        let seen = whole.window().unwrap().video;
        let values: Vec<f32> = seen.iter().map(|picture| picture[0]).collect();
        assert_eq!(values, [1.0, 2.0]);
    }

    #[test]
    fn media_is_what_was_covered_once() {
        const SECOND: u64 = 1_000_000_000;
        let mut whole = Whole::new(4);
        whole.push(Source::Audio, span(0, 400 * SECOND), [1.0].into(), false);
        for second in (0..300).filter(|second| second % 3 > 0) {
            // Sound and pictures.
            whole.cover(span(second * SECOND, (second + 1) * SECOND));
            whole.cover(span(second * SECOND, (second + 1) * SECOND));
        }
        assert_eq!(whole.window().unwrap().media, 0.5);
    }
}

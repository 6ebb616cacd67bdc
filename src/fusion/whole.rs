// SPDX-License-Identifier: MPL-2.0
//! The whole of a stream as one window, as the paper classifies a video: pictures spread evenly over it, and its sound.

use std::sync::Arc;

use super::{
    SHORT, SLIDE, Sample, Source, Span, Window,
    coverage::{Coverage, ROUNDING},
    mean::Mean,
};

/// Media that comes this long after later media is not counted again; sound and pictures are closer together.
const DISORDER: u64 = 60_000_000_000;

/// Collects the embeddings of a whole stream in bounded memory.
#[derive(Debug, Clone)]
pub struct Whole {
    pictures: Sample<Arc<[f32]>>,
    /// Those that count beside sound: all but still pictures.
    moving: Sample<Arc<[f32]>>,
    /// The latest picture, if it is still unless the next one differs from it.
    still: Option<Arc<[f32]>>,
    /// The starts of the first and the latest picture.
    shown: Option<Span>,
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
            moving: Sample::new(frames),
            still: None,
            shown: None,
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
                self.pictures.push(embedding.clone());
                self.shown = Some(Span {
                    start: self.shown.map_or(span.start, |shown| shown.start),
                    end: span.start,
                });
                let before = self.still.take();
                if still {
                    self.still = Some(embedding);
                } else {
                    before
                        .into_iter()
                        .for_each(|before| self.moving.push(before));
                    self.moving.push(embedding);
                }
            }
            Source::Audio => self.audio.add(span, &embedding),
        }
    }

    /// The window over all of it: pictures for [`Fusion::run`](super::Fusion::run) to spread, and the mean of the audio
    /// embeddings, weighted by their lengths; still and lone pictures as in a [`Window`]. `None` before the first embedding.
    pub fn window(&self) -> Option<Window> {
        let span = self.span?;
        let audio = self.audio.get();
        let stays = self.shown.is_none_or(|shown| shown.length() >= SLIDE);
        let lone = self.moving.kept().is_empty() && !stays && span.length() <= SHORT;
        let counted = if lone || audio.is_none() {
            &self.pictures
        } else {
            &self.moving
        };
        Some(Window {
            span,
            media: (self.covered as f64 / span.length().max(1) as f64).min(1.0) as f32,
            video: counted.kept().to_vec(),
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
        // Of 4 wanted at most 16 are kept: every 64th of these.
        assert!(times.into_iter().eq((0..16).map(|n| 64.0 * n as f32)));
    }

    #[test]
    fn few_pictures_that_move_are_not_lost_among_many_that_stay() {
        let mut whole = Whole::new(4);
        whole.push(Source::Audio, span(0, 10_000), [1.0].into(), false);
        for time in 0..10_000 {
            // A slide every 1,000.
            let still = time % 1000 > 0;
            let slide = [(time / 1000) as f32].into();
            whole.push(Source::Video, span(time, time + 1), slide, still);
        }
        let seen = whole.window().unwrap().video;
        let slides: Vec<f32> = seen.iter().map(|picture| picture[0]).collect();
        // The end of each slide and the beginning of the next: 19, of which every second is kept.
        assert_eq!(slides, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
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
        for time in (0..10).map(|n| n * SLIDE) {
            whole.push(Source::Video, span(time, time + 1), [1.0].into(), true);
        }
        assert_eq!(whole.window().unwrap().video.len(), 10);
        whole.push(Source::Audio, span(0, 10 * SLIDE), [1.0].into(), false);
        assert!(whole.window().unwrap().video.is_empty());
        // Another follows: the end of the first and the beginning of the second count.
        let (end, next) = (10 * SLIDE, 11 * SLIDE);
        whole.push(Source::Video, span(end, next), [2.0].into(), false);
        whole.push(Source::Video, span(next, next + 1), [2.0].into(), true);
        let seen = whole.window().unwrap().video;
        let values: Vec<f32> = seen.iter().map(|picture| picture[0]).collect();
        assert_eq!(values, [1.0, 2.0]);
    }

    #[test]
    fn the_only_picture_counts_unless_it_stays_for_long() {
        let seen = |pictures: &[u64], length: u64| {
            let mut whole = Whole::new(4);
            for &time in pictures {
                whole.push(Source::Video, span(time, time + 1), [1.0].into(), true);
            }
            whole.push(Source::Audio, span(0, length), [1.0].into(), false);
            whole.window().unwrap().video.len()
        };
        assert_eq!((seen(&[0], SHORT), seen(&[0, SLIDE - 1], SHORT)), (1, 2));
        assert_eq!((seen(&[0], SHORT + 1), seen(&[0, SLIDE], SHORT)), (0, 0));
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

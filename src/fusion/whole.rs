// SPDX-License-Identifier: MPL-2.0
//! The whole of a stream as one window, as the paper classifies a video: pictures spread evenly over it, and its sound.

use std::sync::Arc;

use super::{Source, Span, Window, collector::spread};

/// Collects the embeddings of a whole stream in bounded memory.
#[derive(Debug, Clone)]
pub struct Whole {
    frames: usize,
    /// One of so many pictures is kept; it doubles when there are too many of them.
    step: usize,
    pictures: usize,
    kept: Vec<Arc<[f32]>>,
    /// The sum of the audio embeddings, each times its length.
    audio: Vec<f64>,
    length: f64,
    span: Option<Span>,
}

impl Whole {
    /// An empty collection for a window with at most `frames` pictures; 0 is taken as 1.
    pub fn new(frames: usize) -> Self {
        Self {
            frames: frames.max(1),
            step: 1,
            pictures: 0,
            kept: Vec::new(),
            audio: Vec::new(),
            length: 0.0,
            span: None,
        }
    }

    /// Takes an embedding; pictures come in the order of their times.
    pub fn push(&mut self, source: Source, span: Span, embedding: Arc<[f32]>) {
        self.span = Some(self.span.map_or(span, |all| Span {
            start: all.start.min(span.start),
            end: all.end.max(span.end),
        }));
        match source {
            Source::Video => self.push_picture(embedding),
            Source::Audio => {
                let length = span.end.saturating_sub(span.start).max(1) as f64;
                self.audio.resize(embedding.len(), 0.0);
                for (sum, &value) in self.audio.iter_mut().zip(&*embedding) {
                    *sum += f64::from(value) * length;
                }
                self.length += length;
            }
        }
    }

    fn push_picture(&mut self, embedding: Arc<[f32]>) {
        if self.pictures.is_multiple_of(self.step) {
            self.kept.push(embedding);
        }
        self.pictures += 1;
        // Twice as many as are needed, so that what is left of them is spread evenly enough.
        if self.kept.len() > 2 * self.frames {
            let mut index = 0..;
            self.kept
                .retain(|_| index.next().is_some_and(|i: usize| i.is_multiple_of(2)));
            self.step *= 2;
        }
    }

    /// The window over all of it: at most `frames` pictures, evenly spread, and the mean of the audio embeddings,
    /// weighted by their lengths; `None` before the first embedding.
    pub fn window(&self) -> Option<Window> {
        let count = self.kept.len().min(self.frames);
        let mean = |sum: &f64| (sum / self.length) as f32;
        Some(Window {
            span: self.span?,
            video: spread(self.kept.len(), count)
                .map(|index| self.kept[index].clone())
                .collect(),
            audio: (self.length > 0.0).then(|| self.audio.iter().map(mean).collect()),
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
    fn pictures_stay_evenly_spread_however_long_the_stream_is() {
        for length in [1usize, 4, 5, 9, 100, 1000] {
            let mut whole = Whole::new(4);
            for time in 0..length {
                let embedding = [time as f32].into();
                whole.push(Source::Video, span(time as u64, time as u64 + 1), embedding);
                assert!(whole.kept.len() <= 8);
            }
            let window = whole.window().unwrap();
            assert_eq!(window.span, span(0, length as u64));
            assert_eq!((window.video.len(), window.audio), (length.min(4), None));
            let times: Vec<f32> = window.video.iter().map(|picture| picture[0]).collect();
            for (part, time) in times.iter().enumerate() {
                // The middle of its part of the stream, give or take half a part.
                let middle = (part as f32 + 0.5) * length as f32 / times.len() as f32;
                let tolerance = 0.5 * length as f32 / times.len() as f32;
                assert!(
                    (time + 0.5 - middle).abs() <= tolerance,
                    "{length}: {times:?}"
                );
            }
        }
    }

    #[test]
    fn sound_is_the_mean_by_length() {
        let mut whole = Whole::new(4);
        assert_eq!(whole.window(), None);
        whole.push(Source::Audio, span(10, 40), [1.0, 0.0].into());
        whole.push(Source::Audio, span(40, 50), [0.0, 1.0].into());
        let window = whole.window().unwrap();
        assert_eq!(window.span, span(10, 50));
        assert_eq!(window.audio.as_deref(), Some(&[0.75, 0.25][..]));
        assert!(window.video.is_empty());
    }
}

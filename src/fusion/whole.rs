// SPDX-License-Identifier: MPL-2.0
//! The whole of a stream as one window, as the paper classifies a video: pictures spread evenly over it, and its sound.

use std::sync::Arc;

use super::{Sample, Source, Span, Window, mean::Mean};

/// Collects the embeddings of a whole stream in bounded memory.
#[derive(Debug, Clone)]
pub struct Whole {
    pictures: Sample<Arc<[f32]>>,
    audio: Mean,
    span: Option<Span>,
}

impl Whole {
    /// An empty collection for a window with at most `frames` pictures; 0 is taken as 1.
    pub fn new(frames: usize) -> Self {
        Self {
            pictures: Sample::new(frames),
            audio: Mean::default(),
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
            Source::Video => self.pictures.push(embedding),
            Source::Audio => self.audio.add(span, &embedding),
        }
    }

    /// The window over all of it: at most `frames` pictures, evenly spread, and the mean of the audio embeddings,
    /// weighted by their lengths; `None` before the first embedding.
    pub fn window(&self) -> Option<Window> {
        Some(Window {
            span: self.span?,
            video: self.pictures.items().cloned().collect(),
            audio: self.audio.get(),
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
    fn pictures_are_spread_evenly_over_all_of_the_stream() {
        let mut whole = Whole::new(4);
        for time in 0..9 {
            whole.push(Source::Video, span(time, time + 1), [time as f32].into());
        }
        let window = whole.window().unwrap();
        assert_eq!((window.span, window.audio), (span(0, 9), None));
        let times: Vec<f32> = window.video.iter().map(|picture| picture[0]).collect();
        assert_eq!(times, [1.0, 3.0, 5.0, 7.0]);
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

// SPDX-License-Identifier: MPL-2.0
//! Time-stamped embeddings in, windows out. All times are nanoseconds of running time.

use std::sync::Arc;

/// What an embedding was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A picture.
    Video,
    /// A mel patch.
    Audio,
}

/// How embeddings are gathered into windows. Zeros are taken as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// At most so many picture embeddings in a window.
    pub frames: usize,
    /// Length of a window.
    pub window: u64,
    /// From the end of a window to the end of the next.
    pub stride: u64,
}

/// A stretch of time, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First nanosecond.
    pub start: u64,
    /// One after the last.
    pub end: u64,
}

impl Span {
    /// Whether both share a nanosecond; an empty span (a picture without a duration) counts as its start.
    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && self.end.max(self.start.saturating_add(1)) > other.start
    }
}

/// The embeddings to fuse for one result; at least one is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The time it covers.
    pub span: Span,
    /// At most [`Config::frames`] picture embeddings, evenly spread over those that overlap the window, in order.
    pub video: Vec<Arc<[f32]>>,
    /// Of the audio embeddings that overlap the window, the one that ends nearest the window's end.
    pub audio: Option<Arc<[f32]>>,
}

#[derive(Debug)]
struct Item {
    span: Span,
    embedding: Arc<[f32]>,
}

/// Collects the embeddings of a stream. Windows end at the origin (the first time seen) plus each multiple of the
/// stride, and cover the time before that, up to the window's length and back to the origin. Embeddings that no
/// later window can use are forgotten.
#[derive(Debug)]
pub struct Collector {
    config: Config,
    /// Each sorted by start.
    video: Vec<Item>,
    audio: Vec<Item>,
    origin: Option<u64>,
    /// Windows that are over, given out or skipped.
    passed: u64,
    /// Whether a window was given out.
    emitted: bool,
}

impl Collector {
    /// An empty collector.
    pub fn new(config: Config) -> Self {
        Self {
            config: Config {
                frames: config.frames.max(1),
                window: config.window.max(1),
                stride: config.stride.max(1),
            },
            video: Vec::new(),
            audio: Vec::new(),
            origin: None,
            passed: 0,
            emitted: false,
        }
    }

    /// Takes an embedding. One that comes too late for any window still to be given out is dropped.
    pub fn push(&mut self, source: Source, span: Span, embedding: Arc<[f32]>) {
        let origin = *self.origin.get_or_insert(span.start);
        if self.passed == 0 {
            // The branches' first embeddings may come in any order.
            self.origin = Some(origin.min(span.start));
        }
        if !span.overlaps(self.rest()) {
            return;
        }
        let items = match source {
            Source::Video => &mut self.video,
            Source::Audio => &mut self.audio,
        };
        let at = items.partition_point(|item| item.span.start <= span.start);
        items.insert(at, Item { span, embedding });
    }

    /// The next window that ended at or before `now`; `None` when there is none yet. Windows without any embedding
    /// are skipped.
    pub fn due(&mut self, now: u64) -> Option<Window> {
        let origin = self.origin?;
        loop {
            let end = self.end(self.passed + 1);
            // u64::MAX stands for "no time" in GStreamer, and no window can end there.
            if end > now || end == u64::MAX {
                return None;
            }
            let window = self.window(end);
            self.passed += 1;
            self.forget();
            if window.is_some() {
                self.emitted = true;
                return window;
            }
            // Nothing in this one: on to the first that has anything, or past all that are over.
            let first = [&self.video, &self.audio]
                .into_iter()
                .flat_map(|items| items.first())
                .map(|item| item.span.start)
                .min();
            let over = now.min(first.unwrap_or(now)).saturating_sub(origin) / self.config.stride;
            self.passed = self.passed.max(over);
            self.forget();
        }
    }

    /// The end of the stream: what [`due`](Self::due) has not given out up to `end`, as one last window, if none was
    /// given out so far or at least half a stride is left. Call [`due`](Self::due) first. Forgets everything.
    pub fn finish(&mut self, end: u64) -> Option<Window> {
        let left = end.saturating_sub(self.end(self.passed));
        let wanted = !self.emitted || left >= self.config.stride.div_ceil(2);
        let window = if wanted && left > 0 {
            self.window(end)
        } else {
            None
        };
        self.reset();
        window
    }

    /// Forgets everything, as after a flush or a jump.
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// The end of window `number`, counted from 1.
    fn end(&self, number: u64) -> u64 {
        let origin = self.origin.unwrap_or(0);
        origin.saturating_add(number.saturating_mul(self.config.stride))
    }

    /// The time that the window ending at `end` covers.
    fn span(&self, end: u64) -> Span {
        let start = end.saturating_sub(self.config.window);
        Span {
            start: start.max(self.origin.unwrap_or(0)),
            end,
        }
    }

    /// The time that windows still to come cover.
    fn rest(&self) -> Span {
        Span {
            end: u64::MAX,
            ..self.span(self.end(self.passed + 1))
        }
    }

    fn window(&self, end: u64) -> Option<Window> {
        let span = self.span(end);
        let within = |item: &&Item| item.span.overlaps(span);
        let pictures: Vec<&Item> = self.video.iter().filter(within).collect();
        let count = pictures.len().min(self.config.frames);
        let audio = self.audio.iter().filter(within);
        // Of two that are equally near, the later.
        let audio = audio.rev().min_by_key(|item| item.span.end.abs_diff(end));
        if pictures.is_empty() && audio.is_none() {
            return None;
        }
        Some(Window {
            span,
            video: spread(pictures.len(), count)
                .map(|index| pictures[index].embedding.clone())
                .collect(),
            audio: audio.map(|item| item.embedding.clone()),
        })
    }

    fn forget(&mut self) {
        let rest = self.rest();
        for items in [&mut self.video, &mut self.audio] {
            items.retain(|item| item.span.overlaps(rest));
        }
    }
}

/// `count` indices spread evenly over `0..length`: the middle of each of `count` equal parts.
pub fn spread(length: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |part| (2 * part + 1) * length / (2 * count))
}

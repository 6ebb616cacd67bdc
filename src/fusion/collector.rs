// SPDX-License-Identifier: MPL-2.0
//! Time-stamped embeddings in, windows out. All times are nanoseconds of running time.

use std::sync::Arc;

use super::{
    coverage::{Coverage, ROUNDING},
    mean::Mean,
};

/// The modality of an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A picture.
    Video,
    /// A mel patch.
    Audio,
}

/// How embeddings are collected into windows, in nanoseconds. Zeros are taken as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Length of a window.
    pub window: u64,
    /// Time between the ends of two windows.
    pub stride: u64,
}

/// A time range without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First nanosecond.
    pub start: u64,
    /// One after the last.
    pub end: u64,
}

impl Span {
    /// Whether both have a nanosecond in common; an empty span (a picture without a duration) counts as its start.
    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && self.end.max(self.start.saturating_add(1)) > other.start
    }

    /// The part of it in `other`.
    pub(super) fn within(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self {
            start,
            end: self.end.min(other.end).max(start),
        }
    }

    /// In nanoseconds.
    pub fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// The embeddings to fuse for one result, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The time it covers.
    pub span: Span,
    /// Share of that time with media of any source, from 0 to 1.
    pub media: f32,
    /// The picture embeddings that overlap the window, in order. Beside sound, still pictures are left out: those that
    /// differ neither from the one before nor from the one after. The only picture of a stream that is known to be no
    /// longer than [`SHORT`] is not still; equal pictures less than [`SLIDE`] apart count as one.
    pub video: Vec<Arc<[f32]>>,
    /// The mean, weighted by their time in the window, of the audio embedding that ends nearest the window's end and of
    /// the earlier, non-overlapping embeddings (up to 10 % overlap) of which at least half is in the window.
    pub audio: Option<Arc<[f32]>>,
}

/// Why a window gives no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No media is in its last stride.
    NoMedia,
    /// Media covers less than half of it.
    LittleMedia,
    /// No embedding is about it.
    NoEmbedding,
}

/// Windows that gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// From the end of the first to that of the last.
    pub ends: Span,
    /// Why the last one did not.
    pub reason: Reason,
}

#[derive(Debug)]
struct Item {
    span: Span,
    embedding: Arc<[f32]>,
    /// Of a picture that differs neither from the one before nor from the one after.
    still: bool,
}

/// Key frames are no further apart, in nanoseconds: the only picture of a longer stream stays, as a cover does.
pub const SHORT: u64 = 30_000_000_000;

/// Equal pictures this far apart, in nanoseconds, are of a cover or a slide.
pub const SLIDE: u64 = 5_000_000_000;

/// The rest of a stream that makes one more window: longer than what codecs pad, and shorter than anything that is heard.
const LEAST_REST: u64 = 100_000_000;

/// The longest that one buffer counts as media.
const LONGEST_MEDIA: u64 = 3_600_000_000_000;

/// Collects the embeddings of a stream. Windows end at the origin (the first time seen) plus each multiple of the
/// stride, and cover the time before that, up to the window's length and back to the origin. A window gives a result
/// when media covers at least half of it and reaches its last stride. Embeddings that no later window can use are
/// forgotten.
#[derive(Debug)]
pub struct Collector {
    config: Config,
    /// Each sorted by start.
    video: Vec<Item>,
    audio: Vec<Item>,
    media: Coverage,
    origin: Option<u64>,
    /// The starts of the first and the latest picture, while all are equal.
    shown: Option<Span>,
    /// Whether a picture came that differs from the one before.
    moves: bool,
    /// Where the stream ends, once that is known.
    ended: Option<u64>,
    /// Windows that are over, given out or skipped.
    passed: u64,
    /// Whether a window was given out.
    emitted: bool,
    skipped: Option<Skipped>,
}

impl Collector {
    /// An empty collector.
    pub fn new(config: Config) -> Self {
        let config = Config {
            window: config.window.max(1),
            stride: config.stride.max(1),
        };
        Self {
            config,
            video: Vec::new(),
            audio: Vec::new(),
            // No gap that counts as covered is filled with windows.
            media: Coverage::new(ROUNDING.min(config.stride)),
            origin: None,
            shown: None,
            moves: false,
            ended: None,
            passed: 0,
            emitted: false,
            skipped: None,
        }
    }

    /// Media of any source covers `span`; at most one window of it counts, and an hour, so that a wrong timestamp or
    /// duration does not create windows without end.
    pub fn cover(&mut self, span: Span) {
        let longest = self.config.window.min(LONGEST_MEDIA);
        self.media.add(Span {
            end: span.end.min(span.start.saturating_add(longest)),
            ..span
        });
    }

    /// Takes an embedding; `still`: of a picture that equals the one before it. Embeddings that are too late for every
    /// window that is still due are dropped.
    pub fn push(&mut self, source: Source, span: Span, embedding: Arc<[f32]>, still: bool) {
        let origin = *self.origin.get_or_insert(span.start);
        if self.passed == 0 {
            // The branches' first embeddings may come in any order.
            self.origin = Some(origin.min(span.start));
        }
        if !span.overlaps(self.rest()) {
            return;
        }
        let items = match source {
            Source::Video => {
                let start = self.shown.map_or(span.start, |shown| shown.start);
                self.shown = Some(Span {
                    start: start.min(span.start),
                    end: start.max(span.start),
                });
                self.moves |= !still;
                &mut self.video
            }
            Source::Audio => &mut self.audio,
        };
        let at = items.partition_point(|item| item.span.start <= span.start);
        if let Some(before) = at.checked_sub(1).filter(|_| !still) {
            items[before].still = false;
        }
        let item = Item {
            span,
            embedding,
            still,
        };
        items.insert(at, item);
    }

    /// The next window that ended at or before `now`; `None` if there is none yet. Windows without any embedding,
    /// those of which media covers less than half, and those that end more than a stride after media are skipped,
    /// however many they are. `u64::MAX` stands for no time, as in GStreamer, and returns `None`.
    pub fn due(&mut self, now: u64) -> Option<Window> {
        self.skipped = None;
        let origin = self.origin.filter(|_| now < u64::MAX)?;
        loop {
            let end = self.end(self.passed + 1);
            if end > now {
                return None;
            }
            let window = self.window(end);
            let over = match &window {
                Ok(_) => end,
                Err((next, _)) => now.min(next.saturating_sub(1)).max(end),
            };
            self.passed = (over - origin) / self.config.stride;
            if let Err((_, reason)) = window {
                let start = self.skipped.map_or(end, |before| before.ends.start);
                let ends = Span {
                    start,
                    end: self.end(self.passed),
                };
                self.skipped = Some(Skipped { ends, reason });
            }
            self.forget();
            if let Ok(window) = window {
                self.emitted = true;
                return Some(window);
            }
        }
    }

    /// The windows that the last call of [`due`](Self::due) skipped.
    pub fn skipped(&self) -> Option<Skipped> {
        self.skipped
    }

    /// The stream ends at `end`: returns the next window that is [`due`](Self::due), and after these the rest as a last one,
    /// if there was no window so far or at least 0.1 s or half a stride is left. Then resets the collector.
    pub fn finish(&mut self, end: u64) -> Option<Window> {
        self.ended = Some(end);
        if let Some(window) = self.due(end) {
            return Some(window);
        }
        let left = end.saturating_sub(self.end(self.passed));
        let wanted = !self.emitted || left >= self.least_rest();
        let window = (wanted && left > 0).then(|| self.window(end));
        self.reset();
        window?.ok()
    }

    /// Resets the collector, as after a flush or a jump.
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

    /// The least that is left at the end of a stream to be one more window.
    fn least_rest(&self) -> u64 {
        self.config.stride.div_ceil(2).min(LEAST_REST)
    }

    /// The time that windows still to come cover.
    fn rest(&self) -> Span {
        Span {
            end: u64::MAX,
            ..self.span(self.end(self.passed).saturating_add(self.least_rest()))
        }
    }

    /// The window that ends at `end`, or the time before which no later one ends that gives a result, and why.
    fn window(&self, end: u64) -> Result<Window, (u64, Reason)> {
        let since = end.saturating_sub(self.config.stride);
        let media = self.media.after(since).unwrap_or(u64::MAX);
        if media >= end {
            return Err((media.saturating_add(1), Reason::NoMedia));
        }
        let span = self.span(end);
        let covered = self.media.covered(span);
        if let missing @ 1.. = span.length().div_ceil(2).saturating_sub(covered) {
            // No later window can have more media than this one and all that follows.
            return Err((end.saturating_add(missing), Reason::LittleMedia));
        }
        let audio = self.sound(span);
        let pictures = self.video.iter().filter(|item| item.span.overlaps(span));
        let lone = self.has_lone_picture();
        let counted = pictures.filter(|item| !item.still || lone || audio.is_none());
        let video: Vec<_> = counted.map(|item| item.embedding.clone()).collect();
        if video.is_empty() && audio.is_none() {
            let starts = self.video.iter().chain(&self.audio);
            let later = starts.map(|item| item.span.start).filter(|&at| at >= end);
            let next = later.min().map_or(u64::MAX, |at| at.saturating_add(1));
            return Err((next, Reason::NoEmbedding));
        }
        Ok(Window {
            span,
            media: (covered as f64 / span.length() as f64) as f32,
            video,
            audio,
        })
    }

    /// Whether the stream is known to be short and to have one picture: a key frame is no evidence that the picture stays.
    fn has_lone_picture(&self) -> bool {
        let whole = self
            .ended
            .zip(self.origin)
            .map(|(end, start)| end.saturating_sub(start));
        let stays = self.shown.is_none_or(|shown| shown.length() >= SLIDE);
        !self.moves && !stays && whole.is_some_and(|length| length <= SHORT)
    }

    /// What is heard in a window.
    fn sound(&self, window: Span) -> Option<Arc<[f32]>> {
        let overlapping = self.audio.iter().filter(|item| item.span.overlaps(window));
        let mut items: Vec<_> = overlapping.collect();
        // Of two that are equally near, the later.
        let nearest = items.iter().rev();
        let mut next = *nearest.min_by_key(|item| item.span.end.abs_diff(window.end))?;
        let mut mean = Mean::default();
        mean.add(next.span.within(window), &next.embedding);
        items.sort_by_key(|item| (item.span.end, item.span.length()));
        for item in items.into_iter().rev() {
            let (length, inside) = (item.span.length(), item.span.within(window).length());
            let overlap = next.span.length() / 10;
            let precedes = item.span.end <= next.span.start.saturating_add(overlap);
            if precedes && length > 0 && inside >= length.div_ceil(2) {
                mean.add(item.span.within(window), &item.embedding);
                next = item;
            }
        }
        mean.get()
    }

    fn forget(&mut self) {
        let rest = self.rest();
        for items in [&mut self.video, &mut self.audio] {
            items.retain(|item| item.span.overlaps(rest));
        }
        self.media.forget(rest.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A collector of a stream whose media has no gap in its first `media` nanoseconds.
    fn collector(window: u64, stride: u64, media: u64) -> Collector {
        let mut collector = Collector::new(Config { window, stride });
        for start in (0..media).step_by(window as usize) {
            collector.cover(Span {
                start,
                end: (start + window).min(media),
            });
        }
        collector
    }

    fn push(collector: &mut Collector, source: Source, start: u64, end: u64) {
        collector.push(source, Span { start, end }, [start as f32].into(), false);
    }

    /// Start and end, the starts of its pictures, the start of its audio.
    fn summary(window: Window) -> ([u64; 2], Vec<u64>, Option<u64>) {
        let start = |row: &Arc<[f32]>| row[0] as u64;
        (
            [window.span.start, window.span.end],
            window.video.iter().map(start).collect(),
            window.audio.as_ref().map(start),
        )
    }

    fn due(collector: &mut Collector, now: u64) -> Vec<([u64; 2], Vec<u64>, Option<u64>)> {
        std::iter::from_fn(|| collector.due(now))
            .map(summary)
            .collect()
    }

    #[test]
    fn windows_end_each_stride_after_the_origin_and_are_clipped_at_it() {
        let mut c = collector(20, 10, 140);
        assert_eq!(c.due(1000), None);
        // The audio branch comes first, the stream begins with the picture.
        push(&mut c, Source::Audio, 103, 108);
        for start in (100..130).step_by(5) {
            push(&mut c, Source::Video, start, start + 5);
        }
        push(&mut c, Source::Audio, 108, 121);
        assert_eq!(due(&mut c, 109), []);
        assert_eq!(
            due(&mut c, 125),
            [
                ([100, 110], vec![100, 105], Some(103)),
                // 12 of 13 at 108, and 5 at 103.
                ([100, 120], vec![100, 105, 110, 115], Some(106)),
            ]
        );
        assert_eq!(
            due(&mut c, 130),
            [([110, 130], vec![110, 115, 120, 125], Some(108))]
        );
    }

    #[test]
    fn all_pictures_of_a_window_and_of_longer_patches_the_nearest() {
        let mut c = collector(100, 100, 100);
        for start in (0..100).step_by(25) {
            push(&mut c, Source::Video, start, start + 5);
        }
        // Ends 30 before, 10 before, 10 after and 40 after the window's end; of equals the later.
        for (start, end) in [(90, 190), (0, 110), (20, 130)] {
            push(&mut c, Source::Audio, start, end);
        }
        let window = summary(c.due(100).unwrap());
        assert_eq!(window, ([0, 100], vec![0, 25, 50, 75], Some(0)));
    }

    #[test]
    fn sound_is_the_mean_of_patches_side_by_side() {
        let heard = |patches: &[(u64, u64)]| {
            let mut c = collector(100, 50, 150);
            push(&mut c, Source::Video, 0, 1);
            patches
                .iter()
                .for_each(|&(start, end)| push(&mut c, Source::Audio, start, end));
            c.due(50).unwrap();
            // Of 0 to 100, and of 50 to 150.
            [c.due(100), c.due(150)].map(|window| window.unwrap().audio.unwrap()[0])
        };
        // Weighted by their lengths.
        assert_eq!(
            heard(&[(10, 20), (40, 50), (90, 91), (110, 120)]),
            [590.0 / 21.0, 1190.0 / 11.0]
        );
        // What later ones are about counts once.
        assert_eq!(
            heard(&[(1, 20), (1, 40), (1, 90), (20, 100), (60, 150)]),
            [1619.0 / 99.0, 60.0]
        );
    }

    #[test]
    fn still_pictures_count_without_sound_only() {
        let seen = |stills: &[bool], sound: bool| {
            let mut c = collector(100, 50, 100);
            if sound {
                push(&mut c, Source::Audio, 0, 100);
            }
            for (start, still) in (0..).step_by(20).zip(stills) {
                let span = Span {
                    start,
                    end: start + 20,
                };
                c.push(Source::Video, span, [start as f32].into(), *still);
            }
            c.due(50).unwrap();
            summary(c.due(100).unwrap()).1
        };
        // One picture all the time; nothing says of the first that it moves.
        assert!(seen(&[true; 5], true).is_empty());
        assert_eq!(seen(&[true; 5], false), [0, 20, 40, 60, 80]);
        // Two pictures, one after the other: the end of the first, and the beginning of the second.
        assert_eq!(seen(&[true, true, true, false, true], true), [40, 60]);
        // What moves all the time counts from its beginning on.
        let moving = [true, false, false, false, false];
        assert_eq!(seen(&moving, true), [0, 20, 40, 60, 80]);
    }

    #[test]
    fn the_only_picture_of_a_short_stream_counts() {
        let seen = |pictures: &[u64], length: u64| {
            let mut c = collector(2 * SHORT, SHORT, length);
            push(&mut c, Source::Audio, 0, length);
            for &start in pictures {
                let end = start + 1;
                c.push(Source::Video, Span { start, end }, [0.0].into(), true);
            }
            c.finish(length).unwrap().video.len()
        };
        assert_eq!(seen(&[0], SHORT), 1);
        // As the cover of a song.
        assert_eq!(seen(&[0], SHORT + 1), 0);
        // Equal ones: a photograph beside a short sound, and a slide.
        assert_eq!(seen(&[0, SLIDE - 1], SHORT), 2);
        assert_eq!(seen(&[0, SLIDE], SHORT), 0);
        // A window that is due before the end does not know how long the stream will be.
        let mut c = collector(10, 10, 20);
        push(&mut c, Source::Audio, 0, 20);
        c.push(
            Source::Video,
            Span { start: 0, end: 20 },
            [0.0].into(),
            true,
        );
        assert_eq!(due(&mut c, 15), [([0, 10], vec![], Some(0))]);
        assert_eq!(
            c.finish(20).map(summary),
            Some(([10, 20], vec![0], Some(0)))
        );
    }

    #[test]
    fn a_picture_without_duration_counts_where_it_starts() {
        let mut c = collector(10, 10, 20);
        push(&mut c, Source::Video, 0, 0);
        push(&mut c, Source::Video, 10, 10);
        assert_eq!(
            due(&mut c, 20),
            [([0, 10], vec![0], None), ([10, 20], vec![10], None)]
        );
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_window_that_media_covers_less_than_half_of_gives_none() {
        let mut c = collector(20 * MS, 10 * MS, 30 * MS);
        for start in [45, 60] {
            c.cover(Span {
                start: start * MS,
                end: (start + 15).min(70) * MS,
            });
        }
        for start in 0..70 {
            push(&mut c, Source::Video, start * MS, (start + 1) * MS);
        }
        let windows: Vec<_> = std::iter::from_fn(|| c.due(70 * MS))
            .map(|window| (window.span.end / MS, window.media))
            .collect();
        assert_eq!(c.skipped(), None);
        // That until 50 had 5 of 20.
        assert_eq!(
            windows,
            [
                (10, 1.0),
                (20, 1.0),
                (30, 1.0),
                (40, 0.5),
                (60, 0.75),
                (70, 1.0)
            ]
        );
    }

    #[test]
    fn a_jump_of_years_costs_no_windows_not_even_under_an_embedding_that_spans_it() {
        const YEAR: u64 = 365 * 24 * 3600 * 1000 * MS;
        let mut c = collector(20 * MS, 10 * MS, 20 * MS);
        // The duration of a buffer may be wrong, too.
        c.cover(Span {
            start: 20 * MS,
            end: YEAR,
        });
        push(&mut c, Source::Video, 0, YEAR + 5 * MS);
        push(&mut c, Source::Audio, YEAR, YEAR + 10 * MS);
        c.cover(Span {
            start: YEAR,
            end: YEAR + 10 * MS,
        });
        let windows: Vec<_> = std::iter::from_fn(|| c.due(YEAR + 10 * MS))
            .map(|window| window.span.end / MS)
            .collect();
        assert_eq!(windows, [10, 20, 30, 40, 50, YEAR / MS + 10]);
        assert_eq!(c.due(u64::MAX), None);
        assert_eq!(
            c.due(YEAR + 50 * MS).map(|window| window.span.end),
            Some(YEAR + 20 * MS)
        );
        assert_eq!(c.due(YEAR + 50 * MS), None);
        let skipped = Skipped {
            ends: Span {
                start: YEAR + 30 * MS,
                end: YEAR + 50 * MS,
            },
            reason: Reason::NoMedia,
        };
        assert_eq!(c.skipped(), Some(skipped));
    }

    #[test]
    fn a_jump_of_years_costs_no_windows_however_long_these_are() {
        const SECOND: u64 = 1_000_000_000;
        const YEARS: u64 = 30 * 365 * 24 * 3600 * SECOND;
        for window in [SECOND, 3600 * SECOND, YEARS, u64::MAX] {
            let stride = SECOND / 1000;
            let mut c = Collector::new(Config { window, stride });
            let begun = std::time::Instant::now();
            for start in [0, YEARS, 2 * YEARS] {
                let span = Span {
                    start,
                    end: start + 10 * stride,
                };
                c.cover(span);
                c.push(Source::Audio, span, [0.0].into(), false);
            }
            let ends: Vec<_> = std::iter::from_fn(|| c.due(2 * YEARS + 10 * stride))
                .map(|window| window.span.end / stride)
                .collect();
            // A stride after the end of media nothing is left to say.
            let mut expected = Vec::from_iter(1..=11);
            if window == SECOND {
                // Half a second of media would be half a window.
                expected.pop();
            }
            assert_eq!(ends[..expected.len()], expected, "{window}");
            assert!(ends.len() <= 33, "{window}: {ends:?}");
            assert!(begun.elapsed().as_secs_f64() < 0.1, "{window}");
        }
    }

    /// Windows by their definition, one after the other.
    fn expected(window: u64, stride: u64, media: &[bool], items: &[(u64, u64)]) -> Vec<u64> {
        let origin = items.iter().map(|item| item.0).min().unwrap_or(0);
        let covered = |start: u64, end: u64| {
            let media = &media[..media.len().min(end as usize)];
            media.iter().skip(start as usize).filter(|is| **is).count() as u64
        };
        (1..)
            .map(|number| origin + number * stride)
            .take_while(|end| *end <= media.len() as u64)
            .filter(|&end| {
                let start = end.saturating_sub(window).max(origin);
                let touches = covered(end.saturating_sub(stride + 1), end) > 0;
                let overlaps = |item: &&(u64, u64)| item.0 < end && item.1 > start;
                2 * covered(start, end) >= end - start
                    && touches
                    && items.iter().any(|item| overlaps(&item))
            })
            .collect()
    }

    #[test]
    fn no_window_is_skipped_that_has_media_and_embeddings() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..500 {
            let (window, stride) = (1 + random(60), 1 + random(20));
            let mut c = Collector::new(Config { window, stride });
            // No gap is taken as rounding.
            c.media = Coverage::new(0);
            let mut media = vec![false; 400];
            let mut items = Vec::new();
            let mut time = random(30);
            while time < 380 {
                let end = (time + 1 + random(window.min(20))).min(400);
                c.cover(Span { start: time, end });
                media[time as usize..end as usize].fill(true);
                if random(3) > 0 {
                    items.push((time, end));
                    push(&mut c, Source::Video, time, end);
                }
                time = end + random(2) * random(100);
            }
            let mut found = Vec::new();
            let mut now = 0;
            while now < 400 {
                now = (now + 1 + random(150)).min(400);
                found.extend(std::iter::from_fn(|| c.due(now)).map(|window| window.span.end));
            }
            let expected = expected(window, stride, &media, &items);
            assert_eq!(found, expected, "{window} {stride} {items:?}");
        }
    }

    #[test]
    fn what_no_later_window_can_use_is_forgotten() {
        let mut c = collector(20, 10, 10_000);
        for time in 0..10_000 {
            push(&mut c, Source::Video, time, time + 1);
            push(&mut c, Source::Audio, time.saturating_sub(30), time + 1);
            due(&mut c, time + 1);
            assert!(c.video.len() <= 26 && c.audio.len() <= 56);
        }
        // Too late for every window to come.
        push(&mut c, Source::Video, 5, 6);
        assert_eq!(c.video[0].span.start, 9_985);
    }

    #[test]
    fn the_last_window_comes_if_there_was_none_or_half_a_stride_is_left() {
        let last = |end: u64| {
            let mut c = collector(20, 10, end);
            for start in 0..end {
                push(&mut c, Source::Video, start, start + 1);
            }
            let before = due(&mut c, end).len();
            let window = c.finish(end).map(|window| {
                let (span, pictures, _) = summary(window);
                assert!(
                    pictures.into_iter().eq(span[0]..span[1]),
                    "none was forgotten"
                );
                span
            });
            assert_eq!(c.finish(end), None);
            (before, window)
        };
        assert_eq!(last(1), (0, Some([0, 1])));
        assert_eq!(last(10), (1, None));
        assert_eq!(last(14), (1, None));
        assert_eq!(last(15), (1, Some([0, 15])));
        assert_eq!(last(37), (3, Some([17, 37])));
    }

    #[test]
    fn a_tenth_of_a_second_at_the_end_is_a_window() {
        let last = |end: u64| {
            let mut c = collector(5000 * MS, 5000 * MS, end * MS);
            push(&mut c, Source::Audio, 0, 5000 * MS);
            push(&mut c, Source::Audio, (end - 5000) * MS, end * MS);
            assert_eq!(due(&mut c, end * MS).len(), 1);
            let window = c.finish(end * MS);
            window.map(|window| [window.span.start / MS, window.span.end / MS])
        };
        assert_eq!(last(6000), Some([1000, 6000]));
        assert_eq!(last(5100), Some([100, 5100]));
        // Codecs pad what they encode to whole frames.
        assert_eq!(last(5090), None);
    }

    #[test]
    fn a_reset_begins_anew_at_the_next_time() {
        let mut c = collector(20, 10, 1010);
        push(&mut c, Source::Video, 1000, 1001);
        assert_eq!(due(&mut c, 1010).len(), 1);
        c.reset();
        c.cover(Span { start: 3, end: 13 });
        push(&mut c, Source::Video, 3, 4);
        assert_eq!(due(&mut c, 13), [([3, 13], vec![3], None)]);
    }
}

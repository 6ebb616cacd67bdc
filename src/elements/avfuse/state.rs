// SPDX-License-Identifier: MPL-2.0

//! What a running stream needs: the embeddings so far, and how far each modality has come.

use std::sync::Arc;

use super::settings::Settings;
use crate::elements::analysis::Analysis;
use crate::elements::inference::{Latest, Named};
use crate::fusion::{Collector, Config, Fusion, SHORT, Skipped, Source, Span, Whole, Window};
use crate::meta;
use crate::model;

/// A mel patch is complete this long after the audio it covers, at the most: half an FFT, the
/// resampler's delay, and the rounding of timestamps.
pub const PATCH_DELAY: u64 = 100_000_000;

/// Streams that follow one another (concat, gapless playback) begin within this time on both pads.
const TOGETHER: u64 = 1_000_000_000;

/// Media that comes this long before what came last, or a window before, begins its windows anew.
const DISORDER: u64 = 10_000_000_000;

/// What came of one modality.
enum Item {
    /// Media, no gap.
    Media,
    /// With whether it is of a still picture.
    Embedding(Arc<[f32]>, bool),
}

pub struct State {
    settings: Settings,
    frames: usize,
    collector: Collector,
    whole: Whole,
    /// How far each modality has come, as running time.
    positions: [Option<u64>; 2],
    /// Where each modality's latest buffer began that lasts until the next one: a picture, of which there may be few where
    /// only key frames are decoded, and a buffer without a duration. None lasts longer than half a window, nor than
    /// `SHORT`.
    open: [Option<u64>; 2],
    /// The end of the longest modality so far, as running time.
    end: u64,
    pub latest: Option<Latest>,
    pub named: Named,
    /// That of the media of this clip.
    pub segment: gst::FormattedSegment<gst::ClockTime>,
    /// Events that came before the first buffer.
    pub early: Vec<gst::Event>,
    /// Which streams the pads are in, counted from 0, and the event that began each.
    streams: [u32; 2],
    begun: [Option<gst::Seqnum>; 2],
    /// The stream that the clip's result is about, and the running time at which it began.
    clip: u32,
    start: u64,
    /// What the pad that is already in the next stream brought of it.
    held: Vec<(Source, Span, Item)>,
}

impl State {
    /// For a fusion model that takes `frames` pictures; `None`: as many as `settings` say.
    pub fn new(settings: &Settings, frames: Option<usize>) -> Self {
        let frames = frames.unwrap_or(settings.frames as usize);
        Self {
            collector: Collector::new(Config {
                window: settings.window,
                stride: settings.stride,
            }),
            settings: settings.clone(),
            frames,
            positions: [None; 2],
            open: [None; 2],
            end: 0,
            latest: None,
            named: Named::default(),
            segment: gst::FormattedSegment::new(),
            whole: Whole::new(frames),
            early: Vec::new(),
            streams: [0; 2],
            begun: [None; 2],
            clip: 0,
            start: 0,
            held: Vec::new(),
        }
    }

    /// How far `source` has come, as running time.
    pub fn position(&self, source: Source) -> Option<u64> {
        self.positions[source as usize]
    }

    /// `source` begins a stream, whose number this returns; an event that comes again, as after linking anew, begins none,
    /// nor does one before any media: sources without a stream yet begin one without a name.
    pub fn begin(&mut self, source: Source, event: gst::Seqnum) -> u32 {
        let before = self.begun[source as usize].replace(event);
        let any = self.position(source).is_some();
        if before.is_some_and(|before| any && before != event) {
            self.streams[source as usize] += 1;
            self.open[source as usize] = None;
        }
        self.streams[source as usize]
    }

    /// Whether `source` is in a later stream than the clip.
    pub fn is_ahead(&self, source: Source) -> bool {
        self.streams[source as usize] > self.clip
    }

    /// A buffer of `source` came, or a gap. `is_followed` says that it is of the media that goes on. Returns whether this
    /// jumped back, so that windows begin anew.
    pub fn advance(&mut self, source: Source, span: Span, is_gap: bool, is_followed: bool) -> bool {
        let index = source as usize;
        let before = self.positions[index];
        let tolerance = self.settings.window.min(DISORDER);
        let jumped_back = |before| span.start.saturating_add(tolerance) < before;
        let begins_anew = is_followed && before.is_some_and(jumped_back);
        if begins_anew {
            self.collector.reset();
            self.open[index] = None;
        }
        // A picture is there from its start on, sound up to the end of its buffer.
        self.positions[index] = Some(match source {
            Source::Video => span.start,
            Source::Audio => span.end,
        });
        if let Some(open) = self.open[index].take() {
            let longest = open.saturating_add(SHORT.min(self.settings.window / 2));
            let until = span.start.min(longest).max(open);
            let media = Span {
                start: open,
                end: until,
            };
            self.sort(source, media, Item::Media);
        }
        if !is_gap && (source == Source::Video || span.length() == 0) {
            self.open[index] = Some(span.start);
        }
        if !is_gap {
            self.sort(source, span, Item::Media);
        }
        begins_anew
    }

    /// Takes an embedding of `source`; `still`: of a picture that is the same as the one before.
    pub fn collect(&mut self, source: Source, span: Span, embedding: Arc<[f32]>, still: bool) {
        self.sort(source, span, Item::Embedding(embedding, still));
    }

    /// Puts what came into the clip that it belongs to.
    fn sort(&mut self, source: Source, span: Span, item: Item) {
        let stream = &mut self.streams[source as usize];
        if *stream > self.clip {
            self.held.push((source, span, item));
            return;
        }
        if *stream < self.clip {
            if span.start < self.start.saturating_add(TOGETHER) {
                // The end of the stream before.
                return;
            }
            // One long stream under several.
            *stream = self.clip;
        }
        self.take(source, span, item);
    }

    fn take(&mut self, source: Source, span: Span, item: Item) {
        match item {
            Item::Media => {
                self.end = self.end.max(span.end);
                self.collector.cover(span);
                self.whole.cover(span);
            }
            Item::Embedding(embedding, still) => {
                self.collector.push(source, span, embedding.clone(), still);
                self.whole.push(source, span, embedding, still);
            }
        }
    }

    /// Where the media has not followed the other pad into another stream until running time `now`, that stream is part
    /// of this clip.
    pub fn settle(&mut self, now: u64) {
        let began = self.held.first().map(|(_, span, _)| span.start);
        if began.is_some_and(|began| began.saturating_add(TOGETHER) < now) {
            self.streams = [self.clip; 2];
            self.replay();
        }
    }

    /// Begins the clip of the stream that `media` is in, or `None`: of the latest. Says whether anything of it came.
    pub fn follow(&mut self, media: Option<Source>, now: u64) -> bool {
        let latest = self.streams[0].max(self.streams[1]);
        self.clip = media.map_or(latest, |media| self.streams[media as usize]);
        self.start = now;
        self.collector.reset();
        self.whole = Whole::new(self.frames);
        self.end = 0;
        self.latest = None;
        let any = !self.held.is_empty();
        self.replay();
        any
    }

    fn replay(&mut self) {
        for (source, span, item) in std::mem::take(&mut self.held) {
            self.take(source, span, item);
        }
    }

    /// The next window for which everything has come that will: from both modalities if both are `going`, from the one
    /// that is otherwise, and from the one that is ahead if the other is late, up to running time `late`.
    pub fn due(&mut self, going: [bool; 2], late: Option<u64>) -> Option<Window> {
        let [video, audio] = self.positions;
        let heard = audio.map(|audio| audio.saturating_sub(PATCH_DELAY));
        let going = [Source::Video, Source::Audio]
            .map(|source| going[source as usize] && !self.is_ahead(source));
        let now = match (going, late) {
            ([true, true], Some(late)) => video.max(heard).map(|now| now.min(late)),
            ([true, true], None) => video.zip(heard).map(|(video, heard)| video.min(heard)),
            ([true, false], _) => video,
            ([false, true], _) => heard,
            ([false, false], _) => Some(self.end),
        };
        self.collector.due(now?)
    }

    /// The windows that gave no result when they were due last.
    pub fn skipped(&self) -> Option<Skipped> {
        self.collector.skipped()
    }

    /// The next of the windows that are left at the end of the clip.
    pub fn last(&mut self) -> Option<Window> {
        self.collector.finish(self.end)
    }

    /// All of the clip; what is said of its last picture may hold for longer than there is media.
    pub fn whole(&self) -> Option<Window> {
        let mut window = self.whole.window()?;
        window.span.end = window.span.end.min(self.end).max(window.span.start);
        Some(window)
    }

    /// How many pictures the model gets at the most.
    pub fn frames(&self) -> usize {
        self.frames
    }
}

/// What the model makes of `window`, of whose pictures it takes at most `frames`, in the time base of `segment`.
pub fn analyse(
    fusion: &Fusion,
    window: &Window,
    frames: usize,
    segment: &gst::FormattedSegment<gst::ClockTime>,
) -> Result<Analysis, model::Error> {
    let mut scores = fusion.run(window, frames)?;
    fusion.model().card().activation.apply(&mut scores);
    let position = |time| {
        let time = gst::ClockTime::from_nseconds(time);
        let position = segment.position_from_running_time_full(time);
        position.map(|position| position.positive().unwrap_or_default())
    };
    let (first, last) = (position(window.span.start), position(window.span.end));
    let heard = window.audio.is_some().then_some(meta::Source::Audio);
    let seen = (!window.video.is_empty()).then_some(meta::Source::Video);
    Ok(Analysis {
        scores,
        sources: seen.into_iter().chain(heard).collect(),
        // What plays backwards ends at its start.
        start: first.min(last),
        duration: first.zip(last).map(|(first, last)| {
            let (start, end) = (first.min(last), first.max(last));
            end - start
        }),
        media: window.media,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn state() -> State {
        gst::init().unwrap();
        let settings = Settings {
            window: 4 * SECOND,
            stride: 2 * SECOND,
            ..Settings::default()
        };
        State::new(&settings, None)
    }

    fn second(number: u64) -> Span {
        Span {
            start: number * SECOND,
            end: (number + 1) * SECOND,
        }
    }

    /// Second `number` of `source` with an embedding of its own.
    fn pass(state: &mut State, source: Source, number: u64) {
        let is_video = source == Source::Video;
        state.advance(source, second(number), false, is_video);
        state.collect(source, second(number), [number as f32].into(), false);
    }

    fn ends(state: &mut State, late: Option<u64>) -> Vec<u64> {
        std::iter::from_fn(|| state.due([true; 2], late))
            .map(|window| window.span.end / SECOND)
            .collect()
    }

    #[test]
    fn sound_that_jumps_ahead_takes_no_window_from_the_pictures_when_these_are_late() {
        let mut state = state();
        for number in 0..4 {
            pass(&mut state, Source::Video, number);
            pass(&mut state, Source::Audio, number);
        }
        pass(&mut state, Source::Audio, 30_000_000);
        assert_eq!(ends(&mut state, Some(3 * SECOND)), [2]);
        pass(&mut state, Source::Video, 4);
        assert_eq!(ends(&mut state, None), [4]);
    }

    #[test]
    fn a_stream_of_which_nothing_came_is_none() {
        let mut state = state();
        let begin = |state: &mut State| state.begin(Source::Audio, gst::Seqnum::next());
        assert_eq!((begin(&mut state), begin(&mut state)), (0, 0));
        pass(&mut state, Source::Audio, 0);
        assert_eq!(begin(&mut state), 1);
    }

    #[test]
    fn pictures_that_jump_back_begin_their_windows_anew() {
        let mut state = state();
        for number in (100..103).chain(0..3) {
            pass(&mut state, Source::Video, number);
        }
        state.advance(Source::Audio, second(200), false, false);
        assert_eq!(ends(&mut state, None), [2]);
    }

    #[test]
    fn a_picture_without_duration_lasts_until_the_next() {
        let mut state = state();
        for start in [0, 1, 2, 3, 90, 91] {
            let at = Span {
                start: start * SECOND,
                end: start * SECOND,
            };
            state.advance(Source::Video, at, false, true);
            state.collect(Source::Video, second(start), [0.0].into(), false);
        }
        state.advance(Source::Audio, second(200), true, false);
        let windows: Vec<_> = std::iter::from_fn(|| state.due([true; 2], None))
            .map(|window| (window.span.end / SECOND, window.media))
            .collect();
        // The picture at 3 counts for half a window's length.
        assert_eq!(windows, [(2, 1.0), (4, 1.0), (6, 0.75)]);
    }
}

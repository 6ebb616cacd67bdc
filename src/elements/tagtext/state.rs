// SPDX-License-Identifier: MPL-2.0

//! State of a running stream: its position and the last texts.

use std::time::SystemTime;

use gst::prelude::*;
use serde_json::{Map, Value};

use super::settings::Settings;
use super::{Source, Timing};
use crate::meta::{self, Tags};
use crate::text::{Changes, Cues, Events, Format, PAUSE, Record, Span};

/// Seconds from NTP's epoch, 1900, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// How far gap events stay behind the media where texts may look back: a muxer ends a file without the last text if the
/// text stream is ahead of the media's end, and media waits for this time, which is less than a `queue` holds.
const BEHIND: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// The times of the latest buffer.
#[derive(Default)]
struct Moment {
    pts: Option<gst::ClockTime>,
    duration: Option<gst::ClockTime>,
    /// In nanoseconds since 1970-01-01.
    utc: Option<u64>,
    timecode: Option<gst_video::ValidVideoTimeCode>,
}

/// A text and when it is shown.
struct Shown {
    record: Record,
    span: Span,
}

/// With `only-changes`: what was written last, and what is compared with it.
#[derive(Default)]
struct Lane {
    changes: Changes,
    /// The text that is shown until the next change.
    held: Option<Shown>,
}

pub struct State {
    pub format: Format,
    settings: Settings,
    fields: Map<String, Value>,
    pub segment: gst::FormattedSegment<gst::ClockTime>,
    /// End of the latest buffer.
    position: Option<gst::ClockTime>,
    moment: Moment,
    cues: Cues,
    events: Events,
    /// Events that ended with a flush, to be told with what comes next.
    ended: Vec<Record>,
    /// One for each source; in formats that show one source at a time the first one is for all.
    lanes: [Lane; 3],
    /// A text that was ready before the shown one has ended.
    early: Option<Shown>,
    /// Start of the last text in a format without durations.
    latest: u64,
    /// The best source so far, for formats that show one source at a time.
    source: Option<meta::Source>,
    sequence: u64,
    /// Whether the format's header has not been written yet.
    headless: bool,
}

impl State {
    pub fn new(format: Format, settings: Settings, fields: Map<String, Value>) -> Self {
        Self {
            format,
            settings,
            fields,
            segment: gst::FormattedSegment::new(),
            position: None,
            moment: Moment::default(),
            cues: Cues::default(),
            events: Events::default(),
            ended: Vec::new(),
            lanes: Default::default(),
            early: None,
            latest: 0,
            source: None,
            sequence: 0,
            headless: true,
        }
    }

    /// Continues the stream in another `format`.
    pub fn change(&mut self, format: Format) {
        self.headless |= self.format != format;
        self.format = format;
    }

    /// Restarts after a seek.
    pub fn restart(&mut self) {
        self.position = None;
        self.moment = Moment::default();
        self.cues = Cues::default();
        self.ended.extend(self.events.finish());
        self.lanes = Default::default();
        self.early = None;
        self.latest = 0;
    }

    /// Stores the times of `buffer`; `clock` is the wall clock at running time 0, for live streams whose buffers carry
    /// none.
    pub fn see(&mut self, buffer: &gst::BufferRef, clock: Option<u64>) {
        let Some(pts) = buffer.pts() else { return };
        self.position = Some(pts.saturating_add(buffer.duration().unwrap_or_default()));
        let by_clock = || {
            let running = self.segment.to_running_time(pts)?;
            clock?.checked_add(running.nseconds())
        };
        self.moment = Moment {
            pts: Some(pts),
            duration: buffer.duration(),
            utc: reference(buffer).or_else(by_clock),
            timecode: buffer
                .meta::<gst_video::VideoTimeCodeMeta>()
                .map(|meta| meta.tc()),
        };
    }

    /// Start and duration of the gap that tells downstream not to wait for a text, after `texts` were sent. A muxer that
    /// waited for texts which look back would hold up the media that they are about.
    pub fn gap(&self, texts: &[gst::Buffer]) -> Option<(gst::ClockTime, Option<gst::ClockTime>)> {
        let looks_back = self.settings.timing == Timing::Happened
            || (self.settings.only_changes && self.format.is_cue());
        let pts = self.moment.pts?;
        let pts = if looks_back {
            pts.checked_sub(BEHIND)?
        } else {
            pts
        };
        let begun = self.segment.start() <= Some(pts);
        let covered = texts.last().is_some_and(|text| text.pts() >= Some(pts));
        (begun && !covered).then_some((pts, self.moment.duration))
    }

    /// The buffers to send for results that became ready with the latest buffer, or with `at_end` after it; `clip`:
    /// they are results for the whole stream.
    pub fn write(&mut self, results: Vec<Tags>, clip: bool, at_end: bool) -> Vec<gst::Buffer> {
        let now = if at_end {
            self.position
        } else {
            self.moment.pts
        };
        let now = now.unwrap_or_default().nseconds();
        let ended = std::mem::take(&mut self.ended);
        let mut buffers = self.tell(
            ended,
            Span {
                start: now,
                end: now,
            },
        );
        self.choose(&results);
        for tags in results {
            // The result for the whole stream is ready when no media is left to show it with.
            if self.wants(tags.source) && !(clip && self.format == Format::Text) {
                self.show(&tags, clip, now, &mut buffers);
            }
        }
        if now >= self.cues.until()
            && let Some(early) = self.early.take()
        {
            let length = early.span.end - early.span.start;
            let span = Span {
                start: now,
                end: now.saturating_add(length),
            };
            buffers.extend(self.buffer(&Shown { span, ..early }));
        }
        buffers
    }

    /// The remaining buffers of a segment, or with `at_end` of the stream.
    pub fn finish(&mut self, at_end: bool) -> Vec<gst::Buffer> {
        let held = self.lanes[0].held.take().filter(|_| self.format.is_cue());
        let left = [held, self.early.take()].into_iter().flatten();
        let mut buffers: Vec<_> = left.filter_map(|shown| self.buffer(&shown)).collect();
        let now = self.position.unwrap_or_default().nseconds();
        let ended = self.events.finish();
        buffers.extend(self.tell(
            ended,
            Span {
                start: now,
                end: now,
            },
        ));
        let headless = at_end && std::mem::take(&mut self.headless);
        if headless && !self.format.header().is_empty() {
            // A file without cues still needs its header.
            let mut buffer = gst::Buffer::from_slice(self.format.header());
            buffer.make_mut().set_pts(self.position.unwrap_or_default());
            buffers.push(buffer);
        }
        buffers
    }

    /// Updates the best source so far, whose texts are shown.
    fn choose(&mut self, results: &[Tags]) {
        let rank = |source: &meta::Source| match source {
            meta::Source::Fused => 2,
            meta::Source::Audio => 1,
            meta::Source::Video => 0,
        };
        let sources = results.iter().map(|tags| tags.source);
        let best = self.source.into_iter().chain(sources).max_by_key(rank);
        if best != self.source {
            self.source = best;
            self.cues.change_source();
        }
    }

    fn wants(&self, source: meta::Source) -> bool {
        let wanted = match self.settings.source {
            Source::Any => {
                let is_one = self.format.is_cue() || self.settings.events;
                return !is_one || self.source == Some(source);
            }
            Source::Audio => meta::Source::Audio,
            Source::Video => meta::Source::Video,
            Source::Fused => meta::Source::Fused,
        };
        source == wanted
    }

    fn show(&mut self, tags: &Tags, clip: bool, now: u64, buffers: &mut Vec<gst::Buffer>) {
        let Some(span) = self.span(tags, clip, now) else {
            return;
        };
        let mut record = self.record(tags, clip);
        let (threshold, margin) = (self.settings.threshold, self.settings.hysteresis);
        if self.settings.events {
            if !clip {
                let events = self.events.take(&record, threshold, margin);
                buffers.extend(self.tell(events, span));
            }
            return;
        }
        let only_changes = self.settings.only_changes && !clip;
        let lane = match self.format.is_cue() {
            true => 0,
            false => tags.source as usize,
        };
        if only_changes {
            let lane = &mut self.lanes[lane];
            let changed = lane.changes.take(&mut record.tags, threshold, margin);
            if !changed
                && let Some(held) = &mut lane.held
                && span.start <= held.span.end.saturating_add(PAUSE)
            {
                held.span.end = held.span.end.max(span.end);
                return;
            }
        }
        self.sequence += 1;
        let shown = Shown { record, span };
        if clip {
            buffers.extend(self.finish(false));
            buffers.extend(self.buffer(&shown));
        } else if !self.format.is_cue() {
            buffers.extend(self.buffer(&shown));
            self.lanes[lane].held = only_changes.then_some(shown);
        } else if only_changes {
            if let Some(mut before) = self.lanes[lane].held.replace(shown) {
                before.span.end = before.span.end.min(span.start).max(before.span.start);
                buffers.extend(self.buffer(&before));
            }
        } else if self.settings.timing == Timing::Known && span.start < self.cues.until() {
            // An overlay would wait for the end of the previous text, and delay the media behind it.
            self.early = Some(shown);
        } else {
            self.early = None;
            buffers.extend(self.buffer(&shown));
        }
    }

    /// The buffers of events that became known at `span`.
    fn tell(&mut self, events: Vec<Record>, span: Span) -> Vec<gst::Buffer> {
        let mut buffers = Vec::new();
        for record in events {
            let sequence = self.sequence;
            self.sequence += 1;
            let record = Record { sequence, ..record };
            buffers.extend(self.buffer(&Shown { record, span }));
        }
        buffers
    }

    /// When to show `tags`, in the time base of the buffers.
    fn span(&mut self, tags: &Tags, clip: bool, now: u64) -> Option<Span> {
        let about = tags.start.zip(tags.duration).map(|(start, duration)| Span {
            start: start.nseconds(),
            end: start.saturating_add(duration).nseconds(),
        });
        match about.filter(|_| !clip) {
            Some(about) if self.settings.timing == Timing::Happened => {
                if self.format.is_cue() {
                    self.cues.happened(about)
                } else {
                    Some(about)
                }
            }
            about => Some(self.cues.known(now, about)),
        }
    }

    fn record(&self, tags: &Tags, clip: bool) -> Record {
        let time = |time: Option<gst::ClockTime>| time.map(gst::ClockTime::nseconds);
        let offset = tags
            .start
            .zip(self.moment.pts)
            .map(|(start, pts)| start.nseconds() as i64 - pts.nseconds() as i64);
        Record {
            sequence: self.sequence,
            source: tags.source.name().to_owned(),
            model: tags.model.clone(),
            sources: tags
                .sources
                .iter()
                .map(|source| source.name().to_owned())
                .collect(),
            start: time(self.segment.to_stream_time(tags.start)),
            running_time: time(self.segment.to_running_time(tags.start)),
            duration: time(tags.duration),
            media: tags.media,
            clip,
            event: None,
            utc: self
                .moment
                .utc
                .zip(offset)
                .and_then(|(utc, offset)| utc.checked_add_signed(offset)),
            timecode: self
                .moment
                .timecode
                .as_ref()
                .zip(offset)
                .and_then(|(timecode, offset)| shift(timecode, offset)),
            tags: tags.scores.clone(),
            fields: self.fields.clone(),
        }
    }

    fn buffer(&mut self, shown: &Shown) -> Option<gst::Buffer> {
        let span = if self.format.is_cue() {
            if self.format == Format::Text && shown.record.tags.is_empty() {
                return None;
            }
            self.cues.place(shown.span)
        } else {
            // Timestamps must not decrease, whatever time the results describe.
            self.latest = self.latest.max(shown.span.start);
            Span {
                start: self.latest,
                end: shown.span.end,
            }
        };
        let stream_time = |time| {
            let time = clock_time(time);
            let time = self.segment.to_stream_time(time).unwrap_or(time);
            time.nseconds()
        };
        let cue = Span {
            start: stream_time(span.start),
            end: stream_time(span.end),
        };
        let mut bytes = shown.record.write(self.format, cue)?;
        if std::mem::take(&mut self.headless) {
            bytes.splice(0..0, self.format.header().bytes());
        }
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(clock_time(span.start));
            if self.format.is_cue() {
                buffer.set_duration(clock_time(span.end - span.start));
            }
        }
        Some(buffer)
    }
}

/// The wall clock at `buffer`'s timestamp, in nanoseconds since 1970, from its reference timestamp if it has one.
fn reference(buffer: &gst::BufferRef) -> Option<u64> {
    buffer
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .find_map(|meta| {
            let name = meta.reference().structure(0)?.name().to_string();
            let time = meta.timestamp().nseconds();
            match name.as_str() {
                "timestamp/x-unix" => Some(time),
                "timestamp/x-ntp" => time.checked_sub(NTP_TO_UNIX * 1_000_000_000),
                _ => None,
            }
        })
}

/// The time code `offset` nanoseconds later; `None` if that is before midnight.
fn shift(timecode: &gst_video::ValidVideoTimeCode, offset: i64) -> Option<String> {
    let fps = timecode.fps();
    let frames = i128::from(offset) * i128::from(fps.numer());
    let scale = 1_000_000_000 * i128::from(fps.denom());
    let frames = i64::try_from((frames + scale / 2).div_euclid(scale)).ok()?;
    let since_midnight = i64::try_from(timecode.frames_since_daily_jam()).ok()?;
    // Before midnight it is the previous day.
    since_midnight.checked_add(frames).filter(|&n| n >= 0)?;
    let mut shifted = timecode.clone();
    shifted.add_frames(frames);
    Some(shifted.to_string())
}

/// The wall clock at running time 0 of `element`, in nanoseconds since 1970; `None` if its pipeline has no clock.
pub fn wall_clock(element: &gst::Element) -> Option<u64> {
    let running = element.current_running_time()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(now.ok()?.as_nanos()).ok()?;
    now.checked_sub(running.nseconds())
}
/// `nanoseconds` as a clock time, at most GStreamer's maximum.
fn clock_time(nanoseconds: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(nanoseconds.min(gst::ClockTime::MAX.nseconds()))
}

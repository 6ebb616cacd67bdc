// SPDX-License-Identifier: MPL-2.0

//! From overlapping windows to segments: which instrument plays from when to when. Knows no GStreamer.
//!
//! Where there are results of the fusion, they decide; the results of sound and pictures then only explain them. Every
//! format is made of the same segments: those of one label never overlap, none lies outside the input, and edges that
//! the windows cannot tell apart are the same for all labels.

use std::collections::BTreeSet;

use crate::report::{Report, Source, Window, seconds};

/// How windows become segments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Score at which a segment begins; it ends below [`HYSTERESIS`] of that.
    pub threshold: f32,
    /// Seconds from one window to the next: boundaries that are nearer to one another are one.
    pub stride: f64,
    /// Length of a window in seconds: no result speaks for time that is further away than half of it.
    pub window: f64,
}

/// A segment ends where its score falls below this share of the threshold.
const HYSTERESIS: f32 = 0.6;

/// Seconds of the shortest segment, and the unit of the edges: that of subtitles.
const UNIT: f64 = 1e-3;

/// An instrument that plays for some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub label: String,
    /// Seconds.
    pub start: f64,
    pub end: f64,
    /// Whether it is only heard, only seen, or both; see [`Settings::origin`].
    pub source: Source,
    /// Of the fusion where there is one.
    pub score: f32,
    /// The mean scores of sound and pictures in that time, of those that had a part in the result.
    pub heard: Option<f32>,
    pub seen: Option<f32>,
}

impl Segment {
    pub fn is_heard(&self) -> bool {
        self.source != Source::Video
    }

    pub fn is_seen(&self) -> bool {
        self.source != Source::Audio
    }

    fn length(&self) -> f64 {
        self.end - self.start
    }

    /// Goes on as `next`, a later segment of the same label; the scores become the means over both.
    fn append(&mut self, next: &Segment) {
        let share = (next.length() / (self.length() + next.length())) as f32;
        let mean = |own: f32, other: f32| own + share * (other - own);
        // What had no part in one of them is not heard or not seen there.
        let either = |own: Option<f32>, other: Option<f32>| {
            let any = own.is_some() || other.is_some();
            any.then(|| mean(own.unwrap_or(0.0), other.unwrap_or(0.0)))
        };
        self.score = mean(self.score, next.score);
        (self.heard, self.seen) = match (self.heard.or(self.seen), next.heard.or(next.seen)) {
            (Some(_), Some(_)) => (either(self.heard, next.heard), either(self.seen, next.seen)),
            (Some(_), None) => (self.heard, self.seen),
            _ => (next.heard, next.seen),
        };
        self.end = next.end;
    }
}

impl Settings {
    /// Whether an instrument is heard, seen or both, by its scores: those count that would keep a segment going, or have
    /// at least half of the other's.
    fn origin(&self, heard: Option<f32>, seen: Option<f32>) -> Source {
        let [heard, seen] = [heard, seen].map(|score| score.unwrap_or(-1.0));
        let level = (self.threshold * HYSTERESIS).min(heard.max(seen) / 2.0);
        match (heard >= level, seen >= level) {
            (true, false) => Source::Audio,
            (false, true) => Source::Video,
            _ => Source::Fused,
        }
    }
}

/// Seconds that two times share.
fn overlap(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.1.min(b.1) - a.0.max(b.0)).max(0.0)
}

/// A time in which the same instruments play.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    pub start: f64,
    pub end: f64,
    /// Best first.
    pub playing: Vec<&'a Segment>,
}

/// An instrument's part in a whole input.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    pub label: String,
    /// Seconds.
    pub time: f64,
    /// The sum of the segments' lengths as [`clock`](crate::report::clock) shows their edges.
    pub shown: u64,
    /// The mean over that time.
    pub score: f32,
}

/// All segments by their start.
pub fn segments(report: &Report, settings: &Settings) -> Vec<Segment> {
    let of = |source| Track::new(report, source, settings);
    let (audio, video, fused) = (of(Source::Audio), of(Source::Video), of(Source::Fused));
    let gaps = fused.gaps();
    let mut found = Vec::new();
    for label in fused.labels() {
        let seen = video.of_label(label);
        for mut segment in fused.of_label(label) {
            sharpen(&mut segment, &video, &seen);
            explain(&mut segment, &fused, &audio, &video);
            found.push(segment);
        }
    }
    if !gaps.is_empty() {
        let mut labels = audio.labels();
        labels.extend(video.labels());
        let unfused = labels.iter().flat_map(|label| apart(label, &audio, &video));
        found.extend(unfused.flat_map(|segment| clipped(&segment, &gaps, settings.stride)));
    }
    settled(found, report.duration, settings)
}

/// A segment begins and ends where one of the pictures does, if that is nearer than a window can tell.
fn sharpen(segment: &mut Segment, video: &Track, seen: &[Segment]) {
    let near = |own: f64, edge: fn(&Segment) -> f64| {
        let edges = seen.iter().map(edge);
        let near = edges.filter(|edge| (edge - own).abs() <= video.settings.stride);
        let known = near.filter(|edge| video.knows(*edge));
        let nearest = known.min_by(|a, b| (a - own).abs().total_cmp(&(b - own).abs()));
        nearest.unwrap_or(own)
    };
    let start = near(segment.start, |seen| seen.start);
    let end = near(segment.end, |seen| seen.end);
    if start < end {
        (segment.start, segment.end) = (start, end);
    }
}

/// Says what a segment of the fusion rests on.
fn explain(segment: &mut Segment, fused: &Track, audio: &Track, video: &Track) {
    let time = (segment.start, segment.end);
    let based = |source| {
        let mut results = fused.around(time).iter();
        results.any(|result| result.sources.contains(&source))
    };
    let [on_sound, on_pictures] = [Source::Audio, Source::Video].map(based);
    let mean = |track: &Track| track.mean(&segment.label, time);
    let (heard, seen) = (
        on_sound.then(|| mean(audio)).flatten(),
        on_pictures.then(|| mean(video)).flatten(),
    );
    segment.source = match (on_sound, on_pictures) {
        (true, false) => Source::Audio,
        (false, true) => Source::Video,
        _ => fused.settings.origin(heard, seen),
    };
    (segment.heard, segment.seen) = (heard, seen);
}

/// When a label is heard and seen without a fusion, cut wherever it begins or ceases to be the one or the other.
fn apart(label: &str, audio: &Track, video: &Track) -> Vec<Segment> {
    let (heard, seen) = (audio.of_label(label), video.of_label(label));
    let edges = heard.iter().chain(&seen).flat_map(|s| [s.start, s.end]);
    let mut edges: Vec<f64> = edges.collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    let piece = |edge: &[f64]| {
        let (start, end) = (edge[0], edge[1]);
        let score = |all: &[Segment]| {
            let mut all = all.iter();
            let at = all.find(|segment| segment.start <= start && end <= segment.end);
            at.map(|segment| segment.score)
        };
        let (heard, seen) = (score(&heard), score(&seen));
        let score = match (heard, seen) {
            (Some(heard), Some(seen)) => (heard + seen) / 2.0,
            (heard, seen) => heard.or(seen)?,
        };
        let heard = heard.or_else(|| audio.mean(label, (start, end)));
        let seen = seen.or_else(|| video.mean(label, (start, end)));
        Some(Segment {
            label: label.into(),
            start,
            end,
            source: audio.settings.origin(heard, seen),
            score,
            heard,
            seen,
        })
    };
    edges.windows(2).filter_map(piece).collect()
}

/// The segment, as far as it lies in the given times; without parts shorter than `least`, which the edges are not known
/// well enough for.
fn clipped(segment: &Segment, times: &[(f64, f64)], least: f64) -> Vec<Segment> {
    let part = |&(from, to): &(f64, f64)| Segment {
        start: segment.start.max(from),
        end: segment.end.min(to),
        ..segment.clone()
    };
    let counts = |part: &Segment| part.length() >= least.min(segment.length()).max(UNIT);
    times.iter().map(part).filter(counts).collect()
}

/// An edge of a segment on its way to its place.
struct Edge {
    time: f64,
    /// Index of the segment.
    of: usize,
    is_end: bool,
    /// Number of the unbroken run of segments of a label, and whether that begins or ends here.
    run: usize,
    outer: bool,
}

/// The segments inside the input, with each label at most once at any time. Edges that are nearer to one another than
/// a stride, and those as near to the input's own, become one; but no label that plays is lost by that.
fn settled(mut found: Vec<Segment>, duration: f64, settings: &Settings) -> Vec<Segment> {
    found.sort_by(|a, b| a.label.cmp(&b.label).then(a.start.total_cmp(&b.start)));
    let mut segments: Vec<Segment> = Vec::new();
    for mut segment in found {
        let before = segments.last().filter(|last| last.label == segment.label);
        segment.start = segment.start.max(before.map_or(0.0, |last| last.end));
        segment.end = segment.end.min(duration);
        if segment.length() >= UNIT {
            segments.push(segment);
        }
    }
    for (of, is_end, time) in places(&segments, duration, settings.stride) {
        let segment = &mut segments[of];
        *(if is_end {
            &mut segment.end
        } else {
            &mut segment.start
        }) = time;
    }
    let mut settled: Vec<Segment> = Vec::new();
    // Half a unit is for the rounding of differences.
    for segment in segments.into_iter().filter(|s| s.length() >= UNIT / 2.0) {
        match settled.last_mut() {
            Some(last)
                if (&last.label, last.source, last.end)
                    == (&segment.label, segment.source, segment.start) =>
            {
                last.append(&segment);
                if last.heard.is_some() && last.seen.is_some() {
                    last.source = settings.origin(last.heard, last.seen);
                }
            }
            _ => settled.push(segment),
        }
    }
    settled.sort_by(|a, b| {
        let by_time = a.start.total_cmp(&b.start);
        by_time.then(b.score.total_cmp(&a.score))
    });
    settled
}

/// Where the edges of segments, which are sorted by label and time, belong: the segment's index, whether it is its end,
/// and the time. The order of edges stays.
fn places(segments: &[Segment], duration: f64, stride: f64) -> Vec<(usize, bool, f64)> {
    let follows = |of: usize| {
        let before = of.checked_sub(1).map(|before| &segments[before]);
        before.is_some_and(|last| {
            last.label == segments[of].label && segments[of].start - last.end < UNIT
        })
    };
    let mut edges = Vec::new();
    let mut run = 0;
    for (of, segment) in segments.iter().enumerate() {
        let first = !follows(of);
        let last = of + 1 == segments.len() || !follows(of + 1);
        run += usize::from(first);
        let edge = |time, is_end, outer| Edge {
            time,
            of,
            is_end,
            run,
            outer,
        };
        edges.push(edge(segment.start, false, first));
        edges.push(edge(segment.end, true, last));
    }
    edges.sort_by(|a, b| a.time.total_cmp(&b.time));
    let mut groups: Vec<Vec<Edge>> = Vec::new();
    for edge in edges {
        let begins = |other: &Edge| other.outer && !other.is_end && other.run == edge.run;
        match groups.last_mut() {
            Some(group)
                if edge.time - group[0].time < stride
                    && !(edge.outer && edge.is_end && group.iter().any(begins)) =>
            {
                group.push(edge);
            }
            _ => groups.push(vec![edge]),
        }
    }
    let has = |group: &[Edge], end: bool| group.iter().any(|edge| edge.outer && edge.is_end == end);
    let mean = |group: &Vec<Edge>| {
        let sum: f64 = group.iter().map(|edge| edge.time).sum();
        sum / group.len() as f64
    };
    // What begins at the start of the input or ends at its end.
    let at_start = |group: &&Vec<Edge>| mean(group) < stride / 2.0 && !has(group, true);
    let at_end = |group: &&Vec<Edge>| mean(group) > duration - stride / 2.0 && !has(group, false);
    let begin = groups.iter().take_while(at_start).count();
    let end = groups.len() - groups.iter().rev().take_while(at_end).count();
    let place = |(index, group): (usize, Vec<Edge>)| {
        let time = match index {
            index if index < begin => 0.0,
            index if index >= end => duration,
            _ => ((mean(&group) / UNIT).round() * UNIT).min(duration),
        };
        let times = group
            .into_iter()
            .map(move |edge| (edge.of, edge.is_end, time));
        times.collect::<Vec<_>>()
    };
    groups.into_iter().enumerate().flat_map(place).collect()
}

/// The input from its start to its end, cut wherever another set of instruments plays.
pub fn rows(segments: &[Segment], duration: f64) -> Vec<Row<'_>> {
    let edges = segments
        .iter()
        .flat_map(|segment| [segment.start, segment.end]);
    let mut cuts: Vec<f64> = edges.chain([0.0, duration]).collect();
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    let mut playing: Vec<&Segment> = Vec::new();
    let mut coming = segments.iter().peekable();
    let row = |cut: &[f64]| {
        let (start, end) = (cut[0], cut[1]);
        playing.retain(|segment| segment.end > start);
        while let Some(segment) = coming.next_if(|segment| segment.start <= start) {
            playing.push(segment);
        }
        playing.sort_by(|a, b| b.score.total_cmp(&a.score));
        Row {
            start,
            end,
            playing: playing.clone(),
        }
    };
    cuts.windows(2).map(row).collect()
}

/// How long each instrument plays in all, longest first.
pub fn totals(segments: &[Segment]) -> Vec<Total> {
    let mut totals: Vec<Total> = Vec::new();
    for segment in segments {
        let time = segment.length();
        let shown = seconds(segment.end) - seconds(segment.start);
        let weighted = segment.score * time as f32;
        match totals.iter_mut().find(|total| total.label == segment.label) {
            Some(total) => {
                total.time += time;
                total.shown += shown;
                total.score += weighted;
            }
            None => totals.push(Total {
                label: segment.label.clone(),
                time,
                shown,
                score: weighted,
            }),
        }
    }
    for total in &mut totals {
        total.score /= total.time as f32;
    }
    // Equally long ones by their first appearance.
    let tenths = |total: &Total| (10.0 * total.time).round();
    totals.sort_by(|a, b| tenths(b).total_cmp(&tenths(a)));
    totals
}

/// The results of one source by the middle of their times, without those after the input's end. At the beginning of a
/// stream, pictures have results before the first patch of sound is complete: what the fusion says of pictures alone is
/// left out where a longer result from the same time on has the sound.
pub fn results(report: &Report, source: Source) -> Vec<&Window> {
    let inside = |window: &&Window| window.source == source && window.start < report.duration;
    let mut results: Vec<_> = report.windows.iter().filter(inside).collect();
    if source == Source::Fused {
        let has_sound = |window: &&Window| window.sources.contains(&Source::Audio);
        results.sort_by(|a, b| a.start.total_cmp(&b.start));
        let same_start = results.chunk_by(|a, b| b.start - a.start < UNIT);
        let kept = same_start.flat_map(|group| {
            let with_sound = group.iter().copied().filter(has_sound);
            let until = with_sound.map(|window| window.end).fold(0.0, f64::max);
            let mut kept = group.to_vec();
            kept.retain(|window| has_sound(window) || window.end > until);
            kept
        });
        results = kept.collect();
    }
    results.sort_by(|a, b| a.centre().total_cmp(&b.centre()));
    results
}

/// One source's results as a function of time.
struct Track<'a> {
    source: Source,
    settings: Settings,
    /// By their centres.
    points: Vec<&'a Window>,
    duration: f64,
}

impl<'a> Track<'a> {
    fn new(report: &'a Report, source: Source, settings: &Settings) -> Self {
        Self {
            source,
            settings: *settings,
            points: results(report, source),
            duration: report.duration,
        }
    }

    /// The label's score at each point: of sound in patches shorter than a window the mean over a window, and of pictures, one of
    /// which alone is often wrong, the mean over a stride to either side.
    fn curve(&self, label: &str) -> Vec<f32> {
        let Settings { window, stride, .. } = self.settings;
        let scores: Vec<_> = self.points.iter().map(|point| point.score(label)).collect();
        let at = |index: usize| {
            let point = self.points[index];
            let reach = match self.source {
                Source::Audio if point.end - point.start < window => window / 2.0,
                Source::Video => stride,
                _ => return scores[index],
            };
            let (from, to) = (point.centre() - reach, point.centre() + reach);
            let weighed = |index: usize| {
                let other = self.points[index];
                let weight = match self.source {
                    Source::Audio => overlap((other.start, other.end), (from, to)),
                    _ => f64::from((from..=to).contains(&other.centre())),
                };
                (weight, scores[index])
            };
            // The points stand in order: those with a weight are around this one.
            let counts = |found: &(f64, f32)| found.0 > 0.0;
            let before = (0..index).rev().map(weighed).take_while(counts);
            let after = (index..scores.len()).map(weighed).take_while(counts);
            let (sum, total) = before
                .chain(after)
                .fold((0.0, 0.0), |(sum, total), (weight, score)| {
                    (sum + weight * f64::from(score), total + weight)
                });
            (sum / total) as f32
        };
        (0..scores.len()).map(at).collect()
    }

    /// The points in a time, or the nearest one if that is not further away than half a window.
    fn around(&self, (start, end): (f64, f64)) -> &[&'a Window] {
        let first = self.points.partition_point(|point| point.centre() < start);
        let last = self.points.partition_point(|point| point.centre() <= end);
        if first < last {
            return &self.points[first..last];
        }
        let distance = |index: &usize| (self.points[*index].centre() - (start + end) / 2.0).abs();
        let neighbours = first.saturating_sub(1)..(first + 1).min(self.points.len());
        let nearest = neighbours.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let near = nearest.filter(|index| distance(index) <= self.settings.window / 2.0);
        near.map_or(&[], |index| &self.points[index..=index])
    }

    /// The mean score of the points around a time; `None` without any.
    fn mean(&self, label: &str, time: (f64, f64)) -> Option<f32> {
        let points = self.around(time);
        let sum: f32 = points.iter().map(|point| point.score(label)).sum();
        (!points.is_empty()).then(|| sum / points.len() as f32)
    }

    /// The times of at least a stride without a result; all the time if there is none.
    fn gaps(&self) -> Vec<(f64, f64)> {
        if self.points.is_empty() {
            return vec![(0.0, self.duration)];
        }
        let mut times: Vec<_> = self.points.iter().map(|p| (p.start, p.end)).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        times.push((self.duration, self.duration));
        let mut gaps = Vec::new();
        let mut until = 0.0;
        for (start, end) in times {
            if start - until >= self.settings.stride {
                gaps.push((until, start));
            }
            until = end.max(until);
        }
        gaps
    }

    /// Whether a time lies between two points that speak for all time between them.
    fn knows(&self, time: f64) -> bool {
        let next = self.points.partition_point(|point| point.centre() < time);
        (1..self.points.len()).contains(&next) && !self.gap(next)
    }

    /// The labels that reach the threshold somewhere.
    fn labels(&self) -> BTreeSet<&'a str> {
        let scores = self.points.iter().flat_map(|point| &point.scores);
        let likely = scores.filter(|(_, score)| *score >= self.settings.threshold);
        likely.map(|(label, _)| label.as_str()).collect()
    }

    /// Runs of points that reach the threshold once and stay above the lower one.
    fn of_label(&self, label: &str) -> Vec<Segment> {
        let curve = self.curve(label);
        let (on, off) = (
            self.settings.threshold,
            self.settings.threshold * HYSTERESIS,
        );
        let mut found: Vec<Segment> = Vec::new();
        let mut first = 0;
        while first < curve.len() {
            let mut last = first;
            while last < curve.len() && curve[last] >= off && (last == first || !self.gap(last)) {
                last += 1;
            }
            let run = &curve[first..last];
            if run.iter().any(|score| *score >= on) {
                let half = run.iter().copied().fold(0.0, f32::max) / 2.0;
                let strong = |score: &f32| *score >= half;
                let begin = first + run.iter().position(strong).unwrap_or(0);
                let finish = first + run.iter().rposition(strong).unwrap_or(run.len() - 1);
                let (start, end) = (
                    self.start(begin, &curve, half),
                    self.end(finish, &curve, half),
                );
                found.push(Segment {
                    label: label.into(),
                    start,
                    end,
                    source: self.source,
                    score: run.iter().sum::<f32>() / run.len() as f32,
                    heard: None,
                    seen: None,
                });
            }
            first = last.max(first + 1);
        }
        found.retain(|segment| segment.end > segment.start);
        found
    }

    /// Whether nothing is known between a point and the one before it.
    fn gap(&self, index: usize) -> bool {
        index > 0
            && self.points[index].centre() - self.points[index - 1].centre() > self.settings.window
    }

    /// Where a run begins: between its first point that has half of its peak, the `level`, and the one before.
    fn start(&self, first: usize, curve: &[f32], level: f32) -> f64 {
        let centre = self.points[first].centre();
        if first == 0 || self.gap(first) {
            // What a window says at the very beginning holds for all of it.
            return self.points[first].start;
        }
        crossing(
            self.points[first - 1].centre(),
            curve[first - 1],
            centre,
            curve[first],
            level,
        )
    }

    fn end(&self, last: usize, curve: &[f32], level: f32) -> f64 {
        let centre = self.points[last].centre();
        if last + 1 == curve.len() || self.gap(last + 1) {
            let end = self.points[last].end;
            return match self.source {
                // A picture is what is seen until the next one.
                Source::Video => end.max(centre + self.settings.window / 2.0),
                _ => end,
            };
        }
        crossing(
            self.points[last + 1].centre(),
            curve[last + 1],
            centre,
            curve[last],
            level,
        )
    }
}

/// Where the line from `(outside, low)` to `(inside, high)` reaches `level`, or the nearer of both times.
fn crossing(outside: f64, low: f32, inside: f64, high: f32, level: f32) -> f64 {
    let share = f64::from((level - low) / (high - low));
    if share.is_finite() {
        outside + share.clamp(0.0, 1.0) * (inside - outside)
    } else {
        (outside + inside) / 2.0
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const SETTINGS: Settings = Settings {
        threshold: 0.4,
        stride: 2.5,
        window: 10.0,
    };

    pub fn window(source: Source, start: f64, end: f64, scores: &[(&str, f32)]) -> Window {
        let scores = scores
            .iter()
            .map(|(label, score)| (label.to_string(), *score));
        Window {
            source,
            model: "m".into(),
            sources: match source {
                Source::Fused => vec![Source::Video, Source::Audio],
                source => vec![source],
            },
            start,
            end,
            scores: scores.collect(),
        }
    }

    /// Windows of 10 s each 2.5 s of a file in which what plays is `label(time)`, as a perfect model sees it.
    pub fn perfect(
        source: Source,
        duration: f64,
        plays: impl Fn(f64) -> &'static str,
    ) -> Vec<Window> {
        let ends = (1..)
            .map(|step| step as f64 * 2.5)
            .take_while(|end| *end <= duration);
        ends.map(|end| {
            let start = (end - 10.0).max(0.0);
            let times: Vec<_> = (0..100)
                .map(|i| start + (end - start) * (i as f64 + 0.5) / 100.0)
                .collect();
            let share =
                |label| times.iter().filter(|time| plays(**time) == label).count() as f32 / 100.0;
            let labels = ["Guitar", "Trumpet", "Drums"];
            window(
                source,
                start,
                end,
                &labels.map(|label| (label, share(label))),
            )
        })
        .collect()
    }

    fn scenes(time: f64) -> &'static str {
        ["Guitar", "Trumpet", "Drums"][(time / 10.0) as usize % 3]
    }

    fn report(windows: Vec<Window>, duration: f64) -> Report {
        Report {
            windows,
            duration,
            ..Report::default()
        }
    }

    fn summary(segments: &[Segment]) -> Vec<(String, i64, i64)> {
        let round = |time: f64| time.round() as i64;
        segments
            .iter()
            .map(|s| (s.label.clone(), round(s.start), round(s.end)))
            .collect()
    }

    #[test]
    fn three_scenes_are_three_segments_and_three_rows() {
        let report = report(perfect(Source::Fused, 30.0, scenes), 30.0);
        let segments = segments(&report, &SETTINGS);
        let expected = [("Guitar", 0, 10), ("Trumpet", 10, 20), ("Drums", 20, 30)];
        assert_eq!(
            summary(&segments),
            expected.map(|(label, start, end)| (label.into(), start, end))
        );
        let rows = rows(&segments, 30.0);
        let times: Vec<_> = rows
            .iter()
            .map(|row| (row.start.round(), row.end.round()))
            .collect();
        assert_eq!(times, [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)]);
        assert_eq!(rows[1].playing[0].label, "Trumpet");
        let totals = totals(&segments);
        assert_eq!(
            totals
                .iter()
                .map(|total| total.time.round())
                .collect::<Vec<_>>(),
            [10.0; 3]
        );
    }

    #[test]
    fn a_short_dip_does_not_end_a_segment_and_a_weak_score_does_not_begin_one() {
        let scores = [0.5, 0.3, 0.45, 0.2, 0.39, 0.39, 0.1];
        let windows = scores.iter().enumerate().map(|(index, score)| {
            let start = 2.5 * index as f64;
            window(Source::Fused, start, start + 10.0, &[("Cello", *score)])
        });
        let report = report(windows.collect(), 25.0);
        let segments = segments(&report, &SETTINGS);
        assert_eq!(segments.len(), 1, "{segments:?}");
        // From the first window's start to where the score falls to half of the peak, between 10 and 12.5 s.
        assert_eq!(segments[0].start, 0.0);
        assert!((segments[0].end - 12.0).abs() < 1e-3, "{segments:?}");
        assert!((segments[0].score - 0.41667).abs() < 1e-4, "{segments:?}");
    }

    /// Sound and pictures of 30 s: guitar and then drums are heard, a trumpet is seen.
    fn lanes() -> Vec<Window> {
        let mut windows = perfect(Source::Audio, 30.0, |time| {
            if time < 20.0 { "Guitar" } else { "Drums" }
        });
        windows.extend((0..30).map(|second| {
            let start = f64::from(second);
            let scores = &[("Trumpet", 0.9), ("Guitar", 0.1)];
            window(Source::Video, start, start + 1.0, scores)
        }));
        windows
    }

    fn origins(segments: &[Segment]) -> Vec<(String, Source)> {
        let of = |segment: &Segment| (segment.label.clone(), segment.source);
        segments.iter().map(of).collect()
    }

    #[test]
    fn the_fusion_decides_and_sound_and_pictures_explain_it() {
        let mut windows = lanes();
        windows.extend(perfect(Source::Fused, 30.0, |_| "Guitar"));
        let segments = segments(&report(windows, 30.0), &SETTINGS);
        // Neither the drums nor the trumpet.
        assert_eq!(summary(&segments), [("Guitar".into(), 0, 30)]);
        assert_eq!(origins(&segments), [("Guitar".into(), Source::Audio)]);
        let guitar = &segments[0];
        assert!((guitar.seen.unwrap() - 0.1).abs() < 1e-6, "{guitar:?}");
        assert!((0.5..0.8).contains(&guitar.heard.unwrap()), "{guitar:?}");
    }

    #[test]
    fn sound_and_pictures_stand_for_themselves_where_there_is_no_fusion() {
        let mut windows = lanes();
        let fused = perfect(Source::Fused, 10.0, |_| "Guitar").into_iter();
        windows.extend(fused.map(|window| Window {
            start: window.start + 10.0,
            end: window.end + 10.0,
            ..window
        }));
        let report = report(windows, 30.0);
        let segments = segments(&report, &SETTINGS);
        let mut found = summary(&segments);
        found.sort();
        let expected = [
            ("Drums", 20, 30),
            ("Guitar", 0, 20),
            ("Trumpet", 0, 10),
            ("Trumpet", 20, 30),
        ];
        assert_eq!(
            found,
            expected.map(|(label, start, end)| (label.into(), start, end))
        );
        let rows = rows(&segments, 30.0);
        let labels = |row: &Row| -> Vec<String> {
            row.playing
                .iter()
                .map(|segment| segment.label.clone())
                .collect()
        };
        let labels: Vec<_> = rows.iter().map(labels).collect();
        assert_eq!(
            labels,
            [
                vec!["Guitar", "Trumpet"],
                vec!["Guitar"],
                vec!["Trumpet", "Drums"]
            ]
        );
    }

    #[test]
    fn what_is_heard_and_then_also_seen_counts_once() {
        let mut windows = perfect(Source::Audio, 30.0, |_| "Guitar");
        windows.extend((10..30).map(|second| {
            let start = f64::from(second);
            window(Source::Video, start, start + 1.0, &[("Guitar", 0.8)])
        }));
        let segments = segments(&report(windows, 30.0), &SETTINGS);
        let expected = [("Guitar".into(), 0, 10), ("Guitar".into(), 10, 30)];
        assert_eq!(summary(&segments), expected);
        assert_eq!(
            origins(&segments),
            [
                ("Guitar".into(), Source::Audio),
                ("Guitar".into(), Source::Fused)
            ]
        );
        let totals = totals(&segments);
        assert_eq!(
            (totals.len(), totals[0].time, totals[0].shown),
            (1, 30.0, 30)
        );
    }

    #[test]
    fn a_still_cover_beside_sound_is_neither_first_nor_an_instrument() {
        let mut windows = perfect(Source::Fused, 30.0, |_| "Guitar");
        for window in &mut windows {
            window.sources = vec![Source::Audio];
        }
        // No patch of the sound is complete yet.
        windows[0] = window(Source::Fused, 0.0, 2.5, &[("Drums", 0.99)]);
        windows[0].sources = vec![Source::Video];
        windows.extend(perfect(Source::Audio, 30.0, |_| "Guitar"));
        windows.extend((0..30).map(|second| {
            let start = f64::from(second);
            window(Source::Video, start, start + 1.0, &[("Drums", 0.99)])
        }));
        let segments = segments(&report(windows, 30.0), &SETTINGS);
        assert_eq!(summary(&segments), [("Guitar".into(), 0, 30)]);
        assert_eq!(origins(&segments), [("Guitar".into(), Source::Audio)]);
        // The picture had no part in it.
        assert_eq!((segments[0].heard, segments[0].seen), (Some(1.0), None));
    }

    #[test]
    fn a_result_of_sound_alone_is_what_is_heard() {
        let mut windows = perfect(Source::Fused, 30.0, scenes);
        for window in &mut windows {
            window.sources = vec![Source::Audio];
        }
        windows.extend(perfect(Source::Audio, 30.0, scenes));
        let segments = segments(&report(windows, 30.0), &SETTINGS);
        let expected = ["Guitar", "Trumpet", "Drums"].map(|label| (label.into(), Source::Audio));
        assert_eq!(origins(&segments), expected);
    }

    #[test]
    fn an_instrument_is_heard_and_seen_if_both_scores_are_substantial() {
        let origin = |heard: f32, seen: f32| SETTINGS.origin(Some(heard), Some(seen));
        assert_eq!(origin(0.9, 0.8), Source::Fused);
        // 0.24 keeps a segment going.
        assert_eq!(
            (origin(0.9, 0.25), origin(0.9, 0.23)),
            (Source::Fused, Source::Audio)
        );
        assert_eq!(
            (origin(0.0, 0.9), origin(0.0, 0.01)),
            (Source::Video, Source::Video)
        );
        // Weak evidence from both.
        assert_eq!(
            (origin(0.1, 0.06), origin(0.1, 0.04)),
            (Source::Fused, Source::Audio)
        );
        assert_eq!(SETTINGS.origin(Some(0.0), None), Source::Audio);
        assert_eq!(SETTINGS.origin(None, Some(0.5)), Source::Video);
    }

    #[test]
    fn edges_that_are_near_to_one_another_are_one_but_no_short_segment_is_lost() {
        let of = |label: &str, start, end| Segment {
            label: label.into(),
            start,
            end,
            source: Source::Fused,
            score: 0.5,
            heard: None,
            seen: None,
        };
        let settled = |segments| settled(segments, 30.0, &SETTINGS);
        let times = |segments: &[Segment]| -> Vec<_> {
            segments
                .iter()
                .map(|s| (s.label.clone(), s.start, s.end))
                .collect()
        };
        let two = settled(vec![of("A", 0.4, 9.5), of("B", 10.5, 31.9)]);
        assert_eq!(
            times(&two),
            [("A".into(), 0.0, 10.0), ("B".into(), 10.0, 30.0)]
        );
        let short = settled(vec![
            of("A", 0.4, 9.5),
            of("B", 9.1, 9.6),
            of("C", 29.5, 29.9),
        ]);
        let expected = [
            ("A".into(), 0.0, 9.3),
            ("B".into(), 9.3, 9.6),
            ("C".into(), 29.5, 30.0),
        ];
        assert_eq!(times(&short), expected);
        // A pause that is shorter than a stride is none.
        let pause = settled(vec![
            of("A", 0.0, 10.0),
            of("A", 11.0, 20.0),
            of("A", 25.0, 45.0),
        ]);
        assert_eq!(
            times(&pause),
            [("A".into(), 0.0, 20.0), ("A".into(), 25.0, 30.0)]
        );
        assert_eq!(settled(vec![of("A", 31.0, 35.0)]), []);
    }

    #[test]
    fn short_patches_of_sound_are_heard_over_a_window() {
        let scores = [0.9, 0.9, 0.1, 0.9, 0.9, 0.0, 0.0];
        let patches = scores.iter().enumerate().map(|(index, score)| {
            let start = 5.0 * index as f64;
            window(Source::Audio, start, start + 5.0, &[("Cello", *score)])
        });
        let report = report(patches.collect(), 35.0);
        let segments = segments(&report, &SETTINGS);
        // The third patch alone would end a segment. A window over it has half of each neighbour: 0.5.
        assert_eq!(summary(&segments), [("Cello".into(), 0, 25)]);
    }

    #[test]
    fn pictures_say_more_precisely_when_something_begins() {
        let mut windows = perfect(Source::Fused, 30.0, |time| {
            if time < 11.0 { "Guitar" } else { "Drums" }
        });
        windows.extend((0..30).map(|second| {
            let start = f64::from(second);
            let label = if second < 10 { "Guitar" } else { "Drums" };
            window(Source::Video, start, start + 1.0, &[(label, 0.9)])
        }));
        let segments = segments(&report(windows, 30.0), &SETTINGS);
        let millis = |time: f64| (time * 1e3).round();
        let times: Vec<_> = segments
            .iter()
            .map(|s| (millis(s.start), millis(s.end)))
            .collect();
        assert_eq!(
            times,
            [(0.0, 10_000.0), (10_000.0, 30_000.0)],
            "{segments:?}"
        );
    }

    #[test]
    fn without_fusion_both_is_what_is_heard_and_seen() {
        let mut windows = perfect(Source::Audio, 30.0, |_| "Guitar");
        windows.extend((0..10).map(|second| {
            let start = f64::from(second);
            window(Source::Video, start, start + 1.0, &[("Guitar", 0.8)])
        }));
        let report = report(windows, 30.0);
        let segments = segments(&report, &SETTINGS);
        let fused = segments.iter().find(|s| s.source == Source::Fused).unwrap();
        assert_eq!((fused.start, fused.end.round()), (0.0, 15.0));
    }

    #[test]
    fn results_do_not_speak_for_time_without_any() {
        let scores: &[(&str, f32)] = &[("Flute", 0.9)];
        let windows = vec![
            window(Source::Fused, 0.0, 10.0, scores),
            window(Source::Fused, 90.0, 100.0, scores),
        ];
        let report = report(windows, 100.0);
        let segments = segments(&report, &SETTINGS);
        let expected = [("Flute".into(), 0, 10), ("Flute".into(), 90, 100)];
        assert_eq!(summary(&segments), expected);
        let rows = rows(&segments, 100.0);
        assert!(rows[1].playing.is_empty() && rows.len() == 3, "{rows:?}");
    }

    #[test]
    fn an_input_without_results_has_one_empty_row() {
        let rows = rows(&[], 12.0);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].start, rows[0].end), (0.0, 12.0));
    }
}

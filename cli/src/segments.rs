// SPDX-License-Identifier: MPL-2.0

//! From overlapping windows to segments: which instrument plays from when to when. Knows no GStreamer.

use std::collections::BTreeSet;

use crate::report::{Report, Source, Window};

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

/// An instrument that plays for some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub label: String,
    /// Seconds.
    pub start: f64,
    pub end: f64,
    /// Both together; what is only heard or only seen has the score of that.
    pub source: Source,
    pub score: f32,
    /// The mean scores of sound and pictures in that time, where there were any.
    pub heard: Option<f32>,
    pub seen: Option<f32>,
}

impl Segment {
    /// The share of `start..end` that it covers.
    fn share(&self, start: f64, end: f64) -> f64 {
        overlap((self.start, self.end), (start, end)) / (end - start)
    }
}

/// Seconds that two times share.
fn overlap(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.1.min(b.1) - a.0.max(b.0)).max(0.0)
}

/// A time in which the same instruments play.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub start: f64,
    pub end: f64,
    /// Labels and scores, best first.
    pub both: Vec<(String, f32)>,
    pub only_heard: Vec<(String, f32)>,
    pub only_seen: Vec<(String, f32)>,
}

/// An instrument's part in a whole input.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    pub label: String,
    /// Seconds.
    pub time: f64,
    /// The mean over that time.
    pub score: f32,
}

/// All segments by their start: those of both together, and of the sound and the pictures what no such segment of the
/// same label covers.
pub fn segments(report: &Report, settings: &Settings) -> Vec<Segment> {
    let of = |source| Track::new(report, source, settings);
    let (audio, video, fused) = (of(Source::Audio), of(Source::Video), of(Source::Fused));
    let mut all = sharpened(fused.segments(), &video);
    if fused.points.is_empty() {
        all = common(&audio.segments(), &video.segments());
    }
    for track in [&audio, &video] {
        let alone: Vec<_> = track
            .segments()
            .into_iter()
            .filter(|segment| {
                let same = all.iter().filter(|other| other.label == segment.label);
                same.map(|other| other.share(segment.start, segment.end))
                    .sum::<f64>()
                    < 0.5
            })
            .collect();
        all.extend(alone);
    }
    for segment in &mut all {
        segment.heard = audio.mean(&segment.label, segment.start, segment.end);
        segment.seen = video.mean(&segment.label, segment.start, segment.end);
    }
    all.sort_by(|a, b| {
        a.start
            .total_cmp(&b.start)
            .then(b.score.total_cmp(&a.score))
    });
    all
}

/// All segments of each source, also those that [`segments`] leaves out because both together have them.
pub fn lanes(report: &Report, settings: &Settings) -> Vec<(Source, Vec<Segment>)> {
    let of = |source| Track::new(report, source, settings);
    let tracks = [Source::Audio, Source::Fused, Source::Video].map(of);
    let lane = |track: &Track| {
        let mut segments = track.segments();
        if track.source == Source::Fused {
            segments = sharpened(segments, &tracks[2]);
        }
        for segment in &mut segments {
            segment.heard = tracks[0].mean(&segment.label, segment.start, segment.end);
            segment.seen = tracks[2].mean(&segment.label, segment.start, segment.end);
        }
        (track.source, segments)
    };
    tracks.iter().map(lane).collect()
}

/// Segments that begin and end where the pictures' do, if that is nearer than a window can tell.
fn sharpened(mut segments: Vec<Segment>, video: &Track) -> Vec<Segment> {
    let stride = video.settings.stride;
    let seen = video.segments();
    for segment in &mut segments {
        let same = || seen.iter().filter(|seen| seen.label == segment.label);
        let near = |own: f64, edge: fn(&Segment) -> f64| {
            let edges = same().map(edge).filter(|edge| (edge - own).abs() <= stride);
            edges.min_by(|a, b| (a - own).abs().total_cmp(&(b - own).abs()))
        };
        let start = near(segment.start, |seen| seen.start);
        let end = near(segment.end, |seen| seen.end);
        let start = start.unwrap_or(segment.start);
        let end = end.unwrap_or(segment.end);
        if start < end {
            (segment.start, segment.end) = (start, end);
        }
    }
    segments
}

/// What both tracks have of the same label at the same time.
fn common(audio: &[Segment], video: &[Segment]) -> Vec<Segment> {
    let mut both = Vec::new();
    for heard in audio {
        for seen in video.iter().filter(|seen| seen.label == heard.label) {
            let (start, end) = (heard.start.max(seen.start), heard.end.min(seen.end));
            if start < end {
                both.push(Segment {
                    start,
                    end,
                    source: Source::Fused,
                    score: (heard.score + seen.score) / 2.0,
                    ..heard.clone()
                });
            }
        }
    }
    both
}

/// The input from its start to its end, cut wherever another set of instruments plays.
pub fn rows(segments: &[Segment], duration: f64, settings: &Settings) -> Vec<Row> {
    let edges = segments
        .iter()
        .flat_map(|segment| [segment.start, segment.end]);
    let cuts = cuts(edges.collect(), duration, settings.stride);
    let mut rows: Vec<Row> = Vec::new();
    for pair in cuts.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let of = |source| {
            let inside =
                |segment: &&Segment| segment.source == source && segment.share(start, end) >= 0.5;
            let mut found: Vec<_> = segments
                .iter()
                .filter(inside)
                .map(|segment| (segment.label.clone(), segment.score))
                .collect();
            found.sort_by(|a, b| b.1.total_cmp(&a.1));
            found
        };
        let row = Row {
            start,
            end,
            both: of(Source::Fused),
            only_heard: of(Source::Audio),
            only_seen: of(Source::Video),
        };
        match rows.last_mut() {
            Some(last) if last.labels() == row.labels() => last.end = end,
            _ => rows.push(row),
        }
    }
    rows
}

impl Row {
    fn labels(&self) -> [BTreeSet<&str>; 3] {
        [&self.both, &self.only_heard, &self.only_seen]
            .map(|scores| scores.iter().map(|(label, _)| label.as_str()).collect())
    }
}

/// 0, the duration and between them the edges; edges nearer to one another than `least` become their mean.
fn cuts(mut edges: Vec<f64>, duration: f64, least: f64) -> Vec<f64> {
    edges.sort_by(f64::total_cmp);
    let mut groups: Vec<Vec<f64>> = Vec::new();
    for edge in edges {
        match groups.last_mut() {
            Some(group) if edge - group[0] < least => group.push(edge),
            _ => groups.push(vec![edge]),
        }
    }
    let means = groups
        .iter()
        .map(|group| group.iter().sum::<f64>() / group.len() as f64);
    let inner = means.filter(|edge| *edge >= least / 2.0 && *edge <= duration - least / 2.0);
    let inner: Vec<_> = inner.collect();
    [0.0].into_iter().chain(inner).chain([duration]).collect()
}

/// How long each instrument plays in all, longest first. It counts the same segments that the rows show.
pub fn totals(segments: &[Segment]) -> Vec<Total> {
    let mut totals: Vec<Total> = Vec::new();
    for segment in segments {
        let time = segment.end - segment.start;
        let weighted = segment.score * time as f32;
        match totals.iter_mut().find(|total| total.label == segment.label) {
            Some(total) => {
                total.time += time;
                total.score += weighted;
            }
            None => totals.push(Total {
                label: segment.label.clone(),
                time,
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

/// One source's results as a function of time.
struct Track<'a> {
    source: Source,
    settings: Settings,
    /// By their centres, at least one.
    points: Vec<&'a Window>,
    duration: f64,
}

impl<'a> Track<'a> {
    fn new(report: &'a Report, source: Source, settings: &Settings) -> Self {
        let mut points: Vec<_> = report
            .windows
            .iter()
            .filter(|window| window.source == source)
            .collect();
        points.sort_by(|a, b| a.centre().total_cmp(&b.centre()));
        Self {
            source,
            settings: *settings,
            points,
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

    /// The mean score of the points in a time, or of the nearest; `None` without any near.
    fn mean(&self, label: &str, start: f64, end: f64) -> Option<f32> {
        let inside = |point: &&&Window| (start..=end).contains(&point.centre());
        let mut scores: Vec<_> = self
            .points
            .iter()
            .filter(inside)
            .map(|point| point.score(label))
            .collect();
        if scores.is_empty() {
            let middle = (start + end) / 2.0;
            let distance = |point: &&&Window| (point.centre() - middle).abs();
            let nearest = self
                .points
                .iter()
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
            if distance(&nearest) > self.settings.window / 2.0 {
                return None;
            }
            scores.push(nearest.score(label));
        }
        Some(scores.iter().sum::<f32>() / scores.len() as f32)
    }

    fn segments(&self) -> Vec<Segment> {
        let likely = self.points.iter().flat_map(|point| &point.scores);
        let likely = likely.filter(|(_, score)| *score >= self.settings.threshold);
        let labels: BTreeSet<&str> = likely.map(|(label, _)| label.as_str()).collect();
        labels
            .into_iter()
            .flat_map(|label| self.of_label(label))
            .collect()
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
            return self.points[first]
                .start
                .max(centre - self.settings.window / 2.0);
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
            let reach = (centre + self.settings.window / 2.0).min(self.duration);
            return match self.source {
                // A picture is what is seen until the next one.
                Source::Video => reach,
                _ => self.points[last].end.min(self.duration.max(centre)),
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
        let rows = rows(&segments, 30.0, &SETTINGS);
        let times: Vec<_> = rows
            .iter()
            .map(|row| (row.start.round(), row.end.round()))
            .collect();
        assert_eq!(times, [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0)]);
        assert_eq!(rows[1].both[0].0, "Trumpet");
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

    #[test]
    fn what_is_only_heard_or_only_seen_stands_apart() {
        let mut windows = perfect(Source::Fused, 30.0, |_| "Guitar");
        windows.extend(perfect(Source::Audio, 30.0, |time| {
            if time < 20.0 { "Guitar" } else { "Drums" }
        }));
        windows.extend((0..30).map(|second| {
            let start = f64::from(second);
            window(
                Source::Video,
                start,
                start + 1.0,
                &[("Trumpet", 0.9), ("Guitar", 0.1)],
            )
        }));
        let report = report(windows, 30.0);
        let segments = segments(&report, &SETTINGS);
        let of = |source| -> Vec<_> {
            summary(
                &segments
                    .iter()
                    .filter(|s| s.source == source)
                    .cloned()
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(Source::Fused), [("Guitar".into(), 0, 30)]);
        assert_eq!(of(Source::Audio), [("Drums".into(), 20, 30)]);
        assert_eq!(of(Source::Video), [("Trumpet".into(), 0, 30)]);
        let guitar = &segments.iter().find(|s| s.label == "Guitar").unwrap();
        assert!((guitar.seen.unwrap() - 0.1).abs() < 1e-6, "{guitar:?}");
        assert!((0.5..0.8).contains(&guitar.heard.unwrap()), "{guitar:?}");
        let rows = rows(&segments, 30.0, &SETTINGS);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!((rows[0].end.round(), rows[0].only_heard.len()), (20.0, 0));
        assert_eq!(rows[1].only_heard[0].0, "Drums");
        assert!(
            rows.iter()
                .all(|row| row.only_seen[0].0 == "Trumpet" && row.only_seen.len() == 1)
        );
        assert!(rows.iter().all(|row| row.both[0].0 == "Guitar"), "{rows:?}");
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
        let rows = rows(&segments, 100.0, &SETTINGS);
        assert!(rows[1].both.is_empty() && rows.len() == 3, "{rows:?}");
    }

    #[test]
    fn an_input_without_results_has_one_empty_row() {
        let rows = rows(&[], 12.0, &SETTINGS);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].start, rows[0].end), (0.0, 12.0));
    }
}

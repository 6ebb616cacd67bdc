// SPDX-License-Identifier: MPL-2.0

//! From overlapping results to events: when an instrument begins to play, and when it has ended.

use super::{Changes, PAUSE, Record};

/// The best score has to grow by this much for an update.
const GROWTH: f32 = 0.05;

/// What happened to an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has begun to play.
    New,
    /// More is known: its score has grown, or another modality confirms it.
    Update,
    /// It has ended.
    End,
}

impl Kind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::New => "new",
            Kind::Update => "update",
            Kind::End => "end",
        }
    }
}

/// An instrument that plays, or has played.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The same in all events of one instrument from its beginning to its end; counted from 0 in each stream.
    pub id: u64,
    /// Name of the instrument.
    pub label: String,
    /// The highest score so far, from 0 to 1.
    pub best: f32,
    /// The mean over the results so far.
    pub mean: f32,
}

/// The instruments that play.
#[derive(Debug, Clone, Default)]
pub struct Events {
    changes: Changes,
    playing: Vec<Playing>,
    count: u64,
}

#[derive(Debug, Clone)]
struct Playing {
    /// What was said last, or would be said now.
    record: Record,
    event: Event,
    /// The best score that was told.
    told: f32,
    sum: f64,
    results: u32,
}

impl Playing {
    /// An instrument that begins with `result`.
    fn new(result: &Record, id: u64, label: String, score: f32) -> Self {
        let mut playing = Self {
            record: Record {
                sources: Vec::new(),
                ..result.clone()
            },
            event: Event {
                kind: Kind::New,
                id,
                label,
                best: 0.0,
                mean: 0.0,
            },
            told: score,
            sum: 0.0,
            results: 0,
        };
        playing.go_on(result, score);
        playing
    }

    fn end(&self) -> u64 {
        let start = self.record.start.unwrap_or_default();
        start.saturating_add(self.record.duration.unwrap_or_default())
    }

    /// It is in another result, with this score. Returns whether that is worth telling.
    fn go_on(&mut self, result: &Record, score: f32) -> bool {
        let end = self.end().max(result.end().unwrap_or_default());
        let record = &mut self.record;
        let length = end - record.start.unwrap_or_default();
        record.duration = Some(length).filter(|length| *length > 0);
        record.source.clone_from(&result.source);
        record.model.clone_from(&result.model);
        let before = record.sources.len();
        for source in &result.sources {
            if !record.sources.contains(source) {
                record.sources.push(source.clone());
            }
        }
        let is_confirmed = record.sources.len() > before;
        record.tags = vec![(self.event.label.clone(), score)];
        self.sum += f64::from(score);
        self.results += 1;
        self.event.best = self.event.best.max(score);
        self.event.mean = (self.sum / f64::from(self.results)) as f32;
        is_confirmed || self.event.best >= self.told + GROWTH
    }

    fn tell(&mut self, kind: Kind) -> Record {
        self.told = self.event.best;
        self.event.kind = kind;
        Record {
            event: Some(self.event.clone()),
            ..self.record.clone()
        }
    }
}

impl Events {
    /// The events that follow from the next result, highest score first: an instrument begins and ends as in
    /// [`Changes::take`]. Its time is from the start of the first to the end of the last result that it is in.
    pub fn take(&mut self, result: &Record, threshold: f32, margin: f32) -> Vec<Record> {
        let latest = self.playing.iter().map(Playing::end).max();
        let paused = latest.is_some_and(|latest| result.start > Some(latest.saturating_add(PAUSE)));
        let mut events = if paused { self.finish() } else { Vec::new() };
        let mut tags = result.tags.clone();
        self.changes.take(&mut tags, threshold, margin);
        let has_ended = |playing: &mut Playing| {
            let label = &playing.event.label;
            !tags.iter().any(|(own, _)| own == label)
        };
        let ended = self.playing.extract_if(.., has_ended);
        events.extend(ended.map(|mut playing| playing.tell(Kind::End)));
        for (label, score) in tags {
            let mut known = self.playing.iter_mut();
            if let Some(playing) = known.find(|playing| playing.event.label == label) {
                if playing.go_on(result, score) {
                    events.push(playing.tell(Kind::Update));
                }
            } else {
                let mut playing = Playing::new(result, self.count, label, score);
                self.count += 1;
                events.push(playing.tell(Kind::New));
                self.playing.push(playing);
            }
        }
        events
    }

    /// The ends of all that play: no further result follows in this part of the stream.
    pub fn finish(&mut self) -> Vec<Record> {
        self.changes = Changes::default();
        let playing = std::mem::take(&mut self.playing).into_iter();
        playing.map(|mut playing| playing.tell(Kind::End)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn result(start: u64, sources: &[&str], tags: &[(&str, f32)]) -> Record {
        Record {
            source: "fused".into(),
            sources: sources.iter().map(|&source| source.into()).collect(),
            start: Some(start * SECOND),
            duration: Some(5 * SECOND),
            tags: tags
                .iter()
                .map(|&(label, score)| (label.into(), score))
                .collect(),
            ..Record::default()
        }
    }

    /// What an event says, in seconds.
    fn said(events: Vec<Record>) -> Vec<(&'static str, u64, String, u64, u64)> {
        let said = |record: Record| {
            let event = record.event.unwrap();
            let (start, length) = (record.start.unwrap(), record.duration.unwrap());
            (
                event.kind.name(),
                event.id,
                event.label,
                start / SECOND,
                (start + length) / SECOND,
            )
        };
        events.into_iter().map(said).collect()
    }

    #[test]
    fn an_instrument_begins_once_and_ends_once() {
        let mut events = Events::default();
        let mut take = |start, tags: &[(&str, f32)]| {
            said(events.take(&result(start, &["audio"], tags), 0.3, 0.1))
        };
        let event = |kind, id, label: &str, start, end| (kind, id, label.to_owned(), start, end);
        assert_eq!(
            take(0, &[("Guitar", 0.6)]),
            [event("new", 0, "Guitar", 0, 5)]
        );
        // Scores that stay say nothing, nor do those near the threshold.
        assert_eq!(take(1, &[("Guitar", 0.62), ("Piano", 0.35)]), []);
        assert_eq!(
            take(2, &[("Guitar", 0.8)]),
            [event("update", 0, "Guitar", 0, 7)]
        );
        assert_eq!(
            take(3, &[("Piano", 0.9), ("Guitar", 0.31)]),
            [event("new", 1, "Piano", 3, 8)]
        );
        assert_eq!(
            take(4, &[("Piano", 0.9)]),
            [event("end", 0, "Guitar", 0, 8)]
        );
        // It begins anew, as another event.
        assert_eq!(
            take(5, &[("Piano", 0.9), ("Guitar", 0.9)]),
            [event("new", 2, "Guitar", 5, 10)]
        );
        // Nothing goes on over a pause.
        assert_eq!(
            take(30, &[("Guitar", 0.9)]),
            [
                event("end", 1, "Piano", 3, 10),
                event("end", 2, "Guitar", 5, 10),
                event("new", 3, "Guitar", 30, 35)
            ]
        );
        assert_eq!(said(events.finish()), [event("end", 3, "Guitar", 30, 35)]);
        assert_eq!(said(events.finish()), []);
    }

    #[test]
    fn scores_and_modalities_are_those_of_all_its_results() {
        let mut events = Events::default();
        events.take(&result(0, &["audio"], &[("Flute", 0.5)]), 0.3, 0.1);
        let update = events.take(&result(1, &["audio", "video"], &[("Flute", 0.4)]), 0.3, 0.1);
        assert_eq!(update.len(), 1);
        assert_eq!(update[0].sources, ["audio", "video"]);
        let event = update[0].event.as_ref().unwrap();
        assert_eq!((event.kind, event.best), (Kind::Update, 0.5));
        assert!((event.mean - 0.45).abs() < 1e-6, "{event:?}");
        assert_eq!(update[0].tags, [("Flute".to_owned(), 0.4)]);
    }

    /// Over random results: each event begins once, ends once, and has a time of its own.
    #[test]
    fn whatever_comes_every_event_ends() {
        let mut seed = 7u32;
        let mut random = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32
        };
        let mut events = Events::default();
        let mut open = std::collections::BTreeMap::new();
        let (mut begun, mut ended) = (0, 0);
        let mut check = |told: Vec<Record>| {
            for record in told {
                let event = record.event.unwrap();
                match event.kind {
                    Kind::New => {
                        assert_eq!(event.id, begun);
                        assert!(!open.values().any(|label| *label == event.label));
                        open.insert(event.id, event.label.clone());
                        begun += 1;
                    }
                    Kind::Update => assert_eq!(open[&event.id], event.label),
                    Kind::End => {
                        assert_eq!(open.remove(&event.id), Some(event.label.clone()));
                        ended += 1;
                    }
                }
                assert!(
                    event.mean <= event.best + 1e-6 && event.best <= 1.0,
                    "{event:?}"
                );
                assert!(record.duration >= Some(5 * SECOND));
            }
            (begun, ended, open.len())
        };
        let mut start = 0;
        for _ in 0..2000 {
            start += 1 + u64::from(random() > 0.98) * 60;
            let mut tags: Vec<_> = ["Guitar", "Piano", "Drums"]
                .map(|label| (label, random()))
                .into();
            tags.sort_by(|a, b| b.1.total_cmp(&a.1));
            check(events.take(&result(start, &["audio"], &tags), 0.3, 0.1));
        }
        let (begun, ended, open) = check(events.finish());
        assert!(begun > 500, "{begun}");
        assert_eq!((ended, open), (begun, 0));
    }
}

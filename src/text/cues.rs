// SPDX-License-Identifier: MPL-2.0
//! Computes when each text is shown.

/// How long a text is shown if its duration is unknown, in nanoseconds.
const UNKNOWN: u64 = 1_000_000_000;

/// Minimum time that a late text is shown, in nanoseconds.
const MOMENT: u64 = 1_000_000;

/// A time interval in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First nanosecond.
    pub start: u64,
    /// First nanosecond after the interval.
    pub end: u64,
}

/// Places the cues of one text stream so that none begins before the previous one has ended: an overlay shows one text
/// at a time and waits for its end.
#[derive(Debug, Clone, Default)]
pub struct Cues {
    /// End of the last cue.
    until: u64,
    /// End of the analysed time of the last result.
    about: Option<u64>,
}

impl Cues {
    /// End of the last cue, in nanoseconds.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// To be called before results of another source, whose interval may differ: forgets the last result's time.
    pub fn change_source(&mut self) {
        self.about = None;
    }

    /// When to show a result that is ready at `now` and describes the time `about`: from `now` until the next result is
    /// expected. The interval between results is that between the ends of the last two; if unknown, the length of
    /// `about`, else one second.
    pub fn known(&mut self, now: u64, about: Option<Span>) -> Span {
        let before = about.and_then(|about| self.about.replace(about.end));
        let since = |(about, before): (Span, u64)| about.end.checked_sub(before);
        let length = about.map(|about| about.end.saturating_sub(about.start));
        let period = about.zip(before).and_then(since).filter(|&time| time > 0);
        let period = period.or(length.filter(|&time| time > 0));
        Span {
            start: now,
            end: now.saturating_add(period.unwrap_or(UNKNOWN)),
        }
    }

    /// When to show a result that describes the time `about`: in the part of that time that no earlier result
    /// describes. `None` if there is no such part.
    pub fn happened(&mut self, about: Span) -> Option<Span> {
        let before = self.about.unwrap_or(0).max(self.until);
        let start = about.start.max(before);
        self.about = Some(about.end.max(before));
        (start < about.end).then_some(Span { start, ..about })
    }

    /// The cue for a text that should be shown in `span`: delayed until the last cue has ended.
    pub fn place(&mut self, span: Span) -> Span {
        let start = span.start.max(self.until);
        self.until = span.end.max(start.saturating_add(MOMENT));
        Span {
            start,
            end: self.until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn span(start: u64, end: u64) -> Span {
        Span {
            start: start * SECOND,
            end: end * SECOND,
        }
    }

    #[test]
    fn a_text_is_shown_until_the_next_result_is_expected() {
        let mut cues = Cues::default();
        // Windows of 10 s every 5 s: the first begins with the stream.
        assert_eq!(cues.known(5 * SECOND, Some(span(0, 5))), span(5, 10));
        assert_eq!(cues.known(10 * SECOND, Some(span(0, 10))), span(10, 15));
        assert_eq!(cues.known(15 * SECOND, Some(span(5, 15))), span(15, 20));
        // One result was left out.
        assert_eq!(cues.known(25 * SECOND, Some(span(15, 25))), span(25, 35));
        assert_eq!(cues.known(60 * SECOND, None), span(60, 61));
    }

    #[test]
    fn what_happened_is_shown_in_what_is_left_of_its_time() {
        let mut cues = Cues::default();
        assert_eq!(cues.happened(span(0, 5)), Some(span(0, 5)));
        assert_eq!(cues.happened(span(0, 10)), Some(span(5, 10)));
        assert_eq!(cues.happened(span(2, 9)), None);
        assert_eq!(cues.happened(span(20, 30)), Some(span(20, 30)));
    }

    #[test]
    fn cues_never_overlap() {
        let mut cues = Cues::default();
        assert_eq!(cues.place(span(1, 5)), span(1, 5));
        assert_eq!(cues.place(span(4, 8)), span(5, 8));
        let moment = Span {
            start: 8 * SECOND,
            end: 8 * SECOND + 1_000_000,
        };
        assert_eq!(cues.place(span(2, 3)), moment);
        assert_eq!(cues.until(), moment.end);
    }
}

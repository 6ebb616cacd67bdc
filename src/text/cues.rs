// SPDX-License-Identifier: MPL-2.0
//! When a text is shown.

/// How long a text is shown that says nothing about its time.
const UNKNOWN: u64 = 1_000_000_000;

/// A text that could not be shown in time shows for a moment at least.
const MOMENT: u64 = 1_000_000;

/// From a start to an end, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First nanosecond.
    pub start: u64,
    /// One after the last.
    pub end: u64,
}

/// Places the cues of one text stream: none begins before the last one has ended, as an overlay shows one at a time and
/// waits for its end.
#[derive(Debug, Clone, Default)]
pub struct Cues {
    /// Where the last cue ends.
    until: u64,
    /// Where the time ended that the last result was about.
    about: Option<u64>,
}

impl Cues {
    /// Where the last cue ends.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Results of another source follow, at a pace of their own.
    pub fn change_source(&mut self) {
        self.about = None;
    }

    /// When to show a result that is known at `now` and about the time `about`: from now on, for as long as the next
    /// result is expected to take, which is the time since the last one.
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

    /// When to show a result about the time `about`: in the part of that time that no result before was about; `None`
    /// if there is none.
    pub fn happened(&mut self, about: Span) -> Option<Span> {
        let before = self.about.unwrap_or(0).max(self.until);
        let start = about.start.max(before);
        self.about = Some(about.end.max(before));
        (start < about.end).then_some(Span { start, ..about })
    }

    /// The cue for a text that should be shown in `span`.
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

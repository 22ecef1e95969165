//! Which changes of recurring trouble are logged: its beginning and its end once, and not every time it comes and goes.

use std::time::Duration;

use super::time::UnixMillis;

/// Trouble of the same kind that returns within this time of its last report is reported only if it lasts until then.
pub const QUIET: Duration = Duration::from_secs(5 * 60);

/// A change to be logged, of trouble of kinds `K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report<K> {
    /// It has begun.
    Begun(K),
    /// It is over.
    Ended(K),
}

/// Trouble of one thing (a webhook, the API, the database) that may come and go, and its reports so far.
#[derive(Debug)]
pub struct Recurring<K> {
    /// Its beginning was reported, its end was not.
    open: Option<K>,
    /// The last beginning that was reported.
    last: Option<(K, UnixMillis)>,
}

impl<K> Default for Recurring<K> {
    fn default() -> Self {
        Self {
            open: None,
            last: None,
        }
    }
}

impl<K: Copy + PartialEq> Recurring<K> {
    /// Takes the trouble there is at `now`; returns what to log. An end is reported only if its beginning was.
    pub fn note(&mut self, trouble: Option<K>, now: UnixMillis) -> Option<Report<K>> {
        let Some(kind) = trouble else {
            return self.open.take().map(Report::Ended);
        };
        if self.open == Some(kind) {
            return None;
        }
        // A clock that was set back must not suppress reports.
        let recent = |at: UnixMillis| at <= now && now.since(at) < QUIET;
        if self
            .last
            .is_some_and(|(last, at)| last == kind && recent(at))
        {
            return None;
        }
        self.open = Some(kind);
        self.last = Some((kind, now));
        Some(Report::Begun(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(1_800_000_000_000 + seconds * 1000)
    }

    #[test]
    fn the_beginning_and_the_end_are_reported_once() {
        let mut trouble = Recurring::default();
        assert_eq!(trouble.note(None, at(0)), None);
        assert_eq!(trouble.note(Some('a'), at(1)), Some(Report::Begun('a')));
        for second in [2, 1000, 100_000] {
            assert_eq!(trouble.note(Some('a'), at(second)), None);
        }
        assert_eq!(trouble.note(None, at(100_001)), Some(Report::Ended('a')));
        assert_eq!(trouble.note(None, at(100_002)), None);
    }

    #[test]
    fn what_comes_and_goes_is_reported_every_five_minutes_at_most_and_when_it_stays() {
        let mut trouble = Recurring::default();
        let mut lines = 0;
        for second in 0..3600 {
            let kind = (second % 2 == 0).then_some('a');
            lines += usize::from(trouble.note(kind, at(second)).is_some());
        }
        assert_eq!(lines, 2 * 12);
        assert_eq!(trouble.note(Some('a'), at(3600)), Some(Report::Begun('a')));
        assert_eq!(trouble.note(None, at(3601)), Some(Report::Ended('a')));
        assert_eq!(trouble.note(Some('a'), at(3602)), None);
        assert_eq!(trouble.note(Some('a'), at(3899)), None);
        assert_eq!(trouble.note(Some('a'), at(3900)), Some(Report::Begun('a')));
    }

    #[test]
    fn another_kind_is_reported_at_once_and_a_clock_set_back_suppresses_nothing() {
        let mut trouble = Recurring::default();
        assert_eq!(trouble.note(Some('a'), at(0)), Some(Report::Begun('a')));
        assert_eq!(trouble.note(Some('b'), at(1)), Some(Report::Begun('b')));
        assert_eq!(trouble.note(None, at(2)), Some(Report::Ended('b')));
        assert_eq!(trouble.note(Some('b'), at(-1000)), Some(Report::Begun('b')));
    }
}

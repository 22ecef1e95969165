//! Trouble that lasts is told once, and so is its end; trouble that comes and goes is not told every time.

use std::time::Duration;

use super::time::UnixMillis;

/// Trouble that comes back sooner than this after it was told is told only if it lasts until then.
pub const QUIET: Duration = Duration::from_secs(5 * 60);

/// What to tell of trouble of kinds `K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report<K> {
    /// It has begun.
    Begun(K),
    /// It is over.
    Ended(K),
}

/// What was told so far of one place where trouble may come back again and again.
#[derive(Debug)]
pub struct Recurring<K> {
    /// Told, and not over.
    open: Option<K>,
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
    /// What is to be told at `now`, when this is the trouble, or there is none. An end is told only of what was told.
    pub fn note(&mut self, trouble: Option<K>, now: UnixMillis) -> Option<Report<K>> {
        let Some(kind) = trouble else {
            return self.open.take().map(Report::Ended);
        };
        if self.open == Some(kind) {
            return None;
        }
        // A clock that was set back must not silence it.
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
    fn the_beginning_and_the_end_are_told_once() {
        let mut told = Recurring::default();
        assert_eq!(told.note(None, at(0)), None);
        assert_eq!(told.note(Some('a'), at(1)), Some(Report::Begun('a')));
        for second in [2, 1000, 100_000] {
            assert_eq!(told.note(Some('a'), at(second)), None);
        }
        assert_eq!(told.note(None, at(100_001)), Some(Report::Ended('a')));
        assert_eq!(told.note(None, at(100_002)), None);
    }

    #[test]
    fn what_comes_and_goes_is_told_every_five_minutes_at_most_and_told_when_it_stays() {
        let mut told = Recurring::default();
        let mut lines = 0;
        for second in 0..3600 {
            let trouble = (second % 2 == 0).then_some('a');
            lines += usize::from(told.note(trouble, at(second)).is_some());
        }
        assert_eq!(lines, 2 * 12);
        assert_eq!(told.note(Some('a'), at(3600)), Some(Report::Begun('a')));
        assert_eq!(told.note(None, at(3601)), Some(Report::Ended('a')));
        assert_eq!(told.note(Some('a'), at(3602)), None);
        assert_eq!(told.note(Some('a'), at(3899)), None);
        assert_eq!(told.note(Some('a'), at(3900)), Some(Report::Begun('a')));
    }

    #[test]
    fn another_kind_is_told_at_once_and_a_clock_set_back_silences_nothing() {
        let mut told = Recurring::default();
        assert_eq!(told.note(Some('a'), at(0)), Some(Report::Begun('a')));
        assert_eq!(told.note(Some('b'), at(1)), Some(Report::Begun('b')));
        assert_eq!(told.note(None, at(2)), Some(Report::Ended('b')));
        assert_eq!(told.note(Some('b'), at(-1000)), Some(Report::Begun('b')));
    }
}

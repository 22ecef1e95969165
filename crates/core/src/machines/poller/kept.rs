//! What is kept of a job's progress while it waits: most jobs have no trouble, and there may be a million of them.

use crate::cadence::Progress;
use crate::time::UnixMillis;

/// Whether progress is recorded at the next opportunity, or within minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Soon {
    Yes,
    No,
}

/// A [`Progress`], small.
#[derive(Debug, Default)]
pub(super) struct Kept {
    polls: u64,
    quiet_polls: u32,
    consecutive_errors: u32,
    last_polled_at: MaybeTime,
    queued: bool,
    limited: bool,
    has_challenge: bool,
    rare: Option<Box<Rare>>,
}

/// What few jobs have.
#[derive(Debug, Default, PartialEq)]
struct Rare {
    last_error: Option<String>,
    not_found_since: Option<UnixMillis>,
    hot_until: Option<UnixMillis>,
    stale: Option<(u64, u32)>,
}

/// A time, if there is one, in the bytes of a time: the least number stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaybeTime(i64);

impl MaybeTime {
    pub(super) const NONE: Self = Self(i64::MIN);

    pub(super) fn get(self) -> Option<UnixMillis> {
        (self != Self::NONE).then_some(UnixMillis(self.0))
    }
}

impl Default for MaybeTime {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Option<UnixMillis>> for MaybeTime {
    fn from(time: Option<UnixMillis>) -> Self {
        time.map_or(Self::NONE, |at| Self(at.0))
    }
}

impl Kept {
    /// Whether the last poll failed.
    pub(super) fn is_failing(&self) -> bool {
        self.consecutive_errors > 0
    }

    /// Whether there was no poll yet.
    pub(super) fn is_new(&self) -> bool {
        self.polls == 0
    }

    /// Forgets since when the API answers 404 or 410.
    pub(super) fn forget_not_found(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.not_found_since = None;
        }
    }
}

impl From<Progress> for Kept {
    fn from(progress: Progress) -> Self {
        let Progress {
            polls,
            quiet_polls,
            consecutive_errors,
            last_error,
            last_polled_at,
            not_found_since,
            queued,
            limited,
            has_challenge,
            hot_until,
            stale,
        } = progress;
        let rare = Rare {
            last_error,
            not_found_since,
            hot_until,
            stale,
        };
        Self {
            polls,
            quiet_polls,
            consecutive_errors,
            last_polled_at: last_polled_at.into(),
            queued,
            limited,
            has_challenge,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
        }
    }
}

impl From<&Kept> for Progress {
    fn from(kept: &Kept) -> Self {
        let rare = kept.rare.as_deref();
        Self {
            polls: kept.polls,
            quiet_polls: kept.quiet_polls,
            consecutive_errors: kept.consecutive_errors,
            last_error: rare.and_then(|rare| rare.last_error.clone()),
            last_polled_at: kept.last_polled_at.get(),
            not_found_since: rare.and_then(|rare| rare.not_found_since),
            queued: kept.queued,
            limited: kept.limited,
            has_challenge: kept.has_challenge,
            hot_until: rare.and_then(|rare| rare.hot_until),
            stale: rare.and_then(|rare| rare.stale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_progress_is_lost() {
        let full = Progress {
            polls: 7,
            quiet_polls: 6,
            consecutive_errors: 5,
            last_error: Some("status: 500".to_owned()),
            last_polled_at: Some(UnixMillis(4)),
            not_found_since: Some(UnixMillis(3)),
            queued: true,
            limited: true,
            has_challenge: true,
            hot_until: Some(UnixMillis(2)),
            stale: Some((1, 2)),
        };
        for progress in [Progress::default(), full] {
            let kept = Kept::from(progress.clone());
            assert_eq!(Progress::from(&kept), progress);
        }
        assert!(size_of::<Kept>() <= 40);
    }
}

//! How long the rows of ended jobs are kept, and how many are deleted at once.

use std::time::Duration;

use serde::Serialize;
use strum::{EnumIter, IntoStaticStr};

use super::time::UnixMillis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The ages at which parts of an ended job are deleted; `None`: never. The job's age counts from its end, the others' from the
/// last attempt if that came later. A part is never kept longer than the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The whole job.
    pub jobs: Option<Duration>,
    /// Its events, with their deliveries.
    pub events: Option<Duration>,
    /// The attempts at its deliveries.
    pub attempts: Option<Duration>,
}

impl Default for Retention {
    /// 90 days, 30 days, 14 days.
    fn default() -> Self {
        Self {
            jobs: Some(90 * DAY),
            events: Some(30 * DAY),
            attempts: Some(14 * DAY),
        }
    }
}

/// The stages in which an ended job is deleted. Each includes those before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, EnumIter, Serialize,
)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// The attempts.
    Attempts,
    /// The events, with their deliveries.
    Events,
    /// The job with its steps and transitions.
    Jobs,
}

impl Stage {
    /// The word counted and shown, which is the key of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Retention {
    /// Jobs that ended before this time have reached the age of the stage at `now`; `None`: the stage never comes.
    #[must_use]
    pub fn before(&self, stage: Stage, now: UnixMillis) -> Option<UnixMillis> {
        let age = match stage {
            Stage::Attempts => self.attempts,
            Stage::Events => self.events,
            Stage::Jobs => self.jobs,
        };
        age.map(|age| now.minus(age))
    }
}

/// Fewest and most rows that one transaction deletes.
const BATCH: std::ops::RangeInclusive<u32> = 10..=2000;

/// A transaction longer than [`LONG`] makes the next one smaller, one shorter than [`SHORT`] makes it larger: other writers
/// should wait well below 50 ms.
const LONG: Duration = Duration::from_millis(15);
const SHORT: Duration = Duration::from_millis(4);

/// How many rows the next transaction deletes, so that other writers wait only briefly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u32);

impl Default for BatchSize {
    fn default() -> Self {
        Self(100)
    }
}

impl BatchSize {
    /// Number of rows.
    #[must_use]
    pub fn rows(self) -> u32 {
        self.0
    }

    /// The size after a transaction of this size that took this long.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        let rows = if took > LONG {
            // Shrinks in one step to a size that would have been short enough.
            let parts = took.as_millis() / LONG.as_millis() + 1;
            self.0 / u32::try_from(parts).unwrap_or(u32::MAX)
        } else if took < SHORT {
            self.0.saturating_mul(2)
        } else {
            self.0
        };
        Self(rows.clamp(*BATCH.start(), *BATCH.end()))
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn each_stage_has_its_age_and_without_one_never_comes() {
        let now = UnixMillis(100 * 86_400_000);
        let day = |days: i64| Some(UnixMillis(days * 86_400_000));
        let retention = Retention::default();
        let before = Stage::iter().map(|stage| retention.before(stage, now));
        let before: Vec<_> = before.collect();
        assert_eq!(before, [day(86), day(70), day(10)]);
        let endless = Retention {
            jobs: None,
            ..retention
        };
        assert_eq!(endless.before(Stage::Jobs, now), None);
    }

    #[test]
    fn batches_shrink_at_once_grow_slowly_and_stay_in_bounds() {
        let millis = Duration::from_millis;
        let size = BatchSize::default();
        assert_eq!(size.after(millis(1)).rows(), 200);
        assert_eq!(size.after(millis(10)).rows(), 100);
        assert_eq!(size.after(millis(16)).rows(), 50);
        assert_eq!(size.after(millis(60)).rows(), 20);
        assert_eq!(size.after(millis(100_000)).rows(), 10);
        let grown = (0..20).fold(size, |size, _| size.after(millis(0)));
        assert_eq!(grown.rows(), 2000);
    }
}

//! Time: the wall clock's, as it is stored in the database and sent in events, and the monotonic clock's, which measures
//! delays.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z (docs/tables.md: all times in tables).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The latest time that can be shown: 9999-12-30T21:59:59.999Z, just below jiff's own limit.
    pub const MAX: Self = Self(253_402_207_199_999);

    /// This time plus `delay`, at most [`UnixMillis::MAX`].
    #[must_use]
    pub fn plus(self, delay: Duration) -> Self {
        let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis).min(Self::MAX.0))
    }

    /// This time minus `delay`, never before 1970.
    #[must_use]
    pub fn minus(self, delay: Duration) -> Self {
        let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis).max(0))
    }

    /// The duration from `earlier` to this time; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The time as an RFC 3339 text in UTC with milliseconds, `2026-11-22T15:04:05.123Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let clamped = self.0.clamp(0, Self::MAX.0);
        let timestamp = Timestamp::from_millisecond(clamped).unwrap_or(Timestamp::UNIX_EPOCH);
        format!("{timestamp:.3}")
    }

    /// The time in an RFC 3339 text with an offset; `None` for any other text.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<Timestamp>().ok().map(Self::from)
    }

    /// Whole seconds since 1970, as in signatures and HTTP headers.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl From<Timestamp> for UnixMillis {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.as_millisecond())
    }
}

/// A moment of the monotonic clock: nanoseconds since the process began, which setting the wall clock does not change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// This moment plus `delay`; it saturates after 584 years.
    #[must_use]
    pub fn plus(self, delay: Duration) -> Self {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// The duration from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// One reading of both clocks: what a state machine knows of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Measures delays.
    pub monotonic: Monotonic,
    /// The time of day, which an operator or NTP may set.
    pub wall: UnixMillis,
    /// Whether the time of day can be relied on. To be checked before a decision that cannot be undone.
    pub stability: Stability,
}

impl Now {
    /// When the wall clock will show `at`, unless it is set; now, if it shows a later time already.
    #[must_use]
    pub fn until(&self, at: UnixMillis) -> Monotonic {
        self.monotonic.plus(at.since(self.wall))
    }
}

/// Whether the wall clock can be relied on at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stability {
    /// Jumps detected so far.
    pub jumps: u64,
    /// Whether the last jump is at least [`SETTLING`](super::clock_jumps::SETTLING) ago, so that jobs and events may expire.
    pub is_settled: bool,
}

/// Whole milliseconds of a duration, as in logs and tables.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_exactly_three_digits_and_a_z() {
        assert_eq!(UnixMillis(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            UnixMillis(1_795_359_845_120).rfc3339(),
            "2026-11-22T15:04:05.120Z"
        );
        assert_eq!(UnixMillis::MAX.rfc3339(), "9999-12-30T21:59:59.999Z");
    }

    #[test]
    fn a_moment_is_read_with_its_offset_and_other_texts_are_none() {
        let moment = Some(UnixMillis(1_795_359_845_120));
        for text in ["2026-11-22T15:04:05.120Z", "2026-11-23T02:04:05.12+11:00"] {
            assert_eq!(UnixMillis::parse_rfc3339(text), moment, "{text}");
        }
        for text in ["", "yesterday", "2026-11-22T15:04:05", "2026-11-22"] {
            assert_eq!(UnixMillis::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(UnixMillis(5).plus(Duration::MAX), UnixMillis::MAX);
        assert_eq!(UnixMillis(5).minus(Duration::MAX), UnixMillis(0));
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(9).since(UnixMillis(5)), Duration::from_millis(4));
    }
}

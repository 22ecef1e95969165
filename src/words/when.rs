//! Moments as people write them.

use std::str::FromStr;
use std::time::Duration;

use crate::core::time::UnixMillis;

/// A duration before or after now (`2h`), or a time (`2026-11-22T15:04:05Z`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// This long before or after now.
    FromNow(Duration),
    /// This time.
    At(UnixMillis),
}

impl FromStr for When {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(duration) = humantime::parse_duration(text) {
            return Ok(Self::FromNow(duration));
        }
        UnixMillis::parse_rfc3339(text)
            .map(Self::At)
            .ok_or("write a duration such as 15m, 2h or 8d, or a time such as 2026-11-22T15:04:05Z")
    }
}

impl When {
    /// The moment it means when durations reach back from `now`; the earliest one at least.
    pub(crate) fn before(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::FromNow(duration) => {
                let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                UnixMillis(now.0.saturating_sub(millis))
            }
            Self::At(at) => at,
        }
    }

    /// The moment it means when durations reach forward from `now`.
    pub(crate) fn after(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::FromNow(duration) => now.plus(duration),
            Self::At(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_moment_is_a_duration_ago_or_a_time() {
        let now = UnixMillis(1_795_359_845_000);
        let read = |text: &str| text.parse::<When>().map(|when| when.before(now).0);
        assert_eq!(read("1h 30m"), Ok(now.0 - 5_400_000));
        assert_eq!(read("2026-11-22T15:04:05Z"), Ok(now.0));
        assert_eq!(read("2026-11-22T16:04:05.250+01:00"), Ok(now.0 + 250));
        let far = read("500000000y").unwrap();
        assert!(far < -1_000_000_000, "{far}");
        for wrong in ["", "yesterday", "5", "2026-11-22", "-5m"] {
            assert!(
                read(wrong).unwrap_err().contains("15m, 2h or 8d"),
                "{wrong}"
            );
        }
    }
}

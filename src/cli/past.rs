//! A moment in the past as it is written on a command line.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::time::UnixMillis;

/// A duration before now (`2h`), or a time (`2026-11-22T15:04:05Z`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// So long before now.
    Ago(Duration),
    /// Then.
    At(UnixMillis),
}

impl FromStr for Past {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(duration) = humantime::parse_duration(text) {
            return Ok(Self::Ago(duration));
        }
        let at: Timestamp = text.parse().map_err(
            |_| "write how long ago, such as 15m, 2h or 8d, or a time such as 2026-11-22T15:04:05Z",
        )?;
        Ok(Self::At(at.into()))
    }
}

impl Past {
    /// The moment it means at `now`; what lies before all time is the beginning of it.
    pub(super) fn before(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::Ago(duration) => {
                let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                UnixMillis(now.0.saturating_sub(millis))
            }
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
        let read = |text: &str| text.parse::<Past>().map(|past| past.before(now).0);
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

//! Delays after trouble: exponential backoff, and what a remote asks for in `Retry-After`.

use std::time::Duration;

use super::time::UnixMillis;

/// Longest pause a `Retry-After` can cause; a larger wish is cut to this (WEBHOOK-RULES, section 6).
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A growing delay: `initial`, × `multiplier` at each further failure, never above `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first delay.
    pub initial: Duration,
    /// Growth per failure, at least 1.
    pub multiplier: f64,
    /// The largest delay.
    pub max: Duration,
}

impl Backoff {
    /// The delay after `failures` failures in a row (1 gives `initial`), without jitter.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.multiplier.max(1.0).powi(exponent);
        if seconds.is_finite() && seconds < self.max.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.max
        }
    }
}

/// Lengthens or shortens `delay` by up to `fraction` of it. `random` lies in 0..1; 0.5 changes nothing.
#[must_use]
pub fn spread(delay: Duration, fraction: f64, random: f64) -> Duration {
    let factor = 1.0 + fraction.clamp(0.0, 1.0) * (2.0 * random - 1.0);
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay)
}

/// Lengthens `delay` by up to `fraction` of it, never shortens it. `random` lies in 0..1.
#[must_use]
pub fn lengthen(delay: Duration, fraction: f64, random: f64) -> Duration {
    let factor = 1.0 + fraction.max(0.0) * random;
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay)
}

/// Reads a `Retry-After` value: whole seconds or an HTTP date (RFC 9110, section 10.2.3).
///
/// A date in the past is a wait of zero, a wait above [`MAX_RETRY_AFTER`] is cut to it, and anything else is `None`.
#[must_use]
pub fn parse_retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = value.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    Some(UnixMillis::from(date).since(now).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_starts_at_initial_and_stops_at_max() {
        let backoff = Backoff {
            initial: Duration::from_secs(1),
            multiplier: 1.5,
            max: Duration::from_secs(30),
        };
        let millis: Vec<u128> = (0..12).map(|n| backoff.delay(n).as_millis()).collect();
        assert_eq!(
            millis,
            [
                1000, 1000, 1500, 2250, 3375, 5062, 7593, 11390, 17085, 25628, 30000, 30000
            ]
        );
        assert_eq!(backoff.delay(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn spread_goes_both_ways_and_lengthen_only_one() {
        let second = Duration::from_secs(1);
        assert_eq!(spread(second, 0.1, 0.0), Duration::from_millis(900));
        assert_eq!(spread(second, 0.1, 0.5), second);
        assert_eq!(lengthen(second, 0.1, 0.0), second);
        assert_eq!(lengthen(second, 0.5, 0.5), Duration::from_millis(1250));
        assert_eq!(spread(Duration::MAX, 1.0, 0.999), Duration::MAX);
    }

    #[test]
    fn retry_after_takes_seconds_and_dates_and_nothing_else() {
        let now = UnixMillis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        let cases: [(&str, Option<u64>); 10] = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(86_400)),
            ("-5", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(
                parse_retry_after(text, now),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        }
    }
}

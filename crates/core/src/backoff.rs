//! Delays after failures: exponential backoff, and the `Retry-After` of an answer.

use std::time::Duration;

use super::time::UnixMillis;

/// Longest pause that a webhook's `Retry-After` can cause; a longer one is cut to this (docs/events-and-receiving.md,
/// "What an answer causes").
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

/// Lengthens or shortens `delay` by up to `fraction` of it. `random` is in 0..1; 0.5 changes nothing.
#[must_use]
pub fn spread(delay: Duration, fraction: f64, random: f64) -> Duration {
    let factor = 1.0 + fraction.clamp(0.0, 1.0) * (2.0 * random - 1.0);
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay)
}

/// Lengthens `delay` by up to `fraction` of it, never shortens it. `random` is in 0..1.
#[must_use]
pub fn lengthen(delay: Duration, fraction: f64, random: f64) -> Duration {
    let factor = 1.0 + fraction.max(0.0) * random;
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay)
}

/// A number of seconds above this is read as a Unix time; as a wait it would be over thirty years.
const UNIX_TIME: u64 = 1_000_000_000;

/// Reads the values of `Retry-After`: whole seconds, a Unix time, or one of the three dates of HTTP (RFC 9110, sections
/// 10.2.3 and 5.6.7). Of several, in one line or more, the longest wait counts; what cannot be read is ignored.
///
/// A moment in the past is a wait of zero, and a wait above `most` is cut to it.
#[must_use]
pub fn parse_retry_after<'a>(
    values: impl IntoIterator<Item = &'a str>,
    now: UnixMillis,
    most: Duration,
) -> Option<Duration> {
    let longest = values
        .into_iter()
        .flat_map(entries)
        .filter_map(|entry| wait_of(entry, now))
        .max()?;
    Some(longest.min(most))
}

/// The entries of a comma-separated list. A comma after the name of a day belongs to the date.
fn entries(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = value;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = rest.find(',').unwrap_or(rest.len());
        let is_day = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
        let end = match rest.get(first + 1..) {
            Some(behind) if is_day(rest.get(..first).unwrap_or_default().trim()) => behind
                .find(',')
                .map_or(rest.len(), |second| first + 1 + second),
            _ => first,
        };
        let entry = rest.get(..end).unwrap_or_default();
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(entry.trim())
    })
}

fn wait_of(entry: &str, now: UnixMillis) -> Option<Duration> {
    if entry.is_empty() || !entry.bytes().all(|b| b.is_ascii_digit()) {
        return Some(http_date(entry, now)?.since(now));
    }
    let seconds = Duration::from_secs(entry.parse::<u64>().unwrap_or(u64::MAX));
    Some(if seconds.as_secs() > UNIX_TIME {
        UnixMillis(0).plus(seconds).since(now)
    } else {
        seconds
    })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or `Sun Nov  6 08:49:37 1994`.
fn http_date(text: &str, now: UnixMillis) -> Option<UnixMillis> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words = text.split([' ', ',', '-']).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    let (day, month, year, time) = match words.as_slice() {
        [_, day, month, year, time, "GMT"] => (day, month, year, time),
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.iter().zip(1..).find(|(name, _)| *name == month)?.1;
    let mut clock = time.split(':').map(|part| part.parse::<i8>().ok());
    let mut part = || clock.next().flatten();
    let (hour, minute, second) = (part()?, part()?, part()?);
    let date = jiff::civil::DateTime::new(
        full_year(year, now)?,
        month,
        day.parse().ok()?,
        hour,
        minute,
        // Unix time has no leap seconds.
        second.min(59),
        0,
    );
    let utc = date.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(UnixMillis::from(utc.timestamp()))
}

/// A year; two digits mean the nearest year that ends in them, at most fifty years from now.
fn full_year(text: &str, now: UnixMillis) -> Option<i16> {
    let year: i16 = text.parse().ok()?;
    if text.len() != 2 {
        return Some(year);
    }
    let today = jiff::Timestamp::from_millisecond(now.0).ok()?;
    let this_year = today.to_zoned(jiff::tz::TimeZone::UTC).year();
    let year = this_year - this_year % 100 + year;
    Some(if year > this_year + 50 {
        year - 100
    } else if year < this_year - 49 {
        year + 100
    } else {
        year
    })
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

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: UnixMillis = UnixMillis(784_111_777_000);

    fn seconds(values: &[&str]) -> Option<u64> {
        let hour = Duration::from_secs(3600);
        let wait = parse_retry_after(values.iter().copied(), NOW, hour)?;
        assert_eq!(wait.subsec_nanos(), 0);
        Some(wait.as_secs())
    }

    #[test]
    fn retry_after_takes_seconds_and_unix_times_and_dates_and_nothing_else() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("007", Some(7)),
            ("3601", Some(3600)),
            ("1000000000", Some(3600)),
            ("784111837", Some(3600)),
            ("1000000001", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(120)),
            ("Sun Nov  6 08:51:37 1994", Some(120)),
            ("Sun Nov 06 08:51:37 1994", Some(120)),
            ("Sun, 06 Nov 1994 08:59:60 GMT", Some(622)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(3600)),
            ("Friday, 06-Nov-43 08:51:37 GMT", Some(3600)),
            ("Sunday, 06-Nov-45 08:51:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 CET", None),
            ("Sun, 31 Feb 1994 08:51:37 GMT", None),
            ("Sun, 06 Nov 1994 25:51:37 GMT", None),
            ("Sun, 06 Nov 1994 08:51 GMT", None),
            ("06 Nov 1994 08:51:37", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("5s", None),
            ("", None),
            (",", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(&[text]), expected, "{text:?}");
        }
    }

    #[test]
    fn a_large_number_is_a_unix_time() {
        let now = UnixMillis(1_800_000_000_000);
        let wait = |text| parse_retry_after([text], now, Duration::from_secs(3600));
        assert_eq!(wait("1800000060"), Some(Duration::from_secs(60)));
        assert_eq!(wait("1799999999"), Some(Duration::ZERO));
        assert_eq!(wait("1800000060000"), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn of_several_entries_the_longest_wait_counts_and_those_that_cannot_be_read_do_not() {
        for (values, expected) in [
            (&["4, 4"][..], Some(4)),
            (&["4,9, 2"], Some(9)),
            (&["4", "9", "2"], Some(9)),
            (&["soon", "9, later"], Some(9)),
            (&["Sun, 06 Nov 1994 08:51:37 GMT, 4"], Some(120)),
            (
                &["Sun, 06 Nov 1994 08:50:37 GMT, Sunday, 06-Nov-94 08:51:37 GMT, 121"],
                Some(121),
            ),
            (
                &["Sun Nov  6 08:51:37 1994,Sun Nov  6 08:50:37 1994"],
                Some(120),
            ),
            (&["", ", ,", "Sun,"], None),
            (&[], None),
        ] {
            assert_eq!(seconds(values), expected, "{values:?}");
        }
    }
}

//! Durations, times, counts and texts from outside in words, for every surface that people read: the commands and the
//! dashboard say the same of a thing.

pub(crate) mod spans;
pub(crate) mod steps;
mod when;

use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use crate::core::text::printable as outside;
use crate::core::time::UnixMillis;
pub(crate) use when::When;

/// Most characters of one text from outside that are shown.
pub(crate) const TEXT_LIMIT: usize = 2000;

/// What a piece of text means; the colour follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The colour of other text.
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
    /// Done.
    Good,
    /// Under way.
    Busy,
    /// Needs attention.
    Warn,
    /// Failed.
    Bad,
}

/// An error, a reason or a status from outside, escaped and cut to one line.
pub(crate) fn error(text: &str) -> String {
    outside(text, 300)
}

/// A JSON value for people, escaped: a text unchanged, null as empty, everything else as JSON.
pub(crate) fn value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(outside(text, TEXT_LIMIT)),
        other => Some(outside(&other.to_string(), TEXT_LIMIT)),
    }
}

/// The same for a value that was not parsed.
pub(crate) fn raw(json: &RawValue) -> Option<String> {
    value(&serde_json::from_str(json.get()).ok()?)
}

/// A duration with its one or two largest units: `340ms`, `3.6s`, `42s`, `4m 12s`, `3h 5m`, `7d 23h`.
pub(crate) fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |large: u64, unit: char, small: u64, rest: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{rest}"),
    };
    match (seconds, duration.subsec_millis() / 100) {
        (0, _) => format!("{}ms", duration.as_millis()),
        (1..10, tenths @ 1..) => format!("{seconds}.{tenths}s"),
        (1..60, _) => format!("{seconds}s"),
        (60..3600, _) => pair(seconds / 60, 'm', seconds % 60, 's'),
        (3600..86_400, _) => pair(seconds / 3600, 'h', seconds / 60 % 60, 'm'),
        _ => pair(seconds / 86_400, 'd', seconds / 3600 % 24, 'h'),
    }
}

/// How long ago something was: `4m 12s ago`.
pub(crate) fn ago(duration: Duration) -> String {
    match duration.as_secs() {
        0 => "just now".to_owned(),
        _ => format!("{} ago", brief(duration)),
    }
}

/// A moment for people, to the second: `2026-11-22 15:04:05Z`.
pub(crate) fn moment(at: UnixMillis) -> String {
    let text = at.rfc3339();
    let seconds = text.get(..19).unwrap_or(&text);
    format!("{}Z", seconds.replace('T', " "))
}

/// A number of bytes: `1.5 KiB`, `27 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => (0x400, "KiB"),
        0x10_0000..0x4000_0000 => (0x10_0000, "MiB"),
        0x4000_0000..0x100_0000_0000 => (0x4000_0000, "GiB"),
        _ => (0x100_0000_0000, "TiB"),
    };
    match bytes / unit {
        whole @ 0..10 => format!("{whole}.{} {name}", bytes % unit * 10 / unit),
        whole => format!("{whole} {name}"),
    }
}

/// A count with its noun: `1 poll`, `7 polls`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_from_outside_moves_the_cursor_or_turns_the_text_around() {
        let hostile = "a\u{1b}[2Jb\r\nc\u{202e}d\u{200b}e\u{9b}f";
        let shown = outside(hostile, 100);
        assert_eq!(shown, r"a\u{1b}[2Jb\r\nc\u{202e}d\u{200b}e\u{9b}f");
        assert_eq!(outside(&"x".repeat(50), 10).chars().count(), 11);
        assert_eq!(value(&json!({"a": "\u{7f}"})).unwrap(), r#"{"a":"\u{7f}"}"#);
        assert_eq!(value(&json!(null)), None);
    }

    #[test]
    fn durations_have_one_or_two_units() {
        for (millis, expected) in [
            (0, "0ms"),
            (340, "340ms"),
            (1000, "1s"),
            (3649, "3.6s"),
            (42_900, "42s"),
            (60_000, "1m"),
            (252_000, "4m 12s"),
            (11_100_000, "3h 5m"),
            (690_000_000, "7d 23h"),
        ] {
            assert_eq!(brief(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn moments_and_counts_read_well() {
        assert_eq!(
            moment(UnixMillis(1_795_359_845_120)),
            "2026-11-22 15:04:05Z"
        );
        assert_eq!(
            (count(1, "poll"), count(0, "poll")),
            ("1 poll".to_owned(), "0 polls".to_owned())
        );
    }

    #[test]
    fn sizes_have_two_digits_or_more() {
        for (bytes, shown) in [
            (0, "0.0 KiB"),
            (1536, "1.5 KiB"),
            (106_496, "104 KiB"),
            (5 << 20, "5.0 MiB"),
            (27 << 20, "27 MiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}

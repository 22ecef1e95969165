//! Values of `Retry-After`, one per line.

use std::time::Duration;

use jobtrackd::core::backoff::parse_retry_after;
use jobtrackd::core::time::UnixMillis;

const MOMENTS: [UnixMillis; 4] = [
    UnixMillis(0),
    UnixMillis(1_795_359_845_000),
    UnixMillis(i64::MAX),
    UnixMillis(i64::MIN),
];

pub(super) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    for moment in MOMENTS {
        for most in [Duration::ZERO, Duration::from_secs(3600), Duration::MAX] {
            let wait = parse_retry_after(lines.iter().copied(), moment, most);
            assert!(wait.is_none_or(|wait| wait <= most));
            let alone = lines
                .iter()
                .map(|line| parse_retry_after([*line], moment, most));
            assert_eq!(wait, alone.max().flatten(), "the longest wait counts");
            let backwards = parse_retry_after(lines.iter().rev().copied(), moment, most);
            assert_eq!(wait, backwards, "their order does not");
        }
    }
}

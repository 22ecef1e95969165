//! Time of the simulation: microseconds since it began, which is the time that is true. Wall clocks start at [`EPOCH`].

/// Microseconds since the simulation began.
pub(crate) type Time = u64;

/// What the true wall clock shows at the beginning, in Unix milliseconds: 2026-11-28T09:00:00Z.
pub(crate) const EPOCH: i64 = 1_795_856_400_000;

pub(crate) const MS: Time = 1000;
pub(crate) const SECOND: Time = 1000 * MS;
pub(crate) const MINUTE: Time = 60 * SECOND;
pub(crate) const HOUR: Time = 60 * MINUTE;

/// The true wall clock in Unix milliseconds.
pub(crate) fn true_wall(at: Time) -> i64 {
    EPOCH + i64::try_from(at / MS).unwrap_or(i64::MAX / 2)
}

/// A moment for people: `1 d 02:03:04.567890`.
pub(crate) fn shown(at: Time) -> String {
    let (seconds, micros) = (at / SECOND, at % SECOND);
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let clock = format!(
        "{hours:02}:{:02}:{:02}.{micros:06}",
        seconds / 60 % 60,
        seconds % 60
    );
    match days {
        0 => clock,
        days => format!("{days} d {clock}"),
    }
}

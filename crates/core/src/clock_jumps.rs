//! Jumps of the wall clock: it may be set while the daemon runs, wrongly for a moment or correctly and permanently.
//! No decision that cannot be undone is made right after a jump (docs/operating.md, "Clock").

use std::time::Duration;

use super::time::{Stability, UnixMillis};

/// Smallest change of the wall clock against the monotonic one that counts as a jump; smaller ones are followed.
const JUMP: Duration = Duration::from_secs(60);

/// How long after a jump nothing expires. After that the new time is accepted.
pub const SETTLING: Duration = Duration::from_secs(5 * 60);

/// Detects jumps by comparing the wall clock with the monotonic one at each call.
#[derive(Debug, Default)]
pub struct ClockJumps {
    /// The wall clock minus the monotonic one at the last call, in milliseconds.
    offset: Option<i64>,
    jumps: u64,
    /// The monotonic time of the last jump, until [`SETTLING`] has passed.
    settles_since: Option<Duration>,
}

impl ClockJumps {
    /// Compares the wall clock with `monotonic`, the time since a fixed moment, which setting the clock does not change.
    pub fn observe(&mut self, monotonic: Duration, wall: UnixMillis) -> Stability {
        let elapsed = i64::try_from(monotonic.as_millis()).unwrap_or(i64::MAX);
        let offset = wall.0.saturating_sub(elapsed);
        let moved = self
            .offset
            .replace(offset)
            .map_or(0, |before| offset.abs_diff(before));
        if Duration::from_millis(moved) >= JUMP {
            self.jumps += 1;
            self.settles_since = Some(monotonic);
        }
        self.settles_since
            .take_if(|since| monotonic.saturating_sub(*since) >= SETTLING);
        Stability {
            jumps: self.jumps,
            is_settled: self.settles_since.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i64 = 1_800_000_000_000;

    /// Jumps and settledness at these seconds of the monotonic clock, with the wall clock so many seconds ahead.
    fn observed(samples: &[(u64, i64)]) -> Vec<(u64, bool)> {
        let mut clock_jumps = ClockJumps::default();
        let mut each = |&(second, ahead): &(u64, i64)| {
            let wall = UnixMillis(EPOCH + (second.cast_signed() + ahead) * 1000);
            let stability = clock_jumps.observe(Duration::from_secs(second), wall);
            (stability.jumps, stability.is_settled)
        };
        samples.iter().map(&mut each).collect()
    }

    #[test]
    fn a_clock_that_drifts_or_is_set_by_less_than_a_minute_has_not_jumped() {
        let samples = [(0, 0), (1, 59), (2, 0), (3, -59), (4000, 0), (4001, 59)];
        assert!(observed(&samples).iter().all(|found| *found == (0, true)));
    }

    #[test]
    fn for_five_minutes_after_a_jump_in_either_direction_nothing_expires() {
        for jump in [60, -60, 365 * 24 * 3600] {
            let samples = [(10, 0), (11, jump), (310, jump), (311, jump), (9999, jump)];
            let expected = [(0, true), (1, false), (1, false), (1, true), (1, true)];
            assert_eq!(observed(&samples), expected, "{jump}");
        }
    }

    #[test]
    fn a_clock_that_jumps_and_is_set_back_settles_again() {
        let samples = [(0, 0), (1, 7200), (3, 0), (302, 0), (303, 0)];
        let expected = [(0, true), (1, false), (2, false), (2, false), (2, true)];
        assert_eq!(observed(&samples), expected);
    }
}

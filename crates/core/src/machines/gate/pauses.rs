//! How long the upstream is paused when it does not say for how long (docs/jobs.md, "Errors of one job delay that job").

use std::time::Duration;

use crate::backoff::{Backoff, lengthen};

/// After our credentials were refused.
pub const REFUSED: Backoff = Backoff {
    initial: Duration::from_secs(5),
    multiplier: 2.0,
    max: Duration::from_secs(300),
};

/// After we were throttled, or the token endpoint gave no usable answer.
pub const THROTTLED: Backoff = Backoff {
    initial: Duration::from_secs(1),
    ..REFUSED
};

/// How much of a pause is added at random, so that many daemons do not come back together.
const JITTER: f64 = 0.1;

/// The pause after this many failures in a row; `random` in 0..1 lengthens it.
#[must_use]
pub fn grown(backoff: Backoff, failures: u32, random: f64) -> Duration {
    lengthened(backoff.delay(failures), random).min(backoff.max)
}

/// The pause, and up to a tenth of it more; `random` in 0..1.
#[must_use]
pub fn lengthened(pause: Duration, random: f64) -> Duration {
    lengthen(pause, JITTER, random)
}

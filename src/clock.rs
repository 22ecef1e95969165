//! The only place that reads the wall clock or draws random numbers.
//!
//! Durations are measured with tokio's [`Instant`](tokio::time::Instant), so a test that pauses tokio's time drives every
//! delay; [`Clock`] makes the wall clock follow it. Paused time jumps ahead whenever the runtime has nothing to do, and
//! SQLite and sockets are then "nothing to do" too: [`Clock::held`] keeps it still around such a call.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::core::time::UnixMillis;

/// Where the time of day comes from.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    source: Source,
}

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Driven(Arc<Driven>),
}

/// A wall clock that follows tokio's time from a fixed start.
#[derive(Debug)]
struct Driven {
    start: UnixMillis,
    origin: Instant,
    hold: Mutex<Hold>,
}

/// A blocking task runs while anything is held: that is what stops paused time from jumping.
#[derive(Debug, Default)]
struct Hold {
    holders: usize,
    release: Option<std::sync::mpsc::Sender<()>>,
}

impl Clock {
    /// The computer's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that starts at `start` and follows tokio's time, paused or not. Call it inside a runtime.
    #[must_use]
    pub fn driven(start: UnixMillis) -> Self {
        Self {
            source: Source::Driven(Arc::new(Driven {
                start,
                origin: Instant::now(),
                hold: Mutex::default(),
            })),
        }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match &self.source {
            Source::System => system_now(),
            Source::Driven(driven) => driven.start.plus(driven.origin.elapsed()),
        }
    }

    /// Awaits `work` with paused time standing still. With the system's clock it only awaits.
    pub async fn held<F: Future>(&self, work: F) -> F::Output {
        let _guard = match &self.source {
            Source::System => None,
            Source::Driven(driven) => Some(HoldGuard::new(Arc::clone(driven))),
        };
        work.await
    }
}

struct HoldGuard(Arc<Driven>);

impl HoldGuard {
    fn new(driven: Arc<Driven>) -> Self {
        {
            let mut hold = driven.hold.lock().unwrap_or_else(PoisonError::into_inner);
            hold.holders += 1;
            if hold.holders == 1 {
                let (release, released) = std::sync::mpsc::channel::<()>();
                hold.release = Some(release);
                tokio::task::spawn_blocking(move || released.recv());
            }
        }
        Self(driven)
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        let mut hold = self.0.hold.lock().unwrap_or_else(PoisonError::into_inner);
        hold.holders -= 1;
        if hold.holders == 0 {
            hold.release = None;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that may read the wall clock"
)]
fn system_now() -> UnixMillis {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(0).plus(since_epoch)
}

/// A source of random numbers that a test can seed.
#[derive(Debug, Clone)]
pub struct Jitter {
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl Jitter {
    /// Seeded by the system.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that may draw random numbers"
    )]
    pub fn system() -> Self {
        Self::from_rng(fastrand::Rng::new())
    }

    /// The same numbers for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::from_rng(fastrand::Rng::with_seed(seed))
    }

    fn from_rng(rng: fastrand::Rng) -> Self {
        Self {
            rng: Arc::new(Mutex::new(rng)),
        }
    }

    /// A number in 0..1.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_driven_clock_follows_paused_time_and_stands_still_while_held() {
        let clock = Clock::driven(UnixMillis(1000));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), UnixMillis(3_601_000));

        let (done, finished) = tokio::sync::oneshot::channel::<()>();
        let worker = std::thread::spawn(move || {
            for _ in 0..1000 {
                std::thread::yield_now();
            }
            done.send(()).unwrap();
        });
        let sleeper = tokio::spawn(tokio::time::sleep(Duration::from_secs(1)));
        clock.held(finished).await.unwrap();
        assert_eq!(clock.now(), UnixMillis(3_601_000));
        worker.join().unwrap();
        sleeper.await.unwrap();
        assert_eq!(clock.now(), UnixMillis(3_602_000));
    }

    #[test]
    fn seeded_jitter_repeats_itself() {
        let (a, b) = (Jitter::seeded(7), Jitter::seeded(7));
        let draw = |jitter: &Jitter| -> Vec<f64> { (0..5).map(|_| jitter.fraction()).collect() };
        assert_eq!(draw(&a), draw(&b));
    }
}

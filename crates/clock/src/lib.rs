//! The only place that reads the wall clock or draws random numbers.
//!
//! Durations are measured with tokio's [`Instant`], so a test that pauses tokio's time drives every delay; [`Clock`] makes
//! the wall clock follow it. Paused time jumps ahead whenever the runtime is idle, and the runtime is idle while SQLite or
//! a socket works: [`Clock::held`] stops paused time around such a call.

mod renewed;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use jobtrackd_core::clock_jumps::ClockJumps;
use jobtrackd_core::time::{Monotonic, Now, Stability, UnixMillis};

pub use renewed::Renewed;

/// Longest real time for which held work stops paused time.
///
/// Work that waits for a silent peer ends at a deadline of the paused clock, which would never come while that is held.
/// Loopback sockets and SQLite answer in milliseconds, so work that takes two seconds hangs.
const HOLD_LIMIT: Duration = Duration::from_secs(2);

/// Stands for moments that are too far away for a timer (a hundred years).
const FURTHEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The time of day. Clones share the record of its jumps.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    halt: Option<Arc<Halt>>,
    origin: Instant,
    clock_jumps: Arc<Mutex<ClockJumps>>,
}

#[derive(Debug, Clone)]
enum Source {
    System,
    Driven(Arc<Driven>),
}

/// A wall clock that follows tokio's time from a fixed start.
#[derive(Debug)]
struct Driven {
    start: UnixMillis,
    origin: Instant,
    /// Milliseconds by which a test has set it ahead.
    ahead: AtomicI64,
    hold: Mutex<Hold>,
}

/// The work that holds paused time now, and the blocking task (the watch) that keeps it from jumping.
#[derive(Debug, Default)]
struct Hold {
    /// Holders of the current generation.
    holders: usize,
    /// Incremented when a watch gives up; the holders of earlier generations no longer count.
    generation: u64,
    /// Notifies the watch of each new holder; dropped when the last one leaves.
    watch: Option<Sender<()>>,
}

impl Clock {
    /// The computer's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// A clock that starts at `start` and follows tokio's time, paused or not. Call it inside a runtime.
    #[must_use]
    pub fn driven(start: UnixMillis) -> Self {
        Self::of(Source::Driven(Arc::new(Driven {
            start,
            origin: Instant::now(),
            ahead: AtomicI64::new(0),
            hold: Mutex::default(),
        })))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            halt: None,
            origin: Instant::now(),
            clock_jumps: Arc::default(),
        }
    }

    /// Sets a driven clock ahead by this many milliseconds, or back if negative; tokio's time is not changed. No effect on
    /// the computer's own clock.
    pub fn set_ahead(&self, millis: i64) {
        if let Source::Driven(driven) = &self.source {
            driven.ahead.fetch_add(millis, Ordering::Relaxed);
        }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match &self.source {
            Source::System => system_now(),
            Source::Driven(driven) => {
                let now = driven.start.plus(driven.origin.elapsed());
                UnixMillis(now.0 + driven.ahead.load(Ordering::Relaxed))
            }
        }
    }

    /// One reading of both clocks.
    #[must_use]
    pub fn read(&self) -> Now {
        // Both clocks are read under the lock, so that no later reading is recorded first.
        let mut clock_jumps = self.clock_jumps.lock();
        let (elapsed, wall) = (self.origin.elapsed(), self.now());
        Now {
            monotonic: Monotonic::default().plus(elapsed),
            wall,
            stability: clock_jumps.observe(elapsed, wall),
        }
    }

    /// The monotonic clock.
    #[must_use]
    pub fn monotonic(&self) -> Monotonic {
        self.moment(Instant::now())
    }

    /// A moment of tokio's timers by the monotonic clock.
    #[must_use]
    pub fn moment(&self, at: Instant) -> Monotonic {
        Monotonic::default().plus(at.saturating_duration_since(self.origin))
    }

    /// The moment of the monotonic clock as tokio's timers know it.
    #[must_use]
    pub fn instant(&self, at: Monotonic) -> Instant {
        let since = at.since(Monotonic::default());
        // Timers do not reach further than about 30 years anyway.
        self.origin
            .checked_add(since)
            .unwrap_or_else(|| self.origin + FURTHEST)
    }

    /// Whether the time of day can be relied on now. To be checked before a decision that cannot be undone.
    #[must_use]
    pub fn stability(&self) -> Stability {
        self.read().stability
    }

    /// Awaits `work` and stops paused time meanwhile, as long as new work begins at least every two seconds of real time;
    /// after that paused time moves on, so that hung work reaches its deadline. With the system's clock it only awaits.
    pub async fn held<F: Future>(&self, work: F) -> F::Output {
        let _guard = match &self.source {
            Source::System => None,
            Source::Driven(driven) => Some(HoldGuard::new(Arc::clone(driven))),
        };
        let Some(halt) = &self.halt else {
            return work.await;
        };
        halt.passes().await;
        let output = work.await;
        halt.passes().await;
        output
    }

    /// The same clock with a halt, which simulates a kill: held work passes one point before it begins and one after it
    /// ends, and from point number `at` on, counted from 1, all work held by this clock waits for ever.
    #[must_use]
    pub fn halting(&self, at: u64) -> (Self, Arc<Halt>) {
        let halt = Arc::new(Halt {
            at,
            passed: AtomicU64::new(0),
            reached: Notify::new(),
        });
        let clock = Self {
            halt: Some(Arc::clone(&halt)),
            ..self.clone()
        };
        (clock, halt)
    }
}

/// A point from which all work held by a [`Clock`] waits for ever; see [`Clock::halting`].
#[derive(Debug)]
pub struct Halt {
    at: u64,
    passed: AtomicU64,
    reached: Notify,
}

impl Halt {
    /// Resolves when the point is reached.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// How many points were passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    async fn passes(&self) {
        if self.passed.fetch_add(1, Ordering::Relaxed) + 1 >= self.at {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

struct HoldGuard {
    driven: Arc<Driven>,
    generation: u64,
}

impl HoldGuard {
    fn new(driven: Arc<Driven>) -> Self {
        let generation = {
            let mut hold = driven.hold.lock();
            hold.holders += 1;
            match &hold.watch {
                // The watch ends only under the lock, after it has removed its sender.
                Some(watch) => drop(watch.send(())),
                None => {
                    let (watch, begun) = std::sync::mpsc::channel();
                    hold.watch = Some(watch);
                    let driven = Arc::clone(&driven);
                    tokio::task::spawn_blocking(move || driven.watch(&begun));
                }
            }
            hold.generation
        };
        Self { driven, generation }
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        let mut hold = self.driven.hold.lock();
        if hold.generation == self.generation {
            hold.holders -= 1;
            if hold.holders == 0 {
                hold.watch = None;
            }
        }
    }
}

impl Driven {
    /// Ends when nothing is held, or [`HOLD_LIMIT`] after the latest holder began. Paused time stops because this runs as
    /// a blocking task.
    fn watch(&self, begun: &Receiver<()>) {
        loop {
            match begun.recv_timeout(HOLD_LIMIT) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let mut hold = self.hold.lock();
                    match begun.try_recv() {
                        Ok(()) => {}
                        Err(TryRecvError::Disconnected) => return,
                        Err(TryRecvError::Empty) => {
                            hold.generation += 1;
                            hold.holders = 0;
                            hold.watch = None;
                            return;
                        }
                    }
                }
            }
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

    /// A random id: the prefix and 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self, prefix: &str) -> String {
        let mut rng = self.rng.lock();
        format!("{prefix}{:032x}", rng.u128(..))
    }

    /// A number in 0..1.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.rng.lock().f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_driven_clock_follows_paused_time_and_stands_still_while_held() {
        let clock = Clock::driven(UnixMillis(1000));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), UnixMillis(3_601_000));

        let (done, finished) = tokio::sync::oneshot::channel::<()>();
        let worker = std::thread::spawn(move || {
            for _ in 0..100 {
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

    #[tokio::test(start_paused = true)]
    async fn hung_work_meets_its_deadline_and_later_work_is_held_again() {
        let clock = Clock::driven(UnixMillis(0));
        let deadline = Duration::from_secs(60);
        let hung = clock.held(tokio::time::timeout(deadline, std::future::pending::<()>()));
        let later = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let (done, finished) = tokio::sync::oneshot::channel::<()>();
            let worker = std::thread::spawn(move || {
                for _ in 0..100 {
                    std::thread::yield_now();
                }
                done.send(()).unwrap();
            });
            let before = clock.now();
            clock.held(finished).await.unwrap();
            worker.join().unwrap();
            (before, clock.now())
        };
        let (hung, later) = tokio::join!(hung, later);
        assert!(hung.is_err());
        assert_eq!(later, (UnixMillis(5000), UnixMillis(5000)));
        assert_eq!(clock.now(), UnixMillis(60_000));
        let Source::Driven(driven) = &clock.source else {
            panic!("a driven clock was made")
        };
        let hold = driven.hold.lock();
        assert_eq!((hold.holders, hold.watch.is_none()), (0, true));
    }

    #[test]
    fn seeded_jitter_repeats_itself() {
        let (a, b) = (Jitter::seeded(7), Jitter::seeded(7));
        let draw = |jitter: &Jitter| -> Vec<f64> { (0..5).map(|_| jitter.fraction()).collect() };
        assert_eq!(draw(&a), draw(&b));
    }
}

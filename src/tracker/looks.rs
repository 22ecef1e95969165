//! When it is looked for commits of other programs: soon after somebody has written to the log, and now and then in any case.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::store::sqlite::Watcher;
use crate::store::{StoreError, Wakeups as _};

/// How often it is looked for commits of others.
#[derive(Debug, Clone, Copy)]
pub struct Looking {
    /// Longest time between two looks where writes to the log are not reported; twice as long where they are.
    pub tick: Duration,
    /// Whether it is looked soon after the log was written to.
    pub after_writes: bool,
}

impl Default for Looking {
    /// With one page to read, a row is noticed well within the 100 ms that docs/enqueuing.md, "The row", promises, also where
    /// nothing is reported.
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(40),
            after_writes: true,
        }
    }
}

/// A commit comes after the write that was reported, by as long as the disk takes: it is looked after this pause, and again
/// after pauses that double …
const FIRST: Duration = Duration::from_millis(2);

/// … up to this one.
const LAST: Duration = Duration::from_millis(32);

/// Shortest time between two reports that are heeded: this process writes, too.
const APART: Duration = Duration::from_millis(20);

/// The looks at the database.
#[derive(Debug)]
pub(super) struct Looks {
    looking: Looking,
    watcher: Watcher,
    /// Until the next look, after a report.
    pause: Option<Duration>,
    reported: Instant,
}

impl Looks {
    pub(super) fn new(looking: Looking, watcher: Watcher) -> Self {
        Self {
            looking,
            watcher,
            pause: None,
            reported: Instant::now(),
        }
    }

    /// Looks whether anybody has committed; "no" when that cannot be read now.
    pub(super) async fn saw_commit(&mut self) -> Result<bool, StoreError> {
        match self.watcher.saw_commit().await {
            Ok(saw) => {
                self.pause = self.pause.filter(|_| !saw);
                Ok(saw)
            }
            Err(error) if error.is_temporary() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns when it is time for the next look.
    pub(super) async fn next(&mut self) {
        if self.pause.is_none() {
            let is_watched = self.looking.after_writes && self.watcher.watches_writes();
            tokio::select! {
                () = self.written(is_watched) => self.pause = Some(FIRST),
                () = sleep(self.looking.tick * if is_watched { 2 } else { 1 }) => return,
            }
            self.reported = Instant::now();
        }
        if let Some(pause) = self.pause {
            sleep(pause).await;
            self.pause = Some(pause * 2).filter(|next| *next <= LAST);
        }
    }

    async fn written(&self, is_watched: bool) {
        if !is_watched {
            return pending().await;
        }
        sleep_until(self.reported + APART).await;
        self.watcher.written().await;
    }
}

//! When it is looked for commits of other programs: soon after somebody has written to the log, and now and then in any case.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::store::sqlite::Watcher;
use crate::store::{StoreError, Wakeups as _};

/// How often it is looked for commits of others.
#[derive(Debug, Clone, Copy)]
pub struct Looking {
    /// Time between two looks where writes to the log are not reported.
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
const LAST: Duration = Duration::from_millis(64);

/// Shortest time between two reports that are heeded: this process writes, too.
const APART: Duration = Duration::from_millis(20);

/// From a write to its commit a disk hardly takes longer …
const SLOWEST: Duration = Duration::from_secs(2);

/// … and after that it is looked this seldom, for a commit of a disk that does and for whether the files are still there.
const QUIET: Duration = Duration::from_millis(250);

/// The looks at the database.
#[derive(Debug)]
pub(super) struct Looks {
    looking: Looking,
    watcher: Watcher,
    /// Until the next look. At [`LAST`] a report makes it shorter, and quiet longer.
    pause: Duration,
    /// When a report was heeded last.
    reported: Instant,
    /// When a write was reported or a commit seen last.
    stirred: Option<Instant>,
}

impl Looks {
    pub(super) fn new(looking: Looking, watcher: Watcher) -> Self {
        Self {
            looking,
            watcher,
            pause: LAST,
            reported: Instant::now(),
            stirred: None,
        }
    }

    /// Looks whether anybody has committed; "no" when that cannot be read now.
    pub(super) async fn saw_commit(&mut self) -> Result<bool, StoreError> {
        match self.watcher.saw_commit().await {
            Ok(saw) => {
                if saw {
                    self.pause = LAST;
                    self.stirred = Some(Instant::now());
                }
                Ok(saw)
            }
            Err(error) if error.is_temporary() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns when it is time for the next look.
    pub(super) async fn next(&mut self) {
        if !self.looking.after_writes || !self.watcher.watches_writes() {
            return sleep(self.looking.tick).await;
        }
        if self.pause == LAST {
            let is_quiet = self.stirred.is_none_or(|at| at.elapsed() > SLOWEST);
            tokio::select! {
                () = self.written() => {}
                () = sleep(if is_quiet { QUIET } else { LAST }) => return,
            }
            self.reported = Instant::now();
            self.stirred = Some(self.reported);
            self.pause = FIRST;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LAST);
    }

    async fn written(&self) {
        sleep_until(self.reported + APART).await;
        self.watcher.written().await;
    }
}

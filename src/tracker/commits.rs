//! Who waits for the next commit: requests at the status server.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::core::job::JobId;

/// Tells those who wait that something was committed. What it was, they read for themselves, so nobody who is slow
/// misses anything. Outlives the loops of one configuration. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Commits {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    any: watch::Sender<u64>,
    jobs: Mutex<HashMap<JobId, Bell>>,
}

/// One job that somebody waits for.
#[derive(Debug, Default)]
struct Bell {
    waiting: usize,
    rings: watch::Sender<u64>,
}

impl Commits {
    /// Hears of every commit from now on.
    #[must_use]
    pub fn of_any_job(&self) -> Ear {
        Ear {
            rings: self.shared.any.subscribe(),
            job: None,
        }
    }

    /// Hears of the commits that concern one job, from now on.
    #[must_use]
    pub fn of_job(&self, id: &JobId) -> Ear {
        let mut jobs = self.shared.jobs();
        let bell = jobs.entry(id.clone()).or_default();
        bell.waiting += 1;
        Ear {
            rings: bell.rings.subscribe(),
            job: Some((id.clone(), Arc::clone(&self.shared))),
        }
    }

    /// These jobs' observations are committed.
    pub(super) fn made(&self, recorded: &HashSet<JobId>) {
        if recorded.is_empty() {
            return;
        }
        let ring = |count: &mut u64| *count = count.wrapping_add(1);
        let jobs = self.shared.jobs();
        if !jobs.is_empty() {
            for bell in recorded.iter().filter_map(|id| jobs.get(id)) {
                bell.rings.send_modify(ring);
            }
        }
        drop(jobs);
        self.shared.any.send_modify(ring);
    }
}

impl Shared {
    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Bell>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of commits until it is dropped.
#[derive(Debug)]
pub struct Ear {
    rings: watch::Receiver<u64>,
    job: Option<(JobId, Arc<Shared>)>,
}

impl Ear {
    /// Resolves when there was a commit since the last call, or since the beginning. May be cancelled.
    pub async fn hears(&mut self) {
        if self.rings.changed().await.is_err() {
            // The sender lives as long as anybody can commit.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let Some((id, shared)) = &self.job else {
            return;
        };
        let mut jobs = shared.jobs();
        if let Some(bell) = jobs.get_mut(id) {
            bell.waiting -= 1;
            if bell.waiting == 0 {
                jobs.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn heard(ear: &mut Ear) -> bool {
        let patience = Duration::from_secs(1);
        tokio::time::timeout(patience, ear.hears()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_hear_of_their_job_and_nothing_is_kept_of_those_who_left() {
        let commits = Commits::default();
        let id = |text| JobId::parse(text).unwrap();
        let mut any = commits.of_any_job();
        let (mut first, mut second) = (commits.of_job(&id("a")), commits.of_job(&id("a")));
        commits.made(&HashSet::from([id("b")]));
        assert!(heard(&mut any).await && !heard(&mut first).await);
        commits.made(&HashSet::from([id("b"), id("a")]));
        assert!(heard(&mut first).await && heard(&mut any).await);
        drop(first);
        assert!(heard(&mut second).await, "what came before it listened");
        commits.made(&HashSet::new());
        assert!(!heard(&mut second).await && !heard(&mut any).await);
        drop(second);
        assert!(commits.shared.jobs().is_empty());
    }
}

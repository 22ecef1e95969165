//! Who waits for the next commit: requests at the status server.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::core::job::JobId;

/// Wakes those who wait when something was committed. What it was, they read for themselves, so a slow one misses
/// nothing. Outlives the loops of one configuration. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Commits {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    any: watch::Sender<u64>,
    jobs: Mutex<HashMap<JobId, JobCommits>>,
}

/// One job that somebody waits for.
#[derive(Debug, Default)]
struct JobCommits {
    waiting: usize,
    count: watch::Sender<u64>,
}

impl Commits {
    /// Woken by every commit from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            count: self.shared.any.subscribe(),
            job: None,
        }
    }

    /// Woken by the commits that concern one job, from now on.
    #[must_use]
    pub fn subscribe_job(&self, id: &JobId) -> Subscription {
        let mut jobs = self.shared.jobs();
        let job = jobs.entry(id.clone()).or_default();
        job.waiting += 1;
        Subscription {
            count: job.count.subscribe(),
            job: Some((id.clone(), Arc::clone(&self.shared))),
        }
    }

    /// These jobs' observations are committed.
    pub(super) fn notify(&self, recorded: &HashSet<JobId>) {
        if recorded.is_empty() {
            return;
        }
        let increment = |count: &mut u64| *count = count.wrapping_add(1);
        let jobs = self.shared.jobs();
        if !jobs.is_empty() {
            for job in recorded.iter().filter_map(|id| jobs.get(id)) {
                job.count.send_modify(increment);
            }
        }
        drop(jobs);
        self.shared.any.send_modify(increment);
    }
}

impl Shared {
    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, JobCommits>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Woken by commits until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    count: watch::Receiver<u64>,
    job: Option<(JobId, Arc<Shared>)>,
}

impl Subscription {
    /// Resolves when there was a commit since the last call, or since the beginning. May be cancelled.
    pub async fn changed(&mut self) {
        if self.count.changed().await.is_err() {
            // The sender lives as long as anybody can commit.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some((id, shared)) = &self.job else {
            return;
        };
        let mut jobs = shared.jobs();
        if let Some(job) = jobs.get_mut(id) {
            job.waiting -= 1;
            if job.waiting == 0 {
                jobs.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn was_woken(subscription: &mut Subscription) -> bool {
        let patience = Duration::from_secs(1);
        tokio::time::timeout(patience, subscription.changed())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_hsubscription_of_their_job_and_nothing_is_kept_of_those_who_left() {
        let commits = Commits::default();
        let id = |text| JobId::parse(text).unwrap();
        let mut any = commits.subscribe();
        let (mut first, mut second) = (
            commits.subscribe_job(&id("a")),
            commits.subscribe_job(&id("a")),
        );
        commits.notify(&HashSet::from([id("b")]));
        assert!(was_woken(&mut any).await && !was_woken(&mut first).await);
        commits.notify(&HashSet::from([id("b"), id("a")]));
        assert!(was_woken(&mut first).await && was_woken(&mut any).await);
        drop(first);
        assert!(was_woken(&mut second).await, "what came before it listened");
        commits.notify(&HashSet::new());
        assert!(!was_woken(&mut second).await && !was_woken(&mut any).await);
        drop(second);
        assert!(commits.shared.jobs().is_empty());
    }
}

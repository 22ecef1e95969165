//! Subscriptions to commits, for requests at the status server that wait for a change.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::core::job::JobId;

/// Wakes its subscribers at each commit. They read the changes from the database, so a slow one misses nothing. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Commits {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    any: watch::Sender<u64>,
    jobs: Mutex<HashMap<JobId, JobCommits>>,
}

/// The subscribers of one job.
#[derive(Debug, Default)]
struct JobCommits {
    waiting: usize,
    count: watch::Sender<u64>,
}

impl Commits {
    /// A subscription to every commit from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            count: self.shared.any.subscribe(),
            job: None,
        }
    }

    /// A subscription to the commits of one job from now on.
    #[must_use]
    pub fn subscribe_job(&self, id: &JobId) -> Subscription {
        let mut jobs = self.shared.jobs.lock();
        let job = jobs.entry(id.clone()).or_default();
        job.waiting += 1;
        Subscription {
            count: job.count.subscribe(),
            job: Some((id.clone(), Arc::clone(&self.shared))),
        }
    }

    /// Wakes the subscribers of these jobs, in this order, and those of every commit.
    pub(super) fn notify(&self, recorded: &[JobId]) {
        if recorded.is_empty() {
            return;
        }
        let increment = |count: &mut u64| *count = count.wrapping_add(1);
        let jobs = self.shared.jobs.lock();
        if !jobs.is_empty() {
            for job in recorded.iter().filter_map(|id| jobs.get(id)) {
                job.count.send_modify(increment);
            }
        }
        drop(jobs);
        self.shared.any.send_modify(increment);
    }
}

/// A subscription; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    count: watch::Receiver<u64>,
    job: Option<(JobId, Arc<Shared>)>,
}

impl Subscription {
    /// Resolves when there was a commit since the last call, or since the subscription. Cancel safe.
    pub async fn changed(&mut self) {
        if self.count.changed().await.is_err() {
            // Never reached while the daemon runs: the sender lives as long as the writer.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some((id, shared)) = &self.job else {
            return;
        };
        let mut jobs = shared.jobs.lock();
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
    async fn subscribers_of_a_job_are_woken_by_its_commits_and_nothing_is_kept_of_those_who_left() {
        let commits = Commits::default();
        let id = |text| JobId::parse(text).unwrap();
        let mut any = commits.subscribe();
        let (mut first, mut second) = (
            commits.subscribe_job(&id("a")),
            commits.subscribe_job(&id("a")),
        );
        commits.notify(&[id("b")]);
        assert!(was_woken(&mut any).await && !was_woken(&mut first).await);
        commits.notify(&[id("b"), id("a")]);
        assert!(was_woken(&mut first).await && was_woken(&mut any).await);
        drop(first);
        assert!(was_woken(&mut second).await, "by a commit before it waited");
        commits.notify(&[]);
        assert!(!was_woken(&mut second).await && !was_woken(&mut any).await);
        drop(second);
        assert!(commits.shared.jobs.lock().is_empty());
    }
}

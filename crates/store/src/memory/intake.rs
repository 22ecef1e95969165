//! Notices what other programs changed.

use jobtrackd_core::rows::JobChange;

use super::store::Store;
use crate::{Intake, Result, Wakeups};

impl Intake for Store {
    type Wakeups = Watcher;

    async fn watcher(&self) -> Result<Watcher> {
        Ok(Watcher {
            store: self.clone(),
            commits: None,
        })
    }

    async fn active_jobs(&self, after: i64, limit: u32) -> Result<Vec<JobChange>> {
        self.read(|tables| {
            let numbered = tables.numbered.range(after.saturating_add(1)..);
            let jobs = numbered.filter_map(|(number, id)| Some((*number, tables.jobs.get(id)?)));
            let active = jobs.filter(|(_, job)| job.finished_at.is_none());
            let page = active.take(limit as usize).map(|(number, job)| JobChange {
                number,
                job: Some(job.row.clone()),
            });
            Ok(page.collect())
        })
    }

    async fn changes(&self, after: i64, limit: u32) -> Result<Vec<JobChange>> {
        self.read(|tables| {
            let changes = tables.changes.range(after.saturating_add(1)..);
            let page = changes.take(limit as usize).map(|(number, id)| JobChange {
                number: *number,
                job: tables.jobs.get(id).map(|job| job.row.clone()),
            });
            Ok(page.collect())
        })
    }

    async fn newest_change(&self) -> Result<i64> {
        self.read(|tables| Ok(tables.numbers.change))
    }
}

/// Compares how many transactions have changed something.
#[derive(Debug)]
pub struct Watcher {
    store: Store,
    commits: Option<u64>,
}

impl Wakeups for Watcher {
    async fn saw_commit(&mut self) -> Result<bool> {
        let commits = self.store.commits();
        Ok(self.commits.replace(commits) != Some(commits))
    }
}

//! Jobs as they were just recorded: what this process has written last of a job need not be read again for its next change.
//!
//! Nothing in a [`Tracked`] is another program's to change: the schema keeps metadata as it was inserted, and the rest is written by
//! the daemon alone. And an observation is recorded only if the row is the same one (`created_at`), unfinished, and still has the
//! revision on which it is based.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::core::job::JobId;
use crate::core::observe::Tracked;

/// Most bytes of the younger half (8 MiB), so that both take 16 MiB at most. When it is full it becomes the older half, and the
/// jobs in that one go.
const HALF: usize = 8 << 20;

/// A job that takes more bytes is not kept (64 KiB): its body may be small now, and its metadata, titles and challenges large.
const LARGEST: usize = HALF / 128;

/// The jobs, each until it is taken.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<JobId, Tracked>,
    /// Of the young ones.
    bytes: usize,
    old: HashMap<JobId, Tracked>,
}

impl Known {
    /// Keeps a job for a while. It was taken before, if it was there: a job has one poll at a time.
    pub(super) fn keep(&self, job: Tracked) {
        let bytes = job.bytes();
        if bytes > LARGEST {
            return;
        }
        let mut halves = self.0.lock();
        if halves.bytes + bytes > HALF {
            halves.old = std::mem::take(&mut halves.young);
            halves.bytes = 0;
        }
        halves.bytes += bytes;
        halves.young.insert(job.id.clone(), job);
    }

    /// Takes a job, if it is still there.
    pub(super) fn take(&self, id: &JobId) -> Option<Tracked> {
        let mut halves = self.0.lock();
        match halves.young.remove(id) {
            Some(job) => {
                halves.bytes -= job.bytes();
                Some(job)
            }
            None => halves.old.remove(id),
        }
    }

    /// Drops jobs whose rows another program has changed: a change that is based on what was kept would be refused.
    pub(super) fn forget<'a>(&self, ids: impl Iterator<Item = &'a JobId>) {
        for id in ids {
            self.take(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::job::JobState;
    use crate::core::time::UnixMillis;

    fn job(number: usize, bytes: usize) -> Tracked {
        Tracked {
            id: id(number),
            state: JobState::InProgress,
            revision: 1,
            created_at: UnixMillis(1),
            metadata: None,
            resource: Some("x".repeat(bytes)),
            remote_updated: None,
            steps: Vec::new(),
            last_seq: 1,
            last_sequence: 1,
            event_bytes: 1,
            limited: false,
        }
    }

    fn id(number: usize) -> JobId {
        JobId::parse(&number.to_string()).unwrap()
    }

    #[test]
    fn jobs_are_kept_until_they_are_taken_or_two_halves_of_others_came() {
        const BYTES: usize = LARGEST / 2;
        let known = Known::default();
        known.keep(job(0, BYTES));
        assert_eq!(known.take(&id(0)), Some(job(0, BYTES)));
        assert_eq!(known.take(&id(0)), None);
        let fit = HALF / job(0, BYTES).bytes();
        for number in 0..3 * fit {
            known.keep(job(number, BYTES));
        }
        let is_there = |number: &usize| known.take(&id(*number)).is_some();
        let there: Vec<usize> = (0..3 * fit).filter(is_there).collect();
        assert_eq!(there, Vec::from_iter(fit..3 * fit));
        assert_eq!(known.0.lock().bytes, 0);
    }

    #[test]
    fn a_large_job_is_not_kept() {
        let known = Known::default();
        known.keep(job(0, LARGEST));
        assert_eq!(known.take(&id(0)), None);
    }
}

//! Jobs that have ended lately: a row that was read before its job ended may be noticed after that.

use std::collections::{HashSet, VecDeque};

use crate::job::JobId;
use crate::rows::JobRow;
use crate::time::Monotonic;

/// Most jobs that are kept.
const MOST: usize = 1024;

/// The last ones that have ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The oldest first.
    jobs: VecDeque<(Monotonic, JobId)>,
    /// When the last one ended of those that are not kept any more.
    dropped: Option<Monotonic>,
}

impl Ended {
    /// Keeps a job that has just ended.
    pub(super) fn note(&mut self, id: JobId, now: Monotonic) {
        if self.jobs.len() == MOST {
            self.dropped = self.jobs.pop_front().map(|(at, _)| at);
        }
        self.jobs.push_back((now, id));
    }

    /// Of rows that were read at that time: those of jobs that may have ended since are not blank.
    pub(super) fn doubt(&self, rows: &mut [JobRow], read_at: Monotonic) {
        let is_since = |at: &Monotonic| *at >= read_at;
        let are_dropped = self.dropped.as_ref().is_some_and(is_since);
        let jobs = self.jobs.iter().rev();
        let since: HashSet<&JobId> = jobs
            .take_while(|(at, _)| is_since(at))
            .map(|(_, id)| id)
            .collect();
        if are_dropped || !since.is_empty() {
            for row in rows {
                row.is_blank &= !are_dropped && !since.contains(&row.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    /// Whether these rows, read at that time, are blank.
    fn are_blank<const N: usize>(ended: &Ended, ids: [&str; N], read_at: u64) -> [bool; N] {
        let mut rows = ids.map(row);
        ended.doubt(&mut rows, Monotonic(read_at));
        rows.map(|row| row.is_blank)
    }

    #[test]
    fn a_row_is_doubted_whose_job_has_ended_since_it_was_read() {
        let mut ended = Ended::default();
        for (id, at) in [("a", 10), ("b", 20)] {
            ended.note(JobId::parse(id).unwrap(), Monotonic(at));
        }
        assert_eq!(are_blank(&ended, ["a", "b", "c"], 10), [false, false, true]);
        assert_eq!(are_blank(&ended, ["a", "b", "c"], 11), [true, false, true]);
        assert_eq!(are_blank(&ended, ["a", "b", "c"], 21), [true; 3]);
    }

    #[test]
    fn rows_are_doubted_that_were_read_before_the_jobs_that_are_kept_have_ended() {
        let mut ended = Ended::default();
        for number in 0..=MOST {
            let id = JobId::parse(&number.to_string()).unwrap();
            ended.note(id, Monotonic(number as u64));
        }
        assert_eq!(are_blank(&ended, ["a", "0"], 0), [false, false]);
        assert_eq!(are_blank(&ended, ["a", "1"], 1), [true, false]);
    }
}

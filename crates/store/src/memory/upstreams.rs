//! What is recorded of the API, and how an operator ends its pauses.

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::store::Store;
use super::tables::Request;
use crate::{Result, Resumed, Upstreams};

impl Upstreams for Store {
    async fn upstream_pause(&self, origin: &str) -> Result<Option<UnixMillis>> {
        self.read(|tables| Ok(tables.upstreams.get(origin).copied()))
    }

    async fn upstream_resumes(&self) -> Result<i64> {
        self.read(|tables| Ok(tables.numbers.resumes))
    }

    async fn resume_upstreams(&self) -> Result<Resumed> {
        self.write(|tables, now| {
            let rows = tables.upstreams.iter();
            let rows: Vec<_> = rows
                .map(|(origin, until)| (origin.clone(), *until))
                .collect();
            for (origin, _) in &rows {
                tables.upstreams.put(origin.clone(), UnixMillis(0));
            }
            tables.numbers.resumes += 1;
            let unfinished = tables.jobs_by_number().filter(|job| !job.has_ended());
            let throttled = unfinished.filter(|job| {
                let progress = &job.row.progress;
                let error = progress.last_error.as_deref().unwrap_or_default();
                progress.consecutive_errors > 0
                    && error.starts_with("throttled (")
                    && !job.row.poll_requested
            });
            let throttled: Vec<JobId> = throttled.map(|job| job.row.id.clone()).collect();
            for id in &throttled {
                tables.request(id, Request::Poll);
            }
            Ok(Resumed {
                pauses: rows.into_iter().filter(|(_, until)| *until > now).collect(),
                jobs: throttled.len() as u64,
            })
        })
    }
}

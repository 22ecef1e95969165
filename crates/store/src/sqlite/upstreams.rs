//! What is recorded of the API, and how an operator ends its pauses.

use super::rows::Reading;
use super::store::{Store, execute, fetch_all, query};
use crate::{Result, Resumed, Upstreams};
use jobtrackd_core::time::UnixMillis;

const PAUSE: &str = "SELECT max(paused_until) FROM upstreams WHERE origin = ?1";

const PAUSES: &str =
    "SELECT origin, paused_until FROM upstreams WHERE paused_until > ?1 ORDER BY origin";

const RESUMES: &str = "SELECT coalesce((SELECT resumes FROM upstreams WHERE origin = ''), 0)";

const RESUME: &str = "UPDATE upstreams SET paused_until = 0";

/// The row without an origin, since a pause need not have been recorded.
const COUNT_RESUME: &str = "
    INSERT INTO upstreams (origin, paused_until, resumes) VALUES ('', 0, 1)
    ON CONFLICT (origin) DO UPDATE SET resumes = resumes + 1";

/// Jobs that wait because the API throttled them, found by the beginning of the tracker's error.
const POLL_THROTTLED: &str = "
    UPDATE jobs SET poll_requested = 1
    WHERE finished_at IS NULL AND consecutive_errors > 0 AND last_error GLOB 'throttled (*' AND poll_requested = 0";

impl Upstreams for Store {
    async fn upstream_pause(&self, origin: &str) -> Result<Option<UnixMillis>> {
        let until: Option<i64> = self.value(query!(PAUSE, origin)).await?;
        Ok(until.map(UnixMillis))
    }

    async fn upstream_resumes(&self) -> Result<i64> {
        self.value(query!(RESUMES)).await
    }

    async fn resume_upstreams(&self) -> Result<Resumed> {
        self.write(async |connection| {
            let now = self.shared.clock.now();
            let rows = fetch_all(connection, query!(PAUSES, now.0)).await?;
            let pauses = rows.iter().map(|row| {
                let r = Reading::new(row, "upstreams", "origin");
                Ok((r.get("origin")?, r.get("paused_until")?))
            });
            let pauses = pauses.collect::<Result<_>>()?;
            for sql in [RESUME, COUNT_RESUME] {
                execute(connection, query!(sql)).await?;
            }
            let throttled = execute(connection, query!(POLL_THROTTLED)).await?;
            Ok(Resumed {
                pauses,
                jobs: throttled,
            })
        })
        .await
    }
}

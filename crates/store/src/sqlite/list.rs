//! Jobs in pages, the newest first, and the search among them.

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::jobs::{by_job, summary, summary_columns};
use super::rows::Reading;
use super::store::{Statement, Store, fetch_all, query};
use super::together::{STEPS_OF_MANY, job_columns};
use crate::{JobFilter, JobPage, Lists, PAGE_BYTES, Result};
use jobtrackd_core::job::{FailureKind, JobId, JobState};
use jobtrackd_core::time::UnixMillis;

/// Most jobs that a search reads.
const SEARCHED_JOBS: u32 = 100_000;

/// The conditions on a listed job besides its position: the webhook, and the text. The text is searched in metadata as it is
/// written and, if that has escapes (`M\u00fcller`), without them.
macro_rules! listed {
    () => {
        " AND (?6 IS NULL OR j.webhook = ?6
               OR EXISTS (SELECT 1 FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
                          WHERE e.job_id = j.id AND d.webhook = ?6))
          AND (?7 IS NULL OR instr(lower(j.id), ?7) OR instr(lower(j.metadata), ?7)
               OR instr(lower(j.last_error), ?7)
               OR (instr(j.metadata, '\\') AND EXISTS (
                   SELECT 1 FROM json_tree(CASE WHEN json_valid(j.metadata) THEN j.metadata END) AS t
                   WHERE instr(lower(t.atom), ?7) OR (typeof(t.key) = 'text' AND instr(lower(t.key), ?7))))
               OR EXISTS (SELECT 1 FROM json_each(j.failure) WHERE instr(lower(value), ?7)))
          AND (?9 IS NULL OR j.failure ->> '$.kind' = ?9)"
    };
}

/// The jobs of a part of an order, the last first: each with about as many bytes as it takes in JSON, a constant and its texts.
macro_rules! list {
    ($at:literal, $more:literal) => {
        concat!(
            "SELECT j.id, 500 + coalesce(octet_length(j.metadata), 0) + coalesce(octet_length(j.failure), 0)
                    + coalesce(octet_length(j.last_error), 0)
                    + (SELECT coalesce(sum(200 + octet_length(title) + octet_length(status)
                                           + coalesce(octet_length(result), 0)), 0)
                       FROM steps WHERE job_id = j.id) AS bytes
             FROM jobs AS j
             WHERE (",
            $at,
            ", j.id) < (?1, ?2) AND (",
            $at,
            ", j.id) >= (?4, ?5)",
            $more,
            listed!(),
            " ORDER BY ",
            $at,
            " DESC, j.id DESC LIMIT ?3"
        )
    };
}

pub(super) const LIST: &str = list!("j.created_at", "");

pub(super) const LIST_OF_STATE: &str = list!("j.created_at", " AND j.state = ?8");

/// By the index of ends; the few that ended at the same moment are sorted by id.
pub(super) const LIST_OF_ENDED: &str = list!(
    "j.finished_at",
    " AND j.finished_at IS NOT NULL AND (?8 IS NULL OR j.state = ?8) AND j.created_at BETWEEN ?10 AND ?11"
);

pub(super) const LISTED: &str = concat!(
    "SELECT ",
    summary_columns!(),
    " FROM json_each(?1) AS wanted CROSS JOIN jobs AS j ON j.id = wanted.value ORDER BY wanted.key"
);

/// Ids are compared byte by byte, and none has a character above the tilde.
pub(super) const IDS_BEGINNING: &str =
    "SELECT id FROM jobs WHERE id >= ?1 AND id < ?1 || char(127) ORDER BY id LIMIT ?2";

pub(super) const NEWEST_IDS: &str =
    "SELECT id FROM jobs ORDER BY created_at DESC, id DESC LIMIT ?1";

/// The last job that a search reads.
macro_rules! search_end {
    ($at:literal, $more:literal) => {
        concat!(
            "SELECT ",
            $at,
            " AS at, j.id FROM jobs AS j WHERE (",
            $at,
            ", j.id) < (?1, ?2) AND (",
            $at,
            ", j.id) >= (?4, ?5)",
            $more,
            " ORDER BY ",
            $at,
            " DESC, j.id DESC LIMIT 1 OFFSET ?3"
        )
    };
}

pub(super) const SEARCH_END: &str = search_end!("j.created_at", "");
pub(super) const SEARCH_END_OF_STATE: &str = search_end!("j.created_at", " AND j.state = ?8");
pub(super) const SEARCH_END_OF_ENDED: &str =
    search_end!("j.finished_at", " AND j.finished_at IS NOT NULL");

impl Lists for Store {
    async fn list(&self, filter: &JobFilter) -> Result<JobPage> {
        let mut range = Range::of(filter);
        if let Some(end) = self.search_end(filter).await? {
            range.last = (end.0.0, end.1.to_string());
        }
        let sql = match filter.state {
            _ if filter.is_of_ended() => LIST_OF_ENDED,
            Some(_) => LIST_OF_STATE,
            None => LIST,
        };
        let text = filter.text.as_ref().map(|text| text.to_ascii_lowercase());
        // One job more than wanted tells whether there are more.
        let query = range
            .bound(sql, i64::from(filter.limit) + 1)
            .bind(&filter.webhook)
            .bind(text)
            .bind(filter.state.map(JobState::as_str))
            .bind(filter.failure.map(FailureKind::as_str))
            .bind(filter.since.map_or(i64::MIN, |at| at.0))
            .bind(filter.until.map_or(i64::MAX, |at| at.0));
        let (jobs, steps, more) = self
            .snapshot(async |snapshot| {
                let (ids, more) = keys(query.fetch(&mut *snapshot), filter.limit).await?;
                let ids = serde_json::to_string(&ids).unwrap_or_default();
                let jobs = fetch_all(snapshot, query!(LISTED, &ids)).await?;
                let steps = fetch_all(snapshot, query!(STEPS_OF_MANY, ids)).await?;
                Ok((jobs, steps, more))
            })
            .await?;
        let mut steps = by_job(&steps)?;
        let jobs = jobs.iter().map(|row| {
            let id: &str = row.try_get("id")?;
            summary(row, steps.remove(id).unwrap_or_default())
        });
        Ok(JobPage {
            jobs: jobs.collect::<Result<_>>()?,
            more,
        })
    }

    async fn newest_ids(&self, limit: u32) -> Result<Vec<JobId>> {
        let rows = self.rows(query!(NEWEST_IDS, limit)).await?;
        // A row whose id cannot be read is left out.
        let ids = rows.iter().map(|row| row.try_get("id").map(JobId::parse));
        Ok(ids.flatten().flatten().collect())
    }

    async fn ids_beginning(&self, start: &str, limit: u32) -> Result<Vec<JobId>> {
        let rows = self.rows(query!(IDS_BEGINNING, start, limit)).await?;
        let ids = rows.iter().map(|row| row.try_get("id").map(JobId::parse));
        Ok(ids.flatten().flatten().collect())
    }

    async fn search_end(&self, filter: &JobFilter) -> Result<Option<(UnixMillis, JobId)>> {
        if !filter.is_search() {
            return Ok(None);
        }
        let sql = match filter.state {
            _ if filter.is_of_ended() => SEARCH_END_OF_ENDED,
            Some(_) => SEARCH_END_OF_STATE,
            None => SEARCH_END,
        };
        let searched = filter.searched.unwrap_or(SEARCHED_JOBS).max(1);
        let query = Range::of(filter)
            .bound(sql, i64::from(searched) - 1)
            .bind(None::<&str>)
            .bind(None::<&str>)
            .bind(filter.state.map(JobState::as_str));
        let rows = self.rows(query).await?;
        let end = rows.first().map(|row| {
            let r = Reading::new(row, "jobs", "id");
            Ok((r.get("at")?, r.get("id")?))
        });
        end.transpose()
    }
}

/// The jobs of a page, and whether there are more. The rest of the keys is not read.
async fn keys(
    mut rows: BoxStream<'_, Result<SqliteRow, sqlx::Error>>,
    limit: u32,
) -> Result<(Vec<String>, bool), sqlx::Error> {
    let (mut ids, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        if ids.len() >= limit as usize || bytes >= i64::from(PAGE_BYTES) {
            return Ok((ids, true));
        }
        ids.push(row.try_get("id")?);
        bytes += row.try_get::<i64, _>("bytes")?;
    }
    Ok((ids, false))
}

/// Which part of the list's order is read.
struct Range {
    /// The first one comes after this position.
    before: (i64, String),
    /// The last one is here or before.
    last: (i64, String),
}

impl Range {
    fn of(filter: &JobFilter) -> Self {
        // The first page begins at a bound above every job; no id is before the empty one.
        let after = filter.after.as_ref();
        let after = after.map(|(at, id)| (at.0, id.to_string()));
        let (since, until) = filter.times();
        let until = until.map(|at| (at.0.saturating_add(1), String::new()));
        let first = after.into_iter().chain(until).min();
        Self {
            before: first.unwrap_or((i64::MAX, String::new())),
            last: (since.map_or(i64::MIN, |at| at.0), String::new()),
        }
    }

    fn bound(self, sql: &'static str, limit: i64) -> Statement<'static> {
        let (before, last) = (self.before, self.last);
        query!(sql, before.0, before.1, limit, last.0, last.1)
    }
}

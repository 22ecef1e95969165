//! The remote jobs of one user, found by a table of users and jobs.

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use super::bulk::json;
use super::rows::Reading;
use super::store::{Store, execute, query};
use crate::{PAGE_BYTES, Recordable, Result, UserFilter, UserPage};
use jobtrackd_core::resource::{leads_to, users_of};

/// Most jobs that one request for a connection's jobs reads: only the remote job names the connection.
const SEARCHED: u32 = 500;

/// Rows of users to whom the job no longer belongs.
pub(super) const FORGET_USERS: &str = "
    DELETE FROM job_users WHERE (user, created_at, job_id) IN (
        SELECT u.user, u.created_at, u.job_id
        FROM json_each(?1) AS v CROSS JOIN job_users AS u ON u.job_id = v.value ->> 'job_id'
        WHERE u.user NOT IN (SELECT value FROM json_each(v.value, '$.users')))";

pub(super) const RECORD_USERS: &str = "
    INSERT OR IGNORE INTO job_users (user, created_at, job_id)
    SELECT u.value, j.created_at, j.id
    FROM json_each(?1) AS v CROSS JOIN jobs AS j ON j.id = v.value ->> 'job_id'
    CROSS JOIN json_each(v.value, '$.users') AS u";

/// The remote jobs are read only of rows that fit.
pub(super) const JOBS_OF_USER: &str = "
    SELECT j.id, j.created_at, j.resource
    FROM (
        SELECT job_id, created_at, sum(bytes) OVER (ORDER BY created_at DESC, job_id DESC) - bytes AS before
        FROM (
            SELECT u.job_id, u.created_at, coalesce(octet_length(jobs.resource), 0) AS bytes
            FROM job_users AS u CROSS JOIN jobs ON jobs.id = u.job_id
            WHERE u.user = ?1 AND (u.created_at, u.job_id) < (?2, ?3)
            ORDER BY u.created_at DESC, u.job_id DESC LIMIT ?4
        )
    ) AS page CROSS JOIN jobs AS j ON j.id = page.job_id
    WHERE page.before < ?5 ORDER BY page.created_at DESC, page.job_id DESC";

#[derive(Serialize)]
struct UsersRow<'a> {
    job_id: &'a str,
    users: Vec<String>,
}

/// Records to which users the jobs belong, according to their observations.
pub(super) async fn record_users<'a>(
    connection: &mut SqliteConnection,
    seen: impl Iterator<Item = &'a Recordable>,
) -> Result<()> {
    let rows: Vec<UsersRow<'_>> = seen
        .filter_map(|each| {
            let resource = each.observation.resource.as_deref()?;
            let users = users_of(resource).iter().map(ToString::to_string).collect();
            let job_id = each.observation.job_id.as_str();
            Some(UsersRow { job_id, users })
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let rows = json(&rows)?;
    for sql in [FORGET_USERS, RECORD_USERS] {
        execute(connection, query!(sql, &rows)).await?;
    }
    Ok(())
}

impl Store {
    /// Remote jobs whose source or results name a user, newest first; at most 4 MiB and one job more. For one connection it
    /// reads at most 500 jobs of the user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn jobs_of_user(&self, filter: &UserFilter) -> Result<UserPage> {
        let after = filter.after.as_ref();
        let (at, id) = after.map_or((i64::MAX, ""), |(at, id)| (at.0, id.as_str()));
        let searched = match filter.connection {
            Some(_) => SEARCHED,
            None => filter.limit,
        };
        // One job more than wanted tells whether there are more.
        let limit = i64::from(searched) + 1;
        let query = query!(JOBS_OF_USER, &filter.user, at, id, limit, PAGE_BYTES);
        let rows = self.rows(query).await?;
        let mut more = rows.len() > searched as usize;
        let (mut resources, mut last, mut bytes) = (Vec::new(), None, 0);
        for row in rows.into_iter().take(searched as usize) {
            if resources.len() >= filter.limit as usize {
                more = true;
                break;
            }
            let r = Reading::new(&row, "jobs", "id");
            last = Some((r.get("created_at")?, r.get("id")?));
            let resource = r.lossy_text("resource")?.unwrap_or_default();
            bytes += resource.len();
            let connection = filter.connection.as_deref();
            if connection.is_none_or(|wanted| leads_to(&resource, &filter.user, wanted)) {
                resources.push(resource);
            }
        }
        more = more || bytes >= PAGE_BYTES as usize;
        Ok(UserPage {
            resources,
            next: last.filter(|_| more),
        })
    }
}

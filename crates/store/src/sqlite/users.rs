//! The remote jobs of one user, found by a table of users and jobs.

use sqlx::sqlite::SqliteConnection;

use super::bulk::{Bulk, json};
use super::rows::Reading;
use super::store::{Store, query};
use crate::{PAGE_BYTES, Recordable, Result, UserFilter, UserPage, Users};
use jobtrackd_core::user::JobUser;

/// Most jobs of a user that one request for those of a connection goes through.
const SEARCHED: u32 = 500;

/// Rows of users to whom the job no longer belongs.
pub(super) static FORGET_USERS: Bulk<2> = Bulk::new(
    "WITH v (job_id, users) AS (VALUES {rows})
     DELETE FROM job_users WHERE (user, created_at, job_id) IN (
        SELECT u.user, u.created_at, u.job_id
        FROM v CROSS JOIN jobs AS j ON j.id = v.job_id
        CROSS JOIN job_users AS u ON u.created_at = j.created_at AND u.job_id = j.id
        WHERE u.user NOT IN (SELECT value FROM json_each(v.users)))",
);

pub(super) static RECORD_USERS: Bulk<3> = Bulk::new(
    "WITH v (job_id, user, connections) AS (VALUES {rows})
     INSERT INTO job_users (user, created_at, job_id, connections)
     SELECT v.user, j.created_at, j.id, v.connections
     FROM v CROSS JOIN jobs AS j ON j.id = v.job_id
     WHERE true
     ON CONFLICT DO UPDATE SET connections = excluded.connections",
);

/// The remote jobs are read only of rows that fit.
pub(super) const JOBS_OF_USER: &str = "
    SELECT j.id, j.created_at, page.is_wanted, iif(page.is_wanted, j.resource, NULL) AS resource
    FROM (
        SELECT job_id, created_at, is_wanted,
               sum(iif(is_wanted, bytes, 0)) OVER (ORDER BY created_at DESC, job_id DESC) - iif(is_wanted, bytes, 0) AS before
        FROM (
            SELECT u.job_id, u.created_at, coalesce(octet_length(jobs.resource), 0) AS bytes,
                   ?6 IS NULL OR EXISTS (SELECT 1 FROM json_each(u.connections) WHERE value = ?6) AS is_wanted
            FROM job_users AS u CROSS JOIN jobs ON jobs.id = u.job_id
            WHERE u.user = ?1 AND (u.created_at, u.job_id) < (?2, ?3)
            ORDER BY u.created_at DESC, u.job_id DESC LIMIT ?4
        )
    ) AS page CROSS JOIN jobs AS j ON j.id = page.job_id
    WHERE page.before < ?5 ORDER BY page.created_at DESC, page.job_id DESC";

/// Records to which users the jobs belong, according to their observations.
pub(super) async fn record_users<'a>(
    connection: &mut SqliteConnection,
    seen: impl Iterator<Item = &'a Recordable>,
) -> Result<()> {
    let (mut known, mut users) = (Vec::new(), Vec::new());
    for Recordable { observation, .. } in seen {
        let Some(remote) = &observation.remote else {
            continue;
        };
        // Before the first observation it belongs to nobody.
        if observation.revision > 0 {
            let names: Vec<&str> = remote.users.iter().map(|it| it.user.as_str()).collect();
            known.push([(&observation.job_id).into(), json(&names)?.into()]);
        }
        for JobUser { user, connections } in &remote.users {
            let connections = json(connections)?;
            users.push([
                (&observation.job_id).into(),
                user.into(),
                connections.into(),
            ]);
        }
    }
    FORGET_USERS.run(connection, known.into_iter()).await?;
    RECORD_USERS.run(connection, users.into_iter()).await?;
    Ok(())
}

impl Users for Store {
    async fn jobs_of_user(&self, filter: &UserFilter) -> Result<UserPage> {
        let after = filter.after.as_ref();
        let (at, id) = after.map_or((i64::MAX, ""), |(at, id)| (at.0, id.as_str()));
        let searched = match filter.connection {
            Some(_) => SEARCHED,
            None => filter.limit,
        };
        // One job more than wanted tells whether there are more.
        let limit = i64::from(searched) + 1;
        let (user, connection) = (&filter.user, &filter.connection);
        let query = query!(JOBS_OF_USER, user, at, id, limit, PAGE_BYTES, connection);
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
            if r.get("is_wanted")? {
                let resource = r.lossy_text("resource")?.unwrap_or_default();
                bytes += resource.len();
                resources.push(resource);
            }
        }
        let more = more || bytes >= PAGE_BYTES as usize;
        Ok(UserPage {
            resources,
            next: last.filter(|_| more),
        })
    }
}

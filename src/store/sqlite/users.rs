//! The remote jobs of one user, found in what the API said of them.

use serde_json::Value;

use super::rows::Reading;
use super::{SqliteStore, StoreError};
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::store::{PAGE_BYTES, UserFilter, UserPage};

/// Most jobs that one request looks at: the user stands in the API's text, which is in no index.
const WINDOW: i64 = 10_000;

/// The last job of the window that begins behind (?1, ?2).
pub(super) const WINDOW_END: &str = "
    SELECT created_at, id FROM jobs WHERE (created_at, id) < (?1, ?2)
    ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?3";

/// Texts without the user's id are passed over; those with it are looked at more closely.
pub(super) const JOBS_OF_USER: &str = "
    SELECT j.id, j.created_at, j.resource
    FROM (
        SELECT id, sum(bytes) OVER (ORDER BY created_at DESC, id DESC) - bytes AS before, created_at
        FROM (
            SELECT id, created_at, octet_length(resource) AS bytes
            FROM (
                SELECT id, created_at, resource FROM jobs WHERE (created_at, id) < (?1, ?2)
                ORDER BY created_at DESC, id DESC LIMIT ?3
            )
            WHERE instr(resource, ?4) > 0 LIMIT ?5
        )
    ) AS page CROSS JOIN jobs AS j ON j.id = page.id
    WHERE page.before < ?6 ORDER BY page.created_at DESC, page.id DESC";

impl SqliteStore {
    pub(in crate::store) async fn jobs_of_user(
        &self,
        filter: &UserFilter,
    ) -> Result<UserPage, StoreError> {
        let (at, id) = filter
            .after
            .as_ref()
            .map_or((i64::MAX, ""), |(at, id)| (at.0, id.as_str()));
        let (rows, end) = self
            .read(async {
                let mut snapshot = self.shared.readers.begin().await?;
                let rows = sqlx::query(JOBS_OF_USER)
                    .bind(at)
                    .bind(id)
                    .bind(WINDOW)
                    .bind(&filter.user)
                    .bind(i64::from(filter.limit))
                    .bind(PAGE_BYTES)
                    .fetch_all(&mut *snapshot)
                    .await?;
                let end = sqlx::query(WINDOW_END)
                    .bind(at)
                    .bind(id)
                    .bind(WINDOW - 1)
                    .fetch_optional(&mut *snapshot)
                    .await?;
                snapshot.commit().await?;
                Ok((rows, end))
            })
            .await?;
        let mut resources = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        for row in &rows {
            let resource: String = Reading::new(row, "jobs", "id").text("resource")?;
            bytes += resource.len();
            if leads_to(&resource, &filter.user, filter.connection.as_deref()) {
                resources.push(resource);
            }
        }
        let full = rows.len() >= filter.limit as usize || bytes >= PAGE_BYTES as usize;
        let last = if full { rows.last() } else { end.as_ref() };
        let place = |row| -> Result<(UnixMillis, JobId), StoreError> {
            let r = Reading::new(row, "jobs", "id");
            Ok((r.time("created_at")?, r.job_id("id")?))
        };
        Ok(UserPage {
            resources,
            next: last.map(place).transpose()?,
        })
    }
}

/// Whether the job's source, or a result of one of its steps, is a URL below this user (and connection).
fn leads_to(resource: &str, user: &str, connection: Option<&str>) -> bool {
    let Ok(job) = serde_json::from_str::<Value>(resource) else {
        return false;
    };
    let steps = job.get("steps").and_then(Value::as_array);
    let results = steps.into_iter().flatten().flat_map(|step| {
        // A result is an object, or a list of them.
        let result = step.get("result").unwrap_or(&Value::Null);
        match result {
            Value::Array(many) => many.iter().map(|one| &one["url"]).collect(),
            one => vec![&one["url"]],
        }
    });
    std::iter::once(&job["links"]["source"])
        .chain(results)
        .filter_map(Value::as_str)
        .any(|url| is_below(url, user, connection))
}

fn is_below(url: &str, user: &str, connection: Option<&str>) -> bool {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url.trim_start_matches('/'),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let Some(at) = parts
        .windows(2)
        .position(|pair| pair[0] == "users" && pair[1] == user)
    else {
        return false;
    };
    connection.is_none_or(|wanted| parts[at + 2..].starts_with(&["connections", wanted]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_belongs_to_whom_its_source_or_a_result_leads_to() {
        let source = r#"{"links":{"source":"https://api/users/u1/connections/c1"}}"#;
        let object = r#"{"steps":[{"result":null},{"result":{"url":"/users/u1/accounts?filter=x"}}],"links":null}"#;
        let list =
            r#"{"steps":[{"result":[{"type":"link","url":"/v3/users/u1/connections/c1"}]}]}"#;
        let elsewhere = [
            r#"{"links":{"source":"/users/u11/connections/u1"},"id":"u1"}"#,
            r#"{"links":{"source":"/reports?of=/users/u1/x"}}"#,
            r#"{"steps":[{"title":"/users/u1","result":{"code":"/users/u1"}}]}"#,
            "not json, /users/u1/x",
        ];
        for resource in [source, object, list] {
            assert!(leads_to(resource, "u1", None), "{resource}");
            let connected = leads_to(resource, "u1", Some("c1"));
            assert_eq!(connected, resource != object, "{resource}");
            assert!(!leads_to(resource, "u1", Some("c")), "{resource}");
        }
        for resource in elsewhere {
            assert!(!leads_to(resource, "u1", None), "{resource}");
        }
    }
}

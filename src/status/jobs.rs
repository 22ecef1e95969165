//! `GET /jobs` and `POST /jobs`: the tracker's records of jobs, and enqueuing one.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Parts;
use super::cursor::JobCursor;
use super::envelope::json_of;
use super::query::{Limit, Parameters};
use super::refusal::Refusal;
use crate::core::enqueue::EARLIEST;
use crate::core::job::{JobId, JobState};
use crate::core::time::UnixMillis;
use crate::record::JobRecord;
use crate::record::status::{Any, Page};
use crate::store::{JobFilter, Jobs as _, Lists as _, NewJob, StoreError};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Only jobs in this state
    #[param(value_type = Option<crate::record::schema::JobState>)]
    state: Option<JobState>,
    /// At most this many jobs, 1 to 500
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Limit,
    /// `next` of the page before
    #[param(value_type = Option<String>)]
    after: Option<JobCursor>,
}

/// The tracker's records of jobs, newest first
#[utoipa::path(
    get,
    path = "/jobs",
    tag = "jobs",
    params(Listing),
    responses(
        (status = 200, description = "A page of jobs, the latest inserted first", body = Page<JobRecord<'static>>),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn list(
    State(parts): State<Parts>,
    Parameters(query): Parameters<Listing>,
) -> Result<Response, Refusal> {
    let filter = JobFilter {
        state: query.state,
        after: query.after.map(|JobCursor(at, id)| (at, id)),
        limit: query.limit.0,
        ..JobFilter::default()
    };
    let reserved = parts.budget.page().await?;
    let page = parts.store.list(&filter).await;
    let page = page.map_err(|error| Refusal::unreadable(&error))?;
    let next = page.jobs.last().filter(|_| page.more).map(|job| &job.row);
    let next = next.map(|row| JobCursor(row.created_at, row.id.clone()).text());
    let data = page.jobs.iter().map(JobRecord::from).collect();
    reserved.json_of(&Page::of(data, next)).await
}

/// A job to enqueue: the row's columns. Those that may be null may be left out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enqueued {
    /// 1 to 200 characters of `A-Z a-z 0-9 . _ ~ -`, not only dots
    #[schema(min_length = 1, max_length = 200)]
    id: String,
    /// Where to poll, when not at `/jobs/{id}`: a path, or a URL of the API's origin
    #[schema(max_length = 2048)]
    url: Option<String>,
    /// At most 16 KiB, part of every event unchanged
    #[schema(value_type = Option<std::collections::HashMap<String, Any>>)]
    metadata: Option<Box<RawValue>>,
    /// The only webhook that gets its events, which must be configured; null: all that subscribe
    #[schema(min_length = 1, max_length = 200)]
    webhook: Option<String>,
    /// Higher is polled first when requests are short; 0 by default
    priority: Option<i64>,
    /// The job fails as expired past this: RFC 3339, or Unix milliseconds; in the future, and later than `not_before`
    #[schema(value_type = Option<super::openapi::Moment>)]
    deadline_at: Option<Box<RawValue>>,
    /// No poll before this: RFC 3339, or Unix milliseconds
    #[schema(value_type = Option<super::openapi::Moment>)]
    not_before: Option<Box<RawValue>>,
}

/// Enqueues a job
///
/// The same as an INSERT into the table. A job that exists is not changed, so a request may be repeated.
#[utoipa::path(
    post,
    path = "/jobs",
    tag = "jobs",
    request_body = Enqueued,
    responses(
        (status = 200, description = "There is a job with this id; its record, unchanged", body = JobRecord<'static>,
         headers(("location" = String, description = "The job's path"))),
        (status = 202, description = "Inserted and followed from now on; its record", body = JobRecord<'static>,
         headers(("location" = String, description = "The job's path"))),
    )
)]
pub(super) async fn enqueue(State(parts): State<Parts>, body: Bytes) -> Result<Response, Refusal> {
    let body: Enqueued = serde_json::from_slice(&body)
        .map_err(|error| Refusal::parameter(format!("The body cannot be read: {error}")))?;
    let job = NewJob {
        id: body.id,
        url: body.url,
        metadata: body.metadata.map(|json| json.get().to_owned()),
        webhook: body.webhook,
        priority: body.priority.unwrap_or(0),
        deadline_at: moment("deadline_at", body.deadline_at.as_deref())?,
        not_before: moment("not_before", body.not_before.as_deref())?,
    };
    if let Err(refusal) = check(&parts, &job)
        && !exists(&parts, &job.id).await?
    {
        return Err(refusal);
    }
    let permit = parts.budget.write()?;
    // In a task: a client that disconnects must not interrupt a transaction.
    let inserted = {
        let (store, job) = (parts.store.clone(), job.clone());
        let inserting = async move {
            let _permit = permit;
            store.enqueue(&job).await
        };
        tokio::spawn(inserting).await
    };
    let inserted = inserted.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())));
    let new = inserted.map_err(|error| match error {
        StoreError::Refused(reason) => Refusal::parameter(reason),
        error => Refusal::unwritable(&error),
    })?;
    if new {
        parts.wakeup.notify_one();
    }
    let id = JobId::parse(&job.id).map_err(|error| Refusal::parameter(error.to_string()))?;
    // A new record is small; that of a job that exists may have large results.
    let reserved = match new {
        true => None,
        false => Some(parts.budget.job().await?),
    };
    let record = parts.store.summary(&id).await;
    let record = record.map_err(|error| Refusal::unreadable(&error))?;
    let record = record.ok_or_else(Refusal::no_such_job)?;
    let record = JobRecord::from(&record);
    let mut response = match reserved {
        None => (StatusCode::ACCEPTED, json_of(&record)).into_response(),
        Some(reserved) => reserved.json_of(&record).await?,
    };
    if let Ok(path) = HeaderValue::from_str(&format!("/jobs/{id}")) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    Ok(response)
}

/// Whether a job of this id exists: a repeated request is answered as before, even if the rules now refuse its deadline or
/// webhook.
async fn exists(parts: &Parts, id: &str) -> Result<bool, Refusal> {
    let Ok(id) = JobId::parse(id) else {
        return Ok(false);
    };
    match parts.store.job(&id).await {
        Ok(row) => Ok(row.is_some()),
        Err(StoreError::Inconsistent { .. }) => Ok(true),
        Err(error) => Err(Refusal::unreadable(&error)),
    }
}

/// The rules that the table cannot check. A wrong id is refused by the table.
pub(super) fn check(parts: &Parts, job: &NewJob) -> Result<(), Refusal> {
    let rules = parts.rules.borrow().clone();
    rules
        .check(
            job.webhook.as_deref(),
            job.deadline_at,
            job.not_before,
            parts.clock.now(),
        )
        .map_err(|wrong| Refusal::parameter(wrong.to_string()))?;
    let upstream = parts.upstream.borrow().clone();
    match JobId::parse(&job.id).map(|id| upstream.target(&id, job.url.as_deref())) {
        Ok(Err(wrong)) => Err(Refusal::parameter(wrong.to_string())),
        _ => Ok(()),
    }
}

/// A moment as text or as number; null is none. Numbers that are too early are refused by the table.
fn moment(name: &str, json: Option<&RawValue>) -> Result<Option<UnixMillis>, Refusal> {
    let Some(json) = json.map(RawValue::get) else {
        return Ok(None);
    };
    let at = match serde_json::from_str::<String>(json) {
        Ok(text) => UnixMillis::parse_rfc3339(&text).filter(|at| *at >= EARLIEST),
        Err(_) => serde_json::from_str::<i64>(json).ok().map(UnixMillis),
    };
    let valid = UnixMillis(0)..=UnixMillis::MAX;
    at.filter(|at| valid.contains(at)).map(Some).ok_or_else(|| {
        Refusal::parameter(format!(
            "{name} is a time such as \"2026-11-22T15:04:05Z\" or Unix milliseconds, from 2001 to 9999"
        ))
    })
}

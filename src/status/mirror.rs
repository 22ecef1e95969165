//! `GET /jobs/{id}` and `GET /users/{user}/jobs`: remote jobs as last seen, in the API's own shape and with its error
//! envelope, so that a client that polls the remote API can poll here instead (docs/status-server.md).

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::Parts;
use super::budget::Reservation;
use super::cursor::JobCursor;
use super::envelope::json_bytes;
use super::etag::{has, tag_of};
use super::long_poll::Woken;
use super::openapi::Refused;
use super::query::{Job, Limit, Parameters, User, Wait};
use super::refusal::Refusal;
use crate::core::job::{JobId, JobState};
use crate::record::schema;
use crate::record::status::{RemoteJob, UserJobs};
use crate::store::{Jobs as _, StepRow, UserFilter, Users as _};

/// Other parameters are ignored, as the API does.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Seconds to wait for the job to change, 0 to 60. Answers at once if the job has ended, or if the answer is not the
    /// one that `If-None-Match` names; else at the next change, or unchanged when the time is over.
    #[serde(default)]
    #[param(value_type = Option<u32>, maximum = 60)]
    wait: Wait,
}

/// An answer and its tag.
struct Mirrored {
    body: String,
    reserved: Reservation,
    tag: String,
    state: JobState,
}

/// The remote job as last seen
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    tag = "mirror",
    params(("id" = schema::JobId, Path, description = "The job"), WaitQuery),
    responses(
        (status = 200, description = "The API's last answer about the job, unchanged; before the first good poll a job without steps", body = RemoteJob),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "The job is not tracked here", body = Refused),
    )
)]
pub(super) async fn job(
    State(parts): State<Parts>,
    Job(id): Job,
    Parameters(WaitQuery { wait }): Parameters<WaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // Subscribed before it reads, so that no commit is missed in between.
    let mut commits = parts.waiting.commits.subscribe_job(&id);
    let first = read(&parts, &id).await?;
    let is_conditional = headers.contains_key("if-none-match");
    if wait.0.is_zero() || first.state.is_final() || (is_conditional && !has(&headers, &first.tag))
    {
        return first.answer().await;
    }
    // A request that waits keeps only the tag of the answer.
    let Mirrored { tag, state, .. } = first;
    let _room = parts.waiting.wait()?;
    let deadline = Instant::now() + wait.0;
    loop {
        let woken = parts.waiting.until(deadline, &mut commits).await;
        let now = read(&parts, &id).await?;
        if woken == Woken::End || now.tag != tag || now.state != state {
            return now.answer().await;
        }
    }
}

impl Mirrored {
    async fn answer(self) -> Result<Response, Refusal> {
        Ok(json_bytes(self.reserved.body(self.body).await?))
    }
}

async fn read(parts: &Parts, id: &JobId) -> Result<Mirrored, Refusal> {
    let reserved = parts.budget.job().await?;
    let found = parts.store.resource(id).await;
    let found = found.map_err(|error| Refusal::unreadable(&error))?;
    let found = found.ok_or_else(Refusal::no_such_job)?;
    let body = match found.resource {
        Some(resource) => resource,
        None if found.state == JobState::Pending => stub(id, &[]),
        // The API's answer had no body.
        None => {
            let summary = parts.store.summary(id).await;
            let summary = summary.map_err(|error| Refusal::unreadable(&error))?;
            stub(id, &summary.map_or_else(Vec::new, |job| job.steps))
        }
    };
    Ok(Mirrored {
        tag: tag_of(body.as_bytes()),
        body,
        reserved,
        state: found.state,
    })
}

/// A job that has not been polled yet, or whose API answers without a body.
fn stub(id: &JobId, steps: &[StepRow]) -> String {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            let result: Option<Value> = step
                .result
                .as_deref()
                .and_then(|json| serde_json::from_str(json).ok());
            json!({"title": step.title, "status": step.status, "result": result})
        })
        .collect();
    json!({"type": "job", "id": id, "steps": steps, "links": {"self": format!("/jobs/{id}")}})
        .to_string()
}

/// Other parameters are ignored, as the API does.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfUser {
    /// `connection.id.eq('ID')`: only jobs of this connection
    #[param(value_type = Option<String>, pattern = r"^connection\.id\.eq\('[^']+'\)$")]
    filter: Option<Connection>,
    /// At most this many jobs, 1 to 500
    #[serde(default = "all")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 500)]
    limit: Limit,
    /// `next` of the page before
    #[param(value_type = Option<String>)]
    after: Option<JobCursor>,
}

/// The API has no pages here, so the first one is as long as it can be.
fn all() -> Limit {
    Limit(super::query::MAX_LIMIT)
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Connection(String);

impl TryFrom<String> for Connection {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let id = text.strip_prefix("connection.id.eq('");
        let id = id.and_then(|rest| rest.strip_suffix("')"));
        id.filter(|id| !id.is_empty() && !id.contains('\''))
            .map(|id| Self(id.to_owned()))
            .ok_or("filter is connection.id.eq('ID')")
    }
}

/// The tracked jobs of a user
#[utoipa::path(
    get,
    path = "/users/{user}/jobs",
    tag = "mirror",
    params(("user" = schema::JobId, Path, description = "The user's id at the API"), OfUser),
    responses(
        (status = 200, description = "Remote jobs whose source or results name the user, newest first", body = UserJobs),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn jobs_of_user(
    State(parts): State<Parts>,
    User(user): User,
    Parameters(query): Parameters<OfUser>,
) -> Result<Response, Refusal> {
    let links = json!({"self": format!("/users/{user}/jobs")});
    let filter = UserFilter {
        user,
        connection: query.filter.map(|connection| connection.0),
        after: query.after.map(|JobCursor(at, id)| (at, id)),
        limit: query.limit.0,
    };
    let reserved = parts.budget.page().await?;
    let page = parts.store.jobs_of_user(&filter).await;
    let page = page.map_err(|error| Refusal::unreadable(&error))?;
    let data: Vec<Box<RawValue>> = page
        .resources
        .into_iter()
        .filter_map(|resource| RawValue::from_string(resource).ok())
        .collect();
    let next = page.next.map(|(at, id)| JobCursor(at, id).text());
    reserved.json_of(&UserJobs::of(data, links, next)).await
}

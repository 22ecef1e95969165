//! `GET /jobs/{id}/timeline`: a job's history in one order.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Parts;
use super::cursor::TimelineCursor;
use super::openapi::Refused;
use super::query::{Job, Limit, Parameters};
use super::refusal::Refusal;
use crate::record::schema;
use crate::record::status::Page;
use crate::record::timeline::TimelineRecord;
use crate::store::Timelines as _;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// At most this many entries, 1 to 500
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Limit,
    /// `next` of the page before
    #[param(value_type = Option<String>)]
    after: Option<TimelineCursor>,
}

/// Transitions, events, deliveries and attempts of one job
///
/// By time; at the same moment transitions come first, then events, deliveries and attempts. A delivery is
/// listed at the time of its event, with its present state.
#[utoipa::path(
    get,
    path = "/jobs/{id}/timeline",
    tag = "jobs",
    params(("id" = schema::JobId, Path, description = "The job"), Paging),
    responses(
        (status = 200, description = "A page of the job's history, the earliest first", body = Page<TimelineRecord<'static>>),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "The job is not tracked here", body = Refused),
    )
)]
pub(super) async fn timeline(
    State(parts): State<Parts>,
    Job(id): Job,
    Parameters(query): Parameters<Paging>,
) -> Result<Response, Refusal> {
    let after = query.after.map(|cursor| cursor.0);
    let reserved = parts.budget.page().await?;
    let page = parts
        .store
        .timeline(&id, after.as_ref(), query.limit.0)
        .await;
    let page = page.map_err(|error| Refusal::unreadable(&error))?;
    let page = page.ok_or_else(Refusal::no_such_job)?;
    let last = page.entries.last().filter(|_| page.more);
    let next = last.map(|entry| TimelineCursor(entry.key.clone()).text());
    let data = page.entries.iter().map(TimelineRecord::from).collect();
    reserved.json_of(&Page::of(data, next)).await
}

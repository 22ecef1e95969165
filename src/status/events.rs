//! `GET /events`: events in the order of their commits, for receivers that catch up.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::Parts;
use super::cursor::EventCursor;
use super::envelope::json_of;
use super::query::{Given, JobParameter, Kind, Limit, Wait};
use super::refusal::Refusal;
use super::waiting::Woken;
use crate::record::status::Page;
use crate::record::timeline::CommittedEventRecord;
use crate::store::{EventFilter, EventPage, PAGE_BYTES};

/// How often one request goes on with a search that has found nothing yet.
const SEARCHES: usize = 10;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CatchingUp {
    /// `next` of the page before, or the `cursor` of an event; without it from the first event on
    #[param(value_type = Option<String>, pattern = "^[0-9]+$")]
    after: Option<EventCursor>,
    /// At most this many events, 1 to 500
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Limit,
    /// Seconds to wait for an event when there is none yet, 0 to 60
    #[serde(default)]
    #[param(value_type = Option<u32>, maximum = 60)]
    wait: Wait,
    /// Only events of this type
    #[param(value_type = Option<crate::record::schema::EventTypes>)]
    r#type: Option<Kind>,
    /// Only events of this job
    #[param(value_type = Option<crate::record::schema::JobId>)]
    job: Option<JobParameter>,
}

/// Events in the order of their commits
///
/// `next` is where to go on, also behind the last event there is: a receiver that keeps it and asks again with it gets
/// each event once. It is null only as long as there is no event at all.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(CatchingUp),
    responses(
        (status = 200, description = "A page of events, the earliest first", body = Page<CommittedEventRecord<'static>>),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn events(
    State(parts): State<Parts>,
    Given(given): Given<CatchingUp>,
) -> Result<Response, Refusal> {
    let after = given.after.map(|cursor| cursor.0);
    let mut filter = EventFilter {
        after: after.unwrap_or(0),
        kind: given.r#type.map(|kind| kind.0),
        job: given.job.map(|job| job.0),
        limit: given.limit.0,
        bytes: PAGE_BYTES,
    };
    // Listens before it looks, so that nothing falls between the two.
    let mut commits = match &filter.job {
        Some(id) => parts.waiting.commits.subscribe_job(id),
        None => parts.waiting.commits.subscribe(),
    };
    let deadline = Instant::now() + given.wait.0;
    let mut room = None;
    let (page, reserved) = loop {
        let reserved = parts.budget.page().await?;
        let page = search(&parts, &mut filter).await?;
        if given.wait.0.is_zero() || !page.events.is_empty() || !page.complete {
            break (page, Some(reserved));
        }
        drop(reserved);
        if room.is_none() {
            room = Some(parts.waiting.wait()?);
        }
        if parts.waiting.until(deadline, &mut commits).await == Woken::Over {
            // What came in the last moment comes with the next request.
            break (page, None);
        }
    };
    let next = (page.reached > 0 || after.is_some()).then(|| page.reached.to_string());
    let data = page.events.iter().map(CommittedEventRecord::from).collect();
    let list = Page::of(data, next);
    match reserved {
        Some(reserved) => reserved.json_of(&list).await,
        // It is empty.
        None => Ok(json_of(&list)),
    }
}

/// Goes on until it has found something, has seen everything, or has looked long enough.
async fn search(parts: &Parts, filter: &mut EventFilter) -> Result<EventPage, Refusal> {
    let mut searches = 0;
    loop {
        let page = parts.store.events(filter).await;
        let page = page.map_err(|error| Refusal::unreadable(&error))?;
        searches += 1;
        filter.after = page.reached;
        if !page.events.is_empty() || page.complete || searches == SEARCHES {
            return Ok(page);
        }
    }
}

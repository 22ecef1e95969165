//! `GET /events`: events in the order of their commits, for receivers that catch up.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::Parts;
use super::cursor::EventCursor;
use super::envelope::json_of;
use super::long_poll::Woken;
use super::query::{JobParameter, Kind, Limit, Parameters, Wait};
use super::refusal::Refusal;
use crate::record::status::Page;
use crate::record::timeline::CommittedEventRecord;
use crate::store::{EventFilter, EventPage, Events as _, PAGE_BYTES};

/// Most searches of one request that find nothing.
const SEARCHES: usize = 10;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
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
/// `next` is the cursor of the last event, also when there is none after it: a receiver that keeps it and sends it as
/// `after` gets each event once. It is null only while there is no event at all.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(EventsQuery),
    responses(
        (status = 200, description = "A page of events, the earliest first", body = Page<CommittedEventRecord<'static>>),
        (status = 304, description = "The client has it already"),
    )
)]
pub(super) async fn events(
    State(parts): State<Parts>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Response, Refusal> {
    let after = query.after.map(|cursor| cursor.0);
    let mut filter = EventFilter {
        after: after.unwrap_or(0),
        kind: query.r#type.map(|kind| kind.0),
        job: query.job.map(|job| job.0),
        limit: query.limit.0,
        bytes: PAGE_BYTES,
        detail: false,
    };
    // Subscribed before it reads, so that no commit is missed in between.
    let mut commits = match &filter.job {
        Some(id) => parts.waiting.commits.subscribe_job(id),
        None => parts.waiting.commits.subscribe(),
    };
    let deadline = Instant::now() + query.wait.0;
    let mut room = None;
    let (page, reserved) = loop {
        let reserved = parts.budget.page().await?;
        let page = search(&parts, &mut filter).await?;
        if query.wait.0.is_zero() || !page.events.is_empty() || !page.complete {
            break (page, Some(reserved));
        }
        drop(reserved);
        if room.is_none() {
            room = Some(parts.waiting.wait()?);
        }
        if parts.waiting.until(deadline, &mut commits).await == Woken::End {
            // An event committed at the last moment is left to the next request.
            break (page, None);
        }
    };
    let next = (page.reached > 0 || after.is_some()).then(|| page.reached.to_string());
    let data = page.events.iter().map(CommittedEventRecord::from).collect();
    let list = Page::of(data, next);
    match reserved {
        Some(reserved) => reserved.json_of(&list).await,
        // The page is empty.
        None => Ok(json_of(&list)),
    }
}

/// Reads on until something is found, everything was read, or the limit of searches is reached.
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

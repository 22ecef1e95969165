//! `GET /stream` and `GET /jobs/{id}/stream`: events as they are committed, as server-sent events.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::Parts;
use super::budget::Reservation;
use super::cursor::EventCursor;
use super::long_poll::Woken;
use super::openapi::Refused;
use super::query::{Job, Parameters};
use super::refusal::Refusal;
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::record::schema;
use crate::store::{EventFilter, Events as _, Jobs as _, RecordedEvent, StoreError};
use crate::writer::commits::Subscription;

/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Sent after a silence of [`HEARTBEAT`].
const NOTHING: &[u8] = b": nothing new\n\n";

/// When a client that lost the connection should connect again, in milliseconds.
const RETRY_MS: u32 = 2000;

/// Events that are read and written at once. The next ones are read when the client has taken these.
const CHUNK: u32 = 20;

/// Most bytes of these, apart from the last one.
const CHUNK_BYTES: u32 = 256 << 10;

/// Pause before a read that found the database busy is tried again.
const READ_RETRY: Duration = Duration::from_millis(500);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// The cursor of the last event that was received; the header `Last-Event-ID` takes precedence
    #[param(value_type = Option<String>, pattern = "^[0-9]+$")]
    after: Option<EventCursor>,
}

impl From {
    /// The last event that the client has. One that connects again sends the header as well as the parameter.
    fn after(&self, headers: &HeaderMap) -> Result<Option<i64>, Refusal> {
        let last = headers.get("last-event-id").map(|value| value.as_bytes());
        match last {
            None | Some(b"") => Ok(self.after.map(|cursor| cursor.0)),
            Some(bytes) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let cursor = EventCursor::try_from(text);
                let wrong = "Last-Event-ID is not the id of an event of this stream.";
                let cursor = cursor.map_err(|_| Refusal::parameter(wrong))?;
                Ok(Some(cursor.0))
            }
        }
    }
}

/// All events as they are committed
///
/// Server-sent events: `id` is the event's cursor, `event` its type, `data` its body in one line. Begins after
/// `Last-Event-ID` or `after`, else with the next event.
#[utoipa::path(
    get,
    path = "/stream",
    tag = "events",
    params(From, ("Last-Event-ID" = Option<String>, Header, description = "Continues after this event")),
    responses((status = 200, description = "A stream that ends when the daemon stops", body = String, content_type = "text/event-stream"))
)]
pub(super) async fn all(
    State(parts): State<Parts>,
    Parameters(from): Parameters<From>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let commits = parts.waiting.commits.subscribe();
    let after = match from.after(&headers)? {
        Some(after) => after,
        None => {
            let newest = parts.store.newest_event().await;
            newest.map_err(|error| Refusal::unreadable(&error))?
        }
    };
    let room = parts.waiting.stream()?;
    Ok(Stream::new(parts, commits, after, None, room).response())
}

/// One job's events, until it has ended
///
/// The same, from the job's first event on unless `Last-Event-ID` or `after` says otherwise. The stream ends after
/// `job.completed` or `job.failed`.
#[utoipa::path(
    get,
    path = "/jobs/{id}/stream",
    tag = "events",
    params(
        ("id" = schema::JobId, Path, description = "The job"),
        From,
        ("Last-Event-ID" = Option<String>, Header, description = "Continues after this event"),
    ),
    responses(
        (status = 200, description = "A stream that ends when the job has", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The job has ended and all its events were sent: do not connect again"),
        (status = 404, description = "The job is not tracked here", body = Refused),
    )
)]
pub(super) async fn of_job(
    State(parts): State<Parts>,
    Job(id): Job,
    Parameters(from): Parameters<From>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let commits = parts.waiting.commits.subscribe_job(&id);
    let after = from.after(&headers)?.unwrap_or(0);
    let found = parts.store.job(&id).await;
    let found = found.map_err(|error| Refusal::unreadable(&error))?;
    let ended = found.ok_or_else(Refusal::no_such_job)?.state.is_final();
    let room = parts.waiting.stream()?;
    let mut stream = Stream::new(parts, commits, after, Some(id), room);
    if ended {
        let reserved = stream.parts.budget.chunk().await?;
        let events = stream.read().await;
        let events = events.map_err(|error| Refusal::unreadable(&error))?;
        if events.is_empty() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        stream.first = Some((events, reserved));
    }
    Ok(stream.response())
}

struct Stream {
    parts: Parts,
    commits: Subscription,
    filter: EventFilter,
    /// The first page, read before the stream began.
    first: Option<(Vec<RecordedEvent>, Reservation)>,
    begun: bool,
    ended: bool,
    _room: OwnedSemaphorePermit,
}

impl Stream {
    fn new(
        parts: Parts,
        commits: Subscription,
        after: i64,
        job: Option<JobId>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            parts,
            commits,
            filter: EventFilter {
                after,
                kind: None,
                job,
                limit: CHUNK,
                bytes: CHUNK_BYTES,
                detail: false,
            },
            first: None,
            begun: false,
            ended: false,
            _room: room,
        }
    }

    fn response(self) -> Response {
        let chunks = unfold(self, |mut stream| async move {
            let chunk = stream.next().await?;
            Some((Ok::<_, Infallible>(chunk), stream))
        });
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (headers, Body::from_stream(chunks)).into_response()
    }

    async fn read(&mut self) -> Result<Vec<RecordedEvent>, StoreError> {
        let page = self.parts.store.events(&self.filter).await?;
        self.filter.after = page.reached;
        Ok(page.events)
    }

    /// What is sent next; `None` at the end. Called when the client has read what was sent before.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.begun, true) {
            return Some(format!("retry: {RETRY_MS}\n\n").into());
        }
        let heartbeat = Instant::now() + HEARTBEAT;
        while !self.ended && !self.parts.waiting.is_over() {
            match self.read_next().await {
                Ok(Some((events, reserved))) => {
                    let text = self.written(&events);
                    drop(events);
                    return Some(reserved.charged(text).await);
                }
                Ok(None) => {}
                Err(error) if error.is_temporary() => {
                    // Tried again after a pause, which a commit does not cut short.
                    tokio::time::sleep(READ_RETRY).await;
                    if Instant::now() < heartbeat {
                        continue;
                    }
                    return Some(Bytes::from_static(NOTHING));
                }
                Err(error) => {
                    tracing::error!(%error, "a stream ends: the events cannot be read");
                    return None;
                }
            }
            let waiting = self.parts.waiting.clone();
            if waiting.until(heartbeat, &mut self.commits).await == Woken::End {
                if waiting.is_over() {
                    return None;
                }
                return Some(Bytes::from_static(NOTHING));
            }
        }
        None
    }

    /// The next events, with the memory for them; `None` when there are none yet.
    async fn read_next(&mut self) -> Result<Option<(Vec<RecordedEvent>, Reservation)>, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Ok(reserved) = self.parts.budget.chunk().await else {
            return Err(StoreError::Busy);
        };
        let events = self.read().await?;
        Ok((!events.is_empty()).then_some((events, reserved)))
    }

    fn written(&mut self, events: &[RecordedEvent]) -> String {
        let mut text = String::new();
        for event in events {
            // JSON has line breaks between tokens only, where a blank means the same.
            let body = event.body.replace(['\r', '\n'], " ");
            // Writing to a text cannot fail.
            let _ = write!(
                text,
                "id: {}\nevent: {}\ndata: {body}\n\n",
                event.cursor, event.kind
            );
            let end = matches!(event.kind, EventType::Completed | EventType::Failed);
            self.ended = self.ended || (end && self.filter.job.is_some());
        }
        text
    }
}

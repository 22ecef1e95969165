//! The tracker's records as programs read them, on the command line and over HTTP: times as RFC 3339, the API's JSON as
//! it came.

pub(crate) mod schema;
pub mod timeline;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::core::answer::Cut;
use crate::core::delivery::{DeliveryState, Trigger};
use crate::core::event::EventType;
use crate::core::job::{Failure, JobId, JobState};
use crate::core::retention::Stage;
use crate::core::time::UnixMillis;
use crate::store::{
    Attempt, DeliveryRow, JobDetail, JobSummary, RecordedEvent, StepRow, TransitionRow,
};

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobRecord<'a> {
    #[schema(value_type = schema::JobId)]
    id: &'a JobId,
    #[schema(value_type = schema::JobState)]
    state: JobState,
    #[schema(required, value_type = Option<schema::FailureRecord>)]
    failure: Option<&'a Failure>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
    /// Requests for the job so far.
    polls: u64,
    #[schema(required, format = DateTime)]
    next_poll_at: Option<String>,
    #[schema(required)]
    last_error: Option<&'a str>,
    /// As the enqueuer gave it.
    #[schema(required, value_type = Option<Object>)]
    metadata: Option<Json<'a>>,
    #[schema(required)]
    webhook: Option<&'a str>,
    steps: Vec<StepRecord<'a>>,
}

/// What is known of a job itself; its history is written after it, entry by entry.
#[derive(Debug, Serialize)]
pub struct DetailRecord<'a> {
    #[serde(flatten)]
    job: JobRecord<'a>,
    url: Option<&'a str>,
    priority: i64,
    deadline_at: Option<String>,
    not_before: Option<String>,
    cancel_requested: bool,
    queued: bool,
    consecutive_errors: u32,
    last_polled_at: Option<String>,
    resource: Option<Json<'a>>,
    /// `attempts`, or `events` with them, when these were deleted at their age.
    pruned: Option<Stage>,
}

/// A step as last seen.
#[derive(Debug, Serialize, ToSchema)]
struct StepRecord<'a> {
    /// Index in the API's array.
    position: u32,
    title: &'a str,
    /// The API's word, or `missing`.
    status: &'a str,
    #[schema(value_type = serde_json::Value)]
    result: Option<Json<'a>>,
    #[schema(format = DateTime)]
    first_seen_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A change of a step.
#[derive(Debug, Serialize)]
pub struct TransitionRecord<'a> {
    seq: u32,
    position: u32,
    title: &'a str,
    from: Option<&'a str>,
    to: &'a str,
    result: Option<Json<'a>>,
    observed_at: String,
    remote_updated: Option<&'a str>,
}

/// An event with its body.
#[derive(Debug, Serialize)]
pub struct EventRecord<'a> {
    id: &'a str,
    sequence: u32,
    #[serde(rename = "type")]
    kind: EventType,
    created_at: String,
    body: Json<'a>,
}

/// Where telling an event to a webhook stands.
#[derive(Debug, Serialize)]
pub struct DeliveryRecord<'a> {
    event_id: &'a str,
    sequence: u32,
    webhook: &'a str,
    state: DeliveryState,
    attempts: u32,
    next_attempt_at: Option<String>,
    delivered_at: Option<String>,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
    expired_at: Option<String>,
    fallback_for: Option<&'a str>,
}

/// An attempt at a delivery.
#[derive(Debug, Serialize)]
pub struct AttemptRecord<'a> {
    event_id: &'a str,
    webhook: &'a str,
    number: u32,
    started_at: String,
    duration_ms: u64,
    status: Option<u16>,
    error: Option<&'a str>,
    trigger: Trigger,
    answer: Option<&'a str>,
    answer_cut: Option<Cut>,
}

/// JSON that was recorded as text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Json<'a> {
    /// Handed on verbatim.
    Raw(&'a RawValue),
    /// No JSON after all, so at least the text is shown.
    Text(&'a str),
}

impl<'a> Json<'a> {
    fn of(text: &'a str) -> Self {
        serde_json::from_str(text).map_or(Self::Text(text), Self::Raw)
    }
}

fn time(at: Option<UnixMillis>) -> Option<String> {
    at.map(UnixMillis::rfc3339)
}

impl<'a> From<&'a JobSummary> for JobRecord<'a> {
    fn from(job: &'a JobSummary) -> Self {
        Self {
            id: &job.row.id,
            state: job.row.state,
            failure: job.failure.as_ref(),
            created_at: job.row.created_at.rfc3339(),
            finished_at: time(job.finished_at),
            polls: job.row.progress.polls,
            next_poll_at: time(job.row.next_poll_at),
            last_error: job.row.progress.last_error.as_deref(),
            metadata: job.metadata.as_deref().map(Json::of),
            webhook: job.row.webhook.as_deref(),
            steps: job.steps.iter().map(StepRecord::from).collect(),
        }
    }
}

impl<'a> From<&'a JobDetail> for DetailRecord<'a> {
    fn from(detail: &'a JobDetail) -> Self {
        let row = &detail.summary.row;
        Self {
            job: JobRecord::from(&detail.summary),
            url: row.url.as_deref(),
            priority: row.priority,
            deadline_at: time(row.deadline_at),
            not_before: time(row.not_before),
            cancel_requested: row.cancel_requested,
            queued: row.progress.queued,
            consecutive_errors: row.progress.consecutive_errors,
            last_polled_at: time(row.progress.last_polled_at),
            resource: detail.resource.as_deref().map(Json::of),
            pruned: detail.pruned,
        }
    }
}

impl<'a> From<&'a StepRow> for StepRecord<'a> {
    fn from(step: &'a StepRow) -> Self {
        Self {
            position: step.position,
            title: &step.title,
            status: &step.status,
            result: step.result.as_deref().map(Json::of),
            first_seen_at: step.first_seen_at.rfc3339(),
            updated_at: step.updated_at.rfc3339(),
        }
    }
}

impl<'a> From<&'a TransitionRow> for TransitionRecord<'a> {
    fn from(transition: &'a TransitionRow) -> Self {
        Self {
            seq: transition.seq,
            position: transition.position,
            title: &transition.title,
            from: transition.from.as_deref(),
            to: &transition.to,
            result: transition.result.as_deref().map(Json::of),
            observed_at: transition.observed_at.rfc3339(),
            remote_updated: transition.remote_updated.as_deref(),
        }
    }
}

impl<'a> From<&'a RecordedEvent> for EventRecord<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            id: &event.id,
            sequence: event.sequence,
            kind: event.kind,
            created_at: event.created_at.rfc3339(),
            body: Json::of(&event.body),
        }
    }
}

impl<'a> From<&'a DeliveryRow> for DeliveryRecord<'a> {
    fn from(delivery: &'a DeliveryRow) -> Self {
        Self {
            event_id: &delivery.event_id,
            sequence: delivery.sequence,
            webhook: delivery.webhook.as_str(),
            state: delivery.state,
            attempts: delivery.attempts,
            next_attempt_at: time(delivery.next_attempt_at),
            delivered_at: time(delivery.delivered_at),
            last_status: delivery.last_status,
            last_error: delivery.last_error.as_deref(),
            expired_at: time(delivery.expired_at),
            fallback_for: delivery.fallback_for.as_deref(),
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptRecord<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            event_id: &attempt.event_id,
            webhook: attempt.webhook.as_str(),
            number: attempt.number,
            started_at: attempt.started_at.rfc3339(),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error.as_deref(),
            trigger: attempt.trigger,
            answer: attempt.answer.as_deref(),
            answer_cut: attempt.answer_cut,
        }
    }
}

//! The tracker's records as programs read them, on the command line and over HTTP: times as RFC 3339, the API's JSON as
//! it came.

pub(crate) mod command;
pub(crate) mod schema;
pub mod status;
pub mod timeline;
pub(crate) mod watch;
pub(crate) mod webhook;

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
#[derive(Debug, Serialize, ToSchema)]
pub struct DetailRecord<'a> {
    #[serde(flatten)]
    job: JobRecord<'a>,
    #[schema(required)]
    url: Option<&'a str>,
    priority: i64,
    #[schema(required, format = DateTime)]
    deadline_at: Option<String>,
    #[schema(required, format = DateTime)]
    not_before: Option<String>,
    cancel_requested: bool,
    queued: bool,
    consecutive_errors: u32,
    #[schema(required, format = DateTime)]
    last_polled_at: Option<String>,
    #[schema(required, value_type = serde_json::Value)]
    resource: Option<Json<'a>>,
    /// `attempts`, or `events` with them, when these were deleted at their age.
    #[schema(required, value_type = Option<String>, pattern = "^(attempts|events)$")]
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

/// A change of a step; when it was observed stands beside it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransitionRecord<'a> {
    /// 1, 2, 3 … per job.
    seq: u32,
    /// Index in the API's array.
    position: u32,
    title: &'a str,
    /// The status before; null at first sight.
    #[schema(required)]
    from: Option<&'a str>,
    /// The API's word, or `missing`.
    to: &'a str,
    #[schema(value_type = serde_json::Value)]
    result: Option<Json<'a>>,
    /// The API's own time, verbatim.
    #[schema(required)]
    remote_updated: Option<&'a str>,
}

/// A transition in the list of a job's.
#[derive(Debug, Serialize, ToSchema)]
pub struct ObservedRecord<'a> {
    #[schema(format = DateTime)]
    observed_at: String,
    #[serde(flatten)]
    transition: TransitionRecord<'a>,
}

/// An event with its body.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventRecord<'a> {
    id: &'a str,
    sequence: u32,
    #[schema(value_type = schema::EventTypes)]
    r#type: EventType,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(value_type = Object)]
    body: Json<'a>,
}

/// An event for a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryRecord<'a> {
    event_id: &'a str,
    /// The event's.
    sequence: u32,
    webhook: &'a str,
    #[schema(value_type = String, pattern = "^(pending|delivered|exhausted|disabled)$")]
    state: DeliveryState,
    attempts: u32,
    #[schema(required, format = DateTime)]
    next_attempt_at: Option<String>,
    #[schema(required, format = DateTime)]
    delivered_at: Option<String>,
    #[schema(required)]
    last_status: Option<u16>,
    #[schema(required)]
    last_error: Option<&'a str>,
    /// When it was given up because its event had expired.
    #[schema(required, format = DateTime)]
    expired_at: Option<String>,
    /// The webhook in whose place this one gets the event.
    #[schema(required)]
    fallback_for: Option<&'a str>,
}

/// A delivery in the list of all jobs'.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedDeliveryRecord<'a> {
    #[schema(pattern = "^[0-9]+$")]
    cursor: String,
    #[schema(value_type = schema::JobId)]
    job_id: &'a JobId,
    #[schema(value_type = schema::EventTypes)]
    r#type: EventType,
    #[schema(format = DateTime)]
    created_at: String,
    #[serde(flatten)]
    delivery: DeliveryRecord<'a>,
}

/// An attempt at a delivery; when it began and its webhook stand beside it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptRecord<'a> {
    event_id: &'a str,
    /// 1, 2, 3 … per event and webhook.
    number: u32,
    duration_ms: u64,
    /// The answer's status; null when there was none.
    #[schema(required)]
    status: Option<u16>,
    #[schema(required)]
    error: Option<&'a str>,
    #[schema(value_type = String, pattern = "^(schedule|probe|manual|test)$")]
    trigger: Trigger,
    /// The beginning of the answer's body, escaped, up to 16 KiB.
    #[schema(required)]
    answer: Option<&'a str>,
    /// Why that is not all of it: `too_large`, `too_slow` or `broken`.
    #[schema(required, value_type = Option<String>, pattern = "^(too_large|too_slow|broken)$")]
    answer_cut: Option<Cut>,
}

/// An attempt in the list of a webhook's.
#[derive(Debug, Serialize, ToSchema)]
pub struct StartedRecord<'a> {
    #[schema(format = DateTime)]
    started_at: String,
    #[serde(flatten)]
    attempt: AttemptRecord<'a>,
}

/// An attempt in the list of a job's.
#[derive(Debug, Serialize, ToSchema)]
pub struct SentRecord<'a> {
    webhook: &'a str,
    #[serde(flatten)]
    started: StartedRecord<'a>,
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
            remote_updated: transition.remote_updated.as_deref(),
        }
    }
}

impl<'a> From<&'a TransitionRow> for ObservedRecord<'a> {
    fn from(transition: &'a TransitionRow) -> Self {
        Self {
            observed_at: transition.observed_at.rfc3339(),
            transition: transition.into(),
        }
    }
}

impl<'a> From<&'a RecordedEvent> for EventRecord<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            id: &event.id,
            sequence: event.sequence,
            r#type: event.kind,
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

impl<'a> From<&'a DeliveryRow> for ListedDeliveryRecord<'a> {
    fn from(row: &'a DeliveryRow) -> Self {
        Self {
            cursor: row.cursor.to_string(),
            job_id: &row.job_id,
            r#type: row.kind,
            created_at: row.created_at.rfc3339(),
            delivery: row.into(),
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptRecord<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            event_id: &attempt.event_id,
            number: attempt.number,
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error.as_deref(),
            trigger: attempt.trigger,
            answer: attempt.answer.as_deref(),
            answer_cut: attempt.answer_cut,
        }
    }
}

impl<'a> From<&'a Attempt> for StartedRecord<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            started_at: attempt.started_at.rfc3339(),
            attempt: attempt.into(),
        }
    }
}

impl<'a> From<&'a Attempt> for SentRecord<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            webhook: attempt.webhook.as_str(),
            started: attempt.into(),
        }
    }
}

#[cfg(test)]
mod tests;

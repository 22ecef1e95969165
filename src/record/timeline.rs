//! A job's history and the events of all jobs, entry by entry.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Json, time};
use crate::core::answer::Cut;
use crate::core::job::JobId;
use crate::store::{RecordedEvent, TimelineEntry, TimelineItem};

/// One entry of a job's timeline.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TimelineRecord<'a> {
    /// A step changed.
    Transition(TransitionEntry<'a>),
    /// There was something to tell.
    Event(EventEntry<'a>),
    /// A webhook is to be told.
    Delivery(DeliveryEntry<'a>),
    /// A webhook was told, or not.
    Attempt(AttemptEntry<'a>),
}

/// A step changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransitionEntry<'a> {
    /// When it was observed.
    #[schema(format = DateTime)]
    at: String,
    #[schema(pattern = "^transition$")]
    kind: &'static str,
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

/// There was something to tell.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventEntry<'a> {
    /// When it happened.
    #[schema(format = DateTime)]
    at: String,
    #[schema(pattern = "^event$")]
    kind: &'static str,
    id: &'a str,
    /// 1, 2, 3 … per job.
    sequence: u32,
    #[schema(value_type = super::schema::EventTypes)]
    r#type: &'a str,
}

/// A webhook is to be told.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryEntry<'a> {
    /// When its event was made.
    #[schema(format = DateTime)]
    at: String,
    #[schema(pattern = "^delivery$")]
    kind: &'static str,
    event_id: &'a str,
    /// The event's.
    sequence: u32,
    webhook: &'a str,
    /// `pending`, `delivered`, `exhausted` or `disabled`, as of now.
    #[schema(pattern = "^(pending|delivered|exhausted|disabled)$")]
    state: &'static str,
    attempts: u32,
    #[schema(required, format = DateTime)]
    next_attempt_at: Option<String>,
    #[schema(required, format = DateTime)]
    delivered_at: Option<String>,
    #[schema(required)]
    last_status: Option<u16>,
    #[schema(required)]
    last_error: Option<&'a str>,
    /// When it was given up because what it tells had expired.
    #[schema(required, format = DateTime)]
    expired_at: Option<String>,
    /// The webhook in whose place this one is told.
    #[schema(required)]
    fallback_for: Option<&'a str>,
}

/// A webhook was told, or not.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptEntry<'a> {
    /// When it began.
    #[schema(format = DateTime)]
    at: String,
    #[schema(pattern = "^attempt$")]
    kind: &'static str,
    event_id: &'a str,
    webhook: &'a str,
    /// 1, 2, 3 … per event and webhook.
    number: u32,
    duration_ms: u64,
    /// The answer's status; null when there was none.
    #[schema(required)]
    status: Option<u16>,
    #[schema(required)]
    error: Option<&'a str>,
    #[schema(pattern = "^(schedule|probe|manual|test)$")]
    trigger: &'a str,
    /// The beginning of the answer's body, escaped, up to 16 KiB.
    #[schema(required)]
    answer: Option<&'a str>,
    /// Why that is not all of it: `too_large`, `too_slow` or `broken`.
    #[schema(required, pattern = "^(too_large|too_slow|broken)$")]
    answer_cut: Option<&'a str>,
}

/// An event in the order of commits.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommittedEventRecord<'a> {
    /// Its place; `after` takes it.
    #[schema(pattern = "^[0-9]+$")]
    cursor: String,
    /// What webhooks get as `webhook-id`.
    id: &'a str,
    #[schema(value_type = super::schema::JobId)]
    job_id: &'a JobId,
    /// 1, 2, 3 … per job.
    sequence: u32,
    #[schema(value_type = super::schema::EventTypes)]
    r#type: &'a str,
    #[schema(format = DateTime)]
    created_at: String,
    /// What webhooks are sent, byte for byte.
    #[schema(value_type = Object)]
    body: Json<'a>,
}

impl<'a> From<&'a TimelineEntry> for TimelineRecord<'a> {
    fn from(entry: &'a TimelineEntry) -> Self {
        let at = entry.key.at.rfc3339();
        match &entry.item {
            TimelineItem::Transition(transition) => Self::Transition(TransitionEntry {
                at,
                kind: "transition",
                seq: transition.seq,
                position: transition.position,
                title: &transition.title,
                from: transition.from.as_deref(),
                to: &transition.to,
                result: transition.result.as_deref().map(Json::of),
                remote_updated: transition.remote_updated.as_deref(),
            }),
            TimelineItem::Event(event) => Self::Event(EventEntry {
                at,
                kind: "event",
                id: &event.id,
                sequence: event.sequence,
                r#type: event.kind.as_str(),
            }),
            TimelineItem::Delivery(delivery) => Self::Delivery(DeliveryEntry {
                at,
                kind: "delivery",
                event_id: &delivery.event_id,
                sequence: delivery.sequence,
                webhook: delivery.webhook.as_str(),
                state: delivery.state.as_str(),
                attempts: delivery.attempts,
                next_attempt_at: time(delivery.next_attempt_at),
                delivered_at: time(delivery.delivered_at),
                last_status: delivery.last_status,
                last_error: delivery.last_error.as_deref(),
                expired_at: time(delivery.expired_at),
                fallback_for: delivery.fallback_for.as_deref(),
            }),
            TimelineItem::Attempt(attempt) => Self::Attempt(AttemptEntry {
                at,
                kind: "attempt",
                event_id: &attempt.event_id,
                webhook: attempt.webhook.as_str(),
                number: attempt.number,
                duration_ms: attempt.duration_ms,
                status: attempt.status,
                error: attempt.error.as_deref(),
                trigger: attempt.trigger.as_str(),
                answer: attempt.answer.as_deref(),
                answer_cut: attempt.answer_cut.map(Cut::as_str),
            }),
        }
    }
}

impl<'a> From<&'a RecordedEvent> for CommittedEventRecord<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            cursor: event.cursor.to_string(),
            id: &event.id,
            job_id: &event.job_id,
            sequence: event.sequence,
            r#type: event.kind.as_str(),
            created_at: event.created_at.rfc3339(),
            body: Json::of(&event.body),
        }
    }
}

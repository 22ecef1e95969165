//! A job's history and the events of all jobs, entry by entry.

use serde::Serialize;
use utoipa::ToSchema;

use super::{AttemptRecord, DeliveryRecord, Json, TransitionRecord};
use crate::core::event::EventType;
use crate::core::job::JobId;
use crate::store::{RecordedEvent, TimelineEntry, TimelineItem};

/// One entry of a job's timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineRecord<'a> {
    /// When a transition was observed, an event happened, an attempt began; for a delivery, when its event happened.
    #[schema(format = DateTime)]
    at: String,
    #[serde(flatten)]
    entry: Entry<'a>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Entry<'a> {
    /// A step changed.
    Transition(TransitionRecord<'a>),
    /// An event was recorded.
    Event {
        id: &'a str,
        /// 1, 2, 3 … per job.
        sequence: u32,
        #[schema(value_type = super::schema::EventTypes)]
        r#type: EventType,
    },
    /// The event is for this webhook.
    Delivery(DeliveryRecord<'a>),
    /// The event was sent.
    Attempt {
        webhook: &'a str,
        #[serde(flatten)]
        attempt: AttemptRecord<'a>,
    },
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
    r#type: EventType,
    #[schema(format = DateTime)]
    created_at: String,
    /// What webhooks are sent, byte for byte.
    #[schema(value_type = Object)]
    body: Json<'a>,
}

impl<'a> From<&'a TimelineEntry> for TimelineRecord<'a> {
    fn from(entry: &'a TimelineEntry) -> Self {
        Self {
            at: entry.key.at.rfc3339(),
            entry: match &entry.item {
                TimelineItem::Transition(transition) => Entry::Transition(transition.into()),
                TimelineItem::Event(event) => Entry::Event {
                    id: &event.id,
                    sequence: event.sequence,
                    r#type: event.kind,
                },
                TimelineItem::Delivery(delivery) => Entry::Delivery(delivery.into()),
                TimelineItem::Attempt(attempt) => Entry::Attempt {
                    webhook: attempt.webhook.as_str(),
                    attempt: attempt.into(),
                },
            },
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
            r#type: event.kind,
            created_at: event.created_at.rfc3339(),
            body: Json::of(&event.body),
        }
    }
}

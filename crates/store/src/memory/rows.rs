//! Rows as they are kept: what the SQLite schema has as columns.

use std::sync::Arc;

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::{Failure, JobId, JobState};
use jobtrackd_core::rows::{DueDelivery, JobRow};
use jobtrackd_core::time::UnixMillis;
use jobtrackd_core::transition::RecordedStep;
use jobtrackd_core::user::{JobUser, UserId};

use crate::{DeliveryRow, EventRow, JobSummary, ReplayFilter, StepRow};

/// A row of `jobs`. Of its progress only what has a column is kept.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// The number of the row; the highest one is used again after its deletion.
    pub(super) number: i64,
    pub(super) row: JobRow,
    pub(super) metadata: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) resource: Option<Arc<str>>,
    pub(super) remote_updated: Option<String>,
    pub(super) remote_user: Option<UserId>,
    pub(super) finished_at: Option<UnixMillis>,
    pub(super) revision: i64,
    pub(super) event_bytes: u64,
    /// 0: nothing of it was deleted at its age; 1: its attempts; 2: its events too.
    pub(super) pruned: u8,
    pub(super) users: Vec<JobUser>,
}

impl Job {
    pub(super) fn has_ended(&self) -> bool {
        self.row.state.is_final()
    }

    pub(super) fn resource(&self) -> Option<String> {
        self.resource.as_deref().map(str::to_owned)
    }

    pub(super) fn summary(&self, steps: Vec<StepRow>) -> JobSummary {
        JobSummary {
            row: self.row.clone(),
            metadata: self.metadata.clone(),
            failure: self.failure.clone(),
            finished_at: self.finished_at,
            steps,
        }
    }

    /// Whether the state fits the other columns, as the schema demands.
    pub(super) fn is_consistent(&self) -> bool {
        let ended = self.has_ended();
        ended == self.finished_at.is_some()
            && (self.row.state == JobState::Failed) == self.failure.is_some()
            && !(ended && self.row.next_poll_at.is_some())
    }
}

/// A row of `steps`.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) step: RecordedStep,
    pub(super) first_seen_at: UnixMillis,
    pub(super) updated_at: UnixMillis,
}

impl Step {
    pub(super) fn row(&self) -> StepRow {
        let step = &self.step;
        StepRow {
            position: step.position,
            title: step.title.clone(),
            occurrence: step.occurrence,
            status: step.status.clone(),
            class: step.class,
            result: step.result.clone(),
            first_seen_at: self.first_seen_at,
            updated_at: self.updated_at,
            error: step.error.clone(),
            challenge: step.challenge.clone(),
        }
    }
}

/// A row of `events`.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) cursor: i64,
    pub(super) id: String,
    pub(super) job_id: JobId,
    pub(super) sequence: u32,
    pub(super) kind: EventType,
    pub(super) created_at: UnixMillis,
    pub(super) step: Option<String>,
    pub(super) transition_seq: Option<u32>,
    pub(super) body: Arc<str>,
}

impl Event {
    pub(super) fn row(&self) -> EventRow {
        EventRow {
            id: self.id.clone(),
            sequence: self.sequence,
            kind: self.kind,
            created_at: self.created_at,
        }
    }
}

/// The key of a delivery: its lane and its place in it.
pub(super) type DeliveryKey = (WebhookName, JobId, u32);

/// A row of `deliveries`.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) event_id: String,
    pub(super) webhook: WebhookName,
    pub(super) job_id: JobId,
    pub(super) sequence: u32,
    pub(super) state: DeliveryState,
    pub(super) attempts: u32,
    pub(super) retries_used: u32,
    pub(super) paused_ms: i64,
    pub(super) next_attempt_at: Option<UnixMillis>,
    pub(super) last_attempt_at: Option<UnixMillis>,
    pub(super) delivered_at: Option<UnixMillis>,
    pub(super) last_status: Option<u16>,
    pub(super) last_error: Option<String>,
    pub(super) is_replay: bool,
    pub(super) expires_at: Option<UnixMillis>,
    pub(super) expired_at: Option<UnixMillis>,
    pub(super) fallback_for: Option<String>,
}

impl Delivery {
    /// One that nobody has tried.
    pub(super) fn new(event: &Event, webhook: &WebhookName, state: DeliveryState) -> Self {
        Self {
            event_id: event.id.clone(),
            webhook: webhook.clone(),
            job_id: event.job_id.clone(),
            sequence: event.sequence,
            state,
            attempts: 0,
            retries_used: 0,
            paused_ms: 0,
            next_attempt_at: None,
            last_attempt_at: None,
            delivered_at: None,
            last_status: None,
            last_error: None,
            is_replay: false,
            expires_at: None,
            expired_at: None,
            fallback_for: None,
        }
    }

    pub(super) fn key(&self) -> DeliveryKey {
        (self.webhook.clone(), self.job_id.clone(), self.sequence)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.state == DeliveryState::Pending
    }

    /// Pending or disabled.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, DeliveryState::Pending | DeliveryState::Disabled)
    }

    /// Gives it up for this reason, which stands before the last error.
    pub(super) fn give_up(&mut self, reason: &str) {
        self.state = DeliveryState::Exhausted;
        self.next_attempt_at = None;
        self.last_error = Some(match self.last_error.take() {
            Some(before) => format!("{reason}; before: {before}"),
            None => reason.to_owned(),
        });
    }

    pub(super) fn row(&self, event: &Event) -> DeliveryRow {
        DeliveryRow {
            cursor: event.cursor,
            event_id: self.event_id.clone(),
            job_id: self.job_id.clone(),
            sequence: self.sequence,
            kind: event.kind,
            created_at: event.created_at,
            webhook: self.webhook.clone(),
            state: self.state,
            attempts: self.attempts,
            next_attempt_at: self.next_attempt_at,
            delivered_at: self.delivered_at,
            last_status: self.last_status,
            last_error: self.last_error.clone(),
            expired_at: self.expired_at,
            fallback_for: self.fallback_for.clone(),
        }
    }

    /// What an attempt at it needs, at `due`. A body of more than `longest` bytes is left out.
    pub(super) fn due(&self, event: &Event, due: UnixMillis, longest: usize) -> DueDelivery {
        let body = Some(&event.body).filter(|body| body.len() <= longest);
        DueDelivery {
            event_id: self.event_id.clone(),
            job_id: self.job_id.clone(),
            attempts: self.attempts,
            retries_used: self.retries_used,
            kind: event.kind,
            body: body.map(|body| body.as_bytes().to_vec()),
            created_at: event.created_at,
            expires_at: self.expires_at,
            due,
            paused: std::time::Duration::from_millis(self.paused_ms.unsigned_abs()),
            failed_before: self.last_error.is_some(),
            is_replay: self.is_replay,
        }
    }
}

/// A row of `replays`.
#[derive(Debug, Clone)]
pub(super) struct ReplayRecord {
    pub(super) filter: ReplayFilter,
    pub(super) started_at: UnixMillis,
    pub(super) reached: i64,
    pub(super) deliveries: u64,
    pub(super) is_finished: bool,
}

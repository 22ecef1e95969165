//! What happens to jobs, change by change, as `watch --json` writes it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::core::delivery::DeliveryState;
use crate::core::event::EventType;
use crate::core::job::{Failure, JobId, JobState};
use crate::core::time::UnixMillis;
use crate::store::{Attempt, JobDetail, JobProgress, TransitionRow};

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Change<'a> {
    /// A job's state changed, or errors began or ended.
    Job(JobChange<'a>),
    /// A step changed.
    Step(StepChange<'a>),
    /// An event was sent.
    Delivery(DeliveryChange<'a>),
}

/// A job as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobChange<'a> {
    #[schema(format = DateTime)]
    pub(crate) at: String,
    #[schema(value_type = super::schema::JobId)]
    pub(crate) job_id: &'a JobId,
    #[schema(value_type = super::schema::JobState)]
    pub(crate) state: JobState,
    pub(crate) steps_done: usize,
    pub(crate) steps: usize,
    #[schema(required, value_type = Option<super::schema::FailureRecord>)]
    pub(crate) failure: Option<&'a Failure>,
    /// Why the latest poll failed; null once one is good again.
    #[schema(required)]
    pub(crate) last_error: Option<&'a str>,
}

/// A transition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepChange<'a> {
    #[schema(format = DateTime)]
    pub(crate) at: String,
    #[schema(value_type = super::schema::JobId)]
    pub(crate) job_id: &'a JobId,
    pub(crate) seq: u32,
    pub(crate) position: u32,
    pub(crate) title: &'a str,
    #[schema(required)]
    pub(crate) from: Option<&'a str>,
    pub(crate) to: &'a str,
}

/// An attempt, and the state of its delivery after it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryChange<'a> {
    #[schema(format = DateTime)]
    pub(crate) at: String,
    #[schema(value_type = super::schema::JobId)]
    pub(crate) job_id: &'a JobId,
    pub(crate) event_id: &'a str,
    #[schema(value_type = super::schema::EventTypes)]
    pub(crate) event: EventType,
    pub(crate) sequence: u32,
    pub(crate) webhook: &'a str,
    pub(crate) attempt: u32,
    #[schema(value_type = String, pattern = "^(pending|delivered|exhausted|disabled)$")]
    pub(crate) state: DeliveryState,
    #[schema(required)]
    pub(crate) status: Option<u16>,
    #[schema(required)]
    pub(crate) error: Option<&'a str>,
}

impl<'a> Change<'a> {
    /// The job as it is, with how many of its steps are done and how many there are.
    pub(crate) fn job(
        job: &'a JobProgress,
        (steps_done, steps): (usize, usize),
        now: UnixMillis,
    ) -> Self {
        let summary = &job.summary;
        Self::Job(JobChange {
            at: summary.finished_at.unwrap_or(now).rfc3339(),
            job_id: &summary.row.id,
            state: summary.row.state,
            steps_done,
            steps,
            failure: summary.failure.as_ref(),
            last_error: job.latest_error(),
        })
    }

    /// A transition of the job.
    pub(crate) fn step(job_id: &'a JobId, transition: &'a TransitionRow) -> Self {
        Self::Step(StepChange {
            at: transition.observed_at.rfc3339(),
            job_id,
            seq: transition.seq,
            position: transition.position,
            title: &transition.title,
            from: transition.from.as_deref(),
            to: &transition.to,
        })
    }

    /// An attempt at a delivery of the job; `None` if the rows of its event are not there any more.
    pub(crate) fn delivery(attempt: &'a Attempt, detail: &'a JobDetail) -> Option<Self> {
        let mut deliveries = detail.deliveries.iter();
        let delivery = deliveries
            .find(|each| each.event_id == attempt.event_id && each.webhook == attempt.webhook)?;
        Some(Self::Delivery(DeliveryChange {
            at: attempt.ended_at().rfc3339(),
            job_id: &delivery.job_id,
            event_id: &attempt.event_id,
            event: delivery.kind,
            sequence: delivery.sequence,
            webhook: attempt.webhook.as_str(),
            attempt: attempt.number,
            // After an attempt that was not the last one it waited for the next.
            state: match attempt.number < delivery.attempts {
                true => DeliveryState::Pending,
                false => delivery.state,
            },
            status: attempt.status,
            error: attempt.error.as_deref(),
        }))
    }
}

//! Jobs for tests of what is printed, observed by the core in what an API could have answered.

use serde_json::{Value, json};

use crate::cli::screen::{Style, View};
use crate::core::cadence::Progress;
use crate::core::delivery::{DeliveryState, WebhookName};
use crate::core::dialect::Basiq;
use crate::core::job::{Failure, FailureKind, JobId, JobState};
use crate::core::observe::{Evidence, Observation, Tracked, observe};
use crate::core::time::UnixMillis;
use crate::store::{DeliveryRow, EventRow, JobDetail, JobRow, JobSummary, StepRow, TransitionRow};

/// When the jobs were inserted: 2026-11-22T15:04:05.120Z.
pub(in crate::cli) const START: UnixMillis = UnixMillis(1_795_359_845_120);

/// A view without colours, so many seconds after [`START`].
pub(in crate::cli) fn view(width: usize, seconds: f64) -> View {
    View {
        style: Style { colour: false },
        width,
        now: later(seconds),
    }
}

/// So many seconds after [`START`].
pub(in crate::cli) fn later(seconds: f64) -> UnixMillis {
    START.plus(std::time::Duration::from_secs_f64(seconds))
}

/// A step of an API's answer, in short.
pub(in crate::cli) fn step(title: &str, status: &str, result: &Value) -> Value {
    json!({"title": title, "status": status, "result": result})
}

/// A job while it is followed.
pub(in crate::cli) struct Followed {
    tracked: Tracked,
    pub(in crate::cli) detail: JobDetail,
}

impl Followed {
    /// A job that was not polled yet.
    pub(in crate::cli) fn of(id: &str) -> Self {
        let id = JobId::parse(id).unwrap();
        Self {
            tracked: Tracked::blank(id.clone(), START),
            detail: JobDetail {
                summary: JobSummary {
                    row: row(id),
                    metadata: None,
                    failure: None,
                    finished_at: None,
                    steps: Vec::new(),
                },
                resource: None,
                pruned: None,
                transitions: Vec::new(),
                events: Vec::new(),
                deliveries: Vec::new(),
                attempts: Vec::new(),
            },
        }
    }

    /// The API's answer so many seconds after the start.
    pub(in crate::cli) fn seen(&mut self, seconds: f64, steps: &[Value]) -> &mut Self {
        let body = json!({"type": "job", "id": self.tracked.id, "steps": steps}).to_string();
        self.sighted(
            seconds,
            &Evidence::Snapshot(Basiq::snapshot(&body, None).unwrap()),
        )
    }

    /// The tracker ends the job.
    pub(in crate::cli) fn ended(
        &mut self,
        seconds: f64,
        kind: FailureKind,
        title: &str,
    ) -> &mut Self {
        let failure = Failure::decided(kind, title, "what the operator has to know".to_owned());
        self.sighted(seconds, &Evidence::End(failure))
    }

    fn sighted(&mut self, seconds: f64, sighting: &Evidence) -> &mut Self {
        let at = later(seconds);
        let seen = observe(&self.tracked, sighting, at, "https://au-api.basiq.io").unwrap();
        self.tracked = self.tracked.clone().after(&seen);
        self.take_over(&seen);
        self
    }

    fn take_over(&mut self, seen: &Observation) {
        let detail = &mut self.detail;
        let job = &mut detail.summary;
        job.row.state = seen.state;
        job.row.progress.queued = seen.queued;
        job.row.progress.polls += 1;
        job.row.progress.last_polled_at = Some(seen.at);
        job.failure.clone_from(&seen.failure);
        job.finished_at = seen.state.is_final().then_some(seen.at);
        if let Some(remote) = &seen.remote {
            detail.resource.clone_from(&remote.resource);
            let before = std::mem::take(&mut job.steps);
            job.steps = self
                .tracked
                .steps
                .iter()
                .map(|step| {
                    let known = before.iter().find(|known| known.title == step.title);
                    let same = known
                        .filter(|known| known.status == step.status && known.result == step.result);
                    StepRow {
                        position: step.position,
                        title: step.title.clone(),
                        occurrence: step.occurrence,
                        status: step.status.clone(),
                        result: step.result.clone(),
                        first_seen_at: known.map_or(seen.at, |known| known.first_seen_at),
                        updated_at: same.map_or(seen.at, |known| known.updated_at),
                        class: step.class,
                        error: step.error.clone(),
                        challenge: step.challenge.clone(),
                    }
                })
                .collect();
        }
        detail
            .transitions
            .extend(seen.transitions.iter().map(|each| TransitionRow {
                seq: each.seq,
                position: each.position,
                title: each.title.clone(),
                occurrence: each.occurrence,
                from: each.from.clone(),
                to: each.to.clone(),
                class: each.class,
                result: each.result.clone(),
                observed_at: seen.at,
                remote_updated: None,
            }));
        detail
            .events
            .extend(seen.events.iter().map(|event| EventRow {
                id: event.id.clone(),
                sequence: event.sequence,
                kind: event.kind,
                created_at: event.created_at,
            }));
    }

    /// A delivery of every event so far to this webhook, all in one state.
    pub(in crate::cli) fn delivered(&mut self, webhook: &str, state: DeliveryState) -> &mut Self {
        let deliveries = self.detail.events.iter().map(|event| DeliveryRow {
            cursor: i64::from(event.sequence),
            event_id: event.id.clone(),
            job_id: self.detail.summary.row.id.clone(),
            sequence: event.sequence,
            kind: event.kind,
            created_at: event.created_at,
            webhook: WebhookName::new(webhook),
            state,
            attempts: u32::from(state == DeliveryState::Delivered),
            next_attempt_at: None,
            last_error: None,
            delivered_at: (state == DeliveryState::Delivered).then_some(event.created_at),
            last_status: None,
            expired_at: None,
            fallback_for: None,
        });
        self.detail.deliveries.extend(deliveries);
        self
    }
}

fn row(id: JobId) -> JobRow {
    JobRow {
        id,
        url: None,
        webhook: None,
        priority: 0,
        deadline_at: None,
        not_before: None,
        cancel_requested: false,
        poll_requested: false,
        state: JobState::Pending,
        progress: Progress::default(),
        next_poll_at: None,
        created_at: START,
        is_blank: false,
    }
}

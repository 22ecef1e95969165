//! What tests record: made by the core, as the daemon makes it.

use std::time::Duration;

use crate::{DueDelivery, FinishedAttempt, Recordable, ScheduleUpdate};
use jobtrackd_core::cadence::Progress;
use jobtrackd_core::delivery::{AfterAttempt, Attempt, AttemptResult, Trigger, WebhookName};
use jobtrackd_core::dialect::Basiq;
use jobtrackd_core::job::{Failure, FailureKind, JobId};
use jobtrackd_core::observe::{Evidence, Observation, Tracked, observe};
use jobtrackd_core::time::UnixMillis;

/// 2026-11-22T15:04:05.123Z.
pub const T0: UnixMillis = UnixMillis(1_795_359_845_123);

/// How long attempts take.
pub const TOOK: Duration = Duration::from_millis(250);

/// The id of a job.
///
/// # Panics
/// When it cannot be one.
#[must_use]
pub fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

/// `T0` and some seconds.
#[must_use]
pub fn t(seconds: u64) -> UnixMillis {
    T0.plus(Duration::from_secs(seconds))
}

/// A remote job with these steps: title and status.
#[must_use]
pub fn body(steps: &[(&str, &str)]) -> String {
    let steps: Vec<serde_json::Value> = steps
        .iter()
        .map(|(title, status)| serde_json::json!({ "title": title, "status": status }))
        .collect();
    serde_json::json!({ "type": "job", "updated": "yesterday", "steps": steps }).to_string()
}

/// What follows from an answer with this body, at `T0`.
#[must_use]
pub fn seen(job: &Tracked, body: &str) -> Observation {
    seen_at(job, body, T0)
}

/// The same at another time.
///
/// # Panics
/// When the body is not that of a job.
#[must_use]
pub fn seen_at(job: &Tracked, body: &str, at: UnixMillis) -> Observation {
    let snapshot = Basiq::snapshot(body, None).unwrap();
    observe(
        job,
        &Evidence::Snapshot(snapshot),
        at,
        "https://api.example",
    )
    .unwrap()
}

/// The end of a job whose deadline has passed.
///
/// # Panics
/// When the recorded job cannot be read back.
#[must_use]
pub fn expired(job: &Tracked) -> Observation {
    let failure = Failure::decided(FailureKind::Expired, "Too late", "It's over".to_owned());
    observe(job, &Evidence::End(failure), T0, "https://api.example").unwrap()
}

/// An observation whose events all go to these webhooks.
#[must_use]
pub fn with_deliveries(observation: Observation, webhooks: &[&str]) -> Recordable {
    let webhooks: Vec<_> = webhooks.iter().map(|name| WebhookName::new(name)).collect();
    Recordable {
        webhooks: vec![webhooks; observation.events.len()],
        schedule: ScheduleUpdate {
            created_at: observation.created_at,
            ..schedule(observation.job_id.as_str(), 1)
        },
        observation,
    }
}

/// What the polls of a job have come to.
#[must_use]
pub fn schedule(job: &str, polls: u64) -> ScheduleUpdate {
    ScheduleUpdate {
        job_id: id(job),
        created_at: T0,
        progress: Progress {
            polls,
            quiet_polls: 2,
            consecutive_errors: 3,
            last_error: Some("it's \"odd\" ü".to_owned()),
            last_polled_at: Some(T0),
            not_found_since: Some(t(1)),
            queued: true,
            ..Progress::default()
        },
        next_poll_at: Some(t(30)),
    }
}

/// The next attempt at a delivery, with a result that fits what follows.
#[must_use]
pub fn attempt(webhook: &str, due: &DueDelivery, after: AfterAttempt) -> FinishedAttempt {
    let result = match after {
        AfterAttempt::Delivered => AttemptResult::Delivered { status: 204 },
        AfterAttempt::Retry(_)
        | AfterAttempt::Exhausted
        | AfterAttempt::Expired
        | AfterAttempt::Aborted => AttemptResult::Refused {
            status: 500,
            detail: "Internal Server Error".to_owned(),
            too_slow: false,
        },
        AfterAttempt::Again(until) => AttemptResult::Throttled {
            status: 429,
            retry_after: until.since(T0),
        },
        AfterAttempt::Disabled => AttemptResult::Gone,
    };
    FinishedAttempt {
        attempt: Attempt {
            event_id: due.event_id.clone(),
            webhook: WebhookName::new(webhook),
            number: due.attempts + 1,
            started_at: T0,
            duration_ms: TOOK.as_millis().try_into().unwrap(),
            status: result.status(),
            error: result.error(),
            trigger: Trigger::Schedule,
            answer: None,
            answer_cut: None,
        },
        job_id: due.job_id.clone(),
        after,
        pause: match after {
            AfterAttempt::Again(until) => Some(until.since(T0.plus(TOOK))),
            _ => None,
        },
        disables: (after == AfterAttempt::Disabled).then_some("the webhook answered 410"),
        fallback: None,
        health: None,
    }
}

/// The same attempt with another result.
#[must_use]
pub fn with_result(attempt: Attempt, result: &AttemptResult) -> Attempt {
    Attempt {
        status: result.status(),
        error: result.error(),
        ..attempt
    }
}

//! Metrics for Prometheus: the list of all metrics, and one small function for each fact that is counted.
//!
//! The functions write to the recorder of the process. Only the `run` command installs one ([`Exporter::install`]); without
//! it each of them does nothing.

mod exporter;
mod labels;
mod names;
mod of_polls;
mod process;
mod recent;

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use strum::IntoEnumIterator;

pub use exporter::{Exporter, InstallError};
pub use labels::Problem;
pub use names::{ALL, Kind, Metric};
pub use recent::{DELAYS, MINUTES, Minute, PollTick, Recent};

use crate::core::delivery::{AfterAttempt, AttemptResult, DeliveryState, WebhookName};
use crate::core::event::EventType;
use crate::core::job::{FailureKind, JobState};
use crate::core::retention::Stage;
use of_polls::OfPolls;

/// The state of the loops at a scrape.
#[derive(Debug, Clone, Default)]
pub struct GaugeValues {
    /// The problems that `/readyz` shows, except stranded events.
    pub problems: Vec<Problem>,
    /// Whether no poll may start because the API is paused.
    pub upstream_paused: bool,
    /// The configured webhooks, with the number of attempts in flight.
    pub webhooks: Vec<(WebhookName, usize)>,
    /// Webhooks that are not configured and for which events wait, or have waited.
    pub stranded: Vec<WebhookName>,
    /// Number of events that wait for such webhooks.
    pub events_stranded: u64,
}

/// A poll has ended. `outcome` is a word of [`crate::core::poll::PollOutcome`]; `usable` is false if the answer could not be
/// recorded.
pub fn polled(outcome: &'static str, usable: bool, duration: Duration) {
    let outcome = if usable || outcome != labels::ANSWERED {
        outcome
    } else {
        labels::UNUSABLE
    };
    if let Some(polls) = OfPolls::found() {
        polls.over(outcome, duration);
    }
}

/// A poll starts, this long after it was due.
pub fn poll_started(lag: Duration) {
    if let Some(polls) = OfPolls::found() {
        polls.started(lag);
    }
}

/// The API was paused for this many more seconds.
pub fn paused(seconds: u64) {
    counter!(names::UPSTREAM_PAUSED_SECONDS.name).increment(seconds);
}

/// A token was requested; `outcome` is `granted` or a word of `TokenTrouble`.
pub fn token_requested(outcome: &'static str) {
    counter!(names::TOKEN_REQUESTS.name, "outcome" => outcome).increment(1);
}

/// Rows were noticed.
pub fn noticed(rows: u64) {
    counter!(names::ROWS_NOTICED.name).increment(rows);
}

/// An observation was recorded with this many transitions and these events, `delay` after the change.
pub fn recorded(transitions: usize, events: &[EventType], delay: Option<Duration>) {
    counter!(names::TRANSITIONS.name).increment(transitions as u64);
    for event in events {
        counter!(names::EVENTS.name, "type" => event.as_str()).increment(1);
    }
    if let Some(delay) = delay {
        histogram!(names::DETECTION_DELAY.name).record(delay);
    }
}

/// A job has ended, with success or with this failure, after this many requests.
pub fn finished(failure: Option<FailureKind>, requests: u64) {
    let outcome = failure.map_or(labels::SUCCESS, FailureKind::as_str);
    counter!(names::JOBS_FINISHED.name, "outcome" => outcome).increment(1);
    histogram!(names::JOB_REQUESTS.name).record(exporter::float(requests));
}

/// A transaction was committed.
pub fn committed(changes: usize, duration: Duration) {
    histogram!(names::COMMIT_CHANGES.name).record(exporter::float(changes as u64));
    histogram!(names::COMMIT_DURATION.name).record(duration);
}

/// This stage of this many jobs was deleted in one transaction.
pub fn pruned(stage: Stage, jobs: u64, took: Duration) {
    counter!(names::PRUNED.name, "what" => stage.as_str()).increment(jobs);
    histogram!(names::PRUNE_DURATION.name).record(took);
}

/// A webhook is configured; its counters start at zero.
pub fn webhook_configured(name: &WebhookName) {
    for (outcome, error) in labels::attempts() {
        attempts(name, outcome, error, 0);
    }
    expired(name, 0);
}

/// Events expired before they were delivered.
pub fn expired(webhook: &WebhookName, events: u64) {
    let webhook = webhook.as_str().to_owned();
    counter!(names::DELIVERIES_EXPIRED.name, "webhook" => webhook).increment(events);
}

/// An attempt has ended; `lag` is the time since the event.
pub fn attempted(
    webhook: &WebhookName,
    result: &AttemptResult,
    after: AfterAttempt,
    duration: Duration,
    lag: Duration,
) {
    let error = result.class().unwrap_or(labels::NO_ERROR);
    attempts(webhook, labels::of_attempt(result, after), error, 1);
    let name = webhook.as_str().to_owned();
    histogram!(names::DELIVERY_ATTEMPT_DURATION.name, "webhook" => name.clone()).record(duration);
    if after == AfterAttempt::Delivered {
        histogram!(names::DELIVERY_LAG.name, "webhook" => name).record(lag);
    }
}

fn attempts(webhook: &WebhookName, outcome: &'static str, error: &'static str, count: u64) {
    let webhook = webhook.as_str().to_owned();
    counter!(names::DELIVERY_ATTEMPTS.name, "webhook" => webhook, "outcome" => outcome, "error" => error)
        .increment(count);
}

/// A part of the daemon, such as `the writer`, has stalled.
pub fn stalled(part: &str) {
    counter!(names::STALLS.name, "part" => labels::part(part)).increment(1);
}

/// A reload was accepted (`taken`) or refused.
pub fn reloaded(taken: bool) {
    let outcome = labels::RELOADS[usize::from(!taken)];
    counter!(names::RELOADS.name, "outcome" => outcome).increment(1);
}

/// The state of the loops now.
pub fn loops(values: &GaugeValues, ready: bool) {
    set(&names::READY, u64::from(ready));
    set(&names::UPSTREAM_PAUSED, u64::from(values.upstream_paused));
    for problem in Problem::iter() {
        let is_present = values.problems.contains(&problem);
        gauge!(names::PROBLEM.name, "problem" => problem.as_str())
            .set(f64::from(u8::from(is_present)));
    }
    set(&names::DELIVERIES_STRANDED, values.events_stranded);
    for (webhook, in_flight) in &values.webhooks {
        of_webhook(&names::DELIVERIES_IN_FLIGHT, webhook, *in_flight as u64);
    }
}

/// Jobs that are followed, that are being polled, and that name a webhook that is not configured.
pub fn followed(jobs: usize, polls_in_flight: usize, unknown_webhook: usize) {
    set(&names::JOBS_FOLLOWED, jobs as u64);
    set(&names::POLLS_IN_FLIGHT, polls_in_flight as u64);
    set(&names::JOBS_UNKNOWN_WEBHOOK, unknown_webhook as u64);
}

/// Jobs in this state.
pub fn jobs(state: JobState, jobs: u64) {
    gauge!(names::JOBS.name, "state" => state.as_str()).set(exporter::float(jobs));
}

/// Deliveries to a webhook in this state.
pub fn deliveries(webhook: &WebhookName, state: DeliveryState, deliveries: u64) {
    let webhook = webhook.as_str().to_owned();
    gauge!(names::DELIVERIES.name, "webhook" => webhook, "state" => state.as_str())
        .set(exporter::float(deliveries));
}

/// The gauges of one webhook.
#[derive(Debug, Clone, Copy)]
pub struct WebhookGauges {
    /// The age of its oldest pending event.
    pub oldest_pending: Duration,
    /// Whether it is disabled.
    pub disabled: bool,
    /// Whether it is held.
    pub held: bool,
    /// Whether it is paused at its request.
    pub paused: bool,
}

/// The state of one webhook now.
pub fn webhook(webhook: &WebhookName, gauges: WebhookGauges) {
    let name = webhook.as_str().to_owned();
    gauge!(names::OLDEST_PENDING.name, "webhook" => name).set(gauges.oldest_pending);
    of_webhook(&names::WEBHOOK_DISABLED, webhook, gauges.disabled.into());
    of_webhook(&names::WEBHOOK_HELD, webhook, gauges.held.into());
    of_webhook(&names::WEBHOOK_PAUSED, webhook, gauges.paused.into());
}

/// The bytes of the database and of its write-ahead log.
pub fn files(database: u64, wal: u64) {
    set(&names::DATABASE_BYTES, database);
    set(&names::WAL_BYTES, wal);
}

fn of_webhook(metric: &Metric, webhook: &WebhookName, value: u64) {
    let webhook = webhook.as_str().to_owned();
    gauge!(metric.name, "webhook" => webhook).set(exporter::float(value));
}

fn set(metric: &Metric, value: u64) {
    gauge!(metric.name).set(exporter::float(value));
}

//! The rows: jobs for webhooks that are not configured, jobs that fail their polls, jobs that are not polled.

use std::time::Duration;

use super::{Finding, note, ok, problem, warning};
use crate::cli::text::{ago, count, outside};
use crate::clock::Clock;
use crate::core::delivery::WebhookName;
use crate::core::time::UnixMillis;
use crate::store::{Checks as _, Jobs as _, JobsHealth, Store, StoreError, Upstreams as _};
use crate::upstream::UpstreamSettings;

/// A job whose next poll was due this long ago is not being followed.
const OVERDUE: Duration = Duration::from_secs(10 * 60);

/// So many polls that failed in a row are a warning.
const FAILED_POLLS: u32 = 10;

/// Jobs that name a webhook which is not configured.
pub(in crate::cli) async fn unknown_webhooks(store: &Store, known: &[WebhookName]) -> Vec<Finding> {
    let check = "jobs.webhook";
    let unknown = match store.unknown_webhooks(known).await {
        Ok(unknown) => unknown.into_iter(),
        Err(error) => return vec![unreadable(check, &error)],
    };
    let finding = |(name, jobs): (String, u64)| {
        let name = outside(&name, 64);
        let text =
            format!("{jobs} running jobs name the webhook \"{name}\", which is not configured");
        problem(check, text).advise(
            "their events wait; write a section of that name and run: systemctl reload jobtrackd, or move them to another \
             webhook with: jobtrackd webhook move",
        )
    };
    unknown.map(finding).collect()
}

/// The jobs that have not ended, while the API pauses all polls or not; `names` are the webhooks of the configuration.
pub(in crate::cli) async fn probe(
    store: &Store,
    names: Option<&[WebhookName]>,
    pause: Option<UnixMillis>,
    clock: &Clock,
) -> Vec<Finding> {
    let now = clock.now();
    let mut findings = match store.jobs_health(now.minus(OVERDUE), FAILED_POLLS).await {
        Ok(health) => judge(&health, pause, now),
        Err(error) => vec![unreadable("jobs.overdue", &error)],
    };
    if let Some(names) = names {
        findings.extend(unknown_webhooks(store, names).await);
    }
    findings
}

fn judge(health: &JobsHealth, pause: Option<UnixMillis>, now: UnixMillis) -> Vec<Finding> {
    let mut findings = vec![failing(health)];
    if health.limited > 0 {
        let jobs = count(health.limited, "job");
        let text = format!("{jobs} changed so often that only the end is recorded");
        findings.push(warning("jobs.limited", text).advise(
            "the API says something else of them at every poll; ask its owner, and see which: sqlite3 -readonly jobs.db \
             \"SELECT id FROM jobs WHERE limited = 1 AND finished_at IS NULL\"",
        ));
    }
    if let Some(first) = health.invalid.first() {
        let jobs = match health.invalid.len() {
            1 => "a job cannot be followed or recorded".to_owned(),
            many => format!("{many} jobs cannot be followed or recorded"),
        };
        findings.push(problem("jobs.rows", format!("{jobs}: {}", outside(first, 300))).advise(
            "another program has changed its rows; correct them by hand, and the daemon goes on with it",
        ));
    }
    findings.push(overdue(health, pause, now));
    findings
}

/// Until when the API asked for no polls.
pub(in crate::cli) async fn pause(
    store: &Store,
    upstream: &UpstreamSettings,
    clock: &Clock,
) -> Option<UnixMillis> {
    let origin = upstream.base_url.origin().ascii_serialization();
    let until = store.upstream_pause(&origin).await.ok().flatten()?;
    (until > clock.now()).then_some(until)
}

fn unreadable(check: &'static str, error: &StoreError) -> Finding {
    problem(check, format!("the jobs cannot be read: {error}"))
        .advise("the daemon cannot either; try: jobtrackd list --limit 1")
}

fn failing(health: &JobsHealth) -> Finding {
    let check = "jobs.errors";
    let Some((id, error)) = &health.worst else {
        let jobs = count(health.unfinished, "job");
        return ok(check, format!("{jobs} in progress, none fails its polls"));
    };
    let (id, error) = (outside(id, 200), outside(error, 200));
    let jobs = count(health.failing, "job");
    let text = format!(
        "{jobs} failed the last {FAILED_POLLS} polls or more; of {id} the last error is {error}"
    );
    warning(check, text).advise(format!(
        "they are polled until their deadline and then fail as expired; see: jobtrackd show {id}"
    ))
}

fn overdue(health: &JobsHealth, pause: Option<UnixMillis>, now: UnixMillis) -> Finding {
    let check = "jobs.overdue";
    let Some(since) = health.overdue_since else {
        return ok(check, "no job waits for a poll that should have been made");
    };
    let (jobs, ago) = (count(health.overdue, "job"), ago(now.since(since)));
    let text = format!("{jobs} should have been polled, the first {ago}");
    match pause {
        Some(until) => note(check, format!("{text}; the API asked to be left alone until {until}")).advise(
            "they are polled then; nothing is to be done but to send it fewer requests (upstream.requests_per_second)",
        ),
        None => problem(check, text).advise(
            "the daemon does not run, or is stuck; run: systemctl restart jobtrackd; journalctl -u \
             jobtrackd -n 50",
        ),
    }
}

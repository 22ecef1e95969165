//! The rows: jobs nobody is told of, jobs in trouble, jobs nobody follows.

use std::time::Duration;

use super::Finding;
use crate::cli::text::{ago, count, outside};
use crate::clock::Clock;
use crate::core::delivery::WebhookName;
use crate::core::time::UnixMillis;
use crate::store::{JobsHealth, Store, StoreError};

/// A job whose next poll was due this long ago is not being followed.
const OVERDUE: Duration = Duration::from_secs(10 * 60);

/// So many polls that failed in a row are worth a look.
const FAILED_POLLS: u32 = 10;

/// Jobs that name a webhook nobody configured.
pub(in crate::cli) async fn unknown_webhooks(store: &Store, known: &[WebhookName]) -> Vec<Finding> {
    let check = "jobs.webhook";
    match store.unknown_webhooks(known).await {
        Ok(unknown) => unknown
            .into_iter()
            .map(|(name, jobs)| {
                let name = outside(&name, 64);
                let says = format!(
                    "{jobs} running jobs name the webhook \"{name}\", which is not configured"
                );
                let advice = "their events wait; write a section of that name and run: systemctl reload jobtrackd, or \
                              hand them over with: jobtrackd webhook move";
                Finding::problem(check, says, advice)
            })
            .collect(),
        Err(error) => vec![unreadable(check, &error)],
    }
}

/// How those that have not ended are doing.
pub(in crate::cli) async fn look(
    store: &Store,
    origin: Option<&str>,
    clock: &Clock,
) -> Vec<Finding> {
    let now = clock.now();
    let health = match store.jobs_health(now.minus(OVERDUE), FAILED_POLLS).await {
        Ok(health) => health,
        Err(error) => return vec![unreadable("jobs.overdue", &error)],
    };
    let mut findings = vec![failing(&health)];
    let pause = match origin {
        Some(origin) => pause(store, origin, clock).await,
        None => None,
    };
    findings.extend((health.limited > 0).then(|| limited(&health)));
    findings.extend(spoilt(&health));
    findings.push(overdue(&health, pause, now));
    findings
}

/// Until when the API asked to be left alone.
pub(in crate::cli) async fn pause(
    store: &Store,
    origin: &str,
    clock: &Clock,
) -> Option<UnixMillis> {
    let until = store.upstream_pause(origin).await.ok().flatten()?;
    (until > clock.now()).then_some(until)
}

fn unreadable(check: &'static str, error: &StoreError) -> Finding {
    Finding::problem(
        check,
        format!("the jobs cannot be read: {error}"),
        "the daemon cannot either; try: jobtrackd list --limit 1",
    )
}

fn failing(health: &JobsHealth) -> Finding {
    let check = "jobs.errors";
    let Some((id, said)) = &health.worst else {
        let says = format!(
            "{} in progress, none fails its polls",
            count(health.unfinished, "job")
        );
        return Finding::ok(check, says);
    };
    Finding::warning(
        check,
        format!(
            "{} failed the last {FAILED_POLLS} polls or more; of {} the last error is {}",
            count(health.failing, "job"),
            outside(id, 200),
            outside(said, 200)
        ),
        format!(
            "they are polled until their deadline and then fail as expired; see: jobtrackd show {}",
            outside(id, 200)
        ),
    )
}

fn limited(health: &JobsHealth) -> Finding {
    Finding::warning(
        "jobs.limited",
        format!(
            "{} changed so often that only the end is recorded",
            count(health.limited, "job")
        ),
        "the API says something else of them at every poll; ask its owner, and see which: sqlite3 -readonly jobs.db \"SELECT id \
         FROM jobs WHERE limited = 1 AND finished_at IS NULL\"",
    )
}

fn spoilt(health: &JobsHealth) -> Option<Finding> {
    let first = health.spoilt.first()?;
    let jobs = match health.spoilt.len() {
        1 => "a job cannot be followed or recorded".to_owned(),
        many => format!("{many} jobs cannot be followed or recorded"),
    };
    Some(Finding::problem(
        "jobs.rows",
        format!("{jobs}: {}", outside(first, 300)),
        "another program has changed its rows; put them right by hand, and the daemon goes on with it",
    ))
}

fn overdue(health: &JobsHealth, pause: Option<UnixMillis>, now: UnixMillis) -> Finding {
    let check = "jobs.overdue";
    let Some(since) = health.overdue_since else {
        return Finding::ok(check, "no job waits for a poll that should have been made");
    };
    let says = format!(
        "{} should have been polled, the first {}",
        count(health.overdue, "job"),
        ago(now.since(since))
    );
    match pause {
        Some(until) => Finding::note(
            check,
            format!("{says}; the API asked to be left alone until {until}"),
            "they are polled then; nothing is to be done but to send it fewer requests \
             (upstream.requests_per_second)",
        ),
        None => Finding::problem(
            check,
            says,
            "nobody follows them: the daemon does not run, or is stuck; run: systemctl restart jobtrackd; journalctl -u \
             jobtrackd -n 50",
        ),
    }
}

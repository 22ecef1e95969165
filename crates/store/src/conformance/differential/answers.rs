//! All that a store can be asked.

use std::fmt::Debug;

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::{FailureKind, JobState};
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;
use strum::IntoEnumIterator as _;

use super::super::Verbs;
use super::{JOBS, T0, WEBHOOKS, id};
use crate::{
    Counts, DeliveryFilter, EventFilter, JobFilter, LatestEvents, ReplayFilter, UserFilter,
};

/// The answers, each with its question.
pub(super) async fn all(store: &impl Verbs, now: UnixMillis) -> Vec<String> {
    let mut answers = Answers::default();
    of_jobs(store, now, &mut answers).await;
    for name in WEBHOOKS {
        of_webhook(store, &WebhookName::new(name), now, &mut answers).await;
    }
    of_events(store, &mut answers).await;
    of_everything(store, now, &mut answers).await;
    answers.0
}

#[derive(Default)]
struct Answers(Vec<String>);

impl Answers {
    fn note(&mut self, question: impl Debug, answer: impl Debug) {
        self.0.push(format!("{question:?}: {answer:#?}"));
    }
}

async fn of_jobs(store: &impl Verbs, now: UnixMillis, answers: &mut Answers) {
    for name in JOBS {
        let job = id(name);
        answers.note(("tracked", name), store.tracked(&job).await);
        answers.note(("job", name), store.job(&job).await);
        answers.note(("resource", name), store.resource(&job).await);
        answers.note(("summary", name), store.summary(&job).await);
        answers.note(("challenge", name), store.challenge(&job).await);
        answers.note(("detail", name), store.detail(&job).await);
    }
    of_lists(store, now, answers).await;
    answers.note("active", store.active_jobs(i64::MIN, 2).await);
    answers.note("active after 1", store.active_jobs(1, 9).await);
    answers.note("changes", store.changes(0, 100).await);
    answers.note("a page of changes", store.changes(2, 2).await);
    answers.note("newest change", store.newest_change().await);
    answers.note("health", store.jobs_health(now, 2).await);
    for user in ["u1", "u2"] {
        for connection in [None, Some("c1".to_owned())] {
            let filter = UserFilter {
                user: user.to_owned(),
                connection,
                after: None,
                limit: 2,
            };
            answers.note(&filter, store.jobs_of_user(&filter).await);
        }
    }
    for stage in Stage::iter() {
        let found = store.prunable(stage, UnixMillis::MAX, None).await;
        answers.note(("prunable", stage), found);
        let found = store.prunable(stage, now, Some((T0, 2))).await;
        answers.note(("prunable later", stage), found);
    }
}

async fn of_ended(store: &impl Verbs, now: UnixMillis, answers: &mut Answers) {
    for (state, since, after) in [
        (None, None, None),
        (Some(JobState::Failed), None, None),
        (None, Some(T0), Some((now, id("2")))),
    ] {
        let filter = JobFilter {
            state,
            since,
            ended_since: Some(T0),
            ended_until: Some(now),
            after,
            searched: Some(3),
            limit: 2,
            ..JobFilter::default()
        };
        answers.note(&filter, store.list(&filter).await);
        answers.note("search end", store.search_end(&filter).await);
    }
}

async fn of_lists(store: &impl Verbs, now: UnixMillis, answers: &mut Answers) {
    for (state, webhook, text, limit) in [
        (None, None, None, 2),
        (Some(JobState::InProgress), None, None, 100),
        (None, Some("w"), None, 100),
        (None, None, Some("REFUSED"), 100),
        (None, None, Some("7"), 100),
        (None, None, Some("odd"), 1),
    ] {
        let filter = JobFilter {
            state,
            webhook: webhook.map(str::to_owned),
            text: text.map(str::to_owned),
            limit,
            ..JobFilter::default()
        };
        let page = store.list(&filter).await;
        answers.note(&filter, page);
        answers.note("search end", store.search_end(&filter).await);
    }
    for (failure, searched) in [(FailureKind::Step, None), (FailureKind::Cancelled, Some(2))] {
        let filter = JobFilter {
            failure: Some(failure),
            searched,
            limit: 100,
            ..JobFilter::default()
        };
        answers.note(&filter, store.list(&filter).await);
        answers.note("search end", store.search_end(&filter).await);
    }
    of_ended(store, now, answers).await;
    for start in ["", "1", "zz"] {
        answers.note(("ids", start), store.ids_beginning(start, 3).await);
    }
    let filter = JobFilter {
        since: Some(T0),
        until: Some(now),
        after: Some((now, id("2"))),
        limit: 100,
        ..JobFilter::default()
    };
    answers.note(&filter, store.list(&filter).await);
    answers.note("newest ids", store.newest_ids(2).await);
    let mut after = None;
    for _ in 0..3 {
        let page = store.timeline(&id("1"), after.as_ref(), 7).await.unwrap();
        let last = page.as_ref().and_then(|page| page.entries.last());
        let last = last.map(|entry| entry.key.clone());
        answers.note(("timeline", &after), page);
        after = last;
    }
    answers.note("overview", store.overview(T0).await);
    for limit in [1, 10] {
        let changed = store.recently_changed(T0, limit).await;
        answers.note(("recently changed", limit), changed);
    }
    answers.note("progress", store.progress(&JOBS.map(id)).await);
}

async fn of_webhook(
    store: &impl Verbs,
    webhook: &WebhookName,
    now: UnixMillis,
    answers: &mut Answers,
) {
    for at in [now, UnixMillis::MAX] {
        let due = store.deliveries_due(webhook, at, &[], 100).await.unwrap();
        for each in &due.deliveries {
            let body = store.body_to_send(webhook, &each.event_id).await;
            answers.note(("body", webhook, &each.event_id), body);
        }
        answers.note(("due", webhook, at), due);
        let due = store.deliveries_due(webhook, at, &[], 1).await.unwrap();
        let first = due.deliveries.iter().map(|each| each.event_id.clone());
        let first: Vec<String> = first.collect();
        answers.note(("the first that is due", webhook, at), due);
        let others = store.deliveries_due(webhook, at, &first, 100).await;
        answers.note(("the others that are due", webhook, at), others);
        let expired = store.expired_deliveries(webhook, at, 100).await;
        answers.note(("expired", webhook, at), expired);
    }
    let due = store.expiring_deliveries_due(webhook, now, 100).await;
    answers.note(("expiring", webhook), due);
    let probes = store.deliveries_to_probe(webhook, now, 100).await;
    answers.note(("to probe", webhook), probes);
    let next = store.next_delivery(webhook, now).await;
    answers.note(("next", webhook), next);
    let next = store.next_expiry(webhook, now).await;
    answers.note(("next expiry", webhook), next);
    let health = store.webhook_health(webhook).await;
    answers.note(("health", webhook), health);
    answers.note(("backlog", webhook), store.backlog(webhook).await);
    let unreadable = store.unreadable_deliveries(webhook).await;
    answers.note(("unreadable", webhook), unreadable);
    // Which of those that began at the same moment comes first is nobody's promise.
    for events in [3, 10_000] {
        let latest = store.latest_attempts(webhook, events, 100).await;
        let mut latest = latest.unwrap();
        latest.sort_by_key(|each| (each.started_at, each.number, each.event_id.clone()));
        answers.note(("latest attempts", webhook, events), latest);
    }
}

async fn of_events(store: &impl Verbs, answers: &mut Answers) {
    answers.note("newest event", store.newest_event().await);
    for (kind, before, limit) in [
        (None, None, 100),
        (None, Some(4), 2),
        (Some(EventType::StepChanged), None, 3),
    ] {
        let wanted = LatestEvents {
            before,
            kind,
            limit,
        };
        answers.note(("latest", kind), store.latest_events(&wanted).await);
    }
    for (job, kind, after, limit, bytes) in [
        (None, None, 0, 100, u32::MAX),
        (None, None, 2, 3, 1),
        (None, Some(EventType::StepChanged), 0, 2, u32::MAX),
        (Some(id("1")), None, 1, 100, u32::MAX),
        (Some(id("1")), Some(EventType::Failed), 0, 100, 900),
    ] {
        let filter = EventFilter {
            after,
            kind,
            job,
            limit,
            bytes,
            detail: true,
        };
        let page = store.events(&filter).await;
        answers.note(&filter, page);
    }
    for (state, webhook, job, before, limit) in [
        (None, None, None, None, 100),
        (Some(DeliveryState::Pending), None, None, None, 3),
        (None, Some("w"), Some(id("1")), None, 100),
        (Some(DeliveryState::Exhausted), None, None, Some(5), 100),
    ] {
        let filter = DeliveryFilter {
            state,
            webhook: webhook.map(str::to_owned),
            job,
            kind: None,
            before,
            limit,
        };
        let page = store.list_deliveries(&filter).await;
        answers.note(&filter, page);
    }
    for (job, webhook, since, failed_only) in [
        (None, None, None, false),
        (Some("1"), Some("w"), None, true),
        (None, None, Some(T0), false),
        (None, None, Some(UnixMillis::MAX), false),
    ] {
        let filter = ReplayFilter {
            job: job.map(str::to_owned),
            webhook: webhook.map(str::to_owned),
            since,
            failed_only,
            limit: 100,
            ..ReplayFilter::default()
        };
        answers.note(&filter, store.replayable(&filter, 0).await);
    }
}

async fn of_everything(store: &impl Verbs, now: UnixMillis, answers: &mut Answers) {
    let names = WEBHOOKS.map(WebhookName::new);
    let counts = store.counts(&names).await.unwrap();
    // Memory has no file.
    let counts = Counts {
        database_bytes: 0,
        wal_bytes: 0,
        ..counts
    };
    answers.note("counts", counts);
    let mut requests = store.webhook_requests().await.unwrap();
    requests.sort();
    answers.note("requests", requests);
    answers.note("names", store.webhook_names().await);
    let unconfigured = store.unconfigured_webhooks(&names[..1]).await;
    answers.note("unconfigured", unconfigured);
    answers.note("unknown", store.unknown_webhooks(&names[..1]).await);
    answers.note("pending", store.pending_deliveries(5).await);
    let pause = store.upstream_pause("https://api.example").await;
    answers.note("pause", pause);
    answers.note("resumes", store.upstream_resumes().await);
    answers.note("replays", store.unfinished_replays().await);
    answers.note(("writable", now), store.writable().await);
}

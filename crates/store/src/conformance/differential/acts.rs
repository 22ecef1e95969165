//! What happens, and how it is done to both stores.

use std::fmt::Debug;
use std::time::Duration;

use jobtrackd_clock::Clock;
use jobtrackd_core::delivery::{AfterAttempt, Attempt, Trigger, WebhookName};
use jobtrackd_core::health::{Failing, Health, Hold};
use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::fixtures::{attempt, expired, schedule, seen_at, with_deliveries};
use super::super::{Backend, InMemory, Sqlite, job};
use super::{JOBS, T0, WEBHOOKS, id, memory};
use crate::{
    Batch, Deliveries as _, Expiry as _, FinishedAttempt, Intake as _, JobUpdate, Jobs as _,
    NewJob, Outsider as _, Prune, Recordable, Replay, ReplayFilter, Replays as _, Retention as _,
    StoreError, Undelivered, Unwanted, WebhookHealth,
};

/// Something that happens to a store.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Time passes, in milliseconds.
    Passes(i64),
    Inserted(usize, Option<usize>),
    Enqueued(usize, u8),
    Updated(usize, u8),
    Deleted(usize),
    Requested(usize, bool),
    /// One batch of everything.
    Committed(Vec<Seen>, Vec<Attempted>, u8),
    /// An observation from earlier.
    Late(usize, Option<usize>),
    Expired(usize, bool),
    Disabled(usize),
    Enabled(usize),
    GivenUp(usize, usize, u8),
    Moved(usize, usize),
    Replayed(Option<usize>, Option<usize>, bool),
    Clamped(usize, u64),
    Resumed,
    Pruned(u8, i64, u32),
    Tested(usize, u8),
}

/// An answer about a job: which, how far its steps are, how it looks, whom it concerns, and when its events expire.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    job: usize,
    steps: usize,
    how: u8,
    webhooks: Vec<usize>,
    expires: Option<i64>,
}

/// An attempt at a head of a webhook.
#[derive(Debug, Clone)]
pub(super) struct Attempted {
    webhook: usize,
    which: usize,
    how: u8,
    fallback: Option<usize>,
    health: Option<(u8, i64, i64)>,
    skew: u32,
}

fn seen() -> impl Strategy<Value = Seen> {
    let webhooks = proptest::collection::vec(0..WEBHOOKS.len(), 0..3);
    let expires = proptest::option::of(-5000..20_000_i64);
    (0..JOBS.len(), 1..4_usize, 0..12_u8, webhooks, expires).prop_map(
        |(job, steps, how, mut webhooks, expires)| {
            webhooks.sort_unstable();
            webhooks.dedup();
            Seen {
                job,
                steps,
                how,
                webhooks,
                expires,
            }
        },
    )
}

fn attempted() -> impl Strategy<Value = Attempted> {
    let fallback = proptest::option::weighted(0.3, 0..WEBHOOKS.len());
    let health = proptest::option::of((0..3_u8, 0..6_i64, 0..2_i64));
    let skew = prop_oneof![9 => Just(1), 1 => 0..3_u32];
    (
        0..WEBHOOKS.len(),
        0..3_usize,
        0..14_u8,
        fallback,
        health,
        skew,
    )
        .prop_map(|(webhook, which, how, fallback, health, skew)| Attempted {
            webhook,
            which,
            how,
            fallback,
            health,
            skew,
        })
}

/// Anything.
pub(super) fn act() -> impl Strategy<Value = Act> {
    let (jobs, webhooks) = (0..JOBS.len(), 0..WEBHOOKS.len());
    let observed = proptest::collection::vec(seen(), 0..3);
    let attempts = proptest::collection::vec(attempted(), 0..4);
    let some_webhook = proptest::option::of(webhooks.clone());
    let some_job = proptest::option::of(jobs.clone());
    prop_oneof![
        2 => select(vec![1, 500, 5000, 100_000, -3000]).prop_map(Act::Passes),
        4 => (jobs.clone(), some_webhook.clone()).prop_map(|(job, webhook)| Act::Inserted(job, webhook)),
        1 => (jobs.clone(), 0..8_u8).prop_map(|(job, how)| Act::Enqueued(job, how)),
        2 => (jobs.clone(), 0..8_u8).prop_map(|(job, how)| Act::Updated(job, how)),
        1 => jobs.clone().prop_map(Act::Deleted),
        1 => (jobs.clone(), any::<bool>()).prop_map(|(job, poll)| Act::Requested(job, poll)),
        16 => (observed, attempts, any::<u8>()).prop_map(|(seen, tried, more)| Act::Committed(seen, tried, more)),
        2 => (0..100_usize, proptest::option::of(0..100_usize)).prop_map(|(one, other)| Act::Late(one, other)),
        2 => (webhooks.clone(), any::<bool>()).prop_map(|(webhook, instead)| Act::Expired(webhook, instead)),
        1 => webhooks.clone().prop_map(Act::Disabled),
        2 => webhooks.clone().prop_map(Act::Enabled),
        2 => (jobs.clone(), webhooks.clone(), 0..8_u8).prop_map(|(job, webhook, how)| Act::GivenUp(job, webhook, how)),
        2 => (webhooks.clone(), webhooks.clone()).prop_map(|(from, to)| Act::Moved(from, to)),
        2 => (some_job, some_webhook, any::<bool>()).prop_map(|(job, webhook, failed)| Act::Replayed(job, webhook, failed)),
        1 => (webhooks.clone(), 0..60_u64).prop_map(|(webhook, seconds)| Act::Clamped(webhook, seconds)),
        1 => Just(Act::Resumed),
        2 => (0..3_u8, -1000..200_000_i64, 1..20_u32).prop_map(|(stage, before, rows)| Act::Pruned(stage, before, rows)),
        1 => (webhooks, 0..4_u8).prop_map(|(webhook, number)| Act::Tested(webhook, number)),
    ]
}

/// Both stores, and what is needed to go on.
pub(super) struct World {
    pub(super) sqlite: Sqlite,
    pub(super) memory: InMemory,
    pub(super) clock: Clock,
    pub(super) steps: [usize; 3],
    /// What has been recorded, or not, before.
    pub(super) late: Vec<Recordable>,
    pub(super) replays: Vec<Replay>,
}

/// Does the same with both stores.
macro_rules! both {
    ($world:expr, $store:ident => $work:expr) => {{
        let $store = $world.sqlite.store();
        let of_sqlite = said(&$work);
        let $store = $world.memory.store();
        (of_sqlite, said(&$work))
    }};
}

/// Has the other program do the same with both.
macro_rules! outside {
    ($world:expr, $outsider:ident => $work:expr) => {{
        let clock = $world.clock.clone();
        let $outsider = $world.sqlite.outsider();
        let of_sqlite = said(&clock.held($work).await);
        let $outsider = $world.memory.outsider();
        (of_sqlite, said(&$work.await))
    }};
}

/// The answer. Of a row that is refused only that it is.
fn said<T: Debug>(answer: &Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Refused(_)) => "refused".to_owned(),
        other => format!("{other:#?}"),
    }
}

impl World {
    /// Both answers.
    pub(super) async fn happens(&mut self, act: &Act) -> (String, String) {
        match act {
            Act::Passes(millis) => {
                self.clock.set_ahead(*millis);
                Default::default()
            }
            Act::Inserted(..) | Act::Enqueued(..) | Act::Updated(..) | Act::Deleted(_) => {
                self.outsider_acts(act).await
            }
            Act::Requested(which, is_poll) => {
                let job = id(JOBS[*which]);
                both!(self, store => match is_poll {
                    true => store.request_poll(&job).await,
                    false => store.request_cancel(&job).await,
                })
            }
            Act::Committed(seen, tried, more) => {
                let batch = self.batch(seen, tried, *more).await;
                self.commit(batch).await
            }
            Act::Late(one, other) => {
                let mut observations = Vec::new();
                for which in [Some(one), other.as_ref()].into_iter().flatten() {
                    if !self.late.is_empty() {
                        let each = self.late[which % self.late.len()].clone();
                        let job = &each.observation.job_id;
                        let known = |it: &Recordable| it.observation.job_id == *job;
                        if !observations.iter().any(known) {
                            observations.push(each);
                        }
                    }
                }
                self.commit(Batch {
                    observations,
                    ..Batch::default()
                })
                .await
            }
            Act::Expired(webhook, instead) => self.expire(*webhook, *instead).await,
            _ => self.operator_acts(act).await,
        }
    }

    async fn commit(&mut self, batch: Batch) -> (String, String) {
        let answers = both!(self, store => {
            // What is recorded together is in no order.
            let committed = crate::Commits::commit(store, &batch).await;
            committed.map(|it| {
                let mut recorded: Vec<JobId> = it.recorded.into_iter().collect();
                recorded.sort();
                let mut unexpected: Vec<_> = it.unexpected_attempts.into_iter().collect();
                unexpected.sort();
                (recorded, it.webhooks, unexpected)
            })
        });
        self.late.extend(batch.observations);
        answers
    }

    async fn outsider_acts(&mut self, act: &Act) -> (String, String) {
        let now = self.clock.now();
        match act {
            Act::Inserted(which, webhook) => {
                let row = NewJob {
                    webhook: webhook.map(|webhook| WEBHOOKS[webhook].to_owned()),
                    metadata: Some("{\"a\": 1}".to_owned()),
                    ..job(JOBS[*which])
                };
                outside!(self, outsider => outsider.insert(&row, now))
            }
            Act::Enqueued(which, how) => {
                let row = new_job(JOBS[*which], *how);
                let inserted = both!(self, store => store.enqueue(&row).await);
                // One of them takes the time of the database.
                let dated = JobUpdate::CreatedAt(now);
                if inserted.0.contains("true") {
                    let job = id(&row.id);
                    outside!(self, outsider => outsider.update(&job, &dated));
                }
                let all = [row, job("1"), job(".")];
                let again = both!(self, store => store.enqueue_all(&all[..1]).await);
                let refused = both!(self, store => store.enqueue_all(&all[2..]).await);
                (
                    inserted.0 + &again.0 + &refused.0,
                    inserted.1 + &again.1 + &refused.1,
                )
            }
            Act::Updated(which, how) => {
                let (job, update) = (id(JOBS[*which]), update(*how));
                outside!(self, outsider => outsider.update(&job, &update))
            }
            Act::Deleted(which) => {
                let job = id(JOBS[*which]);
                outside!(self, outsider => outsider.delete(&job))
            }
            _ => Default::default(),
        }
    }

    async fn expire(&mut self, webhook: usize, instead: bool) -> (String, String) {
        let name = WebhookName::new(WEBHOOKS[webhook]);
        let memory = self.memory.store();
        let found = memory.expired_deliveries(&name, UnixMillis::MAX, 100).await;
        let fallback = WebhookName::new(WEBHOOKS[(webhook + 1) % WEBHOOKS.len()]);
        let expiries = found.unwrap().into_iter().map(|expired| Undelivered {
            fallback: instead.then(|| fallback.clone()),
            ..expired
        });
        self.commit(Batch {
            expiries: expiries.collect(),
            ..Batch::default()
        })
        .await
    }

    async fn operator_acts(&mut self, act: &Act) -> (String, String) {
        let name = |webhook: &usize| WebhookName::new(WEBHOOKS[*webhook]);
        match act {
            Act::Disabled(webhook) => {
                let webhook = name(webhook);
                both!(self, store => crate::Webhooks::disable_webhook(store, &webhook, "by hand").await)
            }
            Act::Enabled(webhook) => {
                let webhook = name(webhook);
                both!(self, store => crate::Webhooks::enable_webhook(store, &webhook).await)
            }
            Act::Clamped(webhook, seconds) => {
                let (webhook, longest) = (name(webhook), Duration::from_secs(*seconds));
                both!(self, store => crate::Webhooks::clamp_waits(store, &webhook, longest).await)
            }
            Act::GivenUp(job, webhook, how) => {
                let unwanted = self.unwanted(*job, &name(webhook), *how).await;
                both!(self, store => crate::Backlogs::give_up(store, &unwanted).await)
            }
            Act::Moved(from, to) if from != to => {
                let (from, to) = (name(from), name(to));
                both!(self, store => crate::Backlogs::move_deliveries(store, &from, &to).await)
            }
            Act::Replayed(job, webhook, failed_only) => {
                self.replay(*job, *webhook, *failed_only).await
            }
            Act::Resumed => both!(self, store => crate::Upstreams::resume_upstreams(store).await),
            Act::Pruned(stage, before, rows) => {
                let stage = [Stage::Attempts, Stage::Events, Stage::Jobs][usize::from(*stage)];
                self.prune(stage, UnixMillis(T0.0 + before), *rows).await
            }
            Act::Tested(webhook, number) => {
                let attempt = Attempt {
                    event_id: "test_1".to_owned(),
                    webhook: name(webhook),
                    number: u32::from(*number),
                    started_at: self.clock.now(),
                    duration_ms: 5,
                    status: Some(200),
                    error: None,
                    trigger: Trigger::Test,
                    answer: Some("ok".to_owned()),
                    answer_cut: None,
                };
                both!(self, store => crate::Attempts::record_test(store, &attempt).await)
            }
            _ => Default::default(),
        }
    }

    async fn unwanted(&self, job: usize, webhook: &WebhookName, how: u8) -> Unwanted {
        let detail = self.memory.store().detail(&id(JOBS[job])).await.unwrap();
        let events = detail.map(|detail| detail.events).unwrap_or_default();
        let event = events.get(usize::from(how / 2) % events.len().max(1));
        match event.map(|event| event.id.clone()) {
            Some(event) if how % 2 == 0 => Unwanted::Event(event),
            Some(event) if how != 7 => Unwanted::EventOf(event, webhook.clone()),
            _ => Unwanted::AllOf(webhook.clone()),
        }
    }

    async fn replay(
        &mut self,
        job: Option<usize>,
        webhook: Option<usize>,
        failed_only: bool,
    ) -> (String, String) {
        let filter = ReplayFilter {
            job: job.map(|job| JOBS[job].to_owned()),
            webhook: webhook.map(|webhook| WEBHOOKS[webhook].to_owned()),
            failed_only,
            limit: 1000,
            ..ReplayFilter::default()
        };
        let page = self.memory.store().replayable(&filter, 0).await.unwrap();
        let begun = both!(self, store => store.begin_replay(&filter).await);
        let begun_last = self.memory.store().unfinished_replays().await.unwrap();
        self.replays.extend(begun_last.into_iter().take(1));
        let latest = self.replays.last().unwrap().clone();
        let made = both!(self, store => store.replay(&latest, &page).await);
        let again = both!(self, store => store.replay(&latest, &page).await);
        (begun.0 + &made.0 + &again.0, begun.1 + &made.1 + &again.1)
    }

    async fn prune(&mut self, stage: Stage, before: UnixMillis, rows: u32) -> (String, String) {
        let found = self.memory.store().prunable(stage, before, None).await;
        let (jobs, _) = found.unwrap();
        let prune = Prune {
            stage,
            before,
            jobs: &jobs,
            rows,
        };
        let pruned = both!(self, store => {
            store.prune(prune).await.map(|pruned| (pruned.jobs, pruned.rows))
        });
        let tests = both!(self, store => {
            store.prune_tests(before, rows).await.map(|pruned| pruned.rows)
        });
        (pruned.0 + &tests.0, pruned.1 + &tests.1)
    }

    /// Made from what the memory knows, which is the same in the file.
    async fn batch(&mut self, seen: &[Seen], tried: &[Attempted], more: u8) -> Batch {
        let now = self.clock.now();
        let mut batch = Batch {
            now: (more & 1 == 0).then_some(now),
            ..Batch::default()
        };
        for each in seen {
            let store = self.memory.store();
            let Some(tracked) = store.tracked(&id(JOBS[each.job])).await.unwrap() else {
                continue;
            };
            let has = |it: &Recordable| it.observation.job_id == tracked.id;
            if batch.observations.iter().any(has) {
                continue;
            }
            self.steps[each.job] += 1;
            let mut observation = match each.how {
                11 => expired(&tracked),
                how => {
                    let text = answer(each.job, each.steps, self.steps[each.job], how);
                    seen_at(&tracked, &text, now)
                }
            };
            for event in &mut observation.events {
                if event.expires_at.is_none() {
                    event.expires_at = each.expires.map(|ms| UnixMillis(now.0 + ms));
                }
            }
            let names: Vec<&str> = each.webhooks.iter().map(|it| WEBHOOKS[*it]).collect();
            batch
                .observations
                .push(with_deliveries(observation, &names));
        }
        for each in tried {
            let finished = self.attempt(each).await;
            batch.attempts.extend(finished);
        }
        if more & 2 == 0 {
            batch.schedules = JOBS.map(|job| schedule(job, u64::from(more))).to_vec();
            if more & 8 == 0 {
                batch.schedules[0].progress.last_error = Some("throttled (429)".to_owned());
            }
        }
        if more & 4 == 0 {
            batch.poll_requests_taken = vec![id("1"), id("2")];
            let newest = self.memory.store().newest_change().await.unwrap();
            batch.changes_seen = Some(newest - i64::from(more >> 6));
            let until = now.plus(Duration::from_secs(u64::from(more)));
            batch.upstream_paused = Some(("https://api.example".to_owned(), until));
        }
        batch
    }

    async fn attempt(&self, tried: &Attempted) -> Option<FinishedAttempt> {
        let store: &memory::Store = self.memory.store();
        let name = WEBHOOKS[tried.webhook];
        let webhook = WebhookName::new(name);
        let due = store.deliveries_due(&webhook, UnixMillis::MAX, 10).await;
        let due = due.unwrap().deliveries;
        let head = due.get(tried.which % due.len().max(1))?;
        let now = self.clock.now();
        let after = match tried.how {
            0..=3 => AfterAttempt::Delivered,
            4..=7 => AfterAttempt::Retry(now.plus(Duration::from_secs(60))),
            8 => AfterAttempt::Again(now.plus(Duration::from_secs(90))),
            9 | 10 => AfterAttempt::Exhausted,
            11 => AfterAttempt::Aborted,
            12 => AfterAttempt::Expired,
            _ => AfterAttempt::Disabled,
        };
        let mut finished = attempt(name, head, after);
        finished.attempt.number = head.attempts + tried.skew;
        finished.attempt.started_at = now;
        finished.fallback = tried.fallback.map(|it| WebhookName::new(WEBHOOKS[it]));
        finished.health = tried
            .health
            .map(|(kind, revision, generation)| WebhookHealth {
                health: health(kind, now),
                empty_pauses: 1,
                revision,
                generation,
                ..WebhookHealth::default()
            });
        Some(finished)
    }
}

fn health(kind: u8, now: UnixMillis) -> Health {
    let failing = Failing {
        failures: 2,
        jobs: vec![id("1"), id("2")],
    };
    match kind {
        0 => Health::Ready(failing),
        1 => Health::Ramping {
            allowed: 4,
            taken: 2,
            failing: Failing::default(),
        },
        _ => Health::Held(Hold {
            since: now,
            failures: 7,
            probes: 3,
            probe_at: Some(now.plus(Duration::from_secs(1000))),
            event_id: Some("evt".to_owned()),
        }),
    }
}

/// What the API says of a job.
fn answer(job: usize, steps: usize, round: usize, how: u8) -> String {
    let steps = (0..steps).map(|step| {
        let title = ["a", "b", "a"][(step + usize::from(how)) % 3];
        let status = match how {
            0..=3 => format!("s{}", round % 4),
            4 | 5 => "in-progress".to_owned(),
            6 => "pending".to_owned(),
            7 | 8 => "success".to_owned(),
            _ => "failed".to_owned(),
        };
        let result = match how {
            3 => serde_json::json!({"n": round, "url": "/users/u2/x"}),
            5 => serde_json::json!({"type": "mfa", "method": "otp", "expiryMs": 3000}),
            6 => serde_json::json!({"code": "temporary-unavailable-queued", "title": "wait"}),
            9 => serde_json::json!({"code": "", "detail": "no"}),
            10 => serde_json::json!([{"code": "invalid-credentials", "title": 7}]),
            _ => serde_json::Value::Null,
        };
        serde_json::json!({"title": title, "status": status, "result": result})
    });
    let steps: Vec<serde_json::Value> = steps.collect();
    let source = format!("/users/u1/connections/c{job}");
    serde_json::json!({"type": "job", "steps": steps, "links": {"source": source}}).to_string()
}

fn new_job(name: &str, how: u8) -> NewJob {
    let early = UnixMillis(5);
    let plain = job(name);
    match how {
        0 => job("a/b"),
        1 => NewJob {
            metadata: Some("[]".to_owned()),
            ..plain
        },
        2 => NewJob {
            metadata: Some(format!("{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32))),
            ..plain
        },
        3 => NewJob {
            url: Some("//elsewhere/a".to_owned()),
            ..plain
        },
        4 => NewJob {
            webhook: Some(String::new()),
            ..plain
        },
        5 => NewJob {
            deadline_at: Some(early),
            ..plain
        },
        6 => NewJob {
            not_before: Some(early),
            ..plain
        },
        _ => NewJob {
            url: Some("/a?b".to_owned()),
            priority: 3,
            ..plain
        },
    }
}

fn update(how: u8) -> JobUpdate {
    match how {
        0 => JobUpdate::Cancel,
        1 => JobUpdate::Poll,
        2 => JobUpdate::Url(Some("/b".to_owned())),
        3 => JobUpdate::Webhook(Some("x".to_owned())),
        4 => JobUpdate::Webhook(None),
        5 => JobUpdate::Priority(3),
        6 => JobUpdate::Deadline(Some(UnixMillis(T0.0 + 7))),
        _ => JobUpdate::NotBefore(None),
    }
}

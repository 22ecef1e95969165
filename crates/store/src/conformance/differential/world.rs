//! How it is done to both stores.

use std::fmt::Debug;
use std::time::Duration;

use jobtrackd_clock::Clock;
use jobtrackd_core::delivery::{Attempt, Trigger, WebhookName};
use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

use super::super::{Backend as _, InMemory, Sqlite, job};
use super::acts::Act;
use super::{JOBS, T0, WEBHOOKS, id};
use crate::{
    Batch, Expiry as _, JobUpdate, Jobs as _, NewJob, Outsider as _, Prune, Recordable, Replay,
    ReplayFilter, Replays as _, Retention as _, StoreError, Undelivered, Unwanted,
};

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
        let mut expected = Vec::new();
        for Recordable { observation, .. } in &batch.observations {
            let job = self.memory.store().tracked(&observation.job_id).await;
            expected.extend(job.unwrap().map(|job| job.after(observation)));
        }
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
        for expected in expected {
            let of_memory = self.memory.store().tracked(&expected.id).await.unwrap();
            // Others were based on an older revision, or their job is gone.
            if of_memory
                .as_ref()
                .is_some_and(|job| job.revision == expected.revision)
            {
                let of_sqlite = self.sqlite.store().tracked(&expected.id).await.unwrap();
                assert_eq!(of_sqlite.as_ref(), Some(&expected));
                assert_eq!(of_memory, Some(expected));
            }
        }
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
            Some(event) if how.is_multiple_of(2) => Unwanted::Event(event),
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

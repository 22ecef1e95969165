//! The batches that the loops would commit.

use std::time::Duration;

use jobtrackd_core::delivery::{AfterAttempt, WebhookName};
use jobtrackd_core::health::{Failing, Health, Hold};
use jobtrackd_core::time::UnixMillis;

use super::super::Backend as _;
use super::super::fixtures::{attempt, expired, schedule, seen_at, with_deliveries};
use super::acts::{Attempted, Seen};
use super::world::World;
use super::{JOBS, WEBHOOKS, id};
use crate::{
    Batch, Deliveries as _, FinishedAttempt, Intake as _, Jobs as _, Recordable, WebhookHealth,
};

impl World {
    /// Made from what the memory knows, which is the same in the file.
    pub(super) async fn batch(&mut self, seen: &[Seen], tried: &[Attempted], more: u8) -> Batch {
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
            let newest = self.memory.store().newest_change().await.unwrap();
            let unread = i64::from(more >> 6);
            batch.poll_requests_taken = vec![(id("1"), newest), (id("2"), newest - unread)];
            batch.changes_seen = Some(newest - unread);
            let until = now.plus(Duration::from_secs(u64::from(more)));
            batch.upstream_paused = Some(("https://api.example".to_owned(), until));
        }
        batch
    }

    async fn attempt(&self, tried: &Attempted) -> Option<FinishedAttempt> {
        let store = self.memory.store();
        let name = WEBHOOKS[tried.webhook];
        let webhook = WebhookName::new(name);
        let due = store
            .deliveries_due(&webhook, UnixMillis::MAX, &[], 10)
            .await;
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

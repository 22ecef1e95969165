//! Random interleavings of everything that moves deliveries: observations, attempts, expiry, operators. Whatever comes, the
//! lanes stay right and nothing is lost.

use jobtrackd::core::delivery::{AfterAttempt, WebhookName};
use jobtrackd::core::time::UnixMillis;
use jobtrackd::store::{
    Backlogs as _, Batch, Commits as _, Expiry as _, ReplayFilter, Replays as _, Undelivered,
    Unwanted, Webhooks as _,
};
use proptest::prelude::*;

use super::bench::Bench;
use super::fixtures::{T0, attempt, body, seen, t, with_deliveries};

const JOBS: [&str; 2] = ["1", "2"];
const WEBHOOKS: [&str; 2] = ["w", "v"];

#[derive(Debug, Clone)]
enum Act {
    /// A job shows some changed steps.
    Seen(usize, usize),
    /// The first due delivery of a webhook is attempted, with this outcome.
    HealthEvidence(usize, u8),
    /// Everything of a webhook that may expire has expired; the other one stands in.
    Expired(usize),
    /// An operator switches a webhook off.
    Disabled(usize),
    /// An operator switches it on.
    Enabled(usize),
    /// An operator has a job's events sent again, to one webhook or both, those given up or all.
    Replayed(usize, Option<usize>, bool),
    /// An operator gives an event of a job up, for one webhook or for all.
    GivenUp(usize, u8, Option<usize>),
    /// An operator hands what waits for a webhook to the other one.
    Moved(usize),
    /// Some event gets an expiry, as a challenge has.
    Challenged(usize, u8),
}

fn act() -> impl Strategy<Value = Act> {
    let (jobs, webhooks) = (0..JOBS.len(), 0..WEBHOOKS.len());
    prop_oneof![
        4 => (jobs.clone(), 1..4_usize).prop_map(|(job, steps)| Act::Seen(job, steps)),
        8 => (webhooks.clone(), 0..14_u8).prop_map(|(webhook, how)| Act::HealthEvidence(webhook, how)),
        2 => webhooks.clone().prop_map(Act::Expired),
        1 => webhooks.clone().prop_map(Act::Disabled),
        2 => webhooks.clone().prop_map(Act::Enabled),
        3 => (jobs.clone(), prop::option::of(webhooks.clone()), any::<bool>())
            .prop_map(|(job, webhook, failed)| Act::Replayed(job, webhook, failed)),
        2 => (0..JOBS.len(), 1..6_u8, prop::option::of(webhooks.clone()))
            .prop_map(|(job, sequence, webhook)| Act::GivenUp(job, sequence, webhook)),
        2 => webhooks.clone().prop_map(Act::Moved),
        2 => (webhooks, 1..6_u8).prop_map(|(webhook, sequence)| Act::Challenged(webhook, sequence)),
    ]
}

fn outcome(how: u8) -> AfterAttempt {
    match how {
        0..=4 => AfterAttempt::Delivered,
        5..=7 => AfterAttempt::Retry(t(60)),
        8 => AfterAttempt::Again(t(90)),
        9 | 10 => AfterAttempt::Exhausted,
        11 => AfterAttempt::Aborted,
        12 => AfterAttempt::Expired,
        _ => AfterAttempt::Disabled,
    }
}

async fn happens(bench: &mut Bench, steps: &mut [usize; 2], act: &Act) {
    match act {
        Act::Seen(job, count) => {
            let id = JOBS[*job];
            steps[*job] += 1;
            let status = format!("s{}", steps[*job]);
            let titles = ["a", "b", "c"].map(|title| (title, status.as_str()));
            let seen = seen(&bench.tracked(id).await, &body(&titles[..*count]));
            bench.record(vec![with_deliveries(seen, &WEBHOOKS)]).await;
        }
        Act::HealthEvidence(webhook, how) => tried(bench, *webhook, *how).await,
        Act::Expired(webhook) => {
            let name = WebhookName::new(WEBHOOKS[*webhook]);
            let found = bench
                .store
                .expired_deliveries(&name, UnixMillis::MAX, 100)
                .await;
            let expiries = found.unwrap().into_iter().map(|expired| Undelivered {
                event_id: expired.event_id,
                job_id: expired.job_id,
                webhook: name.clone(),
                fallback: Some(WebhookName::new(WEBHOOKS[1 - webhook])),
            });
            let batch = Batch {
                expiries: expiries.collect(),
                now: Some(UnixMillis::MAX),
                ..Batch::default()
            };
            bench.store.commit(&batch).await.unwrap();
        }
        Act::Disabled(webhook) => {
            let name = WebhookName::new(WEBHOOKS[*webhook]);
            bench.store.disable_webhook(&name, "test").await.unwrap();
        }
        Act::Enabled(webhook) => {
            let name = WebhookName::new(WEBHOOKS[*webhook]);
            assert!(bench.store.enable_webhook(&name).await.unwrap().is_last);
        }
        Act::Replayed(job, webhook, failed_only) => {
            replayed(bench, *job, *webhook, *failed_only).await;
        }
        Act::GivenUp(job, sequence, webhook) => {
            let id = format!(
                "SELECT id FROM events WHERE job_id = '{}' AND sequence = {sequence}",
                JOBS[*job]
            );
            for id in bench.outsider.rows(&id).await {
                let unwanted = match webhook {
                    Some(webhook) => Unwanted::EventOf(id, WebhookName::new(WEBHOOKS[*webhook])),
                    None => Unwanted::Event(id),
                };
                assert!(bench.store.give_up(&unwanted).await.unwrap().is_last);
            }
        }
        Act::Moved(webhook) => {
            let [from, to] = [*webhook, 1 - webhook].map(|name| WebhookName::new(WEBHOOKS[name]));
            let moved = bench.store.move_deliveries(&from, &to).await.unwrap();
            assert!(moved.is_last);
        }
        Act::Challenged(webhook, sequence) => {
            let sql = format!(
                "UPDATE deliveries SET expires_at = {} WHERE webhook = '{}' AND sequence = {sequence} AND state IN ('pending', 'disabled')",
                t(120).0,
                WEBHOOKS[*webhook]
            );
            bench.outsider.run(&sql).await.unwrap();
        }
    }
}

async fn tried(bench: &Bench, webhook: usize, how: u8) {
    let name = WEBHOOKS[webhook];
    let health = bench.store.webhook_health(&WebhookName::new(name)).await;
    if health.unwrap().disabled.is_some() {
        return;
    }
    let heads = bench.heads(name).await;
    let Some(head) = heads.first() else { return };
    let mut record = attempt(name, head, outcome(how));
    let is_over = matches!(
        record.after,
        AfterAttempt::Exhausted | AfterAttempt::Expired
    );
    record.fallback = is_over.then(|| WebhookName::new(WEBHOOKS[1 - webhook]));
    let batch = Batch {
        attempts: vec![record],
        now: Some(T0),
        ..Batch::default()
    };
    bench.store.commit(&batch).await.unwrap();
}

async fn replayed(bench: &Bench, job: usize, webhook: Option<usize>, failed_only: bool) {
    let filter = ReplayFilter {
        job: Some(JOBS[job].to_owned()),
        webhook: webhook.map(|webhook| WEBHOOKS[webhook].to_owned()),
        failed_only,
        limit: 1000,
        ..ReplayFilter::default()
    };
    let replay = bench.store.begin_replay(&filter).await.unwrap();
    let page = bench.store.replayable(&filter, 0).await.unwrap();
    assert!(page.is_last);
    bench.store.replay(&replay, &page).await.unwrap().unwrap();
}

/// What must be true after each of them: a query, and what it finds otherwise.
const RULES: [(&str, &str); 5] = [
    (
        "of the pending deliveries of a lane the first has a due time, and no other",
        "SELECT d.webhook || ' ' || d.job_id || ' ' || d.sequence FROM deliveries AS d
         WHERE d.state = 'pending' AND (d.next_attempt_at IS NOT NULL) <> (d.sequence = (
             SELECT min(f.sequence) FROM deliveries AS f
             WHERE f.webhook = d.webhook AND f.job_id = d.job_id AND f.state = 'pending'))",
    ),
    (
        "each event has a delivery for each webhook",
        "SELECT e.id FROM events AS e WHERE (SELECT count(*) FROM deliveries WHERE event_id = e.id) <> 2",
    ),
    (
        "attempts are numbered without a gap, and counted",
        "SELECT d.event_id FROM deliveries AS d WHERE d.attempts <>
            (SELECT count(*) FROM attempts AS a WHERE a.event_id = d.event_id AND a.webhook = d.webhook)
         OR d.attempts <> (SELECT coalesce(max(number), 0) FROM attempts AS a
                           WHERE a.event_id = d.event_id AND a.webhook = d.webhook)",
    ),
    (
        "a webhook that is off has nothing pending, and one that is on nothing disabled",
        "SELECT d.event_id FROM deliveries AS d LEFT JOIN webhooks AS w ON w.name = d.webhook
         WHERE d.state = CASE WHEN w.disabled_at IS NULL THEN 'disabled' ELSE 'pending' END",
    ),
    (
        "what was delivered stays so unless it was asked for again",
        "SELECT d.event_id FROM deliveries AS d WHERE d.\"trigger\" = 'schedule' AND d.state <> 'delivered'
         AND EXISTS (SELECT 1 FROM attempts AS a WHERE a.event_id = d.event_id AND a.webhook = d.webhook AND a.status < 300)",
    ),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_happens_lanes_stay_right_and_nothing_is_lost(acts in prop::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::with_jobs(&JOBS).await;
            let mut steps = [0, 0];
            let mut bodies = Vec::new();
            for act in &acts {
                happens(&mut bench, &mut steps, act).await;
                for (rule, query) in RULES {
                    let found = bench.outsider.rows(query).await;
                    assert!(found.is_empty(), "after {act:?}: {rule}: {found:?}");
                }
                let now = bench.outsider.rows("SELECT id || body FROM events ORDER BY cursor").await;
                assert!(now.starts_with(&bodies), "after {act:?}: events never change");
                bodies = now;
            }
        });
    }
}

/// What a statement would have to undo is larger than what SQLite keeps in memory by itself.
#[tokio::test]
async fn a_page_of_deliveries_that_lie_far_apart_is_disabled_and_enabled() {
    let mut bench = Bench::fresh().await;
    let fill = "BEGIN;
        INSERT INTO jobs (id) VALUES ('j');
        WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
        INSERT INTO events (id, job_id, sequence, type, created_at, body)
        SELECT 'evt_' || printf('%08x', i * 2654435761 % 4294967296), 'j', i, 'job.step_changed', 0, '{}' FROM n;
        INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, last_error, next_attempt_at, last_attempt_at)
        SELECT id, 'w', 'j', sequence, 'pending', printf('%300s', ''), sequence * 2654435761 % 4294967296,
            sequence * 2654435761 % 4294967296 FROM events;
        COMMIT";
    bench.outsider.run(fill).await.unwrap();
    let name = WebhookName::new("w");
    let disabled = bench.store.disable_webhook(&name, "test").await.unwrap();
    assert_eq!(disabled.deliveries, 1000);
    let enabled = bench.store.enable_webhook(&name).await.unwrap();
    assert_eq!(enabled.deliveries, 1000);
}

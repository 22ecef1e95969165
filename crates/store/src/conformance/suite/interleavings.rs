//! Random interleavings of observations and attempts, held against a model of the lanes.

use std::collections::HashMap;

use jobtrackd_core::delivery::AfterAttempt;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::fixtures::{T0, attempt, body, seen, t, with_deliveries};
use super::super::{Backend, Bench};
use crate::{Batch, Commits as _, DueDelivery};

const JOBS: [&str; 2] = ["1", "2"];

const WEBHOOKS: [&str; 2] = ["w", "v"];

#[derive(Debug, Clone)]
enum Act {
    /// A job shows some changed steps.
    Seen(usize, usize),
    /// Attempts at due deliveries of a webhook end.
    HealthEvidence(usize, Vec<u8>),
    /// An attempt is recorded that has been recorded already.
    Repeated(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..JOBS.len(), 1..4_usize).prop_map(|(job, steps)| Act::Seen(job, steps)),
        5 => (0..WEBHOOKS.len(), proptest::collection::vec(0..12_u8, 1..3)).prop_map(|(w, how)| Act::HealthEvidence(w, how)),
        1 => (0..100_usize).prop_map(Act::Repeated),
    ]
}

fn outcome(how: u8) -> AfterAttempt {
    match how {
        0..=4 => AfterAttempt::Delivered,
        5..=7 => AfterAttempt::Retry(t(60)),
        8 => AfterAttempt::Again(t(90)),
        9 | 10 => AfterAttempt::Exhausted,
        _ => AfterAttempt::Disabled,
    }
}

/// What a lane must look like: the states of its deliveries in order.
#[derive(Default)]
struct Model {
    lanes: HashMap<(usize, usize), Vec<&'static str>>,
    attempts: HashMap<String, u32>,
    disabled: [bool; 2],
    steps: [usize; 2],
    recorded: Vec<(usize, DueDelivery, AfterAttempt)>,
}

impl Model {
    fn tells(&mut self, job: usize, events: usize) {
        for webhook in 0..WEBHOOKS.len() {
            let state = if self.disabled[webhook] {
                "disabled"
            } else {
                "pending"
            };
            let lane = self.lanes.entry((webhook, job)).or_default();
            lane.extend(std::iter::repeat_n(state, events));
        }
    }

    fn tried(&mut self, webhook: usize, due: &DueDelivery, after: AfterAttempt) {
        let job = JOBS
            .iter()
            .position(|job| *job == due.job_id.as_str())
            .unwrap();
        let lane = self.lanes.get_mut(&(webhook, job)).unwrap();
        let head = lane.iter().position(|state| *state == "pending").unwrap();
        match after {
            AfterAttempt::Delivered => lane[head] = "delivered",
            AfterAttempt::Exhausted | AfterAttempt::Expired | AfterAttempt::Aborted => {
                lane[head] = "exhausted";
            }
            AfterAttempt::Retry(_) | AfterAttempt::Again(_) => {}
            AfterAttempt::Disabled => self.disabled[webhook] = true,
        }
        *self
            .attempts
            .entry(format!("{webhook} {}", due.event_id))
            .or_default() += 1;
        self.recorded.push((webhook, due.clone(), after));
    }

    fn withdraw(&mut self) {
        for ((webhook, _), lane) in &mut self.lanes {
            if self.disabled[*webhook] {
                lane.iter_mut()
                    .filter(|state| **state == "pending")
                    .for_each(|state| *state = "disabled");
            }
        }
    }

    /// The heads as `job sequence`.
    fn heads(&self, webhook: usize) -> Vec<String> {
        let head = |job: usize| {
            let lane = self.lanes.get(&(webhook, job))?;
            let first = lane.iter().position(|state| *state == "pending")?;
            Some(format!("{} {}", JOBS[job], first + 1))
        };
        (0..JOBS.len()).filter_map(head).collect()
    }
}

async fn perform<B: Backend>(bench: &Bench<B>, model: &mut Model, act: &Act) {
    let mut batch = Batch {
        now: Some(T0),
        ..Batch::default()
    };
    match act {
        Act::Seen(job, steps) => {
            let (before, names) = (model.steps[*job], ["a", "b", "c"]);
            let status = format!("x{before}");
            let changed: Vec<(&str, &str)> = names[..*steps]
                .iter()
                .map(|name| (*name, status.as_str()))
                .collect();
            let observation = seen(&bench.tracked(JOBS[*job]).await, &body(&changed));
            model.tells(*job, observation.events.len());
            model.steps[*job] += 1;
            batch
                .observations
                .push(with_deliveries(observation, &WEBHOOKS));
        }
        Act::HealthEvidence(webhook, how) => {
            for (due, how) in bench.heads(WEBHOOKS[*webhook]).await.iter().zip(how) {
                let after = outcome(*how);
                batch.attempts.push(attempt(WEBHOOKS[*webhook], due, after));
                model.tried(*webhook, due, after);
            }
            model.withdraw();
        }
        Act::Repeated(which) => {
            if let Some((webhook, due, after)) =
                model.recorded.get(which % model.recorded.len().max(1))
            {
                batch
                    .attempts
                    .push(attempt(WEBHOOKS[*webhook], due, *after));
            }
        }
    }
    bench.store().commit(&batch).await.unwrap();
}

async fn check<B: Backend>(bench: &Bench<B>, model: &Model) {
    for (webhook, name) in WEBHOOKS.iter().enumerate() {
        let heads = bench.heads(name).await;
        let mut heads = bench.labels(name, &heads).await;
        heads.sort();
        assert_eq!(heads, model.heads(webhook), "{name}");
    }
    for (n, job) in JOBS.iter().enumerate() {
        let detail = bench.detail(job).await;
        for (webhook, name) in WEBHOOKS.iter().enumerate() {
            let expected = model.lanes.get(&(webhook, n)).cloned().unwrap_or_default();
            let mine = detail
                .deliveries
                .iter()
                .filter(|delivery| delivery.webhook == *name);
            let states: Vec<&str> = mine.map(|delivery| delivery.state.as_str()).collect();
            assert_eq!(states, expected, "{name} {job}");
        }
        for delivery in &detail.deliveries {
            let same = |a: &&crate::Attempt| {
                a.event_id == delivery.event_id && a.webhook == delivery.webhook
            };
            let mut numbers: Vec<u32> = detail
                .attempts
                .iter()
                .filter(same)
                .map(|a| a.number)
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=delivery.attempts).collect::<Vec<_>>());
            let webhook = WEBHOOKS
                .iter()
                .position(|name| delivery.webhook == *name)
                .unwrap();
            let made = model
                .attempts
                .get(&format!("{webhook} {}", delivery.event_id));
            assert_eq!(delivery.attempts, made.copied().unwrap_or(0));
        }
    }
}

pub(super) fn whatever_comes_in_between_a_lane_is_sent_in_order_and_has_one_head<B: Backend>() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let acts = proptest::collection::vec(act(), 1..30);
    let tried = runner.run(&acts, |acts| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::<B>::with_jobs(&JOBS).await;
            let mut model = Model::default();
            for act in &acts {
                perform(&bench, &mut model, act).await;
                check(&bench, &model).await;
            }
        });
        Ok(())
    });
    tried.unwrap();
}

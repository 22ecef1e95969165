//! Attempts at deliveries, and what follows from them.

use std::collections::{BTreeSet, HashSet};

use jobtrackd_core::answer::MAX_ANSWER;
use jobtrackd_core::delivery::{AfterAttempt, Attempt, DeliveryState, Trigger, WebhookName};
use jobtrackd_core::health::Health;
use jobtrackd_core::rows::WebhookHealth;

use super::lanes::Lane;
use super::rows::Delivery;
use super::store::Store;
use super::tables::{Tables, refused};
use crate::{Attempts, FinishedAttempt, Result};

impl Attempts for Store {
    async fn latest_attempts(
        &self,
        webhook: &WebhookName,
        events: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        self.read(|tables| {
            let newest = tables.newest_cursor();
            let latest = tables.events.range(newest - i64::from(events) + 1..);
            let of_events = latest.flat_map(|(_, event)| tables.attempts_at(&event.id));
            let all = tables.attempts.values();
            let tests = all.filter(|each| each.trigger == Trigger::Test);
            let found = of_events
                .chain(tests)
                .filter(|each| each.webhook == *webhook);
            let mut found: Vec<Attempt> = found.cloned().collect();
            found.sort_by_key(|each| std::cmp::Reverse((each.started_at, each.number)));
            found.truncate(limit as usize);
            Ok(found)
        })
    }

    async fn record_test(&self, attempt: &Attempt) -> Result<()> {
        self.write(|tables, _| tables.insert_attempt(attempt))
    }
}

/// The result of recording the attempts of a batch.
#[derive(Default)]
pub(super) struct RecordedAttempts {
    /// The lanes whose head may have changed.
    pub(super) lanes: BTreeSet<Lane>,
    /// Those that were not the next ones of their deliveries.
    pub(super) unexpected: HashSet<(String, WebhookName, u32)>,
}

impl Tables {
    /// Records attempts and what follows from them, except those that are not their delivery's next one, which are returned.
    pub(super) fn record_attempts(
        &mut self,
        attempts: &[FinishedAttempt],
    ) -> Result<RecordedAttempts> {
        let mut recorded = RecordedAttempts::default();
        let mut known = HashSet::new();
        let mut counted = Vec::new();
        for each in attempts {
            let attempt = &each.attempt;
            let key = (
                attempt.event_id.clone(),
                attempt.webhook.clone(),
                attempt.number,
            );
            if !known.insert(key.clone()) {
                continue;
            }
            let delivery = self.delivery(&attempt.event_id, &attempt.webhook);
            let is_next = delivery.is_some_and(|delivery| {
                delivery.state != DeliveryState::Delivered
                    && delivery.attempts.checked_add(1) == Some(attempt.number)
            });
            if is_next {
                counted.push(each);
            } else {
                recorded.unexpected.insert(key);
            }
        }
        for each in &counted {
            self.record_outcome(each)?;
            self.insert_attempt(&each.attempt)?;
        }
        for each in &counted {
            self.affect_webhook(each);
            let lane = (each.attempt.webhook.clone(), each.job_id.clone());
            recorded.lanes.insert(lane);
        }
        let undelivered = counted.iter().filter_map(|each| {
            let attempt = &each.attempt;
            let event = attempt.event_id.clone();
            Some((event, attempt.webhook.clone(), each.fallback.clone()?))
        });
        let undelivered: Vec<_> = undelivered.collect();
        recorded.lanes.extend(self.give_to_fallbacks(undelivered));
        Ok(recorded)
    }

    fn record_outcome(&mut self, finished: &FinishedAttempt) -> Result<()> {
        let attempt = &finished.attempt;
        let Some(delivery) = self.delivery(&attempt.event_id, &attempt.webhook) else {
            return Ok(());
        };
        let mut delivery = delivery.clone();
        delivery.outcome(finished);
        if delivery.retries_used > delivery.attempts {
            return refused("retries_used BETWEEN 0 AND attempts");
        }
        self.put_delivery(delivery);
        Ok(())
    }

    pub(super) fn insert_attempt(&mut self, attempt: &Attempt) -> Result<()> {
        let is_test = attempt.event_id.starts_with("test_");
        let answer = attempt.answer.as_ref().map_or(0, String::len);
        if is_test != (attempt.trigger == Trigger::Test)
            || attempt.number == 0
            || (attempt.status.is_none() && attempt.error.is_none())
            || attempt
                .status
                .is_some_and(|status| !(100..=999).contains(&status))
            || answer > MAX_ANSWER
        {
            return refused("an attempt breaks a rule of its table");
        }
        if !is_test && self.delivery(&attempt.event_id, &attempt.webhook).is_none() {
            return refused("an attempt belongs to a delivery");
        }
        let key = (
            attempt.event_id.clone(),
            attempt.webhook.clone(),
            attempt.number,
        );
        if self.attempts.contains(&key) {
            return refused(
                "UNIQUE constraint failed: attempts.event_id, attempts.webhook, attempts.number",
            );
        }
        self.attempts.put(key, attempt.clone());
        Ok(())
    }

    /// Records what an attempt changes for its webhook as a whole.
    fn affect_webhook(&mut self, finished: &FinishedAttempt) {
        let webhook = &finished.attempt.webhook;
        let ended_at = finished.attempt.ended_at();
        if let Some(pause) = finished.pause {
            let until = ended_at.plus(pause);
            self.change_webhook(webhook, |row| {
                row.paused_until = row.paused_until.max(Some(until));
            });
        }
        if let Some(update) = &finished.health {
            self.record_health(webhook, update);
        }
        if let Some(reason) = finished.disables {
            self.disable(webhook, ended_at, reason);
            self.disable_deliveries(webhook, usize::MAX);
        }
    }

    /// Attempts end in any order; the health after the later one is kept. An attempt that began before an operator reset the
    /// health says nothing about the time after.
    fn record_health(&mut self, webhook: &WebhookName, update: &WebhookHealth) {
        let known = self.webhooks.get(webhook);
        let is_later = known.is_none_or(|row| {
            row.generation == update.generation && row.revision < update.revision
        });
        if !is_later {
            return;
        }
        let health = match &update.health {
            Health::Ramping {
                allowed, failing, ..
            } => Health::Ramping {
                allowed: *allowed,
                taken: 0,
                failing: failing.clone(),
            },
            other => other.clone(),
        };
        self.change_webhook(webhook, |row| {
            row.health = health;
            row.empty_pauses = update.empty_pauses;
            row.revision = update.revision;
            row.generation = update.generation;
        });
    }
}

impl Delivery {
    /// What an attempt makes of it. A 2xx counts even when the webhook was disabled or the event given up during the attempt.
    /// One that is no longer a head, because an earlier event is replayed meanwhile, waits for that one.
    fn outcome(&mut self, finished: &FinishedAttempt) {
        let FinishedAttempt { attempt, after, .. } = finished;
        let (state, entries, next) = match *after {
            AfterAttempt::Delivered => (DeliveryState::Delivered, 0, None),
            AfterAttempt::Retry(at) => (DeliveryState::Pending, 1, Some(at)),
            AfterAttempt::Again(at) => (DeliveryState::Pending, 0, Some(at)),
            AfterAttempt::Exhausted | AfterAttempt::Expired | AfterAttempt::Aborted => {
                (DeliveryState::Exhausted, 0, None)
            }
            AfterAttempt::Disabled => (DeliveryState::Disabled, 0, None),
        };
        let (before, is_delivered) = (self.state, state == DeliveryState::Delivered);
        let was_pending = before == DeliveryState::Pending;
        let was_exhausted = before == DeliveryState::Exhausted;
        self.state = if was_pending || is_delivered {
            state
        } else {
            before
        };
        self.attempts = attempt.number;
        self.last_attempt_at = Some(attempt.started_at);
        self.retries_used += entries;
        let pause = finished.pause.unwrap_or_default().as_millis();
        self.paused_ms += i64::try_from(pause).unwrap_or(i64::MAX);
        let is_head = was_pending && self.next_attempt_at.is_some();
        self.next_attempt_at = next.filter(|_| is_head);
        if is_delivered {
            self.expired_at = None;
        } else if was_pending {
            let expired = *after == AfterAttempt::Expired;
            self.expired_at = expired.then(|| attempt.ended_at());
        }
        self.delivered_at = is_delivered.then(|| attempt.ended_at());
        self.last_status = attempt.status;
        if !was_exhausted || is_delivered {
            self.last_error.clone_from(&attempt.error);
        }
    }
}

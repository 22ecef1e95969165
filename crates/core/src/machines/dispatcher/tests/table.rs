//! The tables that the machine asks about, as small as its queries allow.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::batch::{FinishedAttempt, Undelivered};
use crate::delivery::{AfterAttempt, DeliveryState, WebhookName};
use crate::event::EventType;
use crate::health::Health;
use crate::job::JobId;
use crate::machines::dispatcher::{Answer, Query};
use crate::rows::{DueDeliveries, DueDelivery, WebhookHealth};
use crate::time::UnixMillis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) delivery: DueDelivery,
    pub(super) state: DeliveryState,
    /// Of the head of a lane only.
    pub(super) next: Option<UnixMillis>,
    pub(super) is_unreadable: bool,
    last_attempt_at: Option<UnixMillis>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    /// In the order of the events.
    pub(super) rows: Vec<Row>,
    pub(super) webhook: WebhookHealth,
    /// Expired events and those that were given to this webhook's fallback.
    pub(super) fallbacks: Vec<(String, WebhookName)>,
}

impl Row {
    pub(super) fn is_pending(&self) -> bool {
        self.state == DeliveryState::Pending
    }

    fn is_undelivered(&self) -> bool {
        matches!(self.state, DeliveryState::Pending | DeliveryState::Disabled)
    }

    fn expires(&self) -> Option<UnixMillis> {
        self.delivery.expires_at.filter(|_| self.is_undelivered())
    }
}

impl Table {
    pub(super) fn insert(&mut self, job: &str, expires_at: Option<UnixMillis>, now: UnixMillis) {
        let number = self.rows.len();
        let kind = match expires_at {
            Some(_) => EventType::ActionRequired,
            None => EventType::Completed,
        };
        let delivery = DueDelivery {
            event_id: format!("{job}{number}"),
            job_id: JobId::parse(job).unwrap(),
            attempts: 0,
            retries_used: 0,
            kind,
            body: Some(b"{}".to_vec()),
            created_at: now,
            expires_at,
            due: now,
            paused: Duration::ZERO,
            failed_before: false,
            is_replay: false,
        };
        let state = match self.webhook.disabled {
            Some(_) => DeliveryState::Disabled,
            None => DeliveryState::Pending,
        };
        self.rows.push(Row {
            delivery,
            state,
            next: None,
            is_unreadable: false,
            last_attempt_at: None,
        });
        self.promote(now);
    }

    pub(super) fn row(&self, event_id: &str) -> &Row {
        let mut rows = self.rows.iter();
        rows.find(|row| row.delivery.event_id == event_id).unwrap()
    }

    fn row_mut(&mut self, event_id: &str) -> &mut Row {
        let mut rows = self.rows.iter_mut();
        rows.find(|row| row.delivery.event_id == event_id).unwrap()
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &Row> {
        let rows = self.rows.iter();
        rows.filter(|row| row.is_pending() && row.next.is_some())
    }

    /// Gives the first pending delivery of each lane a due time, and only that.
    fn promote(&mut self, now: UnixMillis) {
        let mut lanes = BTreeSet::new();
        for row in &mut self.rows {
            let is_head = row.is_pending() && lanes.insert(row.delivery.job_id.clone());
            row.next = is_head.then(|| row.next.unwrap_or(now));
        }
    }

    pub(super) fn answer(&mut self, query: &Query, now: UnixMillis) -> Answer {
        let first = |times: Vec<UnixMillis>, after| {
            Answer::Next(times.into_iter().filter(|at| *at > after).min())
        };
        match *query {
            Query::Clamp { longest } => Answer::Clamped(self.clamp(longest, now)),
            Query::Row => Answer::Row(Box::new(self.webhook.clone())),
            Query::NextExpiry { after } => {
                first(self.rows.iter().filter_map(Row::expires).collect(), after)
            }
            Query::NextDelivery { after } => {
                first(self.heads().filter_map(|row| row.next).collect(), after)
            }
            Query::Expired { at, limit } => Answer::Expired(self.expired(at, limit)),
            Query::Due {
                at,
                ref except,
                limit,
            } => {
                let heads = self.heads().filter(|row| row.next.unwrap() <= at);
                let heads = heads.filter(|row| !except.contains(&row.delivery.event_id));
                found(heads.collect(), |row| row.next, limit)
            }
            Query::Expiring { at, limit } => {
                let heads = self.heads().filter(|row| row.next.unwrap() <= at);
                let heads = heads.filter(|row| row.delivery.expires_at.is_some_and(|end| end > at));
                found(heads.collect(), |row| row.next, limit)
            }
            Query::ToProbe { expired, limit } => {
                let is_over = |row: &Row| row.delivery.expires_at.is_some_and(|end| end <= expired);
                let heads = self.heads().filter(|row| !is_over(row));
                found(
                    heads.collect(),
                    |row| (row.last_attempt_at, row.next),
                    limit,
                )
            }
        }
    }

    fn expired(&self, at: UnixMillis, limit: u32) -> Vec<Undelivered> {
        let rows = self.rows.iter();
        let expired = rows.filter(|row| row.expires().is_some_and(|end| end <= at));
        let expired = expired.map(|row| Undelivered {
            event_id: row.delivery.event_id.clone(),
            job_id: row.delivery.job_id.clone(),
            webhook: WebhookName::new("w"),
            fallback: None,
        });
        expired.take(limit as usize).collect()
    }

    fn clamp(&mut self, longest: Duration, now: UnixMillis) -> u64 {
        let pause = now.plus(DAY);
        self.webhook.paused_until = self.webhook.paused_until.map(|at| at.min(pause));
        let health = std::mem::take(&mut self.webhook.health);
        self.webhook.health = health.clamped(now);
        let mut changed = 0;
        for row in &mut self.rows {
            let latest = match row.delivery.paused.is_zero() {
                true => now.plus(longest),
                false => now.plus(longest).max(pause),
            };
            if row.next.is_some_and(|at| at > latest) {
                row.next = Some(latest);
                changed += 1;
            }
        }
        changed
    }

    /// Records an attempt; `false` if it is not the next one of its delivery.
    pub(super) fn record(&mut self, finished: &FinishedAttempt, now: UnixMillis) -> bool {
        let attempt = &finished.attempt;
        let row = self.row_mut(&attempt.event_id);
        if row.state == DeliveryState::Delivered || row.delivery.attempts + 1 != attempt.number {
            return false;
        }
        let (state, next) = match finished.after {
            AfterAttempt::Delivered => (DeliveryState::Delivered, None),
            AfterAttempt::Retry(at) | AfterAttempt::Again(at) => (DeliveryState::Pending, Some(at)),
            AfterAttempt::Disabled => (DeliveryState::Disabled, None),
            _ => (DeliveryState::Exhausted, None),
        };
        let is_head = row.is_pending() && row.next.is_some();
        if row.is_pending() || state == DeliveryState::Delivered {
            row.state = state;
        }
        row.next = next.filter(|_| is_head);
        let used = matches!(finished.after, AfterAttempt::Retry(_));
        row.delivery.retries_used += u32::from(used);
        row.delivery.attempts = attempt.number;
        row.delivery.paused += finished.pause.unwrap_or_default();
        row.delivery.failed_before = attempt.error.is_some();
        row.last_attempt_at = Some(attempt.started_at);
        let event_id = attempt.event_id.clone();
        let fallback = finished.fallback.clone();
        self.fallbacks.extend(fallback.map(|name| (event_id, name)));
        self.affect_webhook(finished);
        self.promote(now);
        true
    }

    fn affect_webhook(&mut self, finished: &FinishedAttempt) {
        let ended_at = finished.attempt.ended_at();
        let until = finished.pause.map(|pause| ended_at.plus(pause));
        self.webhook.paused_until = self.webhook.paused_until.max(until);
        if let Some(health) = &finished.health
            && health.generation == self.webhook.generation
            && health.revision > self.webhook.revision
        {
            self.webhook.health = health.health.clone();
            self.webhook.empty_pauses = health.empty_pauses;
            self.webhook.revision = health.revision;
        }
        if let Some(reason) = finished.disables {
            self.disable(reason, ended_at);
        }
    }

    pub(super) fn give_up(&mut self, expiries: &[Undelivered], now: UnixMillis) {
        for each in expiries {
            let row = self.row_mut(&each.event_id);
            if row.expires().is_some_and(|end| end <= now) {
                row.state = DeliveryState::Exhausted;
                let fallback = each.fallback.clone();
                let given = fallback.map(|name| (each.event_id.clone(), name));
                self.fallbacks.extend(given);
            }
        }
        self.promote(now);
    }

    pub(super) fn disable(&mut self, reason: &str, now: UnixMillis) {
        let disabled = self.webhook.disabled.take();
        self.webhook.disabled = disabled.or_else(|| Some((now, reason.to_owned())));
        for row in self.rows.iter_mut().filter(|row| row.is_pending()) {
            row.state = DeliveryState::Disabled;
            row.next = None;
        }
    }

    pub(super) fn enable(&mut self, now: UnixMillis) {
        for row in &mut self.rows {
            if row.state == DeliveryState::Disabled {
                row.state = DeliveryState::Pending;
                row.delivery.retries_used = 0;
                row.delivery.paused = Duration::ZERO;
            }
        }
        self.promote(now);
        for row in &mut self.rows {
            row.next = row.next.map(|at| at.min(now));
        }
        self.webhook = WebhookHealth {
            health: Health::default(),
            generation: self.webhook.generation + 1,
            requests: self.webhook.requests + 1,
            ..WebhookHealth::default()
        };
    }
}

fn found<K: Ord>(mut heads: Vec<&Row>, order: impl Fn(&Row) -> K, limit: u32) -> Answer {
    heads.sort_by_key(|row| order(row));
    let mut found = DueDeliveries::default();
    for row in heads.into_iter().take(limit as usize) {
        let delivery = DueDelivery {
            due: row.next.unwrap(),
            ..row.delivery.clone()
        };
        if row.is_unreadable {
            let error = "not a time".to_owned();
            found.unreadable.push((delivery.event_id, error));
        } else {
            found.deliveries.push(delivery);
        }
    }
    Answer::Deliveries(found)
}

//! Dispatchers: each is a real machine; requests are signed here in the place of the HTTP client.

use std::sync::Arc;

use jobtrackd_core::backoff::{MAX_RETRY_AFTER, parse_retry_after};
use jobtrackd_core::delivery::{AttemptErrorClass, AttemptReport, AttemptResult, WebhookName};
use jobtrackd_core::machines::batching::Change;
use jobtrackd_core::machines::dispatcher::{Dispatcher, Effect, Input, Settings};
use jobtrackd_core::rows::DueDelivery;
use jobtrackd_core::signature::SigningKey;
use jobtrackd_core::time::{Now, UnixMillis};

use super::{NoAnswer, Out, Process, Read, Ticket, duration};
use crate::fakes::receiver::{Post, secret};

#[derive(Debug, Default)]
pub(super) struct Webhook {
    pub(super) machine: Dispatcher,
    is_configured: bool,
}

impl Process {
    /// Gives the dispatchers their settings.
    pub(super) fn configure(&mut self, now: Now) {
        for number in 0..self.webhooks.len() {
            let plan = &self.webhook_plans[number];
            let name = |number: usize| WebhookName::new(&self.webhook_plans[number].name);
            let is_configured = !self.settings.unconfigured.contains(&number);
            let settings = is_configured.then(|| {
                Arc::new(Settings {
                    name: name(number),
                    retry: plan.retry.iter().copied().map(duration).collect(),
                    max_in_flight: plan.max_in_flight,
                    fallback: plan.fallback.map(name),
                })
            });
            self.webhooks[number].is_configured = is_configured;
            self.dispatch(number, Input::Settings(settings), now);
        }
    }

    pub(super) fn dispatch(&mut self, webhook: usize, input: Input, now: Now) {
        let draws = &mut self.draws;
        let machine = &mut self.webhooks[webhook].machine;
        machine.handle(input, now, &mut || draws.fraction());
        self.is_busy = true;
    }

    /// Carries out what the dispatchers want.
    pub(super) fn start_attempts(&mut self, now: Now) {
        for webhook in 0..self.webhooks.len() {
            while let Some(effect) = self.webhooks[webhook].machine.next(now) {
                match effect {
                    Effect::Query(query) => self.out.push(Out::Read(Read::Query(webhook, query))),
                    Effect::Send(delivery) if delivery.body.is_none() => {
                        self.out.push(Out::Read(Read::Body(webhook, delivery)));
                    }
                    Effect::Send(delivery) => self.send(webhook, delivery, now),
                    Effect::Record(finished) => {
                        let ticket = Ticket::Attempt(webhook, finished.job_id.clone());
                        self.batching.push(Change::Attempted(finished, ticket));
                        self.is_busy = true;
                    }
                    Effect::GiveUp(expired) => {
                        let change = Change::Expired(expired, Ticket::GiveUp(webhook));
                        self.batching.push(change);
                        self.is_busy = true;
                    }
                    Effect::Report(_) => {}
                }
            }
        }
    }

    pub(super) fn send(&mut self, webhook: usize, delivery: Box<DueDelivery>, now: Now) {
        if delivery.body.is_some() && self.webhooks[webhook].is_configured {
            self.out.push(Out::Post(webhook, delivery));
        } else {
            self.dispatch(webhook, Input::NotSent(delivery.job_id), now);
        }
    }
}

/// The request for an event, signed.
pub(crate) fn post(webhook: usize, delivery: &DueDelivery, wall: UnixMillis) -> Post {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(secret(webhook));
    let key = SigningKey::parse(&key).expect("32 bytes are a key");
    let body = delivery.body.clone().unwrap_or_default();
    let seconds = wall.seconds();
    Post {
        webhook,
        id: delivery.event_id.clone(),
        timestamp: seconds.to_string(),
        signature: key.sign(&delivery.event_id, seconds, &body),
        attempt: (delivery.attempts + 1).to_string(),
        is_replay: delivery.is_replay,
        body,
    }
}

/// A status and headers.
pub(crate) type Status = (u16, Vec<(&'static str, String)>);

/// What an answer, or the lack of one, means for the delivery.
pub(crate) fn report(
    reply: Result<Status, NoAnswer>,
    started: UnixMillis,
    took: std::time::Duration,
    wall: UnixMillis,
) -> AttemptReport {
    let mut directive = None;
    let result = match reply {
        Err(error) => {
            let (class, detail) = match error {
                NoAnswer::Connect => (AttemptErrorClass::Connect, "connection refused"),
                NoAnswer::Broken => (AttemptErrorClass::Http, "the connection broke"),
                NoAnswer::Timeout => (AttemptErrorClass::Timeout, "no status in time"),
            };
            let detail = detail.to_owned();
            AttemptResult::Unreachable { class, detail }
        }
        Ok((status, headers)) => {
            let values = |wanted: &'static str| {
                let found = headers.iter().filter(move |(name, _)| *name == wanted);
                found.map(|(_, value)| value.as_str())
            };
            directive = values("webhook-delivery")
                .next()
                .and_then(|word| word.parse().ok());
            let waits = parse_retry_after(values("retry-after"), wall, MAX_RETRY_AFTER);
            match (status, waits) {
                (200..300, _) => AttemptResult::Delivered { status },
                (410, _) => AttemptResult::Gone,
                (429 | 503, Some(retry_after)) => AttemptResult::Throttled {
                    status,
                    retry_after,
                },
                _ => AttemptResult::Refused {
                    status,
                    detail: "No".to_owned(),
                    too_slow: false,
                },
            }
        }
    };
    AttemptReport {
        result,
        directive,
        answer: None,
        started_at: started,
        duration: took,
    }
}

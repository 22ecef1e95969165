//! The receivers of webhooks. They check every request as the specification says, and keep what they got.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::api::retry_after;
use crate::chance::Chance;
use crate::plan::{Fault, Plan, ReceiverFault};
use crate::time::{MS, Time};

/// A request as it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) webhook: usize,
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) attempt: String,
    pub(crate) is_replay: bool,
    pub(crate) body: Vec<u8>,
}

/// One entry of the log of requests.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) webhook: usize,
    pub(crate) id: String,
    pub(crate) at: Time,
    pub(crate) job: String,
    pub(crate) kind: String,
    pub(crate) is_replay: bool,
    /// Whether it was accepted with 2xx.
    pub(crate) is_accepted: bool,
}

/// What a receiver does with a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A status and headers, after so long.
    Answer(u16, Vec<(&'static str, String)>, Time),
    NoConnection(Time),
    Breaks(Time),
    Silence,
}

/// All receivers and their log.
#[derive(Debug, Default)]
pub(crate) struct Receivers {
    pub(crate) received: Vec<Received>,
    /// The bytes of each event, as they came first.
    bodies: BTreeMap<String, Vec<u8>>,
    requests: u64,
}

/// The secret of a webhook: 32 bytes.
pub(crate) fn secret(webhook: usize) -> Vec<u8> {
    (0..32u8)
        .map(|n| n.wrapping_mul(7) ^ u8::try_from(webhook).unwrap_or(9))
        .collect()
}

/// What cannot be in order about a request.
pub(crate) type Complaint = String;

impl Receivers {
    /// A request has arrived.
    pub(crate) fn post(
        &mut self,
        plan: &Plan,
        chance: Chance,
        post: &Post,
        now: Time,
    ) -> Result<Reply, Complaint> {
        self.requests += 1;
        let chance = chance.of("receiver", self.requests);
        let after = chance.of("back", 0).below(80) * MS / 4 + 400;
        let event = self.checked(post, now)?;
        let reply = reply(plan, chance, &event, after, now);
        let is_accepted = match &reply {
            Reply::Answer(status, ..) => (200..300).contains(status),
            Reply::Breaks(_) => true,
            Reply::NoConnection(_) => return Ok(reply),
            Reply::Silence => false,
        };
        self.received.push(Received {
            is_accepted,
            ..event
        });
        Ok(reply)
    }

    /// The signature is good, the bytes are those of the first time, the body is what its headers say.
    fn checked(&mut self, post: &Post, now: Time) -> Result<Received, Complaint> {
        let Post {
            id,
            timestamp,
            body,
            ..
        } = post;
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret(post.webhook)).map_err(|_| "key")?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        let right = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        if !post.signature.split(' ').any(|each| each == right) {
            return Err(format!("signature: that of {id} is wrong"));
        }
        let before = self
            .bodies
            .entry(id.clone())
            .or_insert_with(|| body.clone());
        if before != body {
            return Err(format!("bytes: those of {id} have changed"));
        }
        let parsed: serde_json::Value = serde_json::from_slice(body)
            .map_err(|error| format!("bytes: the body of {id} is not JSON: {error}"))?;
        let data = &parsed["data"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        if post.attempt.parse::<u32>().is_err() {
            return Err(format!(
                "headers: the attempt of {id} is {:?}",
                post.attempt
            ));
        }
        Ok(Received {
            webhook: post.webhook,
            id: id.clone(),
            at: now,
            job: text(&data["job_id"]),
            kind: text(&parsed["type"]),
            is_replay: post.is_replay,
            is_accepted: false,
        })
    }

    /// The bytes of an event that anybody received.
    pub(crate) fn body(&self, id: &str) -> Option<&[u8]> {
        self.bodies.get(id).map(Vec::as_slice)
    }
}

fn reply(plan: &Plan, chance: Chance, event: &Received, after: Time, now: Time) -> Reply {
    let plain = |status| Reply::Answer(status, Vec::new(), after);
    let mut late = 0;
    for (number, fault) in plan.faults.iter().enumerate() {
        let Fault::Receiver(webhook, window, fault) = fault else {
            continue;
        };
        if *webhook != event.webhook || !window.holds(now) {
            continue;
        }
        let is_of = |job: &usize| plan.jobs.get(*job).is_some_and(|job| job.id == event.job);
        match fault {
            ReceiverFault::Dead => return Reply::NoConnection(after),
            ReceiverFault::Hangs => return Reply::Silence,
            ReceiverFault::Resets => return Reply::Breaks(after),
            ReceiverFault::Status(status) => return plain(*status),
            ReceiverFault::Flaky(often) if chance.of("flaky", number as u64).hits(*often) => {
                return plain(500);
            }
            ReceiverFault::Paused(status, wait) => {
                let (value, _) = retry_after(*wait, now);
                let headers = value.map(|value| ("retry-after", value));
                return Reply::Answer(*status, headers.into_iter().collect(), after);
            }
            ReceiverFault::Gone => return plain(410),
            ReceiverFault::Disables => return directive("disable", after),
            ReceiverFault::Slow(by) => late = *by,
            ReceiverFault::RefusesJob(job) if is_of(job) => return plain(422),
            ReceiverFault::Aborts(job) if is_of(job) => return directive("abort-message", after),
            ReceiverFault::RefusesType(kind) if *kind == event.kind => return plain(422),
            _ => {}
        }
    }
    Reply::Answer(204, Vec::new(), after + late)
}

fn directive(word: &str, after: Time) -> Reply {
    Reply::Answer(422, vec![("webhook-delivery", word.to_owned())], after)
}

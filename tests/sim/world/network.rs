//! Requests to the API and to receivers.

use std::time::Duration;

use jobtrackd_core::job::JobId;
use jobtrackd_core::rows::DueDelivery;

use super::effects::unix;
use super::{Asked, Event, Sent, Violation, World};
use crate::fakes::api::{Reply, Request};
use crate::fakes::receiver;
use crate::oracle::Start;
use crate::process::webhooks::{post, report};
use crate::process::{Message, NoAnswer};
use crate::time::{MS, Time};

impl World<'_> {
    /// What a request for a job asks for.
    pub(super) fn asked_for(
        &self,
        job: &JobId,
        token: Option<u64>,
        etag: Option<String>,
    ) -> Request {
        let mut jobs = self.plan.jobs.iter();
        Request {
            job: jobs.position(|plan| plan.id == job.as_str()),
            token,
            etag,
            started: self.now,
        }
    }

    pub(super) fn poll(
        &mut self,
        poll: u64,
        request: u32,
        job: &JobId,
        what: Request,
    ) -> Result<(), Violation> {
        let process = self.process.as_ref();
        let is_open = |poll| process.is_some_and(|process| process.is_requesting(poll));
        self.oracle.keep_polls(is_open);
        let start = Start {
            job,
            poll,
            request,
            wall: self.wall(),
        };
        self.oracle
            .poll_starts(&self.database, self.plan, &start, self.now)?;
        let asked = Asked {
            epoch: self.epoch,
            poll,
            request,
            what,
            timeout: self.now + self.settings.timeout,
        };
        let at = self.now + self.api.latency(self.chance);
        self.put(at, Event::AtApi(asked));
        Ok(())
    }

    pub(super) fn at_api(&mut self, asked: Asked) -> Result<(), Violation> {
        let number = asked.what.job;
        let reply = self.api.poll(self.plan, self.chance, asked.what, self.now);
        if let Some(settings) = self.reload.take() {
            self.reload_now(settings)?;
        }
        if let Some(job) = number
            && self.again_at_poll.remove(&job)
        {
            self.insert_again(job, true)?;
        }
        let mut entry = None;
        let Asked {
            epoch,
            poll,
            request,
            timeout,
            ..
        } = asked;
        let (after, message) = match reply {
            Reply::Answer(answer, after, served) => {
                entry = served;
                let (status, body) = (answer.status, &answer.body);
                self.log.note(
                    self.now,
                    format_args!("API to {poll}.{request}: {status} {body}"),
                );
                let at = self.now + after;
                if let Some(entry) = served
                    && at < timeout
                    && epoch == self.epoch
                {
                    self.api.served[entry].received = Some(at);
                }
                (after, Ok(answer))
            }
            Reply::NoConnection(after) => (after, Err(NoAnswer::Connect)),
            Reply::Breaks(after) => (after, Err(NoAnswer::Broken)),
            Reply::Silence => (Time::MAX / 2, Err(NoAnswer::Timeout)),
        };
        let (at, message) = match self.now + after {
            at if at < timeout => (at, message),
            _ => (timeout, Err(NoAnswer::Timeout)),
        };
        let entry = entry.filter(|_| message.is_ok());
        self.put(
            at,
            Event::hand(epoch, Message::Polled(poll, request, message, entry)),
        );
        Ok(())
    }

    pub(super) fn at_tokens(&mut self, epoch: u64) -> Result<(), Violation> {
        let result = self.api.grant(self.plan, self.now);
        self.log.note(self.now, format_args!("token: {result:?}"));
        let at = self.now + self.delay("from the tokens", 5 * MS);
        self.put(at, Event::hand(epoch, Message::Granted(result)));
        Ok(())
    }

    pub(super) fn post(&mut self, webhook: usize, delivery: &DueDelivery) -> Result<(), Violation> {
        let wall = self.wall();
        let sent = Sent {
            epoch: self.epoch,
            post: post(webhook, delivery, unix(wall)),
            job: delivery.job_id.clone(),
            started: self.now,
            wall,
            timeout: self.now + self.plan.webhooks[webhook].timeout,
        };
        self.oracle
            .post_starts(&self.database, self.plan, webhook, delivery, self.now)?;
        let at = self.now + self.delay("to the receiver", MS);
        self.put(at, Event::AtReceiver(Box::new(sent)));
        Ok(())
    }

    pub(super) fn at_receiver(&mut self, sent: &Sent) -> Result<(), Violation> {
        let reply = self
            .receivers
            .post(self.plan, self.chance, &sent.post, self.now)?;
        self.oracle
            .arrived(&self.receivers, &sent.post.id, self.now)?;
        self.log.note(
            self.now,
            format_args!(
                "receiver {} of {}: {reply:?}",
                sent.post.webhook, sent.post.id
            ),
        );
        let (after, reply) = match reply {
            receiver::Reply::Answer(status, headers, after) => (after, Ok((status, headers))),
            receiver::Reply::NoConnection(after) => (after, Err(NoAnswer::Connect)),
            receiver::Reply::Breaks(after) => (after, Err(NoAnswer::Broken)),
            receiver::Reply::Silence => (Time::MAX / 2, Err(NoAnswer::Timeout)),
        };
        let (at, reply) = match self.now + after {
            at if at < sent.timeout => (at, reply),
            _ => (sent.timeout, Err(NoAnswer::Timeout)),
        };
        let took = Duration::from_micros(at - sent.started);
        let passed = i64::try_from((at - self.now) / MS).unwrap_or(0);
        let report = report(reply, unix(sent.wall), took, unix(self.wall() + passed));
        let message = Message::Sent(sent.post.webhook, sent.job.clone(), Box::new(report));
        self.put(at, Event::hand(sent.epoch, message));
        Ok(())
    }
}

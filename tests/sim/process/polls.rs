//! Polls: each is a real machine; requests and tokens are done here in the place of the HTTP client.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jobtrackd_core::batch::Recordable;
use jobtrackd_core::dialect;
use jobtrackd_core::job::{Failure, JobId};
use jobtrackd_core::machines::attribution::Attribution;
use jobtrackd_core::machines::batching::Change;
use jobtrackd_core::machines::gate::{PollEnd, Ticket as GateTicket};
use jobtrackd_core::machines::poll::{Input, Machine, Step};
use jobtrackd_core::machines::poller;
use jobtrackd_core::machines::reading::{Meaning, Polled, Refusal, TokenTries, retry_after};
use jobtrackd_core::planted::{self, Bug};
use jobtrackd_core::poll::{Poll, Trouble, TroubleClass};
use jobtrackd_core::rows::DueDelivery;
use jobtrackd_core::time::Now;

use super::tokens::Token;
use super::{NoAnswer, Out, Process, Read, Ticket, duration, micros};
use crate::fakes::render;

/// A poll or an end that is not over.
#[derive(Debug)]
pub(super) struct Running {
    machine: Machine,
    url: Option<Arc<str>>,
    /// What the gate gave at the beginning of the request, and which gate that was; `None`: nothing is being requested.
    ticket: Option<(GateTicket, u64)>,
    tries: TokenTries,
    requests: u32,
    generation: u64,
    /// Whether the poller knows that the request is over and what it found is being recorded.
    is_answered: bool,
}

impl Running {
    pub(super) fn is_requesting(&self) -> bool {
        self.ticket.is_some()
    }
}

impl Process {
    /// Carries out what the poller wants.
    pub(super) fn carry_out(&mut self, now: Now) {
        loop {
            let effects = self.poller.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry(effect, now);
            }
        }
    }

    fn carry(&mut self, effect: poller::Effect, now: Now) {
        match effect {
            poller::Effect::Start(task) => {
                self.last_poll += 1;
                let (number, url) = (self.last_poll, task.url.clone());
                let (machine, step) = Machine::begin(*task);
                let running = Running {
                    machine,
                    url,
                    ticket: None,
                    tries: TokenTries::default(),
                    requests: 0,
                    generation: 0,
                    is_answered: false,
                };
                self.polls.insert(number, running);
                self.carry_step(number, step, now);
            }
            poller::Effect::Cut(id, failure) => self.cut(&id, failure, now),
            poller::Effect::ReadRow(id) => self.out.push(Out::Read(Read::Row(id))),
            poller::Effect::Forget(id) => self.reads.forget(&id),
            poller::Effect::RecordProgress(updates) => {
                self.batching.push(Change::Scheduled(updates));
            }
            poller::Effect::RecordPause(origin, until) => {
                self.batching.push(Change::UpstreamPaused(origin, until));
            }
            poller::Effect::Report(_) => {}
        }
    }

    /// Ends the job of a poll instead of its request, unless that is over.
    fn cut(&mut self, id: &JobId, failure: Failure, now: Now) {
        let mut polls = self.polls.iter_mut();
        let found = polls.find(|(_, poll)| poll.machine.id() == id && poll.ticket.is_some());
        if let Some((number, poll)) = found {
            let (number, requests) = (*number, poll.requests);
            poll.ticket = None;
            self.tokens.forget(number);
            self.step(number, Input::Cut(failure, requests), now);
        }
    }

    /// Gives a poll the result of its last step.
    pub(super) fn step(&mut self, number: u64, input: Input, now: Now) {
        let draws = &mut self.draws;
        let Some(poll) = self.polls.get_mut(&number) else {
            return;
        };
        let step = poll.machine.handle(input, now, &mut || draws.fraction());
        if poll.machine.had_answer() && !std::mem::replace(&mut poll.is_answered, true) {
            self.poller_input(poller::Input::Answered, now);
        }
        self.carry_step(number, step, now);
    }

    fn carry_step(&mut self, number: u64, step: Step, now: Now) {
        let Some(poll) = self.polls.get_mut(&number) else {
            return;
        };
        let id = poll.machine.id().clone();
        match step {
            Step::ReadRow => self.out.push(Out::Read(Read::RowOf(number, id))),
            Step::ReadTracked => self.out.push(Out::Read(Read::Tracked(number, id))),
            Step::Record(recordable) => {
                if planted::is(Bug::SendBeforeCommit) {
                    self.send_early(&recordable);
                }
                let change = Change::Seen(recordable, Ticket::Poll(number));
                self.batching.push(change);
                self.is_busy = true;
            }
            Step::Request => {
                let refused = poll.url.as_deref().is_some_and(|url| !url.starts_with('/'));
                if refused {
                    let why = "the url is of another origin".to_owned();
                    return self.step(number, Input::UrlRefused(why), now);
                }
                poll.ticket = Some((self.gate.begin(), self.gates));
                self.request(number, now);
            }
            Step::Done(finished) => {
                self.polls.remove(&number);
                self.poller_input(poller::Input::Finished(finished), now);
            }
        }
    }

    /// A bug that is planted.
    fn send_early(&mut self, recordable: &Recordable) {
        let seen = &recordable.observation;
        for (event, webhooks) in seen.events.iter().zip(&recordable.webhooks) {
            for name in webhooks {
                let mut plans = self.webhook_plans.iter();
                let Some(webhook) = plans.position(|it| *name == it.name.as_str()) else {
                    continue;
                };
                let delivery = DueDelivery {
                    event_id: event.id.clone(),
                    job_id: seen.job_id.clone(),
                    attempts: 0,
                    retries_used: 0,
                    kind: event.kind,
                    body: Some(event.body.clone().into_bytes()),
                    created_at: event.created_at,
                    expires_at: event.expires_at,
                    due: event.created_at,
                    paused: Duration::ZERO,
                    failed_before: false,
                    is_replay: false,
                };
                self.out.push(Out::Post(webhook, Box::new(delivery)));
            }
        }
    }

    /// Sends the request of a poll as soon as there is a token.
    pub(super) fn request(&mut self, number: u64, now: Now) {
        let Some(id) = self.polls.get(&number).filter(|poll| poll.ticket.is_some()) else {
            return;
        };
        let id = id.machine.id().clone();
        match self.token(number, now) {
            Token::Wait => {}
            Token::Failed(failed) => {
                let error = format!("HTTP {}", failed.status);
                let refused = failed.status == 401;
                let meaning = Meaning::no_token(&error, failed.retry_at, refused);
                self.over(number, meaning, now);
            }
            Token::Is(token, generation) => {
                let Some(poll) = self.polls.get_mut(&number) else {
                    return;
                };
                // The poller has taken the first request from the budget.
                if poll.requests > 0
                    && let Err(wait) = self.budget.try_take(now.monotonic)
                {
                    self.out.push(Out::Later(number, micros(wait)));
                    return;
                }
                poll.requests += 1;
                poll.generation = generation;
                self.out.push(Out::Poll {
                    poll: number,
                    request: poll.requests,
                    job: id,
                    token,
                    etag: poll
                        .machine
                        .if_none_match()
                        .map(|etag| etag.as_str().to_owned()),
                });
            }
        }
    }

    pub(super) fn answered(
        &mut self,
        number: u64,
        request: u32,
        reply: Result<render::Answer, NoAnswer>,
        now: Now,
    ) {
        let running = self.polls.get(&number);
        if !running.is_some_and(|poll| poll.ticket.is_some() && poll.requests == request) {
            return;
        }
        let meaning = match reply {
            Err(error) => Some(no_answer(error)),
            Ok(answer) => self.read(number, &answer, now),
        };
        match meaning {
            Some(meaning) => self.over(number, meaning, now),
            None => self.request(number, now),
        }
    }

    /// What an answer means; `None`: it is to be requested again with a fresh token.
    fn read(&mut self, number: u64, answer: &render::Answer, now: Now) -> Option<Meaning> {
        let poll = self.polls.get_mut(&number)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &answer.headers {
            let value = HeaderValue::from_str(value).ok()?;
            headers.append(HeaderName::from_static(name), value);
        }
        let most = duration(self.settings.max_retry_after);
        let dialect = &*self.dialect;
        let read = dialect::Answer {
            status: answer.status,
            headers: &headers,
            retry_after: retry_after(dialect, answer.status, &headers, now.wall, most),
            body: &answer.body,
        };
        let (id, reads, generation) = (poll.machine.id(), &mut self.reads, poll.generation);
        let refuses = !read.is_success() && Refusal::of(dialect, &read).refuses_token();
        if refuses {
            let mut attributed = Attribution::Credentials;
            let again = poll.tries.refused(generation, || {
                attributed = reads.refused(generation, id);
                attributed
            });
            if attributed == Attribution::Token {
                self.tokens.drop(generation);
            }
            if again {
                return None;
            }
        }
        let polled = Polled {
            dialect,
            job: id,
            expected: poll.url.is_none().then_some(id),
            known: poll.machine.known(),
            is_conditional: poll.machine.if_none_match().is_some(),
            generation,
            tries: poll.tries,
        };
        Some(polled.read(&read, reads))
    }

    /// The request of a poll is over: the gate notes it, and the poll goes on.
    fn over(&mut self, number: u64, meaning: Meaning, now: Now) {
        let random = self.draws.fraction();
        let Some(poll) = self.polls.get_mut(&number) else {
            return;
        };
        if let Some((ticket, gate)) = poll.ticket.take()
            && gate == self.gates
        {
            meaning.note(poll.machine.id(), &mut self.reads);
            let end = PollEnd {
                ticket,
                job: poll.machine.id(),
                signal: meaning.signal,
                detail: &meaning.detail,
            };
            self.gate.note(&end, now, random);
        }
        let requests = poll.requests;
        let poll = Poll {
            outcome: meaning.outcome,
            retry_after: meaning.retry_after,
            requests,
            etag: meaning.etag,
        };
        self.step(number, Input::Polled(poll), now);
        self.is_busy = true;
    }

    /// Those that wait for a token of the secret before ask for one of the secret after.
    pub(super) fn request_again(&mut self, now: Now) {
        let waiting = self
            .polls
            .iter()
            .filter(|(_, poll)| poll.ticket.is_some() && poll.requests == 0);
        let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        for number in waiting {
            self.request(number, now);
        }
    }
}

fn no_answer(error: NoAnswer) -> Meaning {
    let (class, detail) = match error {
        NoAnswer::Connect => (TroubleClass::Connect, "connection refused"),
        NoAnswer::Broken => (TroubleClass::Broken, "the connection broke"),
        NoAnswer::Timeout => (TroubleClass::Timeout, "no answer in time"),
    };
    let detail = detail.to_owned();
    Meaning::trouble(Trouble { class, detail })
}

//! The daemon: its real machines, with queued effects in the place of its tasks. It never waits; what it wants to be done is
//! left in `out`, and the answers come back through [`Process::take`].

mod intake;
mod polls;
mod tokens;
pub(crate) mod webhooks;
mod writing;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jobtrackd_core::batch::{Batch, Committed};
use jobtrackd_core::cadence::PollingPolicy;
use jobtrackd_core::clock_jumps::ClockJumps;
use jobtrackd_core::delivery::{AttemptReport, WebhookName};
use jobtrackd_core::dialect::{self, Dialect, DialectSettings};
use jobtrackd_core::event::{EventType, Subscriptions};
use jobtrackd_core::job::JobId;
use jobtrackd_core::machines::attribution::Reads;
use jobtrackd_core::machines::batching::{self, Batching};
use jobtrackd_core::machines::budget::Budget;
use jobtrackd_core::machines::dispatcher::{Answer, Query};
use jobtrackd_core::machines::gate::Gate;
use jobtrackd_core::machines::poller::{self, Poller};
use jobtrackd_core::machines::{self, dispatcher, poll};
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::rows::{DueDelivery, JobRow};
use jobtrackd_core::time::{Monotonic, Now, UnixMillis};

use crate::chance::{Chance, Draws};
use crate::fakes::render;
use crate::plan::{Plan, Settings, WebhookPlan};
use crate::time::{MS, Time};
use polls::Running;
use tokens::Tokens;

/// The origin of the API.
pub(crate) const ORIGIN: &str = "https://api.example";

/// What the process wants to be done.
#[derive(Debug)]
pub(crate) enum Out {
    /// A read of the database.
    Read(Read),
    /// To begin to commit what [`Process::batch`] returns.
    Commit,
    /// It is on the disk from now on.
    EndCommit,
    /// To request a job, as the request of this number of this poll.
    Poll {
        poll: u64,
        request: u32,
        job: JobId,
        token: Option<u64>,
        etag: Option<String>,
    },
    /// To request a token.
    Grant,
    /// To send an event to the webhook of this number.
    Post(usize, Box<DueDelivery>),
    /// The second request of a poll waits so long for the budget.
    Later(u64, Time),
}

/// A read of the database.
#[derive(Debug, Clone)]
pub(crate) enum Read {
    /// The pause that is recorded.
    Start,
    Intake(machines::intake::Query),
    /// For the poller.
    Row(JobId),
    /// For a poll.
    RowOf(u64, JobId),
    Tracked(u64, JobId),
    Query(usize, Query),
    /// The body of a large event.
    Body(usize, Box<DueDelivery>),
}

/// What has been done, or has happened.
#[derive(Debug)]
pub(crate) enum Message {
    /// Until when the API is paused.
    Started(Option<UnixMillis>),
    Intake(machines::intake::Answer),
    Row(JobId, Option<JobRow>),
    RowOf(u64, Option<JobRow>),
    Tracked(u64, Option<Tracked>),
    Query(usize, Answer),
    Body(usize, Box<DueDelivery>),
    /// Somebody has committed something.
    Changed,
    Committed(Committed),
    Refused(String),
    Unwritable(batching::Writable),
    /// The answer to the request of this number of a poll, and its entry in the log of the API.
    Polled(u64, u32, Result<render::Answer, NoAnswer>, Option<usize>),
    Granted(Result<(u64, Time), u16>),
    Sent(usize, JobId, Box<AttemptReport>),
    Nothing,
    Resend(u64),
    Reload(Box<Settings>),
}

/// Why a request had no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NoAnswer {
    Connect,
    Broken,
    Timeout,
}

/// Who waits for a commit.
#[derive(Debug)]
enum Ticket {
    Poll(u64),
    Attempt(usize, JobId),
    GiveUp(usize),
}

/// The daemon.
pub(crate) struct Process {
    started: Time,
    jumps: ClockJumps,
    draws: Draws,
    pub(crate) settings: Settings,
    webhook_plans: Vec<WebhookPlan>,
    dialect: Arc<dyn Dialect>,
    poller: Poller,
    gate: Gate,
    /// Counts secrets; polls that began with another one note nothing in the gate of this one.
    gates: u64,
    budget: Budget,
    reads: Reads,
    tokens: Tokens,
    polls: BTreeMap<u64, Running>,
    /// The number of the last poll.
    last_poll: u64,
    intake: intake::Intake,
    batching: Batching<Ticket>,
    is_committing: bool,
    webhooks: Vec<webhooks::Webhook>,
    pub(crate) out: Vec<Out>,
    is_busy: bool,
}

impl Process {
    pub(crate) fn start(plan: &Plan, settings: &Settings, epoch: u64, at: Time) -> Self {
        let draws = Chance::new(plan.seed).of("process", epoch).draws();
        let mut process = Self {
            started: at,
            jumps: ClockJumps::default(),
            draws,
            settings: settings.clone(),
            webhook_plans: plan.webhooks.clone(),
            dialect: named(plan.dialect),
            poller: Poller::new(
                machine_settings(settings, &plan.webhooks, plan.dialect),
                settings.max_in_flight,
            ),
            gate: Gate::new(duration(settings.max_retry_after)),
            gates: 0,
            budget: Budget::new(NonZeroU32::new(settings.requests_per_second)),
            reads: reads(settings),
            tokens: Tokens::new(settings.has_tokens),
            polls: BTreeMap::new(),
            last_poll: 0,
            intake: intake::Intake::default(),
            batching: Batching::default(),
            is_committing: false,
            webhooks: plan
                .webhooks
                .iter()
                .map(|_| webhooks::Webhook::default())
                .collect(),
            out: Vec::new(),
            is_busy: false,
        };
        process.out.push(Out::Read(Read::Start));
        process
    }

    /// One reading of its clocks, given the true time and how far the wall clock is off.
    pub(crate) fn now(&mut self, at: Time, wall: i64) -> Now {
        let elapsed = Duration::from_micros(at - self.started);
        Now {
            monotonic: Monotonic::default().plus(elapsed),
            wall: UnixMillis(wall),
            stability: self.jumps.observe(elapsed, UnixMillis(wall)),
        }
    }

    /// Takes in what has happened, and does what is due.
    pub(crate) fn take(&mut self, message: Message, now: Now) {
        self.handle(message, now);
        self.advance(now);
    }

    fn handle(&mut self, message: Message, now: Now) {
        match message {
            Message::Started(pause) => self.begin(pause, now),
            Message::Intake(answer) => self.answered_intake(answer, now),
            Message::Row(id, row) => self.poller_input(poller::Input::Row(id, row), now),
            Message::RowOf(poll, row) => self.step(poll, poll::Input::Row(Ok(row)), now),
            Message::Tracked(poll, tracked) => {
                self.step(poll, poll::Input::Tracked(Ok(tracked)), now);
            }
            Message::Query(webhook, answer) => {
                self.dispatch(webhook, dispatcher::Input::Answer(answer), now);
            }
            Message::Body(webhook, delivery) => self.send(webhook, delivery, now),
            Message::Changed => self.intake.is_dirty = true,
            Message::Committed(committed) => self.committed(&committed, now),
            Message::Refused(rule) => self.refused(&rule, now),
            Message::Unwritable(writable) => self.unwritable(writable, now),
            Message::Polled(poll, request, reply, _) => self.answered(poll, request, reply, now),
            Message::Granted(result) => self.granted(result, now),
            Message::Sent(webhook, job, report) => {
                self.dispatch(webhook, dispatcher::Input::Sent(job, *report), now);
            }
            Message::Resend(poll) => self.request(poll, now),
            Message::Reload(settings) => self.reload(*settings, now),
            Message::Nothing => {}
        }
    }

    /// Does what is due until nothing more is.
    fn advance(&mut self, now: Now) {
        loop {
            self.poller.advance(now, &self.gate, &mut self.budget);
            self.carry_out(now);
            self.start_commit(now);
            self.start_attempts(now);
            self.check_intake(now);
            if !std::mem::take(&mut self.is_busy) {
                return;
            }
        }
    }

    /// When it wants to be woken if nothing happens, in true time.
    pub(crate) fn wake_at(&self, now: Now) -> Time {
        let times = [
            Some(self.poller.wake_at(now)),
            self.batching.wake_at(),
            self.intake.wake_at(),
        ];
        let webhooks = self
            .webhooks
            .iter()
            .filter_map(|webhook| webhook.machine.wake_at());
        let first = times.into_iter().flatten().chain(webhooks).min();
        let at = first.unwrap_or(now.monotonic).0.div_ceil(1000);
        self.started + at.max(now.monotonic.0 / 1000)
    }

    /// The transaction that is to be committed.
    pub(crate) fn batch(&mut self, now: Now) -> Option<&Batch> {
        self.batching.start(now)
    }

    /// Whether it still waits for an answer to a request of this poll.
    pub(crate) fn is_requesting(&self, poll: u64) -> bool {
        self.polls
            .get(&poll)
            .is_some_and(|poll| poll.is_requesting())
    }

    fn poller_input(&mut self, input: poller::Input, now: Now) {
        let draws = &mut self.draws;
        self.poller
            .handle(input, now, &self.gate, &mut || draws.fraction());
        self.is_busy = true;
    }

    fn reload(&mut self, settings: Settings, now: Now) {
        let before = std::mem::replace(&mut self.settings, settings);
        let settings = self.settings.clone();
        let most = duration(settings.max_retry_after);
        self.gate.set_longest_pause(most, now.monotonic);
        self.budget
            .set_rate(NonZeroU32::new(settings.requests_per_second));
        let machine = machine_settings(&settings, &self.webhook_plans, self.dialect.name());
        let input = poller::Input::Settings(machine, settings.max_in_flight);
        self.poller_input(input, now);
        self.configure(now);
        if before.secret != settings.secret {
            self.renew_secret(now);
        }
    }

    /// What polls with the secret before have shown is forgotten, but not a pause that the API asked for.
    fn renew_secret(&mut self, now: Now) {
        let pause = self.gate.pause(now.monotonic);
        self.gate = Gate::new(duration(self.settings.max_retry_after));
        self.gates += 1;
        if let Some(until) = pause {
            self.gate.pause_until(until, now.monotonic);
        }
        self.reads = reads(&self.settings);
        self.tokens = Tokens::new(self.settings.has_tokens);
        self.request_again(now);
    }
}

fn reads(settings: &Settings) -> Reads {
    match settings.has_tokens {
        true => Reads::default(),
        false => Reads::with_fixed_token(),
    }
}

pub(crate) fn duration(time: Time) -> Duration {
    Duration::from_micros(time)
}

/// Rounds a duration up to microseconds.
fn micros(duration: Duration) -> Time {
    u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(Time::MAX)
}

fn named(name: &str) -> Arc<dyn Dialect> {
    let pointer = |text: &str| text.parse::<dialect::Pointer>().ok();
    let json = dialect::JsonSettings {
        status: pointer("/job/state"),
        success: vec!["DONE".to_owned()],
        failure: vec!["BROKEN".to_owned()],
        error_code: pointer("/job/why/0/id"),
        error_title: pointer("/job/why/0/text"),
        error_detail: pointer("/job/why/0/more"),
        progress: None,
        updated: pointer("/job/changed"),
    };
    let settings = DialectSettings {
        progress: false,
        json,
    };
    dialect::named(name, &settings).expect("the plan names dialects that there are")
}

fn machine_settings(settings: &Settings, webhooks: &[WebhookPlan], name: &str) -> poll::Settings {
    let configured = webhooks.iter().enumerate();
    let configured = configured.filter(|(number, _)| !settings.unconfigured.contains(number));
    let subscriptions = configured.map(|(_, webhook)| {
        let events = webhook.events.iter().map(|word| event_type(word));
        (WebhookName::new(&webhook.name), events.collect())
    });
    poll::Settings {
        api_origin: ORIGIN.to_owned(),
        subscriptions: Subscriptions::new(subscriptions.collect()),
        policy: PollingPolicy {
            initial_delay: duration(settings.initial_delay),
            multiplier: settings.multiplier,
            max_delay: duration(settings.max_delay),
            jitter: 0.1,
            error_max_delay: duration(settings.error_max_delay),
            queued_delay: duration(settings.queued_delay),
            not_found_grace: duration(settings.not_found_grace),
            deadline: duration(settings.deadline),
        },
        max_retry_after: duration(settings.max_retry_after),
        heeds_retry_after: named(name).heeds_retry_after(),
    }
}

fn event_type(word: &str) -> EventType {
    match word {
        "job.completed" => EventType::Completed,
        "job.failed" => EventType::Failed,
        "job.action_required" => EventType::ActionRequired,
        "job.delayed" => EventType::Delayed,
        _ => EventType::StepChanged,
    }
}

/// How often intake looks for commits of others where writes to the log are not reported.
const TICK: Time = 40 * MS;

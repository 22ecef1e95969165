//! The demo in time: rows are inserted, users answer, tokens expire, and what comes of it is watched from outside.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::plan::{self, Role, User, at_pace};
use super::stage::Stage;
use crate::clock::Clock;
use crate::core::delivery::DeliveryState;
use crate::core::job::{FailureKind, JobId, JobState};
use crate::core::time::UnixMillis;
use crate::simulator::{Control, Inbox, Received};
use crate::store::{JobDetail, NewJob, Store};

/// How long a user looks at a challenge before answering it.
const THINKING: Duration = Duration::from_millis(1_100);

/// What a user types who does not know the answer.
const WRONG: &str = "0000";

/// Something that happened to a job.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub(super) at: UnixMillis,
    /// Index into [`Play::actors`].
    pub(super) actor: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// Its row was inserted.
    Enqueued,
    /// `cancel_requested` was set.
    CancelAsked,
    /// A user answered its challenge, rightly or not.
    Answered(bool),
    /// A transition was recorded.
    Step {
        title: String,
        from: Option<String>,
        to: String,
    },
    /// An event reached a webhook, which answered with this status.
    Told {
        event: String,
        hook: String,
        status: u16,
        taken: bool,
    },
    /// It ended; `None`: well.
    Ended(Option<FailureKind>),
}

/// A role and how far it has come.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) role: Role,
    /// When its row was inserted.
    pub(super) since: Option<UnixMillis>,
    /// What is known of it, as last read.
    pub(super) detail: Option<JobDetail>,
    cancelled: bool,
    shown: usize,
    ended: bool,
    answer_at: Option<Instant>,
    answers: u32,
}

/// The running demo.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) actors: Vec<Actor>,
    pub(super) began_at: UnixMillis,
    /// Requests at the webhooks: taken, and refused.
    pub(super) told: (u64, u64),
    began: Instant,
    pace: f64,
    clock: Clock,
    control: Control,
    inbox: Inbox,
    outside: Store,
    tokens_expired: bool,
    heard: u64,
    asked: HashSet<String>,
}

impl Actor {
    fn new(role: Role) -> Self {
        Self {
            role,
            since: None,
            detail: None,
            cancelled: false,
            shown: 0,
            ended: false,
            answer_at: None,
            answers: 0,
        }
    }

    /// Whether its end was recorded.
    pub(super) fn is_ended(&self) -> bool {
        let detail = self.detail.as_ref();
        detail.is_some_and(|detail| detail.summary.row.state.is_final())
    }

    /// Whether nothing more is to be expected of it.
    pub(super) fn is_settled(&self) -> bool {
        let waits = |detail: &JobDetail| {
            let mut states = detail.deliveries.iter().map(|delivery| delivery.state);
            states.any(|state| state == DeliveryState::Pending)
        };
        self.is_ended() && !self.detail.as_ref().is_some_and(waits)
    }
}

impl Play {
    pub(super) fn new(stage: &Stage, pace: f64) -> Self {
        let clock = Clock::system();
        Self {
            actors: plan::roles().into_iter().map(Actor::new).collect(),
            began_at: clock.now(),
            told: (0, 0),
            began: Instant::now(),
            pace,
            clock,
            control: stage.simulator.control(),
            inbox: stage.receiver.inbox(),
            outside: stage.outside.clone(),
            tokens_expired: false,
            heard: 0,
            asked: HashSet::new(),
        }
    }

    /// Whether nothing more is to be expected of anybody.
    pub(super) fn is_over(&self) -> bool {
        self.actors.iter().all(Actor::is_settled)
    }

    /// Does what is due and looks at what has happened since, in order of time.
    ///
    /// # Errors
    /// When the database or the simulator refuses what a demo asks of it.
    pub(super) async fn step(&mut self) -> anyhow::Result<Vec<Happening>> {
        let mut happenings = Vec::new();
        for index in 0..self.actors.len() {
            self.cues(index, &mut happenings).await?;
        }
        if !self.tokens_expired && self.is_time(plan::TOKENS_EXPIRE) {
            self.tokens_expired = true;
            self.control.expire_tokens();
        }
        self.hear(&mut happenings);
        self.answer(&mut happenings);
        for index in 0..self.actors.len() {
            self.look(index, &mut happenings).await?;
        }
        happenings.sort_by_key(|happening| happening.at);
        Ok(happenings)
    }

    fn is_time(&self, cue: Duration) -> bool {
        self.began.elapsed() >= at_pace(cue, self.pace)
    }

    /// Inserts the row, and later cancels it, when it is time.
    async fn cues(&mut self, index: usize, news: &mut Vec<Happening>) -> anyhow::Result<()> {
        let Some(actor) = self.actors.get(index) else {
            return Ok(());
        };
        let role = actor.role.clone();
        let mut say = |at, what| {
            news.push(Happening {
                at,
                actor: index,
                what,
            });
        };
        if actor.since.is_none() {
            if self.is_time(role.at) {
                let at = self.enqueue(&role).await?;
                say(at, What::Enqueued);
                if let Some(actor) = self.actors.get_mut(index) {
                    actor.since = Some(at);
                }
            }
        } else if let Some(after) = role.cancel
            && !actor.cancelled
            && self.is_time(role.at + after)
        {
            self.outside.request_cancel(&JobId::parse(role.id)?).await?;
            say(self.clock.now(), What::CancelAsked);
            if let Some(actor) = self.actors.get_mut(index) {
                actor.cancelled = true;
            }
        }
        Ok(())
    }

    async fn enqueue(&self, role: &Role) -> anyhow::Result<UnixMillis> {
        if let Some(job) = role.remote_job(self.pace) {
            self.control.create(job)?;
        }
        let now = self.clock.now();
        let deadline = role
            .deadline
            .map(|after| now.plus(at_pace(after, self.pace)));
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let row = NewJob {
            id: role.id.to_owned(),
            url: owned(role.url),
            metadata: owned(role.metadata),
            webhook: owned(role.webhook),
            priority: role.priority,
            deadline_at: deadline,
            not_before: None,
        };
        anyhow::ensure!(
            self.outside.enqueue(&row).await?,
            "the id {} is there already",
            role.id
        );
        Ok(now)
    }

    /// What reached the webhooks; a challenge sets its user thinking.
    fn hear(&mut self, news: &mut Vec<Happening>) {
        for request in self.inbox.received_after(self.heard) {
            self.heard = request.number;
            let taken = request.is_taken();
            *(if taken {
                &mut self.told.0
            } else {
                &mut self.told.1
            }) += 1;
            let found = self
                .actors
                .iter_mut()
                .enumerate()
                .find(|(_, actor)| actor.role.id == request.job);
            let Some((index, actor)) = found else {
                continue;
            };
            let asks = request.event == "job.action_required";
            if asks && taken && self.asked.insert(request.id.clone()) {
                actor.answer_at = Some(Instant::now() + at_pace(THINKING, self.pace));
            }
            let Received {
                at,
                event,
                hook,
                status,
                ..
            } = request;
            let what = What::Told {
                event,
                hook,
                status,
                taken,
            };
            news.push(Happening {
                at,
                actor: index,
                what,
            });
        }
    }

    /// Users answer in their own way.
    fn answer(&mut self, news: &mut Vec<Happening>) {
        let now = Instant::now();
        for (index, actor) in self.actors.iter_mut().enumerate() {
            if actor.answer_at.take_if(|at| *at <= now).is_none() {
                continue;
            }
            let id = actor.role.remote_id();
            let expected = self.control.expected_answers(id).unwrap_or_default();
            let wrong = || expected.iter().map(|_| WRONG.to_owned()).collect();
            let answers = match actor.role.user {
                User::Silent => continue,
                User::Guesses => wrong(),
                User::Mistypes if actor.answers == 0 => wrong(),
                User::Knows | User::Mistypes => expected.clone(),
            };
            actor.answers += 1;
            if let Ok(right) = self.control.answer(id, &answers) {
                news.push(Happening {
                    at: self.clock.now(),
                    actor: index,
                    what: What::Answered(right),
                });
            }
        }
    }

    /// What was recorded of a job since it was last read.
    async fn look(&mut self, index: usize, news: &mut Vec<Happening>) -> anyhow::Result<()> {
        let Some(actor) = self.actors.get_mut(index) else {
            return Ok(());
        };
        if actor.since.is_none() || actor.is_settled() {
            return Ok(());
        }
        let Some(detail) = self.outside.detail(&JobId::parse(actor.role.id)?).await? else {
            return Ok(());
        };
        let mut say = |at, what| {
            news.push(Happening {
                at,
                actor: index,
                what,
            });
        };
        for transition in detail.transitions.iter().skip(actor.shown) {
            let what = What::Step {
                title: transition.title.clone(),
                from: transition.from.clone(),
                to: transition.to.clone(),
            };
            say(transition.observed_at, what);
        }
        actor.shown = detail.transitions.len();
        let summary = &detail.summary;
        if let Some(at) = summary.finished_at
            && !std::mem::replace(&mut actor.ended, true)
        {
            let kind = summary.failure.as_ref().map(|failure| failure.kind);
            say(
                at,
                What::Ended(kind.filter(|_| summary.row.state == JobState::Failed)),
            );
        }
        actor.detail = Some(detail);
        Ok(())
    }
}

//! The writer's decisions: changes of many jobs are put into transactions, within bounds and with one observation per job;
//! a transaction that cannot be committed now is tried again, one that a rule of the schema refuses is split.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use crate::batch::{Batch, Committed, FinishedAttempt, Recordable, ScheduleUpdate, Undelivered};
use crate::delivery::WebhookName;
use crate::job::JobId;
use crate::planted::{self, Bug};
use crate::shortage::Shortage;
use crate::time::{Monotonic, Now, UnixMillis};

/// Most changes of one transaction; further ones wait for the next.
pub const MAX_BATCH: usize = 1000;

/// Most bytes of observations and attempts in one transaction (4 MiB), unless a single one has more. It bounds the memory
/// until the commit and the time for which other programs cannot write.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// Pause before a transaction is tried again after a full disk or a locked database.
pub const RETRY: Duration = Duration::from_millis(500);

/// Something to record. `T` is whoever waits for it, and gets an [`Effect::Answer`].
#[derive(Debug)]
pub enum Change<T> {
    /// An observation.
    Seen(Box<Recordable>, T),
    /// An attempt and what follows from it.
    Attempted(Box<FinishedAttempt>, T),
    /// Expired deliveries.
    Expired(Vec<Undelivered>, T),
    /// The progress of jobs.
    Scheduled(Vec<ScheduleUpdate>),
    /// `poll_requested` of these jobs is to be reset, unless they have changed after the change of this number.
    PollRequestsTaken(Vec<JobId>, i64),
    /// Until when the API at this origin is paused.
    UpstreamPaused(String, UnixMillis),
    /// The recorded row changes up to this number may be deleted, with the next transaction.
    ChangesSeen(i64),
}

/// What became of a change that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is committed.
    Yes,
    /// It was based on rows that have changed meanwhile: a job that must be read and polled again, or an attempt that is not
    /// the next one of its delivery.
    Stale,
    /// This rule of the schema forbids it.
    Refused(String),
}

/// Whether outcomes can be recorded. While they cannot, nothing is sent (docs/guarantees.md, "Crashes, disks and clocks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writable {
    /// The last transaction was committed or refused, or there was none yet.
    Yes,
    /// The disk is full; a transaction waits for space.
    DiskFull,
    /// Another program holds the lock; a transaction waits for it.
    Locked,
    /// This process has run out of a resource; a transaction waits for it.
    Short(Shortage),
}

impl Writable {
    /// Whether polls go on. A program that inserts many rows may hold the lock for a minute: most polls find nothing to record,
    /// and those that do wait, as many as may be in flight. A full disk has no end in sight.
    #[must_use]
    pub fn permits_polls(self) -> bool {
        matches!(self, Self::Yes | Self::Locked)
    }
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// Whether outcomes can be recorded has changed.
    Writable(Writable),
    /// Something of these jobs is new, for those who wait for that; in the order of the transaction, never empty.
    Notify(Vec<JobId>),
    /// To whoever waits.
    Answer(T, Recorded),
    /// There is something new to send to this webhook.
    Wake(WebhookName),
    /// For the log.
    Report(Report),
}

/// What another program has done to rows that only this one writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An attempt is not the next one of its delivery.
    UnexpectedAttempt(AttemptKey),
    /// A rule of the schema refuses an attempt.
    RefusedAttempt(AttemptKey, String),
    /// A rule of the schema refuses to give up expired events.
    RefusedExpiries(String),
}

/// Event, webhook and number of an attempt.
pub type AttemptKey = (String, WebhookName, u32);

/// The changes that are not yet committed. It is asked for a transaction with [`Batching::start`] and takes the result with
/// [`committed`](Batching::committed), [`refused`](Batching::refused) or [`unwritable`](Batching::unwritable); the result of
/// one that ends otherwise is not known, so nothing can follow it.
#[derive(Debug)]
pub struct Batching<T> {
    /// In the order in which they came.
    changes: VecDeque<Change<T>>,
    changes_seen: Option<i64>,
    /// The one that is being committed, and after it the other parts of the one that was refused.
    transactions: VecDeque<Transaction<T>>,
    retry_at: Option<Monotonic>,
    writable: Writable,
}

/// A batch, and who waits for its commit; `seen`, `attempted` and `expired` in the order of the batch.
#[derive(Debug)]
struct Transaction<T> {
    batch: Batch,
    seen: Vec<(JobId, T)>,
    attempted: Vec<(AttemptKey, T)>,
    /// Each with the number of its deliveries.
    expired: Vec<(usize, T)>,
}

impl<T> Default for Batching<T> {
    fn default() -> Self {
        Self {
            changes: VecDeque::new(),
            changes_seen: None,
            transactions: VecDeque::new(),
            retry_at: None,
            writable: Writable::Yes,
        }
    }
}

impl<T> Batching<T> {
    /// Takes a change, which is committed after those before it that concern the same job.
    pub fn push(&mut self, change: Change<T>) {
        self.changes.push_back(change);
    }

    /// The transaction to be committed now, until its result is known the same one; `None` when there is nothing to commit,
    /// or not before [`Batching::wake_at`].
    pub fn start(&mut self, now: Now) -> Option<&Batch> {
        if self.retry_at.is_some_and(|at| now.monotonic < at) {
            return None;
        }
        self.retry_at = None;
        while self.transactions.is_empty() && !self.changes.is_empty() {
            let mut next = self.gather();
            if next.is_needed() {
                next.batch.changes_seen = self.changes_seen.take();
                next.batch.now = Some(now.wall);
                self.transactions.push_back(next);
            }
        }
        self.transactions.front().map(|next| &next.batch)
    }

    /// When the transaction that could not be committed is tried again.
    #[must_use]
    pub fn wake_at(&self) -> Option<Monotonic> {
        self.retry_at
    }

    /// The transaction is committed.
    pub fn committed(&mut self, committed: &Committed) -> Vec<Effect<T>> {
        let mut effects = self.now_writable(Writable::Yes);
        if let Some(done) = self.transactions.pop_front() {
            done.committed(committed, &mut effects);
        }
        let webhooks = committed.webhooks.iter();
        effects.extend(webhooks.map(|name| Effect::Wake(name.clone())));
        effects
    }

    /// A rule of the schema refuses the transaction, so another program has changed rows of some job; each change is then
    /// committed by itself, so that the other jobs continue.
    ///
    /// # Errors
    /// The rule, if it refuses bookkeeping, which breaks no rule of an intact database.
    pub fn refused(&mut self, rule: &str) -> Result<Vec<Effect<T>>, String> {
        // The database could be written as far as the rule.
        let mut effects = self.now_writable(Writable::Yes);
        if let Some(refused) = self.transactions.pop_front() {
            let parts = refused.split(rule, &mut effects)?;
            for part in parts.into_iter().rev() {
                self.transactions.push_front(part);
            }
        }
        Ok(effects)
    }

    /// The transaction was not committed, and can be for this reason only later.
    pub fn unwritable(&mut self, reason: Writable, now: Monotonic) -> Vec<Effect<T>> {
        if planted::is(Bug::AnswerBeforeCommit) {
            let recorded = self.transactions.front().map(Transaction::jobs);
            return self.committed(&Committed {
                recorded: recorded.unwrap_or_default(),
                ..Committed::default()
            });
        }
        let pause = match planted::is(Bug::NoRecoveryAfterFull) {
            true => RETRY * 1_000_000,
            false => RETRY,
        };
        self.retry_at = Some(now.plus(pause));
        self.now_writable(reason)
    }

    fn now_writable(&mut self, state: Writable) -> Vec<Effect<T>> {
        let changed = std::mem::replace(&mut self.writable, state) != state;
        changed
            .then_some(Effect::Writable(state))
            .into_iter()
            .collect()
    }

    /// Takes what fits into one transaction; the rest stays in its order. A second observation of a job waits too, since it
    /// is based on the job before the first.
    fn gather(&mut self) -> Transaction<T> {
        let mut next = Transaction::of(Batch::default());
        let mut room = Room::default();
        let mut later = VecDeque::new();
        let mut taken = 0;
        while let Some(change) = self.changes.pop_front() {
            if taken == MAX_BATCH {
                later.push_back(change);
                break;
            }
            if let Change::ChangesSeen(newest) = change {
                self.changes_seen = self.changes_seen.max(Some(newest));
            } else if room.takes(&change, &next.batch) {
                taken += 1;
                next.take(change);
            } else {
                later.push_back(change);
            }
        }
        later.append(&mut self.changes);
        self.changes = later;
        next
    }
}

/// What a transaction has room for.
#[derive(Default)]
struct Room {
    bytes: usize,
    /// Those with an observation in it, or one that waits for the next.
    observed: BTreeSet<JobId>,
    /// Those with an attempt that waits for the next.
    attempted_later: BTreeSet<JobId>,
}

impl Room {
    fn takes<T>(&mut self, change: &Change<T>, batch: &Batch) -> bool {
        match change {
            Change::Seen(recordable, _) => {
                let is_first = self.observed.insert(recordable.observation.job_id.clone());
                is_first && self.has(recordable.bytes())
            }
            Change::Attempted(attempt, _) => {
                let job = &attempt.job_id;
                let fits = !self.attempted_later.contains(job) && self.has(attempt.bytes());
                if !fits {
                    self.attempted_later.insert(job.clone());
                }
                fits
            }
            // One page of progress per transaction, so that many thousand rows do not delay observations.
            Change::Scheduled(_) => batch.schedules.is_empty(),
            Change::UpstreamPaused(origin, _) => {
                let paused = batch.upstream_paused.as_ref();
                paused.is_none_or(|(other, _)| other == origin)
            }
            Change::Expired(..) | Change::PollRequestsTaken(..) | Change::ChangesSeen(_) => true,
        }
    }

    fn has(&mut self, more: usize) -> bool {
        let fits = self.bytes == 0 || self.bytes + more <= MAX_BATCH_BYTES;
        self.bytes += if fits { more } else { 0 };
        fits
    }
}

impl<T> Transaction<T> {
    fn of(batch: Batch) -> Self {
        Self {
            batch,
            seen: Vec::new(),
            attempted: Vec::new(),
            expired: Vec::new(),
        }
    }

    fn jobs(&self) -> HashSet<JobId> {
        self.seen.iter().map(|(id, _)| id.clone()).collect()
    }

    fn is_needed(&self) -> bool {
        !self.batch.is_empty() || !self.expired.is_empty()
    }

    fn take(&mut self, change: Change<T>) {
        let batch = &mut self.batch;
        match change {
            Change::Seen(recordable, ticket) => {
                let id = recordable.observation.job_id.clone();
                self.seen.push((id, ticket));
                batch.observations.push(*recordable);
            }
            Change::Attempted(attempt, ticket) => {
                let sent = &attempt.attempt;
                let key = (sent.event_id.clone(), sent.webhook.clone(), sent.number);
                self.attempted.push((key, ticket));
                batch.attempts.push(*attempt);
            }
            Change::Expired(expiries, ticket) => {
                self.expired.push((expiries.len(), ticket));
                batch.expiries.extend(expiries);
            }
            Change::Scheduled(schedules) => batch.schedules = schedules,
            Change::PollRequestsTaken(jobs, seen) => {
                let taken = jobs.into_iter().map(|id| (id, seen));
                batch.poll_requests_taken.extend(taken);
            }
            Change::UpstreamPaused(origin, until) => batch.upstream_paused = Some((origin, until)),
            Change::ChangesSeen(newest) => {
                batch.changes_seen = batch.changes_seen.max(Some(newest));
            }
        }
    }

    fn committed(self, committed: &Committed, effects: &mut Vec<Effect<T>>) {
        // Freed before the answers, which let the loops make new changes.
        drop(self.batch);
        let seen = self.seen.iter().map(|(id, _)| id);
        let recorded: Vec<JobId> = seen
            .filter(|id| committed.recorded.contains(*id))
            .cloned()
            .collect();
        if !recorded.is_empty() {
            effects.push(Effect::Notify(recorded));
        }
        for (id, ticket) in self.seen {
            let recorded = match committed.recorded.contains(&id) {
                true => Recorded::Yes,
                false => Recorded::Stale,
            };
            effects.push(Effect::Answer(ticket, recorded));
        }
        for (key, ticket) in self.attempted {
            let recorded = match committed.unexpected_attempts.contains(&key) {
                true => {
                    effects.push(Effect::Report(Report::UnexpectedAttempt(key)));
                    Recorded::Stale
                }
                false => Recorded::Yes,
            };
            effects.push(Effect::Answer(ticket, recorded));
        }
        for (_, ticket) in self.expired {
            effects.push(Effect::Answer(ticket, Recorded::Yes));
        }
    }

    /// Each change by itself, and the bookkeeping last. A single change is answered as refused.
    fn split(mut self, rule: &str, effects: &mut Vec<Effect<T>>) -> Result<Vec<Self>, String> {
        let units = self.seen.len() + self.attempted.len() + self.expired.len();
        let now = self.batch.now;
        let rest = Batch {
            schedules: std::mem::take(&mut self.batch.schedules),
            poll_requests_taken: std::mem::take(&mut self.batch.poll_requests_taken),
            upstream_paused: self.batch.upstream_paused.take(),
            changes_seen: self.batch.changes_seen.take(),
            now,
            ..Batch::default()
        };
        if units == 0 {
            return Err(rule.to_owned());
        }
        if units == 1 && rest.is_empty() {
            self.refuse(rule, effects);
            return Ok(Vec::new());
        }
        let alone = |change| {
            let mut part = Self::of(Batch {
                now,
                ..Batch::default()
            });
            part.take(change);
            part
        };
        let mut parts: Vec<Self> = self.changes().into_iter().map(alone).collect();
        if !rest.is_empty() {
            parts.push(Self::of(rest));
        }
        Ok(parts)
    }

    /// The changes that somebody waits for.
    fn changes(self) -> Vec<Change<T>> {
        let seen = self.batch.observations.into_iter().zip(self.seen);
        let seen = seen.map(|(recordable, (_, ticket))| Change::Seen(Box::new(recordable), ticket));
        let attempted = self.batch.attempts.into_iter().zip(self.attempted);
        let attempted =
            attempted.map(|(attempt, (_, ticket))| Change::Attempted(Box::new(attempt), ticket));
        let mut expiries = self.batch.expiries.into_iter();
        let expired = self.expired.into_iter().map(|(count, ticket)| {
            let expiries = expiries.by_ref().take(count).collect();
            Change::Expired(expiries, ticket)
        });
        seen.chain(attempted).chain(expired).collect()
    }

    fn refuse(self, rule: &str, effects: &mut Vec<Effect<T>>) {
        let refused = || Recorded::Refused(rule.to_owned());
        for (_, ticket) in self.seen {
            effects.push(Effect::Answer(ticket, refused()));
        }
        for (key, ticket) in self.attempted {
            let report = Report::RefusedAttempt(key, rule.to_owned());
            effects.extend([Effect::Report(report), Effect::Answer(ticket, refused())]);
        }
        for (_, ticket) in self.expired {
            let report = Report::RefusedExpiries(rule.to_owned());
            effects.extend([Effect::Report(report), Effect::Answer(ticket, refused())]);
        }
    }
}

#[cfg(test)]
mod tests;

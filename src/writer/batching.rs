//! Puts changes into transactions, within bounds and with one observation per job, and splits a transaction that a rule of
//! the schema refuses.

use std::collections::HashSet;

use tokio::sync::oneshot;
use tracing::error;

use super::{Change, Recorded};
use crate::core::delivery::WebhookName;
use crate::core::job::JobId;
use crate::store::Batch;

/// Most changes of one transaction; further ones wait for the next.
pub(super) const MAX_BATCH: usize = 1000;

/// Most bytes of observations and attempts in one transaction (4 MiB), unless a single one has more. It bounds the memory
/// until the commit and the time for which other programs cannot write.
pub(super) const MAX_BATCH_BYTES: usize = 4 << 20;

/// A batch, and the answers to send after its commit.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) batch: Batch,
    pub(super) waiting: Waiting,
}

/// The answers to send after a commit; `seen` and `attempted` in the order of the batch.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) seen: Vec<(JobId, oneshot::Sender<Recorded>)>,
    pub(super) attempted: Vec<(AttemptKey, oneshot::Sender<bool>)>,
    pub(super) expired: Vec<oneshot::Sender<bool>>,
}

/// Event, webhook and number of an attempt.
type AttemptKey = (String, WebhookName, u32);

/// Takes what fits into one transaction; the rest goes to `later`. A second observation of a job waits too, since it is based
/// on the job before the first.
pub(super) fn gather(
    changes: &mut Vec<Change>,
    later: &mut Vec<Change>,
    changes_seen: &mut Option<i64>,
) -> Transaction {
    let Transaction {
        mut batch,
        mut waiting,
    } = Transaction::default();
    let mut jobs: HashSet<JobId> = HashSet::new();
    let mut bytes = 0;
    let mut has_room = |more: usize| {
        let fits = bytes == 0 || bytes + more <= MAX_BATCH_BYTES;
        bytes += if fits { more } else { 0 };
        fits
    };
    for change in changes.drain(..) {
        match change {
            Change::Seen(recordable, done) => {
                let id = recordable.observation.job_id.clone();
                if !jobs.contains(&id) && has_room(recordable.bytes()) {
                    jobs.insert(id.clone());
                    batch.observations.push(*recordable);
                    waiting.seen.push((id, done));
                } else {
                    later.push(Change::Seen(recordable, done));
                }
            }
            Change::Attempted(attempt, done) if !has_room(attempt.bytes()) => {
                later.push(Change::Attempted(attempt, done));
            }
            Change::Attempted(attempt, done) => {
                let sent = &attempt.attempt;
                let key = (sent.event_id.clone(), sent.webhook.clone(), sent.number);
                waiting.attempted.push((key, done));
                batch.attempts.push(*attempt);
            }
            Change::Expired(expiries, done) => {
                batch.expiries.extend(expiries);
                waiting.expired.push(done);
            }
            // One page of progress per transaction, so that many thousand rows do not delay observations.
            Change::Scheduled(schedules) if batch.schedules.is_empty() => {
                batch.schedules = schedules;
            }
            Change::Scheduled(schedules) => later.push(Change::Scheduled(schedules)),
            Change::UpstreamPaused(origin, until) => {
                batch.upstream_paused = Some((origin, until));
            }
            Change::PollRequestsTaken(jobs) => batch.poll_requests_taken.extend(jobs),
            Change::ChangesSeen(newest) => {
                *changes_seen = (*changes_seen).max(Some(newest));
            }
        }
    }
    Transaction { batch, waiting }
}

impl Transaction {
    /// Splits a transaction that a rule of the schema refused: each change by itself, and the bookkeeping last. A single
    /// change is answered as refused.
    ///
    /// # Errors
    /// The rule, if it refuses bookkeeping, which breaks no rule of an intact database.
    pub(super) fn split(self, rule: &str) -> Result<Vec<Self>, String> {
        let Self { batch, waiting } = self;
        let units = batch.observations.len()
            + batch.attempts.len()
            + usize::from(!batch.expiries.is_empty());
        let now = batch.now;
        let rest = Batch {
            schedules: batch.schedules,
            poll_requests_taken: batch.poll_requests_taken,
            upstream_paused: batch.upstream_paused,
            changes_seen: batch.changes_seen,
            now,
            ..Batch::default()
        };
        match units {
            0 => return Err(rule.to_owned()),
            1 if rest.is_empty() => {
                waiting.refuse(rule);
                return Ok(Vec::new());
            }
            _ => {}
        }
        let alone = || Batch {
            now,
            ..Batch::default()
        };
        let observations = batch.observations.into_iter().zip(waiting.seen);
        let mut parts: Vec<Self> = observations
            .map(|(recordable, waits)| {
                let mut part = Self::of(alone());
                part.batch.observations.push(recordable);
                part.waiting.seen.push(waits);
                part
            })
            .collect();
        let attempts = batch.attempts.into_iter().zip(waiting.attempted);
        parts.extend(attempts.map(|(attempt, waits)| {
            let mut part = Self::of(alone());
            part.batch.attempts.push(attempt);
            part.waiting.attempted.push(waits);
            part
        }));
        let mut expiries = Self::of(alone());
        expiries.batch.expiries = batch.expiries;
        expiries.waiting.expired = waiting.expired;
        parts.extend([expiries, Self::of(rest)]);
        parts.retain(|part| !part.batch.is_empty() || !part.waiting.expired.is_empty());
        Ok(parts)
    }

    fn of(batch: Batch) -> Self {
        Self {
            batch,
            waiting: Waiting::default(),
        }
    }
}

impl Waiting {
    /// Answers that a rule of the schema refuses the changes.
    fn refuse(self, rule: &str) {
        for (_, done) in self.seen {
            let _ = done.send(Recorded::Refused(rule.to_owned()));
        }
        for ((event_id, webhook, attempt), done) in self.attempted {
            error!(
                event_id,
                %webhook,
                attempt,
                error = rule,
                "an attempt cannot be recorded; its rows were changed by another program"
            );
            let _ = done.send(false);
        }
        for done in self.expired {
            error!(
                error = rule,
                "expired events cannot be given up; their rows were changed by another program"
            );
            let _ = done.send(false);
        }
    }
}

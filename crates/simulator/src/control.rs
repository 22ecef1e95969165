//! The control handle: what a test or a demo does to the simulator from inside its process.

use std::fmt;

use serde::Serialize;

use super::faults::{ActiveFault, FaultError, FaultRule};
use super::jobs::{CreateError, JobCounts, NewJob};
use super::log::{LoggedRequest, Totals};
use super::scenario::Scenario;
use super::shared::Shared;
use super::timeline::{Ending, Verdict};
use jobtrackd_core::time::UnixMillis;

/// A handle on a running simulator. Clones are the same simulator.
#[derive(Clone)]
pub struct Control {
    shared: Shared,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("base_url", &self.shared.base_url())
            .finish_non_exhaustive()
    }
}

/// What is really so with a job, whoever looked or not.
#[derive(Debug, Clone, Serialize)]
pub struct Truth {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// The story it tells; `None` for a script.
    pub scenario: Option<Scenario>,
    /// When it was made.
    pub created: UnixMillis,
    /// The right answers to the challenge that is open or comes next.
    pub expected_answers: Option<Vec<String>>,
    /// Whether a challenge is open now.
    pub asks: bool,
    /// Whether nothing will change any more.
    pub finished: bool,
    /// Every body with the moment from which it is shown, oldest first, up to the next challenge: past and future.
    pub moments: Vec<TrueMoment>,
    /// How often it was asked for.
    pub counts: JobCounts,
}

/// One body of a job, shown from `at` until the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrueMoment {
    /// From when.
    pub at: UnixMillis,
    /// The HTTP status.
    pub status: u16,
    /// The body, with links under [`Control::base_url`]; `None` where the error envelope is answered.
    pub body: Option<String>,
    /// How it ends the job; `None` while it runs.
    pub ending: Option<Ending>,
}

/// Why an answer to a challenge was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// There is no job with that id.
    #[error("there is no such job")]
    NoJob,
    /// The job waits for no answer.
    #[error("the job waits for no answer")]
    NotAsked,
    /// Not one text for each input.
    #[error("a challenge takes one text for each of its inputs")]
    Count,
}

impl Truth {
    /// How the last body ends the job; `None` when it does not, or when a challenge is still to be answered.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.moments.last().and_then(|moment| moment.ending)
    }
}

impl Control {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// `http://ADDRESS:PORT`, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.shared.base_url()
    }

    /// Makes a job and says its id.
    ///
    /// # Errors
    /// Says why it cannot be made.
    pub fn create(&self, new: NewJob) -> Result<String, CreateError> {
        let now = self.shared.now();
        self.shared.world().create(new, now)
    }

    /// The truth about a job; `None` when there is none with that id.
    #[must_use]
    pub fn truth(&self, id: &str) -> Option<Truth> {
        let now = self.shared.now();
        let mut world = self.shared.world();
        let job = world.jobs.get(id, now)?;
        let moment = |moment: &super::timeline::Moment| {
            let base = self.shared.base_url();
            let (status, body) = job.render(&moment.content, moment.at, moment.ending, base, false);
            TrueMoment {
                at: moment.at,
                status,
                body,
                ending: moment.ending,
            }
        };
        Some(Truth {
            id: job.id.clone(),
            user: job.user.clone(),
            scenario: job.scenario,
            created: job.created,
            expected_answers: job.timeline.expected().map(<[String]>::to_vec),
            asks: job.timeline.asks(now),
            finished: job.timeline.finished(now),
            moments: job.timeline.moments().iter().map(moment).collect(),
            counts: job.counts,
        })
    }

    /// The right answers to the challenge of this job that is open or comes next.
    #[must_use]
    pub fn expected_answers(&self, id: &str) -> Option<Vec<String>> {
        let now = self.shared.now();
        let mut world = self.shared.world();
        let job = world.jobs.get(id, now)?;
        job.timeline.expected().map(<[String]>::to_vec)
    }

    /// Answers the open challenge of a job as `POST /jobs/{id}/mfa` does, but leaves no entry in the request log;
    /// says whether the answers were right.
    ///
    /// # Errors
    /// Says why nothing was answered.
    pub fn answer(&self, id: &str, answers: &[String]) -> Result<bool, AnswerError> {
        let now = self.shared.now();
        let mut world = self.shared.world();
        let job = world.jobs.get(id, now).ok_or(AnswerError::NoJob)?;
        job.counts.answers += 1;
        match job.timeline.answer(now, answers) {
            Verdict::Right => Ok(true),
            Verdict::Wrong => Ok(false),
            Verdict::NotAsked => Err(AnswerError::NotAsked),
            Verdict::Count => Err(AnswerError::Count),
        }
    }

    /// Adds a fault and says its number.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn inject(&self, rule: FaultRule) -> Result<u64, FaultError> {
        self.shared.world().faults.add(rule)
    }

    /// The faults that are still to strike, oldest first.
    #[must_use]
    pub fn faults(&self) -> Vec<ActiveFault> {
        self.shared.world().faults.active().to_vec()
    }

    /// Takes one fault away; says whether it was there.
    #[must_use]
    pub fn remove_fault(&self, id: u64) -> bool {
        self.shared.world().faults.remove(id)
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.shared.world().faults.clear();
    }

    /// The remembered requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.requests_after(0, usize::MAX)
    }

    /// At most `limit` of the remembered requests whose number is above `after`, oldest first.
    #[must_use]
    pub fn requests_after(&self, after: u64, limit: usize) -> Vec<LoggedRequest> {
        self.shared.world().log.after(after, limit)
    }

    /// Sums over the simulator's life.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.world().log.totals
    }

    /// From now on every token given out so far answers 403 "Token has expired".
    pub fn expire_tokens(&self) {
        let now = self.shared.now();
        self.shared.world().tokens.expire(now);
    }

    /// From now on every token given out so far is unknown and answers 401.
    pub fn revoke_tokens(&self) {
        self.shared.world().tokens.revoke();
    }
}

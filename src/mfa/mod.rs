//! Answers to MFA challenges: from whoever has them to the API, and nowhere else.
//!
//! They are kept in memory that is overwritten when it is freed, stand in no log, error or table, and are sent
//! once. What libraries copy on the way (a connection's buffers, a parser's) is out of reach; it is short-lived.

mod answers;
mod challenge;

pub use answers::{Answers, InvalidAnswers, LONGEST_ANSWER, MOST_ANSWERS};
pub use challenge::{IMPLAUSIBLE, OpenChallenge};

use crate::clock::Clock;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::core::user::UserId;
use crate::store::{Store, StoreError};
use crate::upstream::{NotRelayed, Relayed, Upstream};

/// What reading and answering challenges needs.
#[derive(Debug, Clone, Copy)]
pub struct Challenges<'a> {
    /// Where the challenge is recorded.
    pub store: &'a Store,
    /// Where the answers go.
    pub upstream: &'a Upstream,
    /// The time of day.
    pub clock: &'a Clock,
    /// Whether answers are sent though the challenge has expired by our reckoning.
    pub late: bool,
}

/// Why answers were not sent, or not answered. No answer is ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such job.
    #[error("there is no job {0}; list those there are with: jobtrackd list")]
    UnknownJob(JobId),
    /// The job is over.
    #[error("job {0} has ended; see how with: jobtrackd show {0}")]
    Ended(JobId),
    /// No step of the last snapshot waits for an answer.
    #[error(
        "job {0} has no open challenge, as it was last polled; see its steps with: jobtrackd show {0}"
    )]
    NoChallenge(JobId),
    /// The time to answer is over.
    #[error(
        "the challenge of job {id} expired at {at}{}; wait for the next one, or send the answers all the same: \
         jobtrackd mfa --late {id}, or ?late=true", if *.implausible { " (by an expiryMs so short that the API may mean seconds)" } else { "" }
    )]
    Expired {
        /// The job.
        id: JobId,
        /// When.
        at: UnixMillis,
        /// Whether the API gave less than [`IMPLAUSIBLE`].
        implausible: bool,
    },
    /// Not one answer per input.
    #[error("the challenge of job {id} takes {}, not {answers}; it asks for: {}", answers::count(wanted.len()), wanted.join(", "))]
    Count {
        /// The job.
        id: JobId,
        /// The inputs, in order, as JSON.
        wanted: Vec<String>,
        /// How many answers there were.
        answers: usize,
    },
    /// The challenge does not say where to answer.
    #[error(
        "the challenge of job {0} has no links.response, so there is no address to send the answers to; see it with: \
         jobtrackd show {0}"
    )]
    NoAddress(JobId),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The API has not answered.
    #[error(transparent)]
    NotRelayed(#[from] NotRelayed),
}

impl Challenges<'_> {
    /// The challenge that a job's user may answer now: the first one, in the order of the steps.
    ///
    /// # Errors
    /// [`Refused`] says why there is none.
    pub async fn open(&self, id: &JobId) -> Result<OpenChallenge, Refused> {
        self.read(id).await.map(|(open, _)| open)
    }

    /// Sends `answers` to the challenge of a job with the token of its user, where the user is known, and asks for a poll
    /// whatever came of it. Nothing is sent unless the challenge is open, in time and wants so many.
    ///
    /// # Errors
    /// [`Refused`] when nothing was sent or the API has not answered. A refusal of the API's own is an answer.
    pub async fn relay(&self, id: &JobId, answers: &Answers) -> Result<Relayed, Refused> {
        let (open, user) = self.read(id).await?;
        open.check_count(id, answers.len())?;
        let link = open.challenge.response.as_deref();
        let link = link.ok_or_else(|| Refused::NoAddress(id.clone()))?;
        let relaying = self
            .upstream
            .relay(id, link, user.as_ref(), || answers.body());
        let relayed = relaying.await;
        let status = relayed.as_ref().ok().map(|relayed| relayed.status);
        if sent(&relayed) {
            tracing::info!(job_id = %id, status, "answers to a challenge were relayed");
            // Without it the job is polled at its own time; what the API said matters more.
            if let Err(error) = self.store.request_poll(id).await {
                tracing::warn!(job_id = %id, %error, "the job cannot be polled at once");
            }
        }
        Ok(relayed?)
    }

    /// The open challenge, and the job's user.
    async fn read(&self, id: &JobId) -> Result<(OpenChallenge, Option<UserId>), Refused> {
        let asking = self.store.challenge(id).await?;
        let asking = asking.ok_or_else(|| Refused::UnknownJob(id.clone()))?;
        if asking.state.is_final() {
            return Err(Refused::Ended(id.clone()));
        }
        let open = OpenChallenge::of(&asking).ok_or_else(|| Refused::NoChallenge(id.clone()))?;
        match open.expires_at {
            Some(at) if !self.late && at <= self.clock.now() => Err(Refused::Expired {
                id: id.clone(),
                at,
                implausible: open.is_implausible(),
            }),
            _ => Ok((open, asking.user)),
        }
    }
}

/// Whether the API may have the answers.
fn sent(relayed: &Result<Relayed, NotRelayed>) -> bool {
    matches!(relayed, Ok(_) | Err(NotRelayed::Trouble(_)))
}

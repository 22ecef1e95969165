//! Answers to MFA challenges: to the API, and nowhere else.
//!
//! They are held in memory that is overwritten when it is freed, are in no log, error or table, and are sent once. What
//! libraries copy (the buffers of a connection or a parser) cannot be overwritten, but is short-lived.

mod answers;
mod challenge;

pub use answers::{Answers, InvalidAnswers, LONGEST_ANSWER, MOST_ANSWERS};
pub(crate) use challenge::mark;
pub use challenge::{IMPLAUSIBLE, OpenChallenge};

use crate::clock::Clock;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::core::user::UserId;
use crate::store::{Jobs as _, Store, StoreError};
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
    /// Whether answers are sent even if the challenge has expired by our clock.
    pub late: bool,
    /// The [mark](OpenChallenge::mark) of the challenge that the user has seen; `None` for whichever is open.
    pub shown: Option<&'a str>,
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
    /// No step of the last snapshot waits for answers.
    #[error(
        "job {0} had no open challenge when it was last polled; see its steps with: jobtrackd show {0}"
    )]
    NoChallenge(JobId),
    /// The user has answered another challenge.
    #[error("job {0} asks for something else by now; look at it again, and answer that")]
    Another(JobId),
    /// The time to answer is over.
    #[error(
        "the challenge of job {id} expired at {at}{}; wait for the next one, or send the answers anyway: \
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

    /// Sends `answers` to the challenge of a job with the token of its user, where the user is known, and requests a poll
    /// whether that succeeded or not. Nothing is sent unless the challenge is open and not expired and the number fits.
    ///
    /// # Errors
    /// [`Refused`] when nothing was sent or the API has not answered. If the API refuses them, that is an answer.
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
        let recorded = self.store.challenge(id).await?;
        let recorded = recorded.ok_or_else(|| Refused::UnknownJob(id.clone()))?;
        if recorded.state.is_final() {
            return Err(Refused::Ended(id.clone()));
        }
        let open = OpenChallenge::of(&recorded).ok_or_else(|| Refused::NoChallenge(id.clone()))?;
        if self.shown.is_some_and(|shown| shown != open.mark) {
            return Err(Refused::Another(id.clone()));
        }
        match open.expires_at {
            Some(at) if !self.late && at <= self.clock.now() => Err(Refused::Expired {
                id: id.clone(),
                at,
                implausible: open.is_implausible(),
            }),
            _ => Ok((open, recorded.user)),
        }
    }
}

/// Whether the API may have the answers.
fn sent(relayed: &Result<Relayed, NotRelayed>) -> bool {
    matches!(relayed, Ok(_) | Err(NotRelayed::Trouble(_)))
}

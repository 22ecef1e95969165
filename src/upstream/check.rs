//! The upstream's part of the `check` command.

use super::client::Upstream;
use super::grant::TokenTrouble;
use super::poll::PollRequest;
use super::refused::RefusedUrl;
use super::token::TokenError;
use crate::core::job::JobId;
use crate::core::poll::{PollOutcome, TroubleClass};
use crate::core::snapshot::Snapshot;

/// The id of the job that is polled. No job has it, so the expected answer is a 400, 404 or 410 in the API's own words.
const PROBE_ID: &str = "jobtrackd-check";

/// The upstream answers and accepts our credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What was found, in one line for people.
    pub summary: String,
}

/// Why the upstream cannot be polled. No secret is ever part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No token is available.
    #[error("no token for the upstream: {0}")]
    Token(TokenError),
    /// No URL of a job can be made from `base_url`.
    #[error("upstream.base_url gives no URL of a job: {0}")]
    Target(#[from] RefusedUrl),
    /// The API refuses the credentials for the job.
    #[error("the upstream refuses our credentials: {0}")]
    Refused(String),
    /// The credentials are accepted, but may not read jobs: a wrong scope.
    #[error("our credentials may not read jobs (is upstream.scope right?): {0}")]
    Forbidden(String),
    /// The upstream answers, but throttles us.
    #[error("the upstream throttles us with HTTP {0}; try again later")]
    Throttled(u16),
    /// There is no connection: the address, the port, or TLS.
    #[error("there is no connection to the upstream: {0}")]
    NoConnection(String),
    /// Something other than the API answers, or the API at a path where no jobs are.
    #[error(
        "the answer does not come from the API, or this is not the path of its jobs ({0}); is the path of \
         upstream.base_url right, does a proxy or a login page answer?"
    )]
    NotTheApi(String),
    /// Something other than a token endpoint answers at `token_url`.
    #[error(
        "what answers is not a token endpoint ({0}); is upstream.token_url right, does a proxy or a login page answer?"
    )]
    NotATokenEndpoint(String),
    /// No usable answer.
    #[error("the upstream gives no usable answer: {0}")]
    NoAnswer(String),
    /// The requested job does not exist.
    #[error("the API has no such job (HTTP {0})")]
    NoSuchJob(u16),
    /// The API rejects this job id.
    #[error("the API does not take this job id: {0}")]
    Rejected(String),
    /// The dialect cannot read the answer as the job.
    #[error("{0}")]
    Unreadable(String),
}

impl Upstream {
    /// Gets a token and polls a job that does not exist. It counts as a poll for the gate.
    ///
    /// # Errors
    /// [`CheckError`] says which of the two failed, and how.
    pub async fn check(&self) -> Result<Checked, CheckError> {
        let token = self.0.tokens.get(None, &self.0.http).await;
        let elsewhere = self.0.tokens.are_from_elsewhere();
        let token = token.map_err(|error| without_token(error, elsewhere))?;
        let id = JobId::parse(PROBE_ID).map_err(|_| RefusedUrl::OutsideBase)?;
        let is_generic = self.0.http.dialect.is_generic();
        let answer = match self.ask(&id, None).await? {
            PollOutcome::Gone { status } => format!("HTTP {status}, as expected"),
            PollOutcome::Rejected { detail } => format!("{detail}, as expected"),
            PollOutcome::Unchanged | PollOutcome::NotModified | PollOutcome::Snapshot { .. } => {
                let found = "a job that does not exist is answered with success".to_owned();
                return Err(CheckError::NotTheApi(found));
            }
            PollOutcome::Trouble(trouble)
                if trouble.class == TroubleClass::Foreign && is_generic =>
            {
                format!(
                    "{}; try one that is there: jobtrackd check --job ID",
                    trouble.detail
                )
            }
            other => return Err(failed(other)),
        };
        let credentials = match (token.header, token.generation) {
            (None, _) => "no credentials are sent",
            (Some(_), 0) => "the credentials are accepted",
            (Some(_), _) => "a token was granted and is accepted",
        };
        Ok(Checked {
            summary: format!("{credentials}; a job that does not exist is answered {answer}"),
        })
    }

    /// Polls an existing job, and returns what the dialect reads. It counts as a poll for the gate.
    ///
    /// # Errors
    /// [`CheckError`] says why the job was not read.
    pub async fn read_job(
        &self,
        id: &JobId,
        url: Option<&str>,
    ) -> Result<Box<Snapshot>, CheckError> {
        match self.ask(id, url).await? {
            PollOutcome::Snapshot { snapshot, .. } => Ok(snapshot),
            PollOutcome::Gone { status } => Err(CheckError::NoSuchJob(status)),
            PollOutcome::Rejected { detail } => Err(CheckError::Rejected(detail)),
            PollOutcome::Trouble(trouble) if is_of_another(trouble.class) => {
                Err(CheckError::Unreadable(trouble.detail))
            }
            other => Err(failed(other)),
        }
    }

    async fn ask(&self, id: &JobId, url: Option<&str>) -> Result<PollOutcome, CheckError> {
        let target = self.target(id, url)?;
        let request = PollRequest {
            url: &target,
            job: id,
            expected: url.is_none().then_some(id),
            known: None,
            if_none_match: None,
        };
        Ok(self.poll(&request).await.outcome)
    }

    /// By how many milliseconds our clock is ahead of the upstream's (negative: behind), by the `Date` of the first
    /// answer that had one. Good to about a second.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        self.0.http.clock_ahead()
    }
}

/// The error for an outcome that shows no job.
fn failed(outcome: PollOutcome) -> CheckError {
    match outcome {
        PollOutcome::CredentialsRefused { detail } => CheckError::Refused(detail),
        PollOutcome::Forbidden { detail, .. } => CheckError::Forbidden(detail),
        PollOutcome::Throttled { status } => CheckError::Throttled(status),
        PollOutcome::Trouble(trouble) => match trouble.class {
            TroubleClass::Connect => CheckError::NoConnection(trouble.detail),
            class if is_of_another(class) => CheckError::NotTheApi(trouble.detail),
            _ => CheckError::NoAnswer(trouble.detail),
        },
        PollOutcome::NotSent { detail } | PollOutcome::Rejected { detail } => {
            CheckError::NoAnswer(detail)
        }
        PollOutcome::Gone { status } => CheckError::NoSuchJob(status),
        PollOutcome::Unchanged | PollOutcome::NotModified | PollOutcome::Snapshot { .. } => {
            CheckError::NoAnswer("the answer says nothing new".to_owned())
        }
    }
}

/// Whether an answer of this class comes from something other than the API, or from another path of it.
fn is_of_another(class: TroubleClass) -> bool {
    matches!(
        class,
        TroubleClass::Foreign | TroubleClass::Redirect | TroubleClass::Unusable
    )
}

fn without_token(error: TokenError, elsewhere: bool) -> CheckError {
    match error.trouble {
        TokenTrouble::Unavailable(trouble) if is_of_another(trouble.class) && elsewhere => {
            CheckError::NotATokenEndpoint(trouble.detail)
        }
        TokenTrouble::Unavailable(trouble) if is_of_another(trouble.class) => {
            CheckError::NotTheApi(format!("to the request for a token: {}", trouble.detail))
        }
        _ => CheckError::Token(error),
    }
}

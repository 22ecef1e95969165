//! The upstream's part of the `check` command.

use super::client::Upstream;
use super::grant::TokenTrouble;
use super::poll::PollRequest;
use super::target::RefusedUrl;
use super::token::TokenError;
use crate::core::job::JobId;
use crate::core::poll::{PollOutcome, TroubleClass};

/// The job that is polled: none has this id, so 400, 404 and 410 in the API's own words show that all is well.
const PROBE_ID: &str = "jobtrackd-check";

/// The upstream answers and takes our credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What was found, in a line for people.
    pub summary: String,
}

/// Why the upstream cannot be polled. No secret is ever part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// There is no token.
    #[error("no token for the upstream: {0}")]
    Token(TokenError),
    /// No URL for the probe could be made of `base_url`.
    #[error("no URL can be made of upstream.base_url: {0}")]
    Target(#[from] RefusedUrl),
    /// The credentials are refused by the job URL itself.
    #[error("the upstream refuses our credentials: {0}")]
    Refused(String),
    /// The credentials are good, but may not read jobs: a wrong scope.
    #[error("our credentials may not read jobs (is upstream.scope right?): {0}")]
    Forbidden(String),
    /// The upstream answers, but wants to be left alone.
    #[error("the upstream answers HTTP {0}: it wants to be left alone for a while")]
    Throttled(u16),
    /// There is no connection: the address, the port, or TLS.
    #[error("there is no connection to the upstream: {0}")]
    NoConnection(String),
    /// It is somebody else who answers, or the API at another path than that of jobs.
    #[error(
        "what answers is not the API, or knows no jobs at this path ({0}); is the path of upstream.base_url right, does a \
         proxy or a login page answer?"
    )]
    NotTheApi(String),
    /// The same of the token endpoint.
    #[error(
        "what answers is not a token endpoint ({0}); is upstream.token_url right, does a proxy or a login page answer?"
    )]
    NotATokenEndpoint(String),
    /// No usable answer.
    #[error("the upstream gives no usable answer: {0}")]
    NoAnswer(String),
}

impl Upstream {
    /// Gets a token and polls a job that is not there. It counts as a poll for the gate.
    ///
    /// # Errors
    /// [`CheckError`] says which of the two failed, and how.
    pub async fn check(&self) -> Result<Checked, CheckError> {
        let token = self.0.tokens.get(None, &self.0.http).await;
        let elsewhere = self.0.tokens.are_from_elsewhere();
        let token = token.map_err(|error| without_token(error, elsewhere))?;
        let id = JobId::parse(PROBE_ID).map_err(|_| RefusedUrl::OutsideBase)?;
        let url = self.target(&id, None)?;
        let request = PollRequest {
            url: &url,
            job: &id,
            expected: Some(&id),
            known: None,
        };
        let answer = match self.poll(&request).await.outcome {
            PollOutcome::Gone { status } => format!("HTTP {status}, as it should"),
            PollOutcome::Rejected { detail } => format!("{detail}, as it may"),
            PollOutcome::Unchanged | PollOutcome::Snapshot { .. } => {
                let found = "a job that is not there is answered with success".to_owned();
                return Err(CheckError::NotTheApi(found));
            }
            PollOutcome::CredentialsRefused { detail } => return Err(CheckError::Refused(detail)),
            PollOutcome::Forbidden { detail, .. } => return Err(CheckError::Forbidden(detail)),
            PollOutcome::Throttled { status } => return Err(CheckError::Throttled(status)),
            PollOutcome::Trouble(trouble) => {
                return Err(match trouble.class {
                    TroubleClass::Connect => CheckError::NoConnection(trouble.detail),
                    class if is_of_another(class) => CheckError::NotTheApi(trouble.detail),
                    _ => CheckError::NoAnswer(trouble.detail),
                });
            }
            PollOutcome::NotSent { detail } => return Err(CheckError::NoAnswer(detail)),
        };
        let credentials = match (token.header, token.generation) {
            (None, _) => "no credentials are sent",
            (Some(_), 0) => "the credentials are taken",
            (Some(_), _) => "a token was granted and is taken",
        };
        Ok(Checked {
            summary: format!("{credentials}; a job that is not there is answered {answer}"),
        })
    }

    /// By how many milliseconds our clock is ahead of the upstream's (negative: behind), by the `Date` of the first
    /// answer that had one. Good to about a second.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        self.0.http.clock_ahead()
    }
}

/// Whether such an answer comes from somebody else, or from another path of the API.
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

//! One poll: its requests are sent, memory is reserved for the answer, and what it means is reported to the gate.

use std::sync::atomic::{AtomicU32, Ordering};

use http::header::{HeaderValue, IF_NONE_MATCH};
use url::Url;

use super::api_error::MAX_ERROR_BODY;
use super::client::{Answered, Inner, Upstream};
use super::grant::TokenTrouble;
use super::http::{Answer, Limits, NoAnswer};
use super::refused::RefusedUrl;
use super::request::Request;
use super::token::{Token, TokenError};
use crate::core::etag::Etag;
use crate::core::job::JobId;
use crate::core::machines::gate::PollEnd;
use crate::core::machines::reading::{Meaning, Polled, hash_of};
use crate::core::poll::{MAX_BODY, Poll};
use crate::core::text::text_of;
use crate::memory::Reservation;

/// What is polled.
#[derive(Debug, Clone, Copy)]
pub struct PollRequest<'a> {
    /// Where: a URL of [`Upstream::target`].
    pub url: &'a Url,
    /// The job that is followed there: an answer to this one alone says nothing of the others.
    pub job: &'a JobId,
    /// The id that the answer must have; `None` for a job with its own `url` (docs/jobs.md, "What is recorded").
    pub expected: Option<&'a JobId>,
    /// The hash of the body that was recorded last.
    pub known: Option<u64>,
    /// Its entity tag, if a 304 will do for an answer; without the hash none is sent.
    pub if_none_match: Option<&'a Etag>,
}

impl PollRequest<'_> {
    fn etag(&self) -> Option<&Etag> {
        self.known.and(self.if_none_match)
    }
}

/// A poll that is over, and the memory for what follows from a job that was read.
type Finished = (Meaning, Option<Reservation>);

/// Why a poll ended without an answer.
enum NotAnswered {
    NoToken(TokenError),
    Over(Meaning),
}

impl From<TokenError> for NotAnswered {
    fn from(error: TokenError) -> Self {
        Self::NoToken(error)
    }
}

impl Upstream {
    /// Polls a job once. A second request is sent only after a refused token, or when the API says by HTTP/2 that it has not
    /// read the first.
    ///
    /// It does not check the gate, nor the budget for the first request: the caller checks both before it chooses a job.
    /// A URL of another origin is `Rejected` without a request. The outcome is reported to the gate. Dropping the future
    /// cancels the poll and reports nothing.
    pub async fn poll(&self, request: &PollRequest<'_>) -> Poll {
        self.poll_counted(request, &AtomicU32::new(0)).await.0
    }

    /// The same, and counts each request when it is sent, so that those of a poll that is dropped count too. A job that
    /// was read comes with the memory for all that follows from it, to be kept until it is recorded.
    pub async fn poll_counted(
        &self,
        request: &PollRequest<'_>,
        requests: &AtomicU32,
    ) -> (Poll, Option<Reservation>) {
        let inner = &self.0;
        let ticket = inner.gate.begin();
        let finished = inner.poll(request, requests).await;
        let (meaning, memory) = finished.unwrap_or_else(|error| (inner.unanswered(error), None));
        meaning.note(request.job, &mut inner.tokens.reads());
        inner.unmatched.note(&meaning);
        inner.gate.note(&PollEnd {
            ticket,
            job: request.job,
            signal: meaning.signal,
            detail: &meaning.detail,
        });
        let poll = Poll {
            outcome: meaning.outcome,
            retry_after: meaning.retry_after,
            requests: requests.load(Ordering::Relaxed),
            etag: meaning.etag,
        };
        (poll, memory)
    }
}

impl Inner {
    async fn poll(
        &self,
        request: &PollRequest<'_>,
        requests: &AtomicU32,
    ) -> Result<Finished, NotAnswered> {
        if !self.http.base.owns(request.url) {
            let refused = Meaning::no_target(RefusedUrl::OtherOrigin.to_string());
            return Err(NotAnswered::Over(refused));
        }
        let answered = self.send_with_token(
            None,
            |token| self.get(request, token, requests),
            |token| self.tokens.refused(token, request.job),
        );
        Ok(self.read(request, answered.await?).await)
    }

    async fn get(
        &self,
        request: &PollRequest<'_>,
        token: Token,
        requests: &AtomicU32,
    ) -> Result<Answer, NotAnswered> {
        let mut sent = self.get_once(request, &token, requests).await;
        if let Err(NoAnswer::Unread(_)) = sent {
            // Servers close connections of HTTP/2 all the time, and so refuse the latest requests on it; were these errors, a
            // few in a row would be taken for an outage.
            sent = self.get_once(request, &token, requests).await;
        }
        match sent {
            Ok(answer) => Ok(answer),
            Err(NoAnswer::Unread(trouble) | NoAnswer::Trouble(trouble)) => {
                Err(NotAnswered::Over(Meaning::trouble(trouble)))
            }
            Err(NoAnswer::Short(shortage)) => {
                requests.fetch_sub(1, Ordering::Relaxed);
                // The caller may poll again at once.
                self.http.sockets.wait(shortage).await;
                let not_sent = Meaning::not_sent(shortage.to_string());
                Err(NotAnswered::Over(not_sent))
            }
        }
    }

    async fn get_once(
        &self,
        request: &PollRequest<'_>,
        token: &Token,
        requests: &AtomicU32,
    ) -> Result<Answer, NoAnswer> {
        // The caller has taken the first one from the budget.
        if requests.load(Ordering::Relaxed) > 0 {
            self.budget.take().await;
        }
        requests.fetch_add(1, Ordering::Relaxed);
        let mut get = Request::get(request.url.clone());
        let etag = request.etag().map(Etag::as_str);
        // It came in a header, so that it can be sent in one.
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            get.headers.insert(IF_NONE_MATCH, etag);
        }
        let (authorization, memory) = (token.header.as_ref(), Some(&self.memory.reading));
        let limits = Limits {
            success: MAX_BODY,
            // The error of a job that failed may be its whole answer.
            other: match self.http.dialect.is_generic() {
                true => MAX_BODY,
                false => MAX_ERROR_BODY,
            },
        };
        self.http.send(get, authorization, limits, memory).await
    }

    /// Reads an answer; a success that is not known yet once there is memory for all that follows from it.
    async fn read(&self, request: &PollRequest<'_>, answered: Answered) -> Finished {
        let Answered {
            mut answer,
            token,
            tries,
        } = answered;
        let polled = Polled {
            dialect: &*self.http.dialect,
            job: request.job,
            expected: request.expected,
            known: request.known,
            is_conditional: request.etag().is_some(),
            generation: token.generation,
            tries,
        };
        let (status, retry_after) = (answer.status, answer.retry_after);
        if polled.is_not_modified(status) {
            return (polled.not_modified(retry_after), None);
        }
        let hash = hash_of(status, &answer.headers, &answer.body);
        if let Some(refusal) = answer.refusal.take() {
            let reads = &mut self.tokens.reads();
            let meaning = polled.refusal(refusal, status, retry_after, hash, reads);
            return (meaning, None);
        }
        if let Some(unchanged) = polled.unchanged(status, &answer.headers, hash, retry_after) {
            return (unchanged, None);
        }
        let memory = self.memory.for_what_follows(&answer.body).await;
        drop(answer.memory.take());
        let text = text_of(&answer.body);
        let meaning = polled.success(&answer.as_read(&text), hash);
        let memory = meaning.is_good().then_some(memory);
        (meaning, memory)
    }

    fn unanswered(&self, error: NotAnswered) -> Meaning {
        match error {
            NotAnswered::Over(meaning) => meaning,
            NotAnswered::NoToken(error) => {
                let retry_at = self.http.clock.moment(error.retry_at);
                let refused = matches!(error.trouble, TokenTrouble::Refused { .. });
                Meaning::no_token(&error.to_string(), retry_at, refused)
            }
        }
    }
}

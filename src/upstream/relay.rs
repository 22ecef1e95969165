//! Sends a user's answers to a challenge to the API: once, and without keeping them; the API's reply is returned unchanged.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use zeroize::Zeroizing;

use super::client::Upstream;
use super::http::{Limits, NoAnswer};
use super::refused::RefusedUrl;
use super::request::Request;
use super::token::{Token, TokenError};
use crate::core::job::JobId;
use crate::core::poll::{MAX_BODY, Trouble};
use crate::core::user::UserId;
use crate::sockets::Shortage;

/// How much of a reply is returned, whatever its status: 1 MiB.
const WHOLE: Limits = Limits {
    success: MAX_BODY,
    other: MAX_BODY,
};

/// What the API answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Relayed {
    /// The HTTP status.
    pub status: u16,
    /// The body, decompressed if it was compressed, at most 1 MiB; empty when that of a refusal could not be read.
    pub body: Vec<u8>,
}

/// Why the API has not answered. No secret and no answer of a user is ever part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRelayed {
    /// The address may not be requested; nothing was sent.
    #[error("the challenge's links.response is not requested, so nothing was sent: {0}")]
    Target(#[from] RefusedUrl),
    /// There is no token; nothing was sent.
    #[error("there is no token to send the answers with, so nothing was sent: {0}")]
    Token(#[from] TokenError),
    /// We lack what a connection needs; nothing was sent.
    #[error("no connection can be opened ({0}), so nothing was sent")]
    Short(Shortage),
    /// The network or the time. The API may have the answers nevertheless.
    #[error("the API has not answered, but may have received the answers: {}", .0.detail)]
    Trouble(Trouble),
}

impl From<NoAnswer> for NotRelayed {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Short(shortage) => Self::Short(shortage),
            NoAnswer::Unread(trouble) | NoAnswer::Trouble(trouble) => Self::Trouble(trouble),
        }
    }
}

impl fmt::Debug for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An API that repeats what it was sent would put it here.
        f.debug_struct("Relayed")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Relayed {
    /// Whether the API accepted the answers: 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Upstream {
    /// Posts a JSON body to `link`, a link of the API in a challenge of `job`, with the token of `user`, or the server's
    /// own. It is sent a second time only after a refused token, when the API has not read it; `body` is called for each
    /// request, and what it returned is overwritten in memory once it is sent.
    ///
    /// It does not check the gate, because a user is waiting, and goes ahead of all polls in the budget.
    ///
    /// # Errors
    /// [`NotRelayed`] when the API has not answered.
    pub async fn relay(
        &self,
        job: &JobId,
        link: &str,
        user: Option<&UserId>,
        body: impl Fn() -> Zeroizing<Vec<u8>>,
    ) -> Result<Relayed, NotRelayed> {
        let inner = &self.0;
        let url = inner.http.base.link_url(link)?;
        let request = &|| {
            let mut request = Request::post(url.clone(), Bytes::from_owner(body()));
            let json = HeaderValue::from_static("application/json");
            request.headers.insert(CONTENT_TYPE, json);
            request
        };
        // A user waits, but not for ever.
        let patience = Some(inner.http.timeout);
        let answered = inner.send_with_token(
            user,
            |token: Token| async move {
                inner.budget.take_urgently().await;
                let authorization = token.header.as_ref();
                let sent = inner
                    .http
                    .send_when_possible(request, authorization, WHOLE, patience);
                Ok::<_, NotRelayed>(sent.await?)
            },
            |token| inner.tokens.refused_for_user(user, token, job),
        );
        let answer = answered.await?.answer;
        Ok(Relayed {
            status: answer.status,
            body: answer.body,
        })
    }
}

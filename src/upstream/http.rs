//! One request to the upstream: the origin checked, time and size limited, a failure explained in one line.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Response;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, DATE, HeaderMap, HeaderValue, IF_NONE_MATCH, USER_AGENT,
};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error;
use tokio::time::{Instant, timeout_at};

use super::answers::SMALL;
use super::api_error::presentable;
use super::authorization::Authorization;
use super::connections::{Client, Connections, Kind};
use super::reading::{Reading, trouble_of};
use super::refused::RefusedUrl;
use super::request::Request;
use super::settings::{UpstreamError, UpstreamSettings};
use super::target::Base;
use crate::clock::{Clock, Renewed};
use crate::core::dialect::{self, Dialect};
use crate::core::machines::reading::{Refusal, retry_after};
use crate::core::poll::{Trouble, TroubleClass};
use crate::core::text::text_of;
use crate::core::time::UnixMillis;
use crate::memory::{Memory, Reservation};
use crate::sockets::{self, LONGEST_LIFE, Shortage, Sockets, is_unread, shortage_of};

/// The HTTP client of the upstream.
pub(super) struct Http {
    connections: Renewed<Connections>,
    pub(super) base: Base,
    pub(super) dialect: Arc<dyn Dialect>,
    pub(super) timeout: Duration,
    pub(super) max_retry_after: Duration,
    pub(super) clock: Clock,
    clock_ahead: OnceLock<i64>,
    pub(super) sockets: Sockets,
}

/// An answer, read within its limits.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The body, decompressed if it was compressed. That of another status than 2xx is empty when it could not be read or
    /// is above the limit.
    pub(super) body: Vec<u8>,
    /// The memory of the body, unless it is small.
    pub(super) memory: Option<Reservation>,
    /// What it means, unless it is a 2xx, or a 304 that was asked for; with a detail that is fit for people.
    pub(super) refusal: Option<Refusal>,
    /// What the `Retry-After` of a 4xx or 5xx, and of a 2xx where the dialect heeds it, asked for, when it can be read;
    /// within `upstream.max_retry_after`.
    pub(super) retry_after: Option<Duration>,
}

/// How much of a body is read, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of a 2xx; a larger one is trouble.
    pub(super) success: usize,
    /// Of any other status; a larger one counts as empty.
    pub(super) other: usize,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// We lack what a connection needs, so nothing was sent.
    Short(Shortage),
    /// The API says that it has not read the request.
    Unread(Trouble),
    /// The network, a limit, or the time.
    Trouble(Trouble),
}

impl From<Trouble> for NoAnswer {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Http {
    pub(super) fn new(
        settings: &UpstreamSettings,
        clock: Clock,
        sockets: Sockets,
    ) -> Result<Self, UpstreamError> {
        let base = Base::new(&settings.base_url, &settings.job_path)?;
        let kind = kind_of(settings);
        let first = Connections::new(kind);
        let first = first.map_err(|error| UpstreamError::Client(error.to_string()))?;
        Ok(Self {
            connections: Renewed::new(LONGEST_LIFE, first, move || Connections::new(kind).ok()),
            base,
            dialect: Arc::clone(&settings.dialect),
            timeout: settings.timeout,
            max_retry_after: settings.max_retry_after,
            clock,
            clock_ahead: OnceLock::new(),
            sockets,
        })
    }

    /// By how many milliseconds our clock is ahead of the upstream's, if it sent the time yet.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        self.clock_ahead.get().copied()
    }

    /// Sends what `request` returns as soon as a connection can be opened; waits for at most `patience`.
    pub(super) async fn send_when_possible(
        &self,
        request: impl Fn() -> Request,
        authorization: Option<&Authorization>,
        limits: Limits,
        patience: Option<Duration>,
    ) -> Result<Answer, NoAnswer> {
        let started = Instant::now();
        let waits = || patience.is_none_or(|patience| started.elapsed() < patience);
        loop {
            match self.send(request(), authorization, limits, None).await {
                Err(NoAnswer::Short(shortage)) if waits() => self.sockets.wait(shortage).await,
                sent => return sent,
            }
        }
    }

    /// Sends `request` with `authorization` and reads the answer within `limits`, all within `upstream.timeout`. Only the
    /// beginning of a large answer is read before a part of `memory` is reserved for it; waiting for that does not count.
    /// Every request to the upstream, and every secret in one, goes through here: to the origin that the secret is for, and
    /// without one to that of `base_url`.
    pub(super) async fn send(
        &self,
        mut request: Request,
        authorization: Option<&Authorization>,
        limits: Limits,
        memory: Option<&Memory>,
    ) -> Result<Answer, NoAnswer> {
        let permitted = match authorization {
            Some(authorization) => authorization.is_for(request.url()),
            None => self.base.owns(request.url()),
        };
        if !permitted {
            return Err(refused(RefusedUrl::OtherOrigin));
        }
        let headers = &mut request.headers;
        headers.insert(USER_AGENT, HeaderValue::from_static(sockets::USER_AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(self.dialect.accept()));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = authorization {
            authorization.add_to(headers);
        }
        if self.sockets.shortage().is_some() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut sent = self.exchange(request, limits, memory).await;
        match &mut sent {
            Ok(answer) => {
                if let Some(refusal) = &mut answer.refusal {
                    refusal.detail = presentable(&refusal.detail, authorization);
                }
            }
            Err(NoAnswer::Unread(trouble) | NoAnswer::Trouble(trouble)) => {
                trouble.detail = presentable(&trouble.detail, authorization);
            }
            Err(NoAnswer::Short(_)) => {}
        }
        sent
    }

    async fn exchange(
        &self,
        request: Request,
        limits: Limits,
        memory: Option<&Memory>,
    ) -> Result<Answer, NoAnswer> {
        let deadline = Instant::now() + self.timeout;
        let enough = memory.map_or(usize::MAX, |_| SMALL);
        let is_conditional = request.headers.contains_key(IF_NONE_MATCH);
        let connections = self.connections.get().take();
        // Futures are handed on by reference: each is some kilobytes, which every poll would copy.
        let beginning = pin!(self.begin(connections.client(), request, deadline, limits, enough));
        let (mut answer, begun) = self.clock.held(beginning).await?;
        let read = match begun {
            Ok(begun) => self.read_on(begun, deadline, memory).await,
            Err(trouble) => Err(trouble),
        };
        match read {
            Ok((body, memory)) => (answer.body, answer.memory) = (body, memory),
            Err(trouble) if answer.is_success() && self.dialect.needs_body() => {
                return Err(trouble.into());
            }
            // The status alone decides; without the body only its text is missing.
            Err(_) => {}
        }
        let is_read = answer.is_success() || (is_conditional && answer.status == 304);
        if !is_read {
            let text = text_of(&answer.body);
            let refusal = Refusal::of(&*self.dialect, &answer.as_read(&text));
            answer.refusal = Some(refusal);
        }
        Ok(answer)
    }

    /// Sends the request and reads the head and `enough` of the body.
    async fn begin(
        &self,
        client: &Client,
        request: Request,
        deadline: Instant,
        limits: Limits,
        enough: usize,
    ) -> Result<(Answer, Result<Reading, Trouble>), NoAnswer> {
        let request = request
            .into_http()
            .ok_or_else(|| refused(RefusedUrl::Unparsable))?;
        let sent = timeout_at(deadline, pin!(client.request(request))).await;
        let mut response = sent.map_err(|_| self.timed_out())?.map_err(no_answer)?;
        self.note_date(&response);
        let answer = self.head(&mut response);
        let limit = match answer.is_success() {
            true => limits.success,
            false => limits.other,
        };
        let reading = pin!(Reading::begin(response.into_body(), limit, enough));
        let reading = timeout_at(deadline, reading).await;
        Ok((answer, reading.map_err(|_| self.timed_out()).flatten()))
    }

    /// Reads the rest of a body, once there is memory for it, and decompresses it.
    async fn read_on(
        &self,
        mut reading: Reading,
        deadline: Instant,
        memory: Option<&Memory>,
    ) -> Result<(Vec<u8>, Option<Reservation>), Trouble> {
        let waiting = Instant::now();
        let mut taken = match (memory, reading.needs()) {
            (Some(memory), needed @ 1..) => Some(memory.reserve(needed).await),
            _ => None,
        };
        let deadline = deadline + waiting.elapsed();
        if let Some(piece) = reading.piece.take() {
            let rest = timeout_at(deadline, reading.read_rest(piece));
            let rest = self.clock.held(rest).await;
            rest.map_err(|_| self.timed_out())??;
        }
        let body = reading.decompressed()?;
        if let Some(taken) = &mut taken {
            taken.resize(body.len()).await;
        }
        Ok((body, taken))
    }

    /// The `Date` of the first answer that has one.
    fn note_date(&self, response: &Response<Incoming>) {
        if self.clock_ahead.get().is_some() {
            return;
        }
        let date = response.headers().get(DATE);
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        let theirs = date
            .and_then(|date| date.to_str().ok())
            .and_then(|date| parser.parse_timestamp(date).ok());
        if let Some(theirs) = theirs.map(UnixMillis::from) {
            // If another answer was quicker, its date is as good.
            let _ = self
                .clock_ahead
                .set(self.clock.now().0.saturating_sub(theirs.0));
        }
    }

    fn head(&self, response: &mut Response<Incoming>) -> Answer {
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let (dialect, now) = (&*self.dialect, self.clock.now());
        Answer {
            retry_after: retry_after(dialect, status, &headers, now, self.max_retry_after),
            status,
            headers,
            body: Vec::new(),
            memory: None,
            refusal: None,
        }
    }

    fn timed_out(&self) -> Trouble {
        let timeout = humantime::format_duration(self.timeout);
        Trouble {
            class: TroubleClass::Timeout,
            detail: format!("no complete answer within {timeout}"),
        }
    }
}

/// The requests of these settings: those to the API, and those for a token elsewhere.
fn kind_of(settings: &UpstreamSettings) -> Kind {
    let urls = [Some(&settings.base_url), settings.auth.token_url()];
    let any = |https| {
        let mut urls = urls.into_iter().flatten();
        urls.any(|url| (url.scheme() == "https") == https)
    };
    Kind {
        http: any(false),
        https: any(true),
        timeout: settings.timeout,
        at_once: settings.max_in_flight,
    }
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether another token may be accepted.
    pub(super) fn refuses_token(&self) -> bool {
        self.refusal.as_ref().is_some_and(Refusal::refuses_token)
    }

    /// As a dialect reads it, with the text of its body.
    pub(super) fn as_read<'a>(&'a self, body: &'a str) -> dialect::Answer<'a> {
        dialect::Answer {
            status: self.status,
            headers: &self.headers,
            retry_after: self.retry_after,
            body,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_answer(error: Error) -> NoAnswer {
    if let Some(shortage) = shortage_of(&error) {
        return NoAnswer::Short(shortage);
    }
    if error.is_connect() {
        return NoAnswer::Trouble(Trouble {
            class: TroubleClass::Connect,
            detail: sockets::cause(&error),
        });
    }
    match is_unread(&error) {
        true => NoAnswer::Unread(trouble_of(&error)),
        false => NoAnswer::Trouble(trouble_of(&error)),
    }
}

fn refused(url: RefusedUrl) -> NoAnswer {
    NoAnswer::Trouble(Trouble {
        class: TroubleClass::Foreign,
        detail: url.to_string(),
    })
}

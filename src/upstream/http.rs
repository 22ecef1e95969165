//! One request to the upstream: the origin checked, the time and the size limited, the error told in a line.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, DATE, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Request, Response};
use tokio::time::{Instant, timeout_at};

use super::answers::SMALL;
use super::client::UpstreamError;
use super::reading::Reading;
use super::said::{MAX_ERROR_BODY, Said, chain, presentable};
use super::settings::UpstreamSettings;
use super::target::Base;
use crate::clock::{Clock, Renewed};
use crate::core::backoff::parse_retry_after;
use crate::core::poll::{Trouble, TroubleClass};
use crate::core::time::UnixMillis;
use crate::memory::{Memory, Reservation};
use crate::sockets::{Shortage, Sockets, shortage_behind};

/// Longest time for a connection to be there, TLS included; `upstream.timeout` when that is shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the connections of one client are used: a busy one would never learn of another address of its host.
const LONGEST_LIFE: Duration = Duration::from_secs(5 * 60);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Most header lines of an answer.
const MAX_HEADERS: usize = 100;

/// The HTTP client of the upstream. It follows no redirect, sends no referer, uses no proxy and speaks HTTP/1.1.
pub(super) struct Http {
    client: Renewed<Client>,
    pub(super) base: Base,
    pub(super) timeout: Duration,
    pub(super) max_retry_after: Duration,
    clock: Clock,
    date: OnceLock<Dated>,
    pub(super) sockets: Sockets,
}

/// The `Date` of the first answer that had one, and our time when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dated {
    pub(super) theirs: UnixMillis,
    pub(super) ours: UnixMillis,
}

/// An answer, read within its limits.
pub(super) enum Answer {
    /// 2xx.
    Success(Success),
    /// Any other status, with what could be read of it.
    Other(Refusal),
}

/// A 2xx.
pub(super) struct Success {
    pub(super) status: u16,
    /// The whole body, decompressed if it was compressed.
    pub(super) body: Vec<u8>,
    /// Its memory, unless it is small.
    pub(super) memory: Option<Reservation>,
}

/// The head of an answer.
enum Head {
    Success { status: u16 },
    Other(Box<Refusal>),
}

/// An answer that is no success.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) said: Said,
    /// What the `Retry-After` of a 4xx or 5xx asked for, when it can be read; within `upstream.max_retry_after`.
    pub(super) retry_after: Option<Duration>,
    /// Where a redirect leads, without its query.
    location: Option<String>,
    /// The body as it came; empty when it could not be read or is above the limit.
    pub(super) body: Vec<u8>,
}

/// How much of a body is read, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of a 2xx; a larger one is trouble.
    pub(super) success: usize,
    /// Of any other status; a larger one says nothing.
    pub(super) other: usize,
}

impl Limits {
    /// So much of a success, and of any other answer enough for its words.
    pub(super) const fn of_success(success: usize) -> Self {
        Self {
            success,
            other: MAX_ERROR_BODY,
        }
    }
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The URL is not the upstream's, so nothing was sent.
    ForeignOrigin,
    /// There was no connection for want of something of our own, so nothing was sent.
    Short(Shortage),
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
        crate::tls::install_provider();
        let base = Base::new(&settings.base_url)?;
        let https = settings.base_url.scheme() == "https";
        let (timeout, at_once) = (settings.timeout, settings.max_in_flight);
        let client = move || client(https, timeout, at_once);
        let first = client().map_err(|error| UpstreamError::Client(chain(&error.without_url())))?;
        Ok(Self {
            client: Renewed::new(LONGEST_LIFE, first, move || client().ok()),
            base,
            timeout: settings.timeout,
            max_retry_after: settings.max_retry_after,
            clock,
            date: OnceLock::new(),
            sockets,
        })
    }

    /// What the upstream's clock said, if it said anything yet.
    pub(super) fn date(&self) -> Option<Dated> {
        self.date.get().copied()
    }

    /// Sends `request` with `authorization` and reads the answer within `limits`, all within `upstream.timeout`; of an answer
    /// that is not small no more is read than its beginning before it has its part of `memory`, and the time it waits for that
    /// does not count. Every request to the upstream, and every secret in one, goes through here.
    pub(super) async fn send(
        &self,
        mut request: Request,
        authorization: Option<&HeaderValue>,
        limits: Limits,
        memory: Option<&Memory>,
    ) -> Result<Answer, NoAnswer> {
        if !self.base.owns(request.url()) {
            return Err(NoAnswer::ForeignOrigin);
        }
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(value) = authorization {
            let mut value = value.clone();
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if self.sockets.shortage().is_some() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut answer = self.exchange(request, limits, memory).await;
        if let Err(NoAnswer::Trouble(trouble)) = &mut answer {
            trouble.detail = presentable(&trouble.detail, &secrets(authorization));
        }
        answer
    }

    async fn exchange(
        &self,
        request: Request,
        limits: Limits,
        memory: Option<&Memory>,
    ) -> Result<Answer, NoAnswer> {
        let deadline = Instant::now() + self.timeout;
        let enough = memory.map_or(usize::MAX, |_| SMALL);
        let beginning = self.begin(request, deadline, limits, enough);
        let (head, begun) = self.clock.held(beginning).await?;
        let read = match begun {
            Ok(begun) => self.read_on(begun, deadline, memory).await,
            Err(trouble) => Err(trouble),
        };
        match head {
            Head::Success { status } => {
                let (body, memory) = read?;
                Ok(Answer::Success(Success {
                    status,
                    body,
                    memory,
                }))
            }
            // The status alone decides, so a body that breaks or hangs only costs the words.
            Head::Other(mut refusal) => {
                if let Ok((body, _)) = read {
                    refusal.said = Said::read(&body);
                    refusal.body = body;
                }
                Ok(Answer::Other(*refusal))
            }
        }
    }

    /// Sends the request and reads the head and `enough` of the body.
    async fn begin(
        &self,
        request: Request,
        deadline: Instant,
        limits: Limits,
        enough: usize,
    ) -> Result<(Head, Result<Reading, Trouble>), NoAnswer> {
        let sent = timeout_at(deadline, self.client.get().execute(request)).await;
        let response = sent.map_err(|_| self.timed_out())?.map_err(no_answer)?;
        self.note_date(&response);
        let (head, limit) = if response.status().is_success() {
            let status = response.status().as_u16();
            (Head::Success { status }, limits.success)
        } else {
            (Head::Other(Box::new(self.refusal(&response))), limits.other)
        };
        let reading = timeout_at(deadline, Reading::begin(response, limit, enough)).await;
        Ok((head, reading.map_err(|_| self.timed_out()).flatten()))
    }

    /// Reads the rest of a body, once there is memory for it, and decompresses it.
    async fn read_on(
        &self,
        mut reading: Reading,
        deadline: Instant,
        memory: Option<&Memory>,
    ) -> Result<(Vec<u8>, Option<Reservation>), Trouble> {
        let asked = Instant::now();
        let mut taken = match (memory, reading.needs()) {
            (Some(memory), needed @ 1..) => Some(memory.reserve(needed).await),
            _ => None,
        };
        let deadline = deadline + asked.elapsed();
        if let Some(piece) = reading.piece.take() {
            let rest = timeout_at(deadline, reading.read_rest(piece));
            let rest = self.clock.held(rest).await;
            rest.map_err(|_| self.timed_out())??;
        }
        let body = reading.unpacked()?;
        if let Some(taken) = &mut taken {
            taken.resize(body.len()).await;
        }
        Ok((body, taken))
    }

    fn note_date(&self, response: &Response) {
        if self.date.get().is_some() {
            return;
        }
        let value = response
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        if let Some(theirs) = value.and_then(|value| parser.parse_timestamp(value).ok()) {
            // Another answer may have been quicker; either will do.
            let _ = self.date.set(Dated {
                theirs: theirs.into(),
                ours: self.clock.now(),
            });
        }
    }

    fn refusal(&self, response: &Response) -> Refusal {
        let status = response.status();
        let values = |name| {
            let values = response.headers().get_all(name).into_iter();
            values.filter_map(|value: &HeaderValue| value.to_str().ok())
        };
        let now = self.clock.now();
        Refusal {
            status: status.as_u16(),
            said: Said::default(),
            retry_after: if status.is_client_error() || status.is_server_error() {
                parse_retry_after(values(RETRY_AFTER), now, self.max_retry_after)
            } else {
                None
            },
            location: values(LOCATION)
                .next()
                .map(|to| to.split(['?', '#']).next().unwrap_or_default().to_owned()),
            body: Vec::new(),
        }
    }

    fn timed_out(&self) -> Trouble {
        Trouble {
            class: TroubleClass::Timeout,
            detail: format!(
                "no complete answer within {}",
                humantime::format_duration(self.timeout)
            ),
        }
    }
}

fn client(https: bool, timeout: Duration, at_once: usize) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .user_agent(concat!("jobtrackd/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .https_only(https)
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .pool_max_idle_per_host(at_once)
        .pool_idle_timeout(IDLE_TIMEOUT);
    // Plain http needs no CA certificates, and a machine without any can still be used for a first try.
    if https {
        builder.build()
    } else {
        builder.tls_certs_only([]).build()
    }
}

impl Refusal {
    /// Whether another token may be taken: 401, or 403 that says the token has expired.
    pub(super) fn is_of_token(&self) -> bool {
        match self.status {
            401 => true,
            403 => self.said.token_expired() && !self.said.throttles(),
            _ => false,
        }
    }

    /// Whether it asks for fewer requests: 429, 503 with `Retry-After`, or 403 that says what others say with 429.
    pub(super) fn throttles(&self) -> bool {
        match self.status {
            429 => true,
            503 => self.retry_after.is_some(),
            403 => self.said.throttles(),
            _ => false,
        }
    }

    /// What the API said of it, for people.
    pub(super) fn detail(&self, authorization: Option<&HeaderValue>) -> String {
        presentable(&self.said.line(self.status), &secrets(authorization))
    }

    /// The trouble this answer is, when its status means nothing more.
    pub(super) fn into_trouble(self, authorization: Option<&HeaderValue>) -> Trouble {
        let foreign = matches!(self.status, 400 | 404 | 410);
        if foreign && !self.said.by_the_api {
            let line = self.said.line(self.status);
            let line = format!("{line}, not in the API's own words");
            return Trouble {
                class: TroubleClass::Foreign,
                detail: presentable(&line, &secrets(authorization)),
            };
        }
        if !(300..400).contains(&self.status) {
            return Trouble {
                class: if foreign {
                    TroubleClass::Foreign
                } else {
                    TroubleClass::Status
                },
                detail: self.detail(authorization),
            };
        }
        let to = self.location.as_deref().unwrap_or("nowhere");
        let line = format!("HTTP {}, a redirect to {to}, not followed", self.status);
        Trouble {
            class: TroubleClass::Redirect,
            detail: presentable(&line, &secrets(authorization)),
        }
    }
}

/// The value of an `Authorization` header and the part after its scheme, to be kept out of texts.
fn secrets(authorization: Option<&HeaderValue>) -> Vec<&str> {
    let value = authorization.and_then(|value| value.to_str().ok());
    let secret = value
        .and_then(|value| value.split_once(' '))
        .map(|(_, secret)| secret);
    secret.into_iter().collect()
}

fn no_answer(error: reqwest::Error) -> NoAnswer {
    let connecting = Some(&error).filter(|error| error.is_connect());
    match connecting.and_then(|error| shortage_behind(error)) {
        Some(shortage) => NoAnswer::Short(shortage),
        None => NoAnswer::Trouble(trouble_of(error)),
    }
}

pub(super) fn trouble_of(error: reqwest::Error) -> Trouble {
    let class = if error.is_connect() {
        TroubleClass::Connect
    } else if error.is_timeout() {
        TroubleClass::Timeout
    } else {
        TroubleClass::Broken
    };
    Trouble {
        class,
        detail: chain(&error.without_url()),
    }
}

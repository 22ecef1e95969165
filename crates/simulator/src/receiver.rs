//! A webhook receiver: takes Standard Webhooks 1.0 requests, checks their signatures with code of its own, knows an
//! event again by its `webhook-id`, and refuses on request.
//!
//! `POST /{hook}` answers 204, also to an event it has taken before; 401 to a request whose signature does not hold; 404
//! for a hook nobody named; and whatever a [`Refusal`] says.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use jobtrackd_clock::Clock;
use jobtrackd_core::time::UnixMillis;

/// The longest event, in bytes: 16 MiB.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// How far a request's timestamp may lie from our clock, in seconds: five minutes.
const TOLERANCE: u64 = 5 * 60;

/// The most requests remembered; later ones are refused with 507.
const MAX_RECEIVED: usize = 100_000;

/// One address that takes events.
#[derive(Clone)]
pub struct Hook {
    /// Its name, which is its path.
    pub name: String,
    /// What its events are signed with: `whsec_` and base64.
    pub secret: String,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a receiver behaves.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who is served.
    pub hooks: Vec<Hook>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            hooks: Vec::new(),
            clock: Clock::system(),
        }
    }
}

/// Events that are not taken. A request must fit every condition that is given; of several refusals the oldest that
/// fits strikes.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// Only at this hook.
    pub hook: Option<String>,
    /// Only events of this type.
    pub event: Option<String>,
    /// Only events of this job.
    pub job: Option<String>,
    /// So many times; for ever when absent.
    pub times: Option<u64>,
    /// The status that is answered.
    pub status: u16,
    /// Adds `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

/// One request, as it came and as it was answered.
#[derive(Debug, Clone)]
pub struct Received {
    /// 1, 2, 3… in order of arrival.
    pub number: u64,
    /// When it arrived.
    pub at: UnixMillis,
    /// Where.
    pub hook: String,
    /// The header `webhook-id`; empty when there was none.
    pub id: String,
    /// The body's `type`.
    pub event: String,
    /// The body's `data.job_id`.
    pub job: String,
    /// The body's `data.sequence`, 0 when there is none.
    pub sequence: u64,
    /// The bytes.
    pub body: Bytes,
    /// Whether its signature holds.
    pub signature: Result<(), SignatureError>,
    /// How it was answered.
    pub status: u16,
    /// Whether an event with this id had been taken here before.
    pub again: bool,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Without one of the three headers it cannot be checked.
    #[error("the header {0} is missing or no text")]
    Header(&'static str),
    /// Not a number of seconds, or too far from now.
    #[error("webhook-timestamp is not within five minutes of now")]
    Timestamp,
    /// None of its `v1` signatures is made with our key over this id, this time and these bytes.
    #[error("no signature fits")]
    Mismatch,
}

/// A running receiver. It stops when dropped; [`Receiver::shutdown`] also waits until it has.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    inbox: Inbox,
    stop: DropGuard,
    server: JoinHandle<io::Result<()>>,
}

/// What a receiver has taken, and what it is to refuse. Clones are the same receiver's.
#[derive(Debug, Clone)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hooks: Vec<(Hook, Vec<u8>)>,
    clock: Clock,
    state: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    received: Vec<Received>,
    taken: HashSet<(String, String)>,
    refusals: Vec<Refusal>,
}

impl Receiver {
    /// Binds the address and takes events from then on, on tasks of its own.
    ///
    /// # Errors
    /// When the address cannot be bound, or a secret is not base64 ([`io::ErrorKind::InvalidInput`]).
    pub async fn start(settings: ReceiverSettings) -> io::Result<Self> {
        let hooks = settings.hooks.into_iter().map(with_key);
        let inbox = Inbox(Arc::new(Shared {
            hooks: hooks.collect::<io::Result<_>>()?,
            clock: settings.clock,
            state: Mutex::default(),
        }));
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/{hook}", post(receive))
            .layer(DefaultBodyLimit::max(MAX_EVENT))
            .with_state(inbox.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serve = axum::serve(listener, router).with_graceful_shutdown(stopped);
        Ok(Self {
            address,
            inbox,
            stop: stop.drop_guard(),
            server: tokio::spawn(serve.into_future()),
        })
    }

    /// Where this hook takes events.
    #[must_use]
    pub fn url(&self, hook: &str) -> String {
        format!("http://{}/{hook}", self.address)
    }

    /// A handle for everything else.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Takes no new connection, answers what is on its way, and waits until that is done.
    pub async fn shutdown(self) {
        let Self { stop, server, .. } = self;
        drop(stop);
        // It only fails when the server's task panicked, and then it is down too.
        let _ = server.await;
    }
}

impl Inbox {
    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received_after(0)
    }

    /// The requests whose number is above `number`, in order of arrival.
    #[must_use]
    pub fn received_after(&self, number: u64) -> Vec<Received> {
        let state = self.state();
        let start = usize::try_from(number).unwrap_or(usize::MAX);
        state.received.get(start..).unwrap_or_default().to_vec()
    }

    /// From now on refuses what fits.
    pub fn refuse(&self, refusal: Refusal) {
        self.state().refusals.push(refusal);
    }

    /// The refusals that are still to strike.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.state().refusals.clone()
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, hook: &str, key: &[u8], headers: &HeaderMap, body: Bytes) -> Response {
        let at = self.0.clock.now();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut request = Received {
            number: 0,
            at,
            hook: hook.to_owned(),
            id: text_of(headers, "webhook-id")
                .unwrap_or_default()
                .to_owned(),
            event: text(&value["type"]),
            job: text(&value["data"]["job_id"]),
            sequence: value["data"]["sequence"].as_u64().unwrap_or(0),
            signature: verify(key, headers, &body, at),
            body,
            status: StatusCode::NO_CONTENT.as_u16(),
            again: false,
        };
        let mut state = self.state();
        let Ok(number) = u64::try_from(state.received.len() + 1) else {
            return StatusCode::INSUFFICIENT_STORAGE.into_response();
        };
        if state.received.len() >= MAX_RECEIVED {
            return StatusCode::INSUFFICIENT_STORAGE.into_response();
        }
        request.number = number;
        let key = (request.hook.clone(), request.id.clone());
        request.again = state.taken.contains(&key);
        let refusal = state.strike(&request);
        let status = match &refusal {
            _ if request.signature.is_err() => StatusCode::UNAUTHORIZED,
            Some(refusal) => {
                StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            None => {
                state.taken.insert(key);
                StatusCode::NO_CONTENT
            }
        };
        request.status = status.as_u16();
        state.received.push(request);
        let mut response = status.into_response();
        if let Some(seconds) = refusal.and_then(|refusal| refusal.retry_after) {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Inner {
    fn strike(&mut self, request: &Received) -> Option<Refusal> {
        let is = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
        let index = self.refusals.iter().position(|refusal| {
            is(&refusal.hook, &request.hook)
                && is(&refusal.event, &request.event)
                && is(&refusal.job, &request.job)
        })?;
        let refusal = self.refusals.get_mut(index)?;
        let struck = refusal.clone();
        if let Some(times) = &mut refusal.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.refusals.remove(index);
            }
        }
        Some(struck)
    }
}

impl Received {
    /// Whether the event was taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

async fn receive(
    State(inbox): State<Inbox>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let hook = inbox.0.hooks.iter().find(|(hook, _)| hook.name == name);
    match hook {
        Some((hook, key)) => inbox.take(&hook.name, key, &headers, body),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn with_key(hook: Hook) -> io::Result<(Hook, Vec<u8>)> {
    let text = hook.secret.trim_start_matches("whsec_");
    let key = STANDARD.decode(text).map_err(|_| {
        let why = format!("the secret of the hook {} is not base64", hook.name);
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })?;
    Ok((hook, key))
}

fn text_of<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, SignatureError> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or(SignatureError::Header(name))
}

fn verify(
    key: &[u8],
    headers: &HeaderMap,
    body: &[u8],
    now: UnixMillis,
) -> Result<(), SignatureError> {
    let id = text_of(headers, "webhook-id")?;
    let timestamp = text_of(headers, "webhook-timestamp")?;
    let signatures = text_of(headers, "webhook-signature")?;
    let seconds: i64 = timestamp.parse().map_err(|_| SignatureError::Timestamp)?;
    if seconds.abs_diff(now.0.div_euclid(1000)) > TOLERANCE {
        return Err(SignatureError::Timestamp);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| SignatureError::Mismatch)?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let fits = |signature: &str| {
        let code = signature.strip_prefix("v1,");
        let code = code.and_then(|text| STANDARD.decode(text).ok());
        code.is_some_and(|code| mac.clone().verify_slice(&code).is_ok())
    };
    if signatures.split(' ').any(fits) {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

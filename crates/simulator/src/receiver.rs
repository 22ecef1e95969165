//! A webhook receiver: accepts Standard Webhooks 1.0 requests, checks their signatures independently of the code that signs,
//! recognizes a repeated event by its `webhook-id`, and answers as configured.
//!
//! `POST /{hook}` answers 204, also to an event that it has accepted before; 401 if the signature is not valid; 404 for an
//! unknown hook; or as a [`Reply`] says.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{self, DefaultBodyLimit, Path};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::server::Server;
use super::signature::{SignatureError, header_of, key_of, verify};
use jobtrackd_clock::Clock;
use jobtrackd_core::time::UnixMillis;

/// The longest event, in bytes: 16 MiB.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// The most requests remembered; later ones are refused with 507.
const MAX_RECEIVED: usize = 100_000;

/// One address that receives events.
#[derive(Clone)]
pub struct Hook {
    /// Its name, which is its path.
    pub name: String,
    /// The secret with which its events are signed: `whsec_` and base64.
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
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// The secret of any other hook; without it there is no other hook.
    pub other_secret: Option<String>,
    /// The clock.
    pub clock: Clock,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            hooks: Vec::new(),
            other_secret: None,
            clock: Clock::system(),
        }
    }
}

/// The status of a [`Reply`] that is never sent: the request hangs.
pub const HANG: u16 = 0;

/// The answer to requests instead of 204. A request must match all conditions; of several replies that match the oldest one
/// is sent.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Only at this hook.
    pub hook: Option<String>,
    /// Only events of this type.
    pub event: Option<String>,
    /// Only events of this job.
    pub job: Option<String>,
    /// How many times; for ever when absent.
    pub times: Option<u64>,
    /// The status, or [`HANG`].
    pub status: u16,
    /// A header, if any.
    pub header: Option<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Received {
    /// 1, 2, 3… in order of arrival.
    pub number: u64,
    /// When it arrived.
    pub at: UnixMillis,
    /// The hook.
    pub hook: String,
    /// The header `webhook-id`; empty when there was none.
    pub id: String,
    /// All its headers.
    pub headers: HeaderMap,
    /// The body's `type`.
    pub event: String,
    /// The body's `data.job_id`.
    pub job: String,
    /// The body's `data.sequence`, 0 when there is none.
    pub sequence: u64,
    /// The body.
    pub body: Bytes,
    /// Whether its signature is valid.
    pub signature: Result<(), SignatureError>,
    /// The answer's status.
    pub status: u16,
    /// Whether an event with this id was accepted by this hook before.
    pub again: bool,
}

/// A running receiver. It stops when dropped; [`Receiver::shutdown`] also waits until it has.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    inbox: Inbox,
    server: Server,
}

/// The requests of a receiver, and its replies. Clones share them.
#[derive(Debug, Clone)]
pub struct Inbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hooks: Vec<Hook>,
    other_secret: Option<String>,
    clock: Clock,
    state: Mutex<State>,
    /// Whether answers are held back.
    held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    taken: HashSet<(String, String)>,
    replies: Vec<Reply>,
}

impl Receiver {
    /// Binds the address and serves in background tasks.
    ///
    /// # Errors
    /// When the address cannot be bound, or a secret is not base64 ([`io::ErrorKind::InvalidInput`]).
    pub async fn start(settings: ReceiverSettings) -> io::Result<Self> {
        for hook in &settings.hooks {
            key_of(&hook.secret).ok_or_else(|| {
                let why = format!("the secret of the hook {} is not base64", hook.name);
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?;
        }
        let inbox = Inbox(Arc::new(Inner {
            hooks: settings.hooks,
            other_secret: settings.other_secret,
            clock: settings.clock,
            state: Mutex::default(),
            held: watch::Sender::new(false),
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
            server: Server::spawn(stop, serve.into_future()),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of this hook.
    #[must_use]
    pub fn url(&self, hook: &str) -> String {
        format!("http://{}/{hook}", self.address)
    }

    /// Its requests and replies.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Accepts no more connections, and waits until the requests in flight are answered.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
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

    /// The requests to this hook, in order of arrival.
    #[must_use]
    pub fn requests(&self, hook: &str) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|each| each.hook == hook);
        received
    }

    /// The requests to this hook that were answered with 2xx, in order of arrival.
    #[must_use]
    pub fn accepted(&self, hook: &str) -> Vec<Received> {
        let mut received = self.requests(hook);
        received.retain(Received::is_taken);
        received
    }

    /// The types of the accepted events of one job at this hook, in order of arrival.
    #[must_use]
    pub fn kinds(&self, hook: &str, job: &str) -> Vec<String> {
        let accepted = self.accepted(hook).into_iter();
        let of_job = accepted.filter(|each| each.job == job);
        of_job.map(|each| each.event).collect()
    }

    /// Adds a reply.
    pub fn reply(&self, reply: Reply) {
        self.state().replies.push(reply);
    }

    /// Answers the next requests to this hook with these statuses, in order, and, where not empty, with this
    /// `Retry-After`.
    pub fn reply_in_turn(&self, hook: &str, answers: &[(u16, &str)]) {
        for (status, after) in answers {
            let reply = Reply::once(hook, *status);
            self.reply(match *after {
                "" => reply,
                after => reply.with_header("retry-after", after),
            });
        }
    }

    /// Forgets the replies for this hook.
    pub fn forget_replies(&self, hook: &str) {
        let is_of_another = |reply: &Reply| reply.hook.as_deref() != Some(hook);
        self.state().replies.retain(is_of_another);
    }

    /// The replies that are still to be sent.
    #[must_use]
    pub fn replies(&self) -> Vec<Reply> {
        self.state().replies.clone()
    }

    /// Holds back all answers from now on, or sends them. A held request counts as received.
    pub fn hold(&self, held: bool) {
        self.0.held.send_replace(held);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    fn secret(&self, hook: &str) -> Option<&String> {
        let named = self.0.hooks.iter().find(|named| named.name == hook);
        named
            .map(|named| &named.secret)
            .or(self.0.other_secret.as_ref())
    }

    /// Records a request and returns its answer.
    fn take(&self, hook: String, secret: &str, headers: HeaderMap, body: Bytes) -> Reply {
        let at = self.0.clock.now();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let signature = verify(secret, &headers, &body, at);
        let mut request = Received {
            number: 0,
            at,
            hook,
            id: header_of(&headers, "webhook-id")
                .unwrap_or_default()
                .to_owned(),
            headers,
            event: text(&value["type"]),
            job: text(&value["data"]["job_id"]),
            sequence: value["data"]["sequence"].as_u64().unwrap_or(0),
            body,
            signature,
            status: 0,
            again: false,
        };
        let answer = |status: StatusCode| Reply::once(&request.hook, status.as_u16());
        let mut state = self.state();
        if state.received.len() >= MAX_RECEIVED {
            return answer(StatusCode::INSUFFICIENT_STORAGE);
        }
        let reply = state.take_reply(&request);
        let reply = match request.signature {
            Err(_) => answer(StatusCode::UNAUTHORIZED),
            Ok(()) => reply.unwrap_or_else(|| answer(StatusCode::NO_CONTENT)),
        };
        let key = (request.hook.clone(), request.id.clone());
        request.again = state.taken.contains(&key);
        request.number = state.received.len() as u64 + 1;
        request.status = reply.status;
        if request.is_taken() {
            state.taken.insert(key);
        }
        state.received.push(request);
        reply
    }
}

impl State {
    fn take_reply(&mut self, request: &Received) -> Option<Reply> {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
        let index = self.replies.iter().position(|reply| {
            fits(&reply.hook, &request.hook)
                && fits(&reply.event, &request.event)
                && fits(&reply.job, &request.job)
        })?;
        let reply = self.replies.get_mut(index)?;
        let taken = reply.clone();
        if let Some(times) = &mut reply.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.replies.remove(index);
            }
        }
        Some(taken)
    }
}

impl Reply {
    /// This status to the next request at this hook.
    #[must_use]
    pub fn once(hook: &str, status: u16) -> Self {
        Self {
            hook: Some(hook.to_owned()),
            times: Some(1),
            status,
            ..Self::default()
        }
    }

    /// This status to all events of this type at this hook.
    #[must_use]
    pub fn always(hook: &str, event: &str, status: u16) -> Self {
        Self {
            event: Some(event.to_owned()),
            times: None,
            ..Self::once(hook, status)
        }
    }

    /// With this header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.header = Some((name, value.to_owned()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn with_body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }
}

impl Received {
    /// Whether the event was accepted.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header's text; `-` when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("-")
    }

    /// When it was signed, in seconds; 0 without a valid `webhook-timestamp`.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.header("webhook-timestamp").parse().unwrap_or(0)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match self.body.as_str() {
            "" => status.into_response(),
            _ => (status, self.body).into_response(),
        };
        if let Some((name, value)) = self.header
            && let Ok(value) = HeaderValue::try_from(value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

async fn receive(
    extract::State(inbox): extract::State<Inbox>,
    Path(hook): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(secret) = inbox.secret(&hook) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let reply = inbox.take(hook, secret, headers, body);
    if reply.status == HANG {
        std::future::pending::<()>().await;
    }
    // The sender lives as long as the inbox.
    let _ = inbox.0.held.subscribe().wait_for(|held| !held).await;
    reply.into_response()
}

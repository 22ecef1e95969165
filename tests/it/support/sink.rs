//! A receiver of webhooks that keeps what it was sent, and checks each signature with the official library.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::sync::watch;

/// The secret every webhook of a [`Sink`] signs with.
pub(crate) const SECRET: &str = "whsec_c2lua3NpbmtzaW5rc2lua3NpbmtzaW5rc2luaw==";

/// One event as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) webhook: String,
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
    /// What it was answered with.
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    pub(crate) fn job(&self) -> &str {
        self.body["data"]["job_id"].as_str().unwrap()
    }

    /// A header, or "-".
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("-", |value| value.to_str().unwrap())
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.body["data"]["sequence"].as_u64().unwrap()
    }
}

/// A status that is never sent: the request hangs.
pub(crate) const HANG: u16 = 0;

/// What one request is answered with.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// Or [`HANG`].
    status: u16,
    header: Option<(&'static str, String)>,
    body: String,
}

/// What the next requests to a webhook are answered with.
type Answers = HashMap<String, VecDeque<Answer>>;

#[derive(Debug, Clone, Default)]
struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<Answers>>,
    /// Webhooks with a type of event each that they answer with 500.
    refused: Arc<Mutex<Vec<(String, String)>>>,
    /// Whether answers are held back.
    held: Arc<watch::Sender<bool>>,
}

/// Listens at a free port; `http://…/NAME` is the webhook NAME. Answers 204 unless told otherwise.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Shared,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::default();
        let router = axum::Router::new()
            .route("/{name}", post(receive))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// The next requests to `webhook` get these answers, in order: a status (or [`HANG`]) and, if not empty, a
    /// `Retry-After`.
    pub(crate) fn answers(&self, webhook: &str, answers: &[(u16, &str)]) {
        for (status, after) in answers {
            let wish = (!after.is_empty()).then(|| ("retry-after", (*after).to_owned()));
            self.says(webhook, *status, wish, "");
        }
    }

    /// One more request to `webhook` is answered so.
    pub(crate) fn says(
        &self,
        webhook: &str,
        status: u16,
        header: Option<(&'static str, String)>,
        body: &str,
    ) {
        let mut answers = self.shared.answers.lock().unwrap();
        let mine = answers.entry(webhook.to_owned()).or_default();
        mine.push_back(Answer {
            status,
            header,
            body: body.to_owned(),
        });
    }

    /// From now on `webhook` answers events of this type with 500.
    pub(crate) fn refuses(&self, webhook: &str, kind: &str) {
        let mut refused = self.shared.refused.lock().unwrap();
        refused.push((webhook.to_owned(), kind.to_owned()));
    }

    /// Forgets what was still to be answered, and what is refused.
    pub(crate) fn recovers(&self, webhook: &str) {
        self.shared.answers.lock().unwrap().remove(webhook);
        let mut refused = self.shared.refused.lock().unwrap();
        refused.retain(|(name, _)| name != webhook);
    }

    /// What came for one webhook, whatever it was answered with.
    pub(crate) fn requests(&self, webhook: &str) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|each| each.webhook == webhook);
        received
    }

    /// Holds every answer back from now on, or lets them all go. A request counts as received all the same.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// Everything that came, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// What came for one webhook and was answered with 2xx.
    pub(crate) fn accepted(&self, webhook: &str) -> Vec<Received> {
        self.received()
            .into_iter()
            .filter(|each| each.webhook == webhook && (200..300).contains(&each.status))
            .collect()
    }

    /// The types of the accepted events of one job, in order of arrival.
    pub(crate) fn kinds(&self, webhook: &str, job: &str) -> Vec<String> {
        self.accepted(webhook)
            .iter()
            .filter(|each| each.job() == job)
            .map(|each| each.kind().to_owned())
            .collect()
    }
}

async fn receive(
    State(shared): State<Shared>,
    Path(webhook): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    // The library checks the timestamp against the real clock, so the signature is checked by making it again.
    let library = standardwebhooks::Webhook::new(SECRET).unwrap();
    let (id, timestamp) = (
        header("webhook-id"),
        header("webhook-timestamp").parse().unwrap(),
    );
    assert_eq!(
        header("webhook-signature"),
        library.sign(&id, timestamp, &body).unwrap()
    );
    assert_eq!(header("content-type"), "application/json");
    let answer = shared
        .answers
        .lock()
        .unwrap()
        .get_mut(&webhook)
        .and_then(VecDeque::pop_front);
    let event: Value = serde_json::from_slice(&body).unwrap();
    let is_refused = {
        let refused = shared.refused.lock().unwrap();
        refused
            .iter()
            .any(|(name, kind)| *name == webhook && event["type"] == kind.as_str())
    };
    let answer = answer.unwrap_or(Answer {
        status: if is_refused { 500 } else { 204 },
        ..Answer::default()
    });
    let status = answer.status;
    shared.received.lock().unwrap().push(Received {
        webhook,
        id,
        timestamp,
        headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
        body: event,
        status,
    });
    if status == HANG {
        std::future::pending::<()>().await;
    }
    // The sender lives as long as `shared`.
    let _ = shared.held.subscribe().wait_for(|held| !held).await;
    let status = StatusCode::from_u16(status).unwrap();
    let mut response = match answer.body.as_str() {
        "" => status.into_response(),
        body => (status, body.to_owned()).into_response(),
    };
    if let Some((name, value)) = answer.header {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

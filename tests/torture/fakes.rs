//! The API that is polled and the receiver of events.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use fastrand::Rng;
use parking_lot::Mutex;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ground::{Ground, Post};
use crate::support::waiting::pause;

/// What events are signed with.
pub(crate) const SECRET: &str = "whsec_dG9ydHVyZXRvcnR1cmV0b3J0dXJldG9ydHVyZQ==";
/// What stands before the number of the daemon's start in the API key.
pub(crate) const KEY: &str = "torture-key-";
/// The header that has the number of the daemon's start.
pub(crate) const START: &str = "x-start";

/// Out of a thousand polls so many are answered with 500, and likewise of the events.
const FAILING: u32 = 20;
const REFUSED: u32 = 60;
/// So many answers come late, by up to so many milliseconds.
const LATE: u32 = 200;
const LATENESS: u64 = 30;

/// Both servers. They stop when dropped.
pub(crate) struct Fakes {
    pub(crate) api: SocketAddr,
    pub(crate) receiver: SocketAddr,
    shared: Arc<Shared>,
    _servers: JoinSet<std::io::Result<()>>,
}

struct Shared {
    ground: Arc<Ground>,
    random: Mutex<Rng>,
    is_kind: AtomicBool,
    signatures: Webhook,
}

impl Shared {
    /// Whether something that happens so many times in a thousand happens now.
    fn chance(&self, of_thousand: u32) -> bool {
        self.random.lock().u32(..1000) < of_thousand
    }

    async fn lateness(&self) {
        if self.chance(LATE) && !self.is_kind.load(Ordering::Relaxed) {
            let ms = self.random.lock().u64(..LATENESS);
            pause(ms).await;
        }
    }
}

impl Fakes {
    pub(crate) async fn start(ground: Arc<Ground>, seed: u64) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            ground,
            random: Mutex::new(Rng::with_seed(seed)),
            is_kind: AtomicBool::new(false),
            signatures: Webhook::new(SECRET).context("the secret")?,
        });
        let mut servers = JoinSet::new();
        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let receiver = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addresses = (api.local_addr()?, receiver.local_addr()?);
        let router = Router::new()
            .route("/jobs/{id}", get(poll))
            .with_state(Arc::clone(&shared));
        servers.spawn(async move { axum::serve(api, router).await });
        let router = Router::new()
            .route("/all", post(receive))
            .layer(DefaultBodyLimit::max(1 << 20))
            .with_state(Arc::clone(&shared));
        servers.spawn(async move { axum::serve(receiver, router).await });
        Ok(Self {
            api: addresses.0,
            receiver: addresses.1,
            shared,
            _servers: servers,
        })
    }

    /// From now on nothing fails and nothing is late.
    pub(crate) fn be_kind(&self) {
        self.shared.is_kind.store(true, Ordering::Relaxed);
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

async fn poll(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let key = header(&headers, "authorization")
        .strip_prefix("Bearer ")
        .unwrap_or_default();
    let Some(start) = key.strip_prefix(KEY).and_then(|start| start.parse().ok()) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let is_kind = shared.is_kind.load(Ordering::Relaxed);
    let fails = !is_kind && shared.chance(FAILING);
    // Most stages are shown once or twice, some never.
    let steps = match shared.random.lock().u32(..10) {
        0 => 2,
        1..7 => 1,
        _ => 0,
    };
    let (poll, body) = shared
        .ground
        .polled(&id, start, fails, if is_kind { 1 } else { steps });
    shared.lateness().await;
    shared.ground.answered(poll);
    match body {
        Some(body) => ([("content-type", "application/json")], body).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let refuses = !shared.is_kind.load(Ordering::Relaxed) && shared.chance(REFUSED);
    let status = match refuses {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::NO_CONTENT,
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let post = shared.ground.posted(Post {
        id: header(&headers, "webhook-id").to_owned(),
        job: text(&value["data"]["job_id"]),
        sequence: value["data"]["sequence"].as_u64().unwrap_or(0),
        kind: text(&value["type"]),
        is_signed: shared.signatures.verify(&body, &headers).is_ok(),
        body: body.to_vec(),
        start: header(&headers, START).parse().unwrap_or(0),
        began: 0,
        ended: None,
        status: status.as_u16(),
    });
    shared.lateness().await;
    shared.ground.replied(post);
    status
}

//! How the daemon is: `/healthz` and `/readyz`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Parts;
use super::guard::Trusted;
use crate::telemetry::Signs;
use crate::tracker::poller::Gauge;

/// What is wrong just now, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// The daemon cannot do its work: 503.
    pub unready: Vec<String>,
    /// The daemon does its work, its surroundings do not: 200 with `degraded`.
    pub degraded: Vec<String>,
}

/// How the loops of the present configuration are.
pub struct Health {
    problems: Box<dyn Fn() -> Problems + Send + Sync>,
    signs: Box<dyn Fn() -> Signs + Send + Sync>,
    gauge: Arc<Gauge>,
}

impl Health {
    /// From a look at the loops, taken anew at every request.
    #[must_use]
    pub fn new(problems: impl Fn() -> Problems + Send + Sync + 'static, gauge: Arc<Gauge>) -> Self {
        Self {
            problems: Box::new(problems),
            signs: Box::new(Signs::default),
            gauge,
        }
    }

    /// The same, with what only metrics tell.
    #[must_use]
    pub fn with_signs(mut self, signs: impl Fn() -> Signs + Send + Sync + 'static) -> Self {
        self.signs = Box::new(signs);
        self
    }

    /// What only metrics tell, now.
    #[must_use]
    pub fn signs(&self) -> Signs {
        (self.signs)()
    }

    /// How they are now.
    #[must_use]
    pub fn report(&self) -> Report {
        let read = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        Report {
            problems: (self.problems)(),
            followed: read(&self.gauge.followed),
            in_flight: read(&self.gauge.in_flight),
            unknown_webhooks: read(&self.gauge.unknown_webhooks),
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("gauge", &self.gauge)
            .finish_non_exhaustive()
    }
}

/// One look at the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is wrong.
    pub problems: Problems,
    /// Jobs that are followed.
    pub followed: usize,
    /// Polls under way.
    pub in_flight: usize,
    /// Followed jobs that name a webhook which is not configured.
    pub unknown_webhooks: usize,
}

/// The process answers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what healthz() writes")]
pub(super) struct Alive {
    #[schema(pattern = "^ok$")]
    status: String,
    /// Not told without the token, where there is one.
    version: Option<String>,
}

/// How the daemon is.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what readyz() writes")]
pub(super) struct Readiness {
    #[schema(pattern = "^(ok|degraded|unready)$")]
    status: String,
    /// What is wrong, in sentences. This and the numbers are not told without the token, where there is one.
    reasons: Option<Vec<String>>,
    jobs_followed: Option<usize>,
    polls_in_flight: Option<usize>,
    jobs_with_unknown_webhook: Option<usize>,
}

/// The process answers. Whether it can do its work is a question for `/readyz`.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "It answers", body = Alive))
)]
pub(super) async fn healthz(trusted: Option<Extension<Trusted>>) -> Json<Value> {
    if trusted.is_none() {
        return Json(json!({"status": "ok"}));
    }
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// Whether the daemon does its work
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "It does; `degraded` when its surroundings are in trouble", body = Readiness),
        (status = 503, description = "It cannot, for these reasons", body = Readiness),
    )
)]
// 503 while the daemon cannot do its work, 200 with `degraded` while its upstream is in trouble (docs/operating.md,
// "What /readyz says").
// The reasons are for those who have the token.
pub(super) async fn readyz(
    State(parts): State<Parts>,
    trusted: Option<Extension<Trusted>>,
) -> Response {
    let report = parts.health.report();
    let problems = report.problems;
    let (code, status) = match (problems.unready.is_empty(), problems.degraded.is_empty()) {
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
    };
    if trusted.is_none() {
        return (code, Json(json!({"status": status}))).into_response();
    }
    let mut reasons = problems.unready;
    reasons.extend(problems.degraded);
    let body = json!({
        "status": status,
        "reasons": reasons,
        "jobs_followed": report.followed,
        "polls_in_flight": report.in_flight,
        "jobs_with_unknown_webhook": report.unknown_webhooks,
    });
    (code, Json(body)).into_response()
}

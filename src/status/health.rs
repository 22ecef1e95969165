//! The daemon's readiness: `/healthz` and `/readyz`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Parts;
use super::envelope::json_of;
use super::guard::Trusted;
use crate::record::status::{HealthUpdate, ReadinessRecord};
use crate::telemetry::GaugeValues;
use crate::tracker::poller::Gauge;

/// What is wrong now, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// The daemon cannot do its work: 503.
    pub unready: Vec<String>,
    /// The daemon does its work, what it depends on does not: 200 with `degraded`.
    pub degraded: Vec<String>,
}

/// The readiness of the loops of the present configuration.
pub struct Health {
    problems: Box<dyn Fn() -> Problems + Send + Sync>,
    gauges: Box<dyn Fn() -> GaugeValues + Send + Sync>,
    gauge: Arc<Gauge>,
}

impl Health {
    /// Read from the loops at each request.
    #[must_use]
    pub fn new(problems: impl Fn() -> Problems + Send + Sync + 'static, gauge: Arc<Gauge>) -> Self {
        Self {
            problems: Box::new(problems),
            gauges: Box::new(GaugeValues::default),
            gauge,
        }
    }

    /// The same, with the gauges of metrics.
    #[must_use]
    pub fn with_gauges(mut self, gauges: impl Fn() -> GaugeValues + Send + Sync + 'static) -> Self {
        self.gauges = Box::new(gauges);
        self
    }

    /// The gauges of metrics, now.
    #[must_use]
    pub fn gauges(&self) -> GaugeValues {
        (self.gauges)()
    }

    /// Their readiness now.
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

/// The daemon's readiness at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is wrong.
    pub problems: Problems,
    /// Jobs that are followed.
    pub followed: usize,
    /// Polls in flight.
    pub in_flight: usize,
    /// Followed jobs that name a webhook which is not configured.
    pub unknown_webhooks: usize,
}

/// The process answers. Whether it can do its work is a question for `/readyz`.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "It answers", body = HealthUpdate))
)]
pub(super) async fn healthz(trusted: Option<Extension<Trusted>>) -> Response {
    json_of(&HealthUpdate {
        status: "ok",
        version: trusted.map(|_| env!("CARGO_PKG_VERSION")),
    })
}

/// Whether the daemon does its work
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "It does; `degraded` when what it depends on is in trouble", body = ReadinessRecord),
        (status = 503, description = "It cannot, for these reasons", body = ReadinessRecord),
    )
)]
// 503 while the daemon cannot do its work, 200 with `degraded` while its upstream is in trouble (docs/operating.md,
// "What /readyz says"). The reasons are shown to requests with the token only.
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
    let details = trusted.is_some();
    let mut reasons = problems.unready;
    reasons.extend(problems.degraded);
    let record = ReadinessRecord {
        status,
        reasons: details.then_some(reasons),
        jobs_followed: details.then_some(report.followed),
        polls_in_flight: details.then_some(report.in_flight),
        jobs_with_unknown_webhook: details.then_some(report.unknown_webhooks),
    };
    (code, json_of(&record)).into_response()
}

//! `GET /metrics`: Prometheus text, with numbers from the database, which is counted from time to time.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Parts;
use super::budget::Memory;
use super::figures::webhooks;
use super::refusal::Refusal;
use crate::core::delivery::DeliveryState;
use crate::core::time::UnixMillis;
use crate::store::Counts;
use crate::telemetry::{self, Exporter};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Most bytes of metrics that are being sent at once.
const TEXTS: usize = 8 << 20;

/// What the answer is made from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scrape {
    exporter: Exporter,
    /// Separate from that of other answers: metrics are answered while other clients read slowly.
    memory: Memory,
}

impl From<Exporter> for Scrape {
    fn from(exporter: Exporter) -> Self {
        Self {
            exporter,
            memory: Memory::of(TEXTS),
        }
    }
}

/// Metrics for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses(
        (status = 200, description = "Prometheus text", body = String, content_type = "text/plain"),
        (status = 404, description = "Nothing is recorded", body = super::openapi::Refused),
    )
)]
pub(super) async fn scrape(State(parts): State<Parts>) -> Response {
    let Some(scrape) = &parts.scrape else {
        let detail =
            "Nothing is recorded here; a daemon that was started with `jobtrackd run` has metrics.";
        return Refusal::new(StatusCode::NOT_FOUND, detail).into_response();
    };
    of_loops(&parts);
    let (figures, webhooks) = (&parts.figures, webhooks(&parts));
    let counts = figures.renewed(&parts.store, &parts.budget, webhooks).await;
    if let Some(counts) = counts {
        of_database(&counts, parts.clock.now());
    }
    let text = scrape.exporter.render();
    match scrape.memory.bytes(text).await {
        Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn of_loops(parts: &Parts) {
    let (report, gauges) = (parts.health.report(), parts.health.gauges());
    telemetry::loops(&gauges, report.problems.unready.is_empty());
    telemetry::followed(report.followed, report.in_flight, report.unknown_webhooks);
}

fn of_database(figures: &Counts, now: UnixMillis) {
    for (state, jobs) in &figures.jobs {
        telemetry::jobs(*state, *jobs);
    }
    for webhook in &figures.webhooks {
        let name = &webhook.name;
        telemetry::deliveries(name, DeliveryState::Pending, webhook.pending);
        telemetry::deliveries(name, DeliveryState::Exhausted, webhook.exhausted);
        telemetry::deliveries(name, DeliveryState::Disabled, webhook.disabled);
        let oldest = webhook
            .oldest_pending
            .map_or(Duration::ZERO, |at| now.since(at));
        let paused = webhook.health.paused_until.is_some_and(|until| until > now);
        let gauges = telemetry::WebhookGauges {
            oldest_pending: oldest,
            disabled: webhook.health.disabled.is_some(),
            held: webhook.health.health.hold().is_some(),
            paused,
        };
        telemetry::webhook(name, gauges);
    }
    telemetry::files(figures.database_bytes, figures.wal_bytes);
}

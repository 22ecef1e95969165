//! `GET /metrics`: Prometheus text, with numbers from the database, which is counted from time to time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Parts;
use super::budget::{Budget, Memory};
use super::refusal::Refusal;
use crate::core::delivery::{DeliveryState, WebhookName};
use crate::core::time::UnixMillis;
use crate::store::{Counting as _, Counts, Store};
use crate::telemetry::{self, Exporter, GaugeValues};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The database is counted at most this often, however many requests there are …
const FRESH: Duration = Duration::from_secs(5);

/// … and not again for this many times as long as the last count took.
const PAUSE_FACTOR: u32 = 50;

/// Most bytes of metrics that are being sent at once.
const TEXTS: usize = 8 << 20;

/// Pause after a count whose request was dropped: it may still be running.
const ABANDONED: Duration = Duration::from_secs(60);

/// What the answer is made from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scrape {
    exporter: Exporter,
    counted: Arc<Mutex<Counted>>,
    /// Separate from that of other answers: metrics are answered while other clients read slowly.
    memory: Memory,
}

#[derive(Debug, Default)]
struct Counted {
    figures: Option<Counts>,
    webhooks: Vec<WebhookName>,
    next_at: Option<Instant>,
}

impl From<Exporter> for Scrape {
    fn from(exporter: Exporter) -> Self {
        Self {
            exporter,
            counted: Arc::default(),
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
    let gauges = of_loops(&parts);
    let mut webhooks: Vec<WebhookName> =
        gauges.webhooks.into_iter().map(|(name, _)| name).collect();
    webhooks.extend(gauges.stranded);
    webhooks.sort_unstable();
    webhooks.dedup();
    // One at a time: a second request waits and uses the first one's count.
    let mut counted = scrape.counted.lock().await;
    counted.renew(&parts.store, &parts.budget, webhooks).await;
    if let Some(figures) = &counted.figures {
        of_database(figures, parts.clock.now());
    }
    let text = scrape.exporter.render();
    match scrape.memory.bytes(text).await {
        Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Counted {
    async fn renew(&mut self, store: &Store, budget: &Budget, webhooks: Vec<WebhookName>) {
        let is_due = self.next_at.is_none_or(|at| at <= Instant::now());
        let is_fresh = !is_due && self.webhooks == webhooks;
        if is_fresh {
            return;
        }
        let Ok(_scan) = budget.scan().await else {
            // The last count stays in use.
            return;
        };
        let began = Instant::now();
        self.next_at = Some(began + ABANDONED);
        self.figures = match store.counts(&webhooks).await {
            Ok(figures) => Some(figures),
            Err(error) => {
                tracing::debug!(%error, "the database cannot be counted just now; its metrics are left out");
                None
            }
        };
        self.webhooks = webhooks;
        self.next_at = Some(Instant::now() + FRESH.max(began.elapsed() * PAUSE_FACTOR));
    }
}

fn of_loops(parts: &Parts) -> GaugeValues {
    let (report, gauges) = (parts.health.report(), parts.health.gauges());
    telemetry::loops(&gauges, report.problems.unready.is_empty());
    telemetry::followed(report.followed, report.in_flight, report.unknown_webhooks);
    gauges
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::core::job::JobState;
    use crate::status::Limits;
    use crate::store::{Jobs as _, NewJob};

    fn pending(counted: &Counted) -> Option<u64> {
        let jobs = &counted.figures.as_ref()?.jobs;
        let found = jobs.iter().find(|(state, _)| *state == JobState::Pending);
        found.map(|(_, jobs)| *jobs)
    }

    #[tokio::test(start_paused = true)]
    async fn however_often_it_is_asked_for_the_database_is_counted_every_five_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::driven(UnixMillis(0));
        let file = folder.path().join("jobs.db");
        let store = Store::create_or_migrate(&file, clock.clone())
            .await
            .unwrap();
        let (mut counted, budget) = (Counted::default(), Budget::new(&Limits::default()));
        let mut seen = Vec::new();
        for second in 0..12 {
            let job = NewJob {
                id: second.to_string(),
                ..NewJob::default()
            };
            assert!(store.enqueue(&job).await.unwrap());
            counted.renew(&store, &budget, Vec::new()).await;
            seen.push(pending(&counted).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(seen, [1, 1, 1, 1, 1, 6, 6, 6, 6, 6, 11, 11]);
        let webhooks = vec![WebhookName::new("new")];
        counted.renew(&store, &budget, webhooks.clone()).await;
        assert_eq!(
            pending(&counted),
            Some(12),
            "other webhooks are other figures"
        );
        store.close().await;
        tokio::time::advance(FRESH).await;
        counted.renew(&store, &budget, webhooks).await;
        assert_eq!(counted.figures, None, "what is not counted is left out");
    }
}

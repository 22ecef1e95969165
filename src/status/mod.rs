//! The status server: readiness, the jobs as last seen, their history and their events. It reads from the store and is
//! woken by the writer's commits.

mod access;
mod budget;
mod cursor;
mod dashboard;
mod envelope;
mod etag;
mod events;
mod figures;
mod guard;
mod health;
mod host;
mod jobs;
mod listen;
mod listener;
mod long_poll;
mod metrics;
mod mfa;
mod mirror;
mod openapi;
mod query;
mod refusal;
mod server;
mod settings;
mod stream;
mod timeline;
mod token;
mod write_limits;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use tokio::sync::{Notify, watch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::metrics::Scrape;
pub use access::Access;
pub use budget::{Budget, MAX_SCANS, MAX_WRITES};
pub use dashboard::Dashboard;
pub use figures::Figures;
pub use guard::Stopping;
pub use health::{Health, Problems, Report};
pub use host::{Host, HostFinding, HostProbe};
pub use listen::{InvalidListen, Listen};
pub use listener::Listener;
pub use long_poll::{MAX_STREAMS, MAX_WAITS, Waiting};
pub use server::serve;
pub use settings::{Limits, NamedToken, Permission, StatusSettings};

use crate::clock::Clock;
use crate::core::delivery::WebhookName;
use crate::core::enqueue::EnqueueRules;
use crate::store::Store;
use crate::telemetry::Recent;
use crate::upstream::Upstream;
use crate::webhook::{Sender, WebhookSettings};
use refusal::Refusal;

/// What the server answers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is recorded.
    pub store: Store,
    /// How the daemon is.
    pub health: Arc<Health>,
    /// The API, as the present configuration has it.
    pub upstream: watch::Receiver<Upstream>,
    /// What jobs are checked against, as the present configuration has it.
    pub rules: watch::Receiver<EnqueueRules>,
    /// Makes intake read new rows at once.
    pub wakeup: Arc<Notify>,
    /// Requests that wait for a commit.
    pub waiting: Waiting,
    /// What requests may take of the daemon.
    pub budget: Budget,
    /// The time of day.
    pub clock: Clock,
    /// The webhooks that events are sent to, as the present configuration has them.
    pub receivers: watch::Receiver<Vec<Receiver>>,
    /// The last count of the database.
    pub figures: Figures,
    /// The last hour.
    pub recent: Recent,
    /// What is wrong with the host.
    pub host: Host,
    /// What the dashboard keeps.
    pub dashboard: Dashboard,
    /// What is recorded for Prometheus; `None` where nothing is.
    pub scrape: Option<Scrape>,
}

impl Parts {
    /// The names of the webhooks that events are sent to.
    fn webhook_names(&self) -> Vec<WebhookName> {
        let receivers = self.receivers.borrow();
        let names = receivers.iter().map(|each| each.webhook.name.clone());
        names.collect()
    }
}

/// A webhook that events are sent to, with the client that sends them.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Its settings.
    pub webhook: WebhookSettings,
    /// The client.
    pub sender: Sender,
}

fn router(parts: Parts) -> Router {
    let (router, _) = openapi::described(routes());
    router
        .merge(dashboard::routes())
        .fallback(async || Refusal::no_such_route())
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This route has other methods; see the Allow header.",
            )
        })
        .with_state(parts)
}

/// The OpenAPI document as JSON.
fn document() -> String {
    let (_, document) = openapi::described(routes());
    // Our own document can always be written.
    document.to_json().unwrap_or_default()
}

/// All routes. Those that answer with what is recorded have an `ETag`.
fn routes() -> OpenApiRouter<Parts> {
    let tagged = OpenApiRouter::new()
        .routes(routes!(mirror::job))
        .routes(routes!(mirror::jobs_of_user))
        .routes(routes!(jobs::list))
        .routes(routes!(timeline::timeline))
        .routes(routes!(events::events))
        .routes(routes!(openapi::openapi))
        .route_layer(from_fn(etag::tagged));
    tagged
        .routes(routes!(jobs::enqueue))
        .routes(routes!(stream::all))
        .routes(routes!(stream::of_job))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(self::metrics::scrape))
        .routes(routes!(mfa::answer))
}

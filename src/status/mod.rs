//! The status server: how the daemon is, and the jobs as last seen.

mod envelope;
mod health;
mod metrics;
mod mirror;
mod server;

use std::sync::{Arc, RwLock};

use axum::Router;
use axum::routing::get;
use tokio::sync::Notify;

pub use self::metrics::Scrape;
pub use health::{Health, Problems, Report};
pub use server::serve;

use crate::clock::Clock;
use crate::store::Store;

/// What the server answers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is recorded.
    pub store: Store,
    /// How the daemon is.
    pub health: Arc<RwLock<Health>>,
    /// Makes the daemon look for new rows at once.
    pub nudge: Arc<Notify>,
    /// The time of day.
    pub clock: Clock,
    /// What is recorded for Prometheus; `None` where nothing is.
    pub scrape: Option<Scrape>,
}

fn router(parts: Parts) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(self::metrics::scrape))
        .route("/jobs/{id}", get(mirror::job))
        .fallback(envelope::no_such_route)
        .with_state(parts)
}

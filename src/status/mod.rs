//! The status server: how the daemon is, and the jobs as last seen.

mod envelope;
mod guard;
mod health;
mod listen;
mod listener;
mod metrics;
mod mfa;
mod mirror;
mod refusal;
mod server;
mod settings;
mod token;
mod writing;

#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock};

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::Notify;

pub use self::metrics::Scrape;
pub use guard::{Access, Stopping};
pub use health::{Health, Problems, Report};
pub use listen::{InvalidListen, Listen};
pub use listener::Listener;
pub use server::serve;
pub use settings::{Limits, StatusSettings};

use crate::clock::Clock;
use crate::store::Store;
use crate::upstream::Upstream;

/// What the server answers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is recorded.
    pub store: Store,
    /// How the daemon is.
    pub health: Arc<RwLock<Health>>,
    /// The API, as the present configuration has it.
    pub upstream: Arc<RwLock<Upstream>>,
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
        .route("/jobs/{id}/mfa", post(mfa::answer))
        .fallback(envelope::no_such_route)
        .with_state(parts)
}

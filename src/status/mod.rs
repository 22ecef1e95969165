//! The status server: how the daemon is, and the jobs as last seen.

mod envelope;
mod guard;
mod health;
mod listen;
mod listener;
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
use axum::routing::get;
use tokio::sync::Notify;

pub use guard::{Access, Stopping};
pub use health::{Health, Problems, Report};
pub use listen::{InvalidListen, Listen};
pub use listener::Listener;
pub use server::serve;
pub use settings::{Limits, StatusSettings};

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
}

fn router(parts: Parts) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/jobs/{id}", get(mirror::job))
        .fallback(envelope::no_such_route)
        .with_state(parts)
}

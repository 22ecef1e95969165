//! The status server: how the daemon is, the jobs as last seen, their history and their events.

mod budget;
mod cursor;
mod envelope;
mod etag;
mod events;
mod guard;
mod health;
mod jobs;
mod listen;
mod listener;
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
mod turned_away;
mod waiting;
mod writing;

#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock};

use axum::Router;
use axum::middleware::from_fn;
use tokio::sync::Notify;

pub use self::metrics::Scrape;
pub use budget::{Budget, MAX_SCANS, MAX_WRITES};
pub use guard::{Access, Stopping};
pub use health::{Health, Problems, Report};
pub use listen::{InvalidListen, Listen};
pub use listener::Listener;
pub use server::serve;
pub use settings::{Limits, StatusSettings};
pub use waiting::{MAX_STREAMS, MAX_WAITS, Waiting};

use crate::clock::Clock;
use crate::core::enqueue::EnqueueRules;
use crate::store::Store;
use crate::upstream::Upstream;
use openapi::Described;

/// What the server answers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is recorded.
    pub store: Store,
    /// How the daemon is.
    pub health: Arc<Health>,
    /// The API, as the present configuration has it.
    pub upstream: Arc<RwLock<Upstream>>,
    /// What jobs are checked against, as the present configuration has it.
    pub rules: Arc<RwLock<EnqueueRules>>,
    /// Makes the daemon look for new rows at once.
    pub wakeup: Arc<Notify>,
    /// Requests that wait for something to happen.
    pub waiting: Waiting,
    /// What requests may take of the daemon.
    pub budget: Budget,
    /// The time of day.
    pub clock: Clock,
    /// What is recorded for Prometheus; `None` where nothing is.
    pub scrape: Option<Scrape>,
}

fn router(parts: Parts) -> Router {
    described()
        .router
        .fallback(envelope::no_such_route)
        .method_not_allowed_fallback(async || refusal::Refusal::method())
        .with_state(parts)
}

/// All routes. Those that answer with what is recorded have an `ETag`.
fn described() -> Described {
    Described::new()
        .route(mirror::__path_job, mirror::job)
        .route(mirror::__path_jobs_of_user, mirror::jobs_of_user)
        .route(jobs::__path_list, jobs::list)
        .route(timeline::__path_timeline, timeline::timeline)
        .route(events::__path_events, events::events)
        .route(openapi::__path_openapi, openapi::openapi)
        .with(|router| router.route_layer(from_fn(etag::tagged)))
        .merge(acting())
}

/// What acts, what flows, and what is never the same twice.
fn acting() -> Described {
    Described::new()
        .route(jobs::__path_enqueue, jobs::enqueue)
        .route(stream::__path_all, stream::all)
        .route(stream::__path_of_job, stream::of_job)
        .route(health::__path_healthz, health::healthz)
        .route(health::__path_readyz, health::readyz)
        .route(self::metrics::__path_scrape, self::metrics::scrape)
        .route(mfa::__path_answer, mfa::answer)
}

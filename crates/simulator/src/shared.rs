//! What the routes, the front and the control handle share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use fastrand::Rng;
use tokio_util::sync::CancellationToken;

use super::SimulatorSettings;
use super::auth::Tokens;
use super::faults::Faults;
use super::jobs::{CreateError, Jobs, NewJob};
use super::log::Log;
use jobtrackd_core::time::UnixMillis;

#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: SimulatorSettings,
    base_url: String,
    stop: CancellationToken,
    world: Mutex<World>,
}

/// Everything that changes. No lock on it is held across an await.
#[derive(Debug)]
pub(super) struct World {
    pub(super) jobs: Jobs,
    pub(super) connections: HashMap<(String, String), Connection>,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) log: Log,
    /// For ids that tell nothing, so that asking more often changes no job.
    pub(super) trivia: Rng,
}

/// A user's bank connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) institution: String,
    pub(super) login: String,
    pub(super) created: UnixMillis,
    pub(super) job: Option<String>,
}

impl World {
    pub(super) fn new(settings: &SimulatorSettings) -> Self {
        let mut rng = Rng::with_seed(settings.seed);
        Self {
            jobs: Jobs::new(rng.fork(), settings.speed, settings.max_jobs),
            connections: HashMap::new(),
            tokens: Tokens::new(rng.fork()),
            faults: Faults::new(rng.fork()),
            log: Log::new(settings.max_log),
            trivia: rng,
        }
    }

    pub(super) fn create(&mut self, new: NewJob, now: UnixMillis) -> Result<String, CreateError> {
        let id = self.jobs.create(new, now)?;
        self.log.totals.jobs += 1;
        Ok(id)
    }

    /// Whether the job is there and not at its end.
    pub(super) fn is_running(&mut self, id: &str, now: UnixMillis) -> bool {
        self.jobs.get(id, now).is_some_and(|job| {
            job.timeline
                .shown(now)
                .is_none_or(|moment| moment.ending.is_none())
        })
    }
}

impl Shared {
    pub(super) fn new(
        settings: SimulatorSettings,
        base_url: String,
        stop: CancellationToken,
    ) -> Self {
        let world = Mutex::new(World::new(&settings));
        Self(Arc::new(Inner {
            settings,
            base_url,
            stop,
            world,
        }))
    }

    pub(super) fn settings(&self) -> &SimulatorSettings {
        &self.0.settings
    }

    pub(super) fn base_url(&self) -> &str {
        &self.0.base_url
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.0.settings.clock.now()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where links lead: the host the client called, so that its idea of our origin and ours agree.
    pub(super) fn base_for(&self, headers: &HeaderMap) -> String {
        headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .and_then(|host| host.parse::<Authority>().ok())
            .filter(|host| !host.as_str().contains('@'))
            .map_or_else(
                || self.base_url().to_owned(),
                |host| format!("http://{host}"),
            )
    }
}

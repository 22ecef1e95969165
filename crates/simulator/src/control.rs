//! The state of a running simulator, and the handle with which its routes, tests and the demo read and change it.

use std::fmt;
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use fastrand::Rng;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::SimulatorSettings;
use super::connections::Connections;
use super::faults::{ActiveFault, FaultError, FaultRule, Faults};
use super::files::Files;
use super::jobs::{CreateError, Job, Jobs, NewJob, Truth};
use super::log::{Log, LoggedRequest, Totals};
use super::timeline::AnswerError;
use super::tokens::Tokens;
use jobtrackd_core::time::UnixMillis;

/// A handle on a running simulator. Clones share it.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    settings: SimulatorSettings,
    base_url: String,
    stop: CancellationToken,
    state: Mutex<State>,
}

/// The changing state. No lock on it is held across an await.
pub(super) struct State {
    pub(super) jobs: Jobs,
    pub(super) connections: Connections,
    pub(super) files: Files,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) log: Log,
    /// For correlation ids, so that the number of requests changes no job.
    pub(super) rng: Rng,
}

impl State {
    pub(super) fn create(&mut self, new: NewJob, now: UnixMillis) -> Result<&Job, CreateError> {
        let job = self.jobs.create(new, now)?;
        self.log.totals.jobs += 1;
        Ok(job)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("base_url", &self.base_url())
            .finish_non_exhaustive()
    }
}

impl Control {
    pub(super) fn new(
        settings: SimulatorSettings,
        base_url: String,
        stop: CancellationToken,
    ) -> Self {
        let mut rng = Rng::with_seed(settings.seed);
        let state = Mutex::new(State {
            jobs: Jobs::new(
                rng.fork(),
                settings.speed,
                settings.max_jobs,
                settings.dialect.wire(),
            ),
            connections: Connections::new(settings.max_jobs),
            files: Files::default(),
            tokens: Tokens::new(rng.fork()),
            faults: Faults::new(rng.fork()),
            log: Log::new(settings.max_log),
            rng,
        });
        Self(Arc::new(Inner {
            settings,
            base_url,
            stop,
            state,
        }))
    }

    pub(super) fn settings(&self) -> &SimulatorSettings {
        &self.0.settings
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.0.settings.clock.now()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// The base of links: the host that the client called.
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

    /// `http://ADDRESS:PORT`, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.0.base_url
    }

    /// Creates a job and returns its id.
    ///
    /// # Errors
    /// Why it cannot be created.
    pub fn create(&self, new: NewJob) -> Result<String, CreateError> {
        let now = self.now();
        self.state().create(new, now).map(|job| job.id.clone())
    }

    /// The true state of a job; `None` when there is none with that id.
    #[must_use]
    pub fn truth(&self, id: &str) -> Option<Truth> {
        let now = self.now();
        let mut state = self.state();
        let job = state.jobs.get(id, now)?;
        Some(job.truth(now, self.base_url()))
    }

    /// The right answers to the challenge of this job that is open or comes next.
    #[must_use]
    pub fn expected_answers(&self, id: &str) -> Option<Vec<String>> {
        let now = self.now();
        let mut state = self.state();
        let job = state.jobs.get(id, now)?;
        job.timeline.expected().map(<[String]>::to_vec)
    }

    /// Answers the open challenge of a job as `POST /jobs/{id}/mfa` does, but leaves no entry in the request log;
    /// whether the answers were right.
    ///
    /// # Errors
    /// Why they were not accepted.
    pub fn answer(&self, id: &str, answers: &[String]) -> Result<bool, AnswerError> {
        let now = self.now();
        let mut state = self.state();
        let job = state.jobs.get(id, now).ok_or(AnswerError::NoJob)?;
        job.counts.answers += 1;
        job.timeline.answer(now, answers)
    }

    /// Adds a fault and returns its number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn inject(&self, rule: FaultRule) -> Result<u64, FaultError> {
        self.state().faults.add(rule)
    }

    /// The rules of faults that remain, oldest first.
    #[must_use]
    pub fn faults(&self) -> Vec<ActiveFault> {
        self.state().faults.active().to_vec()
    }

    /// Removes one fault; whether it existed.
    #[must_use]
    pub fn remove_fault(&self, id: u64) -> bool {
        self.state().faults.remove(id)
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// The remembered requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.requests_after(0, usize::MAX)
    }

    /// At most `limit` of the remembered requests whose number is above `after`, oldest first.
    #[must_use]
    pub fn requests_after(&self, after: u64, limit: usize) -> Vec<LoggedRequest> {
        self.state().log.after(after, limit)
    }

    /// Sums over the simulator's life.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state().log.totals
    }

    /// From now on requests with a token granted so far are answered 403 "Token has expired".
    pub fn expire_tokens(&self) {
        let now = self.now();
        self.state().tokens.expire(now);
    }

    /// From now on requests with a token granted so far are answered 401, as with an unknown one.
    pub fn revoke_tokens(&self) {
        self.state().tokens.revoke();
    }
}

//! What the calls of every dialect have in common: create a job, poll it, cancel it.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::jobs::{CreateError, Job, NewJob};
use super::middleware::Call;
use super::scenario::Scenario;
use super::script::Script;
use super::wire::Shown;

/// The request header that names the scenario of the job a create call makes.
const SCENARIO: &str = "x-simulate-scenario";

/// The most that is kept of a create call, in bytes of JSON: 64 KiB.
const MAX_KEPT: usize = 64 * 1024;

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Full => Self::FULL,
            _ => Self::invalid("id", "An id in the request is not valid."),
        }
    }
}

/// Whether a create call says what its job goes through.
pub(super) fn names_scenario(headers: &HeaderMap) -> bool {
    headers.contains_key(SCENARIO)
}

impl Call {
    /// Makes a job that goes through `script`, else the scenario that the request names, else `success`, and returns its id.
    /// `request` is what the dialect shows of the call later.
    pub(super) fn create(
        &self,
        headers: &HeaderMap,
        request: Value,
        script: Option<Script>,
    ) -> Result<String, ApiError> {
        let unknown = ApiError::invalid(
            SCENARIO,
            "There is no such scenario; GET /_control/scenarios lists them.",
        );
        let named = headers.get(SCENARIO).map(|name| {
            let name = name.to_str().map_err(|_| unknown)?;
            serde_json::from_value(json!(name)).map_err(|_| unknown)
        });
        if request.to_string().len() > MAX_KEPT {
            let detail = "The simulator keeps at most 64 KiB of a request.";
            return Err(ApiError::invalid("body", detail));
        }
        let scenario = named.transpose()?.unwrap_or(Scenario::Success);
        let new = script.map_or_else(|| NewJob::of(scenario), NewJob::scripted);
        let new = NewJob {
            request: Some(request),
            ..new
        };
        let mut state = self.control.state();
        Ok(state.create(new, self.now)?.id.clone())
    }

    /// The answer to a poll.
    pub(super) fn poll(&self, id: &str) -> Result<Shown, ApiError> {
        self.on(id, |job| {
            job.counts.polls += 1;
            job.counts.first_poll.get_or_insert(self.now);
            job.counts.last_poll = Some(self.now);
            self.shown(job)
        })?
    }

    /// The same, without being a poll.
    pub(super) fn show(&self, id: &str) -> Result<Shown, ApiError> {
        self.on(id, |job| self.shown(job))?
    }

    /// Cancels a job; whether it still ran.
    pub(super) fn cancel(&self, id: &str) -> Result<bool, ApiError> {
        self.on(id, |job| job.timeline.cancel(self.now))
    }

    /// Forgets a job.
    pub(super) fn remove(&self, id: &str) -> Result<(), ApiError> {
        self.on(id, |_| ())?;
        self.control.state().jobs.remove(id);
        Ok(())
    }

    /// Does something with a job that this call may touch.
    pub(super) fn on<T>(&self, id: &str, act: impl FnOnce(&mut Job) -> T) -> Result<T, ApiError> {
        let mut state = self.control.state();
        let job = state.jobs.get(id, self.now).ok_or(ApiError::NOT_FOUND)?;
        self.access.allow(&job.user)?;
        Ok(act(job))
    }

    fn shown(&self, job: &Job) -> Result<Shown, ApiError> {
        let shown = job.answer(self.now, &self.base, false);
        shown.map_err(ApiError::of_status)
    }

    /// The newest jobs that fit, at most so many of those made before `after`, as they are shown; and the last one's id
    /// when there are more.
    pub(super) fn list(
        &self,
        after: Option<&String>,
        most: usize,
        fits: impl Fn(&Job) -> bool,
    ) -> (Vec<Value>, Option<String>) {
        let mut state = self.control.state();
        let newest = state.jobs.iter().rev().filter(|job| fits(job));
        let mut ids = newest.map(|job| job.id.clone());
        if let Some(after) = after {
            ids.by_ref().find(|id| id == after);
        }
        let ids: Vec<String> = ids.take(most + 1).collect();
        let page = ids.get(..most).unwrap_or(&ids);
        let shown = page.iter().filter_map(|id| {
            let job = state.jobs.get(id, self.now)?;
            let shown = job.answer(self.now, &self.base, false).ok()?;
            serde_json::from_str(&shown.body?).ok()
        });
        let last = page.last().filter(|_| ids.len() > most);
        (shown.collect(), last.cloned())
    }
}

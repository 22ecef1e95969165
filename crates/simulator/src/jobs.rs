//! The jobs there are, and how new ones are made.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::http::StatusCode;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::format::{Head, IdStyle, JobFormat};
use super::operation::{Ending, Operation, OperationStatus};
use super::scenario::Scenario;
use super::scenario_script::{ScriptWriter, Subject};
use super::script::{Content, Script, ScriptError};
use super::timeline::Timeline;
use super::wire::{Shown, Wire};
use jobtrackd_core::time::{UnixMillis, millis};

/// The longest job id, in characters.
pub const MAX_ID: usize = 200;

/// The bank of jobs and connections that name none.
pub(super) const ANY_BANK: &str = "AU00000";

/// A job to be made. With neither `scenario` nor `script` the scenario is drawn from the seed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// 1 to [`MAX_ID`] characters of `A-Za-z0-9._~-`, not only dots; drawn when absent.
    pub id: Option<String>,
    /// Whose it is; drawn when absent.
    pub user: Option<String>,
    /// The connection, report or payment it works on; drawn when absent.
    pub connection: Option<String>,
    /// The bank, for links and lists; `AU00000` when absent.
    pub institution: Option<String>,
    /// The outer shape; the scenario's own when absent, `v3` for a script.
    #[serde(rename = "dress")]
    pub format: Option<JobFormat>,
    /// What it goes through, by name.
    pub scenario: Option<Scenario>,
    /// For the `…failed` scenarios: the title of the step that fails.
    pub step: Option<String>,
    /// For the `…failed` scenarios: the error code.
    pub code: Option<String>,
    /// What it goes through, phase by phase.
    pub script: Option<Script>,
    /// What its create call would have sent, in a dialect that shows it; see the page of the crate.
    pub request: Option<Value>,
    /// All phases, without the waiting for answers, are over after this many real milliseconds, whatever the simulator's
    /// speed; an unanswered challenge expires in time for that too.
    pub within_ms: Option<u64>,
}

/// Why a job was not created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Not valid as an id.
    #[error("a job id has 1 to {MAX_ID} characters of A-Za-z0-9._~- and is not only dots")]
    InvalidId,
    /// There is one with this id.
    #[error("there is a job {0} already")]
    Taken(String),
    /// Both a scenario and a script were named.
    #[error("a job has a scenario or a script, not both")]
    ScenarioAndScript,
    /// The script cannot be played.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The limit of unfinished jobs is reached.
    #[error("the simulator is full of unfinished jobs")]
    Full,
}

/// How often a job was polled and answered, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct JobCounts {
    /// `GET /jobs/{id}` that were answered by the job itself, without those answered by faults.
    pub polls: u64,
    /// The first of them.
    pub first_poll: Option<UnixMillis>,
    /// The last of them.
    pub last_poll: Option<UnixMillis>,
    /// `POST /jobs/{id}/mfa` with a list of texts, right, wrong or out of turn.
    pub answers: u64,
}

/// The true state of a job, whether it was polled or not.
#[derive(Debug, Clone, Serialize)]
pub struct Truth {
    /// Its id.
    pub id: String,
    /// Its user.
    pub user: String,
    /// Its scenario; `None` for a script.
    pub scenario: Option<Scenario>,
    /// When it was created.
    pub created: UnixMillis,
    /// The right answers to the challenge that is open or comes next.
    pub expected_answers: Option<Vec<String>>,
    /// Whether a challenge is open now.
    pub asks: bool,
    /// Whether it will not change any more.
    pub finished: bool,
    /// Every body with the moment from which it is shown, oldest first, up to the next challenge: past and future.
    pub moments: Vec<TrueMoment>,
    /// How often it was polled and answered.
    pub counts: JobCounts,
}

/// One body of a job, shown from `at` until the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrueMoment {
    /// From when.
    pub at: UnixMillis,
    /// The HTTP status.
    pub status: u16,
    /// The body, with links under the simulator's own address; `None` where there is none, or the API's error.
    pub body: Option<String>,
    /// How it ends the job; `None` while it runs. A text of its own ends one only by the steps in it.
    pub ending: Option<Ending>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) connection: Option<String>,
    pub(super) created: UnixMillis,
    pub(super) timeline: Timeline,
    pub(super) counts: JobCounts,
    pub(super) format: JobFormat,
    pub(super) request: Value,
    wire: &'static dyn Wire,
    institution: String,
    scenario: Option<Scenario>,
    source: String,
}

#[derive(Debug)]
pub(super) struct Jobs {
    speed: f64,
    limit: usize,
    wire: &'static dyn Wire,
    pub(super) rng: Rng,
    map: HashMap<String, Job>,
    order: VecDeque<String>,
}

/// Whether a job, user or connection may have this id.
pub(super) fn is_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(fits) && !id.bytes().all(|byte| byte == b'.')
}

impl NewJob {
    /// A job with this scenario.
    #[must_use]
    pub fn of(scenario: Scenario) -> Self {
        Self {
            scenario: Some(scenario),
            ..Self::default()
        }
    }

    /// A job with this script.
    #[must_use]
    pub fn scripted(script: Script) -> Self {
        Self {
            script: Some(script),
            ..Self::default()
        }
    }

    /// With this id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// In this format.
    #[must_use]
    pub fn in_format(mut self, format: JobFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// Over after this many real milliseconds.
    #[must_use]
    pub fn within_ms(mut self, ms: u64) -> Self {
        self.within_ms = Some(ms);
        self
    }
}

impl Truth {
    /// How the last body ends the job; `None` when it does not, or when a challenge is still to be answered.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.moments.last().and_then(|moment| moment.ending)
    }
}

impl Jobs {
    pub(super) fn new(rng: Rng, speed: f64, limit: usize, wire: &'static dyn Wire) -> Self {
        Self {
            speed,
            limit,
            wire,
            rng,
            map: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The job at `now`: challenges that have expired by then are over.
    pub(super) fn get(&mut self, id: &str, now: UnixMillis) -> Option<&mut Job> {
        let job = self.map.get_mut(id)?;
        job.timeline.settle(now);
        Some(job)
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.order.iter().filter_map(|id| self.map.get(id))
    }

    /// Forgets a job.
    pub(super) fn remove(&mut self, id: &str) {
        self.map.remove(id);
        self.order.retain(|each| each != id);
    }

    pub(super) fn created(&self, id: &str) -> Option<UnixMillis> {
        self.map.get(id).map(|job| job.created)
    }

    /// Whether the job exists and has not ended.
    pub(super) fn is_running(&mut self, id: &str, now: UnixMillis) -> bool {
        self.get(id, now).is_some_and(|job| {
            let shown = job.timeline.shown(now);
            shown.is_none_or(|moment| moment.ending.is_none())
        })
    }

    pub(super) fn create(&mut self, new: NewJob, now: UnixMillis) -> Result<&Job, CreateError> {
        if new.scenario.is_some() && new.script.is_some() {
            return Err(CreateError::ScenarioAndScript);
        }
        let names = [&new.id, &new.user, &new.connection, &new.institution];
        if names.into_iter().flatten().any(|name| !is_id(name)) {
            return Err(CreateError::InvalidId);
        }
        if let Some(taken) = new.id.as_ref().filter(|id| self.map.contains_key(*id)) {
            return Err(CreateError::Taken(taken.clone()));
        }
        if let Some(script) = &new.script {
            script.check()?;
        }
        self.make_room(now)?;
        let job = self.compose(new, now);
        self.order.push_back(job.id.clone());
        Ok(self.map.entry(job.id.clone()).insert_entry(job).into_mut())
    }

    fn compose(&mut self, new: NewJob, now: UnixMillis) -> Job {
        let mut rng = self.rng.fork();
        let scenario = match new.script {
            Some(_) => None,
            None => Some(new.scenario.unwrap_or_else(|| Scenario::draw(&mut rng))),
        };
        let own = scenario.map_or(JobFormat::V3, |scenario| scenario.draw_format(&mut rng));
        let format = new.format.unwrap_or(own);
        let seed_page = scenario.is_some_and(Scenario::is_seed_page);
        let mut id_or = |on_seed_page: &str| match seed_page {
            true => on_seed_page.to_owned(),
            false => IdStyle::Uuid.draw(&mut rng),
        };
        let (drawn_user, drawn_resource) = (id_or("ea3a81"), id_or("8fce3b"));
        let subject = Subject {
            format,
            user: new.user.unwrap_or(drawn_user),
            resource: new.connection.clone().unwrap_or(drawn_resource),
            institution: new.institution.unwrap_or_else(|| ANY_BANK.to_owned()),
            no_nulls: rng.u8(0..10) == 0 && !seed_page,
            details: rng.u8(0..10) == 0 && !seed_page,
        };
        let id = new.id.unwrap_or_else(|| self.draw_id(format));
        let source = match format {
            JobFormat::Report => format!("/reports/{}", subject.resource),
            _ => format!("/users/{}/connections/{}", subject.user, subject.resource),
        };
        let (user, institution) = (subject.user.clone(), subject.institution.clone());
        let mut script = new.script.unwrap_or_else(|| {
            let writer = ScriptWriter::new(scenario.unwrap_or(Scenario::Success), rng, subject);
            writer.write(new.step.as_deref(), new.code.as_deref())
        });
        if let Some(ms) = new.within_ms {
            script.fit(at_speed(ms, self.speed));
        }
        Job {
            id,
            user,
            connection: new.connection,
            institution,
            scenario,
            created: now,
            timeline: Timeline::new(script, now, self.speed),
            counts: JobCounts::default(),
            format,
            source,
            request: new.request.unwrap_or_default(),
            wire: self.wire,
        }
    }

    fn draw_id(&mut self, format: JobFormat) -> String {
        loop {
            let id = self.wire.draw_id(format, &mut self.rng);
            if !self.map.contains_key(&id) {
                return id;
            }
        }
    }

    /// Drops the oldest finished job when the limit is reached.
    fn make_room(&mut self, now: UnixMillis) -> Result<(), CreateError> {
        if self.map.len() < self.limit {
            return Ok(());
        }
        let map = &mut self.map;
        let finished = self.order.iter().position(|id| {
            map.get_mut(id).is_none_or(|job| {
                job.timeline.settle(now);
                job.timeline.finished(now)
            })
        });
        let id = finished.and_then(|index| self.order.remove(index));
        self.map.remove(&id.ok_or(CreateError::Full)?);
        Ok(())
    }
}

fn at_speed(ms: u64, speed: f64) -> u64 {
    let seconds = Duration::from_millis(ms).as_secs_f64() * speed;
    Duration::try_from_secs_f64(seconds).map_or(u64::MAX, millis)
}

impl Job {
    /// What a poll at `now` is answered, with links under `base`; else the status of the API's error.
    pub(super) fn answer(
        &self,
        now: UnixMillis,
        base: &str,
        listed: bool,
    ) -> Result<Shown, StatusCode> {
        let moments = self.timeline.moments();
        let passed = moments.partition_point(|moment| moment.at <= now);
        self.render(passed, base, listed)
    }

    /// What it comes to at `now`; queued before its first moment.
    pub(super) fn operation(&self, now: UnixMillis) -> Operation {
        let queued = || Operation::new(OperationStatus::Queued);
        let shown = self.timeline.shown(now);
        shown.map_or_else(queued, |moment| moment.content.operation())
    }

    /// Its true state at `now`, with links under `base`.
    pub(super) fn truth(&self, now: UnixMillis, base: &str) -> Truth {
        let moments = self.timeline.moments().iter().zip(1..);
        let moments = moments.map(|(moment, passed)| {
            let (status, body) = match self.render(passed, base, false) {
                Ok(shown) => (shown.status, shown.body),
                Err(status) => (status.as_u16(), None),
            };
            TrueMoment {
                at: moment.at,
                status,
                body,
                ending: moment.ending,
            }
        });
        Truth {
            id: self.id.clone(),
            user: self.user.clone(),
            scenario: self.scenario,
            created: self.created,
            expected_answers: self.timeline.expected().map(<[String]>::to_vec),
            asks: self.timeline.asks(now),
            finished: self.timeline.finished(now),
            moments: moments.collect(),
            counts: self.counts,
        }
    }

    /// The job when so many of its moments have come.
    fn render(&self, passed: usize, base: &str, listed: bool) -> Result<Shown, StatusCode> {
        let history = self.timeline.moments().get(..passed).unwrap_or_default();
        let moment = history.last().ok_or(StatusCode::NOT_FOUND)?;
        let head = Head {
            format: self.format,
            id: &self.id,
            base,
            source: &self.source,
            created: self.created,
            updated: moment.at,
            ending: moment.ending,
            institution: listed.then_some(self.institution.as_str()),
            request: &self.request,
            history,
        };
        match &moment.content {
            Content::Verbatim(text) => Ok(Shown::text(200, text.clone())),
            Content::Steps(steps) => Ok(self.wire.show_steps(&head, steps)),
            Content::Operation(operation) => Ok(self.wire.show(&head, operation)),
            Content::Error(status) => {
                Err(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            }
        }
    }
}

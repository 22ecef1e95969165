//! The jobs there are, and how new ones come to be.

use std::collections::{HashMap, VecDeque};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::dress::{Dress, Head, IdStyle};
use super::scenario::Scenario;
use super::script::{Content, Script, ScriptError};
use super::story::Look;
use super::telling::Telling;
use super::timeline::{Ending, Timeline};
use jobtrackd_core::time::UnixMillis;

/// The longest job id, in characters.
pub const MAX_ID: usize = 200;

/// A job to be made. With neither `scenario` nor `script` the story is drawn from the seed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// 1 to [`MAX_ID`] characters of `A-Za-z0-9._~-`, not only dots; drawn when absent.
    #[serde(default)]
    pub id: Option<String>,
    /// Whose it is; drawn when absent.
    #[serde(default)]
    pub user: Option<String>,
    /// The connection, report or payment it works on; drawn when absent.
    #[serde(default)]
    pub connection: Option<String>,
    /// The bank, for links and lists; `AU00000` when absent.
    #[serde(default)]
    pub institution: Option<String>,
    /// The outer shape; the story's own when absent, `v3` for a script.
    #[serde(default)]
    pub dress: Option<Dress>,
    /// A story by name.
    #[serde(default)]
    pub scenario: Option<Scenario>,
    /// For the `…failed` stories: the title of the step that fails.
    #[serde(default)]
    pub step: Option<String>,
    /// For the `…failed` stories: the error code.
    #[serde(default)]
    pub code: Option<String>,
    /// A story of your own.
    #[serde(default)]
    pub script: Option<Script>,
    /// The whole story, without the waiting for answers, is over after so many real milliseconds, whatever the
    /// simulator's speed; a challenge nobody answers runs out in time for that too.
    #[serde(default)]
    pub within_ms: Option<u64>,
}

/// Why a job was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The id cannot be one.
    #[error("a job id has 1 to {MAX_ID} characters of A-Za-z0-9._~- and is not only dots")]
    InvalidId,
    /// There is one with this id.
    #[error("there is a job {0} already")]
    Taken(String),
    /// Both a scenario and a script were given.
    #[error("a job has a scenario or a script, not both")]
    TwoStories,
    /// The script cannot be played.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The simulator holds as many unfinished jobs as it may.
    #[error("the simulator is full of unfinished jobs")]
    Full,
}

/// How often a job was asked for, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct JobCounts {
    /// `GET /jobs/{id}` that were answered by the job itself; faults that answer in its place do not count.
    pub polls: u64,
    /// The first of them.
    pub first_poll: Option<UnixMillis>,
    /// The last of them.
    pub last_poll: Option<UnixMillis>,
    /// `POST /jobs/{id}/mfa` with a list of texts, right, wrong or out of turn.
    pub answers: u64,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) connection: Option<String>,
    pub(super) institution: String,
    pub(super) scenario: Option<Scenario>,
    pub(super) created: UnixMillis,
    pub(super) timeline: Timeline,
    pub(super) counts: JobCounts,
    pub(super) dress: Dress,
    source: String,
}

#[derive(Debug)]
pub(super) struct Jobs {
    speed: f64,
    limit: usize,
    rng: Rng,
    map: HashMap<String, Job>,
    order: VecDeque<String>,
}

/// Whether a job, user or connection may be called so.
pub(super) fn is_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(fits) && !id.bytes().all(|byte| byte == b'.')
}

pub(super) fn invent_id(rng: &mut Rng, style: IdStyle) -> String {
    match style {
        IdStyle::Numeric => rng.u32(10_000..1_000_000).to_string(),
        IdStyle::ShortHex => format!("{:08x}", rng.u32(..)),
        IdStyle::Uuid => {
            let bits = rng.u128(..);
            let hex = format!("{bits:032x}");
            let (a, rest) = hex.split_at(8);
            let (b, rest) = rest.split_at(4);
            let (c, rest) = rest.split_at(4);
            let (d, e) = rest.split_at(4);
            format!(
                "{a}-{b}-4{}-{}{}-{e}",
                c.get(1..).unwrap_or_default(),
                rng.choice(['8', '9', 'a', 'b']).unwrap_or('8'),
                d.get(1..).unwrap_or_default()
            )
        }
    }
}

impl NewJob {
    /// A story by name.
    #[must_use]
    pub fn of(scenario: Scenario) -> Self {
        Self {
            scenario: Some(scenario),
            ..Self::default()
        }
    }

    /// A story of your own.
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

    /// In this shape.
    #[must_use]
    pub fn dressed(mut self, dress: Dress) -> Self {
        self.dress = Some(dress);
        self
    }

    /// Over after so many real milliseconds.
    #[must_use]
    pub fn within_ms(mut self, ms: u64) -> Self {
        self.within_ms = Some(ms);
        self
    }
}

impl Jobs {
    pub(super) fn new(rng: Rng, speed: f64, limit: usize) -> Self {
        Self {
            speed,
            limit,
            rng,
            map: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The job as it stands at `now`: challenges that ran out by then are over.
    pub(super) fn get(&mut self, id: &str, now: UnixMillis) -> Option<&mut Job> {
        let job = self.map.get_mut(id)?;
        job.timeline.settle(now);
        Some(job)
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.order.iter().filter_map(|id| self.map.get(id))
    }

    pub(super) fn created(&self, id: &str) -> Option<UnixMillis> {
        self.map.get(id).map(|job| job.created)
    }

    pub(super) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub(super) fn create(&mut self, new: NewJob, now: UnixMillis) -> Result<String, CreateError> {
        if new.scenario.is_some() && new.script.is_some() {
            return Err(CreateError::TwoStories);
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
        let id = job.id.clone();
        self.order.push_back(id.clone());
        self.map.insert(id.clone(), job);
        Ok(id)
    }

    fn compose(&mut self, new: NewJob, now: UnixMillis) -> Job {
        let mut rng = self.rng.fork();
        let scenario = match (&new.script, new.scenario) {
            (Some(_), _) => None,
            (None, Some(scenario)) => Some(scenario),
            (None, None) => Some(Scenario::drawn(&mut rng)),
        };
        let own = scenario.map_or(Dress::V3, |scenario| scenario.dress(&mut rng));
        let dress = new.dress.unwrap_or(own);
        let seed_page = matches!(
            scenario,
            Some(Scenario::SeedExample | Scenario::SeedMfaExample)
        );
        let thing_of = |rng: &mut Rng, name: &str| {
            if seed_page {
                name.to_owned()
            } else {
                invent_id(rng, IdStyle::Uuid)
            }
        };
        let drawn_user = thing_of(&mut rng, "ea3a81");
        let drawn_thing = thing_of(&mut rng, "8fce3b");
        let look = Look {
            dress,
            user: new.user.unwrap_or(drawn_user),
            thing: new.connection.clone().unwrap_or(drawn_thing),
            institution: new.institution.unwrap_or_else(|| "AU00000".to_owned()),
            no_nulls: rng.u8(0..10) == 0 && !seed_page,
            details: rng.u8(0..10) == 0 && !seed_page,
        };
        let id = new.id.unwrap_or_else(|| self.free_id(dress.id_style()));
        let source = match dress {
            Dress::Report => format!("/reports/{}", look.thing),
            _ => format!("/users/{}/connections/{}", look.user, look.thing),
        };
        let telling = Telling {
            scenario: scenario.unwrap_or(Scenario::Success),
            step: new.step.as_deref(),
            code: new.code.as_deref(),
        };
        let mut script = new
            .script
            .unwrap_or_else(|| telling.script(rng, look.clone()));
        if let Some(ms) = new.within_ms {
            script.fit(at_speed(ms, self.speed));
        }
        Job {
            id,
            user: look.user,
            connection: new.connection,
            institution: look.institution,
            scenario,
            created: now,
            timeline: Timeline::new(script, now, self.speed),
            counts: JobCounts::default(),
            dress,
            source,
        }
    }

    fn free_id(&mut self, style: IdStyle) -> String {
        loop {
            let id = invent_id(&mut self.rng, style);
            if !self.map.contains_key(&id) {
                return id;
            }
        }
    }

    /// Drops the oldest job that is finished when there are as many as there may be.
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
    let seconds = std::time::Duration::from_millis(ms).as_secs_f64() * speed;
    std::time::Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}

impl Job {
    /// Status and body at `now`, with links under `base`; `None` body is the error envelope.
    pub(super) fn answer(
        &self,
        now: UnixMillis,
        base: &str,
        listed: bool,
    ) -> (u16, Option<String>) {
        match self.timeline.shown(now) {
            Some(moment) => self.render(&moment.content, moment.at, moment.ending, base, listed),
            None => (404, None),
        }
    }

    pub(super) fn render(
        &self,
        content: &Content,
        at: UnixMillis,
        ending: Option<Ending>,
        base: &str,
        listed: bool,
    ) -> (u16, Option<String>) {
        let head = Head {
            id: &self.id,
            base,
            source: &self.source,
            created: self.created,
            updated: at,
            ending,
            institution: listed.then_some(self.institution.as_str()),
        };
        match content {
            Content::Verbatim(text) => (200, Some(text.clone())),
            Content::Steps(steps) => (200, Some(self.dress.render(&head, steps))),
            Content::Error(status) => (*status, None),
        }
    }
}

//! What was promised, checked with the logs of the fakes and the tables alone.

mod attempts;
mod ends;
mod history;
mod once;
mod polls;
mod posts;
mod progress;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_store::{JobDetail, StoreError};

use crate::database::Database;
use crate::fakes::api::Api;
use crate::fakes::receiver::Receivers;
use crate::plan::{DiskFault, Fault, JobPlan, Plan, Settings};
use crate::time::{MINUTE, Time};
use crate::world::Violation;
pub(crate) use polls::Start;
use polls::{Expected, InFlight};
use posts::Lane;

/// All that is known at the end.
pub(crate) struct Facts<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) api: &'a Api,
    pub(crate) receivers: &'a Receivers,
    pub(crate) settings: &'a Settings,
}

/// A row that was inserted; one that is inserted again is another.
struct Row {
    /// The number of the job in the plan.
    number: usize,
    inserted: Time,
    deleted: Option<Time>,
    cancelled: Option<Time>,
    /// As it was recorded when its end was.
    ended: Option<(Time, Box<JobDetail>)>,
    /// Requests for it so far.
    requests: u64,
}

/// An event as it was committed.
struct Event {
    job: JobId,
    /// The number of the row among those with its id.
    row: usize,
    sequence: u32,
    kind: &'static str,
    body: String,
    committed: Time,
}

/// What the oracle knows.
pub(crate) struct Oracle {
    names: Vec<WebhookName>,
    /// Whether the clock is ever set.
    has_clock_faults: bool,
    /// Whether a reload takes webhooks out of the configuration.
    moves_webhooks: bool,
    rows: BTreeMap<JobId, Vec<Row>>,
    events: BTreeMap<String, Event>,
    /// The last event of the table that was seen.
    cursor: i64,
    /// Events whose rows were deleted, with their job or before it.
    gone: BTreeSet<String>,
    /// Since when the process runs.
    up: Option<Time>,
    /// The last time that something held up everything: a start, a full disk, a set clock, a reload.
    disturbed: Time,
    /// When the clock was set last; `Time::MAX`: never.
    clock_set: Time,
    reloaded: Time,
    /// The settings before the last reload, and those of now.
    settings: (Settings, Settings),
    healed: Option<Time>,
    resumed: Time,
    poll_requests: BTreeMap<JobId, Time>,
    /// The same, of those that were not polled since.
    owed: BTreeMap<JobId, Time>,
    polls: BTreeMap<u64, InFlight>,
    /// When requests went out within the last second.
    starts: VecDeque<Time>,
    expected: BTreeMap<JobId, Expected>,
    last_polls: BTreeMap<JobId, polls::Last>,
    /// Until when anything that a job was answered may hold up others.
    paused_until: Time,
    lanes: BTreeMap<(usize, JobId), Lane>,
    webhooks: Vec<posts::Known>,
    replays: Vec<Time>,
    pace: attempts::Pace,
    /// Webhook and event of each success that this process knows of.
    succeeded: BTreeSet<(usize, String)>,
    /// When processes were started and settings reloaded.
    renewals: Vec<Time>,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut faults = plan.faults.iter();
        let mut actions = plan.actions.iter();
        Self {
            names: plan
                .webhooks
                .iter()
                .map(|webhook| WebhookName::new(&webhook.name))
                .collect(),
            has_clock_faults: faults
                .any(|fault| matches!(fault, Fault::ClockSet { millis, .. } if *millis != 0)),
            moves_webhooks: actions.any(|action| match &action.deed {
                crate::plan::Deed::Reload(settings, _) => !settings.unconfigured.is_empty(),
                _ => false,
            }),
            rows: BTreeMap::new(),
            events: BTreeMap::new(),
            cursor: 0,
            gone: BTreeSet::new(),
            up: None,
            disturbed: 0,
            clock_set: Time::MAX,
            reloaded: 0,
            settings: (plan.settings.clone(), plan.settings.clone()),
            healed: None,
            resumed: 0,
            poll_requests: BTreeMap::new(),
            owed: BTreeMap::new(),
            polls: BTreeMap::new(),
            starts: VecDeque::new(),
            expected: BTreeMap::new(),
            last_polls: BTreeMap::new(),
            paused_until: 0,
            lanes: BTreeMap::new(),
            webhooks: plan
                .webhooks
                .iter()
                .map(|_| posts::Known::default())
                .collect(),
            replays: Vec::new(),
            pace: attempts::Pace::default(),
            succeeded: BTreeSet::new(),
            renewals: Vec::new(),
        }
    }

    pub(crate) fn name(&self, webhook: usize) -> WebhookName {
        self.names[webhook].clone()
    }

    pub(crate) fn started(&mut self, now: Time, settings: &Settings) {
        self.up = Some(now);
        self.renewals.push(now);
        self.disturbed = self.disturbed.max(now);
        self.settings = (settings.clone(), settings.clone());
        self.starts.clear();
    }

    /// The process was killed, or has ended by itself.
    pub(crate) fn ended(&mut self, now: Time) {
        self.up = None;
        self.disturbed = self.disturbed.max(now);
        self.polls.clear();
        self.lanes.clear();
        self.succeeded.clear();
        self.pace.crashed();
        // What was answered may be recorded or not.
        self.expected.clear();
        self.last_polls.clear();
        // A request may have been taken.
        self.owed.clear();
        for webhook in &mut self.webhooks {
            webhook.crashed();
        }
    }

    /// By less than a minute is no jump: what was due then is due when the clock shows that time again.
    pub(crate) fn clock_was_set(&mut self, now: Time) {
        self.disturbed = now + MINUTE;
        self.clock_set = now;
    }

    pub(crate) fn unwritable(&mut self, now: Time) {
        self.disturbed = self.disturbed.max(now);
    }

    pub(crate) fn reloaded(&mut self, settings: &Settings, now: Time) {
        self.disturbed = self.disturbed.max(now);
        self.reloaded = now;
        if settings.secret != self.settings.1.secret {
            self.renewals.push(now);
        }
        self.settings = (self.settings.1.clone(), settings.clone());
        self.starts.clear();
    }

    pub(crate) fn healed(&mut self, now: Time) {
        self.healed = Some(now);
    }

    pub(crate) fn resumed(&mut self, now: Time) {
        self.resumed = now;
    }

    pub(crate) fn replayed(&mut self, now: Time) {
        self.replays.push(now);
        self.pace.replayed();
    }

    pub(crate) fn poll_requested(&mut self, id: &JobId, now: Time) {
        self.poll_requests.insert(id.clone(), now);
        if self.up.is_some() {
            self.owed.insert(id.clone(), now);
        }
    }

    pub(crate) fn cancelled(&mut self, id: &JobId, is_there: bool, now: Time) {
        if is_there && let Some(row) = self.row(id) {
            row.cancelled.get_or_insert(now);
        }
    }

    fn row(&mut self, id: &JobId) -> Option<&mut Row> {
        let row = self.rows.get_mut(id)?.last_mut()?;
        row.deleted.is_none().then_some(row)
    }

    /// A rule of the schema refused what the daemon wanted to record; nobody writes its columns but itself.
    pub(crate) fn refused(&self, rule: &str) -> Result<(), Violation> {
        Err(format!(
            "schema: it refuses a transaction of the daemon: {rule}"
        ))
    }

    pub(crate) fn inserted(
        &mut self,
        number: usize,
        plan: &JobPlan,
        now: Time,
    ) -> Result<(), Violation> {
        let Ok(id) = JobId::parse(&plan.id) else {
            return Err(format!("insert: {} is not an id", plan.id));
        };
        self.expected.remove(&id);
        self.last_polls.remove(&id);
        self.owed.remove(&id);
        self.rows.entry(id).or_default().push(Row {
            number,
            inserted: now,
            deleted: None,
            cancelled: None,
            ended: None,
            requests: 0,
        });
        Ok(())
    }

    pub(crate) fn deleted(&mut self, id: &JobId, now: Time) {
        if let Some(row) = self.row(id) {
            row.deleted = Some(now);
        }
        let events = self.events.iter().filter(|(_, event)| event.job == *id);
        self.gone.extend(events.map(|(id, _)| id.clone()));
    }

    pub(crate) fn pruned(&mut self, database: &Database, now: Time) -> Result<(), StoreError> {
        let left: BTreeSet<String> = database
            .events(0)?
            .into_iter()
            .map(|event| event.id)
            .collect();
        let gone = self.events.keys().filter(|id| !left.contains(*id));
        self.gone.extend(gone.cloned());
        for (id, rows) in &mut self.rows {
            if let Some(row) = rows.last_mut().filter(|row| row.deleted.is_none())
                && database.job(id)?.is_none()
            {
                row.deleted = Some(now);
            }
        }
        Ok(())
    }

    /// Something was committed: reads the new events, which are then fixed for ever.
    pub(crate) fn committed(
        &mut self,
        database: &Database,
        plan: &Plan,
        now: Time,
    ) -> Result<(), Violation> {
        for event in database.events(self.cursor).map_err(broken)? {
            self.cursor = event.cursor;
            let id = &event.job_id;
            let Some(rows) = self.rows.get(id) else {
                return Err(format!(
                    "events: {} is of a job that nobody inserted, {id}",
                    event.id
                ));
            };
            let row = rows.len() - 1;
            let before = self
                .events
                .values()
                .filter(|it| it.job == *id && it.row == row);
            let (mut last, mut has_end) = (0, false);
            for event in before {
                last = last.max(event.sequence);
                has_end |= is_end(event.kind);
            }
            if event.sequence != last + 1 {
                return Err(format!("events: {id} has {} after {last}", event.sequence));
            }
            if has_end {
                return Err(format!(
                    "one end: {id} has {} after its end",
                    event.kind.as_str()
                ));
            }
            let kind = event.kind.as_str();
            if is_end(kind) {
                let detail = database.detail(id).map_err(broken)?;
                let detail = detail.ok_or_else(|| format!("events: the job {id} is not there"))?;
                if !detail.summary.row.state.is_final() {
                    return Err(format!(
                        "one end: {id} has {kind}, but its state is {}",
                        detail.summary.row.state
                    ));
                }
                if let Some(row) = self.row(id) {
                    row.ended = Some((now, Box::new(detail)));
                }
            }
            let known = Event {
                job: id.clone(),
                row,
                sequence: event.sequence,
                kind,
                body: event.body,
                committed: now,
            };
            if self.events.insert(event.id.clone(), known).is_some() {
                return Err(format!("events: two have the id {}", event.id));
            }
        }
        self.watch_lanes(database, plan, now)
    }

    pub(crate) fn finish(&self, database: &Database, facts: &Facts<'_>) -> Result<(), Violation> {
        self.check_histories(database, facts)?;
        self.check_tokens(facts)?;
        self.check_deliveries(database, facts)
    }
}

fn is_end(kind: &str) -> bool {
    matches!(kind, "job.completed" | "job.failed")
}

/// The oracle itself cannot read the tables.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: StoreError) -> Violation {
    format!("store: {error}")
}

/// Whether the disk is in the way of writing at some time in between.
fn is_slow_or_full(plan: &Plan, from: Time, until: Time) -> bool {
    plan.faults.iter().any(|fault| match fault {
        Fault::Disk(window, DiskFault::Full | DiskFault::Locked | DiskFault::Slow(_)) => {
            window.from < until && from < window.until
        }
        _ => false,
    })
}

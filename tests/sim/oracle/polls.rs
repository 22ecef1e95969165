//! Polls: when they start, and that what they brought is recorded.

use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::snapshot::StepClass;

use super::{Oracle, broken};
use crate::database::Database;
use crate::fakes::api::{Served, Shown};
use crate::fakes::truth::Step;
use crate::plan::Plan;
use crate::time::{MINUTE, SECOND, Time, shown};
use crate::world::Violation;

/// A request that goes out.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) job: &'a JobId,
    /// The number of the poll, and of its request.
    pub(crate) poll: u64,
    pub(crate) request: u32,
    /// What the daemon's clock shows.
    pub(crate) wall: i64,
}

/// A request for a job under way.
pub(super) struct InFlight {
    job: JobId,
    request: u32,
    /// When the last request began.
    since: Time,
}

/// The last answer about a job that reached the process.
#[derive(Debug, Clone)]
pub(super) struct Last {
    at: Time,
    /// When its request began.
    since: Time,
    /// Until when the job may not be polled, because it was said so.
    not_before: Time,
    /// The longest delay before the next poll.
    longest: Option<Time>,
}

/// What must be recorded of a job when it is polled next.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    steps: Vec<Step>,
    /// When what is recorded was changed at the API; `None`: not known.
    changed: Option<Time>,
    /// The time of change of stale answers since, and how many had it.
    stale: Option<(Time, u32)>,
    /// Whether either of two may be recorded.
    is_open: bool,
}

impl Oracle {
    /// Requests that the process has given up are over for it.
    pub(crate) fn keep_polls(&mut self, is_open: impl Fn(u64) -> bool) {
        self.polls.retain(|poll, _| is_open(*poll));
    }

    /// A request goes out.
    pub(crate) fn poll_starts(
        &mut self,
        database: &Database,
        plan: &Plan,
        start: &Start<'_>,
        now: Time,
    ) -> Result<(), Violation> {
        let Start {
            job,
            poll,
            request,
            wall,
        } = *start;
        let at = shown(now);
        if request == 1 && self.polls.values().any(|other| other.job == *job) {
            return Err(format!("one poll: {job} is polled twice at once, at {at}"));
        }
        if self
            .polls
            .get(&poll)
            .is_some_and(|before| before.request >= request)
        {
            return Err(format!(
                "one poll: a request for {job} is sent twice, at {at}"
            ));
        }
        let job_in_flight = InFlight {
            job: job.clone(),
            request,
            since: now,
        };
        self.polls.insert(poll, job_in_flight);
        let (before, settings) = &self.settings;
        let mut most = settings.max_in_flight;
        if now < self.reloaded + 2 * MINUTE {
            most = most.max(before.max_in_flight);
        }
        if self.polls.len() > most {
            return Err(format!(
                "in flight: {} polls at once, at {at}",
                self.polls.len()
            ));
        }
        self.check_budget(now)?;
        if let Some(row) = self.row(job) {
            row.requests += 1;
        }
        let row = database.job(job).map_err(broken)?;
        if let Some(row) = &row
            && row.state.is_final()
        {
            return Err(format!(
                "poll after end: {job} is polled at {at}, its end is committed"
            ));
        }
        if request > 1 {
            return Ok(());
        }
        if let Some(not_before) = row.as_ref().and_then(|row| row.not_before)
            && wall < not_before.0
            && !self.has_clock_faults
        {
            return Err(format!(
                "not before: {job} is polled at {at}, before its not_before"
            ));
        }
        self.check_recorded(database, job, now)?;
        self.check_times(plan, job, now)
    }

    fn check_budget(&mut self, now: Time) -> Result<(), Violation> {
        let rate = u64::from(self.settings.1.requests_per_second);
        if rate == 0 {
            return Ok(());
        }
        while self.starts.front().is_some_and(|at| at + SECOND <= now) {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        // What falls due within 10 ms may go out together.
        match self.starts.len() as u64 > rate + rate / 100 + 1 {
            true => Err(format!(
                "budget: {} requests within a second, {rate} are permitted",
                self.starts.len()
            )),
            false => Ok(()),
        }
    }

    /// An answer, or that there is none, has reached a poll that waited for it.
    pub(crate) fn answered(&mut self, plan: &Plan, poll: u64, served: Option<&Served>, now: Time) {
        let Some(InFlight { job, since, .. }) = self.polls.get(&poll) else {
            return;
        };
        let (job, since) = (&job.clone(), *since);
        let (before, settings) = self.settings.clone();
        let most = settings.max_retry_after.max(before.max_retry_after);
        let mut last = Last {
            at: now,
            since,
            not_before: 0,
            longest: None,
        };
        match served.map(|served| (served.at, &served.shown)) {
            Some((_, Shown::Job { steps, changed, .. })) => {
                self.expect(plan, job, steps, *changed);
                // A stale answer changes nothing of what is recorded.
                let recorded = self.expected.get(job);
                let is_queued = is_queued(steps)
                    || recorded
                        .is_none_or(|recorded| recorded.is_open || is_queued(&recorded.steps));
                let longest = match is_queued {
                    true => settings.queued_delay.max(before.queued_delay),
                    false => settings.max_delay.max(before.max_delay),
                };
                last.longest = Some(longest + longest / 8);
            }
            Some((at, Shown::Throttled(asked))) => {
                let asked = asked.unwrap_or(0).min(most);
                // A date is as far away as it was when the API looked, however long the answer took.
                last.not_before = at + asked.min(settings.max_retry_after).saturating_sub(SECOND);
                // Without a time, or with a past one, a pause of its own, which may have grown. A date is further away by a
                // clock that was set back.
                let longest = if self.has_clock_faults { most } else { asked };
                self.paused_until = self
                    .paused_until
                    .max(now + longest + longest / 8 + 6 * MINUTE);
            }
            Some((_, Shown::Refused)) => {
                self.paused_until = self.paused_until.max(now + 6 * MINUTE);
            }
            _ => {}
        }
        self.last_polls.insert(job.clone(), last);
    }

    /// The token endpoint gave none.
    pub(crate) fn no_token(&mut self, now: Time) {
        self.paused_until = self.paused_until.max(now + 6 * MINUTE);
    }

    /// An answer that is the job is recorded before the next poll, unless it is stale.
    fn expect(&mut self, plan: &Plan, job: &JobId, steps: &[Step], changed: Time) {
        let shows_change = !matches!(plan.dialect, "http-status" | "openai-batch");
        let known = self.expected.get(job);
        let Some(known) = known.filter(|_| shows_change) else {
            // After a start it is not known what is recorded.
            let is_open = known.is_none() && shows_change;
            let expected = Expected {
                steps: steps.to_vec(),
                changed: (!is_open).then_some(changed),
                // If it turns out to be stale, it was the first.
                stale: is_open.then_some((changed, 1)),
                is_open,
            };
            self.expected.insert(job.clone(), expected);
            return;
        };
        let mut next = known.clone();
        match known.changed {
            Some(recorded) if changed < recorded => {
                let times = match known.stale {
                    Some((same, times)) if same == changed => times + 1,
                    _ => 1,
                };
                next.stale = Some((changed, times));
                next.is_open = known.is_open || times >= 3;
            }
            Some(_) => {
                next.steps = steps.to_vec();
                next.changed = Some(changed);
                next.stale = None;
                next.is_open = false;
            }
            None => next.is_open = true,
        }
        self.expected.insert(job.clone(), next);
    }

    fn check_recorded(
        &mut self,
        database: &Database,
        job: &JobId,
        now: Time,
    ) -> Result<(), Violation> {
        let Some(expected) = self.expected.get_mut(job) else {
            return Ok(());
        };
        let Some(tracked) = database.tracked(job).map_err(broken)? else {
            return Ok(());
        };
        if expected.is_open {
            // From now on what is recorded is known.
            if let Some(changed) = tracked
                .remote_updated
                .as_deref()
                .and_then(crate::fakes::render::undated)
            {
                expected.changed = Some(changed);
                expected.steps = recorded(&tracked);
                expected.stale = expected.stale.filter(|(shown, _)| *shown < changed);
                expected.is_open = false;
            }
            return Ok(());
        }
        if same_steps(&recorded(&tracked), &expected.steps) {
            return Ok(());
        }
        let class = if expected.stale.is_some() {
            "stale"
        } else {
            "lost"
        };
        Err(format!(
            "{class}: when {job} is polled at {}, recorded is {:?} and not {:?}",
            shown(now),
            recorded(&tracked),
            expected.steps
        ))
    }

    /// A poll comes neither before the time that was asked for, nor later than its delay permits.
    fn check_times(&mut self, plan: &Plan, job: &JobId, now: Time) -> Result<(), Violation> {
        let asked = self.owed.remove(job);
        // A row that was inserted while the process runs is polled at once.
        let rows = self.rows.get(job).and_then(|rows| rows.last());
        let is_new = rows.filter(|row| self.up.is_some_and(|up| row.inserted > up));
        let first = is_new.map(|row| Last {
            at: row.inserted,
            since: row.inserted,
            not_before: 0,
            longest: Some(SECOND),
        });
        let Some(last) = self.last_polls.get(job).cloned().or(first) else {
            return Ok(());
        };
        let requested = self.poll_requests.get(job);
        // A poll that is requested while another one is in flight follows it at once.
        // What an operator asks for is noticed a moment later.
        let resumed = self.resumed.max(self.reloaded);
        let is_free =
            requested.is_some_and(|at| at + SECOND >= last.since) || resumed + SECOND >= last.at;
        if now < last.not_before && !is_free && !self.has_clock_faults {
            return Err(format!(
                "retry-after: {job} is polled at {}, and not after {}",
                shown(now),
                shown(last.not_before)
            ));
        }
        let is_paced = self.settings.1.requests_per_second > 0
            || self.settings.1.max_in_flight < plan.jobs.len();
        // What holds up all jobs; or others may go first.
        let since = last.at.max(self.disturbed);
        let slack = if is_paced { 5 * MINUTE } else { 5 * SECOND };
        let row_waits = plan
            .jobs
            .iter()
            .any(|it| it.id == job.as_str() && it.row.not_before.is_some());
        if row_waits {
            return Ok(());
        }
        // A poll in flight at that time may be older than what was asked for, so that another one follows.
        if let Some(asked) = asked
            && now > self.paused_until.max(since).max(asked) + slack + 10 * SECOND
        {
            return Err(format!(
                "asked: {job} is polled at {}, long after that was asked for at {}",
                shown(now),
                shown(asked)
            ));
        }
        let Some(longest) = last.longest else {
            return Ok(());
        };
        if now > self.paused_until.max(since + longest) + slack {
            return Err(format!(
                "starved: {job} is polled at {}, long after {}",
                shown(now),
                shown(since + longest)
            ));
        }
        // Whatever other jobs are answered, they hold this one up for a while only: two that are throttled for as long as one
        // of them asks for, within `max_retry_after`; and after it the poll on trial may be theirs again, but one in four is
        // that of a job which has waited for long.
        let is_for_all = plan.api_fails(since.saturating_sub(70 * MINUTE), now);
        let (before, settings) = &self.settings;
        let most = settings.max_retry_after.max(before.max_retry_after);
        let held_up = (40 * MINUTE).max(4 * (most + most / 4));
        if !is_for_all && now > since + longest + slack + held_up {
            return Err(format!(
                "unfair: {job} is polled at {}, after {}, because of others",
                shown(now),
                shown(since)
            ));
        }
        Ok(())
    }
}

/// Whether a step waits in the API's retry queue.
fn is_queued(steps: &[Step]) -> bool {
    steps.iter().any(|step| {
        let result = step.result.as_deref().unwrap_or_default();
        step.status == "pending" && result.contains("-queued")
    })
}

/// The steps that are recorded and not missing, in the order of the API.
fn recorded(tracked: &Tracked) -> Vec<Step> {
    let mut steps: Vec<_> = tracked
        .steps
        .iter()
        .filter(|step| step.class != StepClass::Missing)
        .collect();
    steps.sort_by_key(|step| step.position);
    let step = |step: &&jobtrackd_core::transition::RecordedStep| Step {
        title: title(&step.title),
        status: step.status.clone(),
        result: step.result.clone(),
        answer_until: None,
    };
    steps.iter().map(step).collect()
}

/// The title as the fakes have it.
pub(super) fn title(text: &str) -> &'static str {
    let known = [
        "verify-credentials",
        "retrieve-accounts",
        "retrieve-transactions",
        "operation",
    ];
    known
        .into_iter()
        .find(|title| *title == text)
        .unwrap_or("?")
}

/// Whether steps are the same; results as JSON values.
pub(super) fn same_steps(a: &[Step], b: &[Step]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.title == b.title
                && a.status == b.status
                && same_result(a.result.as_deref(), b.result.as_deref())
        })
}

pub(super) fn same_result(a: Option<&str>, b: Option<&str>) -> bool {
    let value = |text: Option<&str>| text.map(serde_json::from_str::<serde_json::Value>);
    a == b
        || match (value(a), value(b)) {
            (Some(Ok(a)), Some(Ok(b))) => a == b,
            _ => false,
        }
}

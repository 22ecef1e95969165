//! What each kind of end needs: an answer that shows it, or the time that has passed.

use jobtrackd_core::time::UnixMillis;
use jobtrackd_store::JobDetail;
use serde_json::Value;

use super::{Facts, Oracle, Row, is_slow_or_full};
use crate::fakes::api::{Served, Shown};
use crate::fakes::truth::{CODE, DETAIL, TITLE, Verdict};
use crate::plan::Fault;
use crate::time::{EPOCH, MINUTE, MS, SECOND, Time, shown, true_wall};
use crate::world::Violation;

impl Oracle {
    /// It was not there for as long as the grace, and nothing else was shown meanwhile.
    pub(super) fn not_found(
        &self,
        facts: &Facts<'_>,
        served: &[&Served],
        ended: Option<Time>,
    ) -> Result<(), Violation> {
        let received = served.iter().filter(|it| it.received.is_some());
        let (mut since, mut last) = (None, None);
        for it in received {
            match it.shown {
                Shown::Gone => {
                    since.get_or_insert(it.at);
                    last = Some(it.at);
                }
                Shown::Job { .. } => since = None,
                _ => {}
            }
        }
        let grace = self
            .settings
            .0
            .not_found_grace
            .min(facts.settings.not_found_grace);
        match (since, last, ended) {
            (Some(since), Some(last), Some(_))
                if last + SECOND >= since + grace || self.has_clock_faults =>
            {
                Ok(())
            }
            other => Err(format!("end: not_found without the grace: {other:?}")),
        }
    }

    /// Not before its deadline, soon after it, and no end was shown in time.
    pub(super) fn expired(
        &self,
        facts: &Facts<'_>,
        row: &Row,
        detail: &JobDetail,
        served: &[&Served],
        ended: Option<Time>,
    ) -> Result<(), Violation> {
        let plan = &facts.plan.jobs[row.number];
        let default = self.settings.0.deadline.min(facts.settings.deadline);
        let own = plan.row.deadline.map(|at| UnixMillis(true_wall(at)));
        let created = detail.summary.row.created_at;
        let deadline = own.unwrap_or(UnixMillis(
            created.0 + i64::try_from(default / MS).unwrap_or(0),
        ));
        let finished = detail.summary.finished_at.unwrap_or(UnixMillis(0));
        // It may have passed its deadline by a clock that was set back before the end was recorded.
        let set_back = facts.plan.faults.iter().map(|fault| match fault {
            Fault::ClockSet { at, millis }
                if ended.is_some_and(|it| (*at..*at + MINUTE).contains(&it)) =>
            {
                *millis
            }
            _ => 0,
        });
        if finished.0 - set_back.min().unwrap_or(0).min(0) < deadline.0 {
            return Err(format!(
                "end: expired at {finished}, before its deadline {deadline}"
            ));
        }
        let (Some(ended), Some(_)) = (ended, self.up) else {
            return Ok(());
        };
        let shows_end = |it: &Served| {
            matches!(
                it.shown,
                Shown::Job {
                    verdict: Verdict::Success | Verdict::Failed(_),
                    ..
                }
            ) && it.received.is_some_and(|at| at + 2 * MINUTE < ended)
        };
        if served.iter().any(|it| shows_end(it))
            && !self.has_clock_faults
            && !facts.plan.has_stale()
        {
            return Err(format!(
                "end: expired at {}, though its end was shown before",
                shown(ended)
            ));
        }
        let since = u64::try_from(deadline.0 - EPOCH).unwrap_or(0) * MS;
        let is_look = |it: &Served| {
            let is_job = matches!(it.shown, Shown::Job { .. });
            is_job && it.request.started + MS >= since && it.received.is_some()
        };
        let is_held = plan
            .row
            .not_before
            .is_some_and(|at| at > since + 4 * MINUTE);
        let is_early = ended + 2 * SECOND < since + 5 * MINUTE;
        if is_early && !is_held && !self.has_clock_faults && !served.iter().any(|it| is_look(it)) {
            let at = shown(ended);
            return Err(format!(
                "end: expired at {at} without a look at its deadline"
            ));
        }
        let late = u64::try_from(finished.0 - deadline.0).unwrap_or(0) * MS;
        let from = ended.saturating_sub(late);
        let is_calm = !self.has_clock_faults
            && !facts.plan.has_downtime(from.saturating_sub(MINUTE), ended)
            && !is_slow_or_full(facts.plan, from.saturating_sub(MINUTE), ended)
            && row.inserted + 10 * SECOND < from;
        match is_calm && late > 5 * MINUTE + 20 * SECOND {
            true => Err(format!("end: expired {} after its deadline", shown(late))),
            false => Ok(()),
        }
    }
}

pub(super) fn failed_step(
    facts: &Facts<'_>,
    shown: Option<&Shown>,
    failure: &jobtrackd_core::job::Failure,
) -> Result<(), Violation> {
    let Some(Shown::Job {
        verdict: Verdict::Failed(step),
        steps,
        ..
    }) = shown
    else {
        return Err(format!(
            "end: a step failed, and the last recorded answer is {shown:?}"
        ));
    };
    let shown = serde_json::to_value(failure).unwrap_or_default();
    // With this one an answer has no place for a detail.
    let detail = match facts.plan.dialect {
        "json" | "basiq" | "http-status" | "azure" | "google-lro" | "openai-batch" => {
            Value::from(DETAIL)
        }
        _ => Value::Null,
    };
    let is_right = shown["step"] == steps[*step].title
        && shown["code"] == CODE
        && shown["title"] == TITLE
        && shown["detail"] == detail;
    match is_right {
        true => Ok(()),
        false => Err(format!("end: the failure is {shown}")),
    }
}
